"""Where stations are tested: a PostgreSQL database and topics of their own, what to publish, and what has to be true afterwards."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka import KafkaProducer

from consumers import kafka_bus, production
from consumers.kafka_bus import Admin, Connection, read_all
from consumers.production import IngestStation, Parts, Place, ProjectStation, RelayStation, applied_position
from consumers.topics import INBOX, REFUSED, STANDINGS, wanted
from ledger.audit import audit
from ledger.instants import parse
from ledger.intake import Intake, utc_now
from ledger.log import Log
from ledger.projections.store import Store

PARTITIONS = 3
production.IDLE_SECONDS = 60  # a relay in this process waits while the others have their turn
kafka_bus.SESSION_MS = 2000  # a member that was killed is not waited for so long
SECONDS = 25
NOW = parse("2026-07-01T12:00:00Z")
DRIVER = Path(__file__).with_name("driver.py")


def sold(n: int, partner: str = "P-1", amount: str = "100.00", at: str = "2026-03-01T00:00:00Z", source: str = "crm") -> dict[str, Any]:
    data = {"client": f"C-{n % 7}", "line": "L", "amount": amount, "currency": "USD"}
    return {
        "specversion": "1.0", "id": f"sold-{n}", "source": source, "subject": partner, "type": "points.sold.v1", "time": at, "data": data,
    }  # fmt: skip


def linked(n: int, partner: str, person: str, at: str) -> dict[str, Any]:
    return {
        "specversion": "1.0", "id": f"linked-{n}", "source": "crm", "subject": partner, "type": "person.linked.v1", "time": at,
        "data": {"person": person},
    }  # fmt: skip


def mixture(seed: int, count: int, partners: int = 9) -> list[tuple[bytes | None, bytes | None]]:
    """Keys and values: sales, persons that move (which are several rows), the same twice, and what is no event."""
    dice = random.Random(seed)
    sent: list[tuple[bytes | None, bytes | None]] = []
    for n in range(count):
        partner = f"P-{dice.randrange(partners)}"
        kind = dice.random()
        if kind < 0.7 or not sent:
            event = sold(n, partner, f"{dice.randrange(1, 900)}.00", f"2026-0{dice.randrange(1, 7)}-1{dice.randrange(9)}T00:00:00Z")
        elif kind < 0.85:
            event = linked(n, partner, f"E-{dice.randrange(5)}", f"2026-0{dice.randrange(1, 7)}-1{dice.randrange(9)}T00:00:00Z")
        elif kind < 0.93:
            sent.append(dice.choice(sent))
            continue
        else:
            sent.append((partner.encode(), dice.choice([b"", None, b"nonsense", b"{}", b"\xff\xfe", b'{"specversion":"1.0"}'])))
            continue
        sent.append((partner.encode(), json.dumps(event).encode()))
    return sent


@dataclass
class Ground:
    """One ledger with its topics."""

    url: str
    server: str
    prefix: str
    sent: int = 0
    parts: list[Any] = field(default_factory=list)

    @property
    def connection(self) -> Connection:
        return Connection((self.server,))

    @property
    def place(self) -> Place:
        return Place(self.url, self.connection, wanted(self.prefix, PARTITIONS))

    def name(self, role: str) -> str:
        return next(topic.name for topic in self.place.topics if topic.role == role)

    def make(self) -> Ground:
        with Admin(self.connection) as admin:
            for topic in self.place.topics:
                assert admin.create(topic, 1)
        Log(self.url).close()
        Store(self.url).close()
        return self

    def publish(self, messages: Iterable[tuple[bytes | None, bytes | None]], headers: list[tuple[str, bytes]] | None = None) -> None:
        producer = KafkaProducer(bootstrap_servers=self.server, acks="all", allow_auto_create_topics=False)
        try:
            futures = [producer.send(self.name(INBOX), value, key, headers or []) for key, value in messages]
            producer.flush(30)
            for future in futures:
                future.get(1)
            self.sent += len(futures)
        finally:
            producer.close()

    def keep(self, parts: Any) -> Any:
        self.parts.append(parts)
        return parts

    def ingest(self, member: str | None = None) -> IngestStation:
        parts = Parts(self.place)
        return self.keep(IngestStation(parts, Intake(parts.log, utc_now), utc_now, member))  # type: ignore[no-any-return]

    def relay(self) -> RelayStation:
        return self.keep(RelayStation(Parts(self.place)))  # type: ignore[no-any-return]

    def project(self, member: str | None = None) -> ProjectStation:
        return self.keep(ProjectStation(Parts(self.place), lambda: NOW, member))  # type: ignore[no-any-return]

    def close(self) -> None:
        for each in self.parts:
            each.close()
        self.parts.clear()

    # -- until everything has gone through ----------------------------------------------------------------------

    def settle(self) -> None:
        """Run one of each station, in this process, until everything that was sent is applied and published."""
        stations = [self.ingest(), self.relay(), self.project()]
        self.until(self.is_settled, stations)
        for station in stations:
            station.close()
            self.parts.remove(station)

    def until(self, done: Callable[[], bool], stations: Iterable[Any]) -> None:
        until = time.monotonic() + SECONDS
        while True:
            worked = 0
            for station in stations:
                worked += station.step()
            if not worked and done():
                return
            assert time.monotonic() < until, f"not settled after {SECONDS} s: {self.status()}"

    def status(self) -> list[Any]:
        with Log(self.url) as log, log.database.session(60) as session:
            return production.status(session)

    def numbers(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for what, _, number in self.status():
            found[what] = found.get(what, 0) + number
        return found

    def is_settled(self) -> bool:
        """Everything that was sent has been judged, published and applied."""
        n = self.numbers()
        return (
            n.get("inbox, next offset", 0) == self.sent
            and n["position of the log"] == n["position of the relay"] == n["position applied"]
            and n["outbox"] == 0
        )

    # -- what has to be true ------------------------------------------------------------------------------------

    def check(self) -> None:
        """accepted + duplicates + refused = sent; log = stream; read models = a fresh rebuild."""
        n = self.numbers()
        assert n["inbox, accepted"] + n["inbox, duplicates"] + n["inbox, refused"] == self.sent, n
        parts = Parts(self.place)
        try:
            compared = production.compared(parts, lambda done, of: None)
            assert compared.difference is None, compared
            with Log(self.url) as log:
                ((receipts,),) = parts.session.execute("SELECT COUNT(*) FROM receipts")
                assert receipts == n["inbox, accepted"]
                store = Store(self.url)
                assert [f for f in audit(log, store, position=applied_position(parts.session)) if not f.note] == []
                store.close()
            # each refusal is in its topic, at least once
            refused = {tuple(json.loads(value)["origin"][2:]) for _, value in self.read(REFUSED)}
            assert len(refused) == n["inbox, refused"]
        finally:
            parts.close()

    def standings(self) -> dict[str, Any]:
        """The last record of each partner, as a reader keeps it."""
        found: dict[str, Any] = {}
        for key, value in self.read(STANDINGS):
            record = None if value is None else json.loads(value)
            kept = found.get(key.decode())
            if record is None or kept is None or (record["position"], record["as_of"]) >= (kept["position"], kept["as_of"]):
                found[key.decode()] = record
        return found

    def read(self, role: str) -> list[tuple[bytes, bytes | None]]:
        return [(message.key or b"", message.value) for message in read_all(self.connection, self.name(role), PARTITIONS)]

    # -- processes ----------------------------------------------------------------------------------------------

    def process(self, station: str, *, member: str = "", effect: int = 0, how: str = "KILL", log: Path | None = None) -> subprocess.Popen[bytes]:
        """A station in a process of its own. It does to itself what `how` says, before its effect of that number."""
        words = [sys.executable, str(DRIVER), self.url, self.server, self.prefix, station, member, str(effect), how]
        out = subprocess.DEVNULL if log is None else log.open("ab")
        return subprocess.Popen(words, stdout=out, stderr=out, cwd=DRIVER.parent.parent.parent)
