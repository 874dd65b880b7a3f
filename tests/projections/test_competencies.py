"""Memberships as tables: what is held and was, what was bought, the days that come; each metric month by month."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import main
from ledger.instants import day_text, parse
from ledger.projections.competencies import membership, performance
from ledger.rules.library import Library
from ledger.rules.life import Life, in_force
from ledger.rules.standing import basis, standing
from tests.rules.written import history, life

RULES = """
book: t/one
programme: t
effective: 2018-01-01
language: 1
measures:
  people: {each: person, of: certificate, while: {of: link, by: person}, is: {seller: "any('S')", pre: "any('P')"}}
  revenue: {sum: value, of: metered, where: metric == 'revenue', for: 12 months, hold: true}
  adds: {sum: value, of: metered, where: metric == 'adds', for: 12 months}
  seats: {sum: value, of: metric, where: metric == 'seats'}
  small: {count: all, of: partner, where: market == 'small'}
numbers: {score: adds + 2 * seats}
levels: [Silver, Gold]
awards:
  crm:
    group: apps
    options:
      seller: {Silver: ["revenue >= (50 if small >= 1 else 100)", "team(people, 1, seller, 1, pre)"], Gold: ["revenue >= 300", "team(people, 2, seller, 2, pre)"]}
      scored: {Silver: [score >= 10], Gold: [score >= 20]}
  erp: {tiers: {Silver: [people.seller >= 1], Gold: [people.seller >= 2]}}
status: {membership: {renewal: 30 days, remind: [-15 days, 23 days]}}
benefits: {Gold: [a badge]}
"""

HELD = """
2018-01-01 person.linked person=A
2018-01-01 certification.earned person=A code=S
2018-02-10 membership.purchased level=Gold offer=crm
2018-03-01 membership.purchased level=Silver
2019-03-10 membership.renewed
2019-05-05 person.unlinked person=A
"""


def stretches(of: Life, at: str) -> list[tuple[str, str, str, str, str]]:
    found = membership(of, parse(at)).stretches
    return [(s.award, s.level, s.status, day_text(s.start), day_text(s.end) if s.end is not None else "") for s in found]


def test_what_is_held_is_active_in_grace_and_then_past() -> None:
    asked = life(RULES, HELD)
    assert stretches(asked, "2018-02-28") == []
    assert stretches(asked, "2018-03-01") == [("erp", "Silver", "Active", "2018-03-01", "2019-03-01")]
    assert stretches(asked, "2019-03-01") == [("erp", "Silver", "In Grace Period", "2018-03-01", "2019-04-01")], (
        "the renewal is not known yet"
    )
    assert stretches(asked, "2019-03-10") == [("erp", "Silver", "Active", "2018-03-01", "2020-02-29")]
    assert stretches(asked, "2020-03-01") == [("erp", "Silver", "Inactive", "2018-03-01", "2020-02-29")]


def test_a_purchase_waits_for_its_proficiency_and_shows_so() -> None:
    def effects(at: str, more: str = "") -> list[str]:
        return [f"{p.level} {p.effect}" for p in membership(life(RULES, HELD + more), parse(at)).purchases]

    assert effects("2018-02-28") == ["Gold no effect yet"]
    assert effects("2018-03-01") == ["Gold without effect", "Silver in effect"], "what is bought later takes its place"
    gold = "2018-04-01 membership.purchased level=Gold\n2018-05-01 membership.purchased level=Silver\n"
    assert effects("2018-05-31", gold)[2:] == effects("2019-04-01", gold)[2:] == ["Gold no effect yet", "Silver without effect"]
    met = "2018-06-01 metric.measured metric=seats value=10\n"
    assert effects("2018-06-01", gold + met)[2:] == ["Gold in effect", "Silver without effect"]
    assert effects("2020-04-05", gold)[2:] == ["Gold without effect", "Silver without effect"]
    assert effects("2020-04-05", "2020-03-01 membership.purchased level=Silver\n")[2:] == ["Silver no effect yet"]


def test_the_days_that_come_and_what_a_level_brings() -> None:
    view = membership(life(RULES, HELD), parse("2018-12-01"))
    assert [(day_text(day.at), day.what) for day in view.coming] == [
        ("2019-02-14", "reminder before the anniversary"), ("2019-03-01", "anniversary"), ("2019-03-24", "reminder after the anniversary"),
    ]  # fmt: skip
    assert view.benefits == {"Gold": ("a badge",)}


MEASURED = """
2017-12-31 metric.measured metric=revenue value=11
2018-01-01 metric.measured metric=revenue value=20
2018-03-15 metric.measured metric=revenue value=30
2018-03-31T23:59:59Z metric.measured metric=revenue value=40
2018-12-31T23:59:59Z metric.measured metric=revenue value=5
2018-06-01 metric.measured metric=seats value=3
2018-07-01 metric.measured metric=seats value=5
2018-07-02 metric.measured metric=adds value=-1
2018-07-02 partner.changed market=small
"""


def test_each_metric_month_by_month() -> None:
    rows = performance(life(RULES, HELD + MEASURED), parse("2019-01-01"), 13)
    revenue = {row.month: row for row in rows if row.metric == "revenue"}
    assert list(revenue) == [f"2018-{month:02}" for month in range(1, 13)] + ["2019-01"]
    assert [(int(revenue[m].contribution), int(revenue[m].twelve_months)) for m in ("2018-01", "2018-03", "2018-12", "2019-01")] == [
        (20, 31), (70, 101), (5, 95), (0, 75),
    ]  # fmt: skip
    assert [revenue[m].anniversary_year for m in ("2018-02", "2018-03", "2018-12")] == [None, 70, 75]
    assert [revenue[m].thresholds for m in ("2018-06", "2018-07")] == [{"Silver": 100, "Gold": 300}, {"Silver": 50, "Gold": 300}]


def test_people_and_scores_are_what_is_there_and_a_month_brings_the_difference() -> None:
    rows = performance(life(RULES, HELD + MEASURED), parse("2018-07-31"), 2)
    found = {(row.option, row.metric, row.month): row for row in rows if row.award == "crm"}
    score = found["scored", "score", "2018-07"]
    assert (score.contribution, score.twelve_months, score.thresholds) == (3, 9, {"Silver": 10, "Gold": 20})
    assert [name for option, name, month in found if option == "scored" and month == "2018-07"] == ["score", "adds", "seats"]
    people = found["seller", "people.seller", "2018-06"]
    assert (people.contribution, people.twelve_months, people.anniversary_year, people.thresholds) == (0, 1, 1, {"Silver": 1, "Gold": 2})


# -- on the command line, of the shipped rulebooks -----------------------------------------------------------------------

SHIPPED = """
2018-07-01 partner.enrolled programme=microsoft-competencies
2018-08-01 person.linked person=A
2018-08-01 person.linked person=B
2018-08-01 certification.earned person=A code=DC-1
2018-08-01 certification.earned person=B code=DC-2
2018-09-01 membership.purchased level=Silver
2019-09-10 membership.renewed
2019-05-01 metric.measured metric=consumption value=12000 area=cloud-platform
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("competencies") / "x.db"
    assert points(path, "record", input="\n".join(map(cloud_event, SHIPPED.strip().splitlines()))).exit_code == 0
    return path


def cloud_event(line: str) -> str:
    day, kind, *fields = line.split()
    data = {name: value for name, _, value in (field.partition("=") for field in fields)}
    return json.dumps(
        {"specversion": "1.0", "id": line, "source": "t", "type": f"{kind}.v1", "subject": "P-1", "time": f"{day}T00:00:00Z", "data": data}
    )


def points(path: Path, *words: str, input: str | None = None) -> Result:
    return CliRunner().invoke(main, ["--ledger", str(path), *words], input=input, catch_exceptions=False)


def test_the_published_columns(path: Path) -> None:
    summary = list(csv.DictReader(io.StringIO(points(path, "membership", "P-1", "--as-of", "2019-09-05", "-o", "csv").stdout)))
    assert [dict(row) for row in summary] == [
        {"CompetencyName": "datacenter", "CompetencyLevel": "Silver", "CompetencyStatus": "In Grace Period",
         "StartDate": "2018-09-01T00:00:00Z", "EndDate": "2019-10-02T00:00:00Z"},
    ]  # fmt: skip
    words = ("performance", "P-1", "--award", "cloud-platform", "--as-of", "2019-05-31", "--months", "1", "-o", "csv")
    (row, _) = csv.DictReader(io.StringIO(points(path, *words).stdout))
    assert row == {
        "CompetencyName": "cloud-platform", "AttainmentOption": "azure-consumption", "Month": "2019-05", "MetricName": "consumption",
        "MetricMonthlyContribution": "12000", "TTMAggregate": "12000", "AnniversaryYearAggregate": "12000", "GoldThreshold": "100000",
        "SilverThreshold": "15000",
    }  # fmt: skip
    told = json.loads(points(path, "membership", "P-1", "--as-of", "2019-09-05", "-o", "json").stdout)["membership"]
    assert told["coming"][0]["at"] == "2019-09-24T00:00:00Z" and told["purchases"][0]["effect"] == "in effect"
    assert "Silver brings the Action Pack" in points(path, "membership", "P-1", "--as-of", "2019-09-05").stdout


def test_reminders_stand_in_the_timeline_past_and_foreseen(path: Path) -> None:
    told = json.loads(points(path, "timeline", "P-1", "--award", "datacenter", "--as-of", "2019-08-20", "-o", "json").stdout)
    days = [(day["at"][:10], day["what"], stretch["foreseen"]) for stretch in told for day in stretch["notices"]]
    assert days == [
        ("2019-08-17", "reminder before the anniversary", False), ("2019-09-01", "anniversary", True),
        ("2019-09-24", "reminder after the anniversary", True),
    ]  # fmt: skip
    assert "reminder before the anniversary 2019-08-17" in points(path, "timeline", "P-1", "--as-of", "2019-08-20").stdout


def test_a_held_award_says_in_the_list_that_it_is_at_risk(path: Path) -> None:
    def listed(at: str) -> dict[str, bool | None]:
        awards = json.loads(points(path, "standing", "P-1", "--as-of", at, "-o", "json").stdout)["awards"]
        return {award["award"]: award["at_risk"] for award in awards if award["status"] != "none"}

    assert listed("2018-08-01") == {"datacenter": None}
    assert listed("2018-09-01") == {"datacenter": False}
    left = SHIPPED + "2019-11-01 person.unlinked person=B"
    asked = Life(history(left), in_force([book for book in Library().books() if book.programme == "microsoft-competencies"]))
    on = basis(asked, "P-1", parse("2019-12-01"), 9)
    assert {award.award: award.at_risk for award in standing(asked, on).awards if award.credited} == {"datacenter": True}


def test_what_counts_on_the_command_line(path: Path) -> None:
    told = json.loads(points(path, "counted", "P-1", "--award", "datacenter", "--as-of", "2018-08-01", "-o", "json").stdout)
    (need,) = told["requirements"]
    assert (need["option"], need["tier"], need["threshold"]) == ("datacenter-solutions", "Gold", "4")
    assert [(row["key"], row["code"]) for row in need["measures"][0]["rows"]] == [("A", "not_named"), ("B", "not_named")]
    rows = list(
        csv.DictReader(io.StringIO(points(path, "counted", "P-1", "people.datacenter_exam", "--as-of", "2018-08-01", "-o", "csv").stdout))
    )
    assert [(row["who"], row["counts"]) for row in rows] == [("A", "yes"), ("B", "yes")]
    assert "DC-1 is not named" in points(path, "counted", "P-1", "--award", "datacenter", "--as-of", "2018-08-01").stdout
    assert points(path, "counted", "P-1", "luck").exit_code == 3


def test_an_override_holds_as_long_as_the_rulebook_says(path: Path) -> None:
    grant = ("override", "grant", "P-1", "--tier", "Silver", "--award", "messaging", "--reason", "r", "--author", "a")
    for since, until in (("2018-11-30", "2019-02-28"), ("2019-11-30", "2020-02-29"), ("2020-02-29", "2020-05-29")):
        told = points(path, *grant, "--from", since)
        assert told.exit_code == 0 and f"granted until {until}" in told.stderr
    assert points(path, *grant, "--from", "2018-11-30", "--until", "2018-12-01", "--id", "short").exit_code == 0


def test_where_no_rulebook_says_how_long_an_end_is_asked_for(tmp_path: Path) -> None:
    sale = {"client": "C-1", "line": "sales", "amount": "5", "currency": "USD"}
    made = {
        "specversion": "1.0",
        "id": "1",
        "source": "t",
        "type": "points.sold.v1",
        "subject": "A",
        "time": "2024-05-01T00:00:00Z",
        "data": sale,
    }
    points(tmp_path / "y.db", "record", input=json.dumps(made))
    told = points(tmp_path / "y.db", "override", "grant", "A", "--tier", "Gold", "--reason", "r", "--author", "a")
    assert told.exit_code == 2 and "--until is missing" in told.stderr


def test_every_level_that_brings_something_is_one_of_the_rulebook() -> None:
    for book in Library().books():
        assert set(book.benefits) <= set(book.ranks)
    asked = Life(history(SHIPPED), in_force([book for book in Library().books() if book.programme == "microsoft-competencies"]))
    assert "Silver" in membership(asked, parse("2019-01-01")).benefits
