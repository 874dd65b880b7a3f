"""The records that the ledger writes to Kafka beside the events: a refusal, with all that came, and a standing.

The stations and the contracts for other teams have these shapes in common. A reader passes over fields that it does not know, so a field
may be added, never changed or removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from consumers.wire import Message, Origin
from ledger.errors import Refusal
from ledger.instants import Instant, text

RAW_BYTES_MAX = 1_048_576
KEY_BYTES_MAX = 50_000
HEADERS_BYTES_MAX = 20_000

Time = Annotated[str, Meta(pattern=r"^[0-9]{4}-.*Z$", description="RFC 3339 in UTC.")]
Bytes = Annotated[bytes | None, Meta(description="In base64; null where there was none.")]


class RefusalRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message of the inbox that was not taken, with why, and with all that came."""

    code: Annotated[str, Meta(description="Why, by a code that does not change.")]
    message: Annotated[str, Meta(description="What was found.")]
    raw: Annotated[Bytes, Meta(description="The value in base64; null for a message without a value.")]
    key: Annotated[Bytes, Meta(description="The key in base64; null for a message without a key.")]
    headers: Annotated[tuple[tuple[str, bytes | None], ...], Meta(description="Name and value in base64, in the order in which they came.")]
    origin: Annotated[Origin, Meta(description="Where it lies in the inbox: topic, identity of the topic, partition, offset.")]
    refused_at: Annotated[Time, Meta(description="When it was refused: RFC 3339 in UTC.")]
    hint: Annotated[str | None, Meta(description="What to send instead.")] = None
    field: Annotated[str | None, Meta(description="Where in the event, such as data.lots[1].id.")] = None
    cut: Annotated[bool, Meta(description="Whether value, key or headers are too large to be here whole; the inbox has them.")] = False


def refusal(why: Refusal, message: Message, topic: str, topic_id: str, refused_at: Instant) -> RefusalRecord:
    """The whole record of a refusal."""
    origin = Origin(topic, topic_id, message.partition, message.offset)
    headers = tuple([(_utf8(name), value) for name, value in message.headers])
    words = _utf8(why.reason), message.value, message.key, headers
    return RefusalRecord(why.code, *words, origin, text(refused_at), _utf8(why.hint) or None, _utf8(why.where) or None)


def published(record: RefusalRecord) -> tuple[bytes | None, bytes]:
    """Key and value of its message. They always fit: what would be too large is cut off, and lies whole in the inbox.

    A message may be far larger than the topic allows, because that is measured after compression.
    """
    raw, key, headers = record.raw, record.key, _that_fit(record.headers)
    raw = None if raw is None else raw[:RAW_BYTES_MAX]
    key = None if key is None else key[:KEY_BYTES_MAX]
    cut = (raw, key, headers) != (record.raw, record.key, record.headers)
    return key, encode(msgspec.structs.replace(record, raw=raw, key=key, headers=headers, cut=cut) if cut else record)


def _that_fit(headers: Sequence[tuple[str, bytes | None]]) -> tuple[tuple[str, bytes | None], ...]:
    kept: list[tuple[str, bytes | None]] = []
    size = 0
    for name, value in headers:
        size += len(name) + len(value or b"") + 10
        if size > HEADERS_BYTES_MAX:
            break
        kept.append((name, value))
    return tuple(kept)


def _utf8(written: str) -> str:
    """What came as bytes that are no text is written with backslashes."""
    return written.encode("utf-8", "backslashreplace").decode()


class AtRisk(msgspec.Struct, frozen=True):
    """At risk by the programme's own policy."""

    since: Time
    why: str


class Loss(msgspec.Struct, frozen=True):
    """The first instant at which the tier falls if nothing more happens."""

    at: Time
    falls_to: Annotated[str | None, Meta(description="The tier then; null for none.")]
    how: str


class Ladder(msgspec.Struct, frozen=True):
    """Where a partner stands in one award."""

    credited: Annotated[str | None, Meta(description="The tier that the partner has; null for none.")]
    performance: Annotated[str | None, Meta(description="The tier that the numbers alone would give; null for none.")]
    at_risk: Annotated[AtRisk | None, Meta(description="Null where it is not at risk.")]
    tier_lost_at: Annotated[Loss | None, Meta(description="Null where the tier does not fall by itself.")]


class Error(msgspec.Struct, frozen=True):
    """Why there is no standing, by a code that does not change."""

    code: str
    message: str


class StandingRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The standing of a partner in a programme. Of several, that with the highest position holds, then the latest as_of."""

    partner: str
    programme: str
    position: Annotated[int, Meta(ge=0, description="The log up to this position is what the standing rests on.")]
    as_of: Annotated[Time, Meta(description="The instant at which it was so.")]
    changed: Annotated[tuple[str, ...], Meta(description="The fields that are not as they were in the record before.")]
    rulebook: Annotated[str | None, Meta(description="The rulebook that it rests on.")] = None
    rulebook_hash: Annotated[Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None, Meta(description="SHA-256 of that rulebook.")] = None
    left: Annotated[bool, Meta(description="Whether the partner has left the programme.")] = False
    values: Annotated[
        dict[str, Annotated[str, Meta(pattern=r"^-?[0-9]+(?:\.[0-9]+|/[0-9]+)?$")]] | None,
        Meta(description='Measures and numbers of the rulebook, exact: "74.125", or "225/14" where no decimal is exact.'),
    ] = None
    credited: Annotated[str | None, Meta(description="The tier that the partner has; null for none.")] = None
    performance: Annotated[str | None, Meta(description="The tier that the numbers alone would give; null for none.")] = None
    at_risk: Annotated[AtRisk | None, Meta(description="Null where it is not at risk.")] = None
    tier_lost_at: Annotated[Loss | None, Meta(description="Null where the tier does not fall by itself.")] = None
    awards: Annotated[dict[str, Ladder] | None, Meta(description="By award, where the programme has awards of their own.")] = None
    error: Annotated[Error | None, Meta(description="Where it cannot be judged, why; nothing else is said then.")] = None


encode = msgspec.json.Encoder().encode
"""Compact JSON of any of the records."""

read_refusal = msgspec.json.Decoder(RefusalRecord).decode
read_standing = msgspec.json.Decoder(StandingRecord).decode
"""Each raises MsgspecError where the bytes are not that record."""
