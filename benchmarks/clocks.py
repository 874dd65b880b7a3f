"""How fast are the read models in two clocks, as a ledger that was lived has them? On SQLite, in one run, as ratios.

The partners are of many sizes (one in fifty has ten times as many events), and are recorded day by day: most events on the day on
which they are true, one in twenty up to two months late, one in a hundred reversed some weeks after.

rebuild        all rows made anew, against selecting and decoding the same events, on one core
ranking        of all partners at random pairs of dates, against reading the rows of the very answers from a table in their order;
               and by the engine, of one pair, for what the rows save
restatements   what one day's commits made another of past tiers, against reading those rows from a table
live           one more event: recorded, relayed, applied, visible

    PYTHONPATH=. python benchmarks/clocks.py --partners 2000 --events 50
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.histories import partner_story
from benchmarks.rebuild import rebuild, select_and_decode
from consumers.bus import InProcessBus
from consumers.project import Project
from consumers.relay import Relay
from ledger.history import History
from ledger.instants import DAY, parse
from ledger.intake import Intake
from ledger.log import Log
from ledger.projections.questions import Moment, Questions
from ledger.projections.store import CLOCKED, Store
from ledger.settings import collect_seldom

BEGUN, ENDED = parse("2022-07-01"), parse("2025-07-01")
REVERSIBLE = ("points.sold.v1",)


def lived(partners: int, events: int, seed: int) -> Iterator[tuple[int, list[bytes]]]:
    """The events that are recorded on each day, with the instant at which that is."""
    dice = random.Random(seed)
    days: dict[int, list[bytes]] = {}
    for n in range(partners):
        size = events * 10 if n % 50 == 0 else max(20, int(events * dice.uniform(0.3, 1.3)))
        for one in partner_story(dice, f"P-{n:06}", size):
            at = parse(one["time"])
            late = dice.randrange(2, 60) if dice.random() < 0.05 else 0
            day = (at - BEGUN) // DAY + 1 + late
            days.setdefault(day, []).append(json.dumps(one).encode())
            if one["type"] in REVERSIBLE and dice.random() < 0.01:
                back = day + dice.randrange(5, 60)
                reversal = {
                    **one, "id": f"{one['id']} back", "type": "event.reversed.v1",
                    "time": time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime((BEGUN + back * DAY) // 1_000_000)),
                    "data": {"reverses": {"source": one["source"], "id": one["id"]}, "reason": "typing error", "author": "admin"},
                }  # fmt: skip
                days.setdefault(back, []).append(json.dumps(reversal).encode())
    for day in sorted(days):
        yield BEGUN + (day + 1) * DAY, days[day]


def load(path: Path, partners: int, events: int, seed: int) -> float:
    """Seconds of recording, a commit a day."""
    now = BEGUN
    seconds = 0.0
    with Log(path) as log:
        intake = Intake(log, lambda: now)
        for at, batch in lived(partners, events, seed):
            now = at
            started = time.perf_counter()
            intake.record(batch)
            seconds += time.perf_counter() - started
    return seconds


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def read_in_order(rows: Sequence[tuple[Any, ...]]) -> float:
    """Seconds that reading these very rows takes, from a table of their own, in their order."""
    with tempfile.TemporaryDirectory() as directory, closing(sqlite3.connect(Path(directory) / "answer.db")) as connection:
        width = len(rows[0]) if rows else 1
        connection.execute(f"CREATE TABLE answer ({', '.join(f'c{n}' for n in range(width))})")
        connection.executemany(f"INSERT INTO answer VALUES ({','.join('?' * width)})", rows)
        connection.commit()
        return timed(lambda: connection.execute("SELECT * FROM answer ORDER BY rowid").fetchall())[0]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--partners", type=int, default=2000)
    options.add_argument("--events", type=int, default=50, help="of a partner of the middle size")
    options.add_argument("--questions", type=int, default=7)
    options.add_argument("--live", type=int, default=200)
    options.add_argument("--seed", type=int, default=20260630)
    asked = options.parse_args()
    collect_seldom()
    dice = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "ledger.db"
        seconds = load(path, asked.partners, asked.events, asked.seed)
        with Log(path) as log:
            head = log.head()
        print(f"seed {asked.seed}: {asked.partners} partners, {head:,} events recorded in {seconds:.1f} s, a commit a day")
        decoded, made = select_and_decode(path), rebuild(path)
        each = 1e6 * made / head, 1e6 * decoded / head
        print(f"rebuild {each[0]:.1f} us an event, select and decode {each[1]:.1f}: {decoded / made:.3f} of its rate")
        sizes = path.stat().st_size, path.with_suffix(".read.db").stat().st_size
        print(f"log {sizes[0] / 2**20:.0f} MiB, read models {sizes[1] / 2**20:.0f} MiB")
        measure(path, asked, dice)


def measure(path: Path, asked: argparse.Namespace, dice: random.Random) -> None:
    with Log(path) as log, closing(Store(path.with_suffix(".read.db"))) as store:
        history, head = History(log), log.head()
        _, ((ended,),) = store.query("SELECT COUNT(*) FROM tiers_known WHERE known_until IS NOT NULL")
        counts = {name: store.query(f"SELECT COUNT(*) FROM {name}")[1][0][0] for name in (*CLOCKED, "known")}
        told = ", ".join(f"{name} {count / head:.2f}" for name, count in counts.items())
        print(f"rows an event: {told}; {ended:,} levels that are known no more")

        questions = Questions(history, store, lambda: ENDED)
        ratios, took, shares = [], [], []
        for _ in range(asked.questions):
            known_when = dice.randrange(BEGUN + 400 * DAY, ENDED)
            moment = Moment(as_of=dice.randrange(BEGUN + 300 * DAY, known_when), known_at=history.position_at(known_when))
            seconds, ranked = timed(lambda: questions.ranking(moment))  # noqa: B023
            points = [json.dumps({name: str(value) for name, value in row.points.items()}) for row in ranked]
            rows = [(r.place, r.partner, r.credited, r.performance, str(r.score), told) for r, told in zip(ranked, points, strict=True)]
            ratios.append(seconds / read_in_order(rows))
            took.append(seconds)
            shares.append(len(questions._from_rows(moment, questions.as_of(moment))) / len(history.partners()))
        alone = Questions(history, store, lambda: ENDED, lambda: 0)
        by_engine, found = timed(lambda: alone.ranking(moment))
        assert found == ranked, "the engine and the rows rank alike"
        print(f"ranking {median(took):.3f} s, {median(ratios):.0f} x reading its rows ({min(ratios):.0f} to {max(ratios):.0f}; wanted 3); "
              f"{100 * median(shares):.0f} % of the partners from rows; by the engine {by_engine:.2f} s")  # fmt: skip

        days = [history.position_at(BEGUN + day * DAY) for day in range(300, 1000)]
        ratios, took, many = [], [], []
        for after, until in dice.sample(list(pairwise(days)), 50):
            seconds, restated = timed(lambda: store.restated(after, until))  # noqa: B023
            rows = [tuple(getattr(each, name) for name in each.__slots__) for each in restated]
            if rows:
                ratios.append(seconds / read_in_order(rows))
                took.append(seconds)
                many.append(len(rows))
        spent, ratio = 1000 * median(took), median(ratios)
        print(f"restatements of a day {spent:.2f} ms, {median(many):.0f} rows, {ratio:.1f} x reading them (wanted 3)")
        live(log, history, store, asked.live, dice)


def live(log: Log, history: History, store: Store, count: int, dice: random.Random) -> None:
    bus, partners = InProcessBus(), history.partners()
    project, relay = Project(bus, history, store), Relay(log, bus, log.head())
    intake = Intake(log, lambda: ENDED)
    took = []
    for n in range(count):
        sale = {
            "specversion": "1.0", "id": f"live-{n}", "source": "crm/deals", "subject": dice.choice(partners), "type": "points.sold.v1",
            "time": "2025-06-30T12:00:00Z", "data": {"client": "C", "line": "crm", "amount": "100.00", "currency": "USD"},
        }  # fmt: skip

        def once(sale: dict[str, Any] = sale) -> None:
            intake.record([json.dumps(sale).encode()])
            relay.step()
            project.step()

        took.append(timed(once)[0])
    assert store.position() == log.head()
    cuts = quantiles(took, n=100)
    print(f"live: visible after {1000 * median(took):.1f} ms (p50), {1000 * cuts[98]:.1f} ms (p99)")


if __name__ == "__main__":
    main()
