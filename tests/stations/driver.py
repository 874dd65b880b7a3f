"""A station in a process of its own, which kills or stops itself before its n-th effect: argv says which."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from consumers import kafka_bus
from consumers.kafka_bus import Connection
from consumers.production import IngestStation, Parts, Place, ProjectStation, RelayStation
from consumers.running import Journal, Runner, Station
from consumers.topics import wanted
from ledger.instants import parse
from ledger.intake import Intake, utc_now

url, server, prefix, name, member, effect, how = sys.argv[1:]
left = int(effect)
kafka_bus.SESSION_MS = 2000


def before(what: str) -> None:
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), getattr(signal, f"SIG{how}"))


def make() -> Station:
    parts = Parts(Place(url, Connection((server,)), wanted(prefix, 3)), runner.go_on)
    if name == "ingest":
        ingest = IngestStation(parts, Intake(parts.log, utc_now), utc_now, member or None)
        ingest.station.effect = before
        return ingest
    if name == "relay":
        relay = RelayStation(parts)
        relay.station.effect = before
        return relay
    project = ProjectStation(parts, lambda: parse("2026-07-01T12:00:00Z"), member or None)
    project.station.effect = project.announce.effect = before
    return project


runner = Runner(name, make, Journal(name), patience_seconds=60)
signal.signal(signal.SIGTERM, runner.stop)
runner.run()
