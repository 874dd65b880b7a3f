"""How fast are the read models made anew? Against selecting and decoding the same events, in one run, on one core.

read       every partner's events selected from the log and decoded as the ledger does it: its own bytes, trusted
decode     the same events selected with plain sqlite3 and checked whole, as bytes of another system are
rebuild    `Project.rebuild`: facts, the sweep of every rulebook in force, the walk, rows of lots and levels, one transaction
runner     `eventsourcing`'s own `ProjectionRunner` writing one row an event on PostgreSQL, over a few thousand events as long as
           ours (see `runner.py`); from the start of the runner to the last commit. A server works for it; ours is one process

Rates are in events of partners, over the same log; rounds take the ways in turn, ratios are taken within a round, and medians over
rounds. Then the peak memory of a rebuild, in a process of its own, at a quarter of the length and at the whole (Linux only).

    PYTHONPATH=. python benchmarks/rebuild.py --partners 2000 --events 100 --rounds 3
    PYTHONPATH=. python benchmarks/rebuild.py --partners 10000 --events 100 --rounds 3        # a million events
    PYTHONPATH=. python benchmarks/rebuild.py --dsn "host=127.0.0.1 dbname=ledger user=ledger"  # a PostgreSQL that runs already
    PYTHONPATH=. python benchmarks/rebuild.py --runner 0                                       # without PostgreSQL
"""

from __future__ import annotations

import argparse
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.histories import build
from consumers.bus import InProcessBus
from consumers.project import Project
from ledger.events.envelope import Event, decode
from ledger.history import History
from ledger.log import Log
from ledger.projections.store import Store
from ledger.settings import collect_seldom

if TYPE_CHECKING:
    from benchmarks.runner import Library

PARTNERS = "FROM stored_events WHERE originator_id >= 'partner/' AND originator_id < 'partner0'"
BODY = 73  # where the bytes of the event begin in its stored state, counted from 1
READ_AT_LEAST = 1 / 3
RUNNER_AT_LEAST = 20


def read(path: Path) -> float:
    with Log(path) as log:
        history = History(log)
        started = time.perf_counter()
        for partner in history.partners():
            history.events(partner)
        return time.perf_counter() - started


def select_and_decode(path: Path) -> float:
    with closing(sqlite3.connect(path)) as log:
        partners = [row[0] for row in log.execute(f"SELECT DISTINCT originator_id {PARTNERS}")]
        started = time.perf_counter()
        for partner in partners:
            bodies = log.execute(
                f"SELECT substr(state, {BODY}) FROM stored_events WHERE originator_id = ? ORDER BY originator_version", (partner,)
            )
            for event in [decode(body) for (body,) in bodies]:
                assert type(event) is Event, event
        return time.perf_counter() - started


def rebuild(path: Path) -> float:
    with Log(path) as log:
        store = Store(path.with_suffix(".read.db"))
        project = Project(InProcessBus(), History(log), store)
        started = time.perf_counter()
        project.rebuild()
        seconds = time.perf_counter() - started
        store.close()
        return seconds


def peak_of(path: Path) -> float:
    """MiB at the highest, of a process of its own that rebuilds. `ru_maxrss` would not do: on Linux it begins at its parent's."""
    code = (
        "import sys; from pathlib import Path; from benchmarks.rebuild import peak, rebuild; from ledger.settings import collect_seldom; "
        "collect_seldom(); rebuild(Path(sys.argv[1])); print(peak())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def peak() -> float:
    """MiB that this process held at the highest."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def lengths(path: Path, limit: int = -1) -> list[int]:
    """The bytes of partners' events."""
    with closing(sqlite3.connect(path)) as log:
        return [row[0] for row in log.execute(f"SELECT length(state) - {BODY - 1} {PARTNERS} LIMIT ?", (limit,))]


@contextmanager
def library(path: Path, asked: argparse.Namespace) -> Iterator[Library | None]:
    """The library's own way, with as many events as were asked for; None, and why, where it cannot be measured."""
    with ExitStack() as until_done:
        try:
            from benchmarks import runner
        except ImportError as error:
            print(f"runner left out: {error}; it needs pip install -e '.[postgres]'")
            yield None
            return
        if asked.dsn is None and not runner.installed():
            print(f"runner left out: {', '.join(runner.BINARIES)} are not on the path, and no --dsn was given")
            yield None
            return
        dsn = asked.dsn or until_done.enter_context(runner.server())
        yield until_done.enter_context(closing(runner.Library(dsn, lengths(path, asked.runner), asked.events)))


def measure(path: Path, events: int, theirs: Library | None) -> dict[str, float]:
    """One round: events a second of each way."""
    found = {name: events / way(path) for name, way in (("read", read), ("decode", select_and_decode), ("rebuild", rebuild))}
    return found | ({"runner": theirs.events / theirs.seconds()} if theirs else {})


def report(rounds: Sequence[dict[str, float]]) -> None:
    for name in rounds[0]:
        rate = median(found[name] for found in rounds)
        print(f"{name:8} {rate:10,.0f} events/s  {1e6 / rate:8.2f} us an event")
    for name, least in (("read", READ_AT_LEAST), ("decode", READ_AT_LEAST), ("runner", RUNNER_AT_LEAST)):
        if name in rounds[0]:
            ratios = [found["rebuild"] / found[name] for found in rounds]
            wanted = f"median of {len(rounds)} rounds, {min(ratios):.3f} to {max(ratios):.3f}; wanted {least:.3g}"
            print(f"rebuild / {name:7} {median(ratios):7.3f}  ({wanted})")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--partners", type=int, default=2000)
    options.add_argument("--events", type=int, default=100, help="of each partner")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seed", type=int, default=20260630)
    options.add_argument("--runner", type=int, default=5000, help="events for the library's runner; 0 leaves it out")
    options.add_argument("--dsn", help="of a PostgreSQL that runs already; without it one is started")
    asked = options.parse_args()
    collect_seldom()
    print(f"seed {asked.seed}: {asked.partners} partners of {asked.events} events")
    with tempfile.TemporaryDirectory() as directory:
        path, quarter = Path(directory) / "ledger.db", Path(directory) / "quarter.db"
        head = build(path, asked.partners, asked.events, asked.seed)
        bytes_each = lengths(path)
        events = len(bytes_each)
        print(f"{head:,} events in the log, {events:,} of partners, of {median(bytes_each):.0f} bytes (median)")
        with library(path, asked) if asked.runner else nullcontext() as theirs:
            report([measure(path, events, theirs) for _ in range(asked.rounds)])
        build(quarter, asked.partners // 4, asked.events, asked.seed)
        peaks = peak_of(quarter), peak_of(path)
        print(f"peak memory of a rebuild: {peaks[0]:.0f} MiB at {events // 4:,} events, {peaks[1]:.0f} MiB at {events:,}")


if __name__ == "__main__":
    main()
