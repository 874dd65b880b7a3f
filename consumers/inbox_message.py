"""What anyone may publish to the inbox: CloudEvents 1.0 over Kafka, in structured or in binary mode. Total: any message gives the bytes of
an event in structured JSON, or a refusal."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ledger.errors import Refusal

Headers = Sequence[tuple[str, bytes | None]]

STRUCTURED = "application/cloudevents+json"
CONTENT_TYPE = "content-type"
_PREFIX = "ce_"


def structured(value: bytes | None, headers: Headers) -> bytes | Refusal:
    """The event in structured JSON. A message without a content type and without `ce_` headers is taken as structured."""
    if value is None or not value:
        return Refusal("empty_message", "there is nothing in it", "one CloudEvent as a JSON object; the inbox has no tombstones")
    if not headers:
        return value
    kind = next((content for name, content in headers if name.lower() == CONTENT_TYPE), None)
    essence = (kind or b"").partition(b";")[0].strip().lower()
    if essence == STRUCTURED.encode():
        return value
    attributes = [(name[len(_PREFIX) :], content) for name, content in headers if name.startswith(_PREFIX)]
    if essence.startswith(b"application/cloudevents"):
        found = essence.decode("ascii", "backslashreplace")
        return Refusal("wrong_content_type", f"{found} is not read here", f"send one event as {STRUCTURED}", CONTENT_TYPE)
    return _binary(value, attributes, essence) if attributes else value


def _binary(value: bytes, attributes: Headers, essence: bytes) -> bytes | Refusal:
    """Attributes in headers, data in the value."""
    if essence not in (b"", b"application/json"):
        found = essence.decode("ascii", "backslashreplace")
        return Refusal("wrong_content_type", f"the data is {found}", "send it as application/json", CONTENT_TYPE)
    event: dict[str, object] = {}
    for name, content in attributes:
        if name in event:
            return Refusal("bad_header", f"{_PREFIX}{name} is there twice", "send each attribute once", f"{_PREFIX}{name}")
        try:
            event[name] = (content or b"").decode()
        except UnicodeDecodeError as error:
            return Refusal("bad_header", f"{_PREFIX}{name} is no UTF-8: {error.reason}", "send text in UTF-8", f"{_PREFIX}{name}")
    if "data" in event:
        return Refusal("bad_header", "ce_data is there", "in binary mode the data is the value of the message", "ce_data")
    try:
        msgspec.json.decode(value)  # first as a whole, so that nothing but data gets in below
        return msgspec.json.encode({**event, "data": msgspec.Raw(value)})
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Refusal("not_json", f"the data is not JSON: {error}", "one JSON object in UTF-8", "data")
