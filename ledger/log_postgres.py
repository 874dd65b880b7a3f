"""The log's database on PostgreSQL, kept by `eventsourcing`'s recorder with psycopg.

- A receipt that was handed out survives a crash of the server: `synchronous_commit` is on for every connection.
- The order of positions is the order of commits: a writer locks the table against other writers, which does not stop readers, and a
  position is given out under that lock. Who waits longer than `lock_seconds` is told so.
- A writer that stops while it holds the lock is ended by the server after `IDLE_SECONDS`, and nothing of its batch is there.
- A database of another kind, format or revision is refused, never touched; `make` brings an earlier revision to this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import count
from typing import Any

import psycopg
from eventsourcing.persistence import PersistenceError
from eventsourcing.postgres import PostgresDatastore, PostgresProcessRecorder
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import tuple_row

from ledger.errors import LogError
from ledger.log_database import FORMAT, Cursor, Database, Taken, foreign, other_format

IDLE_SECONDS = 10
"""How long a transaction may do nothing: a writer that was stopped holds the end of the log no longer."""

REVISION = "0002"
"""The step of `ledger.migrations` that this program works with: the last one."""

CONNECT_SECONDS = 5
CONNECTIONS = 8
_PAGE = 5_000

TABLES = (
    "stored_events", "receipts", "inserts", "notification_tracking", "topics", "inbox", "origins", "refusals", "outbox", "relay", "relayed",
)  # fmt: skip


class LogDatastore(PostgresDatastore):
    """The library's datastore, of a URL, with text as stream names."""

    def __init__(self, url: str, *, lock_seconds: int = 10) -> None:
        asked = conninfo_to_dict(url)
        dbname, host, port, user, password = (str(asked.pop(name, "") or "") for name in ("dbname", "host", "port", "user", "password"))
        super().__init__(
            dbname, host, port, user, password,
            originator_id_type="text",
            lock_timeout=lock_seconds,
            idle_in_transaction_session_timeout=IDLE_SECONDS,
            connect_timeout=CONNECT_SECONDS,
            pool_size=1,
            max_overflow=CONNECTIONS - 1,
            pre_ping=True,
        )  # fmt: skip
        assert isinstance(self.pool.kwargs, dict)
        given = {name: value for name, value in {**self.pool.kwargs, **asked}.items() if value != ""}
        self.pool.kwargs = {**given, "connect_timeout": CONNECT_SECONDS, "application_name": "points-ledger"}


class LogRecorder(PostgresProcessRecorder):
    """The library's recorder on our tables, which `ledger.migrations` makes; what it adds itself are the functions of its own inserts."""

    def __init__(self, datastore: PostgresDatastore) -> None:
        super().__init__(datastore)
        self.sql_create_statements = [
            statement for i, statement in enumerate(self.sql_create_statements)
            if i != self.create_table_statement_index and "notification_id_idx" not in statement.as_string()
        ]  # fmt: skip


class _Written:
    """A cursor that takes `?` for a value."""

    def __init__(self, cursor: Any) -> None:
        self.plain = cursor
        self.fetchone, self.fetchall = cursor.fetchone, cursor.fetchall

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> _Written:
        self.plain.execute(_translated(statement), parameters)
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(self.plain)


@cache
def _translated(statement: str) -> str:
    return statement.replace("?", "%s")


class PostgresDatabase(Database):
    """One database, in the schema that the connection finds first."""

    position = "notification_id"
    errors = (PersistenceError, psycopg.Error)

    def __init__(self, url: str, *, lock_seconds: int) -> None:
        asked = conninfo_to_dict(url)
        self.name = f"postgresql://{asked.get('host') or 'localhost'}/{asked.get('dbname') or ''}"
        self._url, self._lock_seconds = url, lock_seconds
        self._datastore = LogDatastore(url, lock_seconds=lock_seconds)
        self._recorder: LogRecorder | None = None
        self._names = count(1)

    @property
    def recorder(self) -> LogRecorder:
        if self._recorder is None:
            self._recorder = LogRecorder(self._datastore)
        return self._recorder

    def close(self) -> None:
        self._datastore.close()

    @contextmanager
    def reading(self) -> Iterator[Cursor]:
        with self._datastore.transaction(commit=False) as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield _plain(cursor)

    @contextmanager
    def writing(self) -> Iterator[Cursor]:
        with self._datastore.transaction(commit=True) as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{self._lock_seconds}s'; SET LOCAL synchronous_commit = on")
            cursor.execute("LOCK TABLE stored_events IN EXCLUSIVE MODE")
            yield _plain(cursor)

    def session(self, idle_seconds: float) -> Session:
        """A connection of its own. Raises LogError."""
        return Session(self, self._url, idle_seconds)

    def is_made(self) -> bool:
        psycopg.connect(self._url, connect_timeout=CONNECT_SECONDS).close()  # what is wrong is said here; a pool would only wait
        with self._datastore.transaction(commit=False) as cursor:
            return self._is_made(_plain(cursor))

    def make(self) -> None:
        """Make the tables, or bring those of an earlier version to this one."""
        from ledger.migrations import upgrade

        upgrade(self._url)

    def _is_made(self, cursor: Cursor) -> bool:
        there = {name for (name,) in cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").fetchall()}
        if not there & {"points_ledger", "alembic_version", *TABLES}:
            return False
        if not {"points_ledger", "alembic_version"} <= there:
            raise foreign(self.name, "name another database, or a schema of its own: ?options=-csearch_path%3Dledger")
        found = cursor.execute("SELECT format FROM points_ledger").fetchall()
        if found != [(FORMAT,)]:
            raise other_format(self.name, ", ".join(str(row[0]) for row in found) or "none")
        self._check_revision([row[0] for row in cursor.execute("SELECT version_num FROM alembic_version").fetchall()])
        if lacking := set(TABLES) - there:
            what = f"{self.name}: its schema is of revision {REVISION} and lacks {', '.join(sorted(lacking))}"
            raise LogError(what, hint="someone has changed it by hand; restore it", code="log_schema")
        return True

    def _check_revision(self, found: list[str]) -> None:
        if found == [REVISION]:
            return
        if len(found) == 1 and found[0] < REVISION:
            what = f"{self.name}: its schema is of revision {found[0]}, and this program needs {REVISION}"
            raise LogError(what, hint="stop the stations, and run migrate", code="log_schema_old")
        what = f"{self.name}: its schema is of revision {', '.join(found) or 'none'}, which this program does not know"
        raise LogError(what, hint="use the version of the program that wrote it", code="log_schema")

    def stream(self, cursor: Any, statement: str) -> Iterator[Any]:
        """By a cursor on the server, a page at a time."""
        with cursor.plain.connection.cursor(name=f"stream_{next(self._names)}", row_factory=tuple_row, binary=True) as other:
            other.itersize = _PAGE
            other.execute(statement)
            yield from other

    def heads(self, cursor: Any, streams: Iterable[str]) -> dict[str, tuple[int, bytes]]:
        found = cursor.plain.execute(
            "SELECT stream, version, hash FROM unnest(%b::text[]) AS stream, LATERAL ("
            "SELECT originator_version AS version, substr(state, 1, 32) AS hash FROM stored_events "
            "WHERE originator_id = stream ORDER BY originator_version DESC LIMIT 1) AS last",
            (list(streams),),
        )  # fmt: skip
        return {stream: (version, sealed) for stream, version, sealed in found}

    def put_receipts(self, cursor: Any, receipts: list[Any]) -> None:
        columns = [receipts[i::4] for i in range(4)]
        cursor.plain.execute("SAVEPOINT receipts")
        cursor.plain.execute(
            "INSERT INTO receipts SELECT * FROM unnest(%b::text[], %b::text[], %b::bigint[], %b::bigint[]) ON CONFLICT DO NOTHING",
            columns, prepare=True,
        )  # fmt: skip
        if cursor.plain.rowcount != len(columns[0]):
            cursor.plain.execute("ROLLBACK TO SAVEPOINT receipts")
            raise Taken
        cursor.plain.execute("RELEASE SAVEPOINT receipts")

    def put_events(self, cursor: Any, events: list[Any]) -> None:
        columns = [events[i::5] for i in range(5)]
        cursor.plain.execute(
            "INSERT INTO stored_events (notification_id, originator_id, originator_version, topic, state) "
            "SELECT * FROM unnest(%b::bigint[], %b::text[], %b::bigint[], %b::text[], %b::bytea[])",
            columns, prepare=True,
        )  # fmt: skip

    def told(self, error: Exception) -> LogError:
        said = str(error).strip()
        for marks, what, hint, code in _MEANINGS:
            if any(mark in said for mark in marks):
                return LogError(f"{self.name}: {what}", hint=hint, code=code)
        return LogError(f"{self.name}: {said.splitlines()[0] if said else type(error).__name__}", hint="nothing of the batch was written")


class Session:
    """One connection, which the server ends when nothing is asked for a few seconds: so a lock that it holds is free soon after its holder
    was stopped. Every statement is a transaction of its own, except within `transaction`. Raises LogError."""

    def __init__(self, database: PostgresDatabase, url: str, idle_seconds: float) -> None:
        self._database = database
        milliseconds = int(idle_seconds * 1000)
        options = f"-c idle_session_timeout={milliseconds} -c idle_in_transaction_session_timeout={milliseconds} -c synchronous_commit=on"
        given = conninfo_to_dict(url)
        given |= {"options": f"{given.get('options') or ''} {options}".strip(), "connect_timeout": CONNECT_SECONDS}
        with self._speaking():
            self._connection = psycopg.connect(make_conninfo("", **given, application_name="points-ledger"), autocommit=True)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Its rows, if it has any."""
        with self._speaking():
            cursor = self._connection.execute(_translated(statement).encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def changed(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        """How many rows it changed."""
        with self._speaking():
            return self._connection.execute(_translated(statement).encode(), parameters).rowcount

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._speaking(), self._connection.transaction():
            yield

    def stream(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[Any]:
        """The rows of a long answer, a page at a time, in a transaction of its own."""
        with self._speaking(), self._connection.transaction(), self._connection.cursor(name="stream", binary=True) as cursor:
            cursor.itersize = _PAGE
            cursor.execute(_translated(statement).encode(), parameters)
            yield from cursor

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise self._database.told(error) from error


_LOST = (
    "Connection refused", "could not translate host", "connection failed", "timeout", "server closed the connection",
    "the connection is lost", "connection is closed", "couldn't get a connection", "consuming input failed",
)  # fmt: skip
_ENDED = ("idle-in-transaction timeout", "idle-session timeout", "idle in transaction", "terminating connection due to")
_FULL = ("No space left", "disk full", "could not extend file")
_MEANINGS: list[tuple[tuple[str, ...], str, str, str]] = [
    (("lock timeout", "could not obtain lock"), "another writer holds the end of the log", "wait for it, or stop it", "log_busy"),
    (_ENDED, "the server ended the connection", "nothing of the batch was written; do it again", "log_connection_lost"),
    (("password", "role "), "the user or the password is wrong", "check the URL", "log_access"),
    (("permission denied", "must be owner"), "the user may not do that", "grant it the schema's tables", "log_access"),
    (("relation ",), "a table is missing or was changed", "was a later step of the schema undone? see migrate", "log_schema"),
    (("does not exist",), "there is no such database, or it was dropped", "create it, or check the URL", "log_access"),
    (_FULL, "no room left to write", "make room; nothing was half written", "log_disk_full"),
    (_LOST, "the server does not answer", "start it, or check host and port; nothing was half written", "log_connection_lost"),
]
"""What an error says, what that means, what next, and its code; the first that fits."""


def _plain(cursor: Any) -> Any:
    return _Written(cursor.connection.cursor(row_factory=tuple_row, binary=True))
