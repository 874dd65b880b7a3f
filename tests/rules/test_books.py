"""The shipped rulebooks: they lint clean, pass their golden cases, and never change."""

import json
from pathlib import Path

import pytest

from ledger.rules import golden
from ledger.rules.library import Library, shipped
from ledger.rules.lint import lint

BOOKS = Path(golden.__file__).parent / "books"
GOLDEN = sorted(BOOKS.glob("*/golden/*.yaml"))
PINNED = Path(__file__).parent.parent / "golden" / "rulebook-hashes.json"


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: f"{file.parent.parent.name}/{file.name}")
def test_golden_cases(file: Path) -> None:
    outcome = golden.run(file.read_text(), str(file), Library())
    assert outcome.expectations > 0
    assert not outcome.mismatches, "\n".join(map(str, outcome.mismatches))


@pytest.mark.parametrize("file", [file for file in sorted(BOOKS.glob("*/*.yaml")) if file.name != "labels.yaml"], ids=lambda file: file.stem)
def test_lint_is_clean(file: Path) -> None:
    assert lint(file.read_text(), file.name) == []


def test_shipped_books_never_change() -> None:
    assert {book.name: book.hash for book in shipped()} == json.loads(PINNED.read_text())


def test_every_worked_example_is_a_case() -> None:
    text = (BOOKS / "hubspot/golden/worked-examples.yaml").read_text()
    for example in ("H1", "H2", "H2b", "H4", "H6", "H7", "H8", "H10", "H11"):
        assert f"case: {example}\n" in text or f", {example}\n" in text or f"case: {example}," in text, example


@pytest.mark.parametrize("example", ("REN1", "REN2", "PCI1", "M-OVR", "M-MOVE"))
def test_every_worked_example_of_the_competencies_is_a_case(example: str) -> None:
    text = (BOOKS / "microsoft-competencies/golden/worked-examples.yaml").read_text()
    assert f"case: {example}\n" in text or f"case: {example}," in text


CAPABILITY = ("DA1", "DA3", "SEC1", "SEC26E1", "DA26S1", "IN26S1", "MW1", "ANN1", "WIN3", "WIN4")


@pytest.mark.parametrize("example", CAPABILITY)
def test_every_worked_example_of_the_capability_score_is_a_case(example: str) -> None:
    text = (BOOKS / "microsoft-capability/golden/worked-examples.yaml").read_text()
    assert f"case: {example}\n" in text or f"case: {example}," in text


def test_a_failing_case_is_told_with_its_line() -> None:
    text = "programme: hubspot\ncases:\n  - case: X\n    events: []\n    ask: {as_of: 2024-01-01}\n    expect:\n      total: 1\n"
    outcome = golden.run(text, "x.yaml", Library())
    assert [str(m) for m in outcome.mismatches] == ["x.yaml:7: case X: total is 0, expected 1"]
