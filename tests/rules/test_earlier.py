"""What was there earlier: a measure as it was on a day, and a number that was once reached."""

from __future__ import annotations

import pytest

from ledger.instants import parse
from ledger.rules.lint import lint
from ledger.rules.standing import basis, why
from tests.rules.written import life

RULES = """
book: t/one
programme: t
effective: 2018-01-01
language: 1
measures:
  people: {each: person, of: certificate, while: {of: link, by: person}, is: {seller: "any('S')"}}
  base: {each: person, of: certificate, while: {of: link, by: person}, as_at: [2018-06-01, renewed], is: {seller: "any('S')"}}
  revenue: {sum: value, of: metered, where: metric == 'revenue', for: 2 months}
  revenue_then: {sum: value, of: metered, where: metric == 'revenue', for: 2 months, as_at: [2018-06-01]}
  two: {reached: people.seller >= 2, for: 3 months}
  rich: {reached: revenue > 100, for: 1 month}
tiers: {Silver: [people.seller > base.seller, two >= 1, revenue >= revenue_then], Gold: [rich >= 1]}
status: {continuous: {}}
"""

SELLERS = """
2018-01-01 person.linked person=A
2018-01-01 person.linked person=B
2018-01-01 person.linked person=C
2018-02-01 certification.earned person=A code=S
2018-06-01 certification.earned person=B code=S
2018-06-02 certification.earned person=C code=S
"""


def found(written: str, name: str, *days: str) -> list[int]:
    asked = life(RULES, written)
    return [int(asked.values(parse(day))[name]) for day in days]


def test_a_measure_is_what_it_was_on_the_day_from_that_day_on() -> None:
    assert found(SELLERS, "base.seller", "2018-05-31T23:59:59Z", "2018-06-01", "2018-06-02", "2030-01-01") == [0, 2, 2, 2]


def test_who_was_there_on_the_day_counts_though_gone_since() -> None:
    gone = SELLERS + "2018-06-01T00:00:01Z person.unlinked person=A\n2018-06-01T00:00:01Z person.unlinked person=B\n"
    assert found(gone, "base.seller", "2018-07-01") == [2]
    assert found(gone, "people.seller", "2018-07-01") == [1]
    assert found(SELLERS + "2018-06-01 person.unlinked person=A", "base.seller", "2018-07-01") == [1]


def test_each_fact_of_the_kind_sets_it_anew() -> None:
    renewed = SELLERS + "2018-09-01 membership.renewed\n2019-09-01 person.unlinked person=A\n2019-09-01 membership.renewed\n"
    assert found(renewed, "base.seller", "2018-08-31", "2018-09-01", "2019-08-31", "2019-09-01") == [2, 3, 3, 2]


def test_a_sum_as_it_was_does_not_run_out() -> None:
    sums = "2018-05-01 metric.measured metric=revenue value=60\n2018-06-01 metric.measured metric=revenue value=7\n"
    assert found(sums, "revenue_then", "2018-05-31", "2018-06-01", "2019-01-01") == [0, 67, 67]
    assert found(sums, "revenue", "2018-06-01", "2019-01-01") == [67, 0]


def test_what_is_reached_counts_for_its_time_and_again_when_it_is_reached_again() -> None:
    written = (
        SELLERS
        + "2018-06-10 person.unlinked person=A\n2018-06-10 person.unlinked person=B\n2018-08-15 person.linked person=A\n2018-08-20 person.linked person=B\n"
    )
    days = ("2018-05-31", "2018-06-01", "2018-08-31T23:59:59Z", "2018-11-14", "2018-11-15", "2019-01-01")
    assert found(written, "two", *days) == [0, 1, 1, 1, 0, 0], "reached on 1 June and again on 15 August, not on 20 August"
    assert found(SELLERS, "two", "2018-09-01") == [0], "it is reached once, however long it is held"


def test_a_sum_reaches_too_and_what_comes_and_goes_at_one_instant_is_seen_together() -> None:
    sums = "2018-03-01 metric.measured metric=revenue value=60\n2018-05-01 metric.measured metric=revenue value=60\n"
    assert found(sums, "rich", "2018-05-01") == [0]
    assert found(sums.replace("2018-05-01", "2018-04-30T23:59:59Z"), "rich", "2018-05-01", "2018-05-30T23:59:58Z", "2018-05-31") == [1, 1, 0]


def test_the_reason_names_who_was_there_and_what_reached_it() -> None:
    asked = life(RULES, SELLERS)
    told = why(asked, basis(asked, "P-1", parse("2018-07-01"), 6)).reasons
    assert told["base.seller"].positions() == [4, 5] and told["people.seller"].positions() == [4, 5, 6]
    (reached,) = [node for node in told["two"].walk() if node.position is not None]
    assert (told["two"].value, reached.position, reached.effective_at, reached.until) == (1, 5, parse("2018-06-01"), parse("2018-09-01"))


def test_in_a_forecast_a_day_that_comes_is_taken_as_it_is_now() -> None:
    asked = life(RULES, SELLERS).foresee(parse("2018-02-15"))
    assert [int(asked.values(parse(day))["base.seller"]) for day in ("2018-05-31", "2018-06-01")] == [0, 1]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("as_at: [2018-06-01, renewed]", "as_at: [2018-06-31, renewed]", "bad_date"),
        ("as_at: [2018-06-01, renewed]", "as_at: []", "bad_date"),
        ("as_at: [2018-06-01, renewed]", "as_at: [2018-06-01, renewals]", "unknown_fact"),
        ("reached: people.seller >= 2", "reached: people.buyer >= 2", "bad_aggregate"),
        ("reached: people.seller >= 2", "reached: people.seller >= base.seller", "bad_aggregate"),
        ("reached: people.seller >= 2", "reached: people.seller <= 2", "bad_aggregate"),
        ("reached: people.seller >= 2", "reached: rich >= 1", "bad_aggregate"),
        ("reached: people.seller >= 2, for: 3 months", "reached: people.seller >= 2", "missing_key"),
        ("reached: people.seller >= 2, for: 3 months", "reached: people.seller >= 2, for: 0 months", "bad_span"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(old: str, new: str, code: str) -> None:
    problems = lint(RULES.replace(old, new))
    line = next(i for i, text in enumerate(RULES.splitlines(), start=1) if old in text)
    assert (code, line) in [(problem.code, problem.line) for problem in problems]
