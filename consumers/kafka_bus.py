"""Kafka. The only importer of kafka-python: connections, what is wrong with one, topics, and publishing that is sure or fails.

A producer is idempotent and waits for all replicas. A message that the broker refuses, and a batch that expires, poison it for good, so
after any failure it is dropped, and who publishes begins again from its own mark; what was published twice is told apart by its position.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import (
    AuthorizationError,
    IncompatibleBrokerVersion,
    KafkaError,
    KafkaTimeoutError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    SaslAuthenticationFailedError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from kafka.net.sasl.oauth import AbstractTokenProvider
from kafka.partitioner.default import murmur2
from kafka.record import default_records, memory_records
from kafka.structs import OffsetAndMetadata

from consumers.connection import BusError as BusError
from consumers.connection import Connection as Connection
from consumers.connection import reason
from consumers.topics import REQUEST_BYTES, Found, Topic
from consumers.wire import Message

T = TypeVar("T")

BOOTSTRAP_MS = 3000
DELIVERY_MS = 120_000
TRIES_SECONDS = 15
_SLICE_SECONDS = 0.5
SESSION_MS = 10_000
"""After so long without a sign of life another member gets its partitions."""

_RECORDS_MAX = 5_000
_FETCH_WAIT_MS = 100


for _talkative in ("kafka.protocol.parser", "kafka.net.connection"):  # these write what is sent, a login too
    logging.getLogger(_talkative).setLevel(logging.INFO)


class _Hidden(str):
    """The clients write their whole configuration to the log, each value by its repr."""

    def __repr__(self) -> str:
        return "'***'"


class _Tokens(AbstractTokenProvider):  # type: ignore[misc]
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def token(self) -> str:
        return self._connection.token()


def options(connection: Connection) -> dict[str, Any]:
    """A connection by kafka-python's own names."""
    found: dict[str, Any] = {
        "bootstrap_servers": list(connection.servers), "security_protocol": connection.protocol, "bootstrap_timeout_ms": BOOTSTRAP_MS,
        "reconnect_backoff_max_ms": 1000, "client_id": "points-ledger", "ssl_context": connection.tls(),
    }  # fmt: skip
    if connection.mechanism is not None:
        found["sasl_mechanism"] = connection.mechanism
        if connection.mechanism == "OAUTHBEARER":
            connection.token()  # what is wrong with it is told here, and not only to the log
            found["sasl_oauth_token_provider"] = _Tokens(connection)
        else:
            found |= {"sasl_plain_username": connection.username, "sasl_plain_password": _Hidden(connection.password())}
    return found


def connected(connection: Connection, make: Callable[..., T], **more: Any) -> T:
    """A client, made within a bounded time. Raises BusError with the cause, which the client itself does not tell."""
    overheard = _Overheard()
    try:
        with overheard:
            return make(**options(connection), **more)
    except (KafkaError, OSError) as error:
        raise _cause(connection, error, overheard.errors) from error


class _Overheard(logging.Handler):
    """Why connections fail is only in the client's log."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[Exception] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.errors += [said for said in record.args or () if isinstance(said, Exception)]

    def __enter__(self) -> None:
        logging.getLogger(_FAILURES).addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger(_FAILURES).removeHandler(self)


_FAILURES = "kafka.net.manager"


def _cause(connection: Connection, error: Exception, overheard: Sequence[Exception]) -> BusError:
    """Every failure to bootstrap reads the same, so what was overheard is looked at, then each server is asked step by step."""
    who = f"{connection.username!r} by {connection.mechanism}" if connection.username else f"us by {connection.mechanism}"
    for said in overheard:
        if isinstance(said, BusError):
            return said
        if isinstance(said, SaslAuthenticationFailedError):
            hint = "check the token" if connection.mechanism == "OAUTHBEARER" else "check the user and the password"
            return BusError(f"{connection} does not let {who} in", hint=hint, code="bus_access")
    told = [why for server in connection.servers if (why := reason(connection, server)) is not None]
    if len(told) == len(connection.servers):
        return BusError(told[0].what, hint=told[0].hint, code=told[0].code)
    hint = f"and is {connection.protocol} what the listener speaks?"
    if connection.mechanism is not None:
        return BusError(f"{connection} does not let {who} in", hint=f"does it offer {connection.mechanism}, {hint}", code="bus_access")
    return BusError(f"{connection} does not answer as a Kafka broker: {error}", hint=f"is it there, {hint}", code="bus_unreachable")


def _code(error: Exception, otherwise: str) -> str:
    return "bus_access" if isinstance(error, AuthorizationError) else otherwise


def _patiently(ask: Callable[[], T]) -> T:
    """The admin client does not try again by itself, and its first call after a restart fails."""
    until = time.monotonic() + TRIES_SECONDS
    while True:
        try:
            return ask()
        except KafkaError as error:
            if not error.retriable or isinstance(error, UnknownTopicOrPartitionError) or time.monotonic() > until:
                raise
            time.sleep(0.2)


class Admin:
    """Looks at topics, and makes them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client: Any = connected(connection, KafkaAdminClient)

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Admin:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def find(self, names: Sequence[str]) -> dict[str, Found]:
        """Those of the topics that are there."""
        try:
            described = _patiently(lambda: self._client.describe_topics(list(names)))
            there = [topic for topic in described if topic["error_code"] == 0]
            resources = [ConfigResource(ConfigResourceType.TOPIC, topic["name"]) for topic in there]
            asked = lambda: self._client.describe_configs(resources, config_filter="all")  # noqa: E731
            settings = _patiently(asked)["topic"] if resources else {}
        except KafkaError as error:
            raise BusError(f"{self._connection}: {error}", hint="may this user describe topics?", code="bus_access") from error
        return {
            topic["name"]: Found(
                topic["name"], str(topic["topic_id"]), len(topic["partitions"]),
                min(len(partition["replica_nodes"]) for partition in topic["partitions"]),
                {name: str(entry["value"]) for name, entry in settings[topic["name"]].items()},
            )
            for topic in there
        }  # fmt: skip

    def auto_creates(self) -> bool:
        """Whether some broker makes a topic that somebody only asks for."""
        try:
            brokers = [broker["broker_id"] for broker in _patiently(self._client.describe_cluster)["brokers"]]
            resources = [ConfigResource(ConfigResourceType.BROKER, str(broker)) for broker in brokers]
            found = _patiently(lambda: self._client.describe_configs(resources, config_filter="all"))["broker"]
        except KafkaError as error:
            raise BusError(f"{self._connection}: {error}", hint="may this user describe the cluster?", code="bus_access") from error
        return any(str(settings["auto.create.topics.enable"]["value"]) == "true" for settings in found.values())

    def ends(self, topic: str, partitions: int) -> dict[int, int]:
        """By partition the offset that the next message will have."""
        consumer: Any = connected(self._connection, KafkaConsumer, group_id=None)
        try:
            found = consumer.end_offsets([TopicPartition(topic, number) for number in range(partitions)])
            return {each.partition: end for each, end in found.items()}
        except (KafkaError, OSError) as error:
            raise BusError(
                f"{topic} on {self._connection}: {type(error).__name__}: {error}", code=_code(error, "bus_unreachable")
            ) from error
        finally:
            consumer.close()

    def create(self, topic: Topic, replicas: int) -> bool:
        """Whether it was made; False where it is there already."""
        asked = {topic.name: {"num_partitions": topic.partitions, "replication_factor": replicas, "configs": dict(topic.settings)}}
        try:
            _patiently(lambda: self._client.create_topics(asked, wait_for_metadata=True))
        except TopicAlreadyExistsError:
            return False
        except (KafkaError, IncompatibleBrokerVersion) as error:
            hint = "are there as many brokers as replicas, and may this user create topics?"
            raise BusError(f"{topic.name} could not be made: {error}", hint=hint, code=_code(error, "topic_not_made")) from error
        return True


class Unpublished(BusError):
    """Not all messages are known to be in the topic. Some may be: begin again from the mark."""

    code = "bus_unpublished"


class Publisher:
    """Publishes pages of messages, each to the partition that is named, and says that a page is published only when all of it is."""

    def __init__(self, connection: Connection, *, delivery_ms: int = DELIVERY_MS) -> None:
        self._connection = connection
        self._delivery_ms = delivery_ms
        self._producer: Any = None

    def publish(self, topic: str, messages: Iterable[Message], tick: Callable[[], None] = lambda: None) -> dict[int, int]:
        """By partition the offset after the last of them; see `placed`."""
        found: dict[int, int] = {}
        for partition, offset in self.placed(topic, messages, tick):
            found[partition] = max(found.get(partition, 0), offset + 1)
        return found

    def placed(self, topic: str, messages: Iterable[Message], tick: Callable[[], None] = lambda: None) -> list[tuple[int, int]]:
        """Of each message its partition and offset, once all of them are confirmed by the broker.

        A partition of -1 leaves it to the key, by Kafka's own rule. `tick` is called at least once a second meanwhile. Raises
        Unpublished, and whatever `tick` raises: after that nothing is known of the page.
        """
        if self._producer is None:
            self._producer = connected(
                self._connection, KafkaProducer, acks="all", enable_idempotence=True, delivery_timeout_ms=self._delivery_ms,
                request_timeout_ms=min(30_000, self._delivery_ms // 2), linger_ms=5, batch_size=262_144, allow_auto_create_topics=False,
                max_block_ms=min(30_000, self._delivery_ms), max_request_size=REQUEST_BYTES,
            )  # fmt: skip
        try:
            futures = [
                self._producer.send(topic, each.value, each.key, list(each.headers), None if each.partition < 0 else each.partition)
                for each in messages
            ]
            self._flush(tick)
            sent = [future.get(0) for future in futures]
        except (KafkaError, OSError, AssertionError, ValueError) as error:
            self.drop()
            hint = "what was not confirmed is published again from the mark"
            what = f"{topic} on {self._connection}: {type(error).__name__}: {error}"
            raise Unpublished(what, hint=hint, code=_code(error, Unpublished.code)) from error
        except BaseException:
            self.drop()
            raise
        return [(each.partition, each.offset) for each in sent]

    def _flush(self, tick: Callable[[], None]) -> None:
        until = time.monotonic() + self._delivery_ms / 1000 + 5
        while True:
            try:
                self._producer.flush(_SLICE_SECONDS)
                return
            except KafkaTimeoutError:
                if time.monotonic() > until:
                    raise
                tick()

    def drop(self) -> None:
        """Forget the producer, whatever it still holds: after a failure it would never publish again."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError, OSError, AssertionError):
                producer.close(timeout=0)

    close = drop


def partition_of(key: bytes, partitions: int) -> int:
    """As Kafka's own clients choose it."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


class _LenientNames(bytearray):
    """A batch of records in which the name of a header may be any bytes; the client would ask for the same batch for ever."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return _LenientNames(found) if isinstance(place, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


class _Records(default_records.DefaultRecordBatch):  # type: ignore[misc]
    """kafka-python 3.0.12 decodes the names of headers strictly; see `_LenientNames`."""

    _pos: int
    _buffer: Any

    def _read_msg(self, *more: Any) -> Any:
        start = self._pos
        try:
            return super()._read_msg(*more)
        except UnicodeDecodeError:
            self._pos = start
            self._buffer = _LenientNames(self._buffer)
            return super()._read_msg(*more)


memory_records.DefaultRecordBatch = _Records


class Reader:
    """A member of a group: it reads on from where the ledger's own database says, and tells Kafka how far it has come.

    `start` says where, by partition. It is asked whenever partitions are assigned, and by `back` after a batch that was not kept.
    """

    def __init__(
        self, connection: Connection, topic: str, group: str, start: Callable[[set[int]], dict[int, int]], *,
        member: str | None = None, session_ms: int | None = None,
    ) -> None:  # fmt: skip
        self._connection, self._topic, self._start = connection, topic, start
        self._failed: BaseException | None = None
        session_ms = session_ms or SESSION_MS
        self._read: dict[int, int] = {}
        more = {} if member is None else {"group_instance_id": member}
        self._consumer: Any = connected(
            connection, KafkaConsumer, group_id=group, auto_offset_reset="none", enable_auto_commit=False, session_timeout_ms=session_ms,
            heartbeat_interval_ms=session_ms // 4, max_poll_interval_ms=600_000, max_poll_records=_RECORDS_MAX,
            partition_assignment_strategy=[RangePartitionAssignor], allow_auto_create_topics=False, fetch_max_wait_ms=_FETCH_WAIT_MS,
            max_partition_fetch_bytes=REQUEST_BYTES, **more,
        )  # fmt: skip
        self._consumer.partitions_for_topic(topic)  # who joins without knowing them has to join twice
        self._consumer.subscribe([topic], listener=_Assigned(self))

    def poll(self, limit: int, timeout_ms: int = 500) -> list[Message]:
        """What has come, of each partition in order. Raises BusError, and what `start` raised."""
        self._take_up_join()
        try:
            found = self._consumer.poll(timeout_ms=timeout_ms, max_records=limit)
        except (NoOffsetForPartitionError, OffsetOutOfRangeError) as error:
            hint = "restore the topic, or see whether it was made anew: topics check"
            raise BusError(f"{self._topic}: what the ledger has read is not there: {error}", hint=hint, code="topic_offsets") from error
        except (KafkaError, OSError) as error:
            self._raise_failed()
            raise BusError(
                f"{self._topic} on {self._connection}: {type(error).__name__}: {error}", code=_code(error, "bus_unreachable")
            ) from error
        self._raise_failed()
        messages = [
            Message(record.key, record.value, tuple(record.headers), record.partition, record.offset)
            for records in found.values() for record in records
        ]  # fmt: skip
        for message in messages:
            self._read[message.partition] = message.offset + 1
        return messages

    def commit(self) -> None:
        """Tell Kafka, for those who look at the lag; the ledger's own offsets decide."""
        offsets = {TopicPartition(self._topic, partition): OffsetAndMetadata(next, "", -1) for partition, next in self._read.items()}
        self._read = {}
        with suppress(KafkaError):  # a member that was fenced, or a group that is in the middle of a change
            self._consumer.commit(offsets)

    def back(self) -> None:
        """Forget what was read and not kept."""
        self._read = {}
        self._seek({each.partition for each in self._consumer.assignment()})

    def assigned(self) -> set[int]:
        return {each.partition for each in self._consumer.assignment()}

    def lags(self) -> dict[int, int]:
        """By partition how many messages are there that were not read yet, as far as is known here."""
        ends = {each: self._consumer.highwater(each) for each in self._consumer.assignment()}
        return {each.partition: max(0, end - self._consumer.position(each)) for each, end in ends.items() if end is not None}

    def close(self) -> None:
        with suppress(KafkaError, OSError):
            self._consumer.close(autocommit=False, timeout_ms=500)

    def _seek(self, partitions: set[int]) -> None:
        for partition, next in self._start(partitions).items():
            self._consumer.seek(TopicPartition(self._topic, partition), next)

    def _take_up_join(self) -> None:
        """kafka-python 3.0.12 forgets a join that was asked for because partitions became known, if it ends after the poll that waited for
        it: the member sends no heartbeats, has nothing, and stays so for ever. It joins once more."""
        coordinator = self._consumer._coordinator
        task = coordinator._join_task
        if task is not None and task.is_done and not coordinator.need_rejoin():
            coordinator.request_rejoin()

    def _assign(self, partitions: set[int]) -> None:
        try:
            self._seek(partitions)
        except BaseException as error:  # the client would only log it; `poll` raises it
            self._failed = error
            raise

    def _raise_failed(self) -> None:
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed


class _Assigned(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        self._reader._assign({each.partition for each in assigned})

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        """Nothing is kept back: what was read and not kept is read again by whoever has the partition then."""

    def on_partitions_lost(self, lost: Iterable[Any]) -> None:
        """As above."""


def read_all(connection: Connection, topic: str, partitions: int) -> Iterator[Message]:
    """Everything that is in a topic now, partition by partition. Raises BusError."""
    consumer: Any = connected(
        connection, KafkaConsumer, group_id=None, auto_offset_reset="none", enable_auto_commit=False, max_poll_records=_RECORDS_MAX,
        fetch_max_wait_ms=_FETCH_WAIT_MS, max_partition_fetch_bytes=REQUEST_BYTES,
    )  # fmt: skip
    try:
        for number in range(partitions):
            yield from _read_partition(consumer, TopicPartition(topic, number))
    except (KafkaError, OSError) as error:
        raise BusError(f"{topic} on {connection}: {type(error).__name__}: {error}", code=_code(error, "bus_unreachable")) from error
    finally:
        with suppress(KafkaError, OSError):
            consumer.close()


def _read_partition(consumer: Any, partition: Any) -> Iterator[Message]:
    consumer.assign([partition])
    end = consumer.end_offsets([partition])[partition]
    begin = consumer.beginning_offsets([partition])[partition]
    if begin > 0:
        what = f"{partition.topic}: partition {partition.partition} begins at {begin}; what was before is deleted"
        raise BusError(what, hint="nothing may ever be deleted from it; restore the topic", code="topic_offsets")
    consumer.seek(partition, begin)
    until = time.monotonic() + TRIES_SECONDS
    while (at := consumer.position(partition)) < end:
        for records in consumer.poll(timeout_ms=500).values():
            for record in records:
                if record.offset < end:
                    yield Message(record.key, record.value, tuple(record.headers), record.partition, record.offset)
        if consumer.position(partition) > at:
            until = time.monotonic() + TRIES_SECONDS
        elif time.monotonic() > until:
            what = f"{partition.topic}: partition {partition.partition} stands still at {at} of {end}"
            raise BusError(what, hint="is its broker there?", code="bus_unreachable")
