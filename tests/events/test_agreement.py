"""The quick way and the catalogue itself: the same verdicts and the same values, for every kind, on right and on spoilt input."""

from __future__ import annotations

import json
import os
from copy import deepcopy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ledger.errors import Refusal
from ledger.events import codec
from ledger.events.catalogue import CATALOGUE, EVENTS
from ledger.events.envelope import Event, decode, judge, quick, read
from tests.events.samples import encoded, events, full, minimal

KINDS = sorted(CATALOGUE)
MORE = int(os.environ.get("POINTS_LEDGER_TEST_EXAMPLES") or 0)

JUNK: list[Any] = [
    None, True, False, 0, -1, 1, 3.5, 1e300, 10**30, -(10**19), 2_000_000_000, "", " ", "x", "1", "-", "-0", "00", "01.5", "1.", ".5", "1e5", "+1",
    "1.1234567890", "1234567890123456789", "12.50\n", "\n", "USD", "USD\n", "usd", "US", "US\n", "U$", "é", "\u0130", "\x00", "\x7f", "\x80", "\u2028", "😀",
    "P-1\n", "a b", '"', "\\", 'a","client":"b', "2024-02-30", "2023-02-29", "0000-01-01", "2024-1-1", "2024-13-01", "2024-02-29\n", "2024-02",
    "2024-00", "0000-12", "2024-02-29T24:00:00Z", "2024-02-29T00:00:00", "2024-02-29T00:00:00z", "2024-02-29 00:00:00Z", "2024-02-29T00:00:60Z",
    "2024-02-29T00:00:00.1234567Z", "2024-02-29T00:00:00+0100", "2024-02-29T00:00:00+24:00", "0001-01-01T00:00:00+12:00", "2024-W05-1",
    "9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59.999999Z", "2024-06-30T23:59:59,5Z", "２０２４-02-29", "١٢", "a" * 100, "a" * 101, "a" * 200,
    "a" * 201, "é" * 200, "é" * 201, "a" * 2000, "a" * 2001, "f" * 64, "F" * 64, "f" * 65, [], [1], [[]], {}, {"a": 1}, {"source": "s"},
    {"source": "s", "id": "i"}, {"source": "s", "id": "i", "x": 1}, {"source": "s", "id": None}, [{"source": "s", "id": "i\n"}], [None],
    [{"source": "s", "id": "i"}, {"source": "a b", "id": "i"}],
]  # fmt: skip
"""Values that are wrong in some place and right in others."""


def agree(raw: bytes) -> Event | Refusal:
    """Both ways on the same bytes; returns the verdict."""
    fast, slow = quick(raw), judge(raw)
    if fast is not None:
        assert fast == slow
        assert type(fast.data) is type(slow.data)
    assert decode(raw) == slow
    values = catalogued(raw)
    assert (values is not None) == isinstance(slow, Event), slow
    if isinstance(slow, Event):
        assert unfolded(slow.data) == plain(values)
        assert read(slow.body) == decode(slow.body) == slow
        assert slow.body == codec.write(msgspec.json.decode(slow.body))
    return slow


def catalogued(raw: bytes) -> dict[str, Any] | None:
    """The values of the data by pydantic alone; None where it refuses."""
    try:
        kind = EVENTS[json.loads(raw)["type"]]
        stated = kind.model_validate_json(raw)
    except (ValidationError, KeyError, TypeError, ValueError):
        return None
    values: dict[str, Any] = stated.data.model_dump()
    return values


def unfolded(value: Any) -> Any:
    """A structure as pydantic dumps a model: every field, those that say nothing too."""
    if isinstance(value, msgspec.Struct):
        return {name: unfolded(inner) for name, inner in msgspec.structs.asdict(value).items()}
    return [unfolded(inner) for inner in value] if isinstance(value, tuple) else value


def plain(values: Any) -> Any:
    """Tuples and lists are the same statement."""
    return json.loads(json.dumps(values))


def has_escapes(attributes: dict[str, Any]) -> bool:
    return "\\" in json.dumps(attributes, ensure_ascii=False)


@pytest.mark.parametrize("kind", KINDS)
def test_right_events(kind: str) -> None:
    for attributes in (minimal(kind), full(kind)):
        assert isinstance(agree(encoded(attributes)), Event)
        assert quick(encoded(attributes)) is not None, "the quick way takes plain events"
    right_events(kind)


def right_events(kind: str) -> None:
    @settings(max_examples=MORE or 12)
    @given(events(kind), st.booleans(), st.sampled_from((None, 1)))
    def run(attributes: dict[str, Any], ascii_only: bool, indent: int | None) -> None:
        raw = json.dumps(attributes, ensure_ascii=ascii_only, indent=indent).encode()
        assert isinstance(agree(raw), Event)
        assert has_escapes(attributes) or quick(raw) is not None, "the quick way takes all that is written without escapes"

    run()


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_with_every_junk(kind: str) -> None:
    """Not by chance: each field of the data takes each of the values, the others being right."""
    whole = full(kind)
    verdicts = set()
    for name in CATALOGUE[kind].model_fields:
        for junk in JUNK:
            verdicts.add(type(agree(encoded(whole | {"data": whole["data"] | {name: junk}}))))
    assert Refusal in verdicts


def test_every_attribute_with_every_junk() -> None:
    whole = full("partner.left.v1")
    for name in whole:
        for junk in JUNK:
            agree(encoded(whole | {name: junk}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_too_few_and_one_too_many(kind: str) -> None:
    whole = minimal(kind)
    for name in whole["data"]:
        less = {other: value for other, value in whole["data"].items() if other != name}
        verdict = agree(encoded(whole | {"data": less}))
        assert isinstance(verdict, Refusal) and (verdict.code, verdict.where) == ("missing_field", f"data.{name}")
    for name in ("", "kind", "Client", "client\x00", "datä", "__class__"):
        verdict = agree(encoded(whole | {"data": whole["data"] | {name: "x"}}))
        assert isinstance(verdict, Refusal) and verdict.code == "unknown_field"
        verdict = agree(encoded(whole | {name: "x"}))
        assert isinstance(verdict, Refusal) and verdict.code == "unknown_attribute"


SPOILS = st.lists(
    st.tuples(st.sampled_from(("set", "set", "drop", "add")), st.integers(0, 30), st.sampled_from(JUNK) | st.text(max_size=5)),
    min_size=1,
    max_size=3,
)


def spoil(attributes: dict[str, Any], spoils: list[tuple[str, int, Any]]) -> dict[str, Any]:
    """Each spoil changes the envelope, the data, or what is nested in it."""
    for way, pick, shared in spoils:
        junk = deepcopy(shared)  # a spoil may fall into what another has put there
        targets = [attributes] * 1 + [attributes["data"]] * 3 if isinstance(attributes.get("data"), dict) else [attributes]
        targets += [value for value in targets[-1].values() if isinstance(value, dict)]
        target = targets[pick % len(targets)]
        name = sorted(target)[pick % len(target)] if target else "x"
        if way == "add":
            target[f"x{pick}"] = junk
        elif way == "drop":
            target.pop(name, None)
        else:
            target[name] = junk
    return attributes


@settings(max_examples=MORE or 600)
@given(st.data(), SPOILS, st.booleans())
def test_spoilt_events(data: st.DataObject, spoils: list[tuple[str, int, Any]], ascii_only: bool) -> None:
    attributes = data.draw(st.sampled_from(KINDS).flatmap(events))
    agree(json.dumps(spoil(attributes, spoils), ensure_ascii=ascii_only).encode(errors="surrogatepass"))


SALE = encoded(minimal("points.sold.v1")).decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"amount": "12.50"', '"amount": 1, "amount": "12.50"'),  # a name written twice: the last counts, as in most readers
        ('"amount": "12.50"', '"amount": "12.50", "amount": 1'),
        ('"specversion"', '"specversion": "9", "specversion"'),
        ('"specversion"', '"type": "partner.left.v1", "specversion"'),
        ('"amount"', '"\\u0061mount"'),
        ('"amount": "12.50"', '"amount": "\\u0031\\u0032.50"'),
        ('"client-1"', '"\\ud83d\\ude00"'),
        ('"client-1"', '"\\ud800"'),
        ('"client-1"', '"\\udc00\\ud800"'),
        ('"client-1"', '"\\u0000"'),
        ('"client-1"', '"a\\/b"'),
        ('"client-1"', '"a\tb"'),
        ('"client-1"', '"C-1", "servicing": NaN'),
        ('"12.50"', "-Infinity"),
        ('"12.50"', "1E400"),
        ('"12.50"', "9" * 5000),
        ('"12.50"', "012"),
        (", ", " ,\r\n\t"),
        ("}}", "}} "),
        ("}}", "}}\x00"),
        ("}}", "},}"),
    ],
)
def test_ways_of_writing(before: str, after: str) -> None:
    raw = SALE.replace(before, after)
    assert raw != SALE
    agree(raw.encode())


def test_a_text_cannot_run_on_into_the_next_field() -> None:
    """The shape of a text excludes quotes, so that a wrong optional field is not taken for a part of the one before."""
    whole = minimal("client.changed.v1")
    verdict = agree(encoded(whole | {"data": {"client": "C-1", "country": "Nowhere"}}))
    assert isinstance(verdict, Refusal) and verdict.where == "data.country"


def test_every_field_has_a_form_that_samples_know() -> None:
    for kind in KINDS:
        assert set(full(kind)["data"]) == set(CATALOGUE[kind].model_fields)
