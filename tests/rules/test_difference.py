"""The difference of two rulebooks, in words."""

from __future__ import annotations

import pytest

from ledger.rules.book import load
from ledger.rules.difference import difference
from ledger.rules.library import Library

OLD = """
book: acme/one
programme: acme
effective: 2026-01-01
language: 1
tables:
  rate: {rows: {2026-01-01: {EUR: 1, USD: 2}}}
measures:
  sold: {sum: amount, of: sold, for: 12 months, times: "rate[currency]", unit: points}
  people: {each: person, of: certificate, while: {of: link, by: person}, is: {lead: "any('L')"}}
tiers:
  Silver: [sold >= 10]
  Gold: [sold >= 100, people.lead >= 1]
status: {review: {checkpoints: day 15, reviews: [01-15], window: 6 checkpoints}}
"""
CHANGES = [
    ("effective: 2026-01-01", "effective: 2027-01-01", "rulebook: effective 2026-01-01 becomes 2027-01-01"),
    ("USD: 2", "USD: 3", "table rate: from 2026-01-01 USD 2 becomes 3"),
    ("for: 12 months", "for: 24 months", "measure sold: for 12 months becomes 24 months"),
    ("while: {of: link, by: person}, ", "", "measure people.lead: while link by person is dropped"),
    ("any('L')", "n('L', 'M') >= 2", "measure people.lead: holds any('L') becomes n('L', 'M') >= 2"),
    ("Silver: [sold >= 10]", "Silver: [sold >= 20]", "tier Silver: sold >= 10 becomes >= 20"),
    ("sold >= 100, people.lead >= 1", "sold >= 100", "tier Gold: people.lead >= 1 is dropped"),
    ("  Silver: [sold >= 10]\n", "", "tier Silver: is dropped"),
    ("reviews: [01-15]", "reviews: [01-15, 07-15]", "status: reviews 01-15 becomes 01-15, 07-15"),
]


@pytest.mark.parametrize(("old", "new", "told"), CHANGES)
def test_each_change_is_told_in_words(old: str, new: str, told: str) -> None:
    assert OLD.count(old) == 1
    assert told in list(map(str, difference(load(OLD), load(OLD.replace(old, new)))))


def test_nothing_differs_from_itself() -> None:
    for book in Library().books():
        assert difference(book, load(book.text)) == []


def test_what_is_moved_reached_or_as_it_was_is_told() -> None:
    moved = "{membership: {moved: [{from: 2026-01-01, until: 2026-07-01, by: 12 months, except: {Work: {sold: 5}}}]}}\noverrides: {for: 3 months}"
    new = OLD[: OLD.index("status: ")].replace("is: {lead", "as_at: [2026-02-01, renewed], is: {lead") + f"status: {moved}\n"
    told = list(map(str, difference(load(OLD), load(new.replace("tiers:", "  ten: {reached: sold >= 10, for: 1 month}\ntiers:")))))
    assert "measure people.lead: as at 2026-02-01, renewed is added" in told
    assert "measure ten: is new: is the reaching of sold >= 10; of sold; counts for 1 month; for 12 months" in told
    assert "overrides: for 3 months is added" in told
    assert "status: anniversaries from 2026-01-01 moved by 12 months until 2026-07-01; Work tested on the day, 5 more sold is added" in told


def test_options_of_awards_are_told_by_name() -> None:
    award = "levels: [Silver]\nawards: {Work: {options: {small: {Silver: [sold >= %s]}}}}\nstatus"
    tiers = OLD[OLD.index("tiers:") : OLD.index("status")]
    one, two = (load(OLD.replace(tiers, "").replace("status", award % n)) for n in (1, 2))
    assert list(map(str, difference(one, two))) == ["Work small tier Silver: sold >= 1 becomes >= 2"]
