"""The publisher for other teams: receipts that are true, ids that stay, and no failure that goes unsaid."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.connection import BusError
from consumers.inbox_message import structured
from consumers.kafka_bus import Admin, Connection, partition_of, read_all
from consumers.topics import wanted
from ledger.errors import Refused
from ledger.events.envelope import Event, decode, event
from ledger.publisher import Publisher, Receipt, Unpublished, event_id
from ledger.settings import Settings
from tests.events.samples import encoded, full, minimal
from tests.secured import Secured

PARTITIONS = 3


@pytest.fixture
def settings(kafka_server: str, prefix: str) -> Settings:
    with Admin(Connection((kafka_server,))) as admin:
        admin.create(wanted(prefix, PARTITIONS)[0], 1)
    return Settings(kafka=kafka_server, topics=prefix)


def sale(n: int, partner: str | None = "P-1") -> dict[str, Any]:
    return minimal("points.sold.v1") | {"id": event_id("crm/deals", f"deal {n}"), **({"subject": partner} if partner else {})}


def test_each_event_is_where_its_receipt_says(settings: Settings) -> None:
    partners = ["P-1", "P-2", "日本", "P-1", None, "P-2", None]
    raw = [sale(n, partner) for n, partner in enumerate(partners)]
    given = [raw[0], encoded(raw[1]), encoded(raw[2]).decode(), decode(raw[3]), *raw[4:]]
    with Publisher(settings) as publisher:
        receipts = publisher.publish(given) + publisher.publish([])  # type: ignore[arg-type]
    there = {(m.partition, m.offset): m for m in read_all(Connection((str(settings.kafka),)), f"{settings.topics}inbox", PARTITIONS)}
    assert len(there) == len(receipts) == len(raw)
    for stated, receipt in zip(raw, receipts, strict=True):
        message, expected = there[receipt.partition, receipt.offset], decode(stated)
        assert isinstance(expected, Event)
        assert receipt == Receipt("crm/deals", expected.id, f"{settings.topics}inbox", receipt.partition, receipt.offset)
        body = structured(message.value, message.headers)
        assert isinstance(body, bytes) and decode(body) == expected
        assert message.key == (stated.get("subject") or "/ledger").encode() and receipt.partition == partition_of(message.key, PARTITIONS)
    for partner in ("P-1", "P-2", None):
        places = [receipt.offset for stated, receipt in zip(raw, receipts, strict=True) if stated.get("subject") == partner]
        assert places == sorted(places)


def test_an_event_that_would_be_refused_is_told_and_none_is_sent(settings: Settings) -> None:
    bad = sale(2) | {"data": {**sale(2)["data"], "amount": 12.5}}
    with Publisher(settings) as publisher:
        with pytest.raises(Refused) as raised:
            publisher.publish([sale(1), bad, sale(3)])
        assert raised.value.code == "bad_amount" and raised.value.what.startswith("event 2, data.amount: 12.5 is a number")
        assert [receipt.offset for receipt in publisher.publish([sale(4)])] == [0]


def test_a_topic_that_is_not_there_and_a_broker_that_is_not_there_are_told(kafka_server: str, prefix: str) -> None:
    with Publisher(Settings(kafka=kafka_server, topics=prefix), delivery_seconds=2) as publisher, pytest.raises(Unpublished) as raised:
        publisher.publish([sale(1)])
    assert f"{prefix}inbox" in str(raised.value) and raised.value.code == "bus_unpublished"
    with Publisher(Settings(kafka="127.0.0.1:1")) as nobody, pytest.raises(BusError) as raised:
        nobody.publish([sale(1)])
    assert raised.value.code == "bus_unreachable"
    with pytest.raises(BusError, match="no brokers are named"):
        Publisher(Settings())


def test_by_a_listener_that_asks_who_is_there(secured: Secured, prefix: str) -> None:
    settings = Settings(**secured.settings("GUARDED", "SCRAM-SHA-512", topics=prefix))
    with Admin(Connection.of(settings)) as admin:
        admin.create(wanted(prefix, 1)[0], 1)
    with Publisher(settings) as publisher:
        assert publisher.publish([full("points.sold.v1"), event("partner.left.v1", subject="P", effective_at="2024-01-01", id="1")])[1].offset == 1


@given(st.text(), st.text())
def test_the_id_of_a_fact_is_always_the_same_and_its_own(one: str, other: str) -> None:
    assert event_id("crm", one) == event_id("crm", one) != event_id("crm2", one)
    assert (event_id("crm", one) == event_id("crm", other)) == (one == other)
    assert uuid.UUID(event_id("crm", one)).version == 5


def test_ids_stay_what_they_are() -> None:
    """What was sent by an earlier version is a duplicate of what this one sends."""
    assert event_id("crm/deals", "deal 4711, won") == "45a43e9d-87c5-57c7-a84c-3c321d16d4cc"


def test_it_is_imported_by_its_name_alone() -> None:
    """A team that publishes has no ledger and no PostgreSQL: nothing of these is loaded."""
    script = "import sys, ledger.publisher; print(*sorted(m for m in sys.modules if m.split('.')[0] in ('sqlalchemy', 'eventsourcing', 'psycopg', 'click')))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    assert done.stdout.strip() == ""
