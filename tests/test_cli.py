"""The command line as its users type it, on the demo's ledger."""

import csv
import io
import json
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import main


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


REFUSALS = [
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
    result = points(path, "record", "-o", "json", input=lines)
    assert result.exit_code == 1
    assert [row["receipt"] for row in json.loads(result.stdout)] == ["accepted", "accepted", "duplicate", "refused", "refused", "refused"]
    assert "6 received: 2 accepted, 1 duplicates, 3 refused" in result.stderr
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
    assert json.loads(points(path, "standing", "A", "--as-of", "2024-07-15", "-o", "json").stdout)["credited"] is None
    assert points(path, "reverse", "2", *who).exit_code == 0
    assert json.loads(points(path, "standing", "A", "--as-of", "2024-05-02", "-o", "json").stdout)["values"]["sold"] == "50"
    before = points(path, "timeline", "A", "--as-of", "2026-01-01", "-o", "json").stdout
    assert points(path, "expire").exit_code == 0
    assert points(path, "expire").exit_code == 0
    assert points(path, "timeline", "A", "--as-of", "2026-01-01", "-o", "json").stdout == before
    assert points(path, "verify").exit_code == 0
    assert points(path, "rebuild").exit_code == 0
    assert points(path, "verify").exit_code == 0


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
