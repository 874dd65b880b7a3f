"""The log. It appends; it never decides, edits or deletes.

Every event is one row of a stream (a partner's, a person's, a client's, a programme's) with a gapless version, and has a
gapless position in the whole. Its canonical bytes are stored once, sealed by a hash that covers the hash before it in the
same stream. Beside the events stand the receipts (source + id -> position), written in the same transaction, for ever.

The log is kept by `eventsourcing`'s SQLite recorder, of which this is the only importer. What it promises:

- A receipt that was handed out survives a power cut: WAL with `synchronous=FULL`, so each commit is forced to the disk
  before `writing` ends. What was not yet committed leaves no trace: a transaction is there whole or not at all.
- The order of positions is the order of commits: writers queue up for one lock (`BEGIN IMMEDIATE`), and a position is given
  out under it. A reader that has seen position p has seen all before it.
- A database of another kind or format is refused, never touched.

It refuses to know what an event means: it is given streams, kinds and bytes. Whether a fact is right is for `ledger.intake`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from struct import Struct
from threading import Lock
from typing import Any, NamedTuple

from eventsourcing.persistence import InterfaceError, OperationalError, PersistenceError
from eventsourcing.sqlite import (
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
    SQLiteProcessRecorder,
    SQLiteTransaction,
)

from ledger.errors import LogError, NotFound, Refusal
from ledger.events.envelope import Sealed, decode, read
from ledger.instants import BEGINNING, Instant

FORMAT = 1
"""The version of the schema and of the seal; kept in the database, checked when it is opened."""

APPLICATION_ID = 0x504C4544
"""'PLED' in the header of the SQLite file: it tells a ledger from any other database."""

GENESIS = bytes(32)
"""What the first event of a stream has as the hash before it."""

STREAM_KINDS = ("partner", "person", "client", "programme", "ledger")

_HEADS_MAX = 200_000
_ROWS = 125  # in a statement; more are no faster
_WHEN = Struct(">q")
_STATE_BODY = 72  # hash 32, previous 32, recorded_at 8, then the bytes of the event

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


Entry = tuple[str, str, bytes, str, str, int]
"""One row to be appended: stream, kind and bytes of an event; source, id and number of rows of the input whose receipt it bears.

The number counts the rows that the input brings, its own first; a derived copy bears no receipt: '', '' and 0. A plain tuple,
because a million of them are made on the bulk path.
"""


class Filed(NamedTuple):
    """Where an input stands: its position, and the number of rows that it brought, itself included."""

    position: int
    rows: int


@dataclass(frozen=True, slots=True)
class Difference:
    """The first thing in which the log is not what it should be: a stable name, the position, and what was found."""

    name: str
    position: int
    stream: str
    found: str

    def __str__(self) -> str:
        return f"position {self.position} ({self.stream}): {self.found} [{self.name}]"


class Taken(LogError):
    """An id among the receipts to be written is there already; nothing of the batch was written."""

    code = "log_id_taken"


def seal(previous: bytes, stream: str, version: int, recorded_at: Instant, body: bytes) -> bytes:
    """The hash of an event: over the hash before it, its stream, its version, its recorded time and its bytes.

    Stream names hold no NUL and the other parts have fixed lengths, so no two events are hashed as the same bytes.
    """
    return sha256(b"".join((previous, stream.encode(), b"\0", _WHEN.pack(version), _WHEN.pack(recorded_at), body))).digest()


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


class Writing:
    """The end of the log, held by one writer: what is read here cannot change before the writer is done."""

    def __init__(self, cursor: sqlite3.Cursor, heads: dict[str, tuple[int, bytes]], head: int) -> None:
        cursor.row_factory = None
        self._cursor = cursor
        self._heads = heads
        self.head = head
        """The last position, those appended here included."""
        self.recorded_at: Instant = self._recorded_at_last()
        """The recorded time of the last position; the beginning of time while there is none."""

    def _recorded_at_last(self) -> Instant:
        row = self._cursor.execute("SELECT recorded_at FROM inserts ORDER BY position DESC LIMIT 1").fetchone()
        return BEGINNING if row is None else row[0]

    def filed(self, source: str, id: str) -> tuple[Filed, bytes] | None:
        """The receipt of an input and the bytes that were accepted under it."""
        row = self._cursor.execute(
            "SELECT position, row_count, substr(state, ?) FROM receipts JOIN stored_events ON rowid = position WHERE source = ? AND id = ?",
            (_STATE_BODY + 1, source, id),
        ).fetchone()
        return None if row is None else (Filed(row[0], row[1]), row[2])

    def version(self, stream: str) -> int:
        """The last version of a stream; 0 while it has none."""
        if stream not in self._heads:
            self._heads[stream] = self._head_of(stream)
        return self._heads[stream][0]

    def append(self, entries: Sequence[Entry], *, recorded_at: Instant) -> range:
        """Seal and write the entries, in order. Returns their positions.

        Raises `Taken` where an id has a receipt already; then nothing was written and the writing can go on.
        """
        assert recorded_at >= self.recorded_at, "recorded time runs backwards"
        if not entries:
            return range(0)
        positions = range(self.head + 1, self.head + 1 + len(entries))
        events, receipts = self._sealed(entries, recorded_at)
        self._write_receipts(receipts)
        self._insert("stored_events", 5, events)
        self._cursor.execute("INSERT INTO inserts VALUES (?,?)", (positions[-1], recorded_at))
        self.head, self.recorded_at = positions[-1], recorded_at
        return positions

    def _sealed(self, entries: Sequence[Entry], recorded_at: Instant) -> tuple[list[Any], list[Any]]:
        """The values of the two tables, row after row. This loop is the bulk path: it calls and makes nothing that it does not need."""
        when, pack, heads, head_of, join = _WHEN.pack(recorded_at), _WHEN.pack, self._heads, self._head_of, b"".join
        events: list[Any] = []
        receipts: list[Any] = []
        for position, (stream, kind, body, source, id, row_count) in enumerate(entries, self.head + 1):
            version, previous = heads.get(stream) or head_of(stream)
            version += 1
            sealed = sha256(join((previous, stream.encode(), b"\0", pack(version), when, body))).digest()
            heads[stream] = version, sealed
            events += position, stream, version, kind, join((sealed, previous, when, body))
            if row_count:
                receipts += source, id, position, row_count
        return events, receipts

    def _head_of(self, stream: str) -> tuple[int, bytes]:
        row = self._cursor.execute(
            "SELECT originator_version, substr(state, 1, 32) FROM stored_events "
            "WHERE originator_id = ? ORDER BY originator_version DESC LIMIT 1",
            (stream,),
        ).fetchone()
        return (0, GENESIS) if row is None else row

    def _write_receipts(self, receipts: list[Any]) -> None:
        """Before all else, because an id that is taken shows itself here.

        What was written by then is taken out again by name, since a savepoint would cost a copy of each page touched.
        """
        before = self._cursor.connection.total_changes
        try:
            self._insert("receipts", 4, receipts)
        except sqlite3.IntegrityError as error:
            written = 4 * (self._cursor.connection.total_changes - before)
            names = zip(receipts[0:written:4], receipts[1:written:4], strict=True)
            self._cursor.executemany("DELETE FROM receipts WHERE source = ? AND id = ?", names)
            self._heads.clear()
            raise Taken("an id of the batch has been recorded before", hint="look its receipt up") from error

    def _insert(self, table: str, width: int, values: list[Any]) -> None:
        """Row after row, many in a statement. FAIL leaves those before one that fails; else SQLite would copy each page touched."""
        row = f"({','.join('?' * width)})"
        statement = f"INSERT OR FAIL INTO {table} VALUES {row}"
        several = f"{statement}{f',{row}' * (_ROWS - 1)}"
        rest = len(values) % (width * _ROWS)
        for at in range(0, len(values) - rest, width * _ROWS):
            self._cursor.execute(several, values[at : at + width * _ROWS])
        last = iter(values[len(values) - rest :])
        self._cursor.executemany(statement, zip(*[last] * width, strict=True))


class Log:
    """The book of record in one SQLite file. Safe for several threads and several processes at once."""

    def __init__(self, path: Path | str, *, create: bool = True, synchronous: str = "FULL", lock_seconds: int = 10) -> None:
        """Open the log, and make it where there is none and `create` allows it.

        Raises NotFound (no such file) and LogError (another kind of database, another format, locked, damaged).
        """
        self.path = Path(path)
        if not create and not self.path.exists():
            raise self._nothing()
        self._lock = Lock()
        self._heads: dict[str, tuple[int, bytes]] = {}
        self._heads_at = -1
        with self._speaking():
            self._datastore = LogDatastore(str(self.path), synchronous=synchronous, lock_seconds=lock_seconds)
            self.recorder = LogRecorder(self._datastore)
            if not self._is_made():
                if not create:
                    raise self._nothing()
                self._make()

    def close(self) -> None:
        self._datastore.close()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Write ---------------------------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """Hold the end of the log: one writer at a time, of all threads and processes.

        When the block ends without an error everything appended in it is durable, else nothing of it is there.
        """
        with self._lock, self._speaking():
            try:
                with self._datastore.transaction(commit=True) as cursor:
                    writing = Writing(cursor.sqlite_cursor, self._heads, self._head_under_lock(cursor))
                    yield writing
            except BaseException:
                self._heads_at = -1
                raise
            self._heads_at = writing.head

    def _head_under_lock(self, cursor: SQLiteCursor) -> int:
        """The last position; the known heads of streams are dropped where someone else has written since."""
        cursor.execute("SELECT MAX(rowid) FROM stored_events")
        head: int = cursor.fetchone()[0] or 0
        if head != self._heads_at or len(self._heads) > _HEADS_MAX:
            self._heads.clear()
        return head

    def append(self, entries: Sequence[Entry], *, recorded_at: Instant) -> range:
        """One transaction of its own. Returns the positions; raises `Taken` where an id has a receipt already."""
        with self.writing() as writing:
            return writing.append(entries, recorded_at=recorded_at)

    # Read ----------------------------------------------------------------------------------------------------

    def head(self) -> int:
        """The last position; 0 while there is none."""
        return self._one("SELECT MAX(rowid) FROM stored_events") or 0

    def tail(self, after: int = 0, limit: int = 1000) -> list[Sealed]:
        """The events after a position, in order of position."""
        return self._events("WHERE rowid > ? ORDER BY rowid LIMIT ?", (after, limit))

    def history(self, stream: str, *, after_version: int = 0, until_position: int | None = None, kinds: Iterable[str] = ()) -> list[Sealed]:
        """The events of a stream in order of version: those after a version, up to a position, of some kinds."""
        where, parameters = "WHERE originator_id = ? AND originator_version > ?", [stream, after_version]
        if until_position is not None:
            where, parameters = where + " AND rowid <= ?", [*parameters, until_position]
        if wanted := list(kinds):
            where, parameters = f"{where} AND topic IN ({','.join('?' * len(wanted))})", [*parameters, *wanted]
        return self._events(f"{where} ORDER BY originator_version", parameters)

    def get(self, position: int) -> Sealed:
        """The event at a position. Raises NotFound."""
        if found := self._events("WHERE rowid = ?", (position,)):
            return found[0]
        raise NotFound(f"there is no position {position}", hint=f"the last one is {self.head()}")

    def filed(self, source: str, id: str) -> Filed | None:
        """The receipt of an input, if it was ever accepted."""
        found = self._rows("SELECT position, row_count FROM receipts WHERE source = ? AND id = ?", (source, id))
        return Filed(*found[0]) if found else None

    def recorded_at(self, position: int) -> Instant:
        """When the event at a position was recorded. Raises NotFound."""
        found = self._one("SELECT substr(state, 65, 8) FROM stored_events WHERE rowid = ?", (position,))
        if found is None:
            raise NotFound(f"there is no position {position}", hint=f"the last one is {self.head()}")
        return int.from_bytes(found, "big", signed=True)

    def position_at(self, recorded_at: Instant) -> int:
        """The last position that was recorded at or before an instant; 0 where there is none."""
        return self._one("SELECT MAX(position) FROM inserts WHERE recorded_at <= ?", (recorded_at,)) or 0

    def streams(self, prefix: str = "") -> list[str]:
        """The names of all streams that begin so, in order of name."""
        statement = "SELECT DISTINCT originator_id FROM stored_events WHERE originator_id >= ? ORDER BY originator_id"
        names = (row[0] for row in self._rows(statement, (prefix,)))
        return [name for name in names if name.startswith(prefix)]

    def verify(self) -> Difference | None:
        """Walk the whole log; the first difference by name, or None where all of it is as it was written.

        Names: position_gap, recorded_backwards, version_gap, previous_hash, hash, unreadable, kind, receipt_missing,
        receipt_differs, receipts_surplus, insert_differs.
        """
        with self._speaking(), self._datastore.transaction(commit=False) as cursor:
            return _Walk(cursor.sqlite_cursor.connection).first_difference()

    # Inside --------------------------------------------------------------------------------------------------

    def _events(self, where: str, parameters: Sequence[Any]) -> list[Sealed]:
        statement = f"SELECT rowid, originator_id, originator_version, state FROM stored_events {where}"
        return [_unsealed(*row) for row in self._rows(statement, parameters)]

    def _one(self, statement: str, parameters: Sequence[Any] = ()) -> Any:
        rows = self._rows(statement, parameters)
        return rows[0][0] if rows else None

    def _rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._speaking(), self._datastore.transaction(commit=False) as cursor:
            plain = cursor.sqlite_cursor
            plain.row_factory = None
            return plain.execute(statement, parameters).fetchall()

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Say what the database's errors mean for the one who asked."""
        try:
            yield
        except (PersistenceError, sqlite3.Error) as error:
            raise _log_error(self.path, error) from error

    def _nothing(self) -> NotFound:
        return NotFound(f"there is no ledger at {self.path}", hint="record something first, or name another path")

    def _is_made(self) -> bool:
        with self._datastore.transaction(commit=False) as cursor:
            return _is_made(self.path, cursor)

    def _make(self) -> None:
        """Asked again under the lock, because another process may have made the schema meanwhile."""
        with self._datastore.transaction(commit=True) as cursor:
            if not _is_made(self.path, cursor):
                self.recorder._create_table(cursor)


def _unsealed(position: int, stream: str, version: int, state: bytes) -> Sealed:
    event = read(state[_STATE_BODY:])
    if isinstance(event, Refusal):
        raise LogError(f"the event at position {position} cannot be read: {event}", hint="run verify", code="log_damaged")
    recorded_at = int.from_bytes(state[64:72], "big", signed=True)
    return Sealed(position, stream, version, recorded_at, state[32:64], state[:32], event)


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
        raise LogError(f"{path} is a database, but not a points ledger", hint="name another path", code="log_foreign")
    if version != FORMAT:
        raise LogError(
            f"{path} has format {version}, and this program reads format {FORMAT}",
            hint="use the version of the program that wrote it, or migrate",
            code="log_format",
        )
    return True


def _log_error(path: Path, error: Exception) -> LogError:
    said = str(error)
    if "locked" in said or "busy" in said:
        return LogError(f"{path} is locked by another process", hint="wait for it, or stop it", code="log_busy")
    if "full" in said:
        return LogError(f"no room left to write {path}", hint="make room; nothing was half written", code="log_disk_full")
    if "readonly" in said or "unable to open" in said or "permission" in said:
        return LogError(f"{path} cannot be opened or written: {said}", hint="check the path and its rights", code="log_access")
    if "not a database" in said or "malformed" in said:
        return LogError(f"{path} is not a ledger, or it is damaged: {said}", hint="restore a copy", code="log_damaged")
    return LogError(f"{path}: {said}", hint="nothing of the batch was written")


class _Walk:
    """One reading of the whole log, row by row, with what the rows so far lead one to expect of the next."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._heads: dict[str, tuple[int, bytes]] = {}
        self._recorded_at = BEGINNING
        self._receipt_until = 0  # the last position of the input whose rows are being read
        self._receipts_seen = 0
        self._inserts = self._select("SELECT position, recorded_at FROM inserts ORDER BY position")
        self._insert: tuple[int, Instant] = (0, BEGINNING)

    def first_difference(self) -> Difference | None:
        rows = self._select("SELECT rowid, originator_id, originator_version, topic, state FROM stored_events ORDER BY rowid")
        position = 0
        for position, (at, stream, version, kind, state) in enumerate(rows, 1):
            if at != position:
                return Difference("position_gap", position, stream, f"the next position is {at}")
            found = self._row(_Row(position, stream, version, kind, state))
            if found is not None:
                return Difference(found[0], position, stream, found[1])
        return self._rest(position)

    def _row(self, row: _Row) -> tuple[str, str] | None:
        """Numbered checks, each resting on those before it."""
        return self._place(row) or self._seal(row) or self._contents(row) or self._recorded(row)

    def _place(self, row: _Row) -> tuple[str, str] | None:
        version, previous = self._heads.get(row.stream, (0, GENESIS))
        if row.version != version + 1:
            return "version_gap", f"version {row.version} follows {version}"
        if row.previous != previous:
            return "previous_hash", "the hash before it is not that of the event before it"
        return None

    def _seal(self, row: _Row) -> tuple[str, str] | None:
        if seal(row.previous, row.stream, row.version, row.recorded_at, row.body) != row.hash:
            return "hash", "its bytes, its place or its recorded time were altered"
        self._heads[row.stream] = row.version, row.hash
        return None

    def _contents(self, row: _Row) -> tuple[str, str] | None:
        event = decode(row.body)
        if isinstance(event, Refusal):
            return "unreadable", str(event)
        if event.kind != row.kind:
            return "kind", f"it is filed as {row.kind} and says {event.kind}"
        if row.position <= self._receipt_until:
            return None
        return self._receipt(row.position, event.source, event.id)

    def _receipt(self, position: int, source: str, id: str) -> tuple[str, str] | None:
        found = self._select("SELECT position, row_count FROM receipts WHERE source = ? AND id = ?", (source, id)).fetchone()
        if found is None:
            return "receipt_missing", f"{source} {id} has no receipt"
        if found[0] != position:
            return "receipt_differs", f"the receipt of {source} {id} names position {found[0]}"
        self._receipt_until = position + found[1] - 1
        self._receipts_seen += 1
        return None

    def _recorded(self, row: _Row) -> tuple[str, str] | None:
        if row.recorded_at < self._recorded_at:
            return "recorded_backwards", "it was recorded before the event before it"
        if row.position > self._insert[0]:
            self._insert = self._inserts.fetchone() or (0, BEGINNING)
        if row.position > self._insert[0] or row.recorded_at != self._insert[1]:
            return "insert_differs", "the list of inserts does not cover it"
        self._recorded_at = row.recorded_at
        return None

    def _rest(self, head: int) -> Difference | None:
        """What stands beside the events and belongs to none of them."""
        receipts = self._select("SELECT COUNT(*) FROM receipts").fetchone()[0]
        if self._receipt_until > head:
            return Difference("receipt_differs", head, "", "the last receipt counts more rows than there are")
        if receipts != self._receipts_seen:
            return Difference("receipts_surplus", head, "", f"{receipts} receipts for {self._receipts_seen} inputs")
        if self._insert[0] != head or self._inserts.fetchone() is not None:
            return Difference("insert_differs", head, "", "the list of inserts goes on after the last event")
        return None

    def _select(self, statement: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        cursor = self._connection.cursor()
        cursor.row_factory = None
        return cursor.execute(statement, parameters)


class _Row:
    """A row of the log, taken apart."""

    __slots__ = ("body", "hash", "kind", "position", "previous", "recorded_at", "stream", "version")

    def __init__(self, position: int, stream: str, version: int, kind: str, state: bytes) -> None:
        self.position, self.stream, self.version, self.kind = position, stream, version, kind
        self.hash, self.previous, self.body = state[:32], state[32:64], state[_STATE_BODY:]
        self.recorded_at: Instant = int.from_bytes(state[64:_STATE_BODY], "big", signed=True)
