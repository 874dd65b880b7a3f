"""What is in danger: at risk by the programme's policy, and the instant at which a tier is lost if nothing more happens.

Both rest on what could be foreseen at the instant asked, never on what is known since. Neither implies the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from ledger.instants import BEGINNING, Instant
from ledger.rules.answers import Cause, Loss, LotRef, Risk
from ledger.rules.book import Book, Membership, Requirement, Review
from ledger.rules.life import Life
from ledger.rules.sweep import StateScope
from ledger.rules.walk import next_review

Failure = tuple[Instant, str]


def loss(life: Life, as_of: Instant) -> Loss | None:
    """The first instant after `as_of` at which the credited tier falls if nothing more happens; None if it never does."""
    ahead = life.foresee(as_of)
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
    """The requirement that fails first in the stretch that ends in the loss, and what leaves then."""
    return _cause(ahead, tier, as_of, _unmet_since(ahead, tier, lost_at), lost_at)


def _unmet_since(ahead: Life, tier: str, until: Instant) -> Instant:
    """The beginning of the last stretch up to `until` in which the tier is not met."""
    begin = until
    for at in reversed(ahead.edges(BEGINNING, until + 1)):
        if _meets(ahead, tier, at):
            break
        begin = at
    return begin


def _meets(life: Life, tier: str, at: Instant) -> bool:
    book = life.book(at)
    return book.rank(life.tier(at)) >= book.rank(tier) > 0


def _cause(ahead: Life, tier_name: str, as_of: Instant, at: Instant, until: Instant) -> Cause | None:
    book = ahead.book(at)
    if tier_name not in book.ranks:
        return None
    tier, scope = book.tier(tier_name), ahead.scope(at)
    for i, need in enumerate(tier.needs):
        if not scope.meets_one(tier, i):
            later = ahead.scope(until)
            same = ahead.book(until) is book
            return _failing(ahead, scope, later if same else scope, need, at, as_of)
    return None


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


def measures_of(book: Book, names: Iterable[str]) -> list[str]:
    """The measures on which names rest, numbers unfolded, in the rulebook's order."""
    found, open_names = set[str](), list(names)
    while open_names:
        name = open_names.pop()
        if name in book.numbers:
            open_names += book.numbers[name].formula.names
        else:
            found.add(name)
    return [name for name in book.measures if name in found]


def leaving(ahead: Life, scope: StateScope, need: Requirement, as_of: Instant, at: Instant) -> list[LotRef]:
    """What leaves at the very instant at which the requirement begins to fail."""
    reading = ahead.performance(at).reading
    lots = []
    for name in measures_of(reading.book, need.test.names):
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
    return Risk(_since(life, as_of), now[1], now[2], now[0])


def _endangered(life: Life, at: Instant) -> tuple[Cause | None, Instant | None, str] | None:
    """The cause at one instant, with the test that is coming."""
    ahead = life.foresee(at)
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
    for instant in (at, *ahead.edges(at + 1, review + 1)):
        if not _meets(ahead, held, instant):
            why = "the performance tier is below the credited tier" if instant == at else "known ends take it below"
            return _cause(ahead, held, at, instant, instant), review, why
    return None


def _before_anniversary(ahead: Life, held: str, at: Instant) -> tuple[Cause | None, Instant, str] | None:
    coming = [instant for instant, what in ahead.walked(ahead.settled_at).notices if what == "anniversary" and instant > at]
    if not coming or _meets(ahead, held, min(coming)):
        return None
    return _cause(ahead, held, at, min(coming), min(coming)), min(coming), "projected below at the anniversary"


def _since(life: Life, as_of: Instant) -> Instant:
    """The beginning of the unbroken stretch at risk that covers `as_of`."""
    begin = as_of
    for at in reversed(_turns(life, as_of)):
        if _endangered(life, at) is None:
            return begin
        begin = at
    return begin


def _turns(life: Life, until: Instant) -> list[Instant]:
    """The instants up to `until` at which being at risk may begin or end: whatever happens, or becomes known."""
    turns = set(life.edges(BEGINNING, until + 1))
    turns.update(min(s.event.effective_at, s.recorded_at) for s in life.events)
    first = min(turns, default=until)
    for performance in life.performances:
        policy = performance.book.status
        if isinstance(policy, Review):
            at = next_review(policy, performance.book.zone, max(first, performance.since))
            while at <= min(until, performance.until):
                turns.add(at)
                at = next_review(policy, performance.book.zone, at)
    return sorted(at for at in turns if at <= until)
