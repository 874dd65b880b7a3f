"""The command line as its users type it, on the demo's ledger."""

import csv
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from cli import main
from ledger import terminal as out
from ledger.events.envelope import event
from ledger.instants import FOREVER
from ledger.rules.reasons import Reason


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "demo.db"
    result = CliRunner().invoke(main, ["demo", "--at", str(path)])
    assert result.exit_code == 0, result.output
    return path


def points(path: Path, *words: str, input: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["--ledger", str(path), *words], input=input, catch_exceptions=False)


AT = ("--as-of", "2026-06-29")


def test_the_demo_is_the_same_every_time(ledger: Path, tmp_path: Path) -> None:
    again = tmp_path / "demo.db"
    first = CliRunner().invoke(main, ["demo", "--at", str(again)]).stdout
    second = CliRunner().invoke(main, ["demo", "--at", str(again)]).stdout
    assert first == second
    assert points(ledger, "export", "--sealed").stdout == points(again, "export", "--sealed").stdout


READING = [
    ("standing", "P-05"),
    ("standing", "P-05", "--goal", "Elite"),
    ("why", "P-05"),
    ("why", "P-05", "--number", "total"),
    ("timeline", "P-05"),
    ("history", "P-05"),
    ("breakdown", "P-05"),
    ("breakdown", "P-05", "--lots", "--deal-type", "sourced", "--market", "other"),
    ("breakdown", "P-05", "--months"),
    ("changes", "P-05", "2026-Q1"),
    ("dashboard", "P-05"),
    ("clients", "P-05"),
    ("client", "P-05", "P-05-C2"),
    ("team", "P-05"),
    ("ranking",),
    ("at-risk",),
    ("override", "list", "P-05"),
]


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv"])
@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_every_question_in_every_form(ledger: Path, words: tuple[str, ...], form: str) -> None:
    result = points(ledger, *words, *AT, "-o", form)
    assert result.exit_code == 0, result.output
    if words[:2] != ("override", "list"):
        assert result.stdout.strip()
    if form == "json":
        json.loads(result.stdout)
    if form == "jsonl":
        [json.loads(line) for line in result.stdout.splitlines()]
    if form == "csv" and words[0] in ("ranking", "history", "timeline", "changes"):
        rows = list(csv.reader(io.StringIO(result.stdout)))
        assert len({len(row) for row in rows}) == 1


def test_an_answer_can_be_asked_again(ledger: Path) -> None:
    first = json.loads(points(ledger, "standing", "P-05", *AT, "-o", "json").stdout)
    on = first["basis"]
    again = points(ledger, "standing", "P-05", "--as-of", on["as_of"], "--known-at", str(on["known_at"]), "-o", "json")
    assert json.loads(again.stdout) == first
    assert len(on["book_hash"]) == 64


def test_a_late_fact_is_known_from_its_position_on(ledger: Path) -> None:
    late = next(json.loads(line) for line in points(ledger, "export", "--sealed").stdout.splitlines() if '"sale-late"' in line)
    totals = []
    for position in (late["position"] - 1, late["position"]):
        answer = points(ledger, "standing", "P-05", "--as-of", "2026-03-30", "--known-at", str(position), "-o", "json")
        totals.append(json.loads(answer.stdout)["values"]["total"])
    assert Fraction(totals[1]) - Fraction(totals[0]) == 270


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_every_key_is_a_name_and_every_time_is_whole(ledger: Path, words: tuple[str, ...]) -> None:
    def check(told: object) -> None:
        if isinstance(told, dict):
            assert all(key and (" " not in key or ": " in key) for key in told), told.keys()
        if isinstance(told, dict | list):
            for part in told.values() if isinstance(told, dict) else told:
                check(part)
        else:
            assert "end of day" not in str(told) and not (isinstance(told, int) and told > 10**12), told

    check(json.loads(points(ledger, *words, *AT, "-o", "json").stdout))
    heading, *lines = csv.reader(io.StringIO(points(ledger, *words, *AT, "-o", "csv").stdout))
    assert all(name and " " not in name for name in heading)
    assert not any("end of day" in cell for line in lines for cell in line)


def test_tables_have_no_blanks_at_the_end_and_numbers_stand_by_their_points(ledger: Path) -> None:
    lines = points(ledger, "standing", "P-28", *AT).stdout.splitlines()
    assert all(line == line.rstrip() for line in lines)
    begin = lines.index("measure            value  unit")
    assert [line[16:24].rstrip() for line in lines[begin + 1 : begin + 5]] == ["   86.61", "   74.99", "   50.39", "    1"]


def test_a_failing_requirement_is_told_in_its_tense(ledger: Path) -> None:
    ahead = points(ledger, "standing", "P-28", *AT).stdout
    assert "sourced fails on 2026-07-14: 58.91 of 63, 4.09 missing" in ahead
    assert "sourced fails on 2026-07-14: 0 of 63 by 2027-01-15, 63 missing" in ahead
    assert "16.07 of P-28-C2 content (position 5497) ends 2026-07-14" in ahead
    behind = points(ledger, "standing", "P-05", *AT).stdout
    assert "total fails since 2026-03-11" in behind and "ended 2026-03-11" in behind and "fails first" not in behind


def test_what_ends_soon_comes_with_its_dates(ledger: Path) -> None:
    words = ("breakdown", "P-28", *AT, "--deal-type", "sourced", "-o", "csv", "--ending")
    rows = list(csv.DictReader(io.StringIO(points(ledger, *words, "2027-01-15").stdout)))
    assert [row["until"][:10] for row in rows] == ["2026-07-14", "2026-08-25", "2026-11-19", "2027-01-05", "2027-01-05"]
    assert len(list(csv.DictReader(io.StringIO(points(ledger, *words, "60d").stdout)))) == 2


def test_at_risk_within_a_time_or_by_a_date(ledger: Path) -> None:
    asked = [
        json.loads(points(ledger, "at-risk", *AT, "--within", within, "-o", "json").stdout) for within in ("30d", "+30d", "2026-07-29")
    ]
    assert asked[0] == asked[1] == asked[2] and asked[0]
    assert points(ledger, "at-risk", "--within", "soon").exit_code == 2


def test_who_is_at_risk_is_the_same_by_several_processes(ledger: Path) -> None:
    head = str(json.loads(points(ledger, "standing", "P-05", *AT, "-o", "json").stdout)["basis"]["known_at"])
    alone, together = (points(ledger, "at-risk", *AT, "--known-at", head, "--processes", n, "-o", "json") for n in ("1", "2"))
    assert alone.exit_code == 0
    assert len(json.loads(alone.stdout)) > 0
    assert together.stdout == alone.stdout
    unknown = points(ledger, "at-risk", *AT, "--processes", "2", "--rulebook", "nobody-2020")
    assert (unknown.exit_code, unknown.stderr) == (3, points(ledger, "at-risk", *AT, "--rulebook", "nobody-2020").stderr)


def test_who_is_at_risk_now_is_kept_until_something_is_recorded(tmp_path: Path) -> None:
    path, sale = tmp_path / "x.db", {"client": "C", "line": "crm", "currency": "USD"}
    written = [
        event("partner.enrolled.v1", effective_at="2023-01-01", id=f"e{p}", source="t", subject=p, programme="hubspot") for p in ("A", "B")
    ]
    written += [
        event("points.sold.v1", effective_at="2024-01-02", id=f"s{p}", source="t", subject=p, amount="9000", **sale) for p in ("A", "B")
    ]
    assert points(path, "record", input=b"\n".join(each.body for each in written)).exit_code == 0

    def judged() -> dict[str, tuple[int, int]]:
        with closing(sqlite3.connect(path.with_suffix(".read.db"))) as connection:
            return {row[0]: row[1:] for row in connection.execute("SELECT partner, known, at FROM judged")}

    def ask(at: str) -> object:
        return json.loads(points(path, "at-risk", "--as-of", at, "--within", "2y", "-o", "json").stdout)

    first = ask("2024-06-01T10:00:00Z")
    kept = judged()
    assert len(kept) == 2
    assert ask("2024-06-01T17:00:00Z") == first and judged() == kept, "of the same day it is read"
    more = event("points.sold.v1", effective_at="2024-05-31", id="more", source="t", subject="B", amount="90000", **sale)
    assert points(path, "record", input=more.body).exit_code == 0
    second = ask("2024-06-01T17:00:00Z")
    assert judged()["A"] == kept["A"] and judged()["B"] != kept["B"]
    engine = points(path, "at-risk", "--as-of", "2024-06-01T17:00:00Z", "--within", "2y", "--known-at", "5", "-o", "json")
    assert second == json.loads(engine.stdout)
    ask("2024-06-02")
    assert judged()["A"] != kept["A"], "of the next day it is asked anew"


def test_losses_come_by_date_with_their_cause(ledger: Path) -> None:
    told = json.loads(points(ledger, "losses", *AT, "-o", "json").stdout)
    at_risk = json.loads(points(ledger, "at-risk", *AT, "-o", "json").stdout)
    days = [each["tier_lost_at"]["at"] for each in told]
    assert days == sorted(days) and told
    assert {each["partner"] for each in told} == {
        each["partner"] for each in at_risk if each["tier_lost_at"] and each["tier_lost_at"]["at"] < "2026-12-26"
    }
    gold = json.loads(points(ledger, "losses", *AT, "--tier", "Gold", "-o", "json").stdout)
    assert gold == [each for each in told if each["credited"] == "Gold"]


@pytest.mark.parametrize("moment", [AT, ("--as-of", "2025-03-01", "--known-at", "5000"), ("--as-of", "2020-01-01")])
def test_a_brief_standing_is_that_of_the_engine(ledger: Path, moment: tuple[str, ...]) -> None:
    (brief,) = json.loads(points(ledger, "standing", "P-05", "--brief", *moment, "-o", "json").stdout)
    whole = json.loads(points(ledger, "standing", "P-05", *moment, "-o", "json").stdout)
    assert (brief["credited"], brief["performance"]) == (whole["credited"], whole["performance"])
    assert brief["points"].items() <= whole["values"].items()
    assert brief["score"] == (whole["values"]["total"] if brief["rulebook"] else None)


def test_a_brief_standing_does_not_look_ahead(ledger: Path) -> None:
    assert points(ledger, "standing", "P-05", "--brief", "--as-of", "9998-01-01").exit_code == 4
    assert points(ledger, "standing", "nobody", "--brief", *AT).exit_code == 3


def test_one_number_explained_is_one_number(ledger: Path) -> None:
    told = json.loads(points(ledger, "why", "P-28", *AT, "--number", "total", "-o", "json").stdout)
    assert told.keys() == {"basis", "number", "reason"}
    value = json.loads(points(ledger, "standing", "P-28", *AT, "-o", "json").stdout)["values"]["total"]
    assert told["reason"]["value"] == value
    shown = points(ledger, "why", "P-28", *AT).stdout
    assert "10/129  rate[" in shown and "(see above)" in shown and shown.count("position 6312") == 2  # in sourced and in sold


def test_changes_show_before_and_after_on_stdout(ledger: Path) -> None:
    result = points(ledger, "changes", "P-28", "2026-Q1")
    assert "measure  before   after" in result.stdout and result.stderr == ""


def test_a_whole_dashboard(ledger: Path) -> None:
    shown = points(ledger, "dashboard", "P-28", *AT, "--goal", "Diamond").stdout
    for part in (
        "1 renewal decision due within 90 days",
        "goal: Diamond",
        "clients\n",
        "renewals\n",
        "cam@programme.example",
        "points by month",
    ):
        assert part in shown, part
    board = json.loads(points(ledger, "dashboard", "P-28", *AT, "-o", "json").stdout)
    assert [month["foreseen"] for month in board["months"]] == [False] * 7 + [True] * 3
    client = json.loads(points(ledger, "client", "P-28", "P-28-C2", *AT, "-o", "json").stdout)
    assert client["directory"]["crm_record"].startswith("https://") and client["client"]["client"] == "P-28-C2"
    people = json.loads(points(ledger, "team", "P-28", *AT, "-o", "json").stdout)
    assert people[0]["certificates"] == ["solutions-partner"] and people[1]["e_mail"] == "cam@programme.example"


REFUSALS = [
    (("why", "P-05", "--number", "luck"), 3, "unknown_number"),
    (("export", "--partner", "P-99"), 3, "unknown_partner"),
    (("override", "grant", "P-99", "--tier", "Gold", "--until", "+3m", "--reason", "x", "--author", "y"), 3, "unknown_partner"),
    (("override", "grant", "P-05", "--tier", "Bronze", "--until", "+3m", "--reason", "x", "--author", "y"), 3, "unknown_tier"),
    (("standing", "P-99"), 3, "unknown_partner"),
    (("standing", "P-05", "--rulebook", "points-1999"), 3, "unknown_rulebook"),
    (("standing", "P-05", "--as-of", "soon"), 2, "bad_date"),
    (("standing", "P-05", "--known-at", "99999999"), 4, "moment_not_served"),
    (("standing", "P-05", "--goal", "Bronze"), 3, "unknown_tier"),
    (("client", "P-05", "nobody"), 3, "unknown_client"),
    (("reverse", "99999999", "--reason", "x", "--author", "y"), 3, "not_found"),
]


@pytest.mark.parametrize(("words", "code", "name"), REFUSALS)
def test_what_cannot_be_answered_says_why(ledger: Path, words: tuple[str, ...], code: int, name: str) -> None:
    result = points(ledger, *words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert name in result.stderr and "Traceback" not in result.stderr


def sale(id: str, amount: str = "1000.00", **more: str) -> str:
    data = {"client": "C", "line": "L", "amount": amount, "currency": "USD"}
    event = {"specversion": "1.0", "type": "points.sold.v1", "source": "t", "subject": "A", "time": "2024-05-01T00:00:00Z"}
    return json.dumps({**event, "id": id, "data": data, **more})


def test_record_gives_a_receipt_for_each_line(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    lines = "\n".join([sale("1"), sale("2"), sale("1"), sale("1", "5.00"), "garbage", sale("3", "12,5")])
    result = points(path, "record", "-o", "json", input=lines.replace("garbage", "\ngarbage"))
    assert result.exit_code == 1
    rows = json.loads(result.stdout)
    assert [row["receipt"] for row in rows] == ["accepted", "accepted", "duplicate", "refused", "refused", "refused"]
    assert [row["position"] for row in rows] == [1, 2, 1, None, None, None]
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 6, 7]
    assert (rows[4]["code"], rows[0]["code"]) == ("not_json", None) and rows[4]["hint"]
    assert "6 received: 2 accepted, 1 duplicate, 3 refused" in result.stderr
    answer = json.loads(points(path, "standing", "A", "--as-of", "2024-05-02", "-o", "json").stdout)
    assert answer["values"]["sold"] == "100"


def test_override_reverse_expire_verify_rebuild(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    assert points(path, "record", input=sale("1") + "\n" + sale("2")).exit_code == 0
    who = ("--reason", "because", "--author", "admin")
    granted = points(path, "override", "grant", "A", "--tier", "Gold", "--from", "2024-06-01", "--until", "+3m", "--id", "o1", *who)
    assert granted.exit_code == 0 and "2024-09-01" in granted.stderr
    assert points(path, "override", "grant", "A", "--until", "2030-01-01", *who).exit_code == 1
    standing = json.loads(points(path, "standing", "A", "--as-of", "2024-07-01", "-o", "json").stdout)
    assert (standing["credited"], standing["without_overrides"]["credited"]) == ("Gold", None)
    assert points(path, "override", "revoke", "A", "o1", "--from", "2024-07-15", *who).exit_code == 0
    assert "recorded before" in points(path, "override", "revoke", "A", "o1", "--from", "2024-07-15", *who).stderr
    assert "[override_ended]" in points(path, "override", "revoke", "A", "o1", *who).stderr
    assert json.loads(points(path, "standing", "A", "--as-of", "2024-07-15", "-o", "json").stdout)["credited"] is None
    assert points(path, "reverse", "2", *who).exit_code == 0
    twice = points(path, "reverse", "2", *who)
    assert twice.exit_code == 1 and "[reversed_before]" in twice.stderr
    assert json.loads(points(path, "standing", "A", "--as-of", "2024-05-02", "-o", "json").stdout)["values"]["sold"] == "50"
    before = points(path, "timeline", "A", "--as-of", "2026-01-01", "-o", "json").stdout
    assert points(path, "expire").exit_code == 0
    assert points(path, "expire").exit_code == 0
    assert points(path, "timeline", "A", "--as-of", "2026-01-01", "-o", "json").stdout == before
    assert points(path, "verify").exit_code == 0
    assert points(path, "rebuild").exit_code == 0
    assert points(path, "verify").exit_code == 0


def test_an_override_means_what_the_rulebook_has_and_is_listed_before_and_after(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    points(path, "record", input=sale("1"))
    grant = ("override", "grant", "A", "--until", "+3m", "--reason", "r", "--author", "a", "--from")
    assert points(path, *grant, "2024-06-01", "--id", "past", "--points", "5", "--measure", "sold").exit_code == 0
    assert points(path, *grant, "2094-06-01", "--id", "to-come", "--requirement", "certified").exit_code == 0
    assert points(path, *grant, "2024-06-01", "--points", "5").exit_code == 2
    for what in ("--requirement", "--tier"):
        assert points(path, *grant, "2024-06-01", what, "luck").exit_code == 3
    assert points(path, "override", "list", "A", "-o", "csv").stdout.splitlines() == ["override,target,from,until,reason,author,position"]
    every = list(csv.DictReader(io.StringIO(points(path, "override", "list", "A", "--all", "-o", "csv").stdout)))
    assert [(row["override"], row["target"], row["until"][:10]) for row in every] == [
        ("past", "5 points of sold", "2024-09-01"), ("to-come", "requirement certified", "2094-09-01"),
    ]  # fmt: skip


def test_verify_finds_rows_that_the_log_does_not_make(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "x.db"
    points(path, "record", input=sale("1"))
    with sqlite3.connect(path.with_suffix(".read.db")) as connection:
        connection.execute("UPDATE lots SET exact = '51'")
    result = points(path, "verify")
    assert result.exit_code == 1 and "rows_differ" in result.stdout


def test_rules(ledger: Path, tmp_path: Path) -> None:
    assert "points-2025" in points(ledger, "rules", "list").stdout
    shown = points(ledger, "rules", "show", "points-2024").stdout
    changed = tmp_path / "new.yaml"
    renamed = shown.replace("hubspot/points-2024", "hubspot/points-2027")
    changed.write_text(renamed.replace("effective: 2024-02-27", "effective: 2027-01-01"))
    assert points(ledger, "rules", "lint", str(changed)).exit_code == 0
    assert points(ledger, "rules", "test").exit_code == 0
    path = tmp_path / "x.db"
    points(path, "record", input=sale("1"))
    cases, empty = tmp_path / "cases.yaml", tmp_path / "empty"
    empty.mkdir()
    sold = "{kind: points.sold.v1, at: 2027-01-02, client: C, line: L, amount: 1000, currency: USD}"
    question = "ask: {rulebook: hubspot/points-2027, as_of: 2027-02-01}, expect: {sold: 50}"
    cases.write_text(f"programme: hubspot\ncases:\n  - {{case: a sale, events: [{sold}], {question}}}\n")
    for nothing in ((), ("--golden", str(empty))):
        without = points(path, "rules", "publish", str(changed), "--author", "admin", *nothing)
        assert without.exit_code == 5 and "golden_missing" in without.stderr
    published = points(path, "rules", "publish", str(changed), "--author", "admin", "--golden", str(cases))
    assert published.exit_code == 0, published.stderr
    answer = json.loads(points(path, "standing", "A", "--as-of", "2027-02-01", "-o", "json").stdout)
    assert answer["basis"]["book"] == "hubspot/points-2027"
    before = json.loads(points(path, "standing", "A", "--as-of", "2027-02-01", "--known-at", "1", "-o", "json").stdout)
    assert before["basis"]["book"] == "hubspot/points-2025"
    changed.write_text(shown.replace("sold >= 63", "solid >= 63"))
    refused = points(path, "rules", "publish", str(changed), "--author", "admin", "--golden", str(cases))
    assert refused.exit_code == 1 and "unknown_name" in refused.stdout


def test_a_rulebook_is_published_once_and_again_after_another(tmp_path: Path) -> None:
    book, cases, ledger = tmp_path / "acme.yaml", tmp_path / "acme-cases.yaml", tmp_path / "x.db"
    points(ledger, "rules", "new", str(book), "--programme", "acme")
    first = book.read_text()

    def publish() -> str:
        done = points(ledger, "rules", "publish", str(book), "--author", "me", "--golden", str(cases))
        assert done.exit_code == 0, done.stderr
        return done.stderr

    assert "accepted at position 1" in publish() and "is published already, at position 1" in publish()
    book.write_text(first.replace("Points of acme", "Points"))
    assert "accepted at position 2" in publish()
    book.write_text(first)
    assert "accepted at position 3" in publish() and "is published already, at position 3" in publish()
    assert points(ledger, "rules", "show", book.read_text().splitlines()[0].removeprefix("book: ")).stdout == first
    book.write_text("book: [")
    wrong = points(ledger, "rules", "publish", str(book), "--author", "me", "--golden", str(cases))
    assert wrong.exit_code == 5 and "has 1 error [" in wrong.stderr and wrong.stdout == "", "what is wrong is told once"


def test_a_name_that_is_nowhere_is_told_and_no_empty_list(ledger: Path) -> None:
    for words, code in (
        (("ranking", "--tier", "Gld"), "unknown_tier"), (("ranking", "--programme", "x"), "unknown_programme"),
        (("at-risk", "--programme", "x"), "unknown_programme"), (("awards", "--programme", "x"), "unknown_programme"),
        (("breakdown", "P-05", "--measure", "slod"), "unknown_number"), (("restatements", "--partner", "P-99"), "unknown_partner"),
    ):  # fmt: skip
        told = points(ledger, *words)
        assert told.exit_code == 3 and code in told.stderr and told.stdout == "", words
    nobody = points(ledger, "ranking", "--tier", "Elite", *AT)
    assert nobody.exit_code == 0, "a tier that nobody has is an answer"


def test_amounts_in_csv_have_no_marks_between_thousands(ledger: Path) -> None:
    (client,) = csv.DictReader(io.StringIO(points(ledger, "clients", "P-05", *AT, "-o", "csv").stdout))
    assert client["MRR"] == "8650 SGD"
    assert "8,650 SGD" in points(ledger, "clients", "P-05", *AT).stdout


def test_every_option_says_what_it_is() -> None:
    def look(command: click.Command, path: str) -> None:
        for each in command.params:
            choices = isinstance(each.type, click.Choice)
            assert not isinstance(each, click.Option) or each.help or choices, f"{path} {each.name}"
        for name, inner in (command.commands if isinstance(command, click.Group) else {}).items():
            look(inner, f"{path} {name}")

    look(main, "points")


def test_no_ledger_is_not_found(tmp_path: Path) -> None:
    assert points(tmp_path / "none.db", "ranking").exit_code == 3
    assert not (tmp_path / "none.db").exists()


def test_a_command_makes_whole_what_a_dead_process_left(tmp_path: Path) -> None:
    """The process died after the commit and before the read models were written: the next command brings them up."""
    from ledger.intake import Intake
    from ledger.log import Log

    path = tmp_path / "x.db"
    points(path, "record", input=sale("1"))
    with Log(path) as log:
        Intake(log).record([sale("2").encode()])
    assert json.loads(points(path, "standing", "A", "--as-of", "2024-05-02", "-o", "json").stdout)["values"]["sold"] == "100"
    assert points(path, "verify").exit_code == 0


@pytest.mark.parametrize("as_of", ["0001", "0001-01-01", "9999-12", "9999-Q4", "9999-12-31", "9999-12-31T23:59:59.999999Z"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_the_ends_of_the_calendar_are_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_of: str, zone: str) -> None:
    monkeypatch.setenv("POINTS_LEDGER_ZONE", zone)
    path = tmp_path / "x.db"
    points(path, "record", input=sale("1"))
    for words in (("standing", "A"), ("ranking",), ("breakdown", "A", "--months"), ("at-risk",), ("timeline", "A")):
        assert points(path, *words, "--as-of", as_of).exit_code == 0, words


@pytest.mark.parametrize("as_of", ["0000", "0000-12-31", "+9000y", "+99999y"])
def test_what_is_beyond_the_calendar_is_no_date(ledger: Path, as_of: str) -> None:
    result = points(ledger, "ranking", f"--as-of={as_of}")
    assert result.exit_code == 2 and "bad_date" in result.stderr


@pytest.mark.parametrize("first", ["verify", "rebuild"])
def test_a_ledger_without_events_has_no_difference(tmp_path: Path, first: str) -> None:
    path = tmp_path / "x.db"
    assert points(path, "record", input="garbage").exit_code == 1
    assert points(path, first).exit_code == 0
    assert points(path, "verify").exit_code == 0


def test_a_new_rulebook_passes_as_it_is_and_can_be_changed_tried_and_published(tmp_path: Path) -> None:
    book, cases, ledger = tmp_path / "acme.yaml", tmp_path / "acme-cases.yaml", tmp_path / "x.db"
    assert points(ledger, "rules", "new", str(book), "--programme", "acme").exit_code == 0
    assert points(ledger, "rules", "lint", str(book)).exit_code == 0
    assert points(ledger, "rules", "test", str(cases), "--book", str(book)).exit_code == 0
    assert points(ledger, "rules", "publish", str(book), "--author", "me", "--golden", str(cases)).exit_code == 0
    assert points(ledger, "rules", "new", str(book), "--programme", "acme").exit_code == 2
    name = next(line.removeprefix("book: ") for line in book.read_text().splitlines() if line.startswith("book: "))
    assert points(ledger, "rules", "diff", name, str(book)).exit_code == 0
    book.write_text(book.read_text().replace("sold >= 10]", "sold >= 20]"))
    told = points(ledger, "rules", "diff", name, str(book))
    assert told.exit_code == 1 and "sold >= 10 (assumed) becomes >= 20 (assumed)" in told.stdout


def test_a_new_rulebook_needs_a_name_that_can_be_one(tmp_path: Path) -> None:
    result = points(tmp_path / "x.db", "rules", "new", str(tmp_path / "new.yaml"), "--programme", "a: b")
    assert result.exit_code == 5 and list(tmp_path.iterdir()) == []


def test_what_if_shows_both_and_records_nothing(tmp_path: Path) -> None:
    ledger, file = tmp_path / "x.db", tmp_path / "supposed.jsonl"
    told = {"specversion": "1.0", "source": "test", "subject": "A", "time": "2026-01-05T00:00:00Z"}
    enrolled = {**told, "id": "1", "type": "partner.enrolled.v1", "data": {"programme": "hubspot", "country": "US"}}
    sale = {**told, "id": "2", "type": "points.sold.v1", "data": {"client": "C", "line": "crm", "amount": "1000", "currency": "USD"}}
    file.write_text(json.dumps(enrolled))
    assert points(ledger, "record", str(file)).exit_code == 0
    file.write_text(json.dumps(sale))
    found = json.loads(points(ledger, "simulate", "A", str(file), "--as-of", "2026-02-01", "-o", "json").stdout)
    assert (found["before"]["values"]["sold"], found["after"]["values"]["sold"]) == ("0", "50")
    assert json.loads(points(ledger, "standing", "A", "--as-of", "2026-02-01", "-o", "json").stdout)["values"]["sold"] == "0"
    file.write_text("garbage")
    refused = points(ledger, "simulate", "A", str(file))
    assert refused.exit_code == 1 and "line 1" in refused.stderr


def test_csv_is_for_programs(tmp_path: Path) -> None:
    ledger = tmp_path / "x.db"
    file = tmp_path / "e.jsonl"
    told = {"specversion": "1.0", "source": "test", "subject": "A", "time": "2025-08-05T00:00:00Z"}
    data = {"client": "C", "line": "crm", "amount": "1000000", "currency": "EUR"}
    file.write_text(json.dumps({**told, "id": "2", "type": "points.sold.v1", "data": data}))
    assert points(ledger, "record", str(file)).exit_code == 0
    rows = points(ledger, "ranking", "--as-of", "2025-09-01", "-o", "csv").stdout.splitlines()
    assert rows[0].startswith("place,partner,score") and rows[1].startswith("1,A,56818.181818,")
    assert "values.sold,625000/11" in points(ledger, "standing", "A", "--as-of", "2025-09-01", "-o", "csv").stdout


@pytest.fixture
def garbage(tmp_path: Path) -> Path:
    file = tmp_path / "garbage"
    file.write_bytes(bytes(range(256)) * 1000)
    return file


def test_garbage_is_refused_in_words(tmp_path: Path, garbage: Path) -> None:
    ledger, file = tmp_path / "x.db", str(garbage)
    example = Path(__file__).parent.parent / "examples" / "online-retail"
    mapping, lines = str(example / "mapping.yaml"), str(example / "lines.csv")
    publish = ("rules", "publish", file, "--author", "a", "--golden", file)
    for words, code in (
        (("import", file, lines, "--refused", str(tmp_path / "r")), 2), (("import", mapping, file), 2), (("rules", "lint", file), 1),
        (("rules", "test", file), 5), (("rules", "diff", file, "points-2024"), 5), (publish, 5), (("record", file), 1),
    ):  # fmt: skip
        result = points(ledger, *words)
        assert result.exit_code == code and (result.stderr.startswith("points: ") or code == 1), (words, result.stderr)
    assert not garbage.with_name("garbage.refused.jsonl").exists()


def test_a_line_that_is_no_line_is_refused_alone(tmp_path: Path) -> None:
    example = Path(__file__).parent.parent / "examples" / "online-retail"
    lines = (example / "lines.csv").read_text().splitlines(keepends=True)
    file = tmp_path / "lines.csv"
    file.write_text("".join([*lines[:2], "x" * 200_000 + "\n", lines[2]]))
    result = points(tmp_path / "x.db", "import", str(example / "mapping.yaml"), str(file))
    assert "3 lines: 2 accepted, 0 duplicates, 1 refused" in result.stderr and "bad_line" in result.stderr
    file.write_text("".join(lines[:3]))
    assert points(tmp_path / "y.db", "import", str(example / "mapping.yaml"), str(file)).exit_code == 0
    assert not file.with_name("lines.csv.refused.jsonl").exists(), "without refusals there is no file of them"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    example = Path(__file__).parent.parent / "examples" / "online-retail"
    words = ("import", str(example / "mapping.yaml"), str(example / "lines.csv"), "--refused", str(tmp_path))
    result = points(tmp_path / "x.db", *words)
    assert (result.exit_code, result.stderr) == (2, f"points: {tmp_path}: Is a directory [no_access]\n")


def test_a_demo_goes_into_no_other_ledger(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    points(path, "record", input=sale("1"))
    result = CliRunner().invoke(main, ["demo", "--at", str(path)])
    assert result.exit_code == 2 and "not a whole demo" in result.stderr


def process(*words: str, **more: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from cli import main; main(prog_name='points')", *words]
    root = Path(__file__).parent.parent
    return subprocess.Popen(command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_reader_that_has_enough_is_no_error(ledger: Path, form: str) -> None:
    asked = process("--ledger", str(ledger), "why", "P-20", *AT, "-o", form)
    assert asked.stdout is not None and asked.stderr is not None
    asked.stdout.readline()
    asked.stdout.close()
    assert (asked.stderr.read(), asked.wait()) == ("", 0)
    asked.stderr.close()


def test_ctrl_c_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # as a terminal starts it, whatever started the tests
    asked = process("--ledger", str(path), "record", stdin=subprocess.PIPE, preexec_fn=heeding)
    while not path.with_suffix(".directory.db").exists():
        time.sleep(0.05)
    time.sleep(0.3)
    asked.send_signal(signal.SIGINT)
    _, told = asked.communicate()
    assert (asked.returncode, told) == (130, "points: stopped; what was recorded so far is safe\n")


def test_shell_completion_knows_commands_and_options() -> None:
    source = process(env={**os.environ, "_POINTS_COMPLETE": "bash_source"}).communicate()[0]
    assert "complete -o nosort -F _points_completion points" in source
    asked = {"_POINTS_COMPLETE": "bash_complete", "COMP_WORDS": "points st", "COMP_CWORD": "1"}
    assert process(env={**os.environ, **asked}).communicate()[0] == "plain,standing\nplain,status\n"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Fraction(0), "0"), (Fraction(-1, 8), "-0.125"), (Fraction(7, 3), "7/3"), (Fraction(10) ** 30, "1" + "0" * 30),
        (Fraction("123456789012345678.123456789") / 16, "7716049313271604.8827160493125"),
        (Fraction(1, 2**40), "0.0000000000009094947017729282379150390625"),
    ],
)  # fmt: skip
def test_exact_numbers_lose_nothing(value: Fraction, written: str) -> None:
    assert out.exact(value) == written and Fraction(written) == value


def test_a_table_that_does_not_fit_is_told_below_one_another(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [("P-1", Fraction(1, 2), "a long remark"), ("P-2", Fraction(1200), "\x1b[31mred\n")]
    out.table(("partner", "score", "remark", "nothing"), [(*line, "") for line in lines])
    wide = capsys.readouterr().out
    assert wide.splitlines() == ["partner    score  remark", "P-1          0.5  a long remark", "P-2      1,200    \ufffd[31mred"]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    out.table(("partner", "score", "remark", "nothing"), [(*line, "") for line in lines])
    narrow = capsys.readouterr().out
    assert narrow.splitlines()[:4] == ["partner  P-1", "score    0.5", "remark   a long remark", ""]


def test_the_list_of_commands_fits_eighty_columns() -> None:
    for words in ((), ("rules",), ("override",)):
        shown = CliRunner().invoke(main, [*words, "--help"], terminal_width=80).stdout
        assert "..." not in shown.replace("[ARGS]...", "") and max(map(len, shown.splitlines())) <= 84, shown


@pytest.mark.parametrize(("name", "value"), [("BATCH_SIZE", "many"), ("BATCH_SIZE", "0"), ("ZONE", "Mars/Base"), ("ZONE", "../etc")])
def test_a_setting_that_cannot_be_used_is_named(ledger: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"POINTS_LEDGER_{name}", value)
    result = points(ledger, "ranking")
    assert result.exit_code == 2 and f"POINTS_LEDGER_{name}" in result.stderr


def test_a_sum_is_told_term_by_term_and_each_number_once(capsys: pytest.CaptureFixture[str]) -> None:
    sold = Reason(Fraction(3), "sold", "sum", (Reason(Fraction(3), "sale", "lot", position=1, effective_at=0, until=FOREVER),))
    both = Reason(Fraction(6), "sold + sold", "+", (sold, sold))
    out.tree(Reason(Fraction(6) + Fraction(1, 3), "sold + sold + 1/3", "+", (both, Reason(Fraction(1, 3), "a third", "row"))))
    assert capsys.readouterr().out.splitlines() == [
        "6.33  sold + sold + 1/3", "  3  sold (sum)", "    3  sale  [position 1, since 1970-01-01]", "  3  sold (sum) (see above)",
        "  1/3  a third",
    ]  # fmt: skip


def test_a_programme_without_tiers_is_explained_by_its_score(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    told = {"specversion": "1.0", "source": "t", "subject": "A", "time": "2022-02-01T00:00:00Z"}
    lines = [
        {**told, "id": "1", "type": "partner.enrolled.v1", "data": {"programme": "copernica"}},
        {**told, "id": "2", "type": "activity.claimed.v1", "data": {"activity": "link"}},
    ]
    points(path, "record", input="\n".join(map(json.dumps, lines)))
    assert "  score\n" in points(path, "why", "A", "--as-of", "2022-06-01").stdout
    assert "score" in points(path, "timeline", "A", "--as-of", "2022-06-01").stdout.splitlines()[0]
    assert [row["before"] for row in csv.DictReader(io.StringIO(points(path, "history", "A", "-o", "csv").stdout))] == ["0", "0"]


def test_one_partner_that_cannot_be_priced_does_not_stop_the_lists(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    events = [*(json.loads(sale(n)) | {"subject": partner} for n, partner in (("1", "A"), ("2", "B"), ("3", "C"), ("4", "D")))]
    events[1]["data"] = events[1]["data"] | {"currency": "XAU"}
    enrolled = {"programme": "hubspot", "country": "US"}
    for n, (kind, at, data) in enumerate((("partner.enrolled.v1", "2024-01-01", enrolled), ("partner.left.v1", "2025-01-01", {}))):
        events.append(events[0] | {"id": f"D-{n}", "subject": "D", "type": kind, "time": f"{at}T00:00:00Z", "data": data})
    assert points(path, "record", input="\n".join(map(json.dumps, events))).exit_code == 0
    ranked = points(path, "ranking", "--as-of", "2025-02-01", "-o", "json")
    assert ranked.exit_code == 0 and "1 parked, and not judged: B" in ranked.stderr
    rows = json.loads(ranked.stdout)
    assert [(row["place"], row["partner"]) for row in rows] == [(1, "A"), (1, "C"), (None, "B")]
    assert rows[2]["score"] is None and "XAU" in rows[2]["parked"]
    for words in (("ranking",), ("at-risk",), ("at-risk", "--processes", "2")):
        shown = points(path, *words, "--as-of", "2025-02-01")
        assert shown.exit_code == 0 and "XAU" in shown.stdout and "1 parked" in shown.stderr
    book = points(path, "rules", "show", "points-2025").stdout.replace("points-2025", "points-2026").replace("2025-07-15", "2026-01-01", 1)
    (tmp_path / "book.yaml").write_text(book)
    impact = points(path, "rules", "impact", str(tmp_path / "book.yaml"))
    assert impact.exit_code == 0 and "1 parked" in impact.stderr, impact.output
    for words in (("awards",), ("restatements",), ("nominees", "--year", "2024"), ("sql", "SELECT COUNT(*) FROM tiers"), ("at-risk", "--as-of", "2024-01-01")):
        shown = points(path, *words)
        assert shown.exit_code == 0 and "1 parked" in shown.stderr and "B" in shown.stderr, (words, shown.output)
    assert "note: parked: B: hubspot: " in points(path, "verify").stdout
    assert points(path, "sql", "SELECT partner FROM partner_states WHERE parked IS NOT NULL", "-o", "csv").stdout.split() == ["partner", "B"]


def test_what_came_in_makes_the_same_ledger_again(ledger: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.db"
    shutil.copy(ledger.with_suffix(".directory.db"), again.with_suffix(".directory.db"))
    recorded = points(again, "record", "--migrate", input=points(ledger, "export", "--inputs").stdout)
    assert recorded.exit_code == 0, recorded.stderr
    for words in (("ranking", *AT), ("ranking", *AT, "--known-at", "5000"), ("standing", "P-05", *AT), ("history", "P-28", *AT)):
        first, second = (points(path, *words, "-o", "json") for path in (ledger, again))
        assert first.exit_code == 0 and first.stdout == second.stdout, words
    assert points(again, "verify").exit_code == 0
    plain = points(tmp_path / "plain.db", "record", input=points(ledger, "export").stdout)
    assert plain.exit_code == 1 and "source_reserved" in plain.output
    assert points(ledger, "export", "--inputs", "--sealed").exit_code == 2


@pytest.mark.parametrize(("file", "told"), [(".read.db", "rebuild"), (".directory.db", "restore a copy")])
def test_a_damaged_file_beside_the_log_is_told_in_words(tmp_path: Path, file: str, told: str) -> None:
    path = tmp_path / "x.db"
    points(path, "record", input=sale("1"))
    beside = path.with_suffix(file)
    beside.write_bytes(b"no database at all, " * 1000)
    result = points(path, "ranking")
    assert (result.exit_code, result.stdout) == (6, "") and f"{beside}" in result.stderr
    assert "side_damaged" in result.stderr and told in result.stderr
    beside.unlink()
    assert points(path, "rebuild").exit_code == 0 == points(path, "ranking").exit_code


def test_a_directory_in_the_place_of_a_file_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    points(path, "record", input=sale("1"))
    path.with_suffix(".read.db").unlink()
    path.with_suffix(".read.db").mkdir()
    result = points(path, "ranking")
    assert result.exit_code == 6 and "side_access" in result.stderr


def test_a_partner_of_the_capability_score_month_after_month(tmp_path: Path) -> None:
    """Skills, customers and a purchase; somebody of a gate leaves, and the score falls a year before it matters."""
    said: list[dict[str, Any]] = []

    def say(kind: str, day: str, **data: str) -> None:
        said.append({"type": f"{kind}.v1", "time": f"{day}T00:00:00Z", "data": data})

    say("partner.enrolled", "2023-01-10", programme="microsoft-capability")
    for person, codes in {"A": "DA-11 DA-31", "B": "DA-11 DA-21", "C": "DA-21 DA-31", "D": "DA-31", "E": "DA-31", "F": "DA-32"}.items():
        say("person.linked", "2023-02-01", person=person)
        for code in codes.split():
            say("certification.earned", "2023-02-01", person=person, code=code)
    for month in range(24):
        year, clients = 2022 + (month + 5) // 12, 2 if month < 12 else 5
        for n in range(clients):
            data = {"metric": "consumption", "area": "data-ai", "client": f"C-{n}", "service": f"S-{n}", "value": str(1000 + 50 * month)}
            say("metric.measured", f"{year}-{(month + 5) % 12 + 1:02}-28", **data)
    say("membership.purchased", "2023-09-20", level="Designated", offer="data-ai")
    say("person.left", "2024-02-10", person="C")
    lines = [json.dumps({"specversion": "1.0", "id": str(n), "source": "s", "subject": "P", **each}) for n, each in enumerate(said)]
    path = tmp_path / "ledger.db"
    assert points(path, "record", "-", input="\n".join(lines)).exit_code == 0
    told = points(path, "standing", "P", "--award", "data-ai", "--as-of", "2024-03-01").stdout
    assert "credited tier     Designated since 2023-09-20 (active)\nperformance tier  none\n" in told
    assert "1 of C DA-21" in told and "more is needed" in told
    rows = points(path, "timeline", "P", "--award", "data-ai", "--as-of", "2024-03-01", "--until", "2024-02-28").stdout.splitlines()
    assert [row.split()[0] for row in rows if "Designated" in row] == ["2023-07-01", "2023-09-19", "2023-09-20", "2023-12-01", "2024-02-10"]
    explained = points(path, "why", "P", "--number", "data_ai_customers_then.enterprise", "--as-of", "2024-03-01").stdout
    assert explained.count("yes  C-") == 2 and "last >= 1000 or before >= 1000" in explained
    assert "P        data-ai (Data & AI)  Designated" in points(path, "at-risk", "--as-of", "2024-03-01").stdout


def told(path: Path, *words: str) -> Any:
    return json.loads(points(path, *words, "-o", "json").stdout)


def test_what_was_restated_and_what_sql_says(ledger: Path) -> None:
    """The late fact of the demo: what it made another, and the same tiers by SQL as by asking."""
    (row,) = [row for row in told(ledger, "restatements", "2026", "--partner", "P-05") if row["performance_after"] == "Gold"]
    before = told(ledger, "standing", "P-05", "--as-of", row["since"], "--known-at", str(row["position_before"]))
    after = told(ledger, "standing", "P-05", "--as-of", row["since"], "--known-at", str(row["position"]))
    assert (before["performance"], after["performance"]) == (row["performance_before"], row["performance_after"]) == (None, "Gold")
    query = "SELECT partner, credited FROM tiers WHERE since <= '2026-06-30T00:00:00.000000Z' AND (until > '2026-06-30T00:00:00.000000Z' OR until IS NULL)"
    by_sql = {row["partner"]: row["credited"] for row in told(ledger, "sql", query)}
    ranked = {row["partner"]: row["credited"] for row in told(ledger, "ranking", "--as-of", "2026-06-30T00:00:00Z")}
    assert {partner: by_sql[partner] for partner in ranked} == ranked
    result = points(ledger, "sql", "DELETE FROM levels")
    assert (result.exit_code, "query_failed" in result.stderr) == (2, True)
    assert points(ledger, "sql", "SELECT 1 AS a, 2 AS a", "-o", "csv").stdout == "a,a_2\n1,2\n"
    assert points(ledger, "schema", "tiers", "-o", "csv").stdout.startswith("column,type,what_it_tells\n")
