"""Achievements: what is reached, the quick wins that are open, who would be nominated, and the awards of each year.

An achievement is a number of the rulebook that is a condition, a value held against its bar: `certified_reached: certified >= 2`.
Which they are, and what they are worth, the rulebook alone says. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from math import floor, lcm
from operator import itemgetter
from typing import NamedTuple

from ledger.errors import NotFound
from ledger.instants import Instant, wall
from ledger.projections.supposed import Supposed
from ledger.rules.answers import Basis, Change, Changes
from ledger.rules.book import Book, Measure, Number
from ledger.rules.breakdown import EXPIRED
from ledger.rules.life import Life
from ledger.rules.presence import Present
from ledger.rules.risk import about
from ledger.rules.sweep import StateScope

SCORE = "score"
RANKED_BY = ("total", SCORE)
NOMINEES = 10
WON, NOMINATED = "won", "nominated"


@dataclass(frozen=True, slots=True)
class Achievement:
    """A value held against its bar. `brings`: the number if the value were at the bar, minus the number now."""

    name: str
    measure: str
    value: Fraction
    bar: Fraction
    reached: bool
    missing: Fraction
    brings: Fraction
    test: str
    assumed: bool
    line: int


class Place(NamedTuple):
    """A place in a ranking by one number; shared places are 1, 2, 2, 4."""

    place: int
    partner: str
    name: str
    score: Fraction


@dataclass(frozen=True, slots=True)
class Honour:
    """A nomination or an award, by the event that recorded it."""

    year: int
    award: str
    partner: str
    name: str
    what: str
    at: Instant
    position: int


def achievements(life: Life, at: Instant, number: str | None = None) -> list[Achievement]:
    """Every achievement of the rulebook in force, in its order, by what it brings to a number; default the total or score.

    Raises NotFound where the rulebook has no such number, or no achievements.
    """
    scope, book = life.scope(at), life.book(at)
    if number is not None and number not in book.numbers:
        hint = f"its numbers: {', '.join(book.numbers) or 'none'}"
        raise NotFound(f"{book.name} has no number {number!r}", hint=hint, code="unknown_number")
    number = number or score_of(book)
    found = [_achievement(scope, condition, number) for condition in conditions(book)] if number is not None else []
    if not found:
        hint = "an achievement is a number that holds a measure against a bar, such as reached: certified >= 2"
        raise NotFound(f"{book.name} has no achievements", hint=hint, code="no_achievements")
    return found


def quick_wins(life: Life, at: Instant, number: str | None = None) -> list[Achievement]:
    """The open achievements that would bring something, the most first."""
    wins = [each for each in achievements(life, at, number) if not each.reached and each.brings > 0]
    return sorted(wins, key=lambda win: -win.brings)


def conditions(book: Book) -> list[Number]:
    """The numbers that are a value held against a bar."""
    split = [(number, number.formula.comparison()) for number in book.numbers.values()]
    return [number for number, parts in split if parts is not None and parts[1] in (">=", ">") and parts[0].names == {parts[0].text}]


def _achievement(scope: StateScope, condition: Number, number: str) -> Achievement:
    parts = condition.formula.comparison()
    assert parts is not None
    measure, threshold = parts[0].text, parts[2].evaluate(scope)
    assert not isinstance(threshold, str)
    value, reached = scope.number(measure), bool(condition.formula.evaluate(scope))
    bar = Fraction(threshold) if parts[1] == ">=" else Fraction(floor(threshold) + 1)  # the next whole number is more
    brings = Fraction(0) if reached else Supposed(scope, {measure: bar}).number(number) - scope.number(number)
    return Achievement(
        condition.name, measure, value, bar, reached, Fraction(0) if reached else bar - value, brings,
        condition.formula.text, _rests_on_assumed(scope.performance.book, condition, number), condition.line,
    )  # fmt: skip


def _rests_on_assumed(book: Book, condition: Number, number: str) -> bool:
    """Whether the bar, the value or what it brings is a number that no owner published."""
    measures, between, seen = set(book.rests_on([condition.name])), [number], set[str]()
    while between:
        name = between.pop()
        if name in book.numbers and name not in seen and measures & set(book.rests_on([name])):
            seen.add(name)
            between += book.numbers[name].formula.names
    stated: list[Number | Measure] = [condition, *[book.numbers[name] for name in seen], *[book.measures[name] for name in measures]]
    return any(each.assumed for each in stated)


# -- what a score gained and lost --------------------------------------------------------------------------------------


def scored_by(book: Book) -> str | None:
    """The number by which a rulebook ranks: its total or score, else the first that it shows or has."""
    return next((name for name in (score_of(book), *book.shown, *book.numbers, *book.measures) if name is not None), None)


def score_of(book: Book) -> str | None:
    """The rulebook's total or score; None where it has neither."""
    return next((name for name in RANKED_BY if name in book.numbers or name in book.measures), None)


def told_by(book: Book) -> tuple[str, ...]:
    """The numbers whose changes tell how a partner does: the total or score, else those that the rulebook shows."""
    score = score_of(book)
    return book.shown if score is None else (score,)


def changes(life: Life, on: Basis, since: Instant, until: Instant) -> Changes:
    """What [since, until) brought and took of the numbers that no lots make up, each step with the measure that moved, and the event.

    Of several measures that move in one instant each is asked for after the one before it, so that the steps add up.
    """
    names = told_by(life.book(until - 1))
    edges = life.edges(since, until)
    steps = tuple(step for name in names for at in edges for step in _steps(life, name, at) if step.delta)
    before, after = life.values(since - 1), life.values(until - 1)
    zero = Fraction(0)
    return Changes(
        on, since, until, {name: before.get(name, zero) for name in names}, {name: after.get(name, zero) for name in names},
        tuple(sorted(steps, key=lambda step: step.at)),
    )  # fmt: skip


def _steps(life: Life, name: str, at: Instant) -> Iterator[Change]:
    before, scope, book = life.values(at - 1), life.scope(at), life.book(at)
    told = before.get(name, Fraction(0))
    known = name in book.numbers or name in book.measures
    given = {measure: before[measure] for measure in book.measures if measure in before}
    now = Supposed(scope, given).number(name) if known else Fraction(0)
    yield Change(at, name, now - told, "rules changed", None, None, book.name)
    for measure in sorted(book.rests_on([name])) if known else ():
        value = scope.number(measure)
        if given.get(measure) != value:
            told, given[measure] = now, value
            now = Supposed(scope, given).number(name)
            yield _step(life, name, measure, at, now - told)


def _step(life: Life, name: str, measure: str, at: Instant, delta: Fraction) -> Change:
    """By the first of the events with which the measure moves at the instant: one that brings something before one that takes it away."""
    performance = life.performance(at)
    presents = [present for present in performance.presents(performance.book.measures[measure]) if present.start < present.end]
    moved = [present for present in presents if present.start == at] or [present for present in presents if present.end == at]
    if not moved:
        return Change(at, name, delta, "rules changed", None, None, measure)
    first = min(moved, key=lambda present: present.fact.event.position)
    event = first.fact.event
    what = ", ".join(dict.fromkeys(filter(None, (about(present.fact.data) for present in moved))))
    client = getattr(event.event.data, "client", None)
    return Change(at, name, delta, _cause(first, at), client, event.position, measure if what in ("", measure) else f"{measure}: {what}")


def _cause(present: Present, at: Instant) -> str:
    """The kind of the event that brought it or ended it; what ends by itself has expired."""
    if present.start == at:
        return present.fact.event.event.kind.rpartition(".")[0]
    ender = present.fact.ender
    return ender.event.kind.rpartition(".")[0] if ender is not None and present.end == present.fact.end else EXPIRED


# -- many partners ---------------------------------------------------------------------------------------------------


def scores(lives: Iterable[tuple[str, Life]], at: Instant, number: str = SCORE) -> dict[str, Fraction]:
    """The number of each partner at an instant; those that had left the programme by then are not among them."""
    return {partner: life.scope(at).number(number) for partner, life in lives if not life.left(at)}


def ranking(scored: Mapping[str, Fraction], names: Mapping[str, str] | None = None) -> list[Place]:
    """By score, within a place by name (the partner's id where there is none)."""
    called = (names or {}).get
    unit = lcm(*{score.denominator for score in scored.values()})
    ordered = sorted(
        (-score.numerator * (unit // score.denominator), name.casefold(), name, partner, score)
        for partner, score in scored.items()
        for name in (called(partner, partner),)
    )
    places: list[Place] = []
    for _, sharing in groupby(ordered, key=itemgetter(0)):
        first = len(places) + 1
        places += [Place(first, partner, name, score) for _, _, name, partner, score in sharing]
    return places


def nominees(scored: Mapping[str, Fraction], names: Mapping[str, str] | None = None, best: int = NOMINEES) -> list[Place]:
    """The best above 0, all those on the last place included."""
    return [place for place in ranking(scored, names) if place.score > 0 and place.place <= best]


def second_quarter_end(year: int, zone: str) -> Instant:
    """The instant at which nominees are found: the last microsecond of 30 June."""
    return wall(zone, year, 7, 1) - 1


def awards(lives: Iterable[tuple[str, Life]], at: Instant, names: Mapping[str, str] | None = None) -> dict[int, list[Honour]]:
    """Nominations and awards that had been given by an instant, by the year that they are for: by award, the winners first."""
    found = [honour for partner, life in lives for honour in _honours(partner, life, at, (names or {}).get(partner, partner))]
    found.sort(key=lambda each: (each.year, each.award, each.what != WON, each.name.casefold(), each.partner))
    years: dict[int, list[Honour]] = {}
    for honour in found:
        years.setdefault(honour.year, []).append(honour)
    return years


def _honours(partner: str, life: Life, at: Instant, name: str) -> Iterator[Honour]:
    """What was stated twice is one honour, given at the first."""
    for kind, what in (("award", WON), ("nomination", NOMINATED)):
        seen = set()
        for fact in life.facts.of(kind):
            if fact.start <= at and fact.key not in seen:
                seen.add(fact.key)
                yield Honour(int(fact.data.year), fact.data.award, partner, name, what, fact.start, fact.event.position)


__all__ = [
    "Achievement", "Honour", "Place", "achievements", "awards", "changes", "conditions", "nominees", "quick_wins", "ranking",
    "score_of", "scored_by", "scores", "second_quarter_end", "told_by",
]  # fmt: skip
