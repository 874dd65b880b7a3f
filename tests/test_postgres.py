"""The whole way of an event on PostgreSQL: the same commands, the same answers as on SQLite."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from cli import main
from ledger.demo import build
from ledger.directory import Directory
from ledger.log import Log
from ledger.projections.views import VIEWS


def points(where: Path | str, *words: str, input: str | None = None) -> Result:
    return CliRunner().invoke(main, ["--ledger", str(where), *words], input=input, catch_exceptions=False)


AT = ("--as-of", "2026-06-29")
QUESTIONS = [
    ("standing", "P-05", *AT), ("standing", "P-05", *AT, "--known-at", "7241"), ("why", "P-28", *AT), ("timeline", "P-28", *AT),
    ("history", "P-28", *AT), ("breakdown", "P-28", *AT), ("changes", "P-28", "2026-Q1", *AT), ("at-risk", *AT), ("ranking", *AT),
    ("dashboard", "P-05", *AT), ("clients", "P-05", *AT), ("team", "P-05", *AT), ("override", "list", "P-05", *AT),
]  # fmt: skip


def test_every_answer_is_that_of_sqlite(postgres: str, tmp_path: Path) -> None:
    path = tmp_path / "demo.db"
    assert points(path, "demo", "--at", str(path)).exit_code == 0
    directory = Directory(postgres)
    with Log(postgres) as log:
        build(log, directory)
    directory.close()
    for words in QUESTIONS:
        ours, theirs = (points(where, *words, "-o", "json") for where in (postgres, path))
        assert (ours.exit_code, ours.stdout) == (0, theirs.stdout), words
    assert points(postgres, "export", "--sealed").stdout == points(path, "export", "--sealed").stdout
    for view in VIEWS:
        for when in (("-o", "csv"), *((*AT, "-o", form) for form in ("jsonl", "csv") if view.has_instants)):
            assert points(postgres, "export", view.name, *when).stdout == points(path, "export", view.name, *when).stdout, (view.name, when)
        if view.table and not view.name.endswith('_known'):
            then = ("export", view.name, *AT, "--known-at", "5436")
            assert points(postgres, *then).stdout == points(path, *then).stdout, then
            assert view.name == "numbers" or points(path, *then).stdout
    query, asked = "SELECT partner, MIN(since) AS since, SUM(micro_points) AS micro FROM points GROUP BY partner ORDER BY partner", []
    for where, file in ((postgres, tmp_path / "postgres.parquet"), (path, tmp_path / "sqlite.parquet")):
        assert points(where, "sql", query, "--to", str(file)).exit_code == 0
        asked.append(pq.read_table(file))
    assert asked[0] == asked[1] and asked[0].num_rows > 20
    for words in (("verify",), ("rebuild",), ("verify",)):
        result = points(postgres, *words)
        assert result.exit_code == 0, result.output


def test_verify_names_what_was_altered(postgres: str) -> None:
    event = {
        "specversion": "1.0", "id": "1", "source": "crm", "subject": "P", "type": "points.sold.v1", "time": "2025-09-01T00:00:00Z",
        "data": {"client": "C", "line": "L", "amount": "1000.00", "currency": "USD"},
    }  # fmt: skip
    assert points(postgres, "record", input=json.dumps(event)).exit_code == 0
    assert points(postgres, "ranking").exit_code == 0
    with psycopg.connect(postgres) as connection:
        connection.execute("UPDATE lots SET exact = '7'")
    altered = points(postgres, "verify")
    assert altered.exit_code == 1 and "rows_differ" in altered.stdout
    with psycopg.connect(postgres) as connection:
        connection.execute("UPDATE stored_events SET state = overlay(state PLACING 'X' FROM 100)")
    altered = points(postgres, "verify")
    assert altered.exit_code == 1 and "log_hash" in altered.stdout


@pytest.mark.parametrize("words", [("record",), ("ranking",), ("verify",)])
def test_a_server_that_does_not_answer_is_told_without_the_password(words: tuple[str, ...]) -> None:
    result = points("postgresql://someone:secret@127.0.0.1:1/ledger", *words, input="{}")
    assert result.exit_code == 6 and "log_connection_lost" in result.stderr and "secret" not in result.output
