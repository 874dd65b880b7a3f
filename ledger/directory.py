"""The directory: names, e-mail addresses and links of partners, clients, contacts and persons.

It lies outside the log, and can be erased without touching a score or a proof. No rule and no event depends on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Column, MetaData, Table, Text, delete, select

from ledger.engines import open_engine, upsert

KINDS = ("partner", "client", "contact", "person")

_METADATA = MetaData()
_ENTRIES = Table(
    "directory",
    _METADATA,
    Column("kind", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("name", Text),
    Column("email", Text),
    Column("crm_record", Text),
    Column("account", Text),
)


class Entry(NamedTuple):
    """Who an opaque id is; `crm_record` and `account` are links."""

    kind: str
    id: str
    name: str | None = None
    email: str | None = None
    crm_record: str | None = None
    account: str | None = None


class Directory:
    """One SQLite file, in which what is erased is overwritten (`secure_delete`); or a table beside the log in PostgreSQL."""

    def __init__(self, where: Path | str) -> None:
        self._engine = open_engine(where, called="the directory", hint="restore a copy", pragmas=("secure_delete=ON",))
        _METADATA.create_all(self._engine)

    def close(self) -> None:
        self._engine.dispose()

    def put(self, *entries: Entry) -> None:
        """What is stated replaces what was stated before."""
        for entry in entries:
            if entry.kind not in KINDS:
                raise ValueError(f"{entry.kind!r} is none of {', '.join(KINDS)}")
        with self._engine.begin() as connection:
            for entry in entries:
                upsert(connection, _ENTRIES, ["kind", "id"], entry._asdict())

    def get(self, kind: str, id: str) -> Entry:
        """The entry, or one that knows the id alone."""
        with self._engine.connect() as connection:
            row = connection.execute(select(_ENTRIES).where(_ENTRIES.c.kind == kind, _ENTRIES.c.id == id)).first()
        return Entry(kind, id) if row is None else Entry(*row)

    def all(self, kind: str) -> list[Entry]:
        with self._engine.connect() as connection:
            rows = connection.execute(select(_ENTRIES).where(_ENTRIES.c.kind == kind).order_by(_ENTRIES.c.id)).all()
        return [Entry(*row) for row in rows]

    def erase(self, kind: str, id: str) -> bool:
        """Whether there was anything to erase."""
        with self._engine.begin() as connection:
            gone = connection.execute(delete(_ENTRIES).where(_ENTRIES.c.kind == kind, _ENTRIES.c.id == id)).rowcount
        return gone > 0
