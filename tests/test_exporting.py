"""Views and answers in files: what stands in them is what the views and the engine say, and a file is whole or not there."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from cli import Ledger, main
from ledger import exporting
from ledger import terminal as out
from ledger.exporting import At, Field, Kind, Shape
from ledger.instants import BEGINNING, FOREVER, from_datetime, parse, text
from ledger.projections import views
from ledger.projections.questions import Moment
from ledger.settings import Settings

ROOT = Path(__file__).parent.parent
TYPES = {views.TIME: pa.timestamp("us", tz="UTC"), views.TEXT: pa.string(), views.WHOLE: pa.int64()}
AT = "2026-06-30T00:00:00Z"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "demo.db"
    assert CliRunner().invoke(main, ["demo", "--at", str(path)]).exit_code == 0
    return path


def points(path: Path, *words: str, input: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["--ledger", str(path), *words], input=input, catch_exceptions=False)


def table(path: Path, tmp_path: Path, *words: str) -> pa.Table:
    file = tmp_path / "asked.parquet"
    result = points(path, *words, "--to", str(file))
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    return pq.read_table(file)


def told(path: Path, *words: str) -> Any:
    return json.loads(points(path, *words, "-o", "json").stdout)


def commits(path: Path) -> list[int]:
    return [row["position"] for row in told(path, "sql", "SELECT DISTINCT position FROM knowledge ORDER BY position")]


def as_text(cell: Any) -> Any:
    return exporting.time_text(from_datetime(cell)) if hasattr(cell, "tzinfo") else cell


# -- views ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", views.VIEWS, ids=lambda view: view.name)
def test_parquet_has_the_rows_and_types_of_the_view(ledger: Path, tmp_path: Path, view: views.View) -> None:
    found = table(ledger, tmp_path, "export", view.name)
    assert [(field.name, field.type) for field in found.schema] == [(column.name, TYPES[column.type]) for column in view.columns]
    by_sql = told(ledger, "sql", f"SELECT * FROM {view.name}")
    assert len(by_sql) > 5 or view.name.startswith(("numbers", "at_risk"))
    rows = [{name: as_text(cell) for name, cell in row.items()} for row in found.to_pylist()]
    assert sorted(map(repr, rows)) == sorted(map(repr, by_sql))
    for form in ("jsonl", "json", "csv"):
        exported = points(ledger, "export", view.name, "-o", form).stdout
        if form == "csv":
            assert list(csv.DictReader(io.StringIO(exported))) == [{n: "" if c is None else str(c) for n, c in row.items()} for row in rows]
        else:
            assert (json.loads(exported) if form == "json" else list(map(json.loads, exported.splitlines()))) == rows


def test_duckdb_reads_it(ledger: Path, tmp_path: Path) -> None:
    table(ledger, tmp_path, "export", "points", "--as-of", AT)
    query = f"SELECT partner, SUM(micro_points), COUNT(*), MAX(epoch_us(since)) FROM '{tmp_path / 'asked.parquet'}' GROUP BY partner"
    ranked = {row["partner"]: Fraction(row["score"]) for row in told(ledger, "ranking", "--as-of", AT)}
    found = duckdb.sql(query).fetchall()
    assert len(found) > 20
    for partner, micro, count, latest in found:
        assert abs(Fraction(int(micro), 1_000_000) - ranked[partner]) <= count * Fraction(1, 1_000_000)
        assert latest <= parse(AT)


def moments(path: Path) -> list[tuple[str, int]]:
    ends = commits(path)
    known = [ends[len(ends) * n // 5] for n in range(1, 5)] + ends[-1:]
    return [(at, position) for at in ("2024-05-01T00:00:00Z", "2025-09-01T00:00:00Z", AT) for position in known]


def test_a_moment_of_both_clocks_is_what_the_engine_says(ledger: Path, tmp_path: Path) -> None:
    """Also where the rows do not answer for so late an instant as known then."""
    with_ledger = Ledger(Settings(path=ledger))
    questions, made = with_ledger.questions(), 0
    for at, position in moments(ledger):
        made += len(questions.store.unanswered(parse(at), position))
        tiers = {row["partner"]: row for row in table(ledger, tmp_path, "export", "tiers", "--as-of", at, "--known-at", str(position)).to_pylist()}
        lots = table(ledger, tmp_path, "export", "points", "--as-of", at, "--known-at", str(position)).to_pylist()
        for partner in questions.history.partners():
            moment = Moment(parse(at), position)
            if not questions.history.events(partner, position):
                assert partner not in tiers
                continue
            life = questions.life(partner, moment)
            row = tiers[partner]
            assert (row["performance"], row["credited"]) == (life.tier(parse(at)), life.credited_tier(parse(at))), (partner, at, position)
            sold = sum((Fraction(lot["points"]) for lot in lots if (lot["partner"], lot["measure"]) == (partner, "sold")), Fraction(0))
            assert sold == life.values(parse(at))["sold"], (partner, at, position)
        assert list(tiers) == sorted(tiers)
    assert made > 50, "partners whose rows do not answer were among them"
    with_ledger.close()


def test_whole_histories_as_known_at_a_position(ledger: Path, tmp_path: Path) -> None:
    """Each row is true of all of its instants, as known then; the ends that were not kept are left out."""
    position = commits(ledger)[len(commits(ledger)) * 3 // 4]
    with_ledger = Ledger(Settings(path=ledger))
    questions = with_ledger.questions()
    rows = table(ledger, tmp_path, "export", "tiers", "--known-at", str(position)).to_pylist()
    for row in rows:
        life = questions.life(row["partner"], Moment(known_at=position))
        since, until = from_datetime(row["since"]), FOREVER if row["until"] is None else from_datetime(row["until"])
        for at in {max(since, BEGINNING), until - 1}:
            assert (life.tier(at), life.credited_tier(at)) == (row["performance"], row["credited"]), row
    with_ledger.close()
    assert len(rows) > 200
    raw = f"SELECT ended_by FROM facts_known WHERE known_from <= {position} AND (known_until > {position} OR known_until IS NULL)"
    assert any((row["ended_by"] or 0) > position for row in told(ledger, "sql", raw)), "rows are changed in place"
    ended = [row["ended_by"] for row in table(ledger, tmp_path, "export", "facts", "--known-at", str(position)).to_pylist()]
    assert 0 < max(n for n in ended if n is not None) <= position


def test_the_last_position_known_is_what_is_known_now(ledger: Path) -> None:
    for view in ("tiers", "points", "facts"):
        last = str(commits(ledger)[-1])
        assert points(ledger, "export", view, "--known-at", last).stdout == points(ledger, "export", view).stdout
        own = points(ledger, "export", view, "--known-at", last, "--partner", "P-05", "-o", "csv").stdout.splitlines()
        assert len(own) > 5 and {line.partition(",")[0] for line in own[1:]} == {"P-05"}


def test_rows_in_both_clocks_are_refused_where_they_do_not_answer(ledger: Path, tmp_path: Path) -> None:
    early, file = str(commits(ledger)[100]), tmp_path / "known.csv"
    result = points(ledger, "export", "tiers_known", "--as-of", AT, "--known-at", early, "--to", str(file))
    assert (result.exit_code, file.exists()) == (4, False)
    assert "moment_not_served" in result.stderr and "P-01, " in result.stderr and " more" in result.stderr
    past = points(ledger, "export", "tiers_known", "--as-of", "2023-03-01", "--known-at", early, "-o", "csv")
    plain = points(ledger, "export", "tiers", "--as-of", "2023-03-01", "--known-at", early, "-o", "csv")
    assert past.exit_code == 0 and len(past.stdout.splitlines()) > 10
    assert [line.split(",")[:9] for line in past.stdout.splitlines()] == [line.split(",")[:9] for line in plain.stdout.splitlines()]


REFUSED = [
    (("tiers", "--known-at", "5000"), 4, "--known-at 5"), (("tiers", "--known-at", "99999999"), 4, "moment_not_served"),
    (("partner_states", "--as-of", "2026-01-01"), 2, "partner_states"), (("restatements", "--known-at", "1000"), 2, "one clock"),
    (("nowhere",), 2, "nowhere"), (("tiers", "--sealed"), 2, "--sealed"), (("--as-of", "2026-01-01"), 2, "VIEW"), (("-o", "csv"), 2, "jsonl"),
    (("tiers", "--to", "tiers.dat"), 2, "tiers.dat"), (("tiers", "--partner", "P-99"), 3, "unknown_partner"), (("tiers", "--as-of", "soon"), 2, "bad_date"),
    (("tiers", "--to", "/nowhere/tiers.csv"), 2, "/nowhere/tiers.csv"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "code", "said"), REFUSED)
def test_what_cannot_be_exported_says_why(ledger: Path, words: tuple[str, ...], code: int, said: str) -> None:
    result = points(ledger, "export", *words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr and "Traceback" not in result.stderr


def test_it_says_on_what_the_rows_rest(ledger: Path) -> None:
    head = commits(ledger)[-1]
    assert points(ledger, "export", "tiers", "--as-of", AT).stderr == f"tiers: 36 rows, as known at position {head}, as of 2026-06-30\n"
    ahead = points(ledger, "export", "tiers", "--as-of", "2999-01-01", "--partner", "P-05").stderr
    assert ahead.startswith("tiers: 1 row,") and "lies ahead" in ahead
    assert "answers_until" in points(ledger, "export", "tiers", "--known-at", str(commits(ledger)[9])).stderr


def test_events_go_into_a_file_as_they_go_to_stdout(ledger: Path, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    assert points(ledger, "export", "--to", str(file)).exit_code == 0
    assert file.read_text() == points(ledger, "export").stdout


# -- answers -------------------------------------------------------------------------------------------------------------

TIME, NUMBER = pa.timestamp("us", tz="UTC"), pa.string()
ANSWERS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("ranking", "--as-of", AT), {"place": pa.int64(), "score": NUMBER, "score_micro": pa.int64(), "credited": pa.string()}),
    (("at-risk", "--as-of", AT), {"at_risk_since": TIME, "tier_lost_at": TIME, "fails_from": TIME, "missing_micro": pa.int64()}),
    (("at-risk", "--as-of", "2001-01-01"), {"at_risk_since": TIME, "tier_lost_at": TIME, "fails_from": TIME, "missing_micro": pa.int64()}),
    (("nominees", "--year", "2025"), {"place": pa.int64(), "score_micro": pa.int64()}),
    (("awards",), {"year": pa.int64(), "on": TIME, "position": pa.int64()}),
    (("restatements",), {"since": TIME, "until": TIME, "position": pa.int64(), "recorded": TIME, "credited_after": pa.string()}),
    (("movements", "2026-Q1"), {"gained_micro": pa.int64(), "lost": NUMBER, "net_micro": pa.int64()}),
    (("movements", "2001"), {"gained_micro": pa.int64(), "lost": NUMBER, "net_micro": pa.int64()}),
    (("flows", "2026-Q1"), {"partners": pa.int64()}), (("flows", "2001"), {"partners": pa.int64()}),
    (("overrides",), {"from": TIME, "until": TIME, "position": pa.int64()}),
    (("restatements", "2001"), {"since": TIME, "until": TIME, "position": pa.int64(), "recorded": TIME, "credited_after": pa.string()}),
]  # fmt: skip


@pytest.mark.parametrize(("words", "types"), ANSWERS, ids=lambda told: " ".join(told) if isinstance(told, tuple) else "")
def test_a_list_of_many_in_parquet_has_the_types_that_it_has_when_it_is_empty(
    ledger: Path, tmp_path: Path, words: tuple[str, ...], types: dict[str, Any]
) -> None:  # fmt: skip
    found = table(ledger, tmp_path, *words)
    assert {name: found.schema.field(name).type for name in types} == types
    lines = list(csv.DictReader(io.StringIO(points(ledger, *words, "-o", "csv").stdout)))
    assert found.num_rows == len(lines)
    assert [row.get("partner") for row in found.to_pylist()] == [line.get("partner") for line in lines]


def test_the_ranking_in_parquet_is_exact(ledger: Path, tmp_path: Path) -> None:
    exact = {row["partner"]: row for row in told(ledger, "ranking", "--as-of", AT)}
    rows = table(ledger, tmp_path, "ranking", "--as-of", AT).to_pylist()
    assert any("/" in row["score"] for row in rows)
    for row in rows:
        assert row["score"] == exact[row["partner"]]["score"]
        assert row["score_micro"] == round(Fraction(row["score"]) * 1_000_000)


def test_one_answer_in_parquet_has_a_line_for_each_value(ledger: Path, tmp_path: Path) -> None:
    rows = {row["what"]: row["value"] for row in table(ledger, tmp_path, "standing", "P-05", "--as-of", AT).to_pylist()}
    assert rows["basis.partner"] == "P-05" and rows["values.total"] == told(ledger, "standing", "P-05", "--as-of", AT)["values"]["total"]


# -- SQL -----------------------------------------------------------------------------------------------------------------

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, 'P-' || i AS partner FROM n"


@pytest.mark.parametrize(("form", "second"), [("csv", "1,P-1\n"), ("jsonl", '{"i": 2, "partner": "P-2"}\n'), ("json", "  {\n")])
def test_rows_are_written_as_they_come(ledger: Path, form: str, second: str) -> None:
    """Of a query that never ends: nothing but a stream can show its first rows."""
    command = [sys.executable, str(ROOT / "cli.py"), "--ledger", str(ledger), "sql", ENDLESS, "-o", form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asked:
        assert asked.stdout is not None and asked.stderr is not None
        assert [asked.stdout.readline(), asked.stdout.readline()][1] == second
        asked.stdout.close()
        assert asked.wait(30) == 0 and asked.stderr.read() == ""


def test_sql_in_parquet_has_types_by_what_stands_there(ledger: Path, tmp_path: Path) -> None:
    query = "SELECT partner, NULL AS empty, until, micro_points, micro_points / 2.0 AS half, CASE WHEN position % 2 THEN 1 ELSE 'x' END AS mixed FROM points"
    found = table(ledger, tmp_path, "sql", query)
    assert list(map(str, found.schema.types)) == ["string", "string", "timestamp[us, tz=UTC]", "int64", "double", "string"]
    by_sql = told(ledger, "sql", query)
    assert found.num_rows == len(by_sql) > 1000
    assert [as_text(cell) for cell in found.column("until").to_pylist()] == [row["until"] for row in by_sql]
    assert found.column("mixed").to_pylist()[:50] == [str(row["mixed"]) for row in by_sql][:50]
    empty = table(ledger, tmp_path, "sql", "SELECT partner, since FROM tiers WHERE partner = 'nobody'")
    assert empty.num_rows == 0 and empty.column_names == ["partner", "since"]


def test_values_of_any_type_are_told(ledger: Path) -> None:
    (row,) = told(ledger, "sql", "SELECT x'00ff' AS bytes, 9e999 AS much, 1.5 AS real, NULL AS empty, 'a''b' AS text")
    assert row == {"bytes": "00ff", "much": "inf", "real": 1.5, "empty": None, "text": "a'b"}


# -- files ---------------------------------------------------------------------------------------------------------------

BREAKS = "SELECT 1 AS n UNION ALL SELECT abs(-9223372036854775808)"


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "parquet"])
def test_what_breaks_off_leaves_the_file_as_it_was(ledger: Path, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"n.{ending}"
    result = points(ledger, "sql", BREAKS, "--to", str(file))
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, []) and "query_failed" in result.stderr
    file.write_text("before")
    assert points(ledger, "sql", BREAKS, "--to", str(file)).exit_code == 2
    assert (file.read_text(), list(tmp_path.iterdir())) == ("before", [file])
    assert points(ledger, "sql", "SELECT 1 AS n", "--to", str(file)).exit_code == 0
    assert file.read_bytes() != b"before" and list(tmp_path.iterdir()) == [file]


def test_stopped_by_ctrl_c_it_leaves_no_file(ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "time_text", lambda at: (_ for _ in ()).throw(KeyboardInterrupt))
    result = points(ledger, "export", "tiers", "--to", str(tmp_path / "tiers.csv"))
    assert (result.exit_code, list(tmp_path.iterdir())) == (130, [])


def test_an_answer_that_ends_in_a_no_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "receipts.csv"
    result = points(tmp_path / "x.db", "record", "--to", str(file), input="garbage")
    assert result.exit_code == 1
    assert file.read_text().splitlines()[1].startswith("1,refused,,not_json")


def test_a_link_stays_one_and_a_device_a_device(ledger: Path, tmp_path: Path) -> None:
    file, link = tmp_path / "real.csv", tmp_path / "link.csv"
    file.write_text("before")
    link.symlink_to(file)
    assert points(ledger, "ranking", "--to", str(link)).exit_code == 0
    assert link.is_symlink() and file.read_text().startswith("place,")
    assert points(ledger, "ranking", "-o", "csv", "--to", "/dev/null").exit_code == 0
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("words", [("export", "tiers"), ("ranking",), ("sql", "SELECT 1")])
def test_without_pyarrow_it_says_what_to_install(
    ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = points(ledger, *words, "--to", str(tmp_path / "x.parquet"))
    assert (result.exit_code, result.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert "parquet_missing" in result.stderr and "pip install 'points-ledger[parquet]'" in result.stderr
    assert points(ledger, *words, "-o", "csv").exit_code == 0


def test_parquet_to_stdout_is_the_file(ledger: Path, tmp_path: Path) -> None:
    shown = points(ledger, "export", "tiers", "-o", "parquet").stdout_bytes
    assert pq.read_table(io.BytesIO(shown)) == table(ledger, tmp_path, "export", "tiers")


# -- parts ---------------------------------------------------------------------------------------------------------------


def test_a_file_has_as_many_row_groups_as_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "GROUP", 10)
    file = io.BytesIO()
    exporting.write_parquet([Field("n", Kind.WHOLE)], ((n,) for n in range(25)), file, {"view": "numbers"})
    found = pq.ParquetFile(file)
    assert [found.metadata.row_group(i).num_rows for i in range(found.num_row_groups)] == [10, 10, 5]
    assert found.read().column("n").to_pylist() == list(range(25)) and found.schema_arrow.metadata == {b"view": b"numbers"}


@pytest.mark.parametrize("at", [BEGINNING, -1, 0, 1, parse("2026-04-01"), parse("2026-04-01T23:59:59.999999Z"), FOREVER - 1])
def test_a_time_is_the_same_in_text_and_in_parquet(at: int) -> None:
    file = io.BytesIO()
    told = exporting.time_text(at)
    assert told is not None and text(at) in (told, told.replace(".000000Z", "Z")) and len(told) == 27
    exporting.write_parquet([Field("t", Kind.TIME)] * 1, [(at,), (told,), (FOREVER,), (None,)], file)
    assert pq.read_table(file).column("t").cast(pa.int64()).to_pylist() == [at, at, None, None]


def test_kinds_by_what_stands_in_a_column() -> None:
    big = 1 << 63
    rows = [(1, 1, "a", At(5), Fraction(1, 3), True, ("a", "b"), big, None, "", 1), (2, Fraction(1, 2), "b", At(6), Fraction(2), False, (), 3, None, None, 2.5)]
    shape = Shape(list("abcdefghijk")).see(rows)
    kinds = {field.name: field.kind for field in shape.fields({"i": Kind.TIME})}
    assert kinds == {
        "a": Kind.WHOLE, "b": Kind.EXACT, "c": Kind.TEXT, "d": Kind.TIME, "e": Kind.EXACT, "f": Kind.FLAG, "g": Kind.LIST, "h": Kind.TEXT,
        "i": Kind.TIME, "j": Kind.TEXT, "k": Kind.REAL,
    }  # fmt: skip
    file = io.BytesIO()
    exporting.write_parquet(shape.fields(), rows, file)
    first, second = pq.read_table(file).to_pylist()
    assert (first["b"], first["b_micro"], first["e"], first["e_micro"], first["h"], first["g"]) == ("1", 10**6, "1/3", 333333, str(big), ["a", "b"])
    assert (second["b"], second["f"], second["g"], second["k"], first["k"]) == ("0.5", False, [], 2.5, 1.0)


def test_a_list_in_json_is_as_it_would_be_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    for lines in ([], [("a\nb", None)], [(1, "x"), (Fraction(1, 3), ("p", "q")), ("", True)]):
        out.rows(("one", "two"), lines, "json")
        whole = [dict(zip(("one", "two"), map(out.plain, line), strict=True)) for line in lines]
        assert capsys.readouterr().out == json.dumps(whole, ensure_ascii=False, indent=2) + "\n"
