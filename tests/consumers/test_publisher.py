"""Publishing on a real broker: what is confirmed is there, and after a failure the next page is published as if nothing had been."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition

from consumers.kafka_bus import Admin, BusError, Connection, Publisher, Unpublished
from consumers.topics import wanted
from consumers.wire import Message
from tests.broker import Broker, NoBroker
from tests.servers import missing


def said(n: int, body: bytes = b"{}") -> Message:
    return Message(f"partner/P-{n}".encode(), body, (("seal", b"[%d]" % n),), n % 2)


def read(server: str, topic: str) -> dict[int, list[tuple[str, bytes, list[tuple[str, bytes]]]]]:
    """Everything in a topic, by partition."""
    consumer = KafkaConsumer(bootstrap_servers=server, enable_auto_commit=False)
    partitions = [TopicPartition(topic, n) for n in (0, 1)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    found: dict[int, list[tuple[str, bytes, list[tuple[str, bytes]]]]] = {0: [], 1: []}
    while any(consumer.position(partition) < end for partition, end in ends.items()):
        for records in consumer.poll(500).values():
            for record in records:
                found[record.partition].append((record.key.decode(), record.value, record.headers))
    consumer.close()
    return found


@pytest.fixture
def topic(kafka_server: str, prefix: str) -> str:
    with Admin(Connection((kafka_server,))) as admin:
        topic = wanted(prefix, 2)[1]
        admin.create(topic, 1)
    return topic.name


@pytest.fixture
def publisher(kafka_server: str) -> Iterator[Publisher]:
    publisher = Publisher(Connection((kafka_server,)))
    yield publisher
    publisher.close()


def test_what_is_published_is_there_byte_for_byte_in_order(kafka_server: str, topic: str, publisher: Publisher) -> None:
    assert publisher.publish(topic, [said(n, b'{"n":%d}' % n) for n in range(500)]) == {0: 250, 1: 250}
    assert publisher.publish(topic, []) == {}
    found = read(kafka_server, topic)
    for partition in (0, 1):
        assert found[partition] == [(f"partner/P-{n}", b'{"n":%d}' % n, [("seal", b"[%d]" % n)]) for n in range(partition, 500, 2)]


def test_a_message_that_is_refused_fails_its_page_and_no_other(kafka_server: str, topic: str, publisher: Publisher) -> None:
    for bad in (said(1, b"x" * 3_000_000), said(1)._replace(partition=7)):
        with pytest.raises(Unpublished) as raised:
            publisher.publish(topic, [said(0), bad])
        assert raised.value.code == "bus_unpublished" and raised.value.hint
        assert publisher.publish(topic, [said(2), said(3)]).keys() == {0, 1}
    values = [key for records in read(kafka_server, topic).values() for key, _, _ in records]
    assert values.count("partner/P-2") == values.count("partner/P-3") == 2


def test_a_broker_that_goes_away_fails_the_page_and_serves_the_next(tmp_path: Path) -> None:
    try:
        broker = Broker(tmp_path / "broker").start()
    except NoBroker as why:
        missing(f"no Kafka: {why}")
        return
    connection = Connection((broker.bootstrap,))
    publisher = Publisher(connection, delivery_ms=2_000)
    try:
        with Admin(connection) as admin:
            topic = wanted("own.", 2)[1]
            admin.create(topic, 1)
        assert publisher.publish(topic.name, [said(n) for n in range(10)]) == {0: 5, 1: 5}
        broker.kill()
        with pytest.raises(Unpublished):
            publisher.publish(topic.name, [said(n) for n in range(10, 20)])
        with pytest.raises(BusError) as raised:
            publisher.publish(topic.name, [said(n) for n in range(10, 20)])
        assert raised.value.code == "bus_unreachable"
        broker.start()
        assert publisher.publish(topic.name, [said(n) for n in range(10, 20)]).keys() == {0, 1}
        found = read(broker.bootstrap, topic.name)
        for partition in (0, 1):
            keys = [key for key, _, _ in found[partition]]
            assert list(dict.fromkeys(keys)) == [f"partner/P-{n}" for n in range(partition, 20, 2)]
    finally:
        publisher.close()
        broker.kill()
