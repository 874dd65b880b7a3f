"""The JSON Schemas say of an event what `decode` says, as far as a schema can."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from ledger.errors import Refusal
from ledger.events.catalogue import CATALOGUE
from ledger.events.envelope import decode
from ledger.events.schemas import schema
from tests.events.golden import lines
from tests.events.samples import encoded, events, full, minimal
from tests.events.test_agreement import JUNK, SPOILS, spoil

KINDS = sorted(CATALOGUE)
DAY = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(T.*)?")


@cache
def validator(kind: str) -> Draft7Validator:
    return Draft7Validator(schema(kind))


def fits(kind: str, attributes: Any) -> bool:
    return validator(kind).is_valid(attributes)


def agree(kind: str, attributes: Any) -> None:
    """The schema refuses what `decode` refuses, but for days that do not exist; it takes all that `decode` takes, but for none."""
    verdict = decode(encoded(attributes))
    if not isinstance(verdict, Refusal):
        assert fits(kind, attributes), (attributes, next(validator(kind).iter_errors(attributes)).message)
    elif fits(kind, attributes):
        assert verdict.code == "bad_time" and DAY.search(verdict.reason), (attributes, verdict)


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_one_and_every_golden_event_fits(kind: str) -> None:
    Draft7Validator.check_schema(schema(kind))
    assert lines(kind)
    for line in lines(kind):
        assert list(validator(kind).iter_errors(json.loads(line.body))) == []
        assert not any(fits(other, json.loads(line.body)) for other in KINDS if other != kind)


@pytest.mark.parametrize("kind", KINDS)
def test_any_right_event_fits(kind: str) -> None:
    @settings(max_examples=25)
    @given(events(kind))
    def run(attributes: dict[str, Any]) -> None:
        agree(kind, attributes)

    run()


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_with_every_junk(kind: str) -> None:
    whole, refused = full(kind), 0
    for name in CATALOGUE[kind].model_fields:
        for junk in JUNK:
            attributes = whole | {"data": whole["data"] | {name: junk}}
            agree(kind, attributes)
            refused += not fits(kind, attributes)
    assert refused > 20


def test_every_attribute_with_every_junk() -> None:
    whole = full("partner.left.v1")
    for name in whole:
        for junk in JUNK:
            agree("partner.left.v1", whole | {name: junk})


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_too_few_and_one_too_many(kind: str) -> None:
    whole = minimal(kind)
    for name in whole["data"]:
        assert not fits(kind, whole | {"data": {other: value for other, value in whole["data"].items() if other != name}})
    for name in ("id", "source", "type", "time", "specversion", "data"):
        assert not fits(kind, {other: value for other, value in whole.items() if other != name})
    assert not fits(kind, whole | {"colour": "red"}) and not fits(kind, whole | {"data": whole["data"] | {"colour": "red"}})
    assert fits(kind, whole)


@settings(max_examples=400)
@given(st.data(), SPOILS)
def test_spoilt_events(data: st.DataObject, spoils: list[tuple[str, int, Any]]) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    attributes = spoil(deepcopy(data.draw(events(kind))), spoils)
    if attributes.get("type") == kind and encodable(attributes):
        agree(kind, attributes)


def encodable(attributes: Any) -> bool:
    try:
        return bool(encoded(attributes))
    except UnicodeEncodeError:
        return False


def test_what_a_schema_cannot_say() -> None:
    """The list of docs/publishing.md."""
    whole = minimal("points.managed.v1")
    for unseen, code in (
        (whole | {"time": "2023-02-29T00:00:00Z"}, "bad_time"),
        (whole | {"time": "0001-01-01T00:00:00+12:00"}, "bad_time"),
        (whole | {"data": whole["data"] | {"servicing_partners": 3.0}}, "wrong_type"),
    ):
        verdict = decode(encoded(unseen))
        assert isinstance(verdict, Refusal) and verdict.code == code
        assert fits("points.managed.v1", unseen)
    long = encoded(whole) + b" " * 1_048_576
    verdict = decode(long)
    assert isinstance(verdict, Refusal) and verdict.code == "too_large" and fits("points.managed.v1", json.loads(long))
