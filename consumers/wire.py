"""Event to message and back: the stored bytes are the value, one header has the seal. Nothing is serialised anew.

The key is the partner, so that a partner's events keep their order. What belongs to no partner has the name of its stream behind a
slash as key: `/person/E-1`, `/client/C-1`, `/programme/hubspot`; a partner whose own id begins with a slash has one more before it.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from ledger.errors import LedgerError
from ledger.instants import text
from ledger.log import Stored

SEAL = "ledger"
"""The name of the one header."""


class Message(NamedTuple):
    """What a bus carries. `partition` and `offset` are set by the bus."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int = 0
    offset: int = -1


class Origin(msgspec.Struct, array_like=True, frozen=True):
    """Where in the inbox an event came in."""

    topic: str
    topic_id: Annotated[str, Meta(description="The identity that Kafka gave to the topic.")]
    partition: Annotated[int, Meta(ge=0)]
    offset: Annotated[int, Meta(ge=0)]


class Seal(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event's place in the log. `insert` is the last position of the insert that it came in with; the hash before it is that of the
    version before it, so nobody has to be told."""

    position: Annotated[int, Meta(ge=1, description="The place in the log: 1, 2, 3 and so on over all partners.")]
    version: Annotated[int, Meta(ge=1, description="The place in the stream that the key names, without a gap.")]
    hash: Annotated[str, Meta(description="SHA-256 in hex that seals the event and all before it in its stream.")]
    recorded_at: Annotated[str, Meta(description="When the ledger took it in: RFC 3339 in UTC; it never runs backwards.")]
    insert: Annotated[int, Meta(ge=1, description="The last position of what was recorded at once with this event.")]
    origin: Annotated[Origin | None, Meta(description="The message of the inbox that brought it; absent where none did.")] = None


_SEAL = msgspec.json.Decoder(Seal)
_ENCODE = msgspec.json.Encoder().encode


def key_of(stream: str) -> bytes:
    kind, _, name = stream.partition("/")
    return (f"/{stream}" if kind != "partner" else f"/{name}" if name.startswith("/") else name).encode()


def stream_of(key: bytes) -> str:
    name = key.decode()
    if not name.startswith("/"):
        return f"partner/{name}"
    return f"partner/{name[1:]}" if name.startswith("//") else name[1:]


def message(stored: Stored, insert: int, origin: Origin | None = None) -> Message:
    seal = Seal(stored.position, stored.version, stored.hash.hex(), text(stored.recorded_at), insert, origin)
    return Message(key_of(stored.stream), stored.body, ((SEAL, _ENCODE(seal)),))


def seal_of(message: Message) -> Seal:
    """Its place. The relay alone writes to the stream: what has no seal is not of a ledger. Raises NoSeal."""
    try:
        ((name, seal),) = message.headers
        if name == SEAL and seal is not None and message.key is not None and message.value is not None:
            return _SEAL.decode(seal)
    except (ValueError, msgspec.MsgspecError):
        pass
    raise NoSeal(
        f"partition {message.partition}, offset {message.offset}: this is no event of a ledger",
        hint="only the relay may write to this topic: see who else does",
    )


class NoSeal(LedgerError):
    """A message in the stream of events that no relay has written."""

    code = "stream_foreign"
    exit_code = 8
