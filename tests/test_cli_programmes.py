"""The command line on programmes without tiers: a score of achievements, and licences."""

import csv
import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli import SECTIONS, main
from ledger.directory import Directory, Entry
from ledger.projections.licences import DEPLOYMENT_COLUMNS, USAGE_COLUMNS


def points(path: Path, *words: str, input: str | None = None) -> Result:
    return CliRunner().invoke(main, ["--ledger", str(path), *words], input=input, catch_exceptions=False)


def told(*events: tuple[str, str, str, dict[str, Any]]) -> str:
    """Events as CloudEvents: partner, day, kind, data."""
    head = {"specversion": "1.0", "source": "crm"}
    return "\n".join(
        json.dumps({**head, "id": str(n), "subject": partner, "time": f"{day}T00:00:00Z", "type": f"{kind}.v1", "data": data})
        for n, (partner, day, kind, data) in enumerate(events, start=1)
    )


def named(path: Path, *entries: Entry) -> None:
    directory = Directory(path.with_suffix(".directory.db"))
    directory.put(*entries)
    directory.close()


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A of the sheet's example; B and C share a place until C's article is withdrawn."""
    path = tmp_path_factory.mktemp("scores") / "x.db"
    events = [(partner, "2014-01-01", "partner.enrolled", {"programme": "copernica"}) for partner in "ABCD"]
    events += [(partner, "2014-01-10", "activity.confirmed", {"activity": "registered"}) for partner in "ABCD"]
    events += [(partner, "2014-02-10", "activity.confirmed", {"activity": "article"}) for partner in "ABC"]
    events += [
        ("A", "2014-01-15", "client.assigned", {"client": "CA"}),
        ("A", "2014-01-15", "client.assigned", {"client": "CB"}),
        ("A", "2014-05-20", "metric.measured", {"metric": "emails", "value": "1600"}),
        ("C", "2014-07-10", "activity.withdrawn", {"activity": "article"}),
        ("A", "2014-07-15", "client.released", {"client": "CB"}),
        ("A", "2014-07-01", "award.nominated", {"award": "partner-of-the-year", "year": 2014}),
        ("A", "2014-09-20", "award.won", {"award": "partner-of-the-year", "year": 2014}),
    ]
    assert points(path, "record", input=told(*events)).exit_code == 0
    named(path, Entry("partner", "A", "Agency X"), Entry("partner", "C", "alpha"), Entry("partner", "B", "Beta"))
    return path


@pytest.fixture(scope="module")
def licences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("licences") / "x.db"
    of = {"product": "E3", "service": "O365"}
    events = [
        ("L", "2018-01-01", "partner.enrolled", {"programme": "microsoft-licences"}),
        *[("L", "2018-01-01", "client.assigned", {"client": client}) for client in ("K1", "K2", "K3")],
        ("L", "2018-01-01", "client.subscription_started", {"client": "K1", "subscription": "S-1", "line": "E3", "mrr": "1", "currency": "EUR"}),
        ("L", "2018-03-01", "licences.counted", {**of, "client": "K1", "subscription": "S-1", "sold": 10, "assigned": 9, "active": 8, "channel": "CSP"}),
        ("L", "2018-03-01", "licences.counted", {**of, "client": "K1", "subscription": "S-2", "sold": 10, "active": 4, "state": "grace"}),
        ("L", "2018-03-01", "licences.counted", {**of, "client": "K2", "workload": "EXO", "assigned": 10, "sold": 100, "active": 20}),
        ("L", "2018-03-01", "licences.counted", {"client": "K3", "product": "E3", "assigned": 1, "sold": 3, "active": 3, "trial": True}),
    ]
    assert points(path, "record", input=told(*events)).exit_code == 0
    named(path, Entry("client", "K1", "Contoso"))
    return path


def asked(path: Path, *words: str) -> Any:
    result = points(path, *words, "-o", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


JUNE = ("--as-of", "2014-06-01")


def test_achievements_with_value_bar_and_what_each_brings(scores: Path) -> None:
    rows = {row["measure"]: row for row in asked(scores, "achievements", "A", *JUNE)}
    assert [name for name, row in rows.items() if row["reached"]] == ["registered", "emails", "article"]
    accounts = rows["accounts"]
    assert (accounts["value"], accounts["bar"], accounts["missing"], accounts["brings"], accounts["assumed"]) == ("2", "3", "1", "20/3", True)
    shown = points(scores, "achievements", "A", *JUNE).stdout
    assert shown.startswith("A (Agency X)  as of 2014-06-01 (end of day)") and "by copernica/achievements-2012" in shown
    (line,) = [line for line in shown.splitlines() if line.startswith("customer accounts ")]
    assert line.split()[2:] == ["no", "2", "3", "1", "6.67", "customer", "accounts", ">", "2", "assumed"]


def test_quick_wins_bring_what_they_say(scores: Path, tmp_path: Path) -> None:
    wins = asked(scores, "quick-wins", "A", *JUNE)
    assert [(win["measure"], win["brings"]) for win in wins] == [
        ("certified", "20"), ("profile", "10"), ("fair", "10"), ("accounts", "20/3"), ("link", "5"),
    ]  # fmt: skip
    supposed = tmp_path / "supposed.jsonl"
    supposed.write_text(told(("A", "2014-05-30", "activity.confirmed", {"activity": "fair"})).replace('"crm"', '"me"'))
    found = asked(scores, "simulate", "A", str(supposed), *JUNE)
    assert Fraction(found["after"]["values"]["score"]) - Fraction(found["before"]["values"]["score"]) == 10


def test_a_ranking_by_score_shares_places_and_shows_no_tiers(scores: Path) -> None:
    shown = points(scores, "ranking", *JUNE).stdout.splitlines()
    assert shown == ["place  partner       score", "    1  A (Agency X)  48.33", "    2  C (alpha)     20", "    2  B (Beta)      20", "    4  D             10"]
    rows = asked(scores, "ranking", *JUNE)
    assert [(row["place"], row["score"], row["by"], row["tiered"]) for row in rows] == [
        (1, "145/3", "score", False), (2, "20", "score", False), (2, "20", "score", False), (4, "10", "score", False),
    ]  # fmt: skip


def test_nominees_are_the_best_at_the_end_of_june(scores: Path) -> None:
    """30 June ends in Amsterdam; C has its article until July."""
    shown = points(scores, "nominees", "--year", "2014", "--best", "2")
    assert shown.stdout.splitlines()[0] == "nominees of 2014, as of 2014-06-30T21:59:59.999999Z"
    assert [(row["place"], row["partner"]) for row in asked(scores, "nominees", "--year", "2014", "--best", "2")] == [(1, "A"), (2, "C"), (2, "B")]
    assert [row["partner"] for row in asked(scores, "nominees", "--year", "2015")] == ["A", "B", "C", "D"]
    assert points(scores, "nominees", "--year", "2013").stdout.splitlines()[-1] == "nominees: none"


@pytest.mark.parametrize(("as_of", "year"), [("2014-06-30T21:59:59.999998Z", 2013), ("2014-06-30T21:59:59.999999Z", 2014), ("2015-01-01", 2014)])
def test_nominees_of_the_latest_june(scores: Path, as_of: str, year: int) -> None:
    assert f"nominees of {year}," in points(scores, "nominees", "--as-of", as_of).stdout


def test_awards_as_known_and_as_of(scores: Path) -> None:
    def rows(*words: str) -> list[tuple[int, str, str]]:
        return [(row["year"], row["what"], row["partner"]) for row in asked(scores, "awards", *words)]

    assert rows() == rows("--year", "2014") == [(2014, "won", "A"), (2014, "nominated", "A")]
    assert rows("--as-of", "2014-08-01") == [(2014, "nominated", "A")]
    assert rows("--known-at", "5") == rows("--year", "2013") == []
    assert points(scores, "awards", "--year", "2013").stdout == "awards: none\n"
    assert "A (Agency X)  2014-09-20" in points(scores, "awards").stdout


def test_changes_of_a_score_have_their_causes_and_add_up(scores: Path) -> None:
    for partner in "AC":
        found = asked(scores, "changes", partner, "2014")
        steps = sum(Fraction(step["delta"]) for step in found["changes"])
        assert steps == Fraction(found["after"]["score"]) - Fraction(found["before"]["score"]) != 0
    steps = [(step["at"][:10], step["delta"], step["cause"], step["about"]) for step in asked(scores, "changes", "A", "2014")["changes"]]
    assert steps == [
        ("2014-01-10", "10", "activity.confirmed", "registered"), ("2014-01-15", "40/3", "client.assigned", "accounts: CA, CB"),
        ("2014-02-10", "10", "activity.confirmed", "article"), ("2014-05-20", "15", "metric.measured", "emails"),
        ("2014-06-20", "-15", "expired", "emails"), ("2014-07-15", "-20/3", "client.released", "accounts: CB"),
    ]  # fmt: skip
    withdrawn = asked(scores, "changes", "C", "2014-07")["changes"]
    assert [(step["delta"], step["cause"], step["about"]) for step in withdrawn] == [("-10", "activity.withdrawn", "article")]


def test_changes_of_a_score_where_the_rules_change(scores: Path, tmp_path: Path) -> None:
    """A new rulebook weighs the article more: that is no event's doing."""
    path = tmp_path / "x.db"
    text = points(scores, "rules", "show", "achievements-2012").stdout
    text = text.replace("copernica/achievements-2012", "copernica/achievements-2015").replace("effective: 2012-01-01", "effective: 2015-01-01")
    (tmp_path / "book.yaml").write_text(text.replace("article: !assumed 10", "article: !assumed 12"))
    ask = "ask: {as_of: 2015-02-01, rulebook: copernica/achievements-2015}, expect: {score: 12}"
    events = "events: [{kind: activity.confirmed.v1, at: 2015-01-02, activity: article}]"
    (tmp_path / "cases.yaml").write_text(f"programme: copernica\ncases:\n  - {{case: an article, {events}, {ask}}}\n")
    published = points(path, "rules", "publish", str(tmp_path / "book.yaml"), "--author", "me", "--golden", str(tmp_path / "cases.yaml"))
    assert published.exit_code == 0, published.output
    enrolled = ("A", "2014-01-01", "partner.enrolled", {"programme": "copernica"})
    assert points(path, "record", input=told(enrolled, ("A", "2014-02-01", "activity.confirmed", {"activity": "article"}))).exit_code == 0
    steps = asked(path, "changes", "A", "2014..2015")["changes"]
    assert [(step["at"][:10], step["delta"], step["cause"]) for step in steps if step["cause"] == "rules changed"] == [("2015-01-01", "2", "rules changed")]
    assert sum(Fraction(step["delta"]) for step in steps) == 12


def test_no_lots_is_said_in_words(scores: Path, licences: Path) -> None:
    for path, partner, instead in ((scores, "A", "points achievements"), (licences, "L", "points licences show")):
        result = points(path, "breakdown", partner)
        assert (result.exit_code, result.stdout) == (0, "") and instead in result.stderr
        assert json.loads(points(path, "breakdown", partner, "-o", "json").stdout) == []


def test_a_standing_without_tiers_says_its_score(scores: Path) -> None:
    for words in (("standing", "A"), ("dashboard", "A"), ("why", "A"), ("timeline", "A"), ("history", "A")):
        shown = points(scores, *words, *JUNE).stdout
        assert "48.33" in shown and "tier " not in shown and "credited" not in shown, words


def test_licences_by_client_with_causes_and_advice(licences: Path) -> None:
    shown = points(licences, "licences", "show", "L").stdout
    assert shown.startswith("L  as of 2018-03-01, known at position"), "as of the latest count"
    assert "K1 (Contoso)" in shown and "second_subscription: a second subscription, in grace" in shown and "adoption: customers do not see" in shown
    rows = {row["key"][0]: row for row in asked(licences, "licences", "show", "L")}
    assert (rows["K1"]["usage"]["percent"], [cause["name"] for cause in rows["K1"]["causes"]]) == ("120", ["cause_second_subscription"])
    assert (rows["K2"]["deployment"], [each["name"] for each in rows["K2"]["advice"]]) == ({"part": "10", "whole": "100", "percent": "10"}, ["advice_adoption"])
    assert rows["K3"]["usage"]["percent"] is None and shown.count("no entitlements") == 2
    (whole,) = asked(licences, "licences", "show", "L", "--by", "portfolio")
    assert whole["deployment"] == {"part": "19", "whole": "110", "percent": "190/11"}
    assert "portfolio\n" in shown and "17.27" in shown.partition("portfolio")[2]
    assert asked(licences, "licences", "show", "L", "--by", "customer") == list(rows.values())
    lines = list(csv.DictReader(io.StringIO(points(licences, "licences", "show", "L", "--by", "workload", "--by", "product", "-o", "csv").stdout)))
    assert [(line["product"], line["workload"], line["deployment_percent"]) for line in lines] == [("E3", "", "90"), ("E3", "EXO", "10")]
    (own,) = asked(licences, "licences", "show", "L", "--scope", "own")
    assert (own["key"], own["usage"]["percent"]) == (["K1"], "80")


def test_licences_in_buckets(licences: Path) -> None:
    found = {report: {row[report]: row["who"] for row in asked(licences, "licences", "buckets", "L", "--of", report) if row["who"]}
             for report in ("deployment", "usage")}  # fmt: skip
    assert found["deployment"] == {"[0,20)": ["K2"], "[80,100]": ["K1"], "no entitlements": ["K3"]}
    assert found["usage"] == {"[20,40)": ["K2"], "above 100": ["K1"], "no entitlements": ["K3"]}
    assert '"[80,100]",1,K1\n' in points(licences, "licences", "buckets", "L", "-o", "csv").stdout


@pytest.mark.parametrize(("report", "columns"), [("deployment", DEPLOYMENT_COLUMNS), ("usage", USAGE_COLUMNS)])
def test_the_export_has_the_published_columns(licences: Path, report: str, columns: tuple[str, ...]) -> None:
    lines = list(csv.reader(io.StringIO(points(licences, "licences", "export", "L", "--of", report, "-o", "csv").stdout)))
    assert tuple(lines[0]) == columns and len(lines) == 4
    first = dict(zip(lines[0], lines[1], strict=True))
    assert (first["customerId"], first["customerName"], first["processedDateTime"]) == ("K1", "Contoso", "2018-03-01T00:00:00Z")
    later = points(licences, "licences", "export", "L", "--of", report, "--as-of", "2018-03-02T12:00:00Z", "-o", "csv").stdout
    assert later.count("2018-03-02T12:00:00Z") == 3
    assert points(licences, "licences", "export", "L", "--as-of", "2018-02-01", "-o", "csv").stdout.splitlines() == [",".join(DEPLOYMENT_COLUMNS)]


def test_a_ranking_of_licences_is_by_what_the_rulebook_shows_first(licences: Path) -> None:
    (row,) = asked(licences, "ranking", "--as-of", "2018-03-05")
    assert (row["by"], row["score"]) == ("deployment", "190/11")


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (("achievements", "nobody"), 3, "unknown_partner"), (("achievements", "L"), 3, "no_achievements"),
        (("quick-wins", "L", "--rulebook", "points-2025"), 3, "no_achievements"), (("licences", "show", "nobody"), 3, "unknown_partner"),
        (("licences", "export", "L", "--rulebook", "points-2025"), 3, "no_licences"), (("licences", "show", "L", "--by", "colour"), 2, "colour"),
        (("licences", "buckets", "L", "--of", "sales"), 2, "sales"), (("nominees", "--best", "0"), 2, "--best"),
        (("nominees", "--year", "0"), 2, "--year"), (("awards", "--year", "x"), 2, "--year"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_says_why(licences: Path, words: tuple[str, ...], code: int, name: str) -> None:
    result = points(licences, *words)
    assert (result.exit_code, result.stdout) == (code, "") and name in result.stderr


def test_scores_of_several_programmes_make_no_one_ranking(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    events = [(partner, "2026-01-01", "partner.enrolled", {"programme": programme}) for partner, programme in (("A", "copernica"), ("B", "hubspot"))]
    assert points(path, "record", input=told(*events)).exit_code == 0
    for words in (("ranking",), ("nominees",)):
        mixed = points(path, *words)
        assert mixed.exit_code == 3 and "programme_needed" in mixed.stderr and "copernica, hubspot" in mixed.stderr
        assert points(path, *words, "--programme", "copernica").exit_code == 0
    assert [row["partner"] for row in asked(path, "ranking", "--programme", "hubspot")] == ["B"]


def test_every_command_stands_in_the_help_once() -> None:
    listed = [name for names in SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(main.commands)
    shown = CliRunner().invoke(main, ["--help"], terminal_width=80).stdout
    assert "..." not in shown.replace("[ARGS]...", "") and all(f"\n  {name} " in shown for name in listed)
