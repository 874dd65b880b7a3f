"""A partner by the rulebooks in force, and by three policies that are stepped from one instant to the next. Nothing looks ahead.

What lies ahead is asked of another oracle, which knows only what could be foreseen.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from heapq import heapify, heappop, heappush

from ledger.events.envelope import Sealed
from ledger.instants import BEGINNING, FOREVER, Instant, Span, parse, plus, to_datetime, wall
from tests.oracle.facts import Record, Records, unreversed
from tests.oracle.language import Rules, Spec, Unread, known, span
from tests.oracle.reading import MORE, Reading, next_month

YEAR, DAY, LONG = Span(months=12), Span(days=1), Span(months=30)
Tiers = dict[str, str | None]


class Oracle:
    """One partner. `now` makes it a forecast from then on."""

    def __init__(self, events: Sequence[Sealed], books: Sequence[Rules], now: Instant | None = None) -> None:
        self.events, self.books, self.now = unreversed(events), tuple(books), now
        self.records = Records(self.events)
        self.readings = [Reading(rules, self.records, now) for rules in books]
        self.absences = self.records.absences(books[0].spec["programme"])
        self.awards = list(dict.fromkeys(award for rules in books for award in rules.ladders)) or [""]
        self.first = min((each.event.effective_at for each in self.events), default=FOREVER)
        self.tests: dict[str, list[Test]] = {award: [] for award in self.awards}
        self._walker = self._walk()
        self._walked: list[tuple[Instant, Tiers]] = []
        self._edges: list[Instant] = []
        self._foreseen: dict[Instant, Oracle] = {}

    # -- one instant --------------------------------------------------------------------------------------------------

    def reading(self, at: Instant) -> Reading:
        """The rulebook that began last; the first covers all earlier dates too."""
        return [each for each in self.readings if each is self.readings[0] or each.rules.effective <= at][-1]

    def rank(self, tier: str | None, at: Instant) -> int:
        return self.reading(at).rules.rank(tier)

    def values(self, at: Instant) -> dict[str, Fraction]:
        reading = self.reading(at)
        return {name: Fraction(reading.value(name, at)) for name in reading.names()}

    def performance(self, award: str, at: Instant) -> str | None:
        return self.reading(at).performance(award, at)

    def best(self, award: str, begin: Instant, end: Instant, more: dict[str, Fraction] = MORE) -> str | None:
        """The highest tier that is met at an instant of [begin, end], with so much more of some numbers."""
        edges = self.edges()
        those = {begin, end, *edges[bisect_left(edges, begin) : bisect_right(edges, end)]}
        met = [self.reading(at).performance_with(more, award, at) if more else self.performance(award, at) for at in those]
        return max(met, key=lambda tier: self.rank(tier, end))

    def meets(self, award: str, tier: str, at: Instant) -> bool:
        return self.rank(self.performance(award, at), at) >= self.rank(tier, at) > 0

    def is_away(self, at: Instant) -> bool:
        return any(begin <= at < end for begin, end in self.absences)

    def edges(self) -> list[Instant]:
        """Every instant at which anything could change by itself; checkpoints and anniversaries are the policies' own."""
        if not self._edges:
            found = {edge for reading in self.readings for edge in reading.edges()}
            found |= {rules.effective for rules in self.books} | {each.event.effective_at for each in self.events}
            found |= {edge for absence in self.absences for edge in absence}
            self._edges = sorted(edge for edge in found if self.first <= edge < FOREVER)
        return self._edges

    # -- credited tiers -----------------------------------------------------------------------------------------------

    def credited(self, award: str, at: Instant) -> str | None:
        """What the policy credits, lifted by overrides of a tier where the rulebook lets them act on that."""
        self._go(at)
        i = bisect_right(self._walked, at, key=lambda step: step[0])
        held = self._walked[i - 1][1][award] if i else None
        reading = self.reading(at)
        if reading.rules.spec.get("overrides", {}).get("tier", "credited") == "credited":
            lifts = [record.fields["tier"] for record in reading.overrides(award, at) if record.fields["tier"]]
            held = max([held, *lifts], key=reading.rules.rank)
        return held if reading.rules.rank(held) else None

    def steps(self, until: Instant) -> list[Instant]:
        """The instants up to `until` at which the policies looked."""
        self._go(until)
        return [at for at, _ in self._walked if at <= until]

    def _go(self, until: Instant) -> None:
        while not self._walked or self._walked[-1][0] <= until:
            step = next(self._walker, None)
            if step is None:
                return
            self._walked.append(step)

    def _walk(self) -> Iterator[tuple[Instant, Tiers]]:
        """From instant to instant; the policy says which others it wants to see."""
        wanted = [*self.edges()]
        heapify(wanted)
        credited: Tiers = dict.fromkeys(self.awards)
        policy: Policy | None = None
        last = BEGINNING - 1
        while wanted:
            at = heappop(wanted)
            if at == last:
                continue
            last = at
            rules = self.reading(at).rules
            kind = POLICIES[policy_of(rules)]
            if not isinstance(policy, kind):
                policy = kind(self, credited)
            for award, tier in credited.items():
                if tier is not None and not rules.rank(tier):
                    carried = rules.spec["status"].get("review", {}).get("carry", {}).get(tier)
                    credited[award] = carried if rules.rank(carried) else None
                    policy.gained(award, at)
            policy.step(at)
            for more in policy.wanted(at):
                heappush(wanted, more)
            yield at, dict(credited)

    # -- what could be foreseen ---------------------------------------------------------------------------------------

    def foresee(self, at: Instant) -> Oracle:
        """Only what had happened or had been recorded by then; what was reversed is known to be no fact."""
        if at not in self._foreseen:
            seen = [each for each in self.events if min(each.event.effective_at, each.recorded_at) <= at]
            self._foreseen[at] = Oracle(seen, self.books, now=at)
        return self._foreseen[at]

    def horizon(self) -> Instant:
        return plus(self.edges()[-1], LONG) if self.edges() else self.first

    def lost(self, award: str, at: Instant) -> tuple[Instant, str | None] | None:
        """The first instant at which the credited tier is lower than at `at` if nothing more happens, and what it falls to."""
        ahead = self.foresee(at)
        held = ahead.credited(award, at)
        for then in ahead.steps(ahead.horizon()) if held is not None else ():
            tier = ahead.credited(award, then)
            if then > at and ahead.rank(tier, then) < max(ahead.rank(held, then), 1):
                return then, tier
        return None

    def failed_first(self, award: str, at: Instant, lost_at: Instant) -> tuple[Instant, list[list[str]]]:
        """When the unbroken time in which the tier was not met began that ends with its loss, and what of each way was not met then."""
        ahead = self.foresee(at)
        held = ahead.credited(award, at)
        assert held is not None
        began = lost_at
        first = ahead.records.first()
        for then in sorted({*ahead.steps(lost_at), *ahead.edges()}, reverse=True):
            if first <= then <= lost_at:
                if ahead.meets(award, held, then):
                    break
                began = then
        return began, ahead.reading(began).failing(held, award, began)

    def at_risk(self, award: str, at: Instant) -> bool:
        """By the policy in force, of what can be foreseen at the instant."""
        ahead = self.foresee(at)
        held = ahead.credited(award, at)
        if held is None:
            return False
        rules = self.reading(at).rules
        match policy_of(rules):
            case "review":
                review = at + 1
                while not is_review(rules, review):
                    review = next_checkpoint(rules, review)
                return any(not ahead.meets(award, held, then) for then in (at, *ahead.edges(), review) if at <= then <= review)
            case "membership":
                ahead.steps(ahead.horizon())
                tests = sorted(ahead.tests[award], key=lambda test: test.day)
                coming = [test for test in tests if test.day <= at < test.decided] + [test for test in tests if test.day > at][:1]
                return any(ahead.rank(ahead.best(award, test.begin, test.end, test.more), at) < ahead.rank(held, at) for test in coming)
        return False

    def risk_since(self, award: str, as_of: Instant) -> Instant | None:
        """The beginning of the unbroken time at risk, each instant judged by what could be foreseen at it."""
        since = None
        recorded = [each.recorded_at for each in self.events]
        for at in sorted({as_of, *self.steps(as_of), *self.edges(), *recorded}, reverse=True):
            if self.first <= at <= as_of:
                if not self.at_risk(award, at):
                    break
                since = at
        return since


# -- policies -----------------------------------------------------------------------------------------------------------


def policy_of(rules: Rules) -> str:
    (kind,) = known(rules.spec["status"], "continuous", "review", "membership")
    return str(kind)


class Policy:
    """What is credited of each award; it sees one instant after the other."""

    def __init__(self, oracle: Oracle, credited: Tiers) -> None:
        self.oracle, self.credited = oracle, credited

    def step(self, at: Instant) -> None:
        raise NotImplementedError

    def wanted(self, at: Instant) -> list[Instant]:
        return []

    def gained(self, award: str, at: Instant) -> None:
        """What is held of an award is held from now on."""

    def leaves(self, at: Instant) -> None:
        if any(begin == at for begin, _ in self.oracle.absences):
            self.credited.update(dict.fromkeys(self.credited))


class Continuous(Policy):
    def step(self, at: Instant) -> None:
        for award in self.credited:
            self.credited[award] = None if self.oracle.is_away(at) else self.oracle.performance(award, at)


class Review(Policy):
    """Checkpoints raise; a review keeps what was met at one checkpoint of the window or gained of late, else it drops."""

    def __init__(self, oracle: Oracle, credited: Tiers) -> None:
        super().__init__(oracle, credited)
        self.since: dict[str, Instant] = {}
        self.seen: dict[str, list[str | None]] = {award: [] for award in credited}

    def gained(self, award: str, at: Instant) -> None:
        self.since[award] = at

    def wanted(self, at: Instant) -> list[Instant]:
        return [next_checkpoint(self.oracle.reading(at).rules, at)]

    def step(self, at: Instant) -> None:
        self.leaves(at)
        rules = self.oracle.reading(at).rules
        policy = known(rules.spec["status"]["review"], "checkpoints", "reviews", "window", "hold", "required", "carry", "source")
        if not is_checkpoint(rules, at):
            return
        for award, held in self.credited.items():
            met = None if self.oracle.is_away(at) else self.oracle.performance(award, at)
            self.seen[award].append(met)
            tier = held if self.oracle.is_away(at) else self._judged(rules, policy, award, at, held, met)
            if tier != held:
                self.credited[award] = tier
                self.since[award] = at

    def _judged(self, rules: Rules, policy: Spec, award: str, at: Instant, held: str | None, met: str | None) -> str | None:
        if rules.rank(met) > rules.rank(held):
            return met
        if held is None or not is_review(rules, at):
            return held
        if "required" in policy and policy["required"] in self.oracle.reading(at).failing(held, award, at)[0]:
            return None
        best = max(self.seen[award][-int(policy["window"].split()[0]) :], key=rules.rank)
        late = at < plus(self.since[award], span(policy["hold"]), rules.zone)
        return held if rules.rank(best) >= rules.rank(held) or late else best if rules.rank(best) else None


def _day(rules: Rules) -> int:
    return int(rules.spec["status"]["review"]["checkpoints"].removeprefix("day "))


def next_checkpoint(rules: Rules, after: Instant) -> Instant:
    when = to_datetime(after, rules.zone)
    here = wall(rules.zone, when.year, when.month, _day(rules))
    return here if here > after else wall(rules.zone, when.year + when.month // 12, when.month % 12 + 1, _day(rules))


def is_checkpoint(rules: Rules, at: Instant) -> bool:
    return next_checkpoint(rules, at - 1) == at


def is_review(rules: Rules, at: Instant) -> bool:
    return is_checkpoint(rules, at) and f"{to_datetime(at, rules.zone):%m-%d}" in rules.spec["status"]["review"]["reviews"]


@dataclass(frozen=True)
class Test:
    """Of an anniversary: once in [begin, end] is enough, with so much more of some numbers, and when that is decided."""

    day: Instant
    begin: Instant
    end: Instant
    decided: Instant
    more: dict[str, Fraction]


class Membership(Policy):
    """A purchase begins a year once a level is met; the anniversary tests; a renewal in its window keeps; else all is lost.

    All awards share the year. It knows no more than what has happened up to the instant that it sees.
    """

    def __init__(self, oracle: Oracle, credited: Tiers) -> None:
        super().__init__(oracle, credited)
        credited.update(dict.fromkeys(credited))
        self.free = BEGINNING
        self.later_than = BEGINNING
        self.level: str | None = None
        self.anniversary: Instant | None = None
        self.in_window = False
        self.undecided: tuple[Instant, str | None, Test] | None = None

    def _policy(self, at: Instant) -> Spec:
        spec = self.oracle.reading(at).rules.spec["status"].get("membership", {})
        if sum(name in spec for name in ("test_months", "test_window", "moved")) > 1:
            raise Unread(f"several of test_months, test_window and moved in {spec}")
        return known(spec, "renewal", "remind", "next", "moved", "test_months", "test_window", "source")

    def wanted(self, at: Instant) -> list[Instant]:
        days = [] if self.anniversary is None else [self.anniversary, *self._window(self.anniversary)]
        return [day for day in [*days, *([self.undecided[2].decided] if self.undecided else [])] if day > at]

    def _window(self, anniversary: Instant) -> tuple[Instant, Instant]:
        """From the day after the anniversary on, for the days of the renewal."""
        zone = self.oracle.reading(anniversary).rules.zone
        lasts = span(self._policy(anniversary).get("renewal", "30 days"))
        return plus(anniversary, DAY, zone), plus(plus(anniversary, lasts, zone), DAY, zone)

    def _test(self, at: Instant, more: dict[str, Fraction] = MORE) -> Test:
        """At that instant, or some time before it; by months, in its month and those before, which is known when the month is over."""
        policy, zone = self._policy(at), self.oracle.reading(at).rules.zone
        if "test_months" in policy:
            day = to_datetime(at, zone)
            this, last = wall(zone, day.year, day.month), next_month(at, 1, zone)
            return Test(at, plus(this, Span(months=1 - int(policy["test_months"])), zone), last - 1, last, more)
        before = span(policy.get("test_window", "0 days"))
        return Test(at, plus(at, Span(*[-each for each in before]), zone), at, at, more)

    def _qualified(self, award: str, at: Instant) -> str | None:
        """What is met, or was met when once is enough."""
        return self.oracle.best(award, self._test(at).begin, at)

    def _moved(self, anniversary: Instant) -> Spec | None:
        """The row of the policy by which an anniversary is moved, if it is."""
        for row in self._policy(anniversary).get("moved", ()):
            if parse(known(row, "from", "until", "by", "except")["from"]) <= anniversary < parse(row["until"]):
                return dict(row)
        return None

    def _test_of(self, award: str, anniversary: Instant) -> Test | None:
        """When an award is tested whose anniversary this is; never, if there are no memberships any more by then."""
        while policy_of(self.oracle.reading(anniversary).rules) == "membership":
            moved = self._moved(anniversary)
            more = (moved or {}).get("except", {}).get(award)
            if moved is None or more is not None:
                return self._test(anniversary, {name: Fraction(number) for name, number in (more or {}).items()})
            anniversary = plus(anniversary, span(moved["by"]), self.oracle.reading(anniversary).rules.zone)
        return None

    def step(self, at: Instant) -> None:
        self.leaves(at)
        if any(begin == at for begin, _ in self.oracle.absences):
            self._ended(at)
        if self.oracle.is_away(at):
            return
        if self.anniversary is not None:
            self._looked_at(at, self.anniversary)
        if self.undecided is not None and self.undecided[2].decided == at:
            anniversary, level, test = self.undecided
            self._judged(anniversary, level, dict.fromkeys(self.credited, test))
        if self.anniversary is not None:
            self._paid(at, self.anniversary)
        self._begins(at)
        if self.anniversary is not None and not self.in_window:
            for award, held in self.credited.items():
                if self._bought_for(award, at):
                    self.credited[award] = self._higher(at, held, self._lower(at, self.level, self._qualified(award, at)))

    def _looked_at(self, at: Instant, anniversary: Instant) -> None:
        """The anniversary, and the end of its window."""
        if at == anniversary and not self.in_window:
            self.in_window = True
            tests = {award: self._test_of(award, anniversary) for award in self.credited}
            for award, test in tests.items():
                self.oracle.tests[award] += [test] if test is not None else []
            now = {award: test for award, test in tests.items() if test is not None and test.end == anniversary}
            if self._test(anniversary).decided > anniversary:
                self.undecided = anniversary, self.level, self._test(anniversary)
            else:
                self._judged(anniversary, self.level, now)
        elif self.in_window and at == self._window(anniversary)[1]:
            self._ended(anniversary)

    def _judged(self, anniversary: Instant, level: str | None, tests: dict[str, Test]) -> None:
        """What is held of each award that is tested; where nothing is met and nothing is tested later, there is nothing to renew."""
        found = {award: self.oracle.best(award, test.begin, test.end, test.more) for award, test in tests.items()}
        for award, tier in found.items():
            self.credited[award] = self._lower(tests[award].end, self.credited[award], self._lower(tests[award].end, level, tier))
        self.undecided = None
        if len(found) == len(self.credited) and not any(found.values()):
            self._ended(anniversary)

    def _paid(self, at: Instant, anniversary: Instant) -> None:
        """The first renewal of the window, unless it is said that nothing is renewed any more."""
        opens, closes = self._window(anniversary)
        renewals = [record for record in self.oracle.records.of("renewed") if record.start == at]
        following = self._following(anniversary, at)
        if self.in_window and opens <= at < closes and renewals and following is not None:
            level = renewals[0].fields["level"]
            if level is not None:
                self.level, self.later_than = level, at
            for award, held in self.credited.items():
                self.credited[award] = self._lower(at, held, self.level)
            self.anniversary, self.in_window = following, False

    def _following(self, anniversary: Instant, at: Instant) -> Instant | None:
        """Where it was moved to; else the day of the renewal picks the rule."""
        rows = sorted((parse(day), row) for day, row in self._policy(at)["next"].items())
        _, row = [each for each in rows if each is rows[0] or each[0] <= at][-1]
        if row == "no renewal":
            return None
        zone, moved = self.oracle.reading(at).rules.zone, self._moved(anniversary)
        if moved is not None:
            return plus(anniversary, span(moved["by"]), zone)
        base, _, lasts = row.partition(" + ")
        return plus({"anniversary": anniversary, "renewal": at}[base], span(lasts), zone)

    def _begins(self, at: Instant) -> None:
        """Another year, where a level above is both bought and met."""
        rank = self.oracle.reading(at).rules.rank
        met = [self._qualified(award, at) for award in self.credited if self._bought_for(award, at)]
        above = rank(self.level) if self.anniversary is not None else 0
        since = self.later_than if self.anniversary is not None else BEGINNING
        higher = [record for record in self._bought(at) if record.start > since and rank(record.fields["level"]) > above]
        if higher and max(map(rank, met), default=0) > above:
            if self.anniversary is None:
                self.later_than = at
            self.level, self.in_window = higher[-1].fields["level"], False
            self.anniversary = plus(at, YEAR, self.oracle.reading(at).rules.zone)

    def _ended(self, free: Instant) -> None:
        """What was bought before has no effect any more."""
        self.credited.update(dict.fromkeys(self.credited))
        self.anniversary, self.level, self.in_window, self.free, self.undecided = None, None, False, free, None

    def _bought(self, at: Instant) -> list[Record]:
        return [record for record in self.oracle.records.of("purchase") if self.free <= record.start <= at]

    def _bought_for(self, award: str, at: Instant) -> list[Record]:
        """An offer that names another award is for that one alone, any other is for all."""
        others = [each for each in self.oracle.awards if each != award]
        return [record for record in self._bought(at) if record.fields["offer"] not in others]

    def _lower(self, at: Instant, one: str | None, other: str | None) -> str | None:
        return min(one, other, key=self.oracle.reading(at).rules.rank)

    def _higher(self, at: Instant, one: str | None, other: str | None) -> str | None:
        return max(one, other, key=self.oracle.reading(at).rules.rank)


POLICIES: dict[str, type[Policy]] = {"continuous": Continuous, "review": Review, "membership": Membership}
