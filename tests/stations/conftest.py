"""One ledger with its topics for each test; and a broker of its own for those that kill it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker import Broker, NoBroker
from tests.servers import missing
from tests.stations.ground import Ground


@pytest.fixture
def ground(postgres: str, kafka_server: str, prefix: str) -> Iterator[Ground]:
    ground = Ground(postgres, kafka_server, prefix).make()
    yield ground
    ground.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    try:
        broker = Broker(tmp_path / "broker").start()
    except NoBroker as why:
        missing(f"no Kafka: {why}")
        return
    yield broker
    broker.kill()
