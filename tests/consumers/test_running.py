"""Stations as processes: what passes is tried again, what does not ends them at once; health, metrics, logs, and a quick end."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from consumers.bus import Overtaken, Stopping
from consumers.running import Facts, Journal, Runner, Watch
from ledger.errors import LedgerError, LogError


class Plan:
    """A station that does what it is told, step by step; then it tells its runner to stop."""

    def __init__(self, steps: Iterator[Callable[[], int]]) -> None:
        self._steps = steps
        self.closed = 0

    def step(self) -> int:
        return next(self._steps)()

    def facts(self) -> Facts:
        return Facts({"log": 7}, {("inbox", 0): 3}, 2, {"accepted": 5, "duplicate": 1, "refused": 2, "published": 4}, {"not_json": 2})

    def close(self) -> None:
        self.closed += 1


def fails(error: Exception) -> Callable[[], int]:
    def step() -> int:
        raise error

    return step


def lines(out: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def run(*steps: Callable[[], int], patience: float = 60) -> tuple[Runner, list[Plan], io.StringIO]:
    out, made, plan = io.StringIO(), list[Plan](), iter([*steps, lambda: runner.stop() or 1])

    def make() -> Plan:
        made.append(Plan(plan))
        return made[-1]

    runner = Runner("ingest", make, Journal("ingest", out), patience_seconds=patience)
    runner.run()
    return runner, made, out


def test_what_passes_is_tried_again_with_a_station_made_anew() -> None:
    lost = LogError("the server does not answer", hint="start it", code="log_connection_lost")
    _, made, out = run(lambda: 1, fails(lost), fails(Overtaken("another was quicker")), lambda: 0)
    assert len(made) == 3 and [each.closed for each in made] == [1, 1, 1]
    told = [(line["event"], line.get("code")) for line in lines(out)]
    assert told == [
        ("started", None), ("tries again", "log_connection_lost"), ("tries again", "station_overtaken"), ("goes on", None), ("stopped", None),
    ]  # fmt: skip


@pytest.mark.parametrize("code", ["bus_access", "bus_certificate", "topic_made_anew", "stream_gap", "log_schema_old"])
def test_what_does_not_pass_ends_it_at_once_with_its_cause(code: str) -> None:
    out = io.StringIO()
    station = Plan(iter([fails(LedgerError("no", hint="do", code=code))]))
    runner = Runner("relay", lambda: station, Journal("relay", out))
    with pytest.raises(LedgerError) as raised:
        runner.run()
    assert raised.value.code == code and station.closed == 1
    assert lines(out)[-1] == {**lines(out)[-1], "event": "gave up", "code": code, "why": "no", "hint": "do", "level": "error"}


def test_patience_has_an_end() -> None:
    lost = LogError("the server does not answer", code="log_connection_lost")
    begun = time.monotonic()
    with pytest.raises(LogError):
        run(*[fails(lost)] * 50, patience=1)
    assert 1 <= time.monotonic() - begun < 10


def test_a_failure_while_it_is_made_is_a_failure_like_others() -> None:
    out, tries = io.StringIO(), []

    def make() -> Plan:
        tries.append(1)
        if len(tries) < 3:
            raise LogError("no", code="log_connection_lost")
        return Plan(iter([lambda: runner.stop() or 1]))

    runner = Runner("project", make, Journal("project", out))
    runner.run()
    assert len(tries) == 3


def test_it_stops_in_the_middle_of_a_long_step() -> None:
    out = io.StringIO()

    def long() -> int:
        while True:
            runner.go_on()
            time.sleep(0.01)

    station = Plan(iter([long]))
    runner = Runner("project", lambda: station, Journal("project", out))
    threading.Timer(0.2, runner.stop).start()
    begun = time.monotonic()
    runner.run()
    assert time.monotonic() - begun < 1 and station.closed == 1 and lines(out)[-1]["event"] == "stopped"
    with pytest.raises(Stopping):
        runner.go_on()


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_health_and_metrics() -> None:
    runner, _, _ = run(lambda: 1, lambda: 1)
    watch = Watch(runner, "127.0.0.1", 0)
    try:
        status, told = get(watch.port, "/health")
        assert status == 200 and json.loads(told) == {"station": "ingest", "well": True, "silent_seconds": 0, "log": 7}
        status, metrics = get(watch.port, "/metrics")
        assert status == 200
        for line in (
            'points_ledger_inputs_total{outcome="accepted"} 5.0',
            'points_ledger_refused_total{code="not_json"} 2.0',
            'points_ledger_done_total{what="published"} 4.0',
            'points_ledger_position{of="log"} 7.0',
            'points_ledger_lag{partition="0",topic="inbox"} 3.0',
            "points_ledger_parked 2.0",
        ):
            assert line in metrics, metrics
        runner._error = "no broker"
        status, told = get(watch.port, "/health")
        assert status == 503 and json.loads(told)["error"] == "no broker"
        assert get(watch.port, "/")[0] == 404
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(LedgerError) as raised:
                Watch(runner, "127.0.0.1", taken.getsockname()[1])
        assert raised.value.code == "port_taken"
    finally:
        watch.close()
