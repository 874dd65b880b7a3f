"""The log. It appends; it never decides, edits or deletes.

Every event is one row of a stream (a partner's, a person's, a client's, a programme's) with a gapless version, and has a
gapless position in the whole. Its canonical bytes are stored once, sealed by a hash that covers the hash before it in the
same stream. Beside the events stand the receipts (source + id -> position), written in the same transaction, for ever.

What it promises: a receipt that was handed out is durable; a transaction is there whole or not at all; the order of positions is the
order of commits, so a reader that has seen position p has seen all before it. How a database keeps that is said in `log_sqlite` and
`log_postgres`, the only importers of `eventsourcing`, whose recorders they are built on.

It refuses to know what an event means: it is given streams, kinds and bytes. Whether a fact is right is for `ledger.intake`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from struct import Struct
from threading import Lock
from typing import Any, NamedTuple

from ledger.errors import LogError, NotFound, Refusal
from ledger.events.envelope import Event, Sealed, decode, read
from ledger.instants import BEGINNING, Instant
from ledger.log_database import Cursor, Database, Taken

LEDGER = "ledger"
"""The source of what is derived from an input, and has no receipt of its own."""

GENESIS = bytes(32)
"""What the first event of a stream has as the hash before it."""

STREAM_KINDS = ("partner", "person", "client", "programme", "ledger")

_HEADS_MAX = 200_000
_REFILL_VALUES = 20_000
_WHEN = Struct(">q")
_STATE_BODY = 72  # hash 32, previous 32, recorded_at 8, then the bytes of the event

Entry = tuple[str, str, bytes, str, str, int]
"""One row to be appended: stream, kind and bytes of an event; source, id and number of rows of the input whose receipt it bears.

The number counts the rows that the input brings, its own first; a derived copy bears no receipt: '', '' and 0. A plain tuple,
because a million of them are made on the bulk path.
"""


class Filed(NamedTuple):
    """Where an input stands: its position, and the number of rows that it brought, itself included."""

    position: int
    rows: int


class Stored(NamedTuple):
    """A row of the log as it lies there; `body` is the event's canonical bytes, not decoded."""

    position: int
    stream: str
    version: int
    recorded_at: Instant
    previous: bytes
    hash: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Difference:
    """The first thing in which the log is not what it should be: a stable name, the position, and what was found."""

    name: str
    position: int
    stream: str
    found: str

    def __str__(self) -> str:
        return f"position {self.position} ({self.stream}): {self.found} [{self.name}]"


def seal(previous: bytes, stream: str, version: int, recorded_at: Instant, body: bytes) -> bytes:
    """The hash of an event: over the hash before it, its stream, its version, its recorded time and its bytes.

    Stream names hold no NUL and the other parts have fixed lengths, so no two events are hashed as the same bytes.
    """
    return sha256(b"".join((previous, stream.encode(), b"\0", _WHEN.pack(version), _WHEN.pack(recorded_at), body))).digest()


class Writing:
    """The end of the log, held by one writer: what is read here cannot change before the writer is done."""

    def __init__(self, database: Database, cursor: Cursor, heads: dict[str, tuple[int, bytes]], head: int) -> None:
        self._database = database
        self._cursor = cursor
        self._heads = heads
        self.head = head
        """The last position, those appended here included."""
        self.recorded_at: Instant = self._recorded_at_last()
        """The recorded time of the last position; the beginning of time while there is none."""

    def _recorded_at_last(self) -> Instant:
        row = self._cursor.execute("SELECT recorded_at FROM inserts ORDER BY position DESC LIMIT 1").fetchone()
        return BEGINNING if row is None else row[0]

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Cursor:
        """For what is kept beside the events and has to be there with them or not at all."""
        return self._cursor.execute(statement, parameters)

    def filed(self, source: str, id: str) -> tuple[Filed, bytes] | None:
        """The receipt of an input and the bytes that were accepted under it."""
        row = self._cursor.execute(
            "SELECT position, row_count, substr(state, ?) FROM receipts "
            f"JOIN stored_events ON {self._database.position} = position WHERE source = ? AND id = ?",
            (_STATE_BODY + 1, source, id),
        ).fetchone()
        return None if row is None else (Filed(row[0], row[1]), row[2])

    def version(self, stream: str) -> int:
        """The last version of a stream; 0 while it has none."""
        self._know({stream})
        return self._heads[stream][0]

    def append(self, entries: Sequence[Entry], *, recorded_at: Instant) -> range:
        """Seal and write the entries, in order. Returns their positions.

        Raises `Taken` where an id has a receipt already; then nothing was written and the writing can go on.
        """
        assert recorded_at >= self.recorded_at, "recorded time runs backwards"
        if not entries:
            return range(0)
        positions = range(self.head + 1, self.head + 1 + len(entries))
        self._know({entry[0] for entry in entries})
        events, receipts = self._sealed(entries, recorded_at)
        try:  # the receipts before all else, because an id that is taken shows itself here
            self._database.put_receipts(self._cursor, receipts)
        except Taken:
            self._heads.clear()
            raise
        self._database.put_events(self._cursor, events)
        self._cursor.execute("INSERT INTO inserts VALUES (?,?)", (positions[-1], recorded_at))
        self.head, self.recorded_at = positions[-1], recorded_at
        return positions

    def refill(self, rows: Iterable[tuple[Stored, int]]) -> int:
        """See `Log.refill`."""
        events: list[Any] = []
        receipts: list[list[Any]] = []
        whole = 0
        for row, insert in rows:
            event = self._fitting(row)
            if event.source != LEDGER:
                receipts.append([event.source, event.id, row.position, 1])
            else:
                receipts[-1][3] += 1
            when = _WHEN.pack(row.recorded_at)
            events += row.position, row.stream, row.version, event.kind, row.hash + self._heads[row.stream][1] + when + row.body
            self._heads[row.stream] = row.version, row.hash
            self.head = row.position
            if row.position == insert:
                self._cursor.execute("INSERT INTO inserts VALUES (?,?)", (insert, row.recorded_at))
                whole = insert
                if len(events) > _REFILL_VALUES:
                    self._put(events, receipts)
                    events, receipts = [], []
        self._put(events, receipts)
        if whole != self.head:
            raise LogError(f"position {self.head} does not end an insert", hint="leave the last insert out", code="log_refill")
        return self.head

    def _put(self, events: list[Any], receipts: list[list[Any]]) -> None:
        self._database.put_receipts(self._cursor, [value for receipt in receipts for value in receipt])
        self._database.put_events(self._cursor, events)

    def _fitting(self, row: Stored) -> Event:
        version, previous = self._heads.setdefault(row.stream, (0, GENESIS))
        expected = seal(previous, row.stream, row.version, row.recorded_at, row.body)
        event = read(row.body)
        if (row.position, row.version) != (self.head + 1, version + 1) or row.hash != expected or isinstance(event, Refusal):
            what = f"position {row.position} ({row.stream}, version {row.version}) does not follow position {self.head} or was altered"
            raise LogError(what, hint="the rows are not those of one log", code="log_refill")
        return event

    def _sealed(self, entries: Sequence[Entry], recorded_at: Instant) -> tuple[list[Any], list[Any]]:
        """The values of the two tables, row after row. This loop is the bulk path: it calls and makes nothing that it does not need."""
        when, pack, heads, join = _WHEN.pack(recorded_at), _WHEN.pack, self._heads, b"".join
        events: list[Any] = []
        receipts: list[Any] = []
        for position, (stream, kind, body, source, id, row_count) in enumerate(entries, self.head + 1):
            version, previous = heads[stream]
            version += 1
            sealed = sha256(join((previous, stream.encode(), b"\0", pack(version), when, body))).digest()
            heads[stream] = version, sealed
            events += position, stream, version, kind, join((sealed, previous, when, body))
            if row_count:
                receipts += source, id, position, row_count
        return events, receipts

    def _know(self, streams: set[str]) -> None:
        """The last version and hash of each, asked for at once."""
        if unknown := {stream for stream in streams if stream not in self._heads}:  # a difference would go through all heads
            self._heads.update(dict.fromkeys(unknown, (0, GENESIS)))
            self._heads.update(self._database.heads(self._cursor, unknown))


class Log:
    """The book of record, in one SQLite file or one PostgreSQL database. Safe for several threads and several processes at once."""

    def __init__(self, where: Path | str, *, create: bool = True, synchronous: str = "FULL", lock_seconds: int = 10) -> None:
        """Open the log at a path or a `postgresql://` URL, and make it where there is none and `create` allows it.

        Raises NotFound (nothing is there) and LogError (another kind of database, another format, locked, damaged, out of reach).
        """
        self._lock = Lock()
        self._heads: dict[str, tuple[int, bytes]] = {}
        self._heads_at = -1
        if is_url(where):
            from ledger.log_postgres import PostgresDatabase

            self.database: Database = PostgresDatabase(str(where), lock_seconds=lock_seconds)
        else:
            from ledger.log_sqlite import SqliteDatabase

            if not create and not Path(where).exists():
                raise _nothing(str(where))
            self.database = SqliteDatabase(Path(where), synchronous=synchronous, lock_seconds=lock_seconds)
        with self._speaking():
            if not self.database.is_made():
                if not create:
                    raise _nothing(self.database.name)
                self.database.make()

    def close(self) -> None:
        self.database.close()

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
                with self.database.writing() as cursor:
                    writing = Writing(self.database, cursor, self._heads, self._head_under_lock(cursor))
                    yield writing
            except BaseException:
                self._heads_at = -1
                raise
            self._heads_at = writing.head

    def _head_under_lock(self, cursor: Cursor) -> int:
        """The last position; the known heads of streams are dropped where someone else has written since."""
        head: int = cursor.execute(f"SELECT MAX({self.database.position}) FROM stored_events").fetchone()[0] or 0
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
        return self._one(f"SELECT MAX({self.database.position}) FROM stored_events") or 0

    def tail(self, after: int = 0, limit: int = 1000) -> list[Sealed]:
        """The events after a position, in order of position."""
        position = self.database.position
        return self._events(f"WHERE {position} > ? ORDER BY {position} LIMIT ?", (after, limit))

    def stored(self, after: int = 0, limit: int = 1000) -> list[Stored]:
        """The rows after a position, in order of position, as they lie there."""
        position = self.database.position
        rows = self._rows(*self._select(f"WHERE {position} > ? ORDER BY {position} LIMIT ?", (after, limit)))
        return [_stored(*row) for row in rows]

    def stored_at(self, positions: Sequence[int]) -> list[Stored]:
        """The rows at positions, in order of position."""
        column = self.database.position
        marks = ",".join("?" * len(positions))
        return [_stored(*row) for row in self._rows(*self._select(f"WHERE {column} IN ({marks}) ORDER BY {column}", positions))]

    def insert_ends(self, after: int, limit: int) -> list[int]:
        """The last positions of the inserts that reach beyond a position, at most so many."""
        return [row[0] for row in self._rows("SELECT position FROM inserts WHERE position > ? ORDER BY position LIMIT ?", (after, limit))]

    def refill(self, rows: Iterable[tuple[Stored, int]]) -> int:
        """Fill an empty log with the rows of another, each with the last position of its insert; one transaction.

        Every place and seal is checked. Raises LogError: `log_not_empty`, or `log_refill` with the first row that does not fit.
        """
        with self.writing() as writing:
            if writing.head:
                raise LogError(
                    f"{self.database.name} has {writing.head} events", hint="restore into an empty database", code="log_not_empty"
                )
            return writing.refill(rows)

    def history(self, stream: str, *, after_version: int = 0, until_position: int | None = None, kinds: Iterable[str] = ()) -> list[Sealed]:
        """The events of a stream in order of version: those after a version, up to a position, of some kinds."""
        where, parameters = "WHERE originator_id = ? AND originator_version > ?", [stream, after_version]
        if until_position is not None:
            where, parameters = f"{where} AND {self.database.position} <= ?", [*parameters, until_position]
        if wanted := list(kinds):
            where, parameters = f"{where} AND topic IN ({','.join('?' * len(wanted))})", [*parameters, *wanted]
        return self._events(f"{where} ORDER BY originator_version", parameters)

    def histories(self, after: Mapping[str, int], until_position: int) -> dict[str, list[Sealed]]:
        """The events of many streams beyond a version of each (0: all) up to a position, each in order of version."""
        found: dict[str, list[Sealed]] = {stream: [] for stream in after}
        whole = [stream for stream, version in after.items() if not version]
        wheres = [f"originator_id IN ({','.join('?' * len(whole))})"] if whole else []
        parameters: list[Any] = [*whole]
        for stream, version in after.items():
            if version:
                wheres.append("(originator_id = ? AND originator_version > ?)")
                parameters += stream, version
        if not wheres:
            return found
        where = f"WHERE ({' OR '.join(wheres)}) AND {self.database.position} <= ? ORDER BY originator_id, originator_version"
        for sealed in self._events(where, [*parameters, until_position]):
            found[sealed.stream].append(sealed)
        return found

    def get(self, position: int) -> Sealed:
        """The event at a position. Raises NotFound."""
        if found := self._events(f"WHERE {self.database.position} = ?", (position,)):
            return found[0]
        raise NotFound(f"there is no position {position}", hint=f"the last one is {self.head()}")

    def filed(self, source: str, id: str) -> Filed | None:
        """The receipt of an input, if it was ever accepted."""
        found = self._rows("SELECT position, row_count FROM receipts WHERE source = ? AND id = ?", (source, id))
        return Filed(*found[0]) if found else None

    def recorded_at(self, position: int) -> Instant:
        """When the event at a position was recorded. Raises NotFound."""
        found = self._one(f"SELECT substr(state, 65, 8) FROM stored_events WHERE {self.database.position} = ?", (position,))
        if found is None:
            raise NotFound(f"there is no position {position}", hint=f"the last one is {self.head()}")
        return int.from_bytes(found, "big", signed=True)

    def position_at(self, recorded_at: Instant) -> int:
        """The last position that was recorded at or before an instant; 0 where there is none."""
        return self._one("SELECT MAX(position) FROM inserts WHERE recorded_at <= ?", (recorded_at,)) or 0

    def streams(self, prefix: str = "") -> list[str]:
        """The names of all streams that begin so, in order of name. It reads an index of all events."""
        statement = "SELECT DISTINCT originator_id FROM stored_events WHERE originator_id >= ? AND originator_id < ? ORDER BY originator_id"
        return [row[0] for row in self._rows(statement, _named(prefix))]

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """The last version of each stream that begins so. It reads an index of all events."""
        named = "originator_id >= ? AND originator_id < ?"
        statement = f"SELECT originator_id, MAX(originator_version) FROM stored_events WHERE {named} GROUP BY originator_id"
        return dict(self._rows(statement, _named(prefix)))

    def streams_of(self, after: int, until: int) -> list[str]:
        """The streams that have an event in (after, until], in order of name."""
        statement = f"SELECT DISTINCT originator_id FROM stored_events WHERE {self.database.position} > ? AND {self.database.position} <= ?"
        return sorted(row[0] for row in self._rows(statement, (after, until)))

    def insert_end(self, position: int) -> int:
        """The last position at or before this one that ends an insert; 0 where none does."""
        return self._one("SELECT MAX(position) FROM inserts WHERE position <= ?", (position,)) or 0

    def verify(self, after: int = 0) -> Difference | None:
        """Walk the whole log; the first difference by name, or None where all of it is as it was written.

        `after`: the end of an insert, up to which it was walked before. What lies before is taken as it is, and surplus receipts are not
        looked for. Names: position_gap, recorded_backwards, version_gap, previous_hash, hash, unreadable, kind, receipt_missing,
        receipt_differs, receipts_surplus, insert_differs.
        """
        with self._speaking(), self.database.reading() as cursor:
            return _Walk(self.database, cursor, after).first_difference()

    # Inside --------------------------------------------------------------------------------------------------

    def _events(self, where: str, parameters: Sequence[Any]) -> list[Sealed]:
        return [_unsealed(*row) for row in self._rows(*self._select(where, parameters))]

    def _select(self, where: str, parameters: Sequence[Any]) -> tuple[str, Sequence[Any]]:
        return f"SELECT {self.database.position}, originator_id, originator_version, state FROM stored_events {where}", parameters

    def _one(self, statement: str, parameters: Sequence[Any] = ()) -> Any:
        rows = self._rows(statement, parameters)
        return rows[0][0] if rows else None

    def _rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._speaking(), self.database.reading() as cursor:
            return cursor.execute(statement, parameters).fetchall()

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Say what the database's errors mean for the one who asked."""
        try:
            yield
        except self.database.errors as error:
            raise self.database.told(error) from error


def migrate(where: Path | str) -> None:
    """Bring a log's schema to the one that this program works with; on SQLite there is only one. Raises as `Log` does."""
    if is_url(where):
        from ledger.log_postgres import PostgresDatabase

        database = PostgresDatabase(str(where), lock_seconds=10)
        try:
            database.make()
        except database.errors as error:
            raise database.told(error) from error
        finally:
            database.close()
    Log(where, create=False).close()


def is_url(where: Path | str) -> bool:
    return str(where).startswith(("postgresql://", "postgres://"))


def _nothing(name: str) -> NotFound:
    return NotFound(f"there is no ledger at {name}", hint="record something first, or name another path")


def _stored(position: int, stream: str, version: int, state: bytes) -> Stored:
    recorded_at = int.from_bytes(state[64:_STATE_BODY], "big", signed=True)
    return Stored(position, stream, version, recorded_at, state[32:64], state[:32], state[_STATE_BODY:])


def _unsealed(position: int, stream: str, version: int, state: bytes) -> Sealed:
    event = read(state[_STATE_BODY:])
    if isinstance(event, Refusal):
        raise LogError(f"the event at position {position} cannot be read: {event}", hint="run verify", code="log_damaged")
    recorded_at = int.from_bytes(state[64:_STATE_BODY], "big", signed=True)
    return Sealed(position, stream, version, recorded_at, state[32:64], state[:32], event)


class _Walk:
    """One reading of the whole log, row by row, with what the rows so far lead one to expect of the next."""

    def __init__(self, database: Database, cursor: Cursor, after: int) -> None:
        self._database = database
        self._cursor = cursor
        self._after = after
        self._heads: dict[str, tuple[int, bytes]] = {}
        found = cursor.execute("SELECT recorded_at FROM inserts WHERE position = ?", (after,)).fetchone()
        self._recorded_at = found[0] if found else BEGINNING
        self._receipt_until = after  # the last position of the input whose rows are being read
        self._receipts_seen = 0
        self._inserts = database.stream(cursor, f"SELECT position, recorded_at FROM inserts WHERE position > {after:d} ORDER BY position")
        self._insert: tuple[int, Instant] = (after, self._recorded_at)

    def first_difference(self) -> Difference | None:
        by = self._database.position
        columns = f"{by}, originator_id, originator_version, topic, state"
        rows = self._database.stream(self._cursor, f"SELECT {columns} FROM stored_events WHERE {by} > {self._after:d} ORDER BY {by}")
        position = self._after
        for position, (at, stream, version, kind, state) in enumerate(rows, self._after + 1):
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
        version, previous = self._heads.get(row.stream) or self._before(row.stream)
        if row.version != version + 1:
            return "version_gap", f"version {row.version} follows {version}"
        if row.previous != previous:
            return "previous_hash", "the hash before it is not that of the event before it"
        return None

    def _before(self, stream: str) -> tuple[int, bytes]:
        """Version and hash of the last event of a stream that was walked before."""
        if not self._after:
            return 0, GENESIS
        found = self._cursor.execute(
            "SELECT originator_version, substr(state, 1, 32) FROM stored_events "
            f"WHERE originator_id = ? AND {self._database.position} <= ? ORDER BY originator_version DESC LIMIT 1",
            (stream, self._after),
        ).fetchone()
        return (0, GENESIS) if found is None else (found[0], bytes(found[1]))

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
        found = self._cursor.execute("SELECT position, row_count FROM receipts WHERE source = ? AND id = ?", (source, id)).fetchone()
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
            self._insert = next(self._inserts, (0, BEGINNING))
        if row.position > self._insert[0] or row.recorded_at != self._insert[1]:
            return "insert_differs", "the list of inserts does not cover it"
        self._recorded_at = row.recorded_at
        return None

    def _rest(self, head: int) -> Difference | None:
        """What stands beside the events and belongs to none of them."""
        if self._receipt_until > head:
            return Difference("receipt_differs", head, "", "the last receipt counts more rows than there are")
        receipts = self._receipts_seen if self._after else self._cursor.execute("SELECT COUNT(*) FROM receipts").fetchone()[0]
        if receipts != self._receipts_seen:
            return Difference("receipts_surplus", head, "", f"{receipts} receipts for {self._receipts_seen} inputs")
        if self._insert[0] != head or next(self._inserts, None) is not None:
            return Difference("insert_differs", head, "", "the list of inserts goes on after the last event")
        return None


class _Row:
    """A row of the log, taken apart."""

    __slots__ = ("body", "hash", "kind", "position", "previous", "recorded_at", "stream", "version")

    def __init__(self, position: int, stream: str, version: int, kind: str, state: bytes) -> None:
        self.position, self.stream, self.version, self.kind = position, stream, version, kind
        self.hash, self.previous, self.body = state[:32], state[32:64], state[_STATE_BODY:]
        self.recorded_at: Instant = int.from_bytes(state[64:_STATE_BODY], "big", signed=True)


def _named(prefix: str) -> tuple[str, str]:
    """Before, and beyond, what begins so."""
    return prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else "\x7f"
