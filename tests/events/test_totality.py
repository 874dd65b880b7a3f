"""Any bytes give an event or a refusal with a documented code. Nothing raises."""

from __future__ import annotations

import json
import os
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import Refusal
from ledger.events.envelope import BYTES_MAX, Event, decode, read
from ledger.events.refusals import CODES
from tests.events.samples import encoded, full, minimal

MORE = int(os.environ.get("POINTS_LEDGER_TEST_EXAMPLES") or 0)
WHOLE = encoded(full("renewal.scheduled.v1"))


def verdict(raw: Any) -> Event | Refusal:
    """What decode says, which is one of two things; what read says of the same bytes is too."""
    found = decode(raw)
    assert isinstance(found, Event) or (isinstance(found, Refusal) and found.code in CODES and found.reason), found
    if isinstance(raw, bytes):
        assert isinstance(read(raw), Event | Refusal)
    return found


@settings(max_examples=MORE or 500)
@given(st.binary(max_size=200))
def test_random_bytes(raw: bytes) -> None:
    verdict(raw)


@settings(max_examples=MORE or 200)
@given(st.text(max_size=200))
def test_random_texts(raw: str) -> None:
    verdict(raw)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(sorted(full("points.sold.v1"))) | st.text(max_size=6), inner, max_size=6)
    ),
    max_leaves=20,
)


@settings(max_examples=MORE or 400)
@given(_JSON)
def test_random_json(value: Any) -> None:
    verdict(json.dumps(value).encode())
    if isinstance(value, dict):
        verdict(value)


def test_every_truncation() -> None:
    for end in range(len(WHOLE)):
        found = verdict(WHOLE[:end])
        assert isinstance(found, Refusal) and found.code == "not_json"


def test_every_flipped_bit() -> None:
    for at in range(len(WHOLE)):
        for bit in range(8):
            spoilt = bytearray(WHOLE)
            spoilt[at] ^= 1 << bit
            verdict(bytes(spoilt))


@settings(max_examples=MORE or 300)
@given(st.integers(0, len(WHOLE)), st.integers(0, 40), st.binary(max_size=20))
def test_spliced_bytes(at: int, cut: int, inserted: bytes) -> None:
    verdict(WHOLE[:at] + inserted + WHOLE[at + cut :])


def sale(written: str) -> bytes:
    return encoded(minimal("points.sold.v1")).replace(b'"12.50"', written.encode())


HOSTILE = {
    "nothing": (b"", "not_json"),
    "a byte order mark": (b"\xef\xbb\xbf" + WHOLE, "not_json"),
    "UTF-16": (WHOLE.decode().encode("utf-16"), "not_json"),
    "a NUL in front": (b"\x00" + WHOLE, "not_json"),
    "not UTF-8": (WHOLE.replace(b"client-1", b"\xff\xfe"), "not_json"),
    "a surrogate in UTF-8": (WHOLE.replace(b"client-1", b"\xed\xa0\x80"), "not_json"),
    "a lone surrogate": (WHOLE.replace(b"client-1", b"\\ud800"), "not_json"),
    "two events": (WHOLE + WHOLE, "not_json"),
    "NaN": (sale("NaN"), "bad_amount"),
    "infinity": (sale("-Infinity"), "bad_amount"),
    "a number out of range": (sale("1e999"), "bad_amount"),
    "a number of 4,000 digits": (sale("9" * 4000), "bad_amount"),
    "a number of a million digits": (sale("9" * 1_000_000), "not_json"),
    "deep arrays": (b"[" * 100_000, "not_json"),
    "deep arrays, closed": (b"[" * 100_000 + b"]" * 100_000, "not_json"),
    "deep objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "not_json"),
    "deep in the data": (sale("[" * 50_000 + "]" * 50_000), "not_json"),
    "deep in what is unknown": (sale('"1", "x": ' + "[" * 50_000 + "]" * 50_000), "not_json"),
    "a text of 10 MB": (sale('"' + "9" * 10_000_000 + '"'), "too_large"),
    "10 MB of spaces": (WHOLE + b" " * 10_000_000, "too_large"),
    "10 MB of brackets": (b"[" * 10_000_000, "too_large"),
    "many unknown fields": (sale('"1", ' + ", ".join(f'"x{n}": 1' for n in range(50_000))), "unknown_field"),
    "a long unknown field": (sale('"1", "' + "x" * 900_000 + '": 1'), "unknown_field"),
    "a long kind": (WHOLE.replace(b"renewal.scheduled.v1", b"x" * 900_000), "unknown_kind"),
    "many backslashes": (sale('"' + "\\\\" * 500_000 + '"'), "bad_amount"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes(name: str) -> None:
    raw, code = HOSTILE[name]
    found = verdict(raw)
    assert isinstance(found, Refusal) and found.code == code
    assert len(str(found)) < 500, "a refusal does not repeat what was sent at length"


def test_what_fits_as_sent_but_not_as_written_is_too_large() -> None:
    """The defaults that canonical bytes state could take them over the limit, and then the ledger could not read them again."""
    attributes = minimal("rulebook.published.v1")
    attributes["data"] |= {"text": "x" * 500_000}
    attributes["subject"], attributes["traceparent"] = "P", "x"
    assert isinstance(verdict(encoded(attributes)), Event)
    sent = encoded(minimal("points.sold.v1")).replace(b'"12.50"', b'"12.50", "line": "' + b"x" * 10 + b'"')
    padded = sent + b" " * (BYTES_MAX - len(sent))
    assert isinstance(verdict(padded), Event)
    assert isinstance(verdict(padded + b" "), Refusal)
    emoji = minimal("rulebook.published.v1")
    emoji["data"]["text"] = "😀" * 262_000
    found = verdict(encoded(emoji))
    assert isinstance(found, Event) == (len(encoded(emoji)) <= BYTES_MAX)


def test_mappings_that_are_no_json() -> None:
    loop: dict[str, Any] = minimal("points.sold.v1")
    loop["data"] = loop
    for odd in ({"a": object()}, {1: 2}, {"a": {1, 2}}, {"a": 10**30}, {"a": float("nan")}, {"a": "\ud800"}, {(1, 2): 3}, loop, {}):
        assert isinstance(verdict(odd), Refusal)
    assert isinstance(verdict(MappingProxyType(minimal("points.sold.v1"))), Event)
    assert isinstance(verdict("\ud800"), Refusal)
