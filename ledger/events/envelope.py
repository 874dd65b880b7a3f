"""The envelope: a CloudEvent 1.0 with the partner as subject and the effective time as time, and its canonical bytes.

Decoding is total: any bytes give an event or a refusal with a code. The canonical form is JSON in UTF-8, keys sorted, no spaces,
times in UTC, nothing that says nothing; it is what is hashed, stored, published and exported.

There are two ways in. The quick one takes what is beyond doubt, and answers nothing to all else; the catalogue itself judges that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from pydantic import ValidationError

from ledger.errors import Refusal, Refused
from ledger.events import codec, refusals
from ledger.events.catalogue import EVENTS, TIME_PATTERN, Attributes, exists
from ledger.events.refusals import BYTES_MAX
from ledger.instants import EPOCH, Instant, parse, text

CONTENT_TYPE = "application/json"

_SECONDS = len("2024-03-01T00:00:00Z")
_TIME = re.compile(TIME_PATTERN[1:-1])
_MICROSECOND = timedelta(microseconds=1)
_new = tuple.__new__  # what Event(...) does, in half the time


class Event(NamedTuple):
    """What a source says: which kind of fact, about whom, true from when. `body` is its canonical form."""

    id: str
    source: str
    kind: str
    subject: str | None
    effective_at: Instant
    data: Any
    cause: str | None
    recorded_hint: Instant | None
    body: bytes


class Sealed(NamedTuple):
    """An event in its place in the log. `hash` covers the hash before it, stream, version, recorded time and body."""

    position: int
    stream: str
    version: int
    recorded_at: Instant
    previous: bytes
    hash: bytes
    event: Event


def decode(raw: bytes | str | Mapping[str, Any]) -> Event | Refusal:
    """One CloudEvent in structured JSON (or as a mapping) to an event, or why it is refused. Never raises."""
    written = raw if isinstance(raw, bytes) else _written(raw)
    if isinstance(written, Refusal):
        return written
    return quick(written) or judge(written)


def read(body: bytes) -> Event | Refusal:
    """The event of canonical bytes that were made by `decode` before: they are trusted, and not judged again.

    What cannot be read at all gives a refusal, as with `decode`.
    """
    try:
        return _read(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return decode(body)


def _read(body: bytes) -> Event:
    envelope = codec.read(body)
    hint = None if envelope.recordedtime is None else _instant(envelope.recordedtime)
    return _event(envelope, _instant(envelope.time), hint, body)


def _event(envelope: codec.Envelope, at: Instant, hint: Instant | None, body: bytes) -> Event:
    e = envelope
    return _new(Event, (e.id, e.source, e.kind, e.subject, at, e.data, e.cause, hint, body))


def _instant(written: str) -> Instant:
    """Of a time that is checked elsewhere. Raises ValueError where it cannot be read at all."""
    return (datetime.fromisoformat(written) - EPOCH) // _MICROSECOND


# The quick way -----------------------------------------------------------------------------------------------


def quick(raw: bytes) -> Event | None:
    """The event, where there is no doubt about it: 1 read, 2 make canonical, 3 write, 4 look at what was written."""
    try:
        e = codec.read(raw)
        hint = None
        if len(e.time) != _SECONDS or e.recordedtime is not None or e.datacontenttype is not None:
            hint = _make_canonical(e)  # a time of that length has no offset and no fraction, if it has the right shape
        body = codec.write(e)
        if codec.SHAPES[e.kind](body) is None or len(raw) > BYTES_MAX or len(body) > BYTES_MAX:
            return None
        for name in e.days:
            if (day := getattr(e.data, name)) is not None:
                exists(day)
        at = (datetime.fromisoformat(e.time) - EPOCH) // _MICROSECOND
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return _new(Event, (e.id, e.source, e.kind, e.subject, at, e.data, e.cause, hint, body))


def _make_canonical(envelope: codec.Envelope) -> Instant | None:
    """Times in UTC, no content type. Returns the former recorded time. Raises ValueError where that cannot be done."""
    if envelope.datacontenttype not in (None, CONTENT_TYPE):
        raise ValueError(envelope.datacontenttype)
    envelope.datacontenttype = None
    envelope.time, _ = _in_utc(envelope.time)
    if envelope.recordedtime is None:
        return None
    envelope.recordedtime, hint = _in_utc(envelope.recordedtime)
    return hint


def _in_utc(written: str) -> tuple[str, Instant]:
    if _TIME.fullmatch(written) is None:
        raise ValueError(written)
    at = parse(exists(written))
    return text(at), at


# The judge ---------------------------------------------------------------------------------------------------


def judge(raw: bytes) -> Event | Refusal:
    """The verdict of the catalogue. Slower; what it says holds."""
    if len(raw) > BYTES_MAX:
        return refusals.too_large(len(raw))
    try:
        kind = Attributes.model_validate_json(raw).type
    except ValidationError as error:
        return refusals.found(error, Attributes)
    if kind not in EVENTS:
        return refusals.unknown_kind(kind)
    try:
        stated = EVENTS[kind].model_validate_json(raw)
    except ValidationError as error:
        return refusals.found(error, EVENTS[kind])
    body = _body(stated)
    return _read(body) if len(body) <= BYTES_MAX else refusals.too_large(len(body))


def _body(stated: Attributes) -> bytes:
    attributes = stated.model_dump(exclude_none=True, exclude={"datacontenttype"})
    for name in ("time", "recordedtime"):
        if name in attributes:
            attributes[name] = text(parse(attributes[name]))
    return codec.write(attributes)


def _written(raw: str | Mapping[str, Any]) -> bytes | Refusal:
    try:
        return raw.encode() if isinstance(raw, str) else msgspec.json.encode(dict(raw))
    except (UnicodeEncodeError, TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        return refusals.not_json(str(error))


# In code -----------------------------------------------------------------------------------------------------


def event(kind: str, *, subject: str | None = None, effective_at: str | Instant, id: str, source: str = "points", **data: Any) -> Event:
    """An event made in code. `effective_at` is an instant or a text such as 2024-03-01. Raises Refused."""
    extensions: dict[str, Any] = {name: data.pop(name) for name in ("cause", "recordedtime") if name in data}
    attributes: dict[str, Any] = {
        "specversion": "1.0", "id": id, "source": source, "type": kind, **extensions,
        "time": _time(effective_at),
        "data": {name: value for name, value in data.items() if value is not None},
    }  # fmt: skip
    if subject is not None:
        attributes["subject"] = subject
    made = decode(attributes)
    if isinstance(made, Refusal):
        raise Refused(made)
    return made


def _time(at: str | Instant) -> str:
    """RFC 3339; what is no time at all is handed on as it is, so that it is refused as such."""
    try:
        return text(parse(at) if isinstance(at, str) else at)
    except (ValueError, OverflowError):
        return str(at)


def cloudevent(event: Event) -> dict[str, Any]:
    """The event as a CloudEvent in structured JSON."""
    attributes: dict[str, Any] = msgspec.json.decode(event.body)
    return attributes
