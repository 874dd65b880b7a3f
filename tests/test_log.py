"""The log on SQLite: the contract of logs, the library's own recorder tests, and what only a file can get wrong."""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from tests.conformance.log_contract import NOON, LogContract, claim, copied

sys.modules.setdefault("eventsourcing.cipher", SimpleNamespace(AESCipher=None))  # type: ignore[arg-type]  # needs a package that no recorder uses
from eventsourcing.tests.persistence import (
    ApplicationRecorderTestCase,
    NonInterleavingNotificationIDsBaseCase,
    ProcessRecorderTestCase,
    TrackingRecorderTestCase,
)

from ledger.errors import LogError, NotFound
from ledger.log import Log
from ledger.log_sqlite import LogDatastore, LogRecorder


class TestSqliteLog(LogContract):
    def open_log(self, where: Path | str) -> Log:
        return Log(where)


class _OurRecorder:
    """The library's test cases on our recorder; streams are texts."""

    _directory: tempfile.TemporaryDirectory[str]

    def setUp(self) -> None:
        self._directory = tempfile.TemporaryDirectory()

    def tearDown(self) -> None:
        self._directory.cleanup()

    def new_originator_id(self) -> str:
        return f"partner/{uuid4()}"

    def create_recorder(self) -> LogRecorder:
        recorder = LogRecorder(LogDatastore(str(Path(self._directory.name) / "ledger.db"), lock_seconds=30))
        recorder.create_table()
        return recorder


class TestLibraryApplicationRecorder(_OurRecorder, ApplicationRecorderTestCase[LogRecorder]):
    pass


class TestLibraryProcessRecorder(_OurRecorder, ProcessRecorderTestCase):
    pass


class TestLibraryTrackingRecorder(_OurRecorder, TrackingRecorderTestCase):
    pass


class TestLibraryOrder(_OurRecorder, NonInterleavingNotificationIDsBaseCase):
    pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of five rows: three inputs, the second with two copies."""
    path = tmp_path / "ledger.db"
    with Log(path) as log:
        log.append([claim("P-1", "1"), claim("P-1", "2", rows=3), copied("P-2", "a"), copied("P-3", "b")], recorded_at=NOON)
        log.append([claim("P-1", "3")], recorded_at=NOON + 7)
    return path


def alter(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount != 0
    connection.close()


def blank(position: int, offset: int, length: int = 1) -> str:
    """A statement that makes zeros of some bytes of a row's state."""
    return (
        f"UPDATE stored_events SET state = CAST(substr(state, 1, {offset}) || "
        f"zeroblob({length}) || substr(state, {offset + length + 1}) AS BLOB) WHERE rowid = {position}"
    )


DAMAGES: dict[str, tuple[str, int, list[str]]] = {
    "a body was altered": ("hash", 1, ["UPDATE stored_events SET state = CAST(replace(state, 'article', 'artikle') AS BLOB) WHERE rowid = 1"]),
    "a hash was altered": ("hash", 4, [blank(4, 3)]),
    "the hash before was altered": ("previous_hash", 2, [blank(2, 35, 4)]),
    "a recorded time was altered": ("hash", 3, [blank(3, 66, 2)]),
    "a row moved to another stream": ("version_gap", 2, ["UPDATE stored_events SET originator_id = 'partner/P-9' WHERE rowid = 2"]),
    "a first row moved to another stream": ("hash", 3, ["UPDATE stored_events SET originator_id = 'partner/P-9' WHERE rowid = 3"]),
    "a kind was altered": ("kind", 3, ["UPDATE stored_events SET topic = 'points.sold.v1' WHERE rowid = 3"]),
    "a row was deleted": ("position_gap", 4, ["DELETE FROM stored_events WHERE rowid = 4"]),
    "a row was deleted and the gap closed": (
        "receipt_missing",
        2,
        ["DELETE FROM stored_events WHERE rowid = 2", *[f"UPDATE stored_events SET rowid = {n - 1} WHERE rowid = {n}" for n in (3, 4, 5)]],
    ),
    "the last row was deleted": ("insert_differs", 4, ["DELETE FROM stored_events WHERE rowid = 5", "DELETE FROM receipts WHERE id = '3'"]),
    "a receipt was deleted": ("receipt_missing", 2, ["DELETE FROM receipts WHERE id = '2'"]),
    "a receipt names another position": ("receipt_differs", 1, ["UPDATE receipts SET position = 2 WHERE id = '1'"]),
    "a receipt counts too few rows": ("receipt_missing", 4, ["UPDATE receipts SET row_count = 2 WHERE id = '2'"]),
    "a receipt counts too many rows": ("receipt_differs", 5, ["UPDATE receipts SET row_count = 4 WHERE id = '3'"]),
    "a receipt of nothing": ("receipts_surplus", 5, ["INSERT INTO receipts VALUES ('crm', '99', 1, 1)"]),
    "an insert's time was altered": ("insert_differs", 5, [f"UPDATE inserts SET recorded_at = {NOON + 8} WHERE position = 5"]),
    "an insert is missing": ("insert_differs", 1, ["DELETE FROM inserts WHERE position = 4"]),
    "an insert of nothing": ("insert_differs", 5, [f"INSERT INTO inserts VALUES (9, {NOON + 9})"]),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_verify_names_the_first_difference(path: Path, what: str) -> None:
    name, position, statements = DAMAGES[what]
    alter(path, *statements)
    with Log(path) as log:
        found = log.verify()
    assert found is not None
    assert (found.name, found.position) == (name, position), str(found)


def test_verify_finds_recorded_time_that_runs_backwards(path: Path) -> None:
    with Log(path) as log:
        log._heads.clear()
        with log.writing() as writing:
            writing.recorded_at = NOON
            writing.append([claim("P-1", "4")], recorded_at=NOON + 1)
        found = log.verify()
    assert found is not None and (found.name, found.position) == ("recorded_backwards", 6)


def test_each_commit_is_forced_to_the_disk(path: Path) -> None:
    with Log(path) as log, log.database.reading() as cursor:
        for pragma, value in {"synchronous": 2, "journal_mode": "wal", "application_id": 0x504C4544, "user_version": 1}.items():
            cursor.execute(f"PRAGMA {pragma}")
            assert cursor.fetchone()[0] == value, pragma


def test_positions_outlive_a_vacuum(path: Path) -> None:
    with Log(path) as log:
        before = log.tail()
    with sqlite3.connect(path) as connection:
        connection.execute("VACUUM")
    connection.close()
    with Log(path) as log:
        assert log.tail() == before
        assert log.verify() is None


def refused(open_log: Callable[[], Any]) -> str:
    with pytest.raises(LogError) as caught:
        open_log()
    assert caught.value.hint
    return caught.value.code


def test_another_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE stored_events (a)")
    connection.close()
    before = path.read_bytes()
    assert refused(lambda: Log(path)) == "log_foreign"
    with sqlite3.connect(path) as connection:
        assert [row[0] for row in connection.execute("SELECT name FROM sqlite_master")] == ["stored_events"]
    connection.close()
    assert len(path.read_bytes()) == len(before)


def test_another_format_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=2")
    connection.close()
    assert refused(lambda: Log(path)) == "log_format"


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n" * 100)
    assert refused(lambda: Log(path)) == "log_damaged"
    assert path.read_text() == "buy milk\n" * 100


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert refused(lambda: Log(tmp_path)) == "log_access"


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    assert refused(lambda: Log(tmp_path / "nowhere" / "ledger.db")) == "log_access"


def test_reading_does_not_make_a_ledger(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Log(tmp_path / "ledger.db", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_which_nothing_was_made_yet_is_no_ledger_to_read(tmp_path: Path) -> None:
    """Its maker may have died before the first commit; the next one makes it."""
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    with pytest.raises(NotFound):
        Log(path, create=False)
    Log(path).close()
    Log(path, create=False).close()


def test_an_empty_file_becomes_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch()
    with Log(tmp_path / "ledger.db") as log:
        assert log.head() == 0


def test_a_lock_that_is_held_is_a_clear_error_and_nothing_is_half_done(path: Path) -> None:
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with Log(path, lock_seconds=1) as log:
        assert refused(lambda: log.append([claim("P-1", "4")], recorded_at=NOON + 9)) == "log_busy"
        assert log.head() == 5  # reading goes on
        holder.execute("ROLLBACK")
        assert log.append([claim("P-1", "4")], recorded_at=NOON + 9) == range(6, 7)
        assert log.verify() is None
    holder.close()


def test_an_event_that_cannot_be_read_is_a_clear_error(path: Path) -> None:
    alter(path, "UPDATE stored_events SET state = CAST(substr(state, 1, 90) AS BLOB) WHERE rowid = 1")
    with Log(path) as log:
        assert refused(log.tail) == "log_damaged"
        found = log.verify()
    assert found is not None and found.name == "hash"
