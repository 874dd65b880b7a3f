"""The walk: the one place with memory. Credited tiers, checkpoints, reviews, memberships, as small steps over the performance.

It takes the stitched performance and the facts that are decisions (purchases, renewals, overrides of a tier, leaving), and never
feeds anything back into the sweep. State is handed from rulebook to rulebook.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from ledger.instants import BEGINNING, FOREVER, Instant, Span, day_text, minus, plus, to_datetime, wall
from ledger.rules.answers import Notice
from ledger.rules.book import NO_RENEWAL, Book, Continuous, Membership, Review, Status
from ledger.rules.facts import Fact, Facts
from ledger.rules.sweep import Performance

RAISED, KEPT, HELD, DROPPED, REQUIRED, CARRIED, LIFTED, ENDED, LEFT = (
    "raised", "kept", "held", "dropped", "a required condition is not met", "carried over", "override", "override ended", "left",
)  # fmt: skip
ANNIVERSARY = "anniversary"
ACTIVE, FAILED, LAPSED, LOWERED = "active", "anniversary failed", "not renewed", "renewed at a lower level"


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
    notices: list[Notice] = field(default_factory=list)
    years: list[Year] = field(default_factory=list)

    def at(self, at: Instant) -> Step | None:
        i = bisect_right(self.steps, at, key=_step_at) - 1
        return self.steps[i] if i >= 0 else None

    def tier_at(self, at: Instant) -> str | None:
        step = self.at(at)
        return step.tier if step else None

    def step(self, at: Instant, tier: str | None, cause: str, book: Book) -> None:
        """Of several steps at one instant the last one holds, and the others never were."""
        if self.steps and self.steps[-1].at == at:
            self.steps.pop()
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


Found = dict[tuple[Instant, Instant, Instant], list["Year"]]


def walk(performances: Ladder, facts: Facts, horizon: Instant, ladders: Sequence[Ladder] = (), found: Found | None = None) -> Walk:
    """Walk the performance up to `horizon`, each rulebook in its time of force.

    `ladders` are those of all awards, where there are several: they share the years of a membership, which `found` keeps.
    """
    result, credit = Walk(), _Credit()
    begin = _beginning(performances)
    if begin is None:
        return result
    absences = _absences(facts, performances[-1].book.programme)
    for kind, run in groupby(performances, key=lambda performance: type(performance.book.status)):
        ladder = list(run)
        since, until = max(ladder[0].since, begin), min(ladder[-1].until, horizon)
        if kind is Membership and since < until:
            shared = [memberships(each) for each in ladders] or [ladder]
            _member(ladder, shared, facts, credit, result, (since, until), absences, {} if found is None else found)
        for performance in ladder if kind is not Membership else ():
            since, until = max(performance.since, begin), min(performance.until, horizon)
            if since < until:
                _hand_over(credit, performance, result, since)
                _policy(performance, credit, result, since, until, absences)
    return result


def _beginning(performances: Sequence[Performance]) -> Instant | None:
    """The first instant with a fact, or with an override that meets something; a rulebook's own border is none."""
    met = [at for performance in performances for at, names in performance.exempt.items() if names]
    first = min([*[performance.first for performance in performances], *met], default=FOREVER)
    return first if first < FOREVER else None


def _absences(facts: Facts, programme: str) -> list[tuple[Instant, Instant]]:
    """When a partner that had enrolled has left: it holds no tier then."""
    stays = facts.enrolments(programme)
    absences = []
    for i, (_, end) in enumerate(stays, start=1):
        if end < FOREVER:
            back = min((start for start, _ in stays[i:] if start >= end), default=FOREVER)
            absences.append((end, back))
    return sorted(absences)


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
    days = _review_days(policy.reviews, zone, to_datetime(after, zone).year)
    return days[bisect_right(days, after)]


@lru_cache(maxsize=4096)
def _review_days(reviews: tuple[tuple[int, int], ...], zone: str, year: int) -> list[Instant]:
    """Those of a year and of the next."""
    return sorted(wall(zone, y, month, day) for y in (year, year + 1) for month, day in reviews)


class Year(NamedTuple):
    """A year of membership at the level that was bought."""

    start: Instant
    level: str
    anniversary: Instant
    """Where it is tested; where an upgrade ends it before, that is here, and nothing is tested."""

    closes: Instant
    """When the next follows it, or all is lost: the renewal, the upgrade, what tests that find nothing decide, or the end of the window."""

    renewed: bool
    tested: bool
    paid_at: Instant
    """From when a level can be gained: the purchase, or the renewal."""

    bought_from: Instant
    """What was bought before belongs to a membership that has ended."""

    due: Instant
    """The anniversary as it stood before an upgrade, or before a test was decided that nothing met."""

    @property
    def free_from(self) -> Instant:
        """From when on what is bought may begin a membership after this one: the anniversary that was tested last."""
        return self.anniversary if self.tested else self.start


class Years:
    """The years of one partner's membership, which all awards share: what is bought has effect once a level is met on any of the ladders.

    `free`: what was bought before has no effect any more.
    """

    def __init__(self, ladders: Sequence[Ladder], facts: Facts, until: Instant, free: Instant = BEGINNING) -> None:
        self.ladders = ladders
        self.until = until
        self.free = free
        self._purchases = facts.of("purchase")
        self._renewals = facts.of("renewed")

    def since(self, since: Instant) -> Iterator[Year]:
        """The years that begin in [since, until). After one that was not renewed, what is bought from its anniversary on begins another."""
        while (begun := self._first(self._bought(), since, self.until, "")) is not None:
            for year in self._following(*begun):
                yield year
                since = year.closes
            if year.renewed:
                return
            self.free = year.free_from

    def _following(self, at: Instant, level: str) -> Iterator[Year]:
        """A year, and those that follow it by renewal or by an upgrade, which begins a year of its own."""
        ladder, paid_at = self.ladders[0], at
        later = [fact for fact in self._bought() if fact.start > at]
        anniversary = _anniversary(ladder, at, at)
        while at < self.until:
            renewal, closes = self._renewal(anniversary)
            passed, decided = self._passed(anniversary)
            upgrade = self._first(later, at, anniversary, level)
            tested = upgrade is None
            if tested and passed:
                upgrade = self._first(later, anniversary, closes, level)
            if upgrade is not None:
                year = Year(at, level, anniversary if tested else upgrade[0], upgrade[0], True, tested, paid_at, self.free, anniversary)
                (at, level), paid_at = upgrade, upgrade[0]
                anniversary = _anniversary(ladder, at, at)
                if year.start < year.closes:
                    yield year
                continue
            if renewal is None or (not passed and decided <= closes):
                yield Year(at, level, anniversary, closes if passed else min(decided, closes), False, True, paid_at, self.free, anniversary)
                return
            yield Year(at, level, anniversary, closes, True, True, paid_at, self.free, anniversary)
            if renewal.data.level is not None:
                level, later = renewal.data.level, [fact for fact in later if fact.start > renewal.start]
            at, paid_at = anniversary, renewal.start
            anniversary = _anniversary(ladder, anniversary, renewal.start, renewed=True)
            if not passed:  # it was renewed before that was certain, and ends when it is
                yield Year(at, level, decided, decided, False, False, paid_at, self.free, anniversary)
                return

    def _bought(self) -> list[Fact]:
        return [fact for fact in self._purchases if fact.start >= self.free]

    def _first(self, purchases: Sequence[Fact], since: Instant, until: Instant, above: str) -> tuple[Instant, str] | None:
        """The first instant in [since, until) at which a level above another is both bought and met, with the level last bought."""
        rank = _in_force(self.ladders[0], since).book.rank
        higher = [fact for fact in purchases if fact.start < until and rank(fact.data.level) > rank(above)]
        if not higher:
            return None
        begin = max(since, higher[0].start)
        turns = {at for ladder in self.ladders for at in _turns(ladder, begin, until)}
        for at in sorted({begin, *turns, *[fact.start for fact in higher if fact.start >= begin]}):
            if begin <= at < min(until, self.until) and rank(self._met(at)) > rank(above):
                return at, [fact.data.level for fact in higher if fact.start <= at][-1]
        return None

    def _met(self, at: Instant) -> str | None:
        """The best that is met of all for which something was bought."""
        best = None
        for ladder in self.ladders:
            if any(fact.start <= at for fact in own(ladder, self._bought())):
                best = max((best, _attained(ladder, at)), key=_in_force(ladder, at).book.rank)
        return best

    def _renewal(self, anniversary: Instant) -> tuple[Fact | None, Instant]:
        """The renewal of a year and its instant; without one, the end of the window."""
        opens, closes = _window(self.ladders[0], anniversary)
        window = [fact for fact in self._renewals if opens <= fact.start < closes]
        renewal = next((fact for fact in window if _membership(self.ladders[0], fact.start)[0].next_row(fact.start)[1] != NO_RENEWAL), None)
        return renewal, closes if renewal is None else renewal.start

    def _passed(self, anniversary: Instant) -> tuple[bool, Instant]:
        """Whether anything is met at an anniversary, and since when that is certain: where nothing is, there is nothing to renew."""
        begin, end, decided = _test(self.ladders[0], anniversary)
        if _membership(self.ladders[0], anniversary)[0].moved_at(anniversary) is not None:
            return True, anniversary
        if end >= min([self.until, *[performance.broken_at for ladder in self.ladders for performance in ladder]]):
            return True, decided
        return any(_best(ladder, begin, end) is not None for ladder in self.ladders), decided


def memberships(ladder: Ladder) -> list[Performance]:
    return [performance for performance in ladder if isinstance(performance.book.status, Membership)]


def own(ladder: Ladder, purchases: Sequence[Fact]) -> list[Fact]:
    """What was bought for an award: an offer that names another award is for that one, any other offer is for all."""
    award, among = ladder[0].book.award, {name for performance in ladder for name in performance.book.among}
    return [fact for fact in purchases if not award or fact.data.offer in (None, award) or fact.data.offer not in among]


def _membership(ladder: Ladder, at: Instant) -> tuple[Membership, str]:
    book = _in_force(ladder, at).book
    policy = book.status if isinstance(book.status, Membership) else _LAST_POLICY
    return policy, book.zone


def _window(ladder: Ladder, anniversary: Instant) -> tuple[Instant, Instant]:
    """In which a renewal counts: from the day after the anniversary on."""
    policy, zone = _membership(ladder, anniversary)
    return plus(anniversary, _DAY, zone), plus(plus(anniversary, policy.renewal, zone), _DAY, zone)


def _anniversary(ladder: Ladder, old: Instant, at: Instant, *, renewed: bool = False) -> Instant:
    """The next anniversary: a year after the beginning, where the old one was moved to, or as the day of the renewal says."""
    policy, zone = _membership(ladder, at)
    if not renewed:
        return plus(at, _YEAR, zone)
    moved = _membership(ladder, old)[0].moved_at(old)
    if moved is not None:
        return plus(old, moved.by, zone)
    _, base, span = policy.next_row(at)
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


def passed(ladder: Ladder, anniversary: Instant) -> str | None:
    """The tier that is found at an anniversary that is tested."""
    begin, end, _ = _test(ladder, anniversary)
    more = granted(ladder, anniversary)
    if not more:
        return _best(ladder, begin, end)
    performances = [performance for performance in ladder if performance.since <= end and performance.until > begin]
    instants = [at for performance in performances for at in (performance.since, *performance.instants) if begin < at <= end]
    return max(
        [_in_force(ladder, at).scope_at(at).with_more(more).tier() for at in (begin, *instants)], key=_in_force(ladder, end).book.rank
    )


def decided_at(ladder: Ladder, anniversary: Instant) -> Instant:
    """When it is certain what an anniversary found."""
    return _test(ladder, anniversary)[2]


def granted(ladder: Ladder, anniversary: Instant) -> dict[str, Fraction]:
    """What an award is given for an anniversary that was moved for others and not for it."""
    moved = _membership(ladder, anniversary)[0].moved_at(anniversary)
    return moved.excepted.get(ladder[0].book.award, {}) if moved is not None else {}


def _tested_at(ladder: Ladder, anniversary: Instant) -> Instant | None:
    """The first day on which an anniversary is tested that may be moved, and moved again; None where these rules have ended by then."""
    while anniversary < ladder[-1].until:
        policy, zone = _membership(ladder, anniversary)
        moved = policy.moved_at(anniversary)
        if moved is None or ladder[0].book.award in moved.excepted:
            return anniversary
        anniversary = plus(anniversary, moved.by, zone)
    return None


def _attained(ladder: Ladder, at: Instant) -> str | None:
    """The tier that one may have at an instant: that which is met, now or in the span in which once is enough."""
    policy, zone = _membership(ladder, at)
    return _best(ladder, min(at, policy.tested(at, zone)[0]), at)


def _test(ladder: Ladder, anniversary: Instant) -> tuple[Instant, Instant, Instant]:
    """The span [begin, end] in which once is enough at an anniversary, and the instant at which that is decided."""
    policy, zone = _membership(ladder, anniversary)
    begin, end = policy.tested(anniversary, zone)
    return begin, end, end if end == anniversary else end + 1


def _member(
    ladder: Ladder, ladders: Sequence[Ladder], facts: Facts, credit: _Credit, result: Walk, span: tuple[Instant, Instant],
    absences: list[tuple[Instant, Instant]], found: Found,
) -> None:  # fmt: skip
    """Stay after stay in the programme. What was held by another policy is not bought; what was bought before leaving is gone."""
    since, end = span
    until = min(end, *[performance.broken_at for performance in ladder])
    credit.tier = None
    result.step(since, None, CARRIED, ladder[0].book)
    free = BEGINNING
    for left, back in [*absences, (until, until)]:
        if since < min(left, until):
            asked = since, min(left, until), free
            if asked not in found:
                found[asked] = list(Years(ladders, facts, min(left, until), free).since(since))
            moves = [move for year in found[asked] for move in _year(ladder, year, facts, result, min(left, until))]
            for move in sorted(moves, key=attrgetter("at")):
                _credit(ladder, credit, result, move)
        if since <= left < until:
            credit.tier = None
            result.step(left, None, LEFT, _in_force(ladder, left).book)
        since, free = max(since, back), left


class _Move(NamedTuple):
    """What is credited from an instant on, if it is higher than what is held, or if it `falls` and is lower."""

    at: Instant
    tier: str | None
    cause: str
    falls: bool = True


def _year(ladder: Ladder, year: Year, facts: Facts, result: Walk, until: Instant) -> Iterator[_Move]:
    """Proficiency and purchase make active; the anniversary tests; renewal in its window keeps, else the level is lost.

    A test that is decided after the renewal takes from the next year.
    """
    result.years.append(year)
    yield from _active(ladder, year, facts, until)
    _announce(result, ladder, year, until)
    if not year.tested or year.anniversary >= until:
        return
    _, _, decided = _test(ladder, year.anniversary)
    tested = _tested_at(ladder, year.anniversary) == year.anniversary
    if tested and decided < until and (year.renewed or decided <= year.closes):
        yield _Move(decided, _lower(ladder, year.level, passed(ladder, year.anniversary), year.anniversary), FAILED)
    if not year.renewed and year.closes < until:
        yield _Move(year.closes, None, LAPSED)


def _active(ladder: Ladder, year: Year, facts: Facts, until: Instant) -> Iterator[_Move]:
    """Within the year a level can only be gained, once it is paid; a renewal may be at a lower one."""
    until = min(until, year.anniversary)
    if year.paid_at < until:
        yield _Move(year.paid_at, year.level, LOWERED)
    bought = [fact.start for fact in own(ladder, facts.of("purchase")) if year.bought_from <= fact.start < until]
    begin = max([year.paid_at, *bought[:1]])
    for at in sorted({begin, *[at for at in bought if at > begin], *_turns(ladder, begin, until)}) if bought and begin < until else ():
        yield _Move(at, _lower(ladder, year.level, _attained(ladder, at), at), ACTIVE, falls=False)


def _lower(ladder: Ladder, bought: str, met: str | None, at: Instant) -> str | None:
    return min(bought, met, key=_in_force(ladder, at).book.rank) if met is not None else None


def _credit(ladder: Ladder, credit: _Credit, result: Walk, move: _Move) -> None:
    book = _in_force(ladder, move.at).book
    rank, held = book.rank(move.tier), book.rank(credit.tier)
    if rank < held if move.falls else rank > held:
        credit.tier, credit.gained_at = move.tier if rank else None, move.at
        result.step(move.at, credit.tier, move.cause, book)


_YEAR, _DAY, _SETTLED = Span(months=12), Span(days=1), Span(months=24)
_LAST_POLICY = Membership(Span(days=30), Span(days=15), Span(days=23), ((BEGINNING, "anniversary", Span(days=365)),), None)


def _announce(result: Walk, ladder: Ladder, year: Year, until: Instant) -> None:
    """The days of a year's end, as far as its rules are in force; an upgrade leaves of them what lies before it."""
    policy, zone = _membership(ladder, year.due)
    days = [
        Notice(minus(year.due, policy.remind_before, zone), "reminder before the anniversary"),
        _anniversary_day(ladder, year.due, zone),
        Notice(plus(year.due, policy.remind_after, zone), "reminder after the anniversary"),
    ]
    ends = ladder[-1].until if year.tested else min(ladder[-1].until, year.closes)
    if year.due < until or not year.tested:
        result.notices += [day for day in days if day.at < ends]


def _anniversary_day(ladder: Ladder, anniversary: Instant, zone: str) -> Notice:
    tested_at, more = _tested_at(ladder, anniversary), granted(ladder, anniversary)
    if tested_at is None:
        return Notice(anniversary, f"{ANNIVERSARY}, not tested")
    if tested_at != anniversary:
        return Notice(anniversary, f"{ANNIVERSARY}, tested on {day_text(tested_at, zone)}", tested_at)
    given = " and ".join(f"{number} more {name}" for name, number in more.items())
    return Notice(anniversary, f"{ANNIVERSARY}, tested with {given}" if given else ANNIVERSARY, tested_at)


def settles_within(policy: Status) -> Span:
    """How long after the last thing that happened a policy may still change the credited tier."""
    match policy:
        case Review(window=window, hold=hold):  # gained at the next checkpoint, dropped at the first review after window and hold
            spans = [_longest(Span(months=window), hold), Span(months=2), _YEAR]
        case Membership(renewal=renewal, test_months=months):
            following = [span for _, _, span in policy.next_rows] + [moved.by for moved in policy.moved]
            spans = [_YEAR, _longest(*following), renewal, Span(months=(months or 0) + 1)]
        case Continuous():
            spans = []
    return _longest(Span(*map(sum, zip(*spans, strict=True))), _SETTLED)


def _longest(*spans: Span) -> Span:
    return max(spans, key=lambda span: plus(0, span))


def lift(walked: Walk, performances: Sequence[Performance], facts: Facts) -> Walk:
    """The credited tiers with overrides of a tier on top, while they last. The walk never sees them."""
    covers = performances[-1].reading.covers
    overrides = [fact for fact in facts.of("override") if fact.data.tier and fact.start < fact.end and covers(fact)]
    if not overrides or all(performance.book.acts_on["tier"] != "credited" for performance in performances):
        return walked
    lifted = Walk(checkpoints=walked.checkpoints, notices=walked.notices, years=walked.years)
    edges = {at for fact in overrides for at in (fact.start, fact.end) if at < FOREVER}
    edges |= {step.at for step in walked.steps} | {p.since for p in performances if p.since > BEGINNING}
    for at in sorted(edges):
        book = _book_at(performances, at)
        step = walked.at(at)
        base = step.tier if step else None
        tiers = [fact.data.tier for fact in overrides if fact.start <= at < fact.end and book.acts_on["tier"] == "credited"]
        best = max([base, *tiers], key=book.rank)
        cause = LIFTED if best != base else ENDED if step is None or step.at != at else step.cause
        lifted.step(at, best if book.rank(best) else None, cause, book)
    return lifted


def _book_at(performances: Sequence[Performance], at: Instant) -> Book:
    for performance in performances:
        if performance.since <= at < performance.until:
            return performance.book
    return performances[-1].book
