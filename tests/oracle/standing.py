"""A partner by the rulebooks in force, and by three policies that are stepped from one instant to the next. Nothing looks ahead.

What lies ahead is asked of another oracle, which knows only what could be foreseen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from fractions import Fraction
from heapq import heapify, heappop, heappush

from ledger.events.envelope import Sealed
from ledger.instants import BEGINNING, FOREVER, Instant, Span, parse, plus, to_datetime, wall
from tests.oracle.facts import Record, Records, unreversed
from tests.oracle.language import Rules, Spec, Unread, known, span
from tests.oracle.reading import Reading

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
        self.tested: list[Instant] = []
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
                coming = [anniversary for anniversary in ahead.tested if anniversary > at]
                return bool(coming) and not ahead.meets(award, held, coming[0])
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

    def _policy(self, at: Instant) -> Spec:
        spec = self.oracle.reading(at).rules.spec["status"].get("membership", {})
        if "test_months" in spec or "test_window" in spec:
            raise Unread(f"test_months or test_window in {spec}")
        return known(spec, "renewal", "remind", "next", "source")

    def wanted(self, at: Instant) -> list[Instant]:
        if self.anniversary is None:
            return []
        return [day for day in (self.anniversary, *self._window(self.anniversary)) if day > at]

    def _window(self, anniversary: Instant) -> tuple[Instant, Instant]:
        """From the day after the anniversary on, for the days of the renewal."""
        zone = self.oracle.reading(anniversary).rules.zone
        lasts = span(self._policy(anniversary).get("renewal", "30 days"))
        return plus(anniversary, DAY, zone), plus(plus(anniversary, lasts, zone), DAY, zone)

    def step(self, at: Instant) -> None:
        self.leaves(at)
        if any(begin == at for begin, _ in self.oracle.absences):
            self._ended(at)
        if self.oracle.is_away(at):
            return
        if self.anniversary is not None:
            self._looked_at(at, self.anniversary)
        self._begins(at)
        if self.anniversary is not None and not self.in_window:
            for award, held in self.credited.items():
                if self._bought_for(award, at):
                    self.credited[award] = self._higher(at, held, self._lower(at, self.level, self.oracle.performance(award, at)))

    def _looked_at(self, at: Instant, anniversary: Instant) -> None:
        """The anniversary and its window."""
        opens, closes = self._window(anniversary)
        renewals = [record for record in self.oracle.records.of("renewed") if record.start == at]
        if at == anniversary and not self.in_window:
            self.oracle.tested.append(at)
            self.in_window = True
            for award, held in self.credited.items():
                self.credited[award] = self._lower(at, held, self._lower(at, self.level, self.oracle.performance(award, at)))
            if not any(self.oracle.performance(award, at) for award in self.credited):
                self._ended(anniversary)
        elif self.in_window and at == closes:
            self._ended(anniversary)
        elif self.in_window and opens <= at and renewals:
            level = renewals[0].fields["level"]
            if level is not None:
                self.level, self.later_than = level, at
            for award, held in self.credited.items():
                self.credited[award] = self._lower(at, held, self.level)
            self.anniversary, self.in_window = self._following(anniversary, at), False

    def _following(self, anniversary: Instant, at: Instant) -> Instant:
        """The day of the renewal picks the rule."""
        rows = sorted((parse(day), row) for day, row in self._policy(at)["next"].items())
        _, row = [each for each in rows if each is rows[0] or each[0] <= at][-1]
        base, _, lasts = row.partition(" + ")
        return plus({"anniversary": anniversary, "renewal": at}[base], span(lasts), self.oracle.reading(at).rules.zone)

    def _begins(self, at: Instant) -> None:
        """Another year, where a level above is both bought and met."""
        rank = self.oracle.reading(at).rules.rank
        met = [self.oracle.performance(award, at) for award in self.credited if self._bought_for(award, at)]
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
        self.anniversary, self.level, self.in_window, self.free = None, None, False, free

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
