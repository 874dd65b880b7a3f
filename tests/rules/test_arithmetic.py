"""What is written as Python over integers says what the expressions say, of every requirement that ships and of any other."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import RulebookError
from ledger.rules.arithmetic import Writer
from ledger.rules.book import Book, load
from ledger.rules.facts import Facts
from ledger.rules.library import Library
from ledger.rules.presence import Reading
from ledger.rules.sweep import Performance, StateScope
from tests.rules.written import book

LIBRARY = Library(())
SHIPPED = [force.book for programme in LIBRARY.programmes() for force in LIBRARY.force(programme)]
MEASURES = "abc"
WRITTEN = """
book: any/tried
programme: any
effective: 2020-01-01
language: 1
measures:
  a: {{sum: amount, of: sold}}
  b: {{sum: amount, of: sold}}
  c: {{count: all, of: certificate}}
numbers:
  part: 0.5 if c >= 2 else 1 if c >= 1 else 2.25
  many: c > 3
  rest: max(a - b, 0) / 4
  share: a / b if b > 0 else 0.1
tiers:
  Tried: ["{test}"]
status: {{continuous: {{}}}}
"""

constants = st.sampled_from(["0", "1", "3", "0.5", "2.75", "100"])
numbers = st.recursive(
    constants | st.sampled_from([*MEASURES, "part", "rest", "share", "many"]),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*"), inner),
        st.builds("({} / {})".format, inner, st.sampled_from(["4", "part", "0.3", "(b + 1)"])),
        st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner),
        st.builds("({} if {} {} {} else {})".format, inner, inner, st.sampled_from(["<", ">=", "=="]), inner, inner),
        st.builds("(-{})".format, inner),
    ),
    max_leaves=6,
)
comparisons = st.builds("{} {} {}".format, numbers, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), numbers)
tests = st.recursive(
    comparisons | st.just("many"),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner), st.builds("(not {})".format, inner)
    ),
    max_leaves=3,
)
amounts = st.integers(-500, 50_000)


def judged(asked: Book, place: int, need: int, values: tuple[int, ...], unit: int) -> tuple[object, object]:
    """What the Python and what the expression says; the code of the error where there is one."""
    requirement = asked.tiers[place].needs[need]
    writer = Writer.of(asked)
    written = writer.requirement(requirement.test)
    assert written is not None, requirement.test.text
    scope = StateScope(Performance(Reading(asked, Facts()), 0, 1, unit), values, 0)

    def quick() -> bool:
        return bool(eval(written, writer.env, {"v": values, "u": unit}))

    def slow() -> bool:
        return bool(requirement.test.evaluate(scope))

    def said(ask: object) -> object:
        try:
            return ask()  # type: ignore[operator]
        except RulebookError as error:
            return error.code

    return said(quick), said(slow)


@given(tests, st.lists(amounts, min_size=3, max_size=3), st.sampled_from([2, 12, 20_000]))
def test_any_requirement_is_judged_as_its_expression_says(test: str, values: list[int], unit: int) -> None:
    asked = loaded(test)
    for need in range(len(asked.tiers[0].needs)):
        quick, slow = judged(asked, 0, need, tuple(values), unit)
        assert quick == slow, asked.tiers[0].needs[need].test.text


def loaded(test: str) -> Book:
    return load(WRITTEN.format(test=test))


def test_the_rulebook_of_these_tests_is_one() -> None:
    assert book(WRITTEN.format(test="a >= 1 and many and part * b + rest * share >= 3")).tiers


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda each: each.name)
@given(data=st.data())
def test_requirements_that_ship_are_written_and_judged_as_their_expressions_say(shipped: Book, data: st.DataObject) -> None:
    books = [shipped.of(award) for award in shipped.awards] or [shipped]
    asked = data.draw(st.sampled_from(books))
    unit = data.draw(st.sampled_from([2, 60]))
    one = st.integers(0, 30) | st.integers(0, 400_000)
    values = tuple(data.draw(one) * unit // data.draw(st.sampled_from([1, 2])) for _ in asked.measures)
    for place, tier in enumerate(asked.tiers):
        for need in range(len(tier.needs)):
            quick, slow = judged(asked, place, need, values, unit)
            assert quick == slow, tier.needs[need].test.text


def test_a_ratio_is_exact() -> None:
    asked = loaded("share >= 1 / 3")
    assert judged(asked, 0, 0, (1 * 2, 3 * 2, 0), 2) == (True, True)
    assert judged(asked, 0, 0, (999_999, 3_000_000, 0), 2) == (False, False)
    assert Fraction(999_999, 3_000_000) < Fraction(1, 3)


def test_a_division_by_zero_is_the_same_error() -> None:
    assert judged(loaded("a / b >= 1"), 0, 0, (4, 0, 0), 2) == ("division_by_zero", "division_by_zero")
