"""The records that the ledger writes: their bytes, what comes back, and that a refusal always fits into a message."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.announce import standing_of
from consumers.records import encode, published, read_refusal, read_standing, refusal
from consumers.topics import REFUSED, wanted
from consumers.wire import Message
from ledger.errors import Refusal
from ledger.events.envelope import Sealed, event
from ledger.instants import parse
from ledger.log import GENESIS
from ledger.rules.library import Library
from ledger.rules.life import Life

AT = parse("2024-03-01T10:00:00.5Z")
WHY = Refusal("bad_amount", "12.5 is a number", "put it in quotes", "data.amount")


def test_a_refusal_has_all_that_came() -> None:
    message = Message(b"P-1", b"\xff{", (("a", None), ("a", b"\x00"), ("\udcff", b"x")), 3, 1234)
    record = refusal(WHY, message, "ledger.inbox", "abc", AT)
    key, value = published(record)
    assert json.loads(value) == {
        "code": "bad_amount", "message": "12.5 is a number", "hint": "put it in quotes", "field": "data.amount",
        "raw": base64.b64encode(b"\xff{").decode(), "key": "UC0x", "headers": [["a", None], ["a", "AA=="], ["\\udcff", "eA=="]],
        "origin": ["ledger.inbox", "abc", 3, 1234], "refused_at": "2024-03-01T10:00:00.500000Z",
    }  # fmt: skip
    assert key == b"P-1" and value == encode(record) and read_refusal(value) == record
    bare = json.loads(published(refusal(Refusal("no_value", "nothing"), Message(None, None, (), 0, 7), "t", "i", AT))[1])
    assert (bare["raw"], bare["key"], bare["headers"]) == (None, None, []) and not {"hint", "field", "cut"} & set(bare)


NAMES = st.text(st.characters(exclude_categories=()), max_size=200)
SIZES = st.none() | st.integers(0, 9_000_000).map(bytes)


@given(SIZES, SIZES, st.lists(st.tuples(NAMES, st.none() | st.integers(0, 30_000).map(bytes)), max_size=300), NAMES)
def test_a_refusal_always_fits_and_says_when_it_is_cut(
    value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes | None]], words: str
) -> None:
    (topic,) = (topic for topic in wanted("", 1) if topic.role == REFUSED)
    record = refusal(Refusal("x", words, words, words), Message(key, value, tuple(headers), 0, 7), "t", "i", AT)
    short, written = published(record)
    assert len(written) + len(short or b"") + 200 < int(topic.settings["max.message.bytes"])
    found = read_refusal(written)
    assert found.cut is not (found == record)
    assert (value or b"").startswith(found.raw or b"") and (key or b"").startswith(found.key or b"") and short == found.key
    if len(value or b"") <= 1_048_576:
        assert found.raw == value


@pytest.mark.parametrize("programme", ["hubspot", "microsoft-competencies", "microsoft-capability", "copernica"])
@pytest.mark.parametrize("currency", ["EUR", "XPF"])
def test_a_standing_as_it_is_announced_is_such_a_record(programme: str, currency: str) -> None:
    made = {"subject": "P-1", "effective_at": "2024-01-01", "source": "x"}
    events = [
        event("partner.enrolled.v1", id="1", programme=programme, **made),
        event("points.sold.v1", id="2", client="C", line="marketing-hub", amount="100", currency=currency, **made),
    ]
    sealed = [Sealed(n, "partner/P-1", n, AT, GENESIS, GENESIS, each) for n, each in enumerate(events, start=1)]
    stated = {**standing_of(Life(sealed, Library().force(programme)), "P-1", programme, AT), "position": 1, "as_of": "2024-03-01T00:00:00Z", "changed": ["values"]}
    record = read_standing(msgspec.json.encode(stated))
    assert set(stated) <= set(record.__struct_fields__), "a field that the record does not know"
    assert (record.error is not None) == (programme == "hubspot" and currency == "XPF")
    assert (record.awards is not None) == (programme == "microsoft-capability")
    for name, value in msgspec.to_builtins(record).items():
        assert stated[name] == (list(value) if isinstance(value, tuple) else value)
    with pytest.raises(msgspec.ValidationError):
        read_standing(msgspec.json.encode({**stated, "values": {"sold": "7e3"}}))
