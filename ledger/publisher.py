"""Publishing to the inbox of a ledger: for a team that has facts to tell. It is an edge, as `cli.py` is; nothing in the ledger uses it.

An event is looked at before anything is sent, and a receipt says that the broker has it for good, on all replicas. Whether the ledger
takes it is another question: it answers in the topics of events and of refusals. Who is not sure whether an event was sent sends it
again with the same id; the ledger keeps one.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from consumers.connection import Connection
from consumers.inbox_message import CONTENT_TYPE, STRUCTURED, key
from consumers.kafka_bus import Publisher as Producer
from consumers.kafka_bus import Unpublished as Unpublished
from consumers.topics import INBOX
from consumers.wire import Message
from ledger.errors import Refusal, Refused
from ledger.events.envelope import Event, decode
from ledger.settings import Settings

DELIVERY_SECONDS = 120

_SPACE = uuid.UUID("6f0d3c0e-4c5e-5b0a-9a3f-2f6a1c9d7e54")
_HEADERS = ((CONTENT_TYPE, STRUCTURED),)


class Receipt(NamedTuple):
    """Where in the inbox an event lies, for good."""

    source: str
    id: str
    topic: str
    partition: int
    offset: int


def event_id(source: str, key: str) -> str:
    """The id of a fact by what names it at its source (a number of a deal and what befell it): the same again for the same fact."""
    return str(uuid.uuid5(_SPACE, f"{source} {key}"))


class Publisher:
    """Publishes events in the order in which they are given; those of one partner stay in it. Not for several threads at once."""

    def __init__(self, settings: Settings | None = None, *, topic: str | None = None, delivery_seconds: int = DELIVERY_SECONDS) -> None:
        """`settings`: by default from the environment. `topic`: the inbox, where it is not called as the settings say."""
        settings = settings or Settings()
        self._topic = topic or f"{settings.topics}{INBOX}"
        self._producer = Producer(Connection.of(settings), delivery_ms=delivery_seconds * 1000)

    def publish(self, events: Iterable[Event | Mapping[str, Any] | str | bytes]) -> list[Receipt]:
        """A receipt for each event, in order, once all are confirmed.

        Raises Refused for the first event that the ledger would refuse for its form; then none was sent. Raises BusError where the
        brokers cannot be used, of which Unpublished says that some may have been sent: publish all of them again, with the same ids.
        """
        made = [_event(n, each) for n, each in enumerate(events, start=1)]
        messages = [Message(key(event), event.body, _HEADERS, -1) for event in made]
        placed = self._producer.placed(self._topic, messages)
        return [Receipt(event.source, event.id, self._topic, *place) for event, place in zip(made, placed, strict=True)]

    def close(self) -> None:
        self._producer.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _event(n: int, stated: Event | Mapping[str, Any] | str | bytes) -> Event:
    found = stated if isinstance(stated, Event) else decode(stated)
    if isinstance(found, Refusal):
        place = f", {found.where}" if found.where else ""
        raise Refused(Refusal(found.code, f"event {n}{place}: {found.reason}", found.hint, found.where))
    return found
