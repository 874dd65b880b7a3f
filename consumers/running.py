"""A station as a process: steps until it is told to stop, begins again where a server fails, and gives up with the cause in the end.

What goes wrong for a while (no broker, a connection that is lost, another process that was quicker) is tried again, later each time, for at
most so long; what no waiting mends (a wrong password, a topic made anew, a gap) ends it at once.
"""

from __future__ import annotations

import json
import logging
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, TextIO

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from consumers.bus import Stopping
from ledger.errors import LedgerError

PASSING = {
    "bus_unreachable", "bus_unpublished", "bus_error", "station_overtaken", "log_connection_lost", "log_busy", "log_disk_full",
    "side_connection_lost", "side_busy", "side_disk_full",
}  # fmt: skip
"""Codes of errors that may pass."""

PATIENCE_SECONDS = 120
PAUSE_SECONDS = 0.05
FEW = 100
"""A step that found so little waits before the next: many small commits would take the machine from the other stations."""

LONGEST_SECONDS = 5.0
STALE_SECONDS = 60


class Station(Protocol):
    """What is run. It is made anew after every failure."""

    def step(self) -> int:
        """How much was done; 0 where there was nothing to do."""

    def facts(self) -> Facts:
        """Where it is."""

    def close(self) -> None: ...


@dataclass(slots=True)
class Facts:
    """What a station tells of itself."""

    positions: dict[str, int] = field(default_factory=dict)
    lags: dict[tuple[str, int], int] = field(default_factory=dict)
    parked: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)


class Journal:
    """One line of JSON for each thing that happens."""

    def __init__(self, station: str, out: TextIO | None = None) -> None:
        self._station = station
        self._out = out

    def __call__(self, event: str, *, level: str = "info", **more: Any) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"at": at, "level": level, "station": self._station, "event": event, **more}, default=str, ensure_ascii=False)
        print(line, file=self._out or sys.stderr, flush=True)

    def take_in(self) -> None:
        """What libraries log, from warnings on, in the same form."""
        journal = self

        class _Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                journal(record.getMessage(), level=record.levelname.lower(), of=record.name)

        logging.basicConfig(handlers=[_Handler(level=logging.WARNING)], force=True)


class Runner:
    """Runs one station in this thread until `stop` is called, from any thread or from a signal."""

    def __init__(
        self, name: str, make: Callable[[], Station], journal: Journal, *, patience_seconds: float = PATIENCE_SECONDS, seed: int = 0
    ) -> None:  # fmt: skip
        self.name = name
        self._make = make
        self._journal = journal
        self._patience = patience_seconds
        self._dice = random.Random(seed)
        self._stopped = threading.Event()
        self._failing_since: float | None = None
        self._failures: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._facts = Facts()
        self._alive_at = time.monotonic()
        self._error = ""

    def stop(self, *_: object) -> None:
        self._stopped.set()

    def go_on(self) -> None:
        """Called within long steps. Raises Stopping where the process was told to stop."""
        if self._stopped.is_set():
            raise Stopping

    def run(self) -> None:
        """Raises what ended it: an error that does not pass, or one that has lasted too long."""
        self._journal("started")
        tries = 0
        while not self._stopped.is_set():
            station: Station | None = None
            try:
                station = self._make()
                while not self._stopped.is_set():
                    done = station.step()
                    self._well(station)
                    tries = 0
                    if done < FEW:
                        self._stopped.wait(PAUSE_SECONDS)
            except Stopping:
                self._stopped.set()
            except LedgerError as error:
                tries += 1
                self._fail(error, tries)
            finally:
                if station is not None:
                    self._keep(station)
                    station.close()
        self._journal("stopped", counts=dict(self._counts))

    def _well(self, station: Station) -> None:
        self._alive_at = time.monotonic()
        if self._failing_since is not None:
            self._journal("goes on")
        self._failing_since, self._error = None, ""
        self._facts = station.facts()

    def _keep(self, station: Station) -> None:
        """A station that is made anew counts from 0."""
        try:
            facts = station.facts()
        except LedgerError:
            facts = self._facts
        self._counts.update(facts.counts)
        self._refused.update(facts.refused)
        self._facts.counts, self._facts.refused = {}, {}

    def _fail(self, error: LedgerError, tries: int) -> None:
        now = time.monotonic()
        self._failures[error.code] += 1
        self._error = str(error)
        if self._failing_since is None:
            self._failing_since = now
        if error.code not in PASSING or now - self._failing_since > self._patience:
            self._journal("gave up", level="error", code=error.code, why=error.what, hint=error.hint)
            raise error
        pause = min(LONGEST_SECONDS, 0.1 * 2 ** min(tries, 8)) * self._dice.uniform(0.5, 1)
        self._journal("tries again", level="warning", code=error.code, why=error.what, hint=error.hint, seconds=f"{pause:.1f}")
        self._stopped.wait(pause)

    # -- what others see ----------------------------------------------------------------------------------------

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether it is well, and in words."""
        silent = time.monotonic() - self._alive_at
        well = not self._error and silent < STALE_SECONDS
        told = {"station": self.name, "well": well, "silent_seconds": int(silent), **self._facts.positions}
        return well, told | ({"error": self._error} if self._error else {})

    def collect(self) -> Any:
        """For Prometheus."""
        facts = self._facts
        inputs = CounterMetricFamily("points_ledger_inputs", "Inputs taken in, by outcome.", labels=("outcome",))
        for outcome in ("accepted", "duplicate", "refused"):
            inputs.add_metric((outcome,), self._counts[outcome] + facts.counts.get(outcome, 0))
        refused = CounterMetricFamily("points_ledger_refused", "Inputs refused, by code.", labels=("code",))
        for code in sorted(self._refused.keys() | facts.refused.keys()):
            refused.add_metric((code,), self._refused[code] + facts.refused.get(code, 0))
        said = "Messages published or applied, partners announced, lots expired."
        done = CounterMetricFamily("points_ledger_done", said, labels=("what",))
        for what in sorted((self._counts.keys() | facts.counts.keys()) - {"accepted", "duplicate", "refused"}):
            done.add_metric((what,), self._counts[what] + facts.counts.get(what, 0))
        positions = GaugeMetricFamily("points_ledger_position", "How far, as a position of the log.", labels=("of",))
        for of, position in sorted(facts.positions.items()):
            positions.add_metric((of,), position)
        lags = GaugeMetricFamily("points_ledger_lag", "Messages that were not read yet.", labels=("topic", "partition"))
        for (topic, partition), lag in sorted(facts.lags.items()):
            lags.add_metric((topic, str(partition)), lag)
        failures = CounterMetricFamily("points_ledger_failures", "Failures of the station, by code.", labels=("code",))
        for code, count in sorted(self._failures.items()):
            failures.add_metric((code,), count)
        yield from (inputs, refused, done, positions, lags, failures)
        if facts.parked is not None:
            yield GaugeMetricFamily("points_ledger_parked", "Partners that cannot be applied.", value=facts.parked)

    def describe(self) -> list[Any]:
        return []


class Watch:
    """/health and /metrics of a runner, on a port."""

    def __init__(self, runner: Runner, host: str, port: int) -> None:
        registry = CollectorRegistry()
        registry.register(runner)

        class _Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/health":
                    well, told = runner.health()
                    self._answer(200 if well else 503, "application/json", json.dumps(told).encode())
                elif self.path == "/metrics":
                    self._answer(200, "text/plain; version=0.0.4; charset=utf-8", generate_latest(registry))
                else:
                    self._answer(404, "text/plain", b"there are /health and /metrics\n")

            def _answer(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: who looks is no news."""

        try:
            self._server = ThreadingHTTPServer((host, port), _Handler)
        except OSError as error:
            hint = "name another port, or none"
            raise LedgerError(f"{host}:{port} cannot be listened on: {error.strerror}", hint=hint, code="port_taken") from error
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True, name="watch").start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
