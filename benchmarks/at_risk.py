"""How fast is the list of those at risk, as of a past moment, over all partners? By one process and by several.

Each partner's whole life is swept, its forecast from the moment, and since when it is at risk. The processes' start is in the time.

    PYTHONPATH=. python benchmarks/at_risk.py --partners 2000 --events 100 --processes 2
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.histories import build
from consumers.bus import InProcessBus
from consumers.project import Project
from ledger.history import History
from ledger.instants import DAY, parse
from ledger.log import Log
from ledger.projections import spread
from ledger.projections.questions import Endangered, Moment, Questions
from ledger.projections.store import Store
from ledger.settings import collect_seldom

NOW = parse("2025-07-01")


def questions(path: Path) -> Questions:
    collect_seldom()
    return Questions(History(Log(path)), Store(path.with_suffix(".read.db")), lambda: NOW)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--partners", type=int, default=1000)
    options.add_argument("--events", type=int, default=100, help="of each partner")
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seed", type=int, default=20260630)
    asked = options.parse_args()
    print(f"seed {asked.seed}: {asked.partners} partners of {asked.events} events")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "ledger.db"
        build(path, asked.partners, asked.events, asked.seed)
        mine = questions(path)
        Project(InProcessBus(), mine.history, mine.store).rebuild()
        partners, moment = mine.history.partners(), Moment(as_of=NOW - 400 * DAY, known_at=mine.history.head())

        def timed(found: Iterable[Endangered]) -> tuple[float, int]:
            started = time.perf_counter()
            listed = len(list(found))
            return time.perf_counter() - started, listed

        rounds = []
        for _ in range(asked.rounds):
            alone, listed = timed(mine.at_risk(moment, partners))
            together, same = timed(spread.at_risk(partial(questions, path), partners, moment, asked.processes, lambda done: None))
            assert listed == same
            rounds.append((alone, together))
        alone, together = (median(each) for each in zip(*rounds, strict=True))
        print(f"{listed} of {len(partners)} partners listed")
        print(f"1 process     {len(partners) / alone:8,.0f} partners/s")
        print(f"{asked.processes} processes   {len(partners) / together:8,.0f} partners/s, {alone / together:.2f} x one")


if __name__ == "__main__":
    main()
