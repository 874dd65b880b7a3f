"""The oracle: a partner's standing at one instant by a plain fold over its events, and what follows by stepping.

It answers at a single instant: it folds all events up to it into sets and dictionaries, prices what counts, compares with the tiers. The
credited tier is found by going through the checkpoints from the beginning, the future by going through every instant at which
anything could change. Nothing is shared with the sweep, the presence of facts, the walk or the questions about risk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from functools import lru_cache, wraps
from typing import Any, TypeVar

from ledger.events.envelope import Sealed
from ledger.instants import DAY, FOREVER, Instant, Span, from_datetime, parse, plus, to_datetime
from tests.oracle.programme import ALL, GROWTH, Rules, in_force

YEAR, HALF_YEAR = Span(months=12), Span(months=6)
ACTIVITY = 90 * DAY
COUNTED = ("subscription", "add_on")
PROGRAMME = "hubspot"


class NoRow(Exception):
    """A currency without a row: the standing is an error that names the event."""


def place(sealed: Sealed) -> tuple[Instant, int]:
    return sealed.event.effective_at, sealed.position


def unreversed(events: Sequence[Sealed]) -> list[Sealed]:
    """What stands, in order of effective time, then position."""
    reversals = [each.event for each in events if each.event.kind == "event.reversed.v1"]
    gone = [(each.data.reverses.source, each.data.reverses.id) for each in reversals]
    left = [each for each in events if each.event not in reversals and (each.event.source, each.event.id) not in gone]
    return sorted(left, key=place)


@dataclass
class State:
    """What is true at one instant, after folding all that has happened by then."""

    partner_country: str | None = None
    countries: dict[str, str] = field(default_factory=dict)
    links: set[str] = field(default_factory=set)
    assigned: set[tuple[str, str]] = field(default_factory=set)
    users: set[tuple[str, str]] = field(default_factory=set)
    worked: list[tuple[str, str, Instant]] = field(default_factory=list)
    managed: dict[str, Sealed] = field(default_factory=dict)
    certificates: dict[tuple[str, str], Instant] = field(default_factory=dict)
    invitations: set[str] = field(default_factory=set)
    metrics: dict[tuple[str, str | None], Fraction] = field(default_factory=dict)
    overrides: dict[str, tuple[Sealed, Instant]] = field(default_factory=dict)
    adjusted: list[tuple[str, Fraction, Instant]] = field(default_factory=list)

    def take(self, sealed: Sealed) -> None:
        event = sealed.event
        data, at = event.data, event.effective_at
        match event.kind:
            case "partner.enrolled.v1" | "partner.changed.v1":
                self.partner_country = data.country or self.partner_country
            case "person.linked.v1":
                self.links.add(data.person)
            case "person.unlinked.v1" | "person.left.v1":
                self.links.discard(data.person)
            case "client.assigned.v1" | "client.changed.v1":
                if data.country:
                    self.countries[data.client] = data.country
                if event.kind == "client.assigned.v1" and data.person:
                    self.assigned.add((data.client, data.person))
            case "client.released.v1":
                self._release(data.client, data.person)
            case "client.user_added.v1":
                self.users.add((data.client, data.person))
            case "client.user_removed.v1":
                self.users.discard((data.client, data.person))
            case "client.worked_on.v1":
                self.worked.append((data.client, data.person, at))
            case "points.managed.v1":
                self.managed[data.client] = sealed
            case "points.adjusted.v1":
                self.adjusted.append((data.measure, Fraction(data.points), _adjusted_until(data, at)))
            case "certification.earned.v1":
                self._earn(data.person, data.code, at, parse(data.valid_until) if data.valid_until else FOREVER)
            case "certification.expired.v1":
                key = (data.person, data.code)
                self.certificates[key] = min(at, self.certificates.get(key, at))
            case "invitation.granted.v1":
                self.invitations.add(data.tier)
            case "metric.measured.v1":
                self.metrics[data.metric, data.client] = Fraction(data.value)
            case "override.granted.v1":
                self.overrides[data.override] = (sealed, parse(data.until))
            case "override.revoked.v1":
                self.overrides.pop(data.override, None)

    def _release(self, client: str, person: str | None) -> None:
        if person is None:
            self.managed.pop(client, None)
            self.assigned = {pair for pair in self.assigned if pair[0] != client}
        else:
            self.assigned.discard((client, person))

    def _earn(self, person: str, code: str, at: Instant, until: Instant) -> None:
        """A certificate that is earned again while it is valid is valid until the later of the two ends."""
        running = self.certificates.get((person, code), at)
        self.certificates[person, code] = max(running, until) if running > at else until


Answer = TypeVar("Answer", bound=Callable[..., Any])


def once(ask: Answer) -> Answer:
    """An answer is a function of the events and the question, so it is worked out once for each question."""

    @wraps(ask)
    def told(oracle: Oracle, *question: Any) -> Any:
        key = (ask.__name__, *[each.position if isinstance(each, Sealed) else each for each in question])
        if key not in oracle._told:
            oracle._told[key] = ask(oracle, *question)
        return oracle._told[key]

    return told  # type: ignore[return-value]


class Oracle:
    """One partner. `rules` are the books in force, or the one that was named; `now` is set in a forecast."""

    def __init__(self, events: Sequence[Sealed], rules: tuple[Rules, ...] = ALL, now: Instant | None = None) -> None:
        self.known = tuple(events)
        self.events = unreversed(events)
        self.sales = [each for each in self.events if each.event.kind == "points.sold.v1"]
        self.rules, self.now = rules, now
        self.losses = [each for each in self.events if each.event.kind == "points.lost.v1"]
        self._told: dict[tuple[Any, ...], Any] = {}

    # --- one instant -------------------------------------------------------------------------------------------------------

    @once
    def state(self, at: Instant) -> State:
        state = State()
        for sealed in self.events:
            if sealed.event.effective_at <= at:
                state.take(sealed)
        return state

    @once
    def values(self, at: Instant) -> dict[str, Fraction]:
        rules, state = in_force(self.rules, at), self.state(at)
        valid = [key for key, until in state.certificates.items() if at < until and key[0] in state.links]
        managed = self._managed_clients(state, at)
        found = {
            rules.sold: sum((self.worth(sale, rules) for sale in self._counting(rules, at)), Fraction(0)),
            rules.managed: sum((self._credit(state, client, rules, at) for client in managed), Fraction(0)),
            "certified": Fraction(len({person for person, code in valid if code == "solutions-partner"})),
            "certifications": Fraction(len(valid)),
            "invited": Fraction("Elite" in state.invitations),
            "retention": _metric(state, "customer_retention"),
            "dollar_retention": _metric(state, "customer_dollar_retention"),
            "usage": _median(self._apps(state, managed, at)),
        }
        if rules.points:
            sourced = [sale for sale in self._counting(rules, at) if sale.event.data.deal_type == "sourced"]
            found["sourced"] = sum((self.worth(sale, rules) for sale in sourced), Fraction(0))
        for measure, points in self._given(state, at):
            if measure in found:
                found[measure] += points
        if rules.points:
            found["total"] = found["sold"] + found["managed"]
        return found

    def _given(self, state: State, at: Instant) -> list[tuple[str, Fraction]]:
        """Points stated outright, and points granted by overrides that last."""
        stated = [(measure, points) for measure, points, until in state.adjusted if at < until]
        granted = [grant.event.data for grant, until in state.overrides.values() if at < until]
        return stated + [(data.measure, Fraction(data.points)) for data in granted if data.points is not None]

    # --- sold ------------------------------------------------------------------------------------------------------------------

    def _counting(self, rules: Rules, at: Instant) -> list[Sealed]:
        return [sale for sale in self.sales if self.counts(sale, rules) and sale.event.effective_at <= at < self.end(sale)]

    def counts(self, sale: Sealed, rules: Rules) -> bool:
        data = sale.event.data
        if data.revenue not in COUNTED:
            return False
        return data.with_deal or rules.deals_only_from is None or sale.event.effective_at < rules.deals_only_from

    @once
    def end(self, sale: Sealed) -> Instant:
        """Twelve months later; with the sale that a credit takes back; or on the day the subscription is lost."""
        end = plus(sale.event.effective_at, YEAR)
        if Fraction(sale.event.data.amount) < 0:
            taken = self.taken(sale)
            end = end if taken is None else self.end(taken)
        return min([end, *self._lost_at(sale)])

    def taken(self, credit: Sealed) -> Sealed | None:
        """The sale that a negative one takes back: the one it names, else the latest of that line to that client."""
        data, source = credit.event.data, credit.event.source
        named = [sale for sale in self.sales if data.credits and (sale.event.source, sale.event.id) == (source, data.credits)]
        if named:
            return named[0]
        of_line = [sale for sale in self._line(credit) if Fraction(sale.event.data.amount) > 0 and sale.event.data.revenue in COUNTED]
        before = [sale for sale in of_line if place(sale) <= place(credit)]
        return max(before, key=place, default=None)

    def _line(self, sale: Sealed) -> list[Sealed]:
        line = (sale.event.data.client, sale.event.data.line)
        return [each for each in self.sales if (each.event.data.client, each.event.data.line) == line]

    def origin(self, sale: Sealed) -> Instant:
        stated = sale.event.data.line_first_sold_on
        if stated is not None:
            return parse(stated)
        first = min((each.event.effective_at for each in self._line(sale) if Fraction(each.event.data.amount) >= 0), default=FOREVER)
        return min(first, sale.event.effective_at)

    @once
    def worth(self, sale: Sealed, rules: Rules) -> Fraction:
        data, at = sale.event.data, sale.event.effective_at
        share = Fraction(data.amount) / _per(rules, data.currency, at)
        if not rules.points:
            return 100 * share
        return share * rules.rate(data.deal_type, self.origin(sale), self.state(at).countries.get(data.client) in GROWTH)

    # --- managed, usage ----------------------------------------------------------------------------------------------------

    def _managed_clients(self, state: State, at: Instant) -> list[str]:
        serviced = {
            client
            for client, person, worked_at in state.worked
            if person in state.links
            and (client, person) in state.assigned
            and (client, person) in state.users
            and (at < worked_at + ACTIVITY or (self.now is not None and worked_at + ACTIVITY > self.now))
        }
        return sorted(serviced & state.managed.keys())

    def _credit(self, state: State, client: str, rules: Rules, at: Instant) -> Fraction:
        data = state.managed[client].event.data
        share = Fraction(data.mrr) / _per(rules, data.currency, at) / data.servicing_partners
        level = 100 if not rules.points else 2 if state.countries.get(client) in GROWTH else 1
        return share * level

    def _apps(self, state: State, managed: list[str], at: Instant) -> list[Fraction]:
        sold_to = {sale.event.data.client for sale in self.sales if sale.event.effective_at <= at < self._left(sale)}
        clients = sold_to | set(managed)
        return [value for (metric, client), value in state.metrics.items() if metric == "apps_used" and client in clients]

    @once
    def _left(self, sale: Sealed) -> Instant:
        return min([plus(sale.event.effective_at, YEAR), *self._lost_at(sale)])

    def _lost_at(self, sale: Sealed) -> list[Instant]:
        return [loss.event.effective_at for loss in self.losses if _loses(loss, sale)]

    # --- performance tier ------------------------------------------------------------------------------------------------------

    @once
    def exempt(self, at: Instant) -> set[str]:
        granted = [grant.event.data for grant, until in self.state(at).overrides.values() if at < until]
        return {data.requirement for data in granted if data.requirement}

    @once
    def failing(self, tier: str, at: Instant) -> list[str]:
        """The requirements of a tier that are not met, in the order of the sheet; a tier the book does not have is not met."""
        rules, values, exempt = in_force(self.rules, at), self.values(at), self.exempt(at)
        if tier not in rules.tiers:
            return ["unknown"]
        ease = Fraction(1, 2) if rules.local_market and self.state(at).partner_country in GROWTH else Fraction(1)
        found = []
        for name, relation, line in rules.needs_of(tier):
            asked = line * ease if name in ("sold_mrr", "managed_mrr") else line
            met = values[name] > asked if relation == ">" else values[name] >= asked
            if not met and name not in exempt:
                found.append(name)
        return found

    @once
    def performance(self, at: Instant) -> str | None:
        met = [tier for tier in in_force(self.rules, at).tiers if not self.failing(tier, at)]
        return met[-1] if met else None

    # --- credited tier ---------------------------------------------------------------------------------------------------------

    def credited(self, at: Instant) -> str | None:
        """The walked tier, lifted by an override of the tier while that lasts."""
        rules = in_force(self.rules, at)
        granted = [grant.event.data.tier for grant, until in self.state(at).overrides.values() if at < until]
        held = [self.walked(at), *[tier for tier in granted if tier in rules.tiers]]
        return max(held, key=rules.rank)

    @once
    def walked(self, at: Instant) -> str | None:
        """Through the checkpoints and the borders of the books, from the first event on."""
        tier: str | None = None
        gained: Instant | None = None
        for point in self._points(at):
            rules = in_force(self.rules, point)
            if tier not in rules.tiers:
                tier, gained = None, None
            if not is_checkpoint(point):
                continue
            if is_review(point):
                tier, gained = self._reviewed(tier, gained, point)
            now = self.performance(point)
            if rules.rank(now) > rules.rank(tier):
                tier, gained = now, point
        return tier

    def _points(self, at: Instant) -> list[Instant]:
        if not self.events:
            return []
        first = self.events[0].event.effective_at
        borders = [rules.since for rules in self.rules[1:] if first < rules.since <= at]
        return sorted({*checkpoints(first, at), *borders})

    def _reviewed(self, tier: str | None, gained: Instant | None, review: Instant) -> tuple[str | None, Instant | None]:
        rules = in_force(self.rules, review)
        if self.values(review)["certified"] < 1 and "certified" not in self.exempt(review):
            return None, None
        window = list(window_of(review))
        if tier is None or any(in_force(self.rules, c).rank(self.performance(c)) >= in_force(self.rules, c).rank(tier) for c in window
                               if tier in in_force(self.rules, c).tiers):  # fmt: skip
            return tier, gained
        if gained is not None and plus(gained, HALF_YEAR) > review:
            return tier, gained
        best = max((self.performance(c) for c in window), key=rules.rank)
        return (best if best in rules.tiers else None), None

    # --- what could be foreseen ------------------------------------------------------------------------------------------------

    @once
    def foresee(self, at: Instant) -> Oracle:
        """Only what had happened or had been recorded; what was reversed is known to be no fact."""
        cut = [each for each in self.events if min(each.event.effective_at, each.recorded_at) <= at]
        return Oracle(cut, self.rules, now=at)

    def candidates(self, until: Instant) -> list[Instant]:
        """Every instant up to `until` at which anything could change, and then some."""
        found = self._turns()
        if self.known:
            found |= set(checkpoints(min(each.event.effective_at for each in self.known), until))
        return sorted(at for at in found if at <= until)

    def _turns(self) -> set[Instant]:
        found: set[Instant] = {rules.since for rules in self.rules}
        for sealed in self.known:
            at, data = sealed.event.effective_at, sealed.event.data
            found |= {at, sealed.recorded_at, plus(at, YEAR), at + ACTIVITY}
            found |= {parse(end) for name in ("until", "valid_until") if (end := getattr(data, name, None))}
        return found

    def horizon(self) -> Instant:
        """Two reviews after the last thing that is known to happen."""
        return plus(max(self._turns(), default=0), Span(months=14))

    @once
    def at_risk(self, at: Instant) -> bool:
        held = self.credited(at)
        if held is None:
            return False
        rules = in_force(self.rules, at)
        if rules.rank(self.performance(at)) < rules.rank(held):
            return True
        ahead, review = self.foresee(at), next_review(at)
        return any(ahead.failing(held, u) for u in ahead.candidates(review) if u > at)

    def risk_since(self, as_of: Instant) -> Instant | None:
        """The beginning of the unbroken time at risk, each instant judged by what could be foreseen at it."""
        since = None
        for at in sorted({*self.candidates(as_of), as_of}, reverse=True):
            if not self.at_risk(at):
                break
            since = at
        return since

    def lost(self, as_of: Instant) -> tuple[Instant, str | None] | None:
        """The first instant at which the credited tier is lower than now, if nothing more happens, and the tier it falls to."""
        held, ahead = self.credited(as_of), self.foresee(as_of)
        if held is None:
            return None
        for at in ahead.candidates(ahead.horizon()):
            if at > as_of:
                rules, then = in_force(self.rules, at), ahead.credited(at)
                if then is None or (then != held and rules.rank(then) < rules.rank(held)):
                    return at, then
        return None

    def failed_first(self, as_of: Instant, lost_at: Instant) -> list[str]:
        """What failed at the beginning of the time without all requirements that ends with the loss."""
        held, ahead = self.credited(as_of), self.foresee(as_of)
        assert held is not None
        failing: list[str] = []
        first = min(each.event.effective_at for each in ahead.known)
        for at in sorted({at for at in (*ahead.candidates(lost_at), lost_at) if at >= first}, reverse=True):
            now = ahead.failing(held, at)
            if not now:
                break
            failing = now
        return failing


def _adjusted_until(data: Any, at: Instant) -> Instant:
    """As long as it says; else sold points count for twelve months, managed ones until something else is said."""
    if data.until:
        return parse(data.until)
    return FOREVER if data.measure.startswith("managed") else plus(at, YEAR)


def _loses(loss: Sealed, sale: Sealed) -> bool:
    """A loss ends the lots that had begun before it: the one it names, or all of the client (and line)."""
    data, sold = loss.event.data, sale.event
    if place(loss) < place(sale):
        return False
    if data.lot is not None:
        return (sold.source, sold.id) == (data.lot.source, data.lot.id)
    return sold.data.client == data.client and data.line in (None, sold.data.line)


def _per(rules: Rules, currency: str, at: Instant) -> Fraction:
    row = rules.row(at)
    if currency not in row:
        raise NoRow(currency)
    return row[currency]


def _metric(state: State, name: str) -> Fraction:
    return sum((value for (metric, _), value in state.metrics.items() if metric == name), Fraction(0))


def _median(values: list[Fraction]) -> Fraction:
    if not values:
        return Fraction(0)
    values = sorted(values)
    return (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2


@lru_cache(maxsize=4096)
def checkpoints(since: Instant, until: Instant) -> list[Instant]:
    """The fifteenths, 00:00, from the month of `since` on."""
    when, found = to_datetime(since), []
    year, month = when.year, when.month
    while (at := from_datetime(datetime(year, month, 15, tzinfo=UTC))) <= until:
        found.append(at)
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return found


def is_checkpoint(at: Instant) -> bool:
    when = to_datetime(at)
    return when.day == 15 and at % DAY == 0


def is_review(at: Instant) -> bool:
    return is_checkpoint(at) and to_datetime(at).month in (1, 7)


def window_of(review: Instant) -> list[Instant]:
    """Six checkpoints, the review's own day the last."""
    return [plus(review, Span(months=-months)) for months in range(5, -1, -1)]


def next_review(after: Instant) -> Instant:
    return next(at for at in checkpoints(after, plus(after, Span(months=8))) if at > after and is_review(at))


__all__ = ["NoRow", "Oracle", "checkpoints", "next_review", "unreversed", "window_of"]
