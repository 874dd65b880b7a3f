"""Achievements: what is reached, the quick wins that are open, who would be nominated, and the awards of each year.

An achievement is a number of the rulebook that is a condition, a value held against its bar: `certified_reached: certified >= 2`.
Which they are, and what they are worth, the rulebook alone says. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from ledger.errors import NotFound
from ledger.instants import Instant, wall
from ledger.projections.supposed import Supposed
from ledger.rules.book import Number
from ledger.rules.life import Life
from ledger.rules.sweep import StateScope

SCORE = "score"
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


@dataclass(frozen=True, slots=True)
class Place:
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


def achievements(life: Life, at: Instant, number: str = SCORE) -> list[Achievement]:
    """Every achievement of the rulebook in force, in its order. Raises NotFound where the rulebook has no such number."""
    scope, book = life.scope(at), life.book(at)
    if number not in book.numbers:
        hint = f"its numbers: {', '.join(book.numbers) or 'none'}"
        raise NotFound(f"{book.name} has no number {number!r}", hint=hint, code="unknown_number")
    found = [_achievement(scope, condition, number) for condition in book.numbers.values()]
    return [each for each in found if each is not None]


def quick_wins(life: Life, at: Instant, number: str = SCORE) -> list[Achievement]:
    """The open achievements that would bring something, the most first."""
    wins = [each for each in achievements(life, at, number) if not each.reached and each.brings > 0]
    return sorted(wins, key=lambda win: -win.brings)


def _achievement(scope: StateScope, condition: Number, number: str) -> Achievement | None:
    """None for a number that is no value held against a bar."""
    parts = condition.formula.comparison()
    if parts is None or parts[1] not in (">=", ">") or parts[0].names != {parts[0].text}:
        return None
    measure, threshold = parts[0].text, parts[2].evaluate(scope)
    assert not isinstance(threshold, str)
    value, reached = scope.number(measure), bool(condition.formula.evaluate(scope))
    bar = Fraction(threshold) if parts[1] == ">=" else Fraction(floor(threshold) + 1)  # the next whole number is more
    brings = Fraction(0) if reached else Supposed(scope, {measure: bar}).number(number) - scope.number(number)
    return Achievement(
        condition.name, measure, value, bar, reached, Fraction(0) if reached else bar - value, brings,
        condition.formula.text, condition.assumed, condition.line,
    )  # fmt: skip


# -- many partners ---------------------------------------------------------------------------------------------------


def scores(lives: Iterable[tuple[str, Life]], at: Instant, number: str = SCORE) -> dict[str, Fraction]:
    """The number of each partner at an instant; those that had left the programme by then are not among them."""
    return {partner: life.scope(at).number(number) for partner, life in lives if not life.left(at)}


def ranking(scored: Mapping[str, Fraction], names: Mapping[str, str] | None = None) -> list[Place]:
    """By score, within a place by name (the partner's id where there is none)."""
    called = {partner: (names or {}).get(partner, partner) for partner in scored}
    places: list[Place] = []
    for i, partner in enumerate(sorted(scored, key=lambda each: (-scored[each], called[each].casefold(), called[each], each)), start=1):
        shared = places and places[-1].score == scored[partner]
        places.append(Place(places[-1].place if shared else i, partner, called[partner], scored[partner]))
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


__all__ = ["Achievement", "Honour", "Place", "achievements", "awards", "nominees", "quick_wins", "ranking", "scores", "second_quarter_end"]
