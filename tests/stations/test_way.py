"""The whole way of an event in production: inbox, log, stream, read models, standings; nothing lost, nothing doubled."""

from __future__ import annotations

import json

from consumers.bus import InProcessBus
from consumers.production import Parts, ProjectStation
from consumers.project import Project
from ledger.instants import DAY
from ledger.intake import Accepted, Intake
from ledger.log import Log
from tests.stations.ground import NOW, Ground, linked, mixture, sold
from tests.test_published import GENEROUS, published


def test_what_is_sent_is_accepted_a_duplicate_or_refused_and_everything_agrees(ground: Ground) -> None:
    seed = 7
    print(f"seed {seed}")
    ground.publish(mixture(seed, 300))
    ground.settle()
    ground.check()
    n = ground.numbers()
    assert min(n["inbox, accepted"], n["inbox, duplicates"], n["inbox, refused"]) > 5
    assert n["position of the log"] > n["inbox, accepted"]  # copies to persons, and to partners that lose them


def test_standings_are_announced_when_they_change_and_when_time_changes_them(ground: Ground) -> None:
    ground.publish([(b"P-1", json.dumps(sold(n, at="2025-12-01T00:00:00Z")).encode()) for n in range(3)])
    ground.settle()
    first = ground.standings()["hubspot/P-1"]
    assert first["values"]["sold"] == "15" and first["position"] == 3
    ground.publish([(b"P-1", json.dumps(sold(2, at="2025-12-01T00:00:00Z")).encode())])  # a duplicate changes nothing
    ground.settle()
    records = len(ground.read("standings"))
    later = ProjectStation(Parts(ground.place), lambda: NOW + 300 * DAY, None)
    ground.keep(later)
    ground.until(lambda: len(ground.read("standings")) > records, [later, ground.relay()])
    gone = ground.standings()["hubspot/P-1"]
    assert gone["values"]["sold"] == "0" and gone["position"] == 3 and gone["changed"] == ["values"]


def test_two_of_each_station_share_the_work(ground: Ground) -> None:
    stations = [ground.ingest(), ground.ingest(), ground.relay(), ground.relay(), ground.project(), ground.project()]
    ground.publish(mixture(11, 300))
    ground.until(ground.is_settled, stations)
    ground.check()
    assert sorted(bool(station.facts().positions["relay"]) for station in stations[2:4]) == [False, True]


def test_the_read_models_are_made_anew_while_the_stations_go_on(ground: Ground) -> None:
    """Ahead of what the station has applied: what the stream still brings is dropped, and whoever is new is announced all the same."""
    ground.publish(mixture(17, 120))
    ground.settle()
    ground.publish([*mixture(18, 60), (b"P-new", json.dumps(sold(900, "P-new")).encode())])
    ahead, project = [ground.ingest(), ground.relay()], ground.project()
    ground.until(lambda: ground.numbers()["position of the log"] == ground.numbers()["position of the relay"] and ground.numbers()["inbox, next offset"] == ground.sent, ahead)
    before = ground.numbers()
    assert before["position applied"] < before["position of the log"]
    parts = Parts(ground.place)
    ground.keep(parts)
    done = Project(InProcessBus(), parts.history, parts.store).rebuild(applied=before["position applied"])
    assert (done.position, done.differing) == (before["position of the log"], 0), done.first
    assert ground.numbers() == before, "offsets are where they were"
    ground.until(ground.is_settled, [*ahead, project])
    ground.check()
    ground.until(lambda: "hubspot/P-new" in ground.standings(), [*ahead, project])


def test_the_log_may_be_written_by_others_too(ground: Ground) -> None:
    """Who records by the command line is published and applied like everyone else; only the inbox has origins."""
    with Log(ground.url) as log:
        Intake(log).record([sold(1), linked(2, "P-1", "E-1", "2026-01-01T00:00:00Z"), linked(3, "P-2", "E-1", "2026-02-01T00:00:00Z")])
    ground.publish([(b"P-1", json.dumps(sold(n)).encode()) for n in range(5, 9)])
    stations = [ground.ingest(), ground.relay(), ground.project()]
    ground.until(ground.is_settled, stations)
    assert ground.numbers()["inbox, accepted"] == 4
    parts = Parts(ground.place)
    ground.keep(parts)
    assert parts.session.execute("SELECT COUNT(*) FROM origins") == [(4,)]


def test_a_rulebook_that_is_published_is_announced_to_all_whom_it_changes(ground: Ground) -> None:
    ground.publish([(f"P-{n}".encode(), json.dumps(sold(n, f"P-{n}")).encode()) for n in range(4)])
    ground.settle()
    before = ground.standings()
    with Log(ground.url) as log:
        (receipt,) = Intake(log).record([published(GENEROUS)])
    assert isinstance(receipt, Accepted), receipt
    stations = [ground.relay(), ground.project()]
    ground.until(lambda: (n := ground.numbers())["position applied"] == receipt.position and not n["outbox"], stations)
    after = ground.standings()
    assert after.keys() == before.keys() and len(after) == 4
    for key, record in after.items():
        assert record["rulebook_hash"] != before[key]["rulebook_hash"] and "rulebook_hash" in record["changed"]
