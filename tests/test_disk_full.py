"""A disk that is full: the command says so, nothing is half written, and the next one goes on."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from cli import main
from ledger import log_sqlite
from ledger.errors import LogError
from ledger.intake import Intake
from ledger.log import Log


def sold(n: int) -> dict[str, object]:
    data = {"client": "C", "line": "L" * 90, "amount": "1.00", "currency": "USD"}
    return {
        "specversion": "1.0", "id": f"{n}", "source": "crm", "subject": f"P-{n % 5}", "type": "points.sold.v1", "time": "2026-01-01T00:00:00Z",
        "data": data,
    }  # fmt: skip


def points(where: str | Path, *words: str, input: str | None = None) -> Result:
    return CliRunner().invoke(main, ["--ledger", str(where), *words], input=input, catch_exceptions=False)


def test_a_full_disk_under_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.db"
    with Log(path) as log:
        Intake(log).record([sold(n) for n in range(200)])
        head = log.head()
    opened = log_sqlite.sqlite3.connect

    def small(*words: object, **more: object) -> object:
        connection = opened(*words, **more)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 5}")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(log_sqlite.sqlite3, "connect", small)
        with Log(path) as log:
            intake = Intake(log)
            with pytest.raises(LogError) as raised:
                intake.record([sold(n) for n in range(200, 2000)])
            assert raised.value.code == "log_disk_full" and raised.value.hint
            assert log.head() == head
            assert intake.record([sold(2001)])[0].position == head + 1  # there is room for one
    with Log(path) as log:
        Intake(log).record([sold(n) for n in range(200, 2000)])
        assert log.head() == 2001 and log.verify() is None
    assert points(path, "verify").exit_code == 0


FULL = """
CREATE FUNCTION full_disk() RETURNS trigger AS $$
BEGIN RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device' USING ERRCODE = '53100'; END $$ LANGUAGE plpgsql;
CREATE TRIGGER full_disk BEFORE INSERT ON {table} EXECUTE FUNCTION full_disk();
"""


@pytest.mark.parametrize(("table", "code"), [("stored_events", "log_disk_full"), ("inserts", "log_disk_full"), ("levels", "side_disk_full")])
def test_a_full_disk_under_postgres(postgres: str, table: str, code: str) -> None:
    assert points(postgres, "record", input=json.dumps(sold(1))).exit_code == 0
    with psycopg.connect(postgres) as admin:
        admin.execute(FULL.format(table=table))
    refused = points(postgres, "record", input=json.dumps(sold(2)))
    assert refused.exit_code == 6 and code in refused.stderr and "Traceback" not in refused.stderr
    with psycopg.connect(postgres) as admin:
        admin.execute(f"DROP TRIGGER full_disk ON {table}")
    again = points(postgres, "record", "-o", "json", input=json.dumps(sold(2)))
    assert again.exit_code == 0 and json.loads(again.stdout)[0]["position"] == 2
    assert points(postgres, "verify").exit_code == 0
