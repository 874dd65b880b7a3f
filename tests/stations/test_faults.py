"""Whatever dies, and wherever: accepted + duplicates + refused = sent, log = stream, read models = a fresh rebuild."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from consumers.bus import Overtaken
from consumers.kafka_bus import Admin, BusError, Connection
from consumers.production import Parts
from consumers.project import Gap
from consumers.topics import EVENTS, INBOX
from ledger.errors import LogError
from tests.broker import Broker
from tests.stations.ground import SECONDS, Ground, mixture, sold

DEATHS = int(os.environ.get("POINTS_LEDGER_TEST_DEATHS", "1"))
"""How often each effect of each station is died at; more by hand."""


def ended(process: subprocess.Popen[bytes]) -> int:
    return process.wait(SECONDS)


def wait_for(done: Callable[[], bool], why: str, seconds: float = SECONDS) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, why
        time.sleep(0.05)


@contextlib.contextmanager
def running(*processes: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


EFFECTS = [("ingest", 1), ("ingest", 2), ("ingest", 3), ("relay", 1), ("relay", 2), ("relay", 3), ("relay", 4), ("project", 1), ("project", 2), ("project", 3)]


@pytest.mark.parametrize(("station", "effect"), EFFECTS)
def test_killed_before_an_effect(ground: Ground, station: str, effect: int) -> None:
    for death in range(DEATHS):
        ground.publish(mixture(100 * effect + death, 60))
        if station != "ingest":
            ingest = ground.ingest()
            ground.until(lambda: ground.numbers()["inbox, next offset"] == ground.sent, [ingest])
            ground.close()
        if station == "project":
            relay = ground.relay()
            ground.until(lambda: (n := ground.numbers())["position of the log"] == n["position of the relay"] and not n["outbox"], [relay])
            ground.close()
        process = ground.process(station, effect=effect)
        with running(process):
            assert ended(process) == -signal.SIGKILL, "it did not come to that effect"
        ground.settle()
    ground.check()


@pytest.mark.parametrize("effect", [1, 2])
def test_a_relay_that_is_stopped_loses_its_turn_within_seconds_and_changes_nothing_when_it_goes_on(ground: Ground, effect: int, tmp_path: Path) -> None:
    ground.publish(mixture(5, 80))
    ingest = ground.ingest()
    ground.until(lambda: ground.numbers()["inbox, next offset"] == ground.sent, [ingest])
    stopped = ground.process("relay", effect=effect, how="STOP", log=tmp_path / "stopped.log")
    with running(stopped):
        wait_for(lambda: Path(f"/proc/{stopped.pid}/stat").read_text().split()[2] == "T", "the relay did not stop")
        begun = time.monotonic()
        other = ground.relay()
        ground.until(lambda: (n := ground.numbers())["position of the relay"] == n["position of the log"], [other])
        assert time.monotonic() - begun < 5, "hand-over took too long"
        stopped.send_signal(signal.SIGCONT)
        wait_for(lambda: b"tries again" in (tmp_path / "stopped.log").read_bytes(), "the stopped relay did not notice")
        ground.publish(mixture(6, 40))
        ground.until(ground.is_settled, [ingest, other, ground.project()])
        stopped.terminate()
        assert ended(stopped) == 0
    ground.check()


def is_stopped(process: subprocess.Popen[bytes]) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().split()[2] == "T"


@pytest.mark.parametrize(("station", "effect"), EFFECTS if DEATHS > 1 else [("ingest", 2), ("project", 1), ("relay", 3)])
def test_stopped_before_an_effect_others_go_on_and_what_it_had_begun_is_not_kept(ground: Ground, station: str, effect: int) -> None:
    """In the middle of a transaction too, where it holds a lock that others wait for."""
    ground.publish(mixture(70 + effect, 80))
    names = ["ingest", "relay", "project"]
    before = [ground.process(name) for name in names[: names.index(station)]]
    with running(*before):
        if before:
            wait_for(lambda: ground.numbers().get("inbox, next offset") == ground.sent, "not taken in")
        stopped = ground.process(station, effect=effect, how="STOP")
        with running(stopped):
            wait_for(lambda: is_stopped(stopped), "the station did not stop")
            others = [ground.process(name) for name in names[names.index(station) :]]
            with running(*others):
                wait_for(ground.is_settled, f"not settled: {ground.status()}")
                stopped.send_signal(signal.SIGCONT)
                ground.publish(mixture(80 + effect, 40))
                wait_for(ground.is_settled, f"not settled: {ground.status()}")
            stopped.terminate()
            assert ended(stopped) == 0
    ground.check()


def test_one_name_twice_the_one_that_was_fenced_writes_nothing(ground: Ground) -> None:
    one, other = ground.ingest(member="same"), None
    ground.publish(mixture(21, 40))
    ground.until(lambda: ground.numbers()["inbox, next offset"] == ground.sent, [one])
    other = ground.ingest(member="same")
    ground.publish(mixture(22, 40))
    ground.until(lambda: ground.numbers()["inbox, next offset"] == ground.sent, [other])
    ground.publish([(b"P-1", json.dumps(sold(900 + n)).encode()) for n in range(20)])
    overtaken = 0
    until = time.monotonic() + SECONDS
    while ground.numbers()["inbox, next offset"] < ground.sent:
        assert time.monotonic() < until
        for each in (one, other):
            try:
                each.step()
            except (Overtaken, BusError):
                overtaken += 1
    ground.close()
    ground.settle()
    ground.check()


def test_the_compare_and_set_fires(ground: Ground) -> None:
    """A process that was polled before another did the same work writes nothing of it."""
    ground.publish(mixture(31, 30))
    slow, quick = ground.ingest(), ground.ingest(member="quick")
    polled = []
    until = time.monotonic() + SECONDS
    while not polled:
        assert time.monotonic() < until
        polled = slow._reader.poll(500)  # it has the messages, and goes no further
    slow._reader.close()
    ground.until(lambda: ground.numbers()["inbox, next offset"] == ground.sent, [quick])
    slow.station._inbox = type("Once", (), {"poll": lambda self, *_: polled, "commit": lambda self: None, "back": lambda self: None})()
    before = ground.numbers()
    with pytest.raises(Overtaken) as raised:
        slow.station.step()
    assert raised.value.code == "station_overtaken" and raised.value.hint
    assert ground.numbers() == before
    ground.parts.remove(slow)
    slow._parts.close()
    ground.settle()
    ground.check()


def test_the_epoch_fires(ground: Ground) -> None:
    """A relay that has published and lost its turn meanwhile moves no mark."""
    ground.publish([(b"P-1", json.dumps(sold(n)).encode()) for n in range(10)])
    ground.until(lambda: ground.numbers()["position of the log"] == 10, [ground.ingest()])
    one = ground.relay()
    assert one.station._sole.claim()

    def taken_over(name: str) -> None:
        if name == "mark events":
            with psycopg.connect(ground.url) as other:
                other.execute("UPDATE relay SET epoch = epoch + 1")

    one.station.effect = taken_over
    with pytest.raises(Overtaken):
        one.step()
    assert ground.numbers()["position of the relay"] == 0
    ground.close()
    ground.settle()
    ground.check()
    assert len(ground.read(EVENTS)) == 20  # published twice, which every reader knows by position


def test_everything_delivered_again_changes_nothing(ground: Ground) -> None:
    ground.publish(mixture(41, 80))
    ground.settle()
    before = ground.numbers()
    with psycopg.connect(ground.url) as other:
        other.execute("UPDATE applied SET next = 0")
        other.execute("UPDATE relay SET position = 0")
    ground.settle()
    assert ground.numbers()["position applied"] == before["position of the log"]
    ground.check()
    with psycopg.connect(ground.url) as other:
        other.execute("UPDATE inbox SET next = 0, accepted = 0, duplicates = 0, refused = 0; DELETE FROM refusals")
    ground.settle()
    n = ground.numbers()
    assert (n["inbox, accepted"], n["position of the log"]) == (0, before["position of the log"])
    assert n["inbox, duplicates"] == before["inbox, accepted"] + before["inbox, duplicates"] and n["inbox, refused"] == before["inbox, refused"]


def test_a_gap_stops_loudly(ground: Ground) -> None:
    ground.publish([(b"P-1", json.dumps(sold(n)).encode()) for n in range(6)])
    ground.until(lambda: ground.numbers()["position of the log"] == 6, [ground.ingest()])
    with psycopg.connect(ground.url) as other:
        other.execute("UPDATE relay SET position = 3; UPDATE inserts SET position = 3 WHERE position = 3")
        if not other.execute("SELECT 1 FROM inserts WHERE position = 3").fetchall():
            other.execute("INSERT INTO inserts SELECT 3, recorded_at FROM inserts LIMIT 1")
    ground.until(lambda: ground.numbers()["position of the relay"] == 6, [ground.relay()])
    project = ground.project()
    with pytest.raises(Gap) as raised:
        ground.until(ground.is_settled, [project])
    assert raised.value.code == "stream_gap" and raised.value.hint
    assert ground.numbers()["position applied"] < 6


def test_a_topic_made_anew_stops_every_station(ground: Ground) -> None:
    ground.publish(mixture(51, 20))
    ground.settle()
    ingest = ground.ingest()
    with Admin(Connection((ground.server,))) as admin:
        admin._client.delete_topics([ground.name(INBOX)])
        wait_for(lambda: ground.name(INBOX) not in admin.find([ground.name(INBOX)]), "the topic is still there")
        wait_for(lambda: admin.create(ground.place.topics[0], 1), "the topic cannot be made")
    with pytest.raises(BusError) as raised:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            ingest.step()
    assert raised.value.code in ("topic_made_anew", "topic_missing", "topic_offsets", "bus_unreachable")
    with pytest.raises(BusError) as raised:
        Parts(ground.place)
    assert raised.value.code == "topic_made_anew"


def test_a_database_that_goes_away_between_commit_and_offset(ground: Ground) -> None:
    ground.publish(mixture(61, 50))
    ingest = ground.ingest()

    def gone(name: str) -> None:
        if name == "tell Kafka":
            with psycopg.connect(ground.url, autocommit=True) as admin:
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()")

    ingest.station.effect = gone
    until = time.monotonic() + SECONDS
    with pytest.raises(LogError) as raised:
        while time.monotonic() < until:
            ingest.step()
    assert raised.value.code == "log_connection_lost"
    ground.parts.remove(ingest)
    with contextlib.suppress(LogError):
        ingest.close()
    ground.settle()
    ground.check()


def test_the_same_file_twice_at_once(ground: Ground) -> None:
    messages = [(b"P-1", json.dumps(sold(n)).encode()) for n in range(200)]
    ground.publish(messages)
    ground.publish([(b"other key", value) for _, value in messages])
    ground.until(ground.is_settled, [ground.ingest(), ground.ingest(), ground.relay(), ground.project()])
    n = ground.numbers()
    assert (n["inbox, accepted"], n["inbox, duplicates"], n["inbox, refused"]) == (200, 200, 0)
    ground.check()


STRANGE_HEADERS = [
    [("content-type", b"application/cloudevents+json"), ("content-type", b"text/plain")],
    [("content-type", b"application/cloudevents+avro")],
    [("ce_id", b"\xff"), ("content-type", b"application/json")],
    [("ce_id", b"1"), ("ce_id", b"1")],
    [("ce_data", b"1")],
    [("x" * 5000, b"y" * 5000)],
    [("\x00", b"")],
]


def test_poison(ground: Ground) -> None:
    """Messages of every strange kind are refused or taken, in bounded time, and the others go on."""
    good = json.dumps(sold(1)).encode()
    for headers in STRANGE_HEADERS:
        ground.publish([(b"P-1", good), (None, good), (b"\xff\xfe", good)], headers)
    ground.publish([(b"", b""), (b"P-1", None), (b"P-1", b"\xff"), (None, b"x" * 1_000_000), (b"P-1", b"[" * 100_000), (b"P-1", b"{" + b'"a":' * 50_000)])
    ground.publish([(b"P-1", json.dumps(sold(2)).encode())])
    ground.settle()
    ground.check()
    assert ground.numbers()["position of the log"] == 2


def test_a_header_whose_name_is_no_utf8(ground: Ground) -> None:
    class Name(str):
        def encode(self, *_: object) -> bytes:
            return b"\xff\xfe"

    ground.publish([(b"P-1", json.dumps(sold(1)).encode())], [(Name("x"), b"1")])
    ground.publish([(b"P-1", json.dumps(sold(2)).encode())])
    ground.settle()
    assert ground.numbers()["inbox, accepted"] == 2
    ground.check()


def test_a_broker_that_is_killed_paused_and_started_again(broker: Broker, postgres: str, prefix: str) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    dice = random.Random(seed)
    ground = Ground(postgres, broker.bootstrap, prefix).make()
    processes = [ground.process(station) for station in ("ingest", "relay", "project", "relay")]
    with running(*processes):
        for turn in range(3):
            ground.publish(mixture(seed + turn, 60))
            time.sleep(dice.random())
            if turn == 1:
                broker.pause()
                time.sleep(3)
                broker.go_on()
            else:
                broker.kill()
                time.sleep(dice.random())
                broker.start()
        wait_for(ground.is_settled, "not settled")
        for process in processes:
            process.terminate()
        assert [ended(process) for process in processes] == [0, 0, 0, 0]
    ground.check()


def test_killed_again_and_again(ground: Ground) -> None:
    """One of each station and a second relay, each killed at a random moment and started again, while events come in."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    dice = random.Random(seed)
    names = ["ingest", "relay", "project", "relay", "project"]
    processes = [ground.process(name) for name in names]
    kills = 0
    try:
        for turn in range(4 * DEATHS):
            ground.publish(mixture(seed + turn, 40))
            time.sleep(dice.uniform(0.3, 1.5))
            which = dice.randrange(len(names))
            processes[which].send_signal(signal.SIGKILL)
            processes[which].wait()
            processes[which] = ground.process(names[which])
            kills += 1
        wait_for(ground.is_settled, f"not settled after {kills} kills: {ground.status()}")
    finally:
        for process in processes:
            process.kill()
            process.wait()
    ground.check()
