"""Memberships and what is performed for them, as the tables that programmes publish: one row a stretch, one row a metric and month.

It knows no programme: the awards, their options and thresholds are those of the rulebook in force. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from ledger.instants import Instant, to_datetime, wall
from ledger.rules.answers import Notice
from ledger.rules.book import Book, Requirement
from ledger.rules.life import Life
from ledger.rules.people import teams
from ledger.rules.presence import Present
from ledger.rules.risk import sides
from ledger.rules.standing import notices
from ledger.rules.sweep import Performance, StateScope
from ledger.rules.walk import Year

ACTIVE, GRACE, INACTIVE = "Active", "In Grace Period", "Inactive"
IN_EFFECT, WAITS, WITHOUT_EFFECT = "in effect", "no effect yet", "without effect"
MONTHS = 12


@dataclass(frozen=True, slots=True)
class Stretch:
    """A level that an award had from `start` until `end`: the anniversary while active, the end of the window while in grace."""

    award: str
    group: str
    level: str
    status: str
    start: Instant
    end: Instant | None


@dataclass(frozen=True, slots=True)
class Purchase:
    """What was bought, and whether it has begun a year; without proficiency it waits."""

    at: Instant
    level: str
    offer: str | None
    effect: str
    since: Instant | None
    position: int


@dataclass(frozen=True, slots=True)
class MembershipView:
    stretches: tuple[Stretch, ...]
    purchases: tuple[Purchase, ...]
    coming: tuple[Notice, ...]
    benefits: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class MonthOfMetric:
    """One metric of one option in one month. `thresholds` by level; `contribution` is what the month brought.

    An amount that counts for a time is added up: over twelve months, and since the year of membership began. Of anything else (people,
    levels, scores) both are what is there at the month's end.
    """

    award: str
    option: str
    month: str
    metric: str
    contribution: Fraction
    twelve_months: Fraction
    anniversary_year: Fraction | None
    thresholds: dict[str, Fraction]


# -- membership --------------------------------------------------------------------------------------------------------


def membership(life: Life, at: Instant) -> MembershipView:
    """Every stretch that began up to an instant, what was bought, and the days that come in the current year."""
    ahead = life.ahead(at)
    stretches = [stretch for ladder in _ladders(life) for stretch in _stretches(ladder, at)]
    stretches.sort(key=lambda each: (each.status == INACTIVE, each.award, each.start))
    coming = tuple(day for day in notices(ahead) if day.at > at)
    return MembershipView(tuple(stretches), tuple(_purchases(life, at)), coming, dict(life.book(at).benefits))


def _ladders(life: Life) -> list[Life]:
    return life.ladders() if not life.award else [life]


def _stretches(life: Life, at: Instant) -> Iterator[Stretch]:
    steps = [step for step in life.walked(at).steps if step.at <= at]
    ends: list[Instant | None] = [*[step.at for step in steps], None]
    for step, end in zip(steps, ends[1:], strict=True):
        if step.tier is not None:
            group = step.book.of(life.award).group if life.award else ""
            stretch = Stretch(life.award or step.book.programme, group, step.tier, INACTIVE, step.at, end)
            yield stretch if end is not None else _current(life, stretch, at)


def _current(life: Life, stretch: Stretch, at: Instant) -> Stretch:
    year = _year(life.ahead(at), at)
    if year is None:
        return replace(stretch, status=ACTIVE)
    in_grace = year.tested and year.anniversary <= at
    return replace(stretch, status=GRACE if in_grace else ACTIVE, end=year.closes if in_grace else year.anniversary)


def _year(life: Life, at: Instant) -> Year | None:
    years = life.walked(life.settled_at).years
    return next((year for year in years if year.start <= at < max(year.anniversary, year.closes)), None)


def _purchases(life: Life, at: Instant) -> Iterator[Purchase]:
    years = sorted({year for ladder in _ladders(life) for year in ladder.walked(at).years if year.start <= at})
    for fact in life.facts.of("purchase"):
        if fact.start > at:
            continue
        level, begun = fact.data.level, [year.start for year in years if year.start >= fact.start and year.paid_at == year.start]
        since = min([start for start in begun if any(year.start == start and year.level == level for year in years)], default=None)
        effect = IN_EFFECT if since is not None else WAITS if _waits(life.book(at), fact.start, level, years, at) else WITHOUT_EFFECT
        yield Purchase(fact.start, level, fact.data.offer, effect, since, fact.event.position)


def _waits(book: Book, bought_at: Instant, level: str, years: list[Year], at: Instant) -> bool:
    """Whether a purchase may still begin a year: a higher level of this membership, or anything for the one after it."""
    if not years:
        return True
    last = years[-1]
    if bought_at >= last.free_from:
        return True
    ended = not last.renewed and last.closes <= at
    first = max([year.start for year, before in pairwise(reversed(years)) if not before.renewed], default=years[0].start)
    return not ended and bought_at > first and book.rank(level) > book.rank(last.level)


# -- performance -------------------------------------------------------------------------------------------------------


def performance(life: Life, at: Instant, months: int = MONTHS) -> list[MonthOfMetric]:
    """Each metric of each option of each award, month by month up to that of an instant."""
    zone = life.book(at).zone
    day = to_datetime(at, zone)
    last = day.year * 12 + day.month - 1
    numbers = range(last - months + 1, last + 1)
    return [row for ladder in _ladders(life) for number in numbers for row in _month(ladder, number, at)]


def _first(zone: str, number: int) -> Instant:
    """The first instant of a month, counted from the year 0."""
    return wall(zone, number // 12, number % 12 + 1)


def _month(life: Life, number: int, as_of: Instant) -> Iterator[MonthOfMetric]:
    """By the rulebook in force at the month's end."""
    zone = life.book(as_of).zone
    begin, a_year_back, at = _first(zone, number), _first(zone, number - 11), min(_first(zone, number + 1) - 1, as_of)
    year = _year(life, at)
    for option, metric, thresholds in _metrics(life.scope(at)):
        amounts = _amounts(life.performance(at), metric)
        now = life.scope(at).number(metric)
        if amounts is None:
            brought, twelve, since = now - _number(life, begin - 1, metric), now, now
        else:
            brought, twelve = _between(amounts, begin, at), _between(amounts, a_year_back, at)
            since = _between(amounts, year.start if year is not None else at, at)
        yield MonthOfMetric(
            life.award or life.book(at).programme, option, f"{number // 12:04}-{number % 12 + 1:02}", metric, brought, twelve,
            since if year is not None else None, thresholds,
        )  # fmt: skip


def _number(life: Life, at: Instant, name: str) -> Fraction:
    book = life.book(at)
    return life.scope(at).number(name) if name in book.measures or name in book.numbers else Fraction(0)


def _amounts(swept: Performance, metric: str) -> list[Present] | None:
    """What is added up in a metric, each amount for a time; None for what is there or not there."""
    measure = swept.book.measures.get(metric)
    if measure is None or measure.aggregate not in ("sum", "count") or measure.presence.span is None or measure.presence.after is not None:
        return None
    return None if measure.is_of_earlier else swept.reading.presents(measure)


def _between(amounts: Iterable[Present], begin: Instant, until: Instant) -> Fraction:
    return sum([present.value for present in amounts if begin <= present.start <= until and present.start < present.end], Fraction(0))


def _metrics(scope: StateScope) -> Iterator[tuple[str, str, dict[str, Fraction]]]:
    """Each option's metrics in order, with what each level asks of them; after a score its parts, of which nothing is asked."""
    book, found = scope.performance.book, dict[tuple[str, str], dict[str, Fraction]]()
    for tier in book.tiers:
        for need in tier.needs:
            for metric, threshold in _asked(need, scope):
                thresholds = found.setdefault((tier.option, metric), {})
                if threshold is not None:
                    thresholds[tier.name] = threshold
    for (option, metric), thresholds in found.items():
        yield option, metric, thresholds
        for part in book.rests_on([metric]) if metric in book.numbers else ():
            if (option, part) not in found:
                yield option, part, {}


def _asked(need: Requirement, scope: StateScope) -> Iterator[tuple[str, Fraction | None]]:
    """The metrics of a requirement with what it asks of each; of a team, how many of each role."""
    book, roles = scope.performance.book, teams(need.test.text)
    for group, members in roles:
        for count, role in members:
            yield f"{group}.{role}", Fraction(count)
    if roles:
        return
    parts = need.test.comparison()
    if parts is not None and (parts[0].text in book.measures or parts[0].text in book.numbers):
        yield parts[0].text, sides(scope, need)[1]
        return
    for name in book.rests_on(need.test.names):
        yield name, None


__all__ = ["MembershipView", "MonthOfMetric", "Purchase", "Stretch", "membership", "performance"]
