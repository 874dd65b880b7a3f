"""How fast are the read models made anew? Against selecting and decoding the same events, in one run, on one core.

read       every partner's events selected from the log and decoded, nothing else done with them
rebuild    `Project.rebuild`: facts, the sweep of every rulebook in force, the walk, rows of lots and levels, one transaction

Medians over rounds; peak memory of the rebuild at this length and at a quarter of it.

    PYTHONPATH=. python benchmarks/rebuild.py --partners 2000 --events 100 --rounds 3
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.histories import build
from consumers.bus import InProcessBus
from consumers.project import Project
from ledger.history import History
from ledger.log import Log
from ledger.projections.store import Store
from ledger.settings import collect_seldom


def read(path: Path) -> float:
    with Log(path) as log:
        history = History(log)
        started = time.perf_counter()
        for partner in history.partners():
            history.events(partner)
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
    """MiB at the highest, of a process of its own that rebuilds."""
    code = (
        "import resource, sys; from pathlib import Path; from benchmarks.rebuild import rebuild; rebuild(Path(sys.argv[1])); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--partners", type=int, default=2000)
    options.add_argument("--events", type=int, default=100, help="of each partner")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seed", type=int, default=20260630)
    asked = options.parse_args()
    collect_seldom()
    print(f"seed {asked.seed}: {asked.partners} partners of {asked.events} events")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "ledger.db"
        head = build(path, asked.partners, asked.events, asked.seed)
        rounds = [(read(path), rebuild(path)) for _ in range(asked.rounds)]
        for name, seconds in zip(("read", "rebuild"), zip(*rounds, strict=True), strict=True):
            print(f"{name:8} {head / median(seconds):10,.0f} events/s  {median(seconds) / head * 1e6:6.2f} us an event")
        print(f"rebuild / read rate {median(r / b for r, b in rounds):.3f} (median over {asked.rounds} rounds)")
        quarter = Path(directory) / "quarter.db"
        build(quarter, asked.partners // 4, asked.events, asked.seed)
        print(f"peak memory of a rebuild: {peak_of(quarter):.0f} MiB at {head // 4:,} events, {peak_of(path):.0f} MiB at {head:,}")


if __name__ == "__main__":
    main()
