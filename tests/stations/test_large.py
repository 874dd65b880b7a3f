"""What is larger than a message may be still comes in, compressed; its refusal has to find its way out."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from kafka import KafkaProducer

from consumers import refused
from consumers.records import read_refusal
from consumers.topics import INBOX, REFUSED
from ledger.log import Log
from tests.stations.ground import Ground, sold


@pytest.fixture
def ground(postgres: str, kafka_server: str, prefix: str) -> Iterator[Ground]:
    ground = Ground(postgres, kafka_server, prefix).make()
    yield ground
    ground.close()


def test_a_refusal_of_much_is_published_cut_and_kept_whole(ground: Ground) -> None:
    """The broker measures after compression: a megabyte may be many."""
    value, key, headers = bytes(6_000_000), bytes(3_000_000), [(f"x{n}", bytes(9_000)) for n in range(20)]
    producer = KafkaProducer(bootstrap_servers=ground.server, compression_type="gzip", max_request_size=20_000_000, acks="all")
    producer.send(ground.name(INBOX), value, key, headers).get(30)
    producer.close()
    ground.sent += 1
    ground.publish([(b"P-1", json.dumps(sold(1)).encode())])
    ground.settle()
    ((short, record),) = ground.read(REFUSED)
    found = read_refusal(record or b"")
    assert found.code == "too_large" and found.cut and found.raw == value[:1_048_576] and short == found.key == key[:50_000]
    assert found.headers == tuple(headers[:2])
    with Log(ground.url) as log, log.database.session(60) as session:
        (kept,) = refused.listed(session, False)
        assert (kept.raw, kept.headers) == (value, headers)
    assert ground.numbers()["inbox, accepted"] == 1
