"""The walk: the one place with memory. Credited tiers, checkpoints, reviews, memberships, as small steps over the performance.

It takes the stitched performance and the facts that are decisions (purchases, renewals, overrides of a tier, leaving), and never
feeds anything back into the sweep. State is handed from rulebook to rulebook.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from ledger.instants import BEGINNING, FOREVER, Instant, Span, minus, plus, to_datetime, wall
from ledger.rules.book import Book, Continuous, Membership, Review
from ledger.rules.facts import Facts
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
    anniversary: Instant | None = None


def walk(performances: Sequence[Performance], facts: Facts, horizon: Instant) -> Walk:
    """Walk the performance up to `horizon`, each rulebook in its time of force."""
    result, credit = Walk(), _Credit()
    begin = _beginning(performances)
    if begin is None:
        return result
    absences = _absences(facts, performances[-1].book.programme)
    for performance in performances:
        since, until = max(performance.since, begin), min(performance.until, horizon)
        if since >= until:
            continue
        _hand_over(credit, performance, result, since)
        _policy(performance, facts, credit, result, since, until, absences)
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
    performance: Performance, facts: Facts, credit: _Credit, result: Walk, since: Instant, until: Instant,
    absences: list[tuple[Instant, Instant]],
) -> None:  # fmt: skip
    status = performance.book.status
    match status:
        case Continuous():
            _continuous(performance, credit, result, since, until, absences)
        case Review():
            _reviewed(performance, status, credit, result, since, until, absences)
        case Membership():
            _member(performance, status, facts, credit, result, since, until)


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


def _member(
    performance: Performance, policy: Membership, facts: Facts, credit: _Credit, result: Walk, since: Instant,
    until: Instant,
) -> None:  # fmt: skip
    """Proficiency and purchase make active; the anniversary tests; renewal in its window keeps, else the level is lost."""
    book, at = performance.book, since
    until = min(until, performance.broken_at)
    while at < until:
        if credit.tier is None or credit.anniversary is None:
            begun = _begin_membership(performance, facts, at, until)
            if begun is None:
                return
            at, credit.tier = begun
            credit.gained_at, credit.anniversary = at, plus(at, _YEAR, book.zone)
            result.step(at, credit.tier, "active", book)
            _announce(result, policy, credit.anniversary, book.zone)
        if credit.anniversary >= until:
            return
        at = _anniversary(performance, policy, facts, credit, result, credit.anniversary)


_YEAR = Span(months=12)


def _begin_membership(performance: Performance, facts: Facts, since: Instant, until: Instant) -> tuple[Instant, str] | None:
    """The first instant at which a bought level is met. A purchase without proficiency waits for it."""
    book = performance.book
    for at in sorted({since, *performance.instants, *[fact.start for fact in facts.of("purchase")]}):
        if since <= at < until:
            bought = [fact.data.level for fact in facts.of("purchase") if fact.start <= at]
            met = performance.tier_at(at)
            level = bought[-1] if bought else None
            if level is not None and book.rank(level) and book.rank(met) >= book.rank(level):
                return at, level
    return None


def _anniversary(performance: Performance, policy: Membership, facts: Facts, credit: _Credit, result: Walk, at: Instant) -> Instant:
    """Test the level at the anniversary, or in the window before it; returns the instant from which to go on."""
    book = performance.book
    begin = minus(at, policy.test_window, book.zone) if policy.test_window else at
    tested = {at, *[instant for instant in performance.instants if begin <= instant <= at]}
    passed = any(book.rank(performance.tier_at(instant)) >= book.rank(credit.tier) for instant in tested)
    opens, closes = plus(at, _DAY, book.zone), plus(plus(at, policy.renewal, book.zone), _DAY, book.zone)
    renewed = next((fact.start for fact in facts.of("renewed") if opens <= fact.start < closes), None)
    if passed and renewed is not None:
        credit.anniversary = _next_anniversary(policy, at, renewed, book.zone)
        _announce(result, policy, credit.anniversary, book.zone)
        return renewed
    credit.tier, credit.anniversary = None, None
    lost = closes if passed else at
    result.step(lost, None, "not renewed" if passed else "anniversary failed", book)
    return lost


_DAY = Span(days=1)


def _next_anniversary(policy: Membership, old: Instant, renewed: Instant, zone: str) -> Instant:
    base, span = policy.next_rows[0][1], policy.next_rows[0][2]
    for since, row_base, row_span in policy.next_rows:
        if since <= renewed:
            base, span = row_base, row_span
    return plus(old if base == "anniversary" else renewed, span, zone)


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
    lifted = Walk(checkpoints=walked.checkpoints, notices=walked.notices)
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
