"""What is in danger: at risk by the programme's policy, and the instant at which a tier is lost if nothing more happens.

Both rest on what could be foreseen at the instant asked, never on what is known since. Neither implies the other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from itertools import accumulate

from ledger.instants import BEGINNING, Instant
from ledger.rules.ahead import follows
from ledger.rules.answers import Cause, Loss, LotRef, Notice, Risk
from ledger.rules.book import Book, Measure, Membership, Requirement, Review, Tier
from ledger.rules.expressions import OPERATIONS
from ledger.rules.life import Life
from ledger.rules.linear import form
from ledger.rules.presence import within
from ledger.rules.sweep import Performance, StateScope
from ledger.rules.walk import Ladder, decided_at, granted, memberships, next_review, passed, reviews_between

_NOTHING: Mapping[str, Fraction] = {}


def loss(life: Life, as_of: Instant) -> Loss | None:
    """The first instant after `as_of` at which the credited tier falls if nothing more happens; None if it never does."""
    ahead = life.ahead(as_of)
    held = ahead.credited_tier(as_of)
    if held is None:
        return None
    horizon = ahead.settled_at
    for step in ahead.walked(max(horizon, as_of)).steps:
        if step.at > as_of and step.book.rank(step.tier) < max(step.book.rank(held), 1):
            ahead.check(step.at)
            return Loss(step.at, held, step.tier, step.cause, loss_cause(ahead, held, as_of, step.at))
    ahead.check(horizon)
    return None


def loss_cause(ahead: Life, tier: str, as_of: Instant, lost_at: Instant) -> Cause | None:
    """The requirement that fails first in the stretch that ends in the loss, and what leaves then; None where nothing fails."""
    at = _unmet_since(ahead, tier, as_of, lost_at)
    return None if _meets(ahead, tier, at) else _cause(ahead, tier, as_of, at, lost_at)


def _unmet_since(ahead: Life, tier: str, as_of: Instant, until: Instant) -> Instant:
    """The beginning of the last stretch up to `until` without the tier: mostly after `as_of`, never before the first fact."""
    begin = until
    for since, stop in ((as_of, until + 1), (BEGINNING, as_of)):
        for at in reversed(ahead.turns(since, stop)):
            if _meets(ahead, tier, at):
                return begin
            begin = at
    return min(until, ahead.first)


def _meets(life: Life, tier: str, at: Instant) -> bool:
    book = life.book(at)
    return book.rank(life.tier(at)) >= book.rank(tier) > 0


def _cause(
    ahead: Life, tier_name: str, as_of: Instant, at: Instant, until: Instant, more: Mapping[str, Fraction] = _NOTHING
) -> Cause | None:  # fmt: skip
    book = ahead.book(at)
    if not any(tier.name == tier_name for tier in book.tiers):
        return None
    scope = ahead.scope(at).with_more(more)
    tier = nearest(ahead.scope(at - 1) if ahead.book(at - 1) is book else scope, book, tier_name)
    for i, need in enumerate(tier.needs):
        if not scope.meets_one(tier, i):
            later = ahead.scope(until).with_more(more)
            same = ahead.book(until) is book
            return _failing(ahead, scope, later if same else scope, need, at, as_of)
    return None


def nearest(scope: StateScope, book: Book, tier: str) -> Tier:
    """Of the ways to a tier the one that is met, or of which the least is not."""
    return min(book.options(tier), key=lambda way: sum(not scope.meets_one(way, i) for i in range(len(way.needs))))


def _failing(ahead: Life, scope: StateScope, later: StateScope, need: Requirement, at: Instant, as_of: Instant) -> Cause:
    value, threshold = sides(later, need)
    return Cause(at, need.name, value, threshold, missing(value, threshold), tuple(leaving(ahead, scope, need, as_of, at)))


def sides(scope: StateScope, need: Requirement) -> tuple[Fraction | None, Fraction | None]:
    """The two sides of `value >= threshold`; None where the requirement has another shape."""
    parts = need.test.comparison()
    if parts is None or parts[1] not in (">=", ">"):
        return None, None
    left, right = parts[0].evaluate(scope), parts[2].evaluate(scope)
    if isinstance(left, str) or isinstance(right, str):
        return None, None
    return Fraction(left), Fraction(right)


def missing(value: Fraction | None, threshold: Fraction | None) -> Fraction:
    if value is None or threshold is None:
        return Fraction(0)
    return max(Fraction(0), threshold - value)


def leaving(ahead: Life, scope: StateScope, need: Requirement, as_of: Instant, at: Instant) -> list[LotRef]:
    """What leaves at the very instant at which the requirement begins to fail."""
    reading = ahead.performance(at).reading
    lots = []
    for name in reading.book.rests_on(need.test.names):
        for present in reading.presents(reading.book.measures[name]):
            if present.end == at and present.start < present.end:
                event = present.fact.event
                lots.append(
                    LotRef(
                        event.position, event.event.source, event.event.id, event.event.kind, name, present.value,
                        present.end, about(present.fact.data),
                    )
                )  # fmt: skip
    return sorted(lots, key=lambda lot: lot.position)


def about(data: object) -> str:
    """What an event is about, in its own codes: client and line, person and certificate."""
    names = ("client", "line", "person", "code", "tier", "measure", "metric", "activity", "subscription", "override")
    return " ".join(str(value) for name in names if (value := getattr(data, name, None)) is not None)


def risk(life: Life, as_of: Instant) -> Risk | None:
    """At risk since when and why, by the policy of the rulebook in force; None if not at risk."""
    now = _endangered(life, as_of)
    if now is None:
        return None
    return Risk(Witness.of(life).since(as_of), now[1], now[2], now[0])


def is_at_risk(life: Life, at: Instant) -> bool:
    return _endangered(life, at) is not None


def _endangered(life: Life, at: Instant) -> tuple[Cause | None, Instant | None, str] | None:
    """The cause at one instant, with the test that is coming."""
    ahead = life.ahead(at)
    held = ahead.credited_tier(at)
    if held is None:
        return None
    book = ahead.book(at)
    match book.status:
        case Review():
            return _before_review(ahead, held, at, next_review(book.status, book.zone, at))
        case Membership():
            return _before_anniversary(ahead, held, at)
        case _:
            return None


def _before_review(ahead: Life, held: str, at: Instant, review: Instant) -> tuple[Cause | None, Instant, str] | None:
    for instant in (at, *ahead.turns(at + 1, review + 1)):
        if not _meets(ahead, held, instant):
            why = "the performance tier is below the credited tier" if instant == at else "known ends take it below"
            fails_at = _unmet_since(ahead, held, at, at) if instant == at else instant
            return _cause(ahead, held, at, fails_at, instant), review, why
    return None


def _before_anniversary(ahead: Life, held: str, at: Instant) -> tuple[Cause | None, Instant, str] | None:
    """By the tests that are not decided yet and the one that comes next, even where its payment is due before."""
    ladder, rank = memberships(ahead.performances), ahead.book(at).rank
    for tested_at in _undecided(ladder, ahead.walked(ahead.settled_at).notices, at):
        if rank(passed(ladder, tested_at)) < rank(held):
            cause = _cause(ahead, held, at, tested_at, tested_at, granted(ladder, tested_at))
            return cause, tested_at, "projected below at the anniversary"
    return None


def _undecided(ladder: Ladder, notices: Sequence[Notice], at: Instant) -> list[Instant]:
    """The anniversaries that are over and not decided, and the one that is tested next."""
    days = sorted({notice.tested_at for notice in notices if notice.tested_at is not None})
    return [day for day in days if day <= at < decided_at(ladder, day)] + [day for day in days if day > at][:1]


class Witness:
    """Since when a partner is at risk: asked instant after instant, by what was found out before.

    Between two turns the same is foreseen, so that risk can end there and cannot begin: each stretch is asked at its end. The
    requirement that failed last is asked first, which mostly spares the forecast.
    """

    def __init__(self, life: Life) -> None:
        self._life = life
        self._cause: Cause | None = None
        self._held: str | None = None
        self._asked_at: Instant = BEGINNING
        self._scope: StateScope | None = None
        self._sums: dict[tuple[str, Instant], tuple[list[Instant], list[int]] | None] = {}
        self._touched: dict[str, list[Instant]] = {}
        self._stretches: list[tuple[Instant, Instant]] = []

    @classmethod
    def of(cls, life: Life) -> Witness:
        witness: Witness = life.found.setdefault("witness", cls(life))
        return witness

    def since(self, as_of: Instant) -> Instant:
        """The beginning of the unbroken stretch at risk that covers `as_of`, which is at risk.

        Of a forecast, that part of the stretch which lies before it is what could be foreseen then.
        """
        origin, now = self._life.origin, self._life.now
        for begin, end in self._stretches:
            if begin <= as_of <= end:
                return begin
        turns, begin = self._turns(as_of), as_of
        self._ask(as_of)
        while turns:
            begin = turns.pop()
            if origin is not None and begin == now:
                begin = Witness.of(origin).since(begin)
                break
            if not self.at_risk(begin - 1):
                break
        self._stretches.append((begin, as_of))
        return begin

    def _turns(self, until: Instant) -> list[Instant]:
        """The instants up to `until` from which on something else may be foreseen."""
        turns = self._happened[: bisect_right(self._happened, until)]
        if self._life.origin is not None and self._life.now is not None:
            turns = [self._life.now, *turns[bisect_right(turns, self._life.now) :]]
        first = turns[0] if turns else until
        reviews = [
            at
            for performance in self._life.performances
            if isinstance(performance.book.status, Review)
            for at in reviews_between(
                performance.book.status, performance.book.zone, max(first, performance.since), min(until, performance.until)
            )
        ]
        return sorted({*turns, *reviews})

    @cached_property
    def _happened(self) -> list[Instant]:
        """What happens, becomes known, is credited, held no more, or comes into force."""
        life = self._life
        turns = {step.at for step in life.walked(life.settled_at).steps} | {performance.since for performance in life.performances}
        for sealed in life.events:
            turns.add(sealed.event.effective_at)
            turns.add(sealed.recorded_at)
        for performance in life.performances:
            for measure in performance.book.measures.values():
                if any(presence.hold for presence in within(measure.presence)):
                    turns.update([at for present in performance.presents(measure) for at in (present.start, present.end)])
        first = min([sealed.event.effective_at for sealed in life.events], default=BEGINNING)
        return sorted(at for at in turns if at >= first)

    def at_risk(self, at: Instant) -> bool:
        life = self._life
        held = life.credited_tier(at)
        book = life.book(at)
        if held is None or not isinstance(book.status, Review):
            return _endangered(life, at) is not None
        if book.rank(life.tier(at)) < book.rank(held) or self._still_fails(held, at, next_review(book.status, book.zone, at)):
            return True
        return self._ask(at)

    def _ask(self, at: Instant) -> bool:
        """By the forecast from `at`; the requirement that fails in it is remembered."""
        life = self._life
        found, held = _endangered(life, at), life.credited_tier(at)
        self._cause, self._held, self._asked_at = found[0] if found is not None else None, held, at
        self._scope = life.ahead(at).scope(self._cause.at) if self._cause is not None else None
        return found is not None

    def _still_fails(self, held: str, at: Instant, review: Instant) -> bool:
        """Whether the requirement that was seen to fail is foreseen to fail then at `at` too; False where only a forecast can tell."""
        cause, life = self._cause, self._life
        if cause is None or held != self._held or not at < cause.at <= review or not life.is_known_by(at):
            return False
        performance = life.performance(cause.at)
        needs = [need for need in performance.book.tier(held).needs if need.name == cause.requirement]
        linear = form(needs[0].test, performance.book) if len(needs) == 1 else None
        if linear is None:
            return False
        weights, op, bound = linear
        names, total = list(performance.book.measures), Fraction(0)
        for place, weight in weights:
            value = self._foreseen(performance, names[place], cause.at, at)
            if value is None:
                return False
            total += weight * value
        return not OPERATIONS[op](total, bound * performance.unit)

    def _foreseen(self, performance: Performance, name: str, at: Instant, seen_at: Instant) -> Fraction | int | None:
        """What a measure was foreseen to be at an instant, in the performance's units; None where only a forecast can tell."""
        asked = name, at
        if asked not in self._sums:
            self._sums[asked] = self._summed(performance, performance.book.measures[name], at)
        found = self._sums[asked]
        if found is not None:
            starts, sums = found
            return sums[bisect_right(starts, seen_at)]
        if name not in self._touched:
            self._touched[name] = performance.reading.touching(performance.book.measures[name])
        touched = self._touched[name]
        if self._scope is None or bisect_right(touched, seen_at) != bisect_right(touched, self._asked_at):
            return None
        return self._scope.number(name) * performance.unit

    def _summed(self, performance: Performance, measure: Measure, at: Instant) -> tuple[list[Instant], list[int]] | None:
        """What is present at an instant by the start of its facts, added up."""
        if measure.aggregate not in ("sum", "count") or not follows(performance.reading, measure, self._life.facts.ended_kinds()):
            return None
        here = [present for present in performance.presents(measure) if present.start <= at < present.end]
        here.sort(key=lambda present: present.fact.start)
        worths = [present.numerator * (performance.unit // present.denominator) for present in here]
        return [present.fact.start for present in here], [0, *accumulate(worths)]
