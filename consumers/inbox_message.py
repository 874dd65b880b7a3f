"""What anyone may publish to the inbox: CloudEvents 1.0 by the Kafka binding, in structured or in binary mode.

Structured: the value is the whole event. Binary: headers `ce_...` are the attributes, and the value is the data. Other headers say nothing
here. It is total, as decoding is: any message gives the bytes of an event in structured JSON, which are not judged yet, or a refusal.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ledger.errors import Refusal
from ledger.events.envelope import Event
from ledger.events.refusals import BYTES_MAX, not_json, too_large

Headers = Sequence[tuple[str, bytes | None]]

STRUCTURED = b"application/cloudevents+json"
CONTENT_TYPE = "content-type"
MARK = "ce_"
NO_PARTNER = b"/ledger"
"""The key of what names no partner, so that its order is kept too."""

CODES: dict[str, str] = {
    "empty_message": "Send a value: nothing is deleted from the ledger; to undo a fact, send its reversal.",
    "wrong_content_type": "Send the event as `application/cloudevents+json`, or its data as `application/json` with headers `ce_...`.",
    "bad_header": "Send `content-type` and each `ce_...` header once, in UTF-8; the data is the value, its media type `content-type`.",
    "not_json": "Send the data as one JSON object in UTF-8.",
    "too_large": f"Send at most {BYTES_MAX:,} bytes an event; split it, or keep the document elsewhere and name it.",
}
"""Every code of a refusal here, with what to do."""


def key(event: Event) -> bytes:
    """The key of an event for the inbox: its subject, so that what is about one partner comes in the order in which it was sent."""
    return NO_PARTNER if event.subject is None else event.subject.encode()


_APART = {"data", "data_base64", "datacontenttype"}
_SHOWN = 60


def structured(value: bytes | None, headers: Headers) -> bytes | Refusal:
    """The event in structured JSON. Without headers `ce_...` the value is taken as the whole event."""
    if not value:
        return Refusal("empty_message", "there is nothing in it", "one CloudEvent as a JSON object; the inbox has no tombstones")
    if not headers:
        return value
    types = [said for name, said in headers if name.lower() == CONTENT_TYPE]
    if types == [STRUCTURED]:
        return value
    if len(types) > 1:
        return Refusal("bad_header", "content-type is there more than once", "send it once", CONTENT_TYPE)
    media = _media(types[0] or b"") if types else ""
    if media == STRUCTURED.decode():
        return value
    marked = [(name, said) for name, said in headers if name[: len(MARK)].lower() == MARK]
    if media.startswith("application/cloudevents"):
        return Refusal("wrong_content_type", f"{media[:_SHOWN]} is not read here", f"send one event as {STRUCTURED.decode()}", CONTENT_TYPE)
    if not marked:
        return value
    if media not in ("", "application/json"):
        return Refusal("wrong_content_type", f"the data is {media[:_SHOWN]}", "send it as application/json", CONTENT_TYPE)
    return _binary(value, marked)


def _media(said: bytes) -> str:
    return said.partition(b";")[0].strip().lower().decode("utf-8", "backslashreplace")


def _binary(value: bytes, marked: Headers) -> bytes | Refusal:
    attributes = _attributes(marked)
    if isinstance(attributes, Refusal):
        return attributes
    written = msgspec.json.encode(attributes)
    if len(written) + len(value) > BYTES_MAX:
        return too_large(len(written) + len(value))
    try:
        msgspec.json.decode(value)  # one whole value: nothing in it can reach out of the data
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return not_json(str(error))
    return b"".join((written[:-1], b',"data":', value, b"}"))


def _attributes(marked: Headers) -> dict[str, str | None] | Refusal:
    attributes: dict[str, str | None] = {}
    for header, said in marked:
        whole = header.encode("utf-8", "backslashreplace").decode()
        name, shown = whole[len(MARK) :].lower(), whole[:_SHOWN]
        if name in _APART:
            return Refusal("bad_header", f"{shown} is there", "the data is the value of the message, its media type content-type", shown)
        if name in attributes:
            return Refusal("bad_header", f"{shown} is there more than once", "send each attribute once", shown)
        try:
            attributes[name] = None if said is None else said.decode()
        except UnicodeDecodeError as error:
            return Refusal("bad_header", f"{shown} is no UTF-8 at byte {error.start}", "send text in UTF-8", shown)
    return attributes
