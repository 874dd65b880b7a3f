"""What does one more event of a large partner cost, until the read models have it?

record     the door: guards, log, commit
first      apply, by a process that has not seen the partner before: its events are read, folded and swept once
next       apply, by the same process: what still counts is swept from the event's instant on
late       apply, of an event that is two months late

Beside them the same for a partner of 100 events, and a sweep of the large partner's whole life. Milliseconds: median and, where there are
several, the 99th percentile. The log is on SQLite, with `synchronous=FULL`.

    PYTHONPATH=. python benchmarks/large.py --events 100,10000,200000 --count 40
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.histories import build
from consumers.bus import InProcessBus
from consumers.project import Project
from consumers.relay import Relay
from ledger.history import History
from ledger.instants import DAY, parse, text
from ledger.intake import Accepted, Intake
from ledger.log import Log
from ledger.projections.rows import content_of
from ledger.projections.store import Store
from ledger.rules.library import Library
from ledger.settings import collect_seldom

NOW, HOUR = parse("2025-07-02"), DAY // 24


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", default="100,10000,200000")
    options.add_argument("--count", type=int, default=40, help="events of each kind")
    options.add_argument("--seed", type=int, default=20260630)
    asked = options.parse_args()
    collect_seldom()
    print(f"seed {asked.seed}")
    for size in map(int, asked.events.split(",")):
        with tempfile.TemporaryDirectory() as directory:
            _measure(Path(directory) / "ledger.db", size, asked.count, random.Random(asked.seed))


def _measure(path: Path, size: int, count: int, dice: random.Random) -> None:
    build(path, 1, size, dice.randrange(10**9))
    with Log(path) as log:
        history, store = History(log), Store(path.with_suffix(".read.db"))
        Project(InProcessBus(), history, store).rebuild()
        (partner,) = history.partners()
        clock = iter(NOW + n * HOUR for n in range(10 * count + 10))
        now = [next(clock)]
        intake = Intake(log, lambda: now[0])
        bus = InProcessBus()
        relay, project = Relay(log, bus, store.position()), Project(bus, history, store)

        def write(lag: int) -> tuple[float, float]:
            now[0] = next(clock)
            event = _sale(partner, dice, now[0] - lag)
            started = time.perf_counter()
            (receipt,) = intake.record([event])
            recorded = time.perf_counter()
            assert isinstance(receipt, Accepted), receipt
            while relay.step():
                pass
            while project.step():
                pass
            return (recorded - started) * 1000, (time.perf_counter() - recorded) * 1000

        _, first = write(0)
        following = [write(0) for _ in range(count)]
        late = [write(60 * DAY)[1] for _ in range(max(3, count // 8))]
        events = history.events(partner)
        library = Library(history.published())
        whole = _timed(lambda: content_of(events, library, log.head()))
        applied = [each[1] for each in following]
        print(
            f"{size:7,} events   record {median(each[0] for each in following):6.1f}   first {first:8.1f}   next {median(applied):7.1f} "
            f"(p99 {quantiles(applied, n=100)[-1]:7.1f})   late {median(late):8.1f}   "
            f"whole life {whole:8.1f}   next/whole {median(applied) / whole:.3f}"
        )
        store.close()


def _sale(partner: str, dice: random.Random, at: int) -> bytes:
    data: dict[str, Any] = {
        "client": f"{partner}-C0", "line": "sales", "amount": f"{dice.randrange(100, 300_000) / 100:.2f}", "currency": "USD",
    }  # fmt: skip
    event = {
        "specversion": "1.0", "id": f"{partner}-{dice.randrange(10**12)}", "source": "benchmark", "type": "points.sold.v1",
        "subject": partner, "time": text(at), "data": data,
    }  # fmt: skip
    return json.dumps(event).encode()


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
