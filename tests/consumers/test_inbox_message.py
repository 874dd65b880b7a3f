"""Messages of the inbox: what CloudEvents' Kafka binding allows is read, in both modes; all else is refused with a code, never an exception."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from consumers.inbox_message import CODES, STRUCTURED, Headers, structured
from ledger.errors import Refusal
from ledger.events import refusals
from ledger.events.catalogue import CATALOGUE
from ledger.events.envelope import Event, decode
from tests.events.samples import encoded, events, full, minimal

JSON = ("content-type", b"application/json")
SALE = full("points.sold.v1")
DATA = encoded(SALE["data"])


def judged(value: bytes | None, headers: Headers) -> Event | Refusal:
    """What a station does: this, then decode."""
    found = structured(value, headers)
    return found if isinstance(found, Refusal) else decode(found)


def marks(attributes: dict[str, Any]) -> list[tuple[str, bytes | None]]:
    """The headers of binary mode."""
    stated = {name: value for name, value in attributes.items() if name not in ("data", "datacontenttype")}
    return [(f"ce_{name}", None if value is None else value.encode()) for name, value in stated.items()]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("content-type", STRUCTURED)],
        [("content-type", b"application/cloudevents+json; charset=UTF-8")],
        [("Content-Type", b'application/cloudevents+json;charset="utf-8";q=1')],
        [("traceparent", b"00"), ("\udcff", None), ("content-type", STRUCTURED), ("ce_id", b"another"), ("ce_id", b"\xff")],
        [("x", b"\xff"), ("x", None)],
        [("content-type", b"application/json")],
        [("content-type", b"\xff")],
        [("content-type", None)],
    ],
)
def test_structured_mode_hands_on_the_very_bytes(headers: Headers) -> None:
    for value in (encoded(SALE), b"junk", b"\xff" * 10):
        assert structured(value, headers) is value
    assert isinstance(judged(encoded(SALE), headers), Event)


@pytest.mark.parametrize("kind", CATALOGUE)
def test_binary_mode_says_the_same_as_structured(kind: str) -> None:
    @given(events(kind))
    def run(attributes: dict[str, Any]) -> None:
        for more in ([], [JSON], [("Content-Type", b"application/json; charset=utf-8"), ("x", None)]):
            assert judged(encoded(attributes["data"]), [*marks(attributes), *more]) == decode(encoded(attributes))

    run()


def sdk(attributes: dict[str, Any]) -> CloudEvent:
    named = {name: value for name, value in attributes.items() if name not in ("data", "time")}
    return CloudEvent({**named, "time": datetime(2024, 3, 1, 12, 30, tzinfo=UTC)}, attributes["data"])


def sent(message: KafkaMessage) -> Event | Refusal:
    return judged(message.value, list(message.headers.items()))


@pytest.mark.parametrize("kind", CATALOGUE)
def test_a_message_of_the_sdk_is_taken_in_both_modes(kind: str) -> None:
    for make in (minimal, full):
        attributes = make(kind)
        event = sdk(attributes)
        expected = decode(encoded(attributes | {"time": "2024-03-01T12:30:00Z"}))
        assert isinstance(expected, Event)
        by_subject = lambda made: made.get_subject()  # noqa: E731
        assert sent(to_structured_event(event, key_mapper=by_subject)) == expected
        assert sent(to_binary_event(event, key_mapper=by_subject)) == expected
        assert to_binary_event(event, key_mapper=by_subject).key == expected.subject


def test_the_key_of_the_sdk_by_its_own_attribute_is_refused_alike() -> None:
    """`partitionkey` is an attribute as any other that the ledger does not know; a key mapper names the subject instead."""
    event = sdk(SALE | {"partitionkey": "P-1"})
    for message in (to_structured_event(event), to_binary_event(event)):
        found = sent(message)
        assert isinstance(found, Refusal) and (found.code, found.where) == ("unknown_attribute", "partitionkey")


TABLE: list[tuple[bytes | None, list[tuple[str, bytes | None]], str, str]] = [
    (None, [], "empty_message", ""),
    (b"", [], "empty_message", ""),
    (None, [*marks(SALE), JSON], "empty_message", ""),
    (b"", marks(SALE), "empty_message", ""),
    (b"[]", [("content-type", b"application/cloudevents-batch+json")], "wrong_content_type", "content-type"),
    (b"x", [("content-type", b"application/cloudevents+avro"), *marks(SALE)], "wrong_content_type", "content-type"),
    (encoded(SALE), [("content-type", STRUCTURED), ("content-type", STRUCTURED)], "bad_header", "content-type"),
    (DATA, [*marks(SALE), ("content-type", b"application/xml")], "wrong_content_type", "content-type"),
    (DATA, [*marks(SALE), ("content-type", b"\xff" * 1000)], "wrong_content_type", "content-type"),
    (DATA, [*marks(SALE), ("ce_id", b"1")], "bad_header", "ce_id"),
    (DATA, [*marks(SALE), ("CE_ID", b"1")], "bad_header", "CE_ID"),
    (DATA, [("ce_subject", b"P-\xff")], "bad_header", "ce_subject"),
    (DATA, [*marks(SALE), ("ce_data", b"{}")], "bad_header", "ce_data"),
    (DATA, [*marks(SALE), ("ce_data_base64", b"e30=")], "bad_header", "ce_data_base64"),
    (DATA, [*marks(SALE), ("ce_datacontenttype", b"application/json")], "bad_header", "ce_datacontenttype"),
    (DATA, [*marks(SALE), ("ce_colour", b"red")], "unknown_attribute", "colour"),
    (DATA, [*marks(SALE), ("ce_\udcff", b"1")], "unknown_attribute", "\\udcff"),
    (DATA, [*marks(SALE), ("ce_", b"1")], "unknown_attribute", ""),
    (DATA, [("ce_" + "x" * 500, b"1")] * 2, "bad_header", "ce_" + "x" * 57),
    (b"[]", marks(SALE), "wrong_type", "data"),
    (b"{", marks(SALE), "not_json", ""),
    (b"\xff", marks(SALE), "not_json", ""),
    (b"\xef\xbb\xbf{}", marks(SALE), "not_json", ""),
    (b"[" * 100_000, marks(SALE), "not_json", ""),
    (b'{},"subject":"P-2"', marks(SALE), "not_json", ""),
    (b'{}},{"x":{}', marks(SALE), "not_json", ""),
    (b'"' + b"x" * 1_048_576 + b'"', marks(SALE), "too_large", ""),
    (b"{}", [("ce_id", b"x" * 1_048_576)], "too_large", ""),
    (b" " * 1_048_577, [], "too_large", ""),
    (DATA, [("ce_id", None), ("ce_specversion", b"1.0")], "wrong_type", "id"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "headers", "code", "where"), TABLE, ids=range(len(TABLE)))
def test_what_is_refused(value: bytes | None, headers: Headers, code: str, where: str) -> None:
    found = judged(value, headers)
    assert isinstance(found, Refusal), found
    assert (found.code, found.where) == (code, where)
    assert found.reason and found.hint and len(str(found)) < 300
    msgspec.json.encode(str(found))


def test_every_code_is_reached() -> None:
    own = {found.code for value, headers, *_ in TABLE if isinstance(found := structured(value, headers), Refusal)}
    assert own == set(CODES)
    assert {row[2] for row in TABLE} <= set(CODES) | set(refusals.CODES)


NAMES = (
    st.sampled_from(("content-type", "Content-Type", "ce_id", "ce_type", "ce_specversion", "ce_source", "ce_time", "ce_subject", "ce_", "ce_\udcff"))
    | st.text(st.characters(exclude_categories=()), max_size=10)
    | st.binary(max_size=8).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
)
SAID = st.none() | st.binary(max_size=30) | st.sampled_from((STRUCTURED, b"application/json", b"1.0", b"points.sold.v1", b"2024-03-01T00:00:00Z"))
VALUES = st.none() | st.binary(max_size=60) | st.sampled_from((encoded(SALE), DATA, b"{}", b"null", b"{} {}", b'{"a":1e999}'))


@given(VALUES, st.lists(st.tuples(NAMES, SAID), max_size=8), st.booleans())
def test_anything_is_an_event_or_a_refusal(value: bytes | None, headers: list[tuple[str, bytes | None]], right: bool) -> None:
    for found in (judged(value, headers), judged(value, [*marks(SALE), *headers] if right else headers[::-1])):
        assert isinstance(found, Event) or (found.code and found.reason)
        if isinstance(found, Refusal):
            msgspec.json.encode([found.code, found.reason, found.hint, found.where])


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode), st.sampled_from((b"", b"{}", b'{"a":1}', b"[]")))
def test_no_value_reaches_out_of_the_data(tail: bytes, head: bytes) -> None:
    """Whatever the value is, the attributes are those of the headers."""
    found = structured(head + tail, marks(SALE))
    if isinstance(found, bytes):
        stated = msgspec.json.decode(found)
        stated.pop("data", None)
        assert stated == {name: value for name, value in SALE.items() if name not in ("data", "datacontenttype")}
