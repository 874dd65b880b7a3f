"""Everything from the topic: a ledger made anew from the stream of events alone, and the stream held against the log.

Restore: 1 lay down what the stream has, by position, what is there twice once and only where both are the same; 2 see that it goes 1..n
without a gap, in whole inserts; 3 fill the empty log, each seal checked; 4 set the marks: the relay goes on after n, the inbox after what
is known to have come from it, so that what was accepted and not yet published comes in again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from consumers.relay import PAGE, dressed, origins_of
from consumers.wire import Message, Seal, seal_of, stream_of
from ledger.errors import LedgerError
from ledger.instants import parse
from ledger.log import Log, Stored
from ledger.log_database import Session

T = TypeVar("T")
Progress = Callable[[int, int], None]

_PAGE = 2_000
_STAGE = (
    "CREATE TABLE restoring (position BIGINT PRIMARY KEY, stream TEXT NOT NULL, version BIGINT NOT NULL, recorded_at BIGINT NOT NULL, "
    'hash BYTEA NOT NULL, body BYTEA NOT NULL, insert_end BIGINT NOT NULL, topic TEXT, topic_id TEXT, partition INTEGER, "offset" BIGINT)'
)
_LAY = (
    "INSERT INTO restoring SELECT * FROM unnest(?::bigint[], ?::text[], ?::bigint[], ?::bigint[], ?::bytea[], ?::bytea[], ?::bigint[], "
    "?::text[], ?::text[], ?::int[], ?::bigint[]) ON CONFLICT DO NOTHING"
)


class StreamError(LedgerError):
    """The stream is not what a log has published."""

    code = "stream_differs"
    exit_code = 8


@dataclass(frozen=True, slots=True)
class Restored:
    """`events` are in the log. `beyond`: events of an insert that the stream has in part, so its topic cannot be gone on with."""

    events: int
    duplicates: int
    beyond: int
    ends: dict[int, int]
    """By partition the offset after the last message."""


def restore(log: Log, session: Session, stream: Iterable[Message], inbox_ids: Iterable[str]) -> Restored:
    """Fill an empty log on PostgreSQL from the stream. Raises LogError and StreamError; then the log is empty still."""
    session.execute("DROP TABLE IF EXISTS restoring")
    session.execute(_STAGE)
    received, ends = 0, dict[int, int]()
    for page in pages(stream, _PAGE):
        received += len(page)
        _lay(session, page)
        for message in page:
            ends[message.partition] = message.offset + 1
    ((distinct,),) = session.execute("SELECT COUNT(*) FROM restoring")
    whole = _whole(session)
    if whole < distinct:
        _only_the_end_is_open(session, whole)
    log.refill(_rows(session, whole))
    with session.transaction():
        session.execute(
            'INSERT INTO origins SELECT position, topic, topic_id, partition, "offset" FROM restoring '
            "WHERE topic IS NOT NULL AND position <= ?",
            (whole,),
        )
        session.execute(
            'INSERT INTO inbox (topic_id, partition, next, accepted) SELECT topic_id, partition, MAX("offset") + 1, COUNT(*) FROM origins '
            "WHERE topic_id = ANY(?) GROUP BY topic_id, partition",
            (list(inbox_ids),),
        )
        session.execute("UPDATE relay SET position = ?, epoch = epoch + 1", (whole if whole == distinct else 0,))
        session.execute("DROP TABLE restoring")
    return Restored(whole, received - distinct, distinct - whole, ends)


def _lay(session: Session, page: list[Message]) -> None:
    """A page by position. What is there already has to be the same."""
    rows: dict[int, tuple[object, ...]] = {}
    for message in page:
        row = _row(seal_of(message), message)
        if rows.setdefault(row[0], row) != row:
            raise _two(row[0], message)
    columns = [list(column) for column in zip(*rows.values(), strict=True)]
    if session.changed(_LAY, columns) == len(rows):
        return
    there = session.execute("SELECT position, hash, body, insert_end FROM restoring WHERE position = ANY(?)", (list(rows),))
    for position, hash, body, insert in there:
        ours = rows[position]
        if (bytes(hash), bytes(body), insert) != (ours[4], ours[5], ours[6]):
            raise _two(position, next(message for message in page if seal_of(message).position == position))


def _row(seal: Seal, message: Message) -> tuple[int, str, int, int, bytes, bytes, int, str | None, str | None, int | None, int | None]:
    assert message.key is not None and message.value is not None
    origin = seal.origin
    came = (None,) * 4 if origin is None else (origin.topic, origin.topic_id, origin.partition, origin.offset)
    return (
        seal.position, stream_of(message.key), seal.version, parse(seal.recorded_at), bytes.fromhex(seal.hash), message.value, seal.insert,
        *came,
    )  # fmt: skip


def _two(position: int, message: Message) -> StreamError:
    what = f"position {position} is in the stream with two contents; one is at partition {message.partition}, offset {message.offset}"
    return StreamError(what, hint="two ledgers have published into this topic; each needs its own", code="stream_two_contents")


def _whole(session: Session) -> int:
    """The last position up to which nothing is missing and every insert is whole."""
    ((gapless,),) = session.execute(
        "SELECT COALESCE(MAX(position), 0) FROM (SELECT position, row_number() OVER (ORDER BY position) AS n FROM restoring) AS numbered "
        "WHERE position = n"
    )
    ((whole,),) = session.execute(
        "SELECT COALESCE(MAX(insert_end), 0) FROM restoring WHERE position = insert_end AND position <= ?", (gapless,)
    )
    return int(whole)


def _only_the_end_is_open(session: Session, whole: int) -> None:
    """Beyond the last whole insert there may only be what one page of the relay brings; more is a loss in the middle."""
    ((beyond,),) = session.execute("SELECT MAX(position) FROM restoring")
    ((first,),) = session.execute("SELECT MIN(position) FROM restoring WHERE position > ?", (whole,))
    ((page,),) = session.execute("SELECT COUNT(DISTINCT insert_end) FROM restoring WHERE position > ?", (whole,))
    if beyond - whole > PAGE and page > 1:
        what = f"after position {whole} the stream goes on at {first}, and has {beyond} as its last"
        raise StreamError(what, hint="events are missing in the middle: restore the topic from a copy", code="stream_gap")


def _rows(session: Session, until: int) -> Iterator[tuple[Stored, int]]:
    after = 0
    while after < until:
        page = session.execute(
            "SELECT position, stream, version, recorded_at, hash, body, insert_end FROM restoring WHERE position > ? AND position <= ? "
            "ORDER BY position LIMIT ?",
            (after, until, _PAGE),
        )
        for position, stream, version, recorded_at, hash, body, insert in page:
            yield Stored(position, stream, version, recorded_at, b"", bytes(hash), bytes(body)), insert
        after = page[-1][0]


# -- holding one against the other ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Compared:
    """How the stream and the log agree. `duplicates`: messages of a position that was there before."""

    events: int
    messages: int
    duplicates: int
    difference: str | None
    code: str = ""


def compare(log: Log, session: Session, stream: Iterable[Message]) -> Compared:
    """The stream against the log up to the relay's mark, both ways; the first difference, in words."""
    ((mark,),) = session.execute("SELECT position FROM relay")
    head, seen, counts = log.head(), bytearray(log.head() + 1), Counter[str]()
    for page in pages(stream, _PAGE):
        sought = {seal_of(message).position: message for message in page}
        ours = _ours(log, session, sorted(position for position in sought if 0 < position <= head))
        for message in page:
            position = seal_of(message).position
            place = f"position {position} (partition {message.partition}, offset {message.offset})"
            if position > head:
                return Compared(head, counts["messages"], counts["duplicates"], f"{place} is not in the log", "stream_beyond_log")
            if (message.key, message.value, message.headers) != (ours[position].key, ours[position].value, ours[position].headers):
                return Compared(head, counts["messages"], counts["duplicates"], f"{place} is not what the log has", "stream_differs")
            counts["messages"] += 1
            counts["duplicates"] += seen[position]
            seen[position] = 1
    missing = seen.find(0, 1, mark + 1)
    if missing > 0:
        what = f"position {missing} was published, by the relay's mark of {mark}, and is not in the stream"
        return Compared(head, counts["messages"], counts["duplicates"], what, "stream_lacks")
    return Compared(head, counts["messages"], counts["duplicates"], None)


def _ours(log: Log, session: Session, positions: list[int]) -> dict[int, Message]:
    """The messages that the log makes of positions."""
    if not positions:
        return {}
    origins = origins_of(session, positions[0], positions[-1])
    ends = log.insert_ends(positions[0] - 1, positions[-1] - positions[0] + 1)
    return dict(zip(positions, dressed(log.stored_at(positions), ends, origins), strict=True))


def pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    source = iter(items)
    while page := list(islice(source, size)):
        yield page
