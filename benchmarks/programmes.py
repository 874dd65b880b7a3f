"""How fast are partners of all programmes evaluated to their present standing? Against selecting and decoding the same events.

A mix of the shipped programmes, the same number of partners of each, about so many events a partner. Evaluating is: the events of a
partner from the log, facts, the sweep of every rulebook in force, and of each ladder the performance and credited tier and all values.

read, evaluate   partners and events a second on one core; both cores at once with --processes 2
per step         microseconds of evaluating (without reading) for each entering or leaving of a fact in a measure
awards           the rulebook of most awards against the same rulebook with one of them, the measures being the same

    PYTHONPATH=. python benchmarks/programmes.py --partners 400 --events 100 --rounds 3 --processes 2
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.histories import DAY_SECONDS, DAYS, SINCE, partner_story
from ledger.events.envelope import Sealed
from ledger.history import History
from ledger.instants import DAY, Instant, parse
from ledger.intake import Accepted, Intake
from ledger.log import Log
from ledger.rules.book import Book
from ledger.rules.library import Library, shipped
from ledger.rules.life import Force, Life
from ledger.settings import collect_seldom

NOW = parse("2025-07-01")
YEARS_BACK = {"microsoft-competencies": 4}
"""How much earlier a programme's histories are, so that its rulebooks have awards then."""

Said = tuple[float, str, dict[str, Any]]


def certificates(dice: random.Random, partner: str, codes: list[str], events: int) -> Iterator[Said]:
    people = [f"{partner}-H{n}" for n in range(8)]
    for person in people:
        yield dice.uniform(0, 30), "person.linked.v1", {"person": person}
    for _ in range(events):
        yield dice.uniform(30, DAYS), "certification.earned.v1", {"person": dice.choice(people), "code": dice.choice(codes)}


def competencies(dice: random.Random, partner: str, events: int) -> Iterator[Said]:
    book = next(book for book in reversed(shipped()) if book.programme == "microsoft-competencies" and book.awards)
    codes = sorted({code for measure in book.measures.values() for code in measure.codes})
    yield from certificates(dice, partner, codes, events * 2 // 3)
    yield 400, "membership.purchased.v1", {"level": "Gold"}
    for month in range(events // 4):
        area = dice.choice(("cloud-crm", "cloud-business-applications", "erp"))
        yield month * 30, "metric.measured.v1", {"metric": "revenue", "area": area, "value": str(dice.randrange(50_000))}


def capability(dice: random.Random, partner: str, events: int) -> Iterator[Said]:
    books = [book for book in shipped() if book.programme == "microsoft-capability"]
    codes = sorted({code for measure in books[-1].measures.values() for code in measure.codes})
    yield from certificates(dice, partner, codes, events // 3)
    for n in range(events // 2):
        area, client = dice.choice(("data-ai", "infrastructure", "security", "modern-work")), f"{partner}-C{n % 5}"
        data = {"metric": "consumption", "area": area, "client": client, "service": f"S{n % 7}", "value": str(dice.randrange(5_000))}
        yield 30 * (n // 2), "metric.measured.v1", data


def copernica(dice: random.Random, partner: str, events: int) -> Iterator[Said]:
    yield from certificates(dice, partner, ["advanced"], events // 10)
    for activity in ("profile", "registered", "article", "fair", "link"):
        yield dice.uniform(0, 300), "activity.claimed.v1", {"activity": activity}
        yield dice.uniform(300, 600), "activity.confirmed.v1", {"activity": activity}
    for n in range(events * 2 // 3):
        yield n * 15, "metric.measured.v1", {"metric": "emails", "value": str(dice.randrange(1_000))}


def licences(dice: random.Random, partner: str, events: int) -> Iterator[Said]:
    for n in range(events - 1):
        data = {
            "client": f"{partner}-C{n % 5}", "product": "office", "service": dice.choice(("exchange", "teams")),
            "subscription": f"S{n % 9}", "sold": dice.randrange(1, 90), "assigned": dice.randrange(90), "active": dice.randrange(90),
        }  # fmt: skip
        yield n * 10, "licences.counted.v1", data


STORIES: dict[str, Callable[[random.Random, str, int], Iterator[Said]]] = {
    "copernica": copernica, "microsoft-capability": capability, "microsoft-competencies": competencies, "microsoft-licences": licences,
}  # fmt: skip


def told(dice: random.Random, programme: str, partner: str, events: int) -> list[dict[str, Any]]:
    if programme == "hubspot":
        return partner_story(dice, partner, events)
    said = [(0.0, "partner.enrolled.v1", {"programme": programme, "country": "US"}), *STORIES[programme](dice, partner, events - 1)]
    return [
        {
            "specversion": "1.0", "id": f"{partner}-{n}", "source": "crm", "subject": partner, "type": kind, "data": data,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(SINCE + int((day - 365 * YEARS_BACK.get(programme, 0)) * DAY_SECONDS))),
        }
        for n, (day, kind, data) in enumerate(sorted(said, key=lambda one: one[0]))
    ]  # fmt: skip


def build(path: Path, programmes: list[str], partners: int, events: int, seed: int) -> dict[str, list[str]]:
    dice, made = random.Random(seed), dict[str, list[str]]()
    with Log(path) as log:
        intake = Intake(log, lambda: NOW)
        for programme in programmes:
            for n in range(partners):
                partner = f"{programme}-{n:05}"
                receipts = intake.record(told(dice, programme, partner, events))
                assert all(isinstance(receipt, Accepted) for receipt in receipts), receipts
                made.setdefault(programme, []).append(partner)
    return made


def evaluate(events: list[Sealed], force: tuple[Force, ...], at: Instant = NOW) -> int:
    """How many facts entered or left, by the way."""
    life = Life(events, force)
    life.values(at)
    for ladder in life.ladders():
        ladder.tier(at)
        ladder.credited_tier(at)
    life.forget()
    return sum(2 * len(p.presents(measure)) for p in life.performances for measure in p.book.measures.values())


def run(path: Path, partners: list[str], *, read_only: bool = False) -> tuple[float, int, int]:
    """Seconds, events and steps."""
    library, steps, count = Library(), 0, 0
    force = {programme: library.force(programme) for programme in library.programmes()}
    with Log(path) as log:
        history = History(log)
        started = time.perf_counter()
        for partner in partners:
            events = list(history.events(partner))
            count += len(events)
            programme = partner.rpartition("-")[0]
            if not read_only:
                steps += evaluate(events, force[programme], NOW - 365 * YEARS_BACK.get(programme, 0) * DAY)
        return time.perf_counter() - started, count, steps


def one_award(path: Path, partners: list[str], rounds: int) -> float:
    """All awards against one, on the last rulebook that has most of them."""
    book = max((each for each in shipped() if each.awards), key=lambda each: len(each.awards))
    few = replace(book, awards=dict(list(book.awards.items())[:1]))

    def seconds(each: Book) -> float:
        force = (Force(each),)
        started = time.perf_counter()
        for events in histories:
            life = Life(events, force)
            for ladder in life.ladders():
                ladder.tier(NOW)
            life.forget()
        return time.perf_counter() - started

    with Log(path) as log:
        histories = [list(History(log).events(partner)) for partner in partners]
    ratios = [seconds(book) / seconds(few) for _ in range(rounds)]
    print(f"{len(book.awards)} awards take {median(ratios):.2f} x the time of one ({book.name})")
    return median(ratios)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--partners", type=int, default=400, help="of each programme")
    options.add_argument("--events", type=int, default=100, help="of each partner, about")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--seed", type=int, default=20260630)
    asked = options.parse_args()
    collect_seldom()
    programmes = [programme for programme in Library().programmes() if programme == "hubspot" or programme in STORIES]
    print(f"seed {asked.seed}: {asked.partners} partners of about {asked.events} events of each of {', '.join(programmes)}")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "ledger.db"
        made = build(path, programmes, asked.partners, asked.events, asked.seed)
        everyone = [partner for partners in made.values() for partner in partners]
        rounds = [(run(path, everyone, read_only=True), run(path, everyone)) for _ in range(asked.rounds)]
        for name, found in zip(("read", "evaluate"), zip(*rounds, strict=True), strict=True):
            seconds, events = median(each[0] for each in found), found[0][1]
            print(f"{name:9} {len(everyone) / seconds:9,.0f} partners/s {events / seconds:10,.0f} events/s on one core")
        print(f"evaluate / read rate {median(read[0] / both[0] for read, both in rounds):.3f}")
        parts = [everyone[n :: asked.processes] for n in range(asked.processes)]
        with ProcessPoolExecutor(asked.processes) as pool:
            started = time.perf_counter()
            done = list(pool.map(run, [path] * len(parts), parts))
            seconds = time.perf_counter() - started
        rate = sum(each[1] for each in done) / seconds / asked.processes
        print(f"{asked.processes} processes: {len(everyone) / seconds:,.0f} partners/s, {rate:,.0f} events/s a core")
        steps: dict[str, float] = {}
        for programme, partners in made.items():
            pure = []
            for _ in range(asked.rounds):
                (reading, _, _), (both, _, moved) = run(path, partners, read_only=True), run(path, partners)
                pure.append((both - reading) / max(moved, 1) * 1e6)
            steps[programme] = median(pure)
        for programme, micros in steps.items():
            print(f"{programme:24} {micros:6.2f} us a step, {micros / steps['hubspot']:.2f} x hubspot")
        if "microsoft-competencies" in made:
            one_award(path, made["microsoft-competencies"], asked.rounds)


if __name__ == "__main__":
    main()
