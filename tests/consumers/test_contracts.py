"""The contracts that are checked in are those that the program makes; they are valid, and what the program writes fits them."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from consumers.contracts import RECORDS, asyncapi, files, record_schema, write
from consumers.records import AtRisk, Error, Ladder, Loss, StandingRecord, encode, published, refusal
from consumers.topics import wanted
from consumers.wire import Message, Origin, message
from ledger.errors import Refusal
from ledger.events.catalogue import CATALOGUE
from ledger.events.envelope import Event, decode
from ledger.log import GENESIS, Stored
from tests.asyncapi import NoSchema, official
from tests.events.samples import encoded, full, minimal

CHECKED_IN = Path(__file__).parent.parent.parent / "contracts"


def test_what_is_checked_in_is_what_is_made() -> None:
    there = {str(path.relative_to(CHECKED_IN)): path.read_text("utf-8") for path in CHECKED_IN.rglob("*") if path.is_file()}
    made = files()
    assert set(there) == set(made), "run `python -m consumers.contracts`"
    for name, text in made.items():
        assert there[name] == text, f"{name}: run `python -m consumers.contracts`"
    assert len(made) == len(CATALOGUE) + len(RECORDS) + 1


def test_writing_anew_takes_away_what_is_no_more(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "schemas" / "points.gone.v1.json").write_text("{}")
    (tmp_path / "schemas" / "seal.json").write_text("old")
    write(tmp_path)
    assert {str(path.relative_to(tmp_path)): path.read_text("utf-8") for path in tmp_path.rglob("*.json")} == files()


# AsyncAPI ----------------------------------------------------------------------------------------------------


def errors(document: dict[str, Any]) -> list[str]:
    try:
        schema = official()
    except NoSchema as why:
        pytest.skip(f"no schema of AsyncAPI: {why}")
    return [f"{error.json_path}: {error.message[:100]}" for error in Draft7Validator(schema).iter_errors(document)]


def test_the_document_is_asyncapi_3() -> None:
    document = json.loads((CHECKED_IN / "asyncapi.json").read_text())
    assert errors(document) == []
    for spoil in (
        lambda d: d.pop("info"),
        lambda d: d.update(asyncapi="2.6.0"),
        lambda d: d["operations"]["takeEvents"].update(action="publish"),
        lambda d: d["channels"]["inbox"].update(publish={}),
        lambda d: d["channels"]["inbox"]["bindings"]["kafka"].update(partitions="six"),
        lambda d: d["components"]["securitySchemes"]["plain"].update(type="sasl"),
    ):
        spoilt = deepcopy(document)
        spoil(spoilt)
        assert errors(spoilt), "the schema looks at this"


def referred(node: Any) -> list[str]:
    if isinstance(node, list):
        return [found for each in node for found in referred(each)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
    return own + [found for each in node.values() for found in referred(each)]


def test_every_reference_leads_somewhere() -> None:
    texts = {name: json.loads(text) for name, text in files().items()}
    seen = 0
    for name, content in texts.items():
        for reference in referred(content):
            file, _, pointer = reference.partition("#")
            found = texts[str(Path(name).parent / file) if file else name]
            for step in pointer.split("/")[1:]:
                found = found[step]
            seen += 1
    assert seen > 1000


def test_the_topics_are_those_that_are_made() -> None:
    channels = asyncapi()["channels"]
    for topic in wanted("ledger.", 6):
        channel = channels[topic.role]
        assert channel["address"] == topic.name
        stated = channel["bindings"]["kafka"]["topicConfiguration"]
        for setting, value in topic.settings.items():
            if setting != "message.timestamp.type":
                assert stated[setting] == (value.split(",") if setting == "cleanup.policy" else int(value))
    assert {name for name in channels["inbox"]["messages"] if not name.endswith(".binary")} == set(CATALOGUE) == set(channels["events"]["messages"])


# The records -------------------------------------------------------------------------------------------------


def written() -> list[tuple[str, bytes]]:
    event = decode(encoded(full("points.sold.v1")))
    assert isinstance(event, Event)
    why = Refusal("bad_amount", "12.5 is a number", "put it in quotes", "data.amount")
    seals = [message(Stored(n, f"partner/{n}", n, 0, GENESIS, GENESIS, event.body), 9, origin) for n, origin in ((1, None), (5, Origin("t", "i", 0, 7)))]
    came = [Message(None, None, offset=0), Message(b"k", b"\xff", (("a", None), ("b", b"\x00")), 0, 7), Message(b"k", bytes(3_000_000), offset=1)]
    head = ("P", "acme", 3, "2024-03-01T00:00:00Z", ("credited",))
    risk, loss = AtRisk("2024-03-01T00:00:00Z", "why"), Loss("2025-01-01T00:00:00Z", None, "how")
    ladder = Ladder("Gold", None, risk, loss)
    standings = [
        StandingRecord(*head, "acme/1", "ab" * 32, True, {"a": "1", "b": "-7/3", "c": "0.5"}, "Gold", "Gold", risk, loss),
        StandingRecord(*head, "acme/1", "ab" * 32, values={}, awards={"devops": ladder}),
        StandingRecord(*head, error=Error("unpriced_event", "no rate")),
    ]
    return [
        *[("seal", each.headers[0][1] or b"") for each in seals],
        *[("refusal", published(refusal(why, each, "t", "i", 0))[1]) for each in came],
        *[("standing", encode(each)) for each in standings],
    ]


@pytest.mark.parametrize(("name", "raw"), written())
def test_what_is_written_fits_its_schema_and_no_part_can_be_left_out(name: str, raw: bytes) -> None:
    schema, stated = record_schema(name), json.loads(raw)
    Draft7Validator.check_schema(schema)
    validator = Draft7Validator(schema)
    assert list(validator.iter_errors(stated)) == []
    assert validator.is_valid(stated | {"later": 1}), "a reader takes what it does not know"
    for field in schema["required"]:
        assert not validator.is_valid({other: value for other, value in stated.items() if other != field})
        assert not validator.is_valid(stated | {field: 1.5})
    assert set(stated) <= set(schema["properties"])


def test_the_headers_that_binary_mode_must_have_are_those_that_decode_asks_for() -> None:
    required = asyncapi()["components"]["schemas"]["binaryHeaders"]["required"]
    assert set(required) == {f"ce_{name}" for name in minimal("partner.left.v1")} - {"ce_data"}
