"""The relay: tails the log onto the bus. It is the only publisher."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

from consumers.bus import Bus, Overtaken
from consumers.topics import EVENTS
from consumers.wire import Message, Origin, message, seal_of
from ledger.log import Stored
from ledger.log_database import Session

PAGE = 2_000
OUTBOX_PAGE = 200
"""A refusal may hold a megabyte and more."""

LOCK = "points_ledger relay"
_RELAYED = 'INSERT INTO relayed VALUES (?, ?, ?, ?) ON CONFLICT (topic_id, partition, "after") DO UPDATE SET next = EXCLUDED.next'
_REACHED = (
    "DELETE FROM relayed USING applied WHERE applied.topic_id = relayed.topic_id AND applied.partition = relayed.partition "
    "AND relayed.next <= applied.next"
)


class Tail(Protocol):
    def stored(self, after: int, limit: int) -> list[Stored]: ...

    def insert_ends(self, after: int, limit: int) -> list[int]: ...


class Relay:
    """1 read a page after the mark, 2 publish it, 3 move the mark."""

    def __init__(self, log: Tail, bus: Bus, mark: int) -> None:
        self._log = log
        self._bus = bus
        self.mark = mark

    def step(self, limit: int = 1000) -> int:
        """How many events were published."""
        page = messages(self._log, self.mark, limit)
        if page:
            self._bus.publish(page)
            self.mark += len(page)
        return len(page)


def messages(log: Tail, after: int, limit: int, origins: Callable[[int, int], Mapping[int, Origin]] | None = None) -> list[Message]:
    """The events after a position, whole inserts, about so many; each with the insert that it is of and where it came from.

    `origins`: of the positions from the first to the second; asked when the rows are there, since they come with them.
    """
    ends = log.insert_ends(after, limit)
    whole = [end for end in ends if end - after <= limit] or ends[:1]
    if not whole:
        return []
    page = log.stored(after, whole[-1] - after)
    return dressed(page, whole, origins(after + 1, whole[-1]) if origins else {})


def origins_of(session: Session, first: int, last: int) -> dict[int, Origin]:
    """Where the events of some positions came from, those that came from the inbox."""
    rows = session.execute(
        'SELECT position, topic, topic_id, partition, "offset" FROM origins WHERE position BETWEEN ? AND ?', (first, last)
    )
    return {position: Origin(*origin) for position, *origin in rows}


def dressed(rows: Iterable[Stored], ends: Iterable[int], origins: Mapping[int, Origin]) -> list[Message]:
    """Rows in order of position as messages; `ends`: the last positions of the inserts that they are of, those before left out."""
    found, inserts, insert = [], iter(ends), 0
    for row in rows:
        while row.position > insert:
            insert = next(inserts)
        found.append(message(row, insert, origins.get(row.position)))
    return found


class Publisher(Protocol):
    """What `kafka_bus.Publisher` is."""

    def publish(self, topic: str, messages: Sequence[Message], tick: Callable[[], None] = ...) -> dict[int, int]: ...


class Sole:
    """The right to publish: a lock of the session, and an epoch in the mark, so that one who had it once moves nothing any more."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.position, self._epoch = 0, -1

    def claim(self) -> bool:
        """Whether this process has it now."""
        if self._epoch < 0:
            if not self.session.execute("SELECT pg_try_advisory_lock(hashtext(?), hashtext(current_schema()))", (LOCK,))[0][0]:
                return False
            ((self.position, self._epoch),) = self.session.execute("UPDATE relay SET epoch = epoch + 1 RETURNING position, epoch")
        return True

    def still_here(self) -> None:
        """Keeps the lock while a page is on its way. Raises LogError where the session has ended."""
        self.session.execute("SELECT 1")

    def move(self, to: int) -> None:
        """The mark, in the transaction that is open. Raises Overtaken."""
        moved = self.session.changed("UPDATE relay SET position = ? WHERE epoch = ? AND position = ?", (to, self._epoch, self.position))
        if moved != 1:
            raise Overtaken("another relay publishes", hint="this one begins again, and waits for its turn")
        self.position = to


class KafkaRelay:
    """The relay onto Kafka, one at a time: events, refusals and standings. Whatever fails ends it unmarked."""

    def __init__(
        self, log: Tail, sole: Sole, publisher: Publisher, names: Mapping[str, str], topic_id: str, partition: Callable[[bytes], int]
    ) -> None:  # fmt: skip
        """`names`: of the topics by role; `topic_id`: of the events; `partition`: of a key."""
        self._log, self._sole, self._publisher = log, sole, publisher
        self._names, self._topic_id, self._partition = names, topic_id, partition
        self.published = 0
        self.effect: Callable[[str], None] = lambda name: None
        """Called before each effect, by name: tests stop the process there."""

    def step(self, limit: int = PAGE) -> int:
        """How much was published; 0 also while another relay has its turn."""
        if not self._sole.claim():
            return 0
        done = self._events(limit) + self._outbox()
        if not done:
            self._sole.still_here()
        self.published += done
        return done

    @property
    def position(self) -> int:
        return self._sole.position

    def _events(self, limit: int) -> int:
        after, session = self._sole.position, self._sole.session
        page = messages(self._log, after, limit, partial(origins_of, session))
        if not page:
            return 0
        self.effect("publish events")
        placed = [each._replace(partition=self._partition(each.key or b"")) for each in page]
        ends = self._publisher.publish(self._names[EVENTS], placed, self._sole.still_here)
        self.effect("mark events")
        with session.transaction():
            self._sole.move(seal_of(page[-1]).position)
            session.execute(_REACHED)
            for partition, end in sorted(ends.items()):
                session.execute(_RELAYED, (self._topic_id, partition, after, end))
        return len(page)

    def _outbox(self) -> int:
        """In the order in which they were written; what is published is taken out."""
        session = self._sole.session
        rows = session.execute("SELECT id, role, key, value FROM outbox ORDER BY id LIMIT ?", (OUTBOX_PAGE,))
        if not rows:
            return 0
        for role in dict.fromkeys(row[1] for row in rows):
            self.effect(f"publish {role}")
            page = [Message(key, value, (), -1) for _, each, key, value in rows if each == role]
            self._publisher.publish(self._names[role], page, self._sole.still_here)
        self.effect("mark outbox")
        with session.transaction():
            self._sole.move(self._sole.position)
            session.execute("DELETE FROM outbox WHERE id = ANY(?)", ([row[0] for row in rows],))
        return len(rows)
