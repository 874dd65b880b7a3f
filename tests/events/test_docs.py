"""`docs/events.md` is true: its tables are those of the catalogue, its example and its snippet run, its codes are all there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ledger.events.catalogue import CATALOGUE, MEANINGS, Attributes, EventRef
from ledger.events.envelope import Event, decode
from ledger.events.fields import fields
from ledger.events.refusals import BYTES_MAX, CODES
from ledger.log import GENESIS, seal
from tests.events.document import DOCUMENT, marked, tables

TEXT = DOCUMENT.read_text()
LEDGER = Path(__file__).parent.parent.parent / "ledger"


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found, language
    return found[1]


@pytest.mark.parametrize("name", tables())
def test_tables_are_those_of_the_catalogue(name: str) -> None:
    assert marked(name, tables()[name]) in TEXT, "run `python -m tests.events.document`"


def test_every_kind_and_every_name_says_what_it_means() -> None:
    used = {name for model in (Attributes, EventRef, *CATALOGUE.values()) for name in fields(model)}
    assert set(MEANINGS) == used
    for kind, model in CATALOGUE.items():
        assert model.__doc__ and model.__doc__.endswith("."), kind
        assert f"### `{kind}`" in TEXT


def test_the_example_becomes_the_bytes_that_are_shown() -> None:
    event = decode(block("json"))
    assert isinstance(event, Event), event
    assert event.body.decode() == block("text").strip()


def test_the_snippet_seals_as_the_log_does() -> None:
    scope: dict[str, Any] = {}
    exec(block("python"), scope)
    for case in ((GENESIS, "partner/P-17", 1, 1_709_281_800_000_000, b"{}"), (b"\x07" * 32, "person/é", 300, -1, b"x" * 1000)):
        assert scope["seal"](*case) == seal(*case)


def test_every_code_is_documented() -> None:
    """Those of the door are read from its sources."""
    door = {code for name in ("guards.py", "intake.py") for code in re.findall(r'Refusal\(\s*"(\w+)"', (LEDGER / name).read_text())}
    documented = set(re.findall(r"^\| `(\w+)` \| [A-Z].*\. \|$", TEXT, re.MULTILINE))
    assert door and (door | set(CODES)) <= documented, (door | set(CODES)) - documented
    assert documented <= door | set(CODES) | set(MEANINGS)


def test_the_limit_is_the_one_in_the_program() -> None:
    assert f"at most {BYTES_MAX:,} bytes" in TEXT
