"""The walk: the one place with memory. Credited tiers, checkpoints, reviews, memberships, as small steps over the performance.

It takes the stitched performance and the facts that are decisions (purchases, renewals, overrides of a tier, leaving), and never
feeds anything back into the sweep. State is handed from rulebook to rulebook.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from ledger.instants import BEGINNING, FOREVER, Instant, Span, minus, plus, to_datetime, wall
from ledger.rules.book import Book, Membership, Review
from ledger.rules.facts import Fact, Facts
from ledger.rules.sweep import Performance

RAISED, KEPT, HELD, DROPPED, REQUIRED, CARRIED, LIFTED, ENDED, LEFT = (
    "raised", "kept", "held", "dropped", "required", "carried over", "override", "override ended", "left",
)  # fmt: skip


class Step(NamedTuple):
    """The credited tier from `at` on, and what made it so."""

    at: Instant
    tier: str | None
    cause: str
    book: Book


class Checkpoint(NamedTuple):
    """What was seen at a checkpoint: the performance tier then, whether it was a review, and the credited tier after it."""

    at: Instant
    performance: str | None
    review: bool
    credited: str | None
    verdict: str


@dataclass(slots=True)
class Walk:
    """Credited tiers as consecutive steps, with the checkpoints that made them."""

    steps: list[Step] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    notices: list[tuple[Instant, str]] = field(default_factory=list)
    years: list[Year] = field(default_factory=list)

    def at(self, at: Instant) -> Step | None:
        i = bisect_right(self.steps, at, key=_step_at) - 1
        return self.steps[i] if i >= 0 else None

    def tier_at(self, at: Instant) -> str | None:
        step = self.at(at)
        return step.tier if step else None

    def step(self, at: Instant, tier: str | None, cause: str, book: Book) -> None:
        if (self.steps[-1].tier if self.steps else None) != tier:
            self.steps.append(Step(at, tier, cause, book))


def _step_at(step: Step) -> Instant:
    return step.at


@dataclass(slots=True)
class _Credit:
    """What the walk remembers from one instant to the next."""

    tier: str | None = None
    gained_at: Instant = BEGINNING
    window: list[str | None] = field(default_factory=list)


Ladder = Sequence[Performance]
"""What is met of one ladder of tiers, by each rulebook in its time of force."""


def walk(performances: Ladder, facts: Facts, horizon: Instant, ladders: Sequence[Ladder] = ()) -> Walk:
    """Walk the performance up to `horizon`, each rulebook in its time of force.

    `ladders` are those of all awards, where there are several: they share the years of a membership.
    """
    result, credit = Walk(), _Credit()
    begin = _beginning(performances)
    if begin is None:
        return result
    absences = _absences(facts, performances[-1].book.programme)
    for kind, run in groupby(performances, key=lambda performance: type(performance.book.status)):
        ladder = list(run)
        for performance in ladder:
            since, until = max(performance.since, begin), min(performance.until, horizon)
            if since < until:
                _hand_over(credit, performance, result, since)
                if kind is not Membership:
                    _policy(performance, credit, result, since, until, absences)
        since, until = max(ladder[0].since, begin), min(ladder[-1].until, horizon)
        if kind is Membership and since < until:
            shared = [[p for p in each if isinstance(p.book.status, Membership)] for each in ladders] or [ladder]
            for at, back in absences:
                if since <= at < until:
                    _member(ladder, shared, facts, credit, result, since, at)
                    credit.tier = None
                    result.step(at, None, LEFT, _in_force(ladder, at).book)
                    since = back
            if since < until:
                _member(ladder, shared, facts, credit, result, since, until)
    return result


def _beginning(performances: Sequence[Performance]) -> Instant | None:
    """The first instant with a fact; a rulebook's own border is none."""
    first = min([performance.first for performance in performances], default=FOREVER)
    return first if first < FOREVER else None


def _absences(facts: Facts, programme: str) -> list[tuple[Instant, Instant]]:
    """When a partner that had enrolled has left: it holds no tier then."""
    stays = [fact for fact in facts.of("enrolment") if fact.data.programme in (None, programme)]
    absences = []
    for fact in stays:
        if fact.end < FOREVER:
            back = min((other.start for other in stays if other.start >= fact.end), default=FOREVER)
            absences.append((fact.end, back))
    return absences


def _hand_over(credit: _Credit, performance: Performance, result: Walk, at: Instant) -> None:
    """A tier that the new rulebook does not know becomes what it says of it, else none."""
    book = performance.book
    if credit.tier is None or credit.tier in book.ranks:
        return
    carried = book.status.carry.get(credit.tier) if isinstance(book.status, Review) else None
    credit.tier = carried if carried in book.ranks else None
    credit.gained_at = at
    result.step(at, credit.tier, CARRIED, book)


def _policy(
    performance: Performance, credit: _Credit, result: Walk, since: Instant, until: Instant,
    absences: list[tuple[Instant, Instant]],
) -> None:  # fmt: skip
    status = performance.book.status
    if isinstance(status, Review):
        _reviewed(performance, status, credit, result, since, until, absences)
    else:
        _continuous(performance, credit, result, since, until, absences)


def _continuous(
    performance: Performance, credit: _Credit, result: Walk, since: Instant, until: Instant,
    absences: list[tuple[Instant, Instant]],
) -> None:  # fmt: skip
    edges = {at for absence in absences for at in absence}
    for at in sorted({since, *performance.instants, *edges}):
        if since <= at < min(until, performance.broken_at):
            left = any(begin <= at < end for begin, end in absences)
            credit.tier = None if left else performance.tier_at(at)
            result.step(at, credit.tier, LEFT if left else "performance", performance.book)


def _reviewed(
    performance: Performance, policy: Review, credit: _Credit, result: Walk, since: Instant, until: Instant,
    absences: list[tuple[Instant, Instant]],
) -> None:  # fmt: skip
    book = performance.book
    leavings = [begin for begin, _ in absences if since <= begin < until]
    for at in _checkpoints(policy, book.zone, since, min(until, performance.broken_at)):
        while leavings and leavings[0] <= at:
            credit.tier = None
            result.step(leavings.pop(0), None, LEFT, book)
        if absences and any(begin <= at < end for begin, end in absences):
            credit.window.append(None)
            continue
        before = credit.tier
        met = performance.tier_at(at)
        credit.window.append(met)
        del credit.window[: -policy.window]
        review = _is_review(at, policy.reviews, book.zone)
        verdict = _judge(performance, policy, credit, at, review)
        result.checkpoints.append(Checkpoint(at, met, review, credit.tier, verdict))
        if credit.tier != before:
            credit.gained_at = at
            result.step(at, credit.tier, verdict, book)
    for at in leavings:
        credit.tier = None
        result.step(at, None, LEFT, book)


def _judge(performance: Performance, policy: Review, credit: _Credit, at: Instant, review: bool) -> str:
    """Raise at any checkpoint; at a review keep, hold or drop."""
    book, met = performance.book, credit.window[-1]
    if met == credit.tier and not review:
        return ""
    if book.rank(met) > book.rank(credit.tier):
        credit.tier = met
        return RAISED
    if not review or credit.tier is None:
        return ""
    if policy.required is not None and not _required_holds(performance, policy.required, credit.tier, at):
        credit.tier = None
        return REQUIRED
    best = max((tier for tier in credit.window), key=book.rank, default=None)
    if book.rank(best) >= book.rank(credit.tier):
        return KEPT
    if at < plus(credit.gained_at, policy.hold, book.zone):
        return HELD
    credit.tier = best if book.rank(best) else None
    return DROPPED


def _required_holds(performance: Performance, required: str, tier_name: str, at: Instant) -> bool:
    tier = performance.book.tier(tier_name)
    scope = performance.scope_at(at)
    return all(scope.meets_one(tier, i) for i, need in enumerate(tier.needs) if need.name == required)


def _checkpoints(policy: Review, zone: str, since: Instant, until: Instant) -> Iterator[Instant]:
    """00:00 of the policy's day of each month in [since, until)."""
    first = to_datetime(since, zone)
    month = first.year * 12 + first.month - 1
    while True:
        at = _checkpoint(zone, month, policy.day)
        if at >= until:
            return
        if at >= since:
            yield at
        month += 1


@lru_cache(maxsize=4096)
def _checkpoint(zone: str, month: int, day: int) -> Instant:
    return wall(zone, month // 12, month % 12 + 1, day)


@lru_cache(maxsize=4096)
def _is_review(at: Instant, reviews: tuple[tuple[int, int], ...], zone: str) -> bool:
    day = to_datetime(at, zone)
    return (day.month, day.day) in reviews


def reviews_between(policy: Review, zone: str, after: Instant, until: Instant) -> Iterator[Instant]:
    """The reviews later than `after`, up to and including `until`."""
    at = next_review(policy, zone, after)
    while at <= until:
        yield at
        at = next_review(policy, zone, at)


def next_review(policy: Review, zone: str, after: Instant) -> Instant:
    """The first review later than `after`."""
    year = to_datetime(after, zone).year
    days = [wall(zone, y, month, day) for y in (year, year + 1) for month, day in policy.reviews]
    return min(at for at in days if at > after)


class Year(NamedTuple):
    """A year of membership at the level that was bought. It is tested at its anniversary, and closes if it is not renewed by then."""

    start: Instant
    level: str
    anniversary: Instant
    closes: Instant
    renewed: bool


def years(ladders: Sequence[Ladder], facts: Facts, since: Instant, until: Instant) -> Iterator[Year]:
    """The years that begin in [since, until). A purchase has effect once a level is met, on any of the ladders.

    What was bought before a partner left has no effect after its return. Buying a higher level begins a new year; after one that was
    not renewed a new purchase is needed.
    """
    left = [fact.end for fact in facts.of("enrolment") if fact.end <= since]
    purchases, free = facts.of("purchase"), max(left, default=BEGINNING)
    while (begun := _bought(ladders, [fact for fact in purchases if fact.start >= free], since, until)) is not None:
        at, level = begun
        anniversary = _anniversary(ladders[0], at, at)
        while True:
            book = _in_force(ladders[0], at).book
            higher = next((f for f in purchases if at < f.start < anniversary and book.rank(f.data.level) > book.rank(level)), None)
            if higher is not None:
                yield Year(at, level, higher.start, higher.start, True)
                at, level = higher.start, higher.data.level
                anniversary = _anniversary(ladders[0], at, at)
                continue
            opens, closes = _window(ladders[0], anniversary)
            renewal = next((fact for fact in facts.of("renewed") if opens <= fact.start < closes), None)
            yield Year(at, level, anniversary, closes, renewal is not None)
            if renewal is None:
                break
            at, level = anniversary, renewal.data.level or level
            anniversary = _anniversary(ladders[0], anniversary, renewal.start, renewed=True)
        since = free = closes


def _bought(ladders: Sequence[Ladder], purchases: Sequence[Fact], since: Instant, until: Instant) -> tuple[Instant, str] | None:
    """The first instant at which something was bought and a level is met, with the level of the last purchase."""
    if not purchases:
        return None
    begin = max(since, purchases[0].start)
    turns = {at for ladder in ladders for at in _turns(ladder, begin, until)}
    for at in sorted({begin, *turns, *[fact.start for fact in purchases if fact.start >= begin]}):
        if at < until and any(_attained(ladder, at) is not None for ladder in ladders):
            return at, [fact.data.level for fact in purchases if fact.start <= at][-1]
    return None


def _membership(ladder: Ladder, at: Instant) -> tuple[Membership, str]:
    book = _in_force(ladder, at).book
    policy = book.status if isinstance(book.status, Membership) else _LAST_POLICY
    return policy, book.zone


def _window(ladder: Ladder, anniversary: Instant) -> tuple[Instant, Instant]:
    """In which a renewal counts: from the day after the anniversary on."""
    policy, zone = _membership(ladder, anniversary)
    return plus(anniversary, _DAY, zone), plus(plus(anniversary, policy.renewal, zone), _DAY, zone)


def _anniversary(ladder: Ladder, old: Instant, at: Instant, *, renewed: bool = False) -> Instant:
    """The next anniversary: a year after the beginning, or as the day of the renewal says."""
    policy, zone = _membership(ladder, at)
    if not renewed:
        return plus(at, _YEAR, zone)
    base, span = policy.next_rows[0][1], policy.next_rows[0][2]
    for since, row_base, row_span in policy.next_rows:
        if since <= at:
            base, span = row_base, row_span
    return plus(old if base == "anniversary" else at, span, zone)


def _in_force(ladder: Ladder, at: Instant) -> Performance:
    for performance in ladder:
        if at < performance.until:
            return performance
    return ladder[-1]


def _turns(ladder: Ladder, since: Instant, until: Instant) -> list[Instant]:
    """Where another tier is met, or another rulebook comes into force."""
    found = {at for performance in ladder for at in performance.turns(since, until)}
    return sorted(found | {performance.since for performance in ladder if since <= performance.since < until})


def _best(ladder: Ladder, since: Instant, until: Instant) -> str | None:
    """The highest tier that is met at an instant of [since, until]."""
    rank = _in_force(ladder, until).book.rank
    return max((_in_force(ladder, at).tier_at(at) for at in (since, *_turns(ladder, since, until + 1))), key=rank)


def _attained(ladder: Ladder, at: Instant) -> str | None:
    """The tier that one may have at an instant: that which is met, now or in the span in which once is enough."""
    policy, zone = _membership(ladder, at)
    return _best(ladder, min(at, policy.tested(at, zone)[0]), at)


def _member(
    ladder: Ladder, ladders: Sequence[Ladder], facts: Facts, credit: _Credit, result: Walk, since: Instant, until: Instant
) -> None:  # fmt: skip
    """Proficiency and purchase make active; the anniversary tests; renewal in its window keeps, else the level is lost."""
    until = min(until, *[performance.broken_at for performance in ladder])
    for year in years(ladders, facts, since, until):
        result.years.append(year)
        _active(ladder, year, facts, credit, result, until)
        policy, zone = _membership(ladder, year.anniversary)
        if year.closes == year.anniversary or year.anniversary >= until:
            continue
        _announce(result, policy, year.anniversary, zone)
        begin, end = policy.tested(year.anniversary, zone)
        if end < until:
            best = _lower(ladder, year.level, _best(ladder, begin, end), year.anniversary)
            _credit(ladder, credit, result, max(end, year.anniversary), best, "anniversary failed", falls=True)
        if not year.renewed and year.closes < until:
            _credit(ladder, credit, result, year.closes, None, "not renewed", falls=True)


def _active(ladder: Ladder, year: Year, facts: Facts, credit: _Credit, result: Walk, until: Instant) -> None:
    """Within the year a level can only be gained; an offer that names an award is for that award."""
    award = ladder[0].book.award
    own = [f.start for f in facts.of("purchase") if not award or f.data.offer in (None, award) or f.data.offer not in ladder[0].book.among]
    begin = max([year.start, *own[:1]])
    window = {at for at in own if year.start <= at < year.anniversary}
    for at in sorted({begin, *window, *_turns(ladder, begin, year.anniversary)}) if own else ():
        if year.start <= at < min(year.anniversary, until) and at >= own[0]:
            _credit(ladder, credit, result, at, _lower(ladder, year.level, _attained(ladder, at), at), "active")


def _lower(ladder: Ladder, bought: str, met: str | None, at: Instant) -> str | None:
    return min(bought, met, key=_in_force(ladder, at).book.rank) if met is not None else None


def _credit(
    ladder: Ladder, credit: _Credit, result: Walk, at: Instant, tier: str | None, cause: str, *, falls: bool = False
) -> None:  # fmt: skip
    book = _in_force(ladder, at).book
    if book.rank(tier) < book.rank(credit.tier) if falls else book.rank(tier) > book.rank(credit.tier):
        credit.tier, credit.gained_at = tier if book.rank(tier) else None, at
        result.step(at, credit.tier, cause, book)


_YEAR, _DAY = Span(months=12), Span(days=1)
_LAST_POLICY = Membership(Span(days=30), Span(days=15), Span(days=23), ((BEGINNING, "anniversary", Span(days=365)),), None)


def _announce(result: Walk, policy: Membership, anniversary: Instant, zone: str) -> None:
    result.notices += [
        (minus(anniversary, policy.remind_before, zone), "reminder before the anniversary"),
        (anniversary, "anniversary"),
        (plus(anniversary, policy.remind_after, zone), "reminder after the anniversary"),
    ]


def lift(walked: Walk, performances: Sequence[Performance], facts: Facts) -> Walk:
    """The credited tiers with overrides of a tier on top, while they last. The walk never sees them."""
    overrides = [fact for fact in facts.of("override") if fact.data.tier and fact.start < fact.end]
    overrides = [fact for fact in overrides if any(p.book.acts_on["tier"] == "credited" and p.reading.covers(fact) for p in performances)]
    if not overrides:
        return walked
    lifted = Walk(checkpoints=walked.checkpoints, notices=walked.notices, years=walked.years)
    edges = {at for fact in overrides for at in (fact.start, fact.end) if at < FOREVER}
    edges |= {step.at for step in walked.steps} | {p.since for p in performances if p.since > BEGINNING}
    for at in sorted(edges):
        book = _book_at(performances, at)
        step = walked.at(at)
        base = step.tier if step else None
        tiers = [fact.data.tier for fact in overrides if fact.start <= at < fact.end]
        best = max([base, *tiers], key=book.rank)
        cause = LIFTED if best != base else ENDED if step is None or step.at != at else step.cause
        lifted.step(at, best if book.rank(best) else None, cause, book)
    return lifted


def _book_at(performances: Sequence[Performance], at: Instant) -> Book:
    for performance in performances:
        if performance.since <= at < performance.until:
            return performance.book
    return performances[-1].book
