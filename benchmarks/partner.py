"""How long does an answer about a large partner take? One partner of many events, asked at random moments.

standing     by the books in force at any past moment, at risk and tier lost included; the ledger is open and the partner was asked before
cold         the same as the first question of all: its events are read, folded and swept
other book   the standing by a book that is named, as a first question
future       the standing at a moment to come, as a first question
why          the standing explained down to its events, as a first question

Milliseconds: median and 95th percentile.

    PYTHONPATH=. python benchmarks/partner.py --events 10000 --questions 200
"""

from __future__ import annotations

import argparse
import gc
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles

from benchmarks.histories import DAYS, build
from consumers.bus import InProcessBus
from consumers.project import Project
from ledger.history import History
from ledger.instants import DAY, parse
from ledger.log import Log
from ledger.projections.questions import Moment, Questions
from ledger.projections.store import Store
from ledger.settings import collect_seldom

NOW = parse("2025-07-01")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=10_000)
    options.add_argument("--questions", type=int, default=200, help="of the first kind; of the others a tenth")
    options.add_argument("--seed", type=int, default=20260630)
    asked = options.parse_args()
    collect_seldom()
    dice = random.Random(asked.seed)
    print(f"seed {asked.seed}: a partner of {asked.events:,} events")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "ledger.db"
        build(path, 1, asked.events, asked.seed)
        with Log(path) as log:
            history, store = History(log), Store(path.with_suffix(".read.db"))
            Project(InProcessBus(), history, store).rebuild()
            (partner,) = history.partners()

            def fresh() -> Questions:
                return Questions(history, store, lambda: NOW)

            def past() -> Moment:
                return Moment(as_of=NOW - dice.randrange(DAYS * DAY))

            warm, few = fresh(), max(5, asked.questions // 10)
            warm.standing(partner, Moment())
            others = [replace(past(), rulebook=dice.choice(("points-2022", "points-2025", "mrr-2020"))) for _ in range(few)]
            coming = [Moment(as_of=NOW + dice.randrange(365) * DAY) for _ in range(few)]
            report("standing", [timed(warm.standing, partner, past()) for _ in range(asked.questions)])
            report("cold", [timed(fresh().standing, partner, past()) for _ in range(few)])
            report("other book", [timed(fresh().standing, partner, moment) for moment in others])
            report("future", [timed(fresh().standing, partner, moment) for moment in coming])
            report("why", [timed(fresh().why, partner, past()) for _ in range(few)])
            store.close()


def timed(ask: Callable[[str, Moment], object], partner: str, moment: Moment) -> float:
    gc.collect()  # what the question before left behind is not this one's
    started = time.perf_counter()
    ask(partner, moment)
    return (time.perf_counter() - started) * 1000


def report(name: str, times: list[float]) -> None:
    print(f"{name:10} median {median(times):8.1f} ms   p95 {quantiles(times, n=20)[-1]:8.1f} ms   ({len(times)} questions)")


if __name__ == "__main__":
    main()
