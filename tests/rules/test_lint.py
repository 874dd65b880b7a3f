"""The linter: each mistake is told with its line, and garbage never crashes it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.rules.library import shipped
from ledger.rules.lint import lint

BOOK = """book: x/y
programme: x
effective: 2024-01-01
language: 1
tables:
  rate: {rows: {2024-01-01: {a: 1}, 2025-01-01: {a: 2}}}
measures:
  sold: {sum: amount, of: sold, for: 12 months, times: "rate[deal_type]", unit: points}
  people: {distinct: person, of: certificate, unit: people}
numbers:
  total: sold + 1
tiers:
  Low: [total >= 10, people >= 1]
  High: [total >= 20, people >= 2]
status: {continuous: {}}
"""

MISTAKES = [
    ("rate[deal_type]", "rates[deal_type]", 8, "unknown_table"),
    ("rate[deal_type]", "rate[deal_type, line]", 8, "wrong_keys"),
    ("rate[deal_type]", "rate[colour]", 8, "unknown_name"),
    ("sum: amount", "sum: amounts", 8, "unknown_name"),
    ("of: sold", "of: bought", 8, "unknown_fact"),
    ("2025-01-01: {a: 2}", "2023-01-01: {a: 2}", 6, "rows_overlap"),
    ("12 months", "12 moons", 8, "bad_span"),
    ("total: sold + 1", "total: sold + people", 11, "units_differ"),
    ("total: sold + 1", "total: total + sold", 11, "cycle"),
    ("total >= 10", "sum >= 10", 13, "unknown_name"),
    ("people >= 2", "people >= 0", 14, "falling_threshold"),
    ("people >= 1]", "people >= sold]", 13, "units_differ"),
    (", people >= 1]", "]", 14, None),
    ("language: 1", "language: 9", 4, "language_too_new"),
    ("effective: 2024-01-01", "effective: soon", 3, "bad_date"),
    ("total: sold + 1", "total: __import__('os')", 11, "bad_expression"),
    ("total: sold + 1", "total: sold\n  spare: sold", 12, "unused_number"),
    ("  people: {", "  extra: {count: all, of: sold}\n  people: {", 9, "unused_measure"),
    ("{continuous: {}}", "{monthly: {}}", 15, "unknown_key"),
    ("unit: people}", "unit: people, colour: red}", 9, "unknown_key"),
    ("  Low:", "  Low: [total >= 1]\n  Low:", 14, "key_twice"),
]


@pytest.mark.parametrize(("old", "new", "line", "code"), MISTAKES)
def test_a_mistake_is_told_with_its_line(old: str, new: str, line: int, code: str | None) -> None:
    assert lint(BOOK) == []
    assert old in BOOK
    found = [(problem.line, problem.code) for problem in lint(BOOK.replace(old, new))]
    assert (line, code) in found if code else found == []


def test_as_printed_silences_falling_thresholds() -> None:
    falling = BOOK.replace("High: [total >= 20, people >= 2]", "High: {needs: [total >= 20, people >= 0], as_printed: true}")
    assert lint(falling) == []


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_garbage_gives_problems_never_a_crash(data: st.DataObject) -> None:
    text = data.draw(st.one_of(st.just(BOOK), st.sampled_from([book.text for book in shipped()])))
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, min(len(text), begin + 12)))
        text = text[:begin] + data.draw(st.text(max_size=8)) + text[end:]
    for problem in lint(text):
        assert problem.line >= 0 and problem.code and problem.message
