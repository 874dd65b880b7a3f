"""The standing of a partner at an instant, with everything that belongs to it, and its explanation."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from ledger.errors import NotFound
from ledger.instants import Instant, text
from ledger.rules.answers import (
    ActiveOverride,
    AwardStanding,
    Bare,
    Basis,
    CheckpointSeen,
    Interval,
    Notice,
    Progress,
    Standing,
    TierProgress,
    Why,
)
from ledger.rules.book import Book, Tier
from ledger.rules.facts import Fact
from ledger.rules.life import Life
from ledger.rules.reasons import Reason
from ledger.rules.risk import is_at_risk, loss, missing, nearest, risk, sides
from ledger.rules.sweep import StateScope


def basis(life: Life, partner: str, as_of: Instant, known_at: int, foreseen_from: Instant | None = None) -> Basis:
    book = life.book(as_of)
    return Basis(partner, book.programme, book.name, book.hash, book.language, as_of, known_at, foreseen_from)


def standing(life: Life, on: Basis, *, goal: str | None = None, ahead: bool = True) -> Standing:
    """The whole answer at `on.as_of`. Without `ahead`, the two questions about the future are left out.

    Raises Unpriced where a fact that counts has no row in the rulebook's tables, NotFound for an unknown goal.
    """
    at, book, scope = on.as_of, life.book(on.as_of), life.scope(on.as_of)
    step = life.credited(at)
    credited, performance = (step.tier if step else None), life.tier(at)
    return Standing(
        basis=on,
        performance=performance,
        credited=credited,
        credited_since=step.at if step else None,
        credited_because=step.cause if step else "never credited",
        values=life.values(at),
        units=_units(book),
        at_risk=risk(life, at) if ahead else None,
        tier_lost_at=loss(life, at) if ahead else None,
        keep=progress(scope, book, credited),
        next=progress(scope, book, _next(book, performance)),
        goal=progress(scope, book, _goal(book, goal)),
        overrides=tuple(_active(fact) for fact in life.facts.of("override") if fact.start <= at < fact.end),
        without_overrides=_bare(life.without_overrides, at),
        assumed=_assumed(book),
        options=tuple(_way(scope, book, tier) for tier in _options(book, _goal(book, goal) or _next(book, performance))),
        award=_award(life, at, ahead=ahead) if life.award else None,
        awards=tuple(_award(life.of(name), at, ahead=ahead) for name in life.awards(at)),
    )


def _award(life: Life, at: Instant, *, ahead: bool) -> AwardStanding:
    book, step, performance = life.book(at), life.credited(at), life.tier(at)
    credited = step.tier if step else None
    walked = life.walked(life.settled_at)
    here = [year for year in walked.years if year.start <= at < max(year.anniversary, year.closes)]
    coming = min([year.anniversary if year.tested or year.renewed else year.due for year in here], default=None)
    level = credited if credited is not None else performance
    option = nearest(life.scope(at), book, level).option if level is not None and _options(book, level) else ""
    since, anniversary = (step.at, coming) if step and credited else (None, None)
    at_risk = is_at_risk(life, at) if ahead and credited else None
    return AwardStanding(life.award, book.group, performance, credited, since, _status(life, at, coming), anniversary, option, at_risk)


def _status(life: Life, at: Instant, anniversary: Instant | None) -> str:
    """How far an award has come: something is there, it is met, it is met and bought, or it waits for its renewal."""
    scope = life.scope(at)
    if life.credited_tier(at) is not None:
        return "in grace" if anniversary is not None and at >= anniversary else "active"
    if life.tier(at) is not None:
        return "qualified"
    begun = any(_begun(scope, tier, i) for tier in life.book(at).tiers for i in range(len(tier.needs)))
    return "started" if begun else "none"


def _begun(scope: StateScope, tier: Tier, i: int) -> bool:
    """Whether a requirement is met, or something of what it asks for is there."""
    value, threshold = sides(scope, tier.needs[i])
    return scope.meets_one(tier, i) or (value is not None and threshold is not None and 0 < value < threshold)


def _options(book: Book, tier: str | None) -> list[Tier]:
    return book.options(tier) if tier is not None and any(each.name == tier for each in book.tiers) else []


def ways(book: Book, performance: str | None, goal: str | None = None) -> list[Tier]:
    """Every way to the tier that is asked for, else to the next one, else to the one that is met."""
    return _options(book, _goal(book, goal) or _next(book, performance) or performance)


def _bare(life: Life, at: Instant) -> Bare:
    return Bare(life.tier(at), life.credited_tier(at), life.values(at))


def _units(book: Book) -> dict[str, str]:
    units = {name: measure.unit for name, measure in book.measures.items()}
    for name, number in book.numbers.items():
        of = {units.get(part, "") for part in number.formula.names}
        units[name] = of.pop() if len(of) == 1 else ""
    return units


def _assumed(book: Book) -> tuple[str, ...]:
    """The requirements, measures and numbers of the rulebook that rest on what no owner published."""
    tiers = [f"{tier.name}: {need.test.text}" for tier in book.tiers for need in tier.needs if need.assumed]
    measures = [f"measure {name}" for name, measure in book.measures.items() if measure.assumed]
    return (*tiers, *measures, *[f"number {name}" for name, number in book.numbers.items() if number.assumed])


def _next(book: Book, performance: str | None) -> str | None:
    above = [tier.name for tier in book.tiers if book.rank(tier.name) > book.rank(performance)]
    return min(above, key=book.rank, default=None)


def _goal(book: Book, goal: str | None) -> str | None:
    if goal is None or goal in book.ranks:
        return goal
    raise NotFound(f"{book.name} has no tier {goal!r}", hint=f"its tiers: {', '.join(book.ranks)}", code="unknown_tier")


def progress(scope: StateScope, book: Book, tier_name: str | None) -> TierProgress | None:
    """Each requirement of a tier with what is there, what is asked and what is missing."""
    options = _options(book, tier_name)
    return _way(scope, book, nearest(scope, book, options[0].name)) if options else None


def _way(scope: StateScope, book: Book, tier: Tier) -> TierProgress:
    rows = tuple(_progress(scope, book, tier, i) for i in range(len(tier.needs)))
    return TierProgress(tier.name, all(row.met for row in rows), rows, tier.option)


def _progress(scope: StateScope, book: Book, tier: Tier, i: int) -> Progress:
    need = tier.needs[i]
    value, threshold = sides(scope, need)
    met = scope.meets_one(tier, i)
    return Progress(
        need.name, need.test.text, value, threshold, met, Fraction(0) if met else missing(value, threshold),
        need.name in scope.exempt, need.assumed, _units(book).get(need.name, ""), need.source, need.line,
    )  # fmt: skip


def _active(fact: Fact) -> ActiveOverride:
    return exception(fact.data, fact.start, fact.end, fact.event.position)


def exception(data: Any, since: Instant, until: Instant, position: int) -> ActiveOverride:
    """What was granted, from when until when."""
    if data.tier:
        target = f"tier {data.tier}"
    elif data.requirement:
        target = f"requirement {data.requirement}"
    else:
        target = f"{data.points} points of {data.measure}"
    return ActiveOverride(data.override, target, since, until, data.reason, data.author, position)


def timeline(life: Life, since: Instant, until: Instant, *, foreseen: bool = False) -> list[Interval]:
    """Consecutive standings in [since, until); equal neighbours are one interval."""
    edges = sorted({since, *life.edges(since, until)})
    found: list[Interval] = []
    for at, end in zip(edges, [*edges[1:], until], strict=True):
        interval = _interval(life, at, end, foreseen)
        if found and _same(found[-1], interval):
            interval = _joined(found.pop(), interval)
        found.append(interval)
    days = [day for day in notices(life) if since <= day.at < until]
    return [replace(each, notices=tuple(day for day in days if each.start <= day.at < each.end)) for each in found]


def notices(life: Life) -> list[Notice]:
    """The reminders and anniversaries of a membership, which its awards share."""
    found = {day for ladder in life.ladders() for day in ladder.walked(ladder.settled_at).notices}
    return sorted(found, key=lambda day: (day.at, day.what))


def _interval(life: Life, at: Instant, end: Instant, foreseen: bool) -> Interval:
    step = life.credited(at)
    tier = step.tier if step else None
    cause = step.cause if step is not None and step.at == at else ""
    return Interval(at, end, life.tier(at), tier, life.values(at), life.book(at).name, cause, foreseen)


def _same(a: Interval, b: Interval) -> bool:
    return (a.performance, a.credited, a.values, a.book) == (b.performance, b.credited, b.values, b.book)


def _joined(a: Interval, b: Interval) -> Interval:
    return Interval(a.start, b.end, a.performance, a.credited, a.values, a.book, a.because, a.foreseen)


def why(life: Life, on: Basis, *, goal: str | None = None) -> Why:
    """A standing with the reason of every number and requirement, down to events and rows of the rulebook."""
    answer, book, scope = standing(life, on, goal=goal), life.book(on.as_of), life.scope(on.as_of)
    wanted = [goal or answer.credited, answer.performance, _next(book, answer.performance)]
    tiers = [tier for name in dict.fromkeys(wanted) for tier in _options(book, name)]
    tests = {f"{_named(tier)}: {need.test.text}": _requirement(scope, tier, i) for tier in tiers for i, need in enumerate(tier.needs)}
    reasons = {name: scope.explain(name) for name in (*book.measures, *book.numbers)}
    walked = life.walked(on.as_of)
    seen = [CheckpointSeen(c.at, c.performance, c.review, c.credited, c.verdict) for c in walked.checkpoints]
    steps = [Interval(s.at, on.as_of, None, s.tier, {}, s.book.name, s.cause, False) for s in walked.steps if s.at <= on.as_of]
    return Why(answer, reasons, tests, tuple(steps), tuple(c for c in seen if c.at <= on.as_of))


def _named(tier: Tier) -> str:
    return f"{tier.name} by {tier.option}" if tier.option else tier.name


def _requirement(scope: StateScope, tier: Tier, i: int) -> Reason:
    need = tier.needs[i]
    if need.name in scope.exempt:
        return Reason(True, f"{need.test.text}: met by an override", "override")
    inner = need.test.explain(scope)
    return Reason(inner.value, inner.text, inner.op, inner.children, assumed=need.assumed, source=need.source)


def describe_moment(on: Basis) -> str:
    forecast = f", foreseen from {text(on.foreseen_from)}" if on.foreseen_from is not None else ""
    return f"as of {text(on.as_of)}, known at position {on.known_at}, by {on.book} ({on.book_hash[:12]}){forecast}"


__all__ = ["basis", "describe_moment", "progress", "standing", "timeline", "why"]
