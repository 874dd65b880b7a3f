"""What is true of a partner and from when until when, found by going through the events of each kind and key on their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ledger.events.envelope import Sealed
from ledger.instants import FOREVER, Instant, parse
from tests.oracle.language import Unread

NUMBERS = frozenset(
    ["amount", "mrr", "servicing_partners", "points", "value", "year", "assigned", "sold", "active", "reassigned", "seats", "apps"]
)
KINDS = (
    "partner", "link", "leaver", "client", "managed", "assignment", "account_user", "worked", "sold", "adjusted", "activity", "certificate",
    "purchase", "renewed", "invitation", "metric", "metered", "licences", "override",
)  # fmt: skip
PARTNER, CLIENT = ("country", "market", "segment"), ("client", "country", "segment", "association")


@dataclass(eq=False)
class Record:
    """True in [start, end); `planned` is the end that was known from the start."""

    start: Instant
    position: int
    fields: dict[str, Any]
    sealed: Sealed
    planned: Instant = FOREVER
    end: Instant = FOREVER

    @property
    def place(self) -> tuple[Instant, int]:
        return self.start, self.position

    def key(self, names: Sequence[str]) -> tuple[Any, ...]:
        return tuple(self.fields.get(name) for name in names)

    def get(self, name: str) -> Any:
        """As an expression reads it: nothing stated is no text, or the number nought."""
        if name not in self.fields:
            raise Unread(f"{name} of {self.sealed.event.kind}")
        stated = self.fields[name]
        if name in NUMBERS:
            return Fraction(stated if stated is not None else 0)
        return "" if stated is None else stated

    def ended(self, at: Instant) -> None:
        if self.start <= at < self.end:
            self.end = at


def unreversed(events: Iterable[Sealed]) -> list[Sealed]:
    """What stands, in order of effective time, then position: no reversal, nothing reversed, and no copy of it."""
    every = list(events)
    gone = {(e.event.data.reverses.source, e.event.data.reverses.id) for e in every if e.event.kind == "event.reversed.v1"}
    causes = {f"{source} {identity}" for source, identity in gone}
    left = [e for e in every if e.event.kind != "event.reversed.v1" and (e.event.source, e.event.id) not in gone and e.event.cause not in causes]
    return sorted(left, key=lambda e: (e.event.effective_at, e.position))


Choice = Callable[[Any], bool]


class Records:
    """The records of a partner's events by kind of fact, found when they are asked for."""

    def __init__(self, events: Sequence[Sealed]) -> None:
        self.events = events
        self._found: dict[str, list[Record]] = {}

    def of(self, kind: str) -> list[Record]:
        if kind not in self._found:
            find = getattr(self, f"_{kind}", None)
            if find is None:
                raise Unread(f"facts of kind {kind}")
            self._found[kind] = find()
        return self._found[kind]

    def first(self) -> Instant:
        """When the first of all records begins."""
        return min((record.start for kind in KINDS for record in self.of(kind)), default=FOREVER)

    def _those(self, *kinds: str) -> list[Sealed]:
        return [each for each in self.events if each.event.kind in kinds]

    def _points(self, kind: str) -> list[Record]:
        return [_record(each) for each in self._those(kind)]

    def _spells(self, opens: str, *closes: str, by: tuple[str, ...], until: str | None = None) -> list[Record]:
        """From what opens to what closes. What is open and opened again is the same, unless it lasts longer: then it is stated anew."""
        found: list[Record] = []
        for each in self._those(opens, *closes):
            key = tuple(getattr(each.event.data, name) for name in by)
            now = [r for r in found if r.key(by) == key and r.start <= each.event.effective_at < r.end]
            if each.event.kind in closes:
                for record in now:
                    record.ended(each.event.effective_at)
                continue
            stated = getattr(each.event.data, until) if until else None
            planned = _end(stated)
            if any(record.end >= planned for record in now):
                continue
            for record in now:
                record.ended(each.event.effective_at)
            found.append(_record(each, planned=planned))
        return found

    def _levels(self, *kinds: str, by: tuple[str, ...], parts: tuple[str, ...] = (), closes: Choice = lambda event: False) -> list[Record]:
        """Each statement holds until the next of its key; one in parts keeps what it does not restate."""
        last: dict[tuple[Any, ...], Record] = {}
        found: list[Record] = []
        for each in self.events:
            event = each.event
            if event.kind not in kinds and not closes(event):
                continue
            key = tuple(getattr(event.data, name) for name in by)
            before = last.pop(key, None)
            if before is not None:
                before.ended(event.effective_at)
            if event.kind in kinds:
                record = last[key] = _record(each)
                if parts:
                    stated = {name: getattr(event.data, name, None) for name in parts}
                    record.fields = {**dict.fromkeys(parts), **(before.fields if before is not None else {}), **_said(stated)}
                found.append(record)
        return found

    # -- the kinds ------------------------------------------------------------------------------------------------------

    def _partner(self) -> list[Record]:
        return self._levels("partner.enrolled.v1", "partner.changed.v1", by=(), parts=PARTNER)

    def _link(self) -> list[Record]:
        return self._spells("person.linked.v1", "person.unlinked.v1", "person.left.v1", by=("person",))

    def _leaver(self) -> list[Record]:
        return self._spells("person.left.v1", "person.linked.v1", "person.unlinked.v1", by=("person",))

    def _client(self) -> list[Record]:
        return self._levels("client.assigned.v1", "client.changed.v1", by=("client",), parts=CLIENT, closes=_service_ends)

    def _managed(self) -> list[Record]:
        return self._levels("points.managed.v1", by=("client",), closes=_service_ends)

    def _assignment(self) -> list[Record]:
        """A user looks after a client until released, alone or with the client."""
        found: list[Record] = []
        for each in self._those("client.assigned.v1", "client.released.v1"):
            data, at = each.event.data, each.event.effective_at
            now = [r for r in found if r.fields["client"] == data.client and data.person in (None, r.fields["person"]) and r.start <= at < r.end]
            if each.event.kind == "client.released.v1":
                for record in now:
                    record.ended(at)
            elif data.person is not None and not now:
                found.append(_record(each))
        return found

    def _account_user(self) -> list[Record]:
        return self._spells("client.user_added.v1", "client.user_removed.v1", by=("client", "person"))

    def _worked(self) -> list[Record]:
        return self._points("client.worked_on.v1")

    def _sold(self) -> list[Record]:
        """A loss ends the lot that it names, or all of the client (and line) that had begun."""
        found: list[Record] = []
        for each in self._those("points.sold.v1", "points.lost.v1"):
            data = each.event.data
            if each.event.kind == "points.sold.v1":
                found.append(_record(each))
                continue
            for record in found:
                sold = record.sealed.event
                if data.lot is not None:
                    lost = (sold.source, sold.id) == (data.lot.source, data.lot.id)
                else:
                    lost = sold.data.client == data.client and data.line in (None, sold.data.line)
                if lost:
                    record.ended(each.event.effective_at)
        return found

    def _adjusted(self) -> list[Record]:
        return [_record(each, _end(each.event.data.until)) for each in self._those("points.adjusted.v1")]

    def _activity(self) -> list[Record]:
        """The state of each activity. A new claim of what is confirmed, and its refusal, leave it confirmed."""
        found: list[Record] = []
        now: dict[str, Record] = {}
        claimed: set[str] = set()
        for each in self.events:
            noun, _, verb = each.event.kind.partition(".")
            if noun != "activity":
                continue
            activity, state = each.event.data.activity, verb.removesuffix(".v1")
            if activity in now and now[activity].fields["state"] == "confirmed":
                if state == "claimed":
                    claimed.add(activity)
                    continue
                if state == "rejected" and activity in claimed:
                    claimed.remove(activity)
                    continue
            claimed.discard(activity)
            if activity in now:
                now[activity].ended(each.event.effective_at)
            now[activity] = _record(each)
            now[activity].fields = {"activity": activity, "state": state}
            found.append(now[activity])
        return found

    def _certificate(self) -> list[Record]:
        return self._spells("certification.earned.v1", "certification.expired.v1", by=("person", "code"), until="valid_until")

    def _purchase(self) -> list[Record]:
        return self._points("membership.purchased.v1")

    def _renewed(self) -> list[Record]:
        return self._points("membership.renewed.v1")

    def _invitation(self) -> list[Record]:
        return self._spells("invitation.granted.v1", by=("tier",))

    def _metric(self) -> list[Record]:
        return self._levels("metric.measured.v1", by=("metric", "client", "area", "service", "workload"))

    def _metered(self) -> list[Record]:
        return self._points("metric.measured.v1")

    def _licences(self) -> list[Record]:
        return self._levels("licences.counted.v1", by=("client", "product", "service", "workload", "subscription"))

    def _override(self) -> list[Record]:
        return self._spells("override.granted.v1", "override.revoked.v1", by=("override",), until="until")

    def absences(self, programme: str) -> list[tuple[Instant, Instant]]:
        """From leaving a programme that one was in until one is in it again. What names no programme is about all of them."""
        found: list[tuple[Instant, Instant]] = []
        inside = False
        for each in self._those("partner.enrolled.v1", "partner.left.v1"):
            if each.event.data.programme not in (None, programme):
                continue
            at = each.event.effective_at
            if each.event.kind == "partner.left.v1":
                if inside:
                    found.append((at, FOREVER))
                inside = False
            else:
                if found and not inside:
                    found[-1] = found[-1][0], at
                inside = True
        return found


def _service_ends(event: Any) -> bool:
    return bool(event.kind == "client.released.v1" and event.data.person is None)


def _said(stated: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in stated.items() if value is not None}


def _end(stated: str | None) -> Instant:
    return FOREVER if stated is None else parse(stated)


def _record(sealed: Sealed, planned: Instant = FOREVER) -> Record:
    data = sealed.event.data
    fields = {name: getattr(data, name) for name in data.__struct_fields__}
    return Record(sealed.event.effective_at, sealed.position, fields, sealed, planned, planned)


__all__ = ["Record", "Records", "unreversed"]
