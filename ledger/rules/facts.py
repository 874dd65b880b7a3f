"""Facts: a partner's events as intervals, free of rules.

Events are folded in four ways. A *point* enters at an instant and has no end of its own. An *open* fact lasts until its planned
end or until an event closes it. A *level* lasts until the next statement of the same key. A *cut* ends lots that are named. An
event that was reversed is not there, and neither is its reversal. What a fact is worth, and for how long it counts, is the
rulebook's affair.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from ledger.events.envelope import Sealed
from ledger.instants import BEGINNING, FOREVER, Instant, parse

Key = tuple[str | None, ...]

TEXT, NUMBER, FLAG = "text", "number", "flag"


@dataclass(frozen=True, slots=True)
class FactKind:
    """What a rulebook may ask of a kind of fact: its fields with their types, and the key by which it is told apart."""

    name: str
    key: tuple[str, ...]
    fields: dict[str, str]


class Merged:
    """The fields of a level that was stated in parts: a later statement inherits what it does not restate."""

    __slots__ = ("fields",)

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields

    def __getattr__(self, name: str) -> Any:
        return self.fields.get(name)


class Fact:
    """An event's truth, present in [start, end). `planned` is the end that was known when it began."""

    __slots__ = ("data", "end", "ender", "event", "key", "kind", "planned", "start")

    def __init__(self, kind: str, key: Key, start: Instant, data: Any, event: Sealed, planned: Instant = FOREVER) -> None:
        self.kind = kind
        self.key = key
        self.start = start
        self.end = planned
        self.planned = planned
        self.data = data
        self.event = event
        self.ender: Sealed | None = None

    def __repr__(self) -> str:
        return f"Fact({self.kind} {self.key} [{self.start}, {self.end}) of {self.event.position})"

    def close(self, at: Instant, ender: Sealed) -> None:
        """An end that is later than the one already known changes nothing."""
        if self.start <= at < self.end:
            self.end = at
            self.ender = ender

    def get(self, name: str) -> Any:
        """A field as a rulebook sees it: numbers as exact fractions, nothing as the empty text."""
        value = getattr(self.data, name, None)
        if FACTS[self.kind].fields.get(name) == NUMBER:
            return _number(value if value is not None else 0)
        return "" if value is None else value


@lru_cache(maxsize=65_536)
def _number(written: str | int) -> Fraction:
    """Reading a decimal text costs more than all that is done with it; a fact is asked for it by every rulebook."""
    return Fraction(written)


def _kind(name: str, key: str = "", **fields: str) -> FactKind:
    return FactKind(name, tuple(key.split()), fields)


_SUBSCRIPTION = {
    "client": TEXT, "subscription": TEXT, "line": TEXT, "edition": TEXT, "mrr": NUMBER, "currency": TEXT,
    "contact_tier": TEXT, "email_tier": TEXT, "apps": NUMBER, "state": TEXT, "seats": NUMBER,
}  # fmt: skip
_METRIC = {
    "metric": TEXT, "value": NUMBER, "client": TEXT, "area": TEXT, "service": TEXT, "workload": TEXT,
    "month": TEXT, "unit": TEXT,
}  # fmt: skip

FACTS: dict[str, FactKind] = {
    kind.name: kind
    for kind in (
        _kind("enrolment", "programme", programme=TEXT),
        _kind("partner", "", country=TEXT, market=TEXT, segment=TEXT),
        _kind("link", "person", person=TEXT, role=TEXT),
        _kind("leaver", "person", person=TEXT),
        _kind("client", "client", client=TEXT, country=TEXT, segment=TEXT, association=TEXT),
        _kind("assignment", "client person", client=TEXT, person=TEXT),
        _kind("account_user", "client person", client=TEXT, person=TEXT),
        _kind("worked", "client person", client=TEXT, person=TEXT, activity=TEXT),
        _kind("subscription", "client subscription", **_SUBSCRIPTION),
        _kind("renewal", "client subscription", client=TEXT, subscription=TEXT, owner=TEXT, mrr=NUMBER, currency=TEXT),
        _kind("contact", "contact role", contact=TEXT, role=TEXT),
        _kind(
            "sold", "client line", client=TEXT, line=TEXT, amount=NUMBER, currency=TEXT, revenue=TEXT, deal_type=TEXT,
            deal=TEXT, line_first_sold_on=TEXT, credits=TEXT, with_deal=FLAG,
        ),
        _kind("managed", "client", client=TEXT, mrr=NUMBER, currency=TEXT, servicing_partners=NUMBER),
        _kind("adjusted", "measure", measure=TEXT, points=NUMBER, client=TEXT),
        _kind("activity", "activity", activity=TEXT, state=TEXT),
        _kind("certificate", "person code", person=TEXT, code=TEXT, certificate=TEXT),
        _kind("purchase", "", level=TEXT, offer=TEXT),
        _kind("renewed", "", level=TEXT),
        _kind("invitation", "tier", tier=TEXT, by=TEXT),
        _kind("nomination", "award year", award=TEXT, year=NUMBER),
        _kind("award", "award year", award=TEXT, year=NUMBER),
        _kind("metric", "metric client area service workload", **_METRIC),
        _kind("metered", "metric client area service workload", **_METRIC),
        _kind(
            "licences", "client product service workload subscription", client=TEXT, product=TEXT, service=TEXT,
            workload=TEXT, subscription=TEXT, assigned=NUMBER, sold=NUMBER, active=NUMBER, state=TEXT, trial=FLAG,
            reassigned=NUMBER, channel=TEXT,
        ),
        _kind(
            "override", "override", override=TEXT, tier=TEXT, requirement=TEXT, measure=TEXT, points=NUMBER,
            programme=TEXT, award=TEXT, author=TEXT, reason=TEXT,
        ),
    )
}  # fmt: skip
"""Every kind of fact; the linter holds the names of a rulebook against it."""


class Facts:
    """The facts of one partner, each kind in order of (start, position)."""

    def __init__(self) -> None:
        self.by_kind: dict[str, list[Fact]] = defaultdict(list)
        self.found: dict[object, Any] = {}
        """What rulebooks found out about these facts, by what they asked; equal questions are asked once."""
        self.indexes: dict[object, tuple[str, Callable[[Sequence[Fact]], None], Any]] = {}
        """Indexes of all facts of a kind in their order: the kind, how one learns of those that follow, and the index itself."""
        self._last: tuple[Instant, int] = BEGINNING, 0
        self._open: dict[tuple[str, Key], Fact] = {}
        self.claimed_anew: set[str] = set()
        """Activities that are confirmed, and of which another claim has not been decided."""

    def of(self, kind: str) -> Sequence[Fact]:
        return self.by_kind.get(kind, ())

    @property
    def first(self) -> Instant:
        """When the first fact begins; FOREVER where there is none."""
        return min((facts[0].start for facts in self.by_kind.values() if facts), default=FOREVER)

    def enrolments(self, programme: str) -> list[tuple[Instant, Instant]]:
        """When the partner was in a programme, as far as it was said: named, or with all programmes; it may leave the one alone."""
        left = [fact.start for fact in self.of("departure") if fact.data.programme == programme]
        stays = [fact for fact in self.of("enrolment") if fact.data.programme in (None, programme)]
        return [(stay.start, min([stay.end, *[at for at in left if at >= stay.start]])) for stay in stays]

    def ended(self) -> list[Fact]:
        """The facts that an event has ended."""
        if "ended" not in self.found:
            self.found["ended"] = [fact for fact in self.all() if fact.ender is not None]
        ended: list[Fact] = self.found["ended"]
        return ended

    def ended_kinds(self) -> frozenset[str]:
        return frozenset(fact.kind for fact in self.ended())

    def all(self) -> Iterable[Fact]:
        for facts in self.by_kind.values():
            yield from facts

    def take(self, events: Sequence[Sealed]) -> None:
        """Events in order of effective time, of which none was reversed."""
        for sealed in events:
            step = _STEPS.get(sealed.event.kind)
            if step is not None:
                step(self, sealed)
        if events:
            self._last = _order(events[-1])

    def go_on(self, events: Iterable[Sealed]) -> bool:
        """Take events that follow; False, and nothing is taken, where one of them lies before or reverses another."""
        more = sorted(events, key=_order)
        if any(sealed.event.kind == "event.reversed.v1" for sealed in more) or (more and _order(more[0]) <= self._last):
            return False
        counts = {kind: len(facts) for kind, facts in self.by_kind.items()}
        self.take(more)
        self.found.clear()
        for kind, learn, _ in self.indexes.values():
            learn(self.by_kind[kind][counts.get(kind, 0) :])
        return True

    def point(self, kind: str, key: Key, sealed: Sealed, planned: Instant = FOREVER) -> None:
        event = sealed.event
        self.by_kind[kind].append(Fact(kind, key, event.effective_at, event.data, sealed, planned))

    def open(self, kind: str, key: Key, sealed: Sealed, planned: Instant = FOREVER) -> None:
        """A second opening of what is open is the same fact stated again: the longer planned end counts."""
        self._start(kind, key, sealed, sealed.event.data, planned, restate=False)

    def level(self, kind: str, key: Key, sealed: Sealed) -> None:
        self._start(kind, key, sealed, sealed.event.data, FOREVER, restate=True)

    def merge(self, kind: str, key: Key, sealed: Sealed, fields: tuple[str, ...]) -> None:
        """A level of which only a part was stated."""
        data = sealed.event.data
        stated = {name: value for name in fields if (value := getattr(data, name, None)) is not None}
        before = self._open.get((kind, key))
        inherited = before.data.fields if before is not None and before.end > sealed.event.effective_at else {}
        self._start(kind, key, sealed, Merged({**inherited, **stated}), FOREVER, restate=True)

    def _start(self, kind: str, key: Key, sealed: Sealed, data: Any, planned: Instant, *, restate: bool) -> None:
        at = sealed.event.effective_at
        before = self._open.get((kind, key))
        if before is not None and before.end > at:
            if not restate and planned <= before.end:
                return
            before.close(at, sealed)
        fact = Fact(kind, key, at, data, sealed, planned)
        self._open[kind, key] = fact
        self.by_kind[kind].append(fact)

    def close(self, kind: str, key: Key, sealed: Sealed) -> None:
        fact = self._open.get((kind, key))
        if fact is not None:
            fact.close(sealed.event.effective_at, sealed)

    def close_all(self, kind: str, sealed: Sealed, of: Callable[[Fact], bool]) -> None:
        for (open_kind, _), fact in self._open.items():
            if open_kind == kind and of(fact):
                fact.close(sealed.event.effective_at, sealed)


def fold(events: Iterable[Sealed]) -> Facts:
    """The facts of one partner's events: what was reversed is left out, the rest is taken in order of effective time."""
    facts = Facts()
    facts.take(sorted(without_reversed(events), key=_order))
    return facts


def _order(sealed: Sealed) -> tuple[Instant, int]:
    return sealed.event.effective_at, sealed.position


def without_reversed(events: Iterable[Sealed]) -> list[Sealed]:
    """The events that stand: neither a reversed event (nor its copies) nor the reversal itself."""
    known = list(events)
    gone = {
        (reversal.event.data.reverses.source, reversal.event.data.reverses.id)
        for reversal in known
        if reversal.event.kind == "event.reversed.v1"
    }
    if not gone:
        return known
    causes = {f"{source} {identity}" for source, identity in gone}
    return [
        sealed
        for sealed in known
        if (sealed.event.source, sealed.event.id) not in gone
        and sealed.event.cause not in causes
        and sealed.event.kind != "event.reversed.v1"
    ]


def _sold(facts: Facts, sealed: Sealed) -> None:
    data = sealed.event.data
    facts.point("sold", (data.client, data.line), sealed)


def _lost(facts: Facts, sealed: Sealed) -> None:
    """A lot ends where it is named, or all lots of the client's line that had begun."""
    data, at = sealed.event.data, sealed.event.effective_at
    for fact in facts.of("sold"):
        event = fact.event.event
        if data.lot is not None:
            named = (event.source, event.id) == (data.lot.source, data.lot.id)
        else:
            named = event.data.client == data.client and data.line in (None, event.data.line)
        if named:
            fact.close(at, sealed)


def _enrolled(facts: Facts, sealed: Sealed) -> None:
    facts.open("enrolment", (sealed.event.data.programme,), sealed)
    _partner(facts, sealed)


def _partner(facts: Facts, sealed: Sealed) -> None:
    facts.merge("partner", (), sealed, ("country", "market", "segment"))


def _left(facts: Facts, sealed: Sealed) -> None:
    """Who leaves without naming a programme leaves them all."""
    programme = sealed.event.data.programme
    facts.close_all("enrolment", sealed, lambda fact: programme in (None, fact.key[0]))
    facts.point("departure", (programme,), sealed)


def _linked(facts: Facts, sealed: Sealed) -> None:
    facts.open("link", (sealed.event.data.person,), sealed)
    facts.close("leaver", (sealed.event.data.person,), sealed)


def _unlinked(facts: Facts, sealed: Sealed) -> None:
    facts.close("link", (sealed.event.data.person,), sealed)
    facts.close("leaver", (sealed.event.data.person,), sealed)


def _person_left(facts: Facts, sealed: Sealed) -> None:
    """The link ends; some programmes count who has left for some time, until linked anew."""
    facts.close("link", (sealed.event.data.person,), sealed)
    facts.open("leaver", (sealed.event.data.person,), sealed)


def _assigned(facts: Facts, sealed: Sealed) -> None:
    data = sealed.event.data
    facts.merge("client", (data.client,), sealed, ("client", "country", "segment", "association"))
    if data.person is not None:
        facts.open("assignment", (data.client, data.person), sealed)


def _client_changed(facts: Facts, sealed: Sealed) -> None:
    facts.merge("client", (sealed.event.data.client,), sealed, ("client", "country", "segment", "association"))


def _released(facts: Facts, sealed: Sealed) -> None:
    """With a person: that user no longer looks after the client. Without: services end."""
    data = sealed.event.data
    if data.person is not None:
        facts.close("assignment", (data.client, data.person), sealed)
        return
    facts.close("client", (data.client,), sealed)
    facts.close("managed", (data.client,), sealed)
    facts.close_all("assignment", sealed, lambda fact: fact.key[0] == data.client)


def _subscription(facts: Facts, sealed: Sealed) -> None:
    data = sealed.event.data
    facts.merge("subscription", (data.client, data.subscription), sealed, tuple(_SUBSCRIPTION))


def _metric(facts: Facts, sealed: Sealed) -> None:
    """A measured number holds until the next of its key (`metric`), and is an amount of its own (`metered`)."""
    data = sealed.event.data
    key = (data.metric, data.client, data.area, data.service, data.workload)
    facts.level("metric", key, sealed)
    facts.point("metered", key, sealed)


def _adjusted(facts: Facts, sealed: Sealed) -> None:
    data = sealed.event.data
    facts.point("adjusted", (data.measure,), sealed, FOREVER if data.until is None else parse(data.until))


def _activity(state: str) -> Callable[[Facts, Sealed], None]:
    """What is claimed anew while it is confirmed stays confirmed, also where the new claim is rejected."""

    def step(facts: Facts, sealed: Sealed) -> None:
        activity, at = sealed.event.data.activity, sealed.event.effective_at
        before = facts._open.get(("activity", (activity,)))
        confirmed = before is not None and before.data.state == "confirmed" and before.end > at
        anew = facts.claimed_anew
        if confirmed and state == "claimed":
            anew.add(activity)
            return
        if confirmed and state == "rejected" and activity in anew:
            anew.discard(activity)
            return
        anew.discard(activity)
        facts._start("activity", (activity,), sealed, Merged({"activity": activity, "state": state}), FOREVER, restate=True)

    return step


def _certified(facts: Facts, sealed: Sealed) -> None:
    data = sealed.event.data
    planned = FOREVER if data.valid_until is None else parse(data.valid_until)
    facts.open("certificate", (data.person, data.code), sealed, planned)


def _override(facts: Facts, sealed: Sealed) -> None:
    data = sealed.event.data
    facts.open("override", (data.override,), sealed, parse(data.until))


def _opening(kind: str, *fields: str) -> Callable[[Facts, Sealed], None]:
    def step(facts: Facts, sealed: Sealed) -> None:
        facts.open(kind, tuple([getattr(sealed.event.data, name) for name in fields]), sealed)

    return step


def _closing(kind: str, *fields: str) -> Callable[[Facts, Sealed], None]:
    def step(facts: Facts, sealed: Sealed) -> None:
        facts.close(kind, tuple([getattr(sealed.event.data, name) for name in fields]), sealed)

    return step


def _point(kind: str, *fields: str) -> Callable[[Facts, Sealed], None]:
    def step(facts: Facts, sealed: Sealed) -> None:
        facts.point(kind, tuple([str(getattr(sealed.event.data, name)) for name in fields]), sealed)

    return step


def _level(kind: str, *fields: str) -> Callable[[Facts, Sealed], None]:
    def step(facts: Facts, sealed: Sealed) -> None:
        facts.level(kind, tuple([getattr(sealed.event.data, name) for name in fields]), sealed)

    return step


_STEPS: dict[str, Callable[[Facts, Sealed], None]] = {
    "partner.enrolled.v1": _enrolled,
    "partner.changed.v1": _partner,
    "partner.left.v1": _left,
    "person.linked.v1": _linked,
    "person.unlinked.v1": _unlinked,
    "person.left.v1": _person_left,
    "client.assigned.v1": _assigned,
    "client.changed.v1": _client_changed,
    "client.released.v1": _released,
    "client.subscription_started.v1": _subscription,
    "client.subscription_changed.v1": _subscription,
    "client.subscription_ended.v1": _closing("subscription", "client", "subscription"),
    "client.user_added.v1": _opening("account_user", "client", "person"),
    "client.user_removed.v1": _closing("account_user", "client", "person"),
    "client.worked_on.v1": _point("worked", "client", "person"),
    "renewal.scheduled.v1": _level("renewal", "client", "subscription"),
    "contact.assigned.v1": _level("contact", "role"),
    "points.sold.v1": _sold,
    "points.managed.v1": _level("managed", "client"),
    "points.adjusted.v1": _adjusted,
    "points.lost.v1": _lost,
    "activity.claimed.v1": _activity("claimed"),
    "activity.confirmed.v1": _activity("confirmed"),
    "activity.rejected.v1": _activity("rejected"),
    "activity.withdrawn.v1": _activity("withdrawn"),
    "certification.earned.v1": _certified,
    "certification.expired.v1": _closing("certificate", "person", "code"),
    "membership.purchased.v1": _point("purchase", "level"),
    "membership.renewed.v1": _point("renewed"),
    "invitation.granted.v1": _opening("invitation", "tier"),
    "award.nominated.v1": _point("nomination", "award", "year"),
    "award.won.v1": _point("award", "award", "year"),
    "metric.measured.v1": _metric,
    "licences.counted.v1": _level("licences", "client", "product", "service", "workload", "subscription"),
    "override.granted.v1": _override,
    "override.revoked.v1": _closing("override", "override"),
}
"""How each kind of event enters the facts. Announcements (`points.expired`, `override.lapsed`) decide nothing and are not here."""
