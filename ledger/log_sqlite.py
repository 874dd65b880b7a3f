"""The log's database on SQLite: one file, WAL, durable commits, writers that queue. Kept by `eventsourcing`'s SQLite recorder.

- A receipt that was handed out survives a power cut: `synchronous=FULL`, so each commit is forced to the disk before `writing` ends.
- The order of positions is the order of commits: writers queue up for one lock (`BEGIN IMMEDIATE`), and a position is given out under it.
- A database of another kind or format is refused, never touched.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eventsourcing.persistence import InterfaceError, OperationalError, PersistenceError
from eventsourcing.sqlite import (
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
    SQLiteProcessRecorder,
    SQLiteTransaction,
)

from ledger.errors import LogError
from ledger.log_database import FORMAT, Cursor, Database, Taken, foreign, other_format

APPLICATION_ID = 0x504C4544
"""'PLED' in the header of the SQLite file: it tells a ledger from any other database."""

_ROWS = 125  # in a statement; more are no faster

_EVENTS = (
    "CREATE TABLE IF NOT EXISTS stored_events ("
    "rowid INTEGER PRIMARY KEY, "  # the position, named as the recorder's own statements name it
    "originator_id TEXT NOT NULL, "
    "originator_version INTEGER NOT NULL, "
    "topic TEXT NOT NULL, "
    "state BLOB NOT NULL, "
    "UNIQUE (originator_id, originator_version))"
)
_RECEIPTS = (
    "CREATE TABLE IF NOT EXISTS receipts ("
    "source TEXT NOT NULL, id TEXT NOT NULL, position INTEGER NOT NULL, row_count INTEGER NOT NULL, "
    "PRIMARY KEY (source, id)) WITHOUT ROWID"
)
_INSERTS = (
    "CREATE TABLE IF NOT EXISTS inserts ("  # the last position of each insert, and when it was recorded
    "position INTEGER PRIMARY KEY, recorded_at INTEGER NOT NULL)"
)
_INSERTS_INDEX = "CREATE INDEX IF NOT EXISTS inserts_recorded_at ON inserts (recorded_at, position)"


class _Connection(SQLiteConnection):
    """Writers take their place in the queue at BEGIN, so that positions are given out in the order of commits."""

    @contextmanager
    def transaction(self, *, commit: bool) -> Iterator[SQLiteCursor]:
        with _Transaction(self, commit=commit) as cursor, cursor:
            yield cursor


class _Transaction(SQLiteTransaction):
    def __enter__(self) -> SQLiteCursor:
        cursor = self.connection.cursor()
        try:
            cursor.execute("BEGIN IMMEDIATE" if self.commit else "BEGIN")
        except sqlite3.OperationalError as error:
            raise OperationalError(error) from error
        return cursor


class _Pool(SQLiteConnectionPool):
    synchronous = "FULL"

    def _create_connection(self) -> SQLiteConnection:
        """As the library does it, except that prepared statements are kept: its `cached_statements=True` is a cache of one."""
        try:
            made = sqlite3.connect(self.db_name, timeout=self.lock_timeout or 0, isolation_level=None, check_same_thread=False, uri=True)
            made.execute("PRAGMA journal_mode=WAL")
            made.execute(f"PRAGMA synchronous={self.synchronous}")
        except sqlite3.Error as error:
            raise InterfaceError(error) from error
        made.row_factory = sqlite3.Row
        return _Connection(made, max_age=self.max_age)


class LogDatastore(SQLiteDatastore):
    """The library's datastore with durable commits, writers that queue, and stream names as text."""

    def __init__(self, path: str, *, synchronous: str = "FULL", lock_seconds: int = 10) -> None:
        super().__init__(path, lock_timeout=lock_seconds, originator_id_type="text")
        self.pool = _Pool(db_name=path, lock_timeout=lock_seconds)
        self.pool.synchronous = synchronous


class LogRecorder(SQLiteProcessRecorder):
    """The library's recorder on our tables; positions are an explicit key, which no VACUUM can renumber."""

    def __init__(self, datastore: SQLiteDatastore) -> None:
        super().__init__(datastore)
        self.insert_events_statement = "INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES (?,?,?,?)"

    def construct_create_table_statements(self) -> list[str]:
        *_, tracking = super().construct_create_table_statements()
        return [_EVENTS, _RECEIPTS, _INSERTS, _INSERTS_INDEX, tracking]

    def _create_table(self, c: SQLiteCursor) -> None:
        super()._create_table(c)
        c.execute(f"PRAGMA application_id={APPLICATION_ID}")
        c.execute(f"PRAGMA user_version={FORMAT}")


class SqliteDatabase(Database):
    """One file."""

    position = "rowid"
    errors = (PersistenceError, sqlite3.Error)

    def __init__(self, path: Path, *, synchronous: str, lock_seconds: int) -> None:
        self.path = path
        self.name = str(path)
        self._datastore = LogDatastore(str(path), synchronous=synchronous, lock_seconds=lock_seconds)
        self.recorder = LogRecorder(self._datastore)

    def close(self) -> None:
        self._datastore.close()

    @contextmanager
    def reading(self) -> Iterator[Cursor]:
        with self._datastore.transaction(commit=False) as cursor:
            yield _plain(cursor)

    @contextmanager
    def writing(self) -> Iterator[Cursor]:
        with self._datastore.transaction(commit=True) as cursor:
            yield _plain(cursor)

    def is_made(self) -> bool:
        with self._datastore.transaction(commit=False) as cursor:
            return _is_made(self.path, cursor)

    def make(self) -> None:
        """Asked again under the lock, because another process may have made the schema meanwhile."""
        with self._datastore.transaction(commit=True) as cursor:
            if not _is_made(self.path, cursor):
                self.recorder._create_table(cursor)

    def stream(self, cursor: Any, statement: str) -> Iterator[Any]:
        other = cursor.connection.cursor()
        other.row_factory = None
        return iter(other.execute(statement))

    def heads(self, cursor: Any, streams: Iterable[str]) -> dict[str, tuple[int, bytes]]:
        last = (
            "SELECT originator_version, substr(state, 1, 32) FROM stored_events "
            "WHERE originator_id = ? ORDER BY originator_version DESC LIMIT 1"
        )  # fmt: skip
        found = {stream: cursor.execute(last, (stream,)).fetchone() for stream in streams}
        return {stream: row for stream, row in found.items() if row is not None}

    def put_receipts(self, cursor: Any, receipts: list[Any]) -> None:
        """What was written before an id that is taken is taken out again by name: a savepoint would cost a copy of each page touched."""
        before = cursor.connection.total_changes
        try:
            self._insert(cursor, "receipts", 4, receipts)
        except sqlite3.IntegrityError as error:
            written = 4 * (cursor.connection.total_changes - before)
            names = zip(receipts[0:written:4], receipts[1:written:4], strict=True)
            cursor.executemany("DELETE FROM receipts WHERE source = ? AND id = ?", names)
            raise Taken from error

    def put_events(self, cursor: Any, events: list[Any]) -> None:
        self._insert(cursor, "stored_events", 5, events)

    def _insert(self, cursor: sqlite3.Cursor, table: str, width: int, values: list[Any]) -> None:
        """Row after row, many in a statement. FAIL leaves those before one that fails; else SQLite would copy each page touched."""
        row = f"({','.join('?' * width)})"
        statement = f"INSERT OR FAIL INTO {table} VALUES {row}"
        several = f"{statement}{f',{row}' * (_ROWS - 1)}"
        rest = len(values) % (width * _ROWS)
        for at in range(0, len(values) - rest, width * _ROWS):
            cursor.execute(several, values[at : at + width * _ROWS])
        last = iter(values[len(values) - rest :])
        cursor.executemany(statement, zip(*[last] * width, strict=True))

    def told(self, error: Exception) -> LogError:
        path, said = self.path, str(error)
        if "locked" in said or "busy" in said:
            return LogError(f"{path} is locked by another process", hint="wait for it, or stop it", code="log_busy")
        if "full" in said:
            return LogError(f"no room left to write {path}", hint="make room; nothing was half written", code="log_disk_full")
        if "readonly" in said or "unable to open" in said or "permission" in said:
            return LogError(f"{path} cannot be opened or written: {said}", hint="check the path and its rights", code="log_access")
        if "not a database" in said or "malformed" in said:
            return LogError(f"{path} is not a ledger, or it is damaged: {said}", hint="restore a copy", code="log_damaged")
        return LogError(f"{path}: {said}", hint="nothing of the batch was written")


def _plain(cursor: SQLiteCursor) -> Any:
    plain = cursor.sqlite_cursor
    plain.row_factory = None
    return plain


def _is_made(path: Path, cursor: SQLiteCursor) -> bool:
    """Whether the schema is there; anything that is not ours, or not of our format, is an error."""
    marks = []
    for statement in ("PRAGMA application_id", "PRAGMA user_version", "SELECT COUNT(*) FROM sqlite_master"):
        cursor.execute(statement)
        marks.append(cursor.fetchone()[0])
    application_id, version, tables = marks
    if tables == 0 and application_id == 0:  # nothing was ever committed: its maker may have died before
        return False
    if application_id != APPLICATION_ID:
        raise foreign(str(path), "name another path")
    if version != FORMAT:
        raise other_format(str(path), version)
    return True
