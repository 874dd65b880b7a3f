"""The stations of production, put together: one log on PostgreSQL, the topics on Kafka, and how far each has come."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from consumers.announce import Announce
from consumers.bus import Overtaken
from consumers.expire import Expire
from consumers.ingest import Ingest, start
from consumers.kafka_bus import Admin, BusError, Connection, Publisher, Reader, partition_of, read_all
from consumers.project import Worker
from consumers.relay import KafkaRelay, Sole
from consumers.restore import Compared, Restored, compare, restore
from consumers.running import Facts
from consumers.topics import EVENTS, INBOX, Fault, Found, Topic, faults
from consumers.wire import Message
from ledger.history import History
from ledger.instants import Instant
from ledger.intake import Intake
from ledger.log import Log
from ledger.log_database import Session
from ledger.projections.store import Store

IDLE_SECONDS = 3.0
"""A relay that was stopped loses its lock after so long."""

LONG_SECONDS = 900.0
"""As long as a station's own session may be silent: while a large batch is applied, nothing is asked in it."""

CHECK_SECONDS = 1.0
ANNOUNCE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Place:
    """Where the stations work: the servers, and the topics as they must be."""

    ledger: str
    connection: Connection
    topics: tuple[Topic, ...]


def in_use(topics: Sequence[Topic], session: Session) -> tuple[Topic, ...]:
    """The topics by the names and with the partitions that the ledger works with; as they are wanted, where it has none yet."""
    known = {role: (name, partitions) for role, name, _, partitions in known_topics(session)}
    there = [known.get(topic.role, (topic.name, topic.partitions)) for topic in topics]
    return tuple([replace(topic, name=name, partitions=count) for topic, (name, count) in zip(topics, there, strict=True)])


class Parts:
    """The log, the read models and a session, as long as a station lives."""

    def __init__(self, place: Place, go_on: Callable[[], None] = lambda: None, *, checked: bool = True) -> None:
        """`go_on` is called within long steps; it raises where the process was told to stop. `checked`: the topics are as they must be."""
        self.go_on = go_on
        self.place = place
        self.log = Log(place.ledger)
        self.session: Session = self.log.database.session(LONG_SECONDS)
        self.history = History(self.log)
        self.store = Store(place.ledger)
        self.topics = in_use(place.topics, self.session)
        self.names = {topic.role: topic.name for topic in self.topics}
        self.admin = Admin(place.connection)
        self._checked_at = 0.0
        self.found = self.check() if checked else self.there()

    def there(self) -> dict[str, Found]:
        """The topics that are there, by role, whatever they are like."""
        there = self.admin.find([topic.name for topic in self.topics])
        return {topic.role: there[topic.name] for topic in self.topics if topic.name in there}

    def check(self) -> dict[str, Found]:
        """The topics, by role. Raises BusError where one would lose events, or is another than the ledger has worked with."""
        if in_use(self.topics, self.session) != self.topics:
            raise Overtaken("the ledger goes on in another topic", hint="this station begins again there")
        there = self.admin.find([topic.name for topic in self.topics])
        found = topic_faults(self.topics, there, self.session)
        if losing := [fault for fault in found if fault.loses]:
            code = losing[0].code
            raise BusError("; ".join(map(str, losing)), hint="see topics check; nothing was read or written", code=code)
        roles = {topic.role: there[topic.name] for topic in self.topics}
        if len(known_topics(self.session)) < len(roles):
            remember_topics(self.session, roles)
        self._checked_at = time.monotonic()
        return roles

    def check_again(self) -> None:
        """Now and then: a topic that was made anew is noticed by nobody else. Also keeps the session."""
        if time.monotonic() - self._checked_at > CHECK_SECONDS:
            self.check()

    def close(self) -> None:
        self.admin.close()
        self.session.close()
        self.store.close()
        self.log.close()


def known_topics(session: Session) -> list[tuple[str, str, str, int]]:
    """role, name, identity and partitions of the topics that the ledger works with."""
    return [tuple(row) for row in session.execute("SELECT role, name, topic_id, partitions FROM topics ORDER BY role")]


def remember_topics(session: Session, found: dict[str, Found]) -> None:
    with session.transaction():
        for role, topic in found.items():
            session.execute(
                "INSERT INTO topics VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (role, topic.name, topic.topic_id, topic.partitions)
            )


def topic_faults(topics: Sequence[Topic], there: Mapping[str, Found], session: Session | None) -> list[Fault]:
    """Those of the topics themselves, and where one is not that which the ledger has worked with."""
    known = {role: topic_id for role, _, topic_id, _ in known_topics(session)} if session is not None else {}
    return [fault for topic in topics for fault in faults(topic, there.get(topic.name), known.get(topic.role))]


def move(parts: Parts, role: str, name: str, partitions: int, replicas: int) -> None:
    """Go on in another topic, which may have another number of partitions. Raises BusError.

    The stream of events is published again, from the first; the stations of projection read it from its beginning, and drop what they
    have applied. An inbox has to be read to its end before; what is published to the old one afterwards is not read.
    """
    topic = replace(next(topic for topic in parts.topics if topic.role == role), name=name, partitions=partitions)
    if role == INBOX:
        _check_drained(parts)
    parts.admin.create(topic, replicas)
    found = parts.admin.find([name])[name]
    if losing := [fault for fault in faults(topic, found) if fault.loses]:
        raise BusError("; ".join(map(str, losing)), hint="name a topic that is not there yet", code=losing[0].code)
    session = parts.session
    with session.transaction():
        session.execute("DELETE FROM topics WHERE role = ?", (role,))
        session.execute("INSERT INTO topics VALUES (?, ?, ?, ?)", (role, name, found.topic_id, partitions))
        if role == EVENTS:
            session.execute("UPDATE relay SET position = 0, epoch = epoch + 1")
            session.execute("DELETE FROM relayed")


def _check_drained(parts: Parts) -> None:
    inbox = parts.found.get(INBOX)
    if inbox is None:
        raise BusError("the inbox that was used so far is not there", hint="restore it first", code="topic_missing")
    read = dict(parts.session.execute("SELECT partition, next FROM inbox WHERE topic_id = ?", (inbox.topic_id,)))
    left = {partition: end - read.get(partition, 0) for partition, end in parts.admin.ends(inbox.name, inbox.partitions).items()}
    if waiting := sum(left.values()):
        what = f"{inbox.name} has {waiting} messages that were not taken in"
        raise BusError(what, hint="stop those who publish, and let ingest read them first", code="inbox_not_drained")


class IngestStation:
    """`member`: the name of a process that keeps its partitions over a restart."""

    def __init__(self, parts: Parts, intake: Intake, clock: Callable[[], Instant], member: str | None) -> None:
        self._parts, topic = parts, parts.found[INBOX]
        where = lambda those: start(parts.session, topic.topic_id, those)  # noqa: E731
        self._reader = Reader(parts.place.connection, topic.name, f"{topic.name}.ingest", where, member=member)
        self.station = Ingest(self._reader, intake, topic.name, topic.topic_id, clock)

    def step(self) -> int:
        self._parts.check_again()
        return self.station.step()

    def facts(self) -> Facts:
        counts = self.station.counts
        outcomes = {name: counts[name] for name in ("accepted", "duplicate", "refused")}
        refused = {code: count for code, count in counts.items() if code not in outcomes}
        name = self._parts.names[INBOX]
        lags = {(name, partition): lag for partition, lag in self._reader.lags().items()}
        return Facts({"log": self._parts.log.head()}, lags, None, outcomes, refused)

    def close(self) -> None:
        self._reader.close()
        self._parts.close()


class RelayStation:
    def __init__(self, parts: Parts) -> None:
        events = parts.found[EVENTS]
        self._parts = parts
        self._publisher = Publisher(parts.place.connection)
        self._session: Session = parts.log.database.session(IDLE_SECONDS)
        self.station = KafkaRelay(
            parts.log, Sole(self._session), self._publisher, parts.names, events.topic_id,
            lambda key: partition_of(key, events.partitions),
        )  # fmt: skip

    def step(self) -> int:
        self._parts.check_again()
        return self.station.step()

    def facts(self) -> Facts:
        positions = {"relay": self.station.position, "log": self._parts.log.head()}
        return Facts(positions, {}, None, {"published": self.station.published})

    def close(self) -> None:
        self._session.close()
        self._publisher.close()
        self._parts.close()


class ProjectStation:
    """Applies what comes, and announces in between."""

    def __init__(self, parts: Parts, clock: Callable[[], Instant], member: str | None) -> None:
        topic = parts.found[EVENTS]
        self._parts = parts
        where = lambda those: parts.store.offsets(topic.topic_id, those)  # noqa: E731
        self._reader = Reader(parts.place.connection, topic.name, f"{topic.name}.project", where, member=member)
        self.station = Worker(self._reader, parts.history, parts.store, topic.name, topic.topic_id)
        self.station.go_on = parts.go_on
        self.announce = Announce(parts.history, parts.store, clock)
        self._counts: Counter[str] = Counter()
        self._parked, self._counted_at = 0, 0.0
        self._more = False
        """There is more to announce: what comes is taken, and not waited for."""

    def step(self) -> int:
        self._parts.check_again()
        applied = self.station.step(timeout_ms=0 if self._more else 100)
        until, looked, self._more = time.monotonic() + ANNOUNCE_SECONDS, 0, False
        while found := self.announce.step():
            looked += found
            self._parts.go_on()
            if time.monotonic() > until:
                self._more = True
                break
        self._counts.update(applied=applied, announced=looked)
        return applied + looked

    def facts(self) -> Facts:
        if time.monotonic() - self._counted_at > CHECK_SECONDS:
            self._parked = sum(why is not None for why in self._parts.store.partners().values())
            self._counted_at = time.monotonic()
        name = self._parts.names[EVENTS]
        lags = {(name, partition): lag for partition, lag in self._reader.lags().items()}
        return Facts({"applied": applied_position(self._parts.session)}, lags, self._parked, dict(self._counts))

    def close(self) -> None:
        self._reader.close()
        self._parts.close()


class ExpireStation:
    """Announces what has ended, once in a while."""

    def __init__(self, parts: Parts, intake: Intake, clock: Callable[[], Instant], every_seconds: float) -> None:
        self._parts = parts
        self._station = Expire(parts.history, intake)
        self._clock, self._every, self._next = clock, every_seconds, 0.0
        self.announced = 0

    def step(self) -> int:
        self._parts.check_again()
        if time.monotonic() < self._next:
            return 0
        receipts = self._station.step(self._clock(), self._parts.go_on)
        self.announced += len(receipts)
        self._next = time.monotonic() + self._every
        return len(receipts)

    def facts(self) -> Facts:
        return Facts({"log": self._parts.log.head()}, {}, None, {"expired": self.announced})

    def close(self) -> None:
        self._parts.close()


def applied_position(session: Session) -> int:
    """Up to which position of the log all partitions of the stream were applied: the one on which an answer of the read models rests."""
    ((found,),) = session.execute(
        'SELECT COALESCE(MIN("after"), (SELECT position FROM relay)) FROM relayed '
        "LEFT JOIN applied USING (topic_id, partition) WHERE relayed.next > COALESCE(applied.next, 0)"
    )
    return int(found)


def status(session: Session) -> list[tuple[str, int | None, int]]:
    """What, of which partition of the inbox, how much: all of one moment."""
    with session.transaction():
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        ((head,),) = session.execute("SELECT COALESCE(MAX(position), 0) FROM inserts")
        ((relay,),) = session.execute("SELECT position FROM relay")
        ((outbox,),) = session.execute("SELECT COUNT(*) FROM outbox")
        ((refused,),) = session.execute("SELECT COUNT(*) FROM refusals WHERE settled IS NULL")
        applied = applied_position(session)
        rows = session.execute("SELECT partition, next, accepted, duplicates, refused FROM inbox ORDER BY topic_id, partition")
    found: list[tuple[str, int | None, int]] = [
        ("position of the log", None, head),
        ("position of the relay", None, relay),
        ("position applied", None, applied),
        ("outbox", None, outbox),
        ("refused, not settled", None, refused),
    ]
    for partition, *numbers in rows:
        names = ("inbox, next offset", "inbox, accepted", "inbox, duplicates", "inbox, refused")
        found += [(name, partition, number) for name, number in zip(names, numbers, strict=True)]
    return found


def restored(parts: Parts, progress: Callable[[int, int], None]) -> Restored:
    """The log from the stream. A topic that cannot be gone on with is remembered as spoiled, so that no station uses it."""
    events = parts.found[EVENTS]
    stream = _read(parts, progress)
    done = restore(parts.log, parts.session, stream, [parts.found[INBOX].topic_id])
    if done.beyond:
        parts.session.execute("UPDATE topics SET topic_id = 'spoiled' WHERE role = ?", (EVENTS,))
    else:
        parts.session.execute("UPDATE topics SET topic_id = ? WHERE role = ?", (events.topic_id, EVENTS))
    return done


def restored_rows(parts: Parts, done: Restored) -> None:
    """The read models have what the stream has."""
    with parts.store.writing() as connection:
        parts.store.set_offsets(connection, parts.found[EVENTS].topic_id, done.ends)


def compared(parts: Parts, progress: Callable[[int, int], None]) -> Compared:
    return compare(parts.log, parts.session, _read(parts, progress))


def _read(parts: Parts, progress: Callable[[int, int], None]) -> Iterator[Message]:
    events = parts.found[EVENTS]
    of = sum(parts.admin.ends(events.name, events.partitions).values())
    for done, message in enumerate(read_all(parts.place.connection, events.name, events.partitions), start=1):
        if done % 1000 == 0:
            progress(done, max(of, done))
        yield message
