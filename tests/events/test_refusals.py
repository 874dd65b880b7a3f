"""Refusals are for people: a stable code, what was found, what to send instead, and where; never how the program checks."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.errors import Refusal
from ledger.events.catalogue import CATALOGUE
from ledger.events.envelope import decode
from ledger.events.refusals import CODES
from tests.events.samples import encoded, full, minimal
from tests.events.test_agreement import JUNK

LEAVE_OUT: Any = object()


def sale(**changed: Any) -> bytes:
    """A right sale with some attributes changed; those of the data are named `data_...`."""
    attributes = minimal("points.sold.v1")
    for name, value in changed.items():
        target, key = (attributes["data"], name[5:]) if name.startswith("data_") else (attributes, name)
        target[key] = value
        if value is LEAVE_OUT:
            del target[key]
    return encoded(attributes)


AMOUNT = 'a decimal string such as "12.50" or "-3", with at most 18 digits before the point and 9 after it'
TIME = "RFC 3339 with an offset and at most microseconds, such as 2024-03-01T00:00:00Z"
DAY = "a day of the calendar such as 2024-02-29"
ID = "1 to 200 characters, none of them a control character"
QUOTES = 'put it in quotes: "12.50"'

TABLE: list[tuple[bytes, str, str, str, str]] = [
    (sale(data_amount=12.5), "bad_amount", "data.amount", "12.5 is a number, amounts are decimal strings", QUOTES),
    (sale(data_amount=12), "bad_amount", "data.amount", "12 is a number, amounts are decimal strings", QUOTES),
    (sale(data_amount=True), "bad_amount", "data.amount", "true is not an amount", AMOUNT),
    (sale(data_amount=None), "bad_amount", "data.amount", "null is not an amount", AMOUNT),
    (sale(data_amount="12,50"), "bad_amount", "data.amount", '"12,50" is not an amount', AMOUNT),
    (sale(data_amount="1e3"), "bad_amount", "data.amount", '"1e3" is not an amount', AMOUNT),
    (sale(data_amount="12.50\n"), "bad_amount", "data.amount", '"12.50\\n" is not an amount', AMOUNT),
    (sale(data_amount="0.1234567891"), "bad_amount", "data.amount", '"0.1234567891" is not an amount', AMOUNT),
    (sale(data_amount=LEAVE_OUT), "missing_field", "data.amount", "amount is missing",
     f"Added recurring revenue of a month; negative for a downgrade or credit note. A{AMOUNT[1:]}."),
    (sale(data_amuont="1"), "unknown_field", "data.amuont", '"amuont" is not known here', "did you mean amount?"),
    (sale(data_colour="red"), "unknown_field", "data.colour", '"colour" is not known here', "leave it out"),
    (sale(data_client=7), "wrong_type", "data.client", "7 is not an id", ID),
    (sale(data_client=""), "wrong_type", "data.client", '"" is not an id', ID),
    (sale(data_client="C\n1"), "wrong_type", "data.client", '"C\\n1" is not an id', ID),
    (sale(data_client="x" * 201), "wrong_type", "data.client", '"' + "x" * 38 + "… is not an id", ID),
    (sale(data_currency="eur"), "wrong_type", "data.currency", '"eur" is not a currency', "three capital letters of ISO 4217, such as EUR"),
    (sale(data_with_deal="yes"), "wrong_type", "data.with_deal", '"yes" is not a flag', "true or false, without quotes"),
    (sale(data_deal_type="by us"), "wrong_type", "data.deal_type", '"by us" is not a code',
     "1 to 100 of A-Z a-z 0-9 _ . + / -, beginning with a letter or digit"),
    (sale(data_line_first_sold_on="2023-02-29"), "bad_time", "data.line_first_sold_on", '"2023-02-29" is not a day', DAY),
    (sale(data_line_first_sold_on="1 May 2024"), "bad_time", "data.line_first_sold_on", '"1 May 2024" is not a day', DAY),
    (sale(data=[]), "wrong_type", "data", "[] is not an object", "a JSON object"),
    (sale(data="amount=1"), "wrong_type", "data", '"amount=1" is not an object', "a JSON object"),
    (sale(data=LEAVE_OUT), "missing_attribute", "data", "data is missing",
     "What the event states: the fields of its kind. A JSON object with the fields of the kind."),
    (sale(time="yesterday"), "bad_time", "time", '"yesterday" is not a time', TIME),
    (sale(time="2024-03-01"), "bad_time", "time", '"2024-03-01" is not a time', TIME),
    (sale(time="2024-03-01T00:00:00"), "bad_time", "time", '"2024-03-01T00:00:00" is not a time', TIME),
    (sale(time="2024-02-30T00:00:00Z"), "bad_time", "time", '"2024-02-30T00:00:00Z" is not a time', TIME),
    (sale(time="0001-01-01T00:00:00+12:00"), "bad_time", "time", '"0001-01-01T00:00:00+12:00" is not a time', TIME),
    (sale(time="9999-12-31T23:00:00-12:00"), "bad_time", "time", '"9999-12-31T23:00:00-12:00" is not a time', TIME),
    (sale(time=1709251200), "bad_time", "time", "1709251200 is not a time", TIME),
    (sale(recordedtime="now"), "bad_time", "recordedtime", '"now" is not a time', TIME),
    (sale(id=""), "wrong_type", "id", '"" is not an id', ID),
    (sale(id=17), "wrong_type", "id", "17 is not an id", ID),
    (sale(id=LEAVE_OUT), "missing_attribute", "id", "id is missing", f"Which event of the source; together they are unique for ever. {ID}."),
    (sale(source="our crm"), "wrong_type", "source", '"our crm" is not a source',
     "1 to 200 characters, none of them a space or a control character"),
    (sale(subject=["P-1"]), "wrong_type", "subject", '["P-1"] is not an id', ID),
    (sale(specversion="0.3"), "wrong_specversion", "specversion", '"0.3" is not a version', 'the ledger reads CloudEvents "1.0"'),
    (sale(datacontenttype="text/xml"), "wrong_content_type", "datacontenttype", '"text/xml" is not a content type', "send application/json"),
    (sale(partner="P-1"), "unknown_attribute", "partner", '"partner" is not known here', "leave it out"),
    (sale(Subject="P-1"), "unknown_attribute", "Subject", '"Subject" is not known here', "did you mean subject?"),
    (encoded(minimal("points.sold.v1") | {"data_base64": "e30="}), "unknown_attribute", "data_base64", '"data_base64" is not known here', "leave it out"),
    (sale(type="points.sold.v2"), "unknown_kind", "type", '"points.sold.v2" is no kind of event',
     "did you mean points.sold.v1 or points.lost.v1 or points.adjusted.v1?"),
    (sale(type="zzz"), "unknown_kind", "type", '"zzz" is no kind of event', "see the catalogue of events"),
    (sale(type=None), "unknown_kind", "type", "null is not a kind", "a dotted name of the catalogue such as points.sold.v1"),
    (b"", "not_json", "", "this is not JSON: EOF while parsing a value at line 1 column 0", "one CloudEvent as a JSON object in UTF-8"),
    (b"id=1", "not_json", "", "this is not JSON: expected value at line 1 column 1", "one CloudEvent as a JSON object in UTF-8"),
    (b"[{}]", "not_an_object", "", "[{}] is not a JSON object", "one CloudEvent in structured JSON"),
    (b"null", "not_an_object", "", "null is not a JSON object", "one CloudEvent in structured JSON"),
    (b" " * 1_048_577, "too_large", "", "it has 1,048,577 bytes, and an event has at most 1,048,576", "keep the document elsewhere and name it"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "code", "where", "reason", "hint"), TABLE, ids=[f"{row[2]} {row[3]}"[:60] for row in TABLE])
def test_what_is_said(raw: bytes, code: str, where: str, reason: str, hint: str) -> None:
    found = decode(raw)
    assert isinstance(found, Refusal), found
    assert (found.code, found.where, found.reason, found.hint.lower()) == (code, where, reason, hint.lower())


@pytest.mark.parametrize(
    ("kind", "data", "where"),
    [
        ("points.lost.v1", {"lot": {"source": "crm"}}, "data.lot.id"),
        ("points.lost.v1", {"lot": {"source": "crm", "id": "1", "x": 1}}, "data.lot.x"),
        ("points.lost.v1", {"lot": "crm 1"}, "data.lot"),
        ("points.expired.v1", {"measure": "sold", "lots": [{"source": "crm", "id": "1"}, {"source": "crm", "id": ""}]}, "data.lots[1].id"),
        ("points.expired.v1", {"measure": "sold", "lots": {}}, "data.lots"),
        ("points.expired.v1", {"measure": "sold", "lots": [3]}, "data.lots[0]"),
    ],
)
def test_the_place_of_what_is_nested(kind: str, data: dict[str, Any], where: str) -> None:
    found = decode(encoded(minimal(kind) | {"data": data}))
    assert isinstance(found, Refusal) and found.where == where


def test_one_thing_at_a_time_and_always_the_same() -> None:
    """Of several things wrong the first in the order of the envelope is told; names that are not known come last."""
    raw = encoded(minimal("points.sold.v1") | {"specversion": "2", "time": 5, "x": 1, "data": {}})
    assert [getattr(decode(raw), "where", None) for _ in range(3)] == ["specversion"] * 3
    assert getattr(decode(raw.replace(b'"2"', b'"1.0"')), "where", None) == "time"


def test_every_code_is_documented_and_reached() -> None:
    assert {row[1] for row in TABLE} == set(CODES)


CHECKS = ("regex", "pattern", "string_", "[0-9]", "[A-Z]", "^", "\\d", "should ", "Input", "pydantic", "msgspec", "got `")


def test_no_refusal_shows_how_the_program_checks() -> None:
    for kind in CATALOGUE:
        whole = full(kind)
        for name in whole["data"]:
            for junk in JUNK:
                found = decode(encoded(whole | {"data": whole["data"] | {name: junk}}))
                if isinstance(found, Refusal):
                    assert not any(check in f"{found.reason} {found.hint}" for check in CHECKS), found
                    assert found.where.startswith(f"data.{name}") and found.hint
