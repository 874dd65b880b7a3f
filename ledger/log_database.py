"""What the log needs of a database, and what is the same in all of them.

SQL is written once, with `?` for a value; a backend says what its column of positions is called and how it holds, reads and inserts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ledger.errors import LogError

FORMAT = 1
"""The version of the schema and of the seal; kept in the database, checked when it is opened."""


class Taken(LogError):
    """An id among the receipts to be written is there already; nothing of the batch was written."""

    code = "log_id_taken"

    def __init__(self) -> None:
        super().__init__("an id of the batch has been recorded before", hint="look its receipt up")


class Cursor(Protocol):
    """One connection in one transaction."""

    def execute(self, statement: str, parameters: Sequence[Any] = ..., /) -> Cursor: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Session(Protocol):
    """One connection, which the server ends when nothing is asked for some seconds. Every statement is a transaction of its own, except
    within `transaction`. Raises LogError."""

    def execute(self, statement: str, parameters: Sequence[Any] = ...) -> list[Any]:
        """Its rows, if it has any."""

    def changed(self, statement: str, parameters: Sequence[Any] = ...) -> int:
        """How many rows it changed."""

    def transaction(self) -> AbstractContextManager[None]: ...

    def close(self) -> None: ...

    def __enter__(self) -> Session: ...

    def __exit__(self, *_: object) -> None: ...


class Database(ABC):
    """A database that holds a log. Safe for several threads and processes."""

    name: str
    """How messages call it; never with a password."""

    position: str
    """The column of positions in `stored_events`, as the recorder names it."""

    errors: tuple[type[Exception], ...]
    """What it raises; `told` says what that means."""

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def is_made(self) -> bool:
        """Whether the tables are there. Raises LogError where they are not ours, or of another format."""

    @abstractmethod
    def make(self) -> None:
        """Make the tables, unless another process was quicker."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Cursor]:
        """A transaction that reads: what it sees is of one moment."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Cursor]:
        """A transaction that holds the end of the log, from its beginning to a durable commit."""

    def session(self, idle_seconds: float) -> Session:
        """A connection of its own, for the stations. Raises LogError where the database is none that they can share."""
        what = f"{self.name} is a file, and the stations need a ledger on PostgreSQL"
        raise LogError(what, hint="name one: POINTS_LEDGER_PATH=postgresql://user@host/database", code="stations_need_postgres")

    @abstractmethod
    def stream(self, cursor: Any, statement: str) -> Iterator[Any]:
        """The rows of a long answer in the cursor's transaction, while the cursor is used for others."""

    @abstractmethod
    def heads(self, cursor: Any, streams: Iterable[str]) -> dict[str, tuple[int, bytes]]:
        """Version and hash of the last event of each stream that has one."""

    @abstractmethod
    def put_receipts(self, cursor: Any, receipts: list[Any]) -> None:
        """source, id, position, rows of each in turn. Raises Taken; then nothing of them is there, and the transaction can go on."""

    @abstractmethod
    def put_events(self, cursor: Any, events: list[Any]) -> None:
        """position, stream, version, kind, state of each in turn."""

    @abstractmethod
    def told(self, error: Exception) -> LogError:
        """What an error of the database means for the one who asked."""


def foreign(name: str, hint: str) -> LogError:
    return LogError(f"{name} is a database, but not a points ledger", hint=hint, code="log_foreign")


def other_format(name: str, found: object) -> LogError:
    return LogError(
        f"{name} has format {found}, and this program reads format {FORMAT}",
        hint="use the version of the program that wrote it, or migrate",
        code="log_format",
    )
