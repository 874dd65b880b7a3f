"""`points run` as its operator sees it: lines of JSON, health, and an end within a second of being told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.stations.ground import PARTITIONS, SECONDS, Ground, mixture

CLI = Path(__file__).parent.parent.parent / "cli.py"


def started(ground: Ground, *words: str, log: Path) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ, "POINTS_LEDGER_KAFKA": ground.server, "POINTS_LEDGER_TOPICS": ground.prefix,
        "POINTS_LEDGER_PARTITIONS": str(PARTITIONS), "POINTS_LEDGER_PATH": ground.url,
    }  # fmt: skip
    return subprocess.Popen([sys.executable, str(CLI), "run", *words], stderr=log.open("wb"), stdout=subprocess.PIPE, env=environment)


def told(log: Path, event: str) -> dict[str, str]:
    until = time.monotonic() + SECONDS
    while True:
        found = [line for line in map(json.loads, log.read_text().splitlines()) if line["event"] == event]
        if found:
            return found[-1]
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.02)


def test_the_four_stations_as_processes(ground: Ground, tmp_path: Path) -> None:
    names = ("ingest", "relay", "project", "expire")
    logs = {name: tmp_path / f"{name}.log" for name in names}
    processes = {name: started(ground, name, "--listen", "127.0.0.1:0", log=logs[name]) for name in names}
    try:
        ports = {name: told(logs[name], "listens")["port"] for name in names}
        ground.publish(mixture(1, 100))
        until = time.monotonic() + SECONDS
        while not ground.is_settled():
            assert time.monotonic() < until, {name: log.read_text() for name, log in logs.items()}
            time.sleep(0.1)
        for name, port in ports.items():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                assert json.load(answer)["station"] == name
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['ingest']}/metrics", timeout=5) as answer:
            n = ground.numbers()
            assert f'points_ledger_inputs_total{{outcome="accepted"}} {float(n["inbox, accepted"])}' in answer.read().decode()
        for name, process in processes.items():
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            told(logs[name], "stopped")
            assert time.monotonic() - begun < 1.5, f"{name} took too long to stop its work"
            assert process.wait(SECONDS) == 0
            print(name, "ended after", round(time.monotonic() - begun, 2), "s")
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    ground.check()


@pytest.mark.parametrize(("change", "code", "exit_code"), [
    ({"POINTS_LEDGER_KAFKA": "127.0.0.1:1"}, "bus_unreachable", 8),
    ({"POINTS_LEDGER_PATH": "postgresql://someone:secret@127.0.0.1:1/ledger"}, "log_connection_lost", 6),
    ({"POINTS_LEDGER_PATH": "ledger.db"}, "stations_need_postgres", 6),
    ({"POINTS_LEDGER_PARTITIONS": "7"}, "topic_partitions", 8),
    ({"POINTS_LEDGER_TOPICS": "nothing."}, "topic_missing", 8),
])  # fmt: skip
def test_what_is_wrong_ends_it_with_its_cause(ground: Ground, tmp_path: Path, change: dict[str, str], code: str, exit_code: int) -> None:
    environment = {
        **os.environ, "POINTS_LEDGER_KAFKA": ground.server, "POINTS_LEDGER_TOPICS": ground.prefix,
        "POINTS_LEDGER_PARTITIONS": str(PARTITIONS), "POINTS_LEDGER_PATH": ground.url, **change,
    }  # fmt: skip
    done = subprocess.run([sys.executable, str(CLI), "run", "relay", "--patience", "1"], env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=SECONDS, check=False)
    assert done.returncode == exit_code and code in done.stderr, done.stderr
    assert "secret" not in done.stderr and "Traceback" not in done.stderr
    last = json.loads([line for line in done.stderr.splitlines() if line.startswith("{")][-1])
    assert last["event"] == "gave up" and last["code"] == code and last["hint"]
