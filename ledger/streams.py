"""Which streams an event belongs to, and what a stream says that the door must know. Pure: it reads and writes nothing.

A partner's stream is enough for that partner, so a fact about a person or a client is copied into the stream of each partner
that it concerns. Four rules decide everything:

1. An event goes home: to its partner's stream, or to the person's, client's or programme's where it names no partner.
2. An event about a link or a certificate (an assignment) is also kept in the person's (the client's) own stream, which guards that
   the person (the exclusive client) is in one place at a time.
3. A fact goes on to every partner that the person or client was ever linked to; a first link brings the earlier facts.
4. A link that a later one elsewhere ends is told to the partner that loses, at the instant and with the cause of that later link.

A copy bears the source 'ledger', an id that follows from its cause and place, and as `cause` the source and id of the event that it
copies or follows from. So a reversal undoes, in any stream, the event of that source and id and all that has it as cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

from ledger.errors import Refusal
from ledger.events.envelope import Event, cloudevent, decode
from ledger.instants import Instant, parse

LEDGER = "ledger"
"""The source of what the ledger derives by itself."""

Key = tuple[str, str]

LINKS = frozenset({"person.linked.v1", "person.unlinked.v1", "person.left.v1"})
CERTIFICATES = frozenset({"certification.earned.v1", "certification.expired.v1"})
ASSIGNMENTS = frozenset({"client.assigned.v1", "client.released.v1"})
CLIENT_FACTS = frozenset(
    {
        "client.changed.v1",
        "client.subscription_started.v1",
        "client.subscription_changed.v1",
        "client.subscription_ended.v1",
        "client.user_added.v1",
        "client.user_removed.v1",
        "client.worked_on.v1",
        "metric.measured.v1",
        "licences.counted.v1",
    }
)
"""What may be said of a client without naming a partner."""
OVERRIDES = frozenset({"override.granted.v1", "override.revoked.v1", "override.lapsed.v1"})
REVERSAL = "event.reversed.v1"
RULEBOOK = "rulebook.published.v1"

ENTANGLED = LINKS | CERTIFICATES | ASSIGNMENTS | OVERRIDES | {REVERSAL, RULEBOOK, "points.lost.v1"}
"""The kinds that rest on what stands before them, or concern more than one stream; all others are one row of a stream."""

REMEMBERED = {
    "partner": OVERRIDES | {REVERSAL},
    "person": LINKS | {REVERSAL},
    "client": ASSIGNMENTS | {REVERSAL},
    "programme": frozenset({REVERSAL}),
}
"""By the kind of stream, the kinds of events that later judgements rest on."""


def partner_stream(id: str) -> str:
    return f"partner/{id}"


def partner_of(stream: str) -> str | None:
    kind, _, id = stream.partition("/")
    return id if kind == "partner" else None


def remembered(stream: str) -> frozenset[str]:
    return REMEMBERED[stream.partition("/")[0]]


def facts_shared(stream: str) -> frozenset[str]:
    """The kinds of facts that a person's or a client's stream passes on to partners."""
    return CERTIFICATES if stream.startswith("person/") else CLIENT_FACTS


def home(event: Event) -> str:
    """Rule 1. A reversal without a partner has no home of its own: it goes where its target is."""
    if event.subject is not None:
        return partner_stream(event.subject)
    if event.kind == RULEBOOK:
        return f"programme/{event.data.programme}"
    stream = shared(event)
    assert stream is not None, f"{event.kind} without a subject has no home"
    return stream


def shared(event: Event) -> str | None:
    """Rule 2: the stream of the person or client that guards or passes on this event, if there is one."""
    if event.kind in LINKS or event.kind in CERTIFICATES:
        return f"person/{event.data.person}"
    if event.kind in ASSIGNMENTS or (event.subject is None and event.kind in CLIENT_FACTS):
        return f"client/{event.data.client}"
    return None


def needs_subject(event: Event) -> bool:
    """Whether nothing but a subject would say whom the event is about."""
    if event.kind in CERTIFICATES or event.kind in (REVERSAL, RULEBOOK):
        return False
    return event.kind not in CLIENT_FACTS or event.data.client is None


def opens(event: Event) -> bool:
    return event.kind in ("person.linked.v1", "client.assigned.v1")


def origin(event: Event) -> Key:
    """The input that an event is, is a copy of, or follows from."""
    if event.source == LEDGER and event.cause is not None:
        source, _, id = event.cause.partition(" ")
        return source, id
    return event.source, event.id


@dataclass(frozen=True, slots=True)
class Override:
    """A granted exception as the door sees it."""

    until: Instant
    revoked: bool
    lapsed: bool

    def ended(self, event: Event) -> bool:
        """Whether there is nothing left to revoke or to announce as lapsed."""
        if event.kind == "override.lapsed.v1":
            return self.revoked or self.lapsed
        return self.revoked or event.effective_at >= self.until


@dataclass(slots=True)
class Past:
    """What a stream says that later judgements rest on: its unreversed events of the remembered kinds, in order of position."""

    events: list[Event] = field(default_factory=list)
    reversed: set[Key] = field(default_factory=set)
    partners: dict[str, None] = field(default_factory=dict)
    """Every partner that was ever linked or assigned, reversed links included: these have the facts so far."""

    def remember(self, event: Event) -> None:
        if event.kind == REVERSAL:
            target = (event.data.reverses.source, event.data.reverses.id)
            self.reversed.add(target)
            self.events = [kept for kept in self.events if origin(kept) != target]
            return
        self.events.append(event)
        if opens(event) and event.subject is not None:
            self.partners[event.subject] = None

    def override(self, id: str) -> Override | None:
        about = [event for event in self.events if event.kind in OVERRIDES and event.data.override == id]
        for event in about:
            if event.kind == "override.granted.v1":
                kinds = {other.kind for other in about}
                return Override(parse(event.data.until), "override.revoked.v1" in kinds, "override.lapsed.v1" in kinds)
        return None

    def losers(self) -> list[tuple[str, Event]]:
        """Rule 4: each partner whose link a later one elsewhere ends and who has not been told, with that later link."""
        timeline = sorted(self.events, key=lambda event: event.effective_at)  # stable: ties stay in order of position
        found = []
        for place, link in enumerate(timeline):
            if _contends(link):
                taker = _taker(link, timeline[place + 1 :])
                if taker is not None:
                    assert link.subject is not None
                    found.append((link.subject, taker))
        return found


def _contends(event: Event) -> bool:
    """Whether the event claims a place that only one partner can have."""
    return event.kind == "person.linked.v1" or (event.kind == "client.assigned.v1" and event.data.exclusive)


def _taker(link: Event, later: list[Event]) -> Event | None:
    """The first link elsewhere that comes later, unless the partner has an end of its own, or another link, up to that instant."""
    taker: Event | None = None
    for event in later:
        if taker is not None and event.effective_at > taker.effective_at:
            return taker
        if event.subject == link.subject and (_closes(event) or _contends(event)):
            return None
        if taker is None and event.subject != link.subject and _contends(event) and _same_place(event, link):
            taker = event
    return taker


def _closes(event: Event) -> bool:
    """A person who left stays with the partner until unlinked; a release with a person ends only that person's care."""
    return event.kind == "person.unlinked.v1" or (event.kind == "client.released.v1" and event.data.person is None)


def _same_place(one: Event, other: Event) -> bool:
    """A client may have one exclusive association of each kind."""
    return one.kind == "person.linked.v1" or one.data.association == other.data.association


class Copy(NamedTuple):
    """An event that the ledger derives, and the stream that it goes to."""

    stream: str
    event: Event


PastOf = Callable[[str], Past]
FactsOf = Callable[[str], Iterable[Event]]


def copies(event: Event, past_of: PastOf, facts_of: FactsOf) -> list[Copy]:
    """What an event brings with it into other streams, by rules 2 to 4; the past of its person or client remembers it."""
    stream = shared(event)
    if stream is None:
        return []
    past = past_of(stream)
    made = [*_guarding(event, stream), *_passed_on(event, past)]
    if opens(event) and event.subject not in past.partners:
        made += _brought(event, facts_of(stream))
    if event.kind in remembered(stream):
        past.remember(event)
        made += told(stream, past)
    return made


def _guarding(event: Event, stream: str) -> Iterator[Copy]:
    """Rule 2."""
    if home(event) != stream:
        yield copy(event, stream, event.subject)


def _passed_on(event: Event, past: Past) -> Iterator[Copy]:
    """Rule 3: later facts."""
    if event.kind not in CERTIFICATES and event.kind not in CLIENT_FACTS:
        return
    for partner in past.partners:
        if partner != event.subject:
            yield copy(event, partner_stream(partner), partner)


def _brought(link: Event, facts: Iterable[Event]) -> Iterator[Copy]:
    """Rule 3: earlier facts, except those that the partner has of its own."""
    assert link.subject is not None
    for fact in facts:
        if fact.subject != link.subject:
            yield copy(fact, home(link), link.subject)


def told(stream: str, past: Past) -> list[Copy]:
    """Rule 4: each loser is told, and the guarding stream keeps that it was."""
    made = []
    for partner, taker in past.losers():
        end = _end(taker, stream, partner)
        past.remember(end)
        made += [Copy(partner_stream(partner), _end(taker, partner_stream(partner), partner)), Copy(stream, end)]
    return made


def _end(taker: Event, stream: str, partner: str) -> Event:
    if taker.kind == "person.linked.v1":
        return _derived("person.unlinked.v1", {"person": taker.data.person}, taker, stream, partner)
    return _derived("client.released.v1", {"client": taker.data.client}, taker, stream, partner)


def reached(target: Event, past_of: PastOf) -> dict[str, None]:
    """The streams that hold an input, copies of it, or what followed from it: where its reversal must go, its home first."""
    streams = {home(target): None}
    stream = shared(target)
    if stream is None:
        return streams
    past = past_of(stream)
    streams[stream] = None
    if target.kind in CERTIFICATES or target.kind in CLIENT_FACTS:
        concerned: Iterable[str | None] = past.partners
    else:
        concerned = [event.subject for event in past.events if origin(event) == (target.source, target.id)]
    return streams | {partner_stream(partner): None for partner in concerned if partner is not None}


def copy(event: Event, stream: str, subject: str | None) -> Copy:
    """The same fact in another stream, with its origin as the cause."""
    return Copy(stream, _copied(event, stream, subject, event.kind, cloudevent(event)["data"]))


def _derived(kind: str, data: dict[str, Any], cause: Event, stream: str, subject: str) -> Event:
    return _copied(cause, stream, subject, kind, data)


def _copied(event: Event, stream: str, subject: str | None, kind: str, data: dict[str, Any]) -> Event:
    """An event of the ledger's own; its id follows from its cause and place, so the same input always derives the same bytes."""
    cause = " ".join(origin(event))
    place = "\n".join((cause, stream, kind, subject or ""))
    attributes = cloudevent(event) | {
        "source": LEDGER,
        "id": sha256(place.encode()).hexdigest()[:32],
        "type": kind,
        "subject": subject,
        "cause": cause,
        "data": data,
        "recordedtime": None,  # it is the cause that was recorded elsewhere before
    }
    made = decode({name: value for name, value in attributes.items() if value is not None})
    assert not isinstance(made, Refusal), made
    return made
