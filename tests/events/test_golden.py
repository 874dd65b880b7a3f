"""The bytes of every kind ever recorded are read as the same bytes for ever."""

from __future__ import annotations

from hashlib import sha256

import pytest

from ledger.events.catalogue import CATALOGUE
from ledger.events.envelope import Event, decode, judge, quick, read
from tests.events.golden import GOLDEN, is_full, lines

ADD = "run `python -m tests.events.golden`, which adds lines and changes none"


@pytest.mark.parametrize("kind", sorted(CATALOGUE))
def test_golden_bytes(kind: str) -> None:
    assert lines(kind), f"{kind} has no golden file: {ADD}"
    for line in lines(kind):
        assert sha256(line.body).hexdigest() == line.sha256, "a golden line was altered"
        for way in (decode, judge, quick, read):
            event = way(line.body)
            assert isinstance(event, Event), (way.__name__, event)
            assert event.body == line.body, f"{way.__name__}: a new field must be optional and without a default that is written"
            assert event.kind == kind


@pytest.mark.parametrize("kind", sorted(CATALOGUE))
def test_every_field_is_in_a_golden_line(kind: str) -> None:
    assert any(map(is_full, lines(kind))), f"{kind} has a field that is in no full line: {ADD}"


def test_no_golden_file_is_without_its_kind() -> None:
    """A kind is never taken out of the catalogue: somebody's ledger has it."""
    assert {path.stem for path in GOLDEN.iterdir()} == set(CATALOGUE)
