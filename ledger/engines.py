"""The databases beside the log, by SQLAlchemy: an SQLite file, or the PostgreSQL database in which the log is.

What goes wrong in one is told as an error of the ledger, wherever it comes up. `hint` says what to do about a file that is damaged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import Connection, Engine, ExceptionContext, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite

from ledger.errors import LogError

POSTGRES = ("postgresql://", "postgres://")


def open_engine(where: Path | str, *, called: str, hint: str, pragmas: Sequence[str] = ()) -> Engine:
    """An engine whose errors are LogError: `called` says what the database holds."""
    if str(where).startswith(POSTGRES):
        url = make_url("postgresql+psycopg://" + str(where).partition("://")[2])
        name = f"{called} in postgresql://{url.host or url.query.get('host', 'localhost')}/{url.database}"
        engine = create_engine(url, connect_args={"connect_timeout": 5, "application_name": "points-ledger"}, pool_pre_ping=True)
    else:
        name = f"{called} {where}"
        engine = create_engine(f"sqlite:///{where}")

        @event.listens_for(engine, "connect")
        def _configure(connection: Any, _: object) -> None:
            try:
                for pragma in pragmas:
                    connection.execute(f"PRAGMA {pragma}")
            except sqlite3.Error as error:
                _tell(error, name, hint)

    @event.listens_for(engine, "handle_error")
    def _handle(context: ExceptionContext) -> None:
        _tell(context.original_exception, name, hint)

    return engine


def on_postgres(engine: Engine | Connection) -> bool:
    return engine.dialect.name == "postgresql"


def upsert(connection: Connection, table: Table, keys: Sequence[str], *rows: dict[str, Any]) -> None:
    """What is stated replaces what was stated before under the same keys."""
    if rows:
        made = (postgresql if on_postgres(connection) else sqlite).insert(table)
        changed = {name: made.excluded[name] for name in rows[0] if name not in keys}
        connection.execute(made.on_conflict_do_update(index_elements=list(keys), set_=changed), list(rows))


def put(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Many new rows, in the order of the table's columns. SQLAlchemy's own insert of many takes three times as long."""
    if not rows:
        return
    if on_postgres(connection):
        arrays = ",".join(f"%s::{'bigint' if 'INT' in str(column.type) else 'text'}[]" for column in table.columns)
        columns = tuple(list(column) for column in zip(*rows, strict=True))
        connection.exec_driver_sql(f"INSERT INTO {table.name} SELECT * FROM unnest({arrays})", columns)
    else:
        connection.exec_driver_sql(f"INSERT INTO {table.name} VALUES ({','.join('?' * len(table.columns))})", list(rows))


def _tell(error: BaseException | None, name: str, hint: str) -> NoReturn:
    said = str(error).strip().partition("\n")[0]
    if "locked" in said or "lock timeout" in said or "deadlock" in said:
        raise LogError(f"{name}: another process has it", hint="wait for it, or stop it", code="side_busy") from error
    if "full" in said or "No space" in said:
        raise LogError(f"{name}: no room left", hint="make room, and do it again", code="side_disk_full") from error
    if "readonly" in said or "unable to open" in said or "permission" in said:
        raise LogError(f"{name} cannot be opened or written: {said}", hint="check the path and its rights", code="side_access") from error
    if isinstance(error, sqlite3.DatabaseError):
        raise LogError(f"{name} is damaged, or no database: {said}", hint=hint, code="side_damaged") from error
    raise LogError(f"{name}: {said}", hint="start the server, or check the URL", code="side_connection_lost") from error
