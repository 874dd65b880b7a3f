"""The envelope: a CloudEvent 1.0 with the partner as subject and the effective time as time, and its canonical bytes.

Decoding is total: any bytes give an event or a refusal with a code. The canonical form is JSON in UTF-8, keys sorted, no spaces,
times in UTC; it is what is hashed, stored, published and exported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from ledger.errors import Refusal, Refused
from ledger.events.catalogue import CATALOGUE, TIME_PATTERN
from ledger.events.codec import DECODERS
from ledger.instants import Instant, parse, text

BYTES_MAX = 1_048_576
CONTENT_TYPE = "application/json"


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


class _Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    specversion: str
    id: str
    source: str
    type: str
    time: str
    data: msgspec.Raw
    subject: str | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    recordedtime: str | None = None
    cause: str | None = None


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_SORTED = msgspec.json.Encoder(order="sorted")
_ID = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_SOURCE = re.compile(r"[^\x00-\x20\x7f]{1,200}")
_TIME = re.compile(TIME_PATTERN[1:-1], re.ASCII)
_QUICK_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)
_days: dict[str, Instant] = {}


def decode(raw: bytes | str | Mapping[str, Any]) -> Event | Refusal:
    """One CloudEvent in structured JSON (or as a mapping) to an event, or why it is refused. Never raises."""
    try:
        return _decode(raw if isinstance(raw, bytes) else _encoded(raw))
    except _Bad as bad:
        return bad.refusal
    except RecursionError:
        return Refusal("not_json", "the JSON is nested too deeply", "an event is flat: attributes and a data object")


class _Bad(Exception):
    def __init__(self, code: str, reason: str, hint: str = "", where: str = "") -> None:
        self.refusal = Refusal(code, reason, hint, where)


def _encoded(raw: str | Mapping[str, Any]) -> bytes:
    try:
        return raw.encode() if isinstance(raw, str) else msgspec.json.encode(raw)
    except (UnicodeEncodeError, TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise _Bad("not_json", f"this cannot be written as JSON: {error}", "send texts, whole numbers and flags") from None


def _decode(raw: bytes) -> Event:
    if len(raw) > BYTES_MAX:
        raise _Bad("too_large", f"an event has at most {BYTES_MAX} bytes, this one {len(raw)}")
    try:
        envelope = _ENVELOPE.decode(raw)
    except msgspec.ValidationError as error:
        raise _envelope_error(raw, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _Bad("not_json", f"this is not JSON: {error}", "one CloudEvent as a JSON object in UTF-8") from None
    _check(envelope)
    decoder = DECODERS.get(envelope.type)
    if decoder is None:
        raise _unknown_kind(envelope.type)
    try:
        data = decoder.decode(envelope.data)
    except msgspec.ValidationError as error:
        raise _data_error(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _Bad("not_json", f"the data is not JSON: {error}") from None
    at = _instant(envelope.time, "time")
    _days_exist(data)
    hint = None if envelope.recordedtime is None else _instant(envelope.recordedtime, "recordedtime")
    return _event(envelope, at, data, hint)


def _event(envelope: _Envelope, at: Instant, data: Any, hint: Instant | None) -> Event:
    attributes: dict[str, Any] = {
        "data": data, "id": envelope.id, "source": envelope.source, "specversion": "1.0", "time": text(at), "type": envelope.type,
    }  # fmt: skip
    for name in ("cause", "dataschema", "subject", "traceparent", "tracestate"):
        if (value := getattr(envelope, name)) is not None:
            attributes[name] = value
    if hint is not None:
        attributes["recordedtime"] = text(hint)
    attributes["data"] = _stated(data)
    body = _SORTED.encode(attributes)
    return Event(envelope.id, envelope.source, envelope.type, envelope.subject, at, data, envelope.cause, hint, body)


def _stated(data: Any) -> dict[str, Any]:
    """The fields that say something; an absent optional and a null one are the same statement."""
    return {name: value for name in data.__struct_fields__ if (value := getattr(data, name)) is not None}


def _check(envelope: _Envelope) -> None:
    if envelope.specversion != "1.0":
        raise _Bad("wrong_specversion", f"specversion is {envelope.specversion!r}", "the ledger reads CloudEvents 1.0", "specversion")
    if envelope.datacontenttype not in (None, CONTENT_TYPE):
        raise _Bad("wrong_content_type", f"datacontenttype is {envelope.datacontenttype!r}", f"send {CONTENT_TYPE}", "datacontenttype")
    if _ID.fullmatch(envelope.id) is None:
        raise _Bad("wrong_type", "id is 1 to 200 characters without control characters", where="id")
    if _SOURCE.fullmatch(envelope.source) is None:
        raise _Bad("wrong_type", "source is 1 to 200 characters without spaces or control characters", where="source")
    if envelope.subject is not None and _ID.fullmatch(envelope.subject) is None:
        raise _Bad("wrong_type", "subject is 1 to 200 characters without control characters", where="subject")


def _instant(written: str, where: str) -> Instant:
    quick = _QUICK_TIME.fullmatch(written)
    try:
        if quick is not None:
            hour, minute, second = int(quick[2]), int(quick[3]), int(quick[4])
            if hour < 24 and minute < 60 and second < 60:
                return _day(quick[1]) + ((hour * 60 + minute) * 60 + second) * 1_000_000
        elif _TIME.fullmatch(written) is not None:
            return parse(written)
    except (ValueError, OverflowError):
        pass  # a day that does not exist, refused below like all other texts that are no time
    raise _Bad("bad_time", f"{written[:60]!r} is no time", "RFC 3339 with an offset and at most microseconds: 2024-03-01T00:00:00Z", where)


def _day(written: str) -> Instant:
    known = _days.get(written)
    if known is None:
        if len(_days) > 200_000:
            _days.clear()
        known = _days[written] = parse(written)
    return known


_DAY_FIELDS = ("valid_until", "until", "line_first_sold_on", "renews_on", "decision_due_on", "effective")


def _days_exist(data: Any) -> None:
    for name in _DAY_FIELDS:
        written = getattr(data, name, None)
        if written is not None:
            try:
                parse(written)
            except (ValueError, OverflowError):
                raise _Bad("bad_time", f"{written!r} does not exist", "a day of the calendar such as 2024-02-29", f"data.{name}") from None


_PATH = re.compile(r" - at `\$?(.*?)`$")


def _where(message: str, prefix: str) -> str:
    path = _PATH.search(message)
    return (prefix + (path[1] if path else "")).strip(".")


def _envelope_error(raw: bytes, message: str) -> _Bad:
    return _validation("", message, ("missing_attribute", "unknown_attribute"), raw)


def _data_error(message: str) -> _Bad:
    return _validation("data", message, ("missing_field", "unknown_field"), b"")


def _validation(prefix: str, message: str, codes: tuple[str, str], raw: bytes) -> _Bad:
    where, plain = _where(message, prefix), _PATH.sub("", message)
    if "missing required field" in plain:
        name = plain.split("`")[1]
        return _Bad(codes[0], f"{name!r} is missing", "see the catalogue of events", f"{where}.{name}".strip("."))
    if "unknown field" in plain:
        name = plain.split("`")[1]
        return _Bad(
            codes[1], f"{name!r} is not known here", "leave it out, or see the catalogue for its name", f"{where}.{name}".strip(".")
        )
    if prefix == "" and "Expected `object`" in plain and not where:
        return _Bad("not_an_object", "an event is a JSON object", "one CloudEvent in structured JSON")
    if "matching regex" in plain and "[1-9][0-9]{0,17}" in plain:
        return _Bad("bad_amount", "an amount is a decimal string", 'such as "12.50", with at most 9 decimals', where)
    if "matching regex" in plain and "[0-9]{4}-(0" in plain:
        return _Bad("bad_time", "a day or time is written wrongly", "such as 2024-03-01 or 2024-03-01T00:00:00Z", where)
    return _Bad("wrong_type", plain, "amounts are decimal strings; counts are whole numbers" if prefix else "", where)


def _unknown_kind(kind: str) -> _Bad:
    near = [known for known in CATALOGUE if known.split(".")[0] == kind.split(".")[0]]
    hint = f"known: {', '.join(near or CATALOGUE)}"
    return _Bad("unknown_kind", f"{kind[:100]!r} is no kind of event", hint, "type")


def event(kind: str, *, subject: str | None = None, effective_at: str | Instant, id: str, source: str = "points", **data: Any) -> Event:
    """An event made in code. `effective_at` is an instant or a text such as 2024-03-01. Raises Refused."""
    extensions: dict[str, Any] = {name: data.pop(name) for name in ("cause", "recordedtime") if name in data}
    attributes: dict[str, Any] = {
        "specversion": "1.0", "id": id, "source": source, "type": kind, **extensions,
        "time": text(parse(effective_at) if isinstance(effective_at, str) else effective_at),
        "data": {name: value for name, value in data.items() if value is not None},
    }  # fmt: skip
    if subject is not None:
        attributes["subject"] = subject
    made = decode(attributes)
    if isinstance(made, Refusal):
        raise Refused(made)
    return made


def cloudevent(event: Event) -> dict[str, Any]:
    """The event as a CloudEvent in structured JSON."""
    attributes: dict[str, Any] = msgspec.json.decode(event.body)
    return attributes
