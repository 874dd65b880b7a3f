"""Which programme speaks of a partner that is enrolled in none."""

from __future__ import annotations

import pytest

from ledger.rules.book import Book, load
from ledger.rules.library import Library


def book(programme: str, *kinds: str) -> Book:
    measures = "\n".join(f"  {kind}: {{count: all, of: {kind}}}" for kind in kinds)
    head = f"book: {programme}/one\nprogramme: {programme}\neffective: 2026-01-01\nlanguage: 1\nmeasures:\n"
    return load(f"{head}{measures}\nshow: [{', '.join(kinds)}]\nstatus: {{continuous: {{}}}}\n")


@pytest.mark.parametrize(
    ("kinds", "found"),
    [
        (("sold",), ["sales"]),
        (("sold", "certificate", "client"), ["sales"]),
        (("certificate",), []),  # both read it
        (("sold", "licences"), []),  # each is read by another
        (("client",), []),  # nobody reads it
    ],
)
def test_the_only_programme_that_reads_what_is_said(kinds: tuple[str, ...], found: list[str]) -> None:
    library = Library(books=[book("sales", "sold", "certificate"), book("seats", "licences", "certificate")])
    assert library.only_reader(kinds) == found


def test_a_gate_reads_too() -> None:
    gated = load(book("seats", "licences").text.replace("of: licences}", "of: licences, while: {of: link, by: client}}"))
    assert Library(books=[gated, book("sales", "sold")]).only_reader(["link"]) == ["seats"]
