"""One snapshot of the read models that only reads, for statements of anybody: rows come as they are asked for, and are not held."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite
from typing import Any

from sqlalchemy import Engine

from ledger.engines import on_postgres
from ledger.errors import LedgerError

_AT_ONCE = 1000
_NOTHING = "the statement gives no rows"

Row = tuple[Any, ...]


class QueryError(LedgerError):
    """A statement that the read models do not answer."""

    code = "query_failed"
    exit_code = 2


class Reader:
    """Every statement sees the same rows, whatever is written meanwhile."""

    def __init__(self, connection: Any, *, postgres: bool, chunked: bool) -> None:
        self.postgres = postgres
        self._connection = connection
        self._size = _AT_ONCE if chunked else 1

    def select(self, statement: str) -> tuple[list[str], Iterator[Row]]:
        """The columns and rows of one statement; no other may begin before its rows are read. Raises QueryError where it gives none."""
        if self.postgres:
            return self._described(statement), self._connection.cursor().stream(statement, size=self._size)
        cursor = self._connection.cursor()
        cursor.execute(statement)
        if cursor.description is None:
            raise QueryError(_NOTHING, hint="it may read, and only read")
        return [column[0] for column in cursor.description], iter(cursor)

    def _described(self, statement: str) -> list[str]:
        """The columns, before it is run: the server takes one statement, and says what it gives."""
        server = self._connection.driver_connection.pgconn
        for found in (server.prepare(b"", statement.encode()), server.describe_prepared(b"")):
            if found.error_message:
                raise QueryError(_first_line(found.error_message.decode()), hint=_HINT)
        if not found.nfields:
            raise QueryError(_NOTHING, hint="it may read, and only read")
        return [found.fname(i).decode() for i in range(found.nfields)]


_HINT = "points schema lists the views and their columns"


@contextmanager
def reading(engine: Engine) -> Iterator[Reader]:
    """A connection of its own, which is used for nothing else after it. What goes wrong with a statement is a QueryError."""
    connection: Any = engine.raw_connection()
    dbapi: Any = engine.dialect.dbapi
    postgres = on_postgres(engine)
    try:
        cursor = connection.cursor()
        if postgres:
            cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SET TIME ZONE 'UTC'")  # in which the year 1 is one that can be read
            connection.commit()
        else:
            cursor.execute("PRAGMA query_only = ON")
            cursor.execute("BEGIN")
        yield Reader(connection, postgres=postgres, chunked=postgres and dbapi.capabilities.has_stream_chunked())
    except (connection.dbapi_connection.Error, dbapi.Error) as error:
        raise QueryError(_first_line(str(error)), hint=_HINT) from error
    finally:
        connection.invalidate()


def _first_line(said: str) -> str:
    return said.strip().partition("\n")[0].removeprefix("ERROR:").strip()


def plain_rows(rows: Iterable[Row]) -> Iterator[Row]:
    """As `plain` has each value."""
    return (row if _PLAIN.issuperset(map(type, row)) else tuple(map(plain, row)) for row in rows)


_PLAIN = frozenset((str, int, type(None)))


def plain(value: Any) -> Any:
    """What every program reads: times as texts, decimals as whole numbers where they are whole, bytes in hexadecimal."""
    match value:
        case None | str() | int():
            return value
        case float():
            return value if isfinite(value) else str(value)
        case Decimal():
            return int(value) if value.is_finite() and value == int(value) else str(value)
        case datetime(tzinfo=None):
            return value.isoformat(timespec="microseconds")
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case bytes():
            return value.hex()
        case list():
            return [plain(part) for part in value]
        case dict():
            return {str(name): plain(part) for name, part in value.items()}
    return str(value)
