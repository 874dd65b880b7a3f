"""Event to message and back: the stored bytes are the value, one header has the seal. Nothing is serialised anew."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ledger.errors import Refusal
from ledger.events.envelope import Sealed, read
from ledger.instants import Instant

SEAL = "seal"


class Message(NamedTuple):
    """What a bus carries. `offset` is set by the bus."""

    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    offset: int = -1


class _Seal(msgspec.Struct, array_like=True, frozen=True):
    position: int
    version: int
    recorded_at: Instant
    previous: bytes
    hash: bytes


_SEAL = msgspec.json.Decoder(_Seal)


def message(sealed: Sealed) -> Message:
    seal = _Seal(sealed.position, sealed.version, sealed.recorded_at, sealed.previous, sealed.hash)
    return Message(sealed.stream, sealed.event.body, ((SEAL, msgspec.json.encode(seal)),))


def sealed(message: Message) -> Sealed:
    """The event in its place. The bytes come from the relay alone, so a message that is none is a bug."""
    seal = _SEAL.decode(dict(message.headers)[SEAL])
    event = read(message.value)
    assert not isinstance(event, Refusal), f"{message.key} at {message.offset}: {event}"
    return Sealed(seal.position, message.key, seal.version, seal.recorded_at, seal.previous, seal.hash, event)
