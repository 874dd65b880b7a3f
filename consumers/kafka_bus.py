"""Kafka. The only importer of kafka-python: connections, what is wrong with one, topics, and publishing that is sure or fails.

A producer is idempotent and waits for all replicas. A message that the broker refuses, and a batch that expires, poison it for good, so
after any failure it is dropped, and who publishes begins again from its own mark; what was published twice is told apart by its position.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import IncompatibleBrokerVersion, KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

from consumers.topics import Found, Topic
from consumers.wire import Message
from ledger.errors import LedgerError

T = TypeVar("T")

BOOTSTRAP_MS = 3000
DELIVERY_MS = 120_000
TRIES_SECONDS = 15


class BusError(LedgerError):
    """Kafka cannot be reached or used; what was not confirmed counts as not published."""

    code = "bus_error"
    exit_code = 8


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach the brokers. Secrets are read from files when they are needed, and named nowhere."""

    servers: tuple[str, ...]
    protocol: str = "PLAINTEXT"
    mechanism: str | None = None
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        for server in self.servers:
            host, _, port = server.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
                raise BusError(f"{server!r} is no server", hint="name host:port", code="bus_unreachable")

    def options(self) -> dict[str, Any]:
        """kafka-python's own names."""
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.servers), "security_protocol": self.protocol, "bootstrap_timeout_ms": BOOTSTRAP_MS,
            "reconnect_backoff_max_ms": 1000, "client_id": "points-ledger",
        }  # fmt: skip
        if self.ca_file is not None:
            options["ssl_cafile"] = str(self.ca_file)
        if self.mechanism is not None:
            options["sasl_mechanism"] = self.mechanism
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = _secret(self.password_file)
        return options

    def __str__(self) -> str:
        return ", ".join(self.servers)


def _secret(file: Path | None) -> str:
    if file is None:
        raise BusError("no file with the password was named", hint="set POINTS_LEDGER_KAFKA_PASSWORD_FILE", code="bus_access")
    try:
        return file.read_text("utf-8").strip()
    except OSError as error:
        raise BusError(f"{file}: {error.strerror}", hint="check the path and its rights", code="bus_access") from None


def connected(connection: Connection, make: Callable[..., T], **more: Any) -> T:
    """A client, made within a bounded time. Raises BusError with the cause, which the client itself does not tell."""
    try:
        return make(**connection.options(), **more)
    except (KafkaError, OSError) as error:
        raise _cause(connection, error) from error


def _cause(connection: Connection, error: Exception) -> BusError:
    """Every failure to bootstrap reads the same, so each server is asked step by step: its name, its port, its certificate, its words."""
    told = [reason for server in connection.servers if (reason := _reason(connection, server)) is not None]
    if len(told) == len(connection.servers):
        what, hint, code = told[0]
        return BusError(what, hint=hint, code=code)
    if connection.mechanism is not None:
        who = f"user {connection.username!r} by {connection.mechanism}"
        return BusError(f"{connection} does not let {who} in", hint="check the user, the password and the mechanism", code="bus_access")
    hint = f"is {connection.protocol} what the listener speaks?"
    return BusError(f"{connection} does not answer as a Kafka broker: {error}", hint=hint, code="bus_unreachable")


def _reason(connection: Connection, server: str) -> tuple[str, str, str] | None:
    host, _, port = server.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=3) as plain:
            if not connection.protocol.endswith("SSL"):
                return None
            context = ssl.create_default_context(cafile=connection.ca_file)
            with context.wrap_socket(plain, server_hostname=host):
                return None
    except socket.gaierror:
        return f"{host} is a name that nobody knows", "check the host's name", "bus_unreachable"
    except ssl.SSLCertVerificationError as error:
        return f"the certificate of {server} is not trusted: {error.verify_message}", "name its CA", "bus_certificate"
    except ssl.SSLError as error:
        return f"{server} does not speak TLS: {error.reason}", "check the protocol and the port", "bus_certificate"
    except OSError as error:
        said = error.strerror or str(error) or type(error).__name__
        return f"no broker at {server}: {said}", "start it, or check host and port", "bus_unreachable"


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

    def create(self, topic: Topic, replicas: int) -> bool:
        """Whether it was made; False where it is there already."""
        asked = {topic.name: {"num_partitions": topic.partitions, "replication_factor": replicas, "configs": dict(topic.settings)}}
        try:
            _patiently(lambda: self._client.create_topics(asked, wait_for_metadata=True))
        except TopicAlreadyExistsError:
            return False
        except (KafkaError, IncompatibleBrokerVersion) as error:
            hint = "are there as many brokers as replicas, and may this user create topics?"
            raise BusError(f"{topic.name} could not be made: {error}", hint=hint, code="topic_not_made") from error
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

    def publish(self, topic: str, messages: Iterable[tuple[int, Message]]) -> int:
        """How many were published, all of them confirmed by the broker. Raises Unpublished, after which nothing is known of the page."""
        if self._producer is None:
            self._producer = connected(
                self._connection, KafkaProducer, acks="all", enable_idempotence=True, delivery_timeout_ms=self._delivery_ms,
                request_timeout_ms=min(30_000, self._delivery_ms // 2), linger_ms=5, batch_size=262_144, allow_auto_create_topics=False,
                max_block_ms=min(30_000, self._delivery_ms),
            )  # fmt: skip
        try:
            futures = [
                self._producer.send(topic, message.value, message.key.encode(), list(message.headers), partition)
                for partition, message in messages
            ]
            self._producer.flush(self._delivery_ms / 1000 + 5)
            for future in futures:
                future.get(0)
        except (KafkaError, OSError, AssertionError, ValueError) as error:
            self.drop()
            hint = "what was not confirmed is published again from the mark"
            raise Unpublished(f"{topic} on {self._connection}: {type(error).__name__}: {error}", hint=hint) from error
        return len(futures)

    def drop(self) -> None:
        """Forget the producer, whatever it still holds: after a failure it would never publish again."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError, OSError, AssertionError):
                producer.close(timeout=0)

    close = drop
