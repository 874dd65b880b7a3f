"""The contract of buses on a real broker, and what a reader does beyond it: it begins where it is told, and again there after a failure."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from consumers.kafka_bus import Admin, BusError, Connection, Publisher, Reader, partition_of, read_all
from consumers.topics import wanted
from consumers.wire import Message
from tests.conformance.bus_contract import BusContract, said

PARTITIONS = 3


class KafkaBus:
    """A topic of its own with one reader, whose offsets are kept here."""

    def __init__(self, server: str) -> None:
        self.connection, prefix = Connection((server,)), f"t{os.urandom(6).hex()}."
        self.topic = wanted(prefix, PARTITIONS)[1].name
        with Admin(self.connection) as admin:
            admin.create(wanted(prefix, PARTITIONS)[1], 1)
        self.next: dict[int, int] = {}
        self.publisher = Publisher(self.connection)
        self.reader = Reader(self.connection, self.topic, f"{prefix}readers", lambda those: {each: self.next.get(each, 0) for each in those})

    def publish(self, messages: Sequence[Message]) -> None:
        self.publisher.publish(self.topic, [each._replace(partition=partition_of(each.key or b"", PARTITIONS)) for each in messages])

    def poll(self, limit: int) -> list[Message]:
        return self.reader.poll(limit, 300) if limit else []

    def keep(self, messages: Sequence[Message]) -> None:
        for each in messages:
            self.next[each.partition] = each.offset + 1
        self.reader.commit()

    def close(self) -> None:
        self.reader.close()
        self.publisher.close()


class TestKafkaBus(BusContract):
    @pytest.fixture(autouse=True)
    def _server(self, kafka_server: str) -> None:
        self.server = kafka_server

    def open_bus(self, where: Path) -> KafkaBus:
        return KafkaBus(self.server)


@pytest.fixture
def bus(kafka_server: str) -> Iterator[KafkaBus]:
    bus = KafkaBus(kafka_server)
    yield bus
    bus.close()


def take(bus: KafkaBus, count: int) -> list[Message]:
    found: list[Message] = []
    until = time.monotonic() + 30
    while len(found) < count and time.monotonic() < until:
        found += bus.poll(100)
    return found


def test_what_was_not_kept_comes_again(bus: KafkaBus) -> None:
    bus.publish([said(f"P-{n}", n) for n in range(20)])
    first = take(bus, 20)
    bus.reader.back()
    assert sorted(take(bus, 20)) == sorted(first)
    bus.keep(first)
    bus.reader.back()
    assert bus.poll(100) == []


def test_an_offset_that_is_not_there_is_told(bus: KafkaBus) -> None:
    bus.next = dict.fromkeys(range(PARTITIONS), 100)
    with pytest.raises(BusError) as raised:
        take(bus, 1)
    assert raised.value.code == "topic_offsets" and raised.value.hint


def test_a_start_that_fails_is_raised_by_the_poll(kafka_server: str, bus: KafkaBus) -> None:
    def nowhere(those: set[int]) -> dict[int, int]:
        raise LookupError("no database")

    reader = Reader(bus.connection, bus.topic, "others", nowhere)
    try:
        with pytest.raises(LookupError, match="no database"):
            for _ in range(100):
                reader.poll(10)
    finally:
        reader.close()


def test_a_topic_is_read_to_its_end_by_partition(bus: KafkaBus) -> None:
    bus.publish([said(f"P-{n}", n) for n in range(50)])
    found = list(read_all(bus.connection, bus.topic, PARTITIONS))
    assert len(found) == 50 and [each.partition for each in found] == sorted(each.partition for each in found)
    assert {each.key for each in found} == {b"P-%d" % n for n in range(50)}
    assert list(read_all(bus.connection, bus.topic, PARTITIONS)) == found


def test_a_join_that_the_client_forgot_is_taken_up_again(bus: KafkaBus) -> None:
    """What kafka-python 3.0.12 does when a join ends between two polls: the task is done, and nobody asks for it."""
    bus.publish([said("P-1", 1)])
    bus.keep(take(bus, 1))
    coordinator = bus.reader._consumer._coordinator
    done = type("Done", (), {"is_done": True})()
    coordinator._join_task = done
    bus.publish([said("P-1", 2)])
    assert len(take(bus, 1)) == 1
    assert coordinator._join_task is not done, "it was not joined once more"


def test_partitions_are_those_of_other_clients() -> None:
    """Values of the Java client's Utils.murmur2 for these keys."""
    assert [partition_of(key, 1 << 31) for key in (b"21", b"foobar", b"a-little-bit-long-string")] == [
        -973932308 & 0x7FFFFFFF, -790332482 & 0x7FFFFFFF, -985981536 & 0x7FFFFFFF,
    ]  # fmt: skip
