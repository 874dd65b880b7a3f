"""How fast are the stations of production? Each against the bare way, on a real Kafka and a real PostgreSQL, in one run.

ingest     `IngestStation`, inbox to log with receipts and origins; against `points record`'s way of recording the same events from a file
           into the same PostgreSQL (the door, 1,000 a transaction)
relay      `RelayStation`, log to topic; against a bare kafka-python producer of the same bytes and headers (acks=all, idempotent)
project    `ProjectStation`, topic to read models; against a bare kafka-python loop of poll and commit over the same messages, headers
           included. Once as it is without announcing, once until every standing is announced too
visible    the four stations as processes (`points run`): the rate end to end, then from publishing to the inbox until
           `applied_position` covers it, at half that rate
workers    two processes of `ProjectStation` against one, over the same messages, waiting to be let go

The events are HubSpot partners' histories, all partners' together in order of time, as they would come; a message is a row of the log.
A ratio is of rates within a round, each round on a database and topics of its own; what is told is the median. All of it shares the
machine: the broker, the database, the stations and the publisher.

    PYTHONPATH=. python benchmarks/stations.py --partners 500 --events 40 --rounds 5
    PYTHONPATH=. python benchmarks/stations.py --only visible --rounds 1
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from benchmarks import servers
from benchmarks.histories import partner_story
from consumers import kafka_bus
from consumers.kafka_bus import Admin, Connection, read_all
from consumers.production import IngestStation, Parts, Place, ProjectStation, RelayStation, applied_position
from consumers.topics import EVENTS, INBOX, REQUEST_BYTES, wanted
from consumers.wire import Message
from ledger.instants import parse
from ledger.intake import Accepted, Intake, utc_now
from ledger.log import Log
from ledger.projections.store import Store
from ledger.settings import collect_seldom

PARTITIONS = 6
FILE_BATCH = 1000
NOW = parse("2025-07-01")
VISIBLE_SECONDS_MAX = 1.0
LOOK_SECONDS = 0.005
STUCK_SECONDS = 300


class Ground:
    """A ledger with its topics, for one round."""

    def __init__(self, url: str, server: str) -> None:
        self.url, self.server = url, server
        self.prefix = f"b{os.urandom(6).hex()}."
        self.topics = wanted(self.prefix, PARTITIONS)
        with Admin(self.connection) as admin:
            for topic in self.topics:
                assert admin.create(topic, 1)
        Log(url).close()
        Store(url).close()

    @property
    def connection(self) -> Connection:
        return Connection((self.server,))

    @property
    def place(self) -> Place:
        return Place(self.url, self.connection, self.topics)

    def name(self, role: str) -> str:
        return next(topic.name for topic in self.topics if topic.role == role)

    def ingest(self) -> IngestStation:
        parts = Parts(self.place)
        return joined(IngestStation(parts, Intake(parts.log, utc_now), utc_now, None))  # type: ignore[no-any-return]

    def relay(self) -> RelayStation:
        return RelayStation(Parts(self.place))

    def project(self) -> ProjectStation:
        return joined(ProjectStation(Parts(self.place), lambda: NOW, None))  # type: ignore[no-any-return]

    def fill(self, raw: Sequence[bytes]) -> int:
        """The log and the stream of events have these. How many rows they are."""
        record(self.url, raw)
        relay = self.relay()
        with Log(self.url) as log:
            head = log.head()
        until(lambda: relay.station.position == head, relay.step)
        relay.close()
        return head


@contextmanager
def ground(postgres: str, kafka: str) -> Iterator[Ground]:
    with servers.database(postgres) as url:
        yield Ground(url, kafka)


def joined(station: Any) -> Any:
    """Once it has its partitions; the topic is empty."""
    until(lambda: len(station._reader.assigned()) == PARTITIONS, station.step)
    return station


def until(done: Callable[[], bool], step: Callable[[], object]) -> None:
    end = time.monotonic() + STUCK_SECONDS
    while not done():
        step()
        assert time.monotonic() < end, f"not done after {STUCK_SECONDS} s"


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def stories(partners: int, events: int, seed: int) -> list[bytes]:
    """The events of all partners in order of time."""
    dice = random.Random(seed)
    told = [one for n in range(partners) for one in partner_story(dice, f"P-{n:05}", events)]
    return [json.dumps(one).encode() for one in sorted(told, key=lambda one: one["time"])]


def record(url: str, raw: Sequence[bytes]) -> None:
    with Log(url) as log:
        intake = Intake(log)
        for begin in range(0, len(raw), FILE_BATCH):
            assert all(type(receipt) is Accepted for receipt in intake.record(raw[begin : begin + FILE_BATCH]))


def publish(ground: Ground, raw: Sequence[bytes]) -> None:
    """To the inbox, each under its partner."""
    publisher = kafka_bus.Publisher(ground.connection)
    publisher.publish(ground.name(INBOX), [Message(json.loads(one)["subject"].encode(), one, (), -1) for one in raw])
    publisher.close()


# -- one station after the other -----------------------------------------------------------------------------------------


def from_file(ground: Ground, raw: Sequence[bytes]) -> float:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "events.jsonl"
        path.write_bytes(b"\n".join(raw))
        return timed(lambda: record(ground.url, path.read_bytes().split(b"\n")))


def ingest(ground: Ground, raw: Sequence[bytes]) -> float:
    station = ground.ingest()
    publish(ground, raw)
    seconds = timed(lambda: until(lambda: sum(station.station.counts.values()) == len(raw), station.step))
    assert station.station.counts == {"accepted": len(raw)}, station.station.counts
    station.close()
    return seconds


def relay(ground: Ground) -> float:
    with Log(ground.url) as log:
        head = log.head()
    station = ground.relay()
    seconds = timed(lambda: until(lambda: station.station.position == head, station.step))
    station.close()
    return seconds


def bare_producer(ground: Ground, messages: Sequence[Message]) -> float:
    """With the producer's settings of ours, to partitions that are known, and every answer looked at."""
    producer = KafkaProducer(
        bootstrap_servers=ground.server, acks="all", enable_idempotence=True, linger_ms=5, batch_size=262_144,
        max_request_size=REQUEST_BYTES, allow_auto_create_topics=False,
    )  # fmt: skip
    topic = ground.name(EVENTS)

    def work() -> None:
        futures = [producer.send(topic, each.value, each.key, list(each.headers), each.partition) for each in messages]
        producer.flush()
        assert all(future.succeeded() for future in futures)

    seconds = timed(work)
    producer.close()
    return seconds


def bare_consumer(ground: Ground, count: int) -> float:
    """Poll, look at key, value and headers, commit; from the beginning, with the consumer's settings of ours."""
    topic = ground.name(EVENTS)
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer: Any = KafkaConsumer(
        bootstrap_servers=ground.server, group_id=f"{topic}.bare", auto_offset_reset="earliest", enable_auto_commit=False,
        max_poll_records=5_000, fetch_max_wait_ms=100, max_partition_fetch_bytes=REQUEST_BYTES,
    )  # fmt: skip
    consumer.assign(partitions)

    def work() -> None:
        seen = 0
        while seen < count:
            ends = {}
            for partition, records in consumer.poll(timeout_ms=100, max_records=50_000).items():
                found = [(each.key, each.value, each.headers, each.offset) for each in records]
                seen += len(found)
                ends[partition] = OffsetAndMetadata(found[-1][3] + 1, "", -1)
            if ends:
                consumer.commit(ends)

    seconds = timed(work)
    consumer.close()
    return seconds


def project(ground: Ground, raw: Sequence[bytes], *, announce: bool) -> tuple[float, int]:
    """Seconds, and how many messages there were."""
    station = ground.project()
    head, applied, idle = ground.fill(raw), 0, False

    def step() -> None:
        nonlocal applied, idle
        done = station.step() if announce else station.station.step()
        applied = station._counts["applied"] if announce else applied + done
        idle = not done

    seconds = timed(lambda: until(lambda: applied == head and (idle or not announce), step))
    station.close()
    return seconds, head


def one_round(postgres: str, kafka: str, raw: Sequence[bytes], only: Sequence[str]) -> dict[str, float]:
    """The rate of each way."""
    rates: dict[str, float] = {}
    if "ingest" in only:
        with ground(postgres, kafka) as mine:
            rates["from a file"] = len(raw) / from_file(mine, raw)
        with ground(postgres, kafka) as mine:
            rates["ingest"] = len(raw) / ingest(mine, raw)
    if "relay" in only:
        with ground(postgres, kafka) as mine:
            record(mine.url, raw)
            seconds = relay(mine)
            messages = list(read_all(mine.connection, mine.name(EVENTS), PARTITIONS))
            messages.sort(key=lambda each: json.loads(each.headers[0][1] or b"")["position"])
            rates["relay"] = len(messages) / seconds
        with ground(postgres, kafka) as mine:
            rates["bare producer"] = len(messages) / bare_producer(mine, messages)
    if "project" in only:
        with ground(postgres, kafka) as mine:
            seconds, count = project(mine, raw, announce=False)
            rates["project"] = count / seconds
            rates["bare consumer"] = count / bare_consumer(mine, count)
        with ground(postgres, kafka) as mine:
            seconds, count = project(mine, raw, announce=True)
            rates["project and announce"] = count / seconds
    if "workers" in only:
        for number in (1, 2):
            with ground(postgres, kafka) as mine:
                rates[f"{number} worker{'s'[: number - 1]}"] = workers(mine, raw, number)
    return rates


# -- processes -------------------------------------------------------------------------------------------------------------


def worker(url: str, server: str, prefix: str, ready: Any, go: Any) -> None:
    collect_seldom()
    parts = Parts(Place(url, Connection((server,)), wanted(prefix, PARTITIONS)))
    station = ProjectStation(parts, lambda: NOW, None)
    while not ready.is_set():
        station.station.step(timeout_ms=50)
        go[1].put((os.getpid(), len(station._reader.assigned())))
    go[0].wait()
    while True:
        station.station.step()


def workers(mine: Ground, raw: Sequence[bytes], number: int) -> float:
    """Messages a second, from letting them go until all is applied. Nothing is announced."""
    context = multiprocessing.get_context("spawn")
    ready, let_go, said = context.Event(), context.Event(), context.Queue()
    made = [
        context.Process(target=worker, args=(mine.url, mine.server, mine.prefix, ready, (let_go, said)), daemon=True) for _ in range(number)
    ]
    for each in made:
        each.start()
    has: dict[int, int] = {}

    def hear() -> None:
        member, partitions = said.get(timeout=60)
        has[member] = partitions

    until(lambda: len(has) == number and sorted(has.values()) == [PARTITIONS // number] * number, hear)
    ready.set()
    head = mine.fill(raw)
    with Log(mine.url) as log, log.database.session(STUCK_SECONDS) as session:
        let_go.set()
        seconds = timed(lambda: until(lambda: applied_position(session) == head, lambda: time.sleep(LOOK_SECONDS)))
    for each in made:
        each.kill()
        each.join()
    return head / seconds


@contextmanager
def running(mine: Ground) -> Iterator[None]:
    """One of each station, as `points run` runs it, each with its partitions."""
    environment = {
        **os.environ, "POINTS_LEDGER_PATH": mine.url, "POINTS_LEDGER_KAFKA": mine.server, "POINTS_LEDGER_TOPICS": mine.prefix,
        "POINTS_LEDGER_PARTITIONS": str(PARTITIONS), "PYTHONPATH": ".",
    }  # fmt: skip
    processes = [
        subprocess.Popen([sys.executable, "cli.py", "run", station], env=environment) for station in ("ingest", "relay", "project")
    ]
    processes.append(subprocess.Popen([sys.executable, "cli.py", "run", "expire", "--every", "3600"], env=environment))
    try:
        yield
    finally:
        for each in processes:
            each.send_signal(signal.SIGTERM)
        for each in processes:
            each.wait(30)


class Watcher:
    """When which position was applied, as seen from outside."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.at: list[float] = []
        self.positions: list[int] = []

    def look(self) -> int:
        position = applied_position(self._session)
        if not self.positions or position > self.positions[-1]:
            self.at.append(time.monotonic())
            self.positions.append(position)
        return position

    def seen(self, position: int) -> float:
        return self.at[bisect_left(self.positions, position)]


def paced(mine: Ground, raw: Sequence[bytes], rate: float, watcher: Watcher) -> dict[tuple[int, int], float]:
    """Publish at a rate, in tens a second as many as are due, and look meanwhile. When each was sent, by partition and offset."""
    producer = KafkaProducer(bootstrap_servers=mine.server, acks="all", allow_auto_create_topics=False)
    topic, sent, begun = mine.name(INBOX), [], time.monotonic()
    while len(sent) < len(raw):
        due = min(len(raw), int((time.monotonic() - begun) * rate) + 1)
        for one in raw[len(sent) : due]:
            sent.append((time.monotonic(), producer.send(topic, one, json.loads(one)["subject"].encode())))
        watcher.look()
        time.sleep(LOOK_SECONDS)
    found = {}
    for at, future in sent:
        metadata = future.get(60)
        found[metadata.partition, metadata.offset] = at
    producer.close()
    return found


def visible(postgres: str, kafka: str, raw: Sequence[bytes]) -> dict[str, float]:
    """The first half as fast as it goes, the second at half the rate that was found."""
    half = len(raw) // 2
    with ground(postgres, kafka) as mine, running(mine), Log(mine.url) as log, log.database.session(STUCK_SECONDS) as session:
        rest = lambda: time.sleep(LOOK_SECONDS)  # noqa: E731
        accepted = lambda: session.execute("SELECT COALESCE(SUM(accepted), 0) FROM inbox")[0][0]  # noqa: E731
        settled = lambda count: accepted() == count and applied_position(session) == log.head()  # noqa: E731
        publish(mine, raw[:100])
        until(lambda: settled(100), rest)
        begun = time.monotonic()
        publish(mine, raw[100:half])
        until(lambda: settled(half), rest)
        rate = (half - 100) / (time.monotonic() - begun)
        watcher = Watcher(session)
        sent = paced(mine, raw[half:], rate / 2, watcher)
        until(lambda: settled(len(raw)), lambda: (watcher.look(), rest()))
        watcher.look()
        rows = session.execute('SELECT position, partition, "offset" FROM origins')
        waited = sorted(watcher.seen(position) - sent[place] for position, *at in rows if (place := tuple(at)) in sent)
        assert len(waited) == len(raw) - half
    cuts = quantiles(waited, n=100)
    return {"end to end": rate, "p50": median(waited), "p99": cuts[98], "max": waited[-1]}


# -- the report ------------------------------------------------------------------------------------------------------------

RATIOS = {
    "ingest": ("ingest", "from a file", 0.65),
    "relay": ("relay", "bare producer", 0.75),
    "project": ("project", "bare consumer", 0.5),
    "project and announce": ("project and announce", "bare consumer", None),
    "two workers": ("2 workers", "1 worker", None),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--partners", type=int, default=500)
    options.add_argument("--events", type=int, default=40, help="of each partner")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seed", type=int, default=20260630)
    options.add_argument("--only", action="append", choices=("ingest", "relay", "project", "visible", "workers"))
    options.add_argument("--postgres", metavar="URL", help="a server that runs already")
    options.add_argument("--kafka", metavar="HOST:PORT", help="a broker that runs already")
    asked = options.parse_args()
    collect_seldom()
    only = asked.only or ["ingest", "relay", "project", "workers", "visible"]
    raw = stories(asked.partners, asked.events, asked.seed)
    print(f"seed {asked.seed}: {asked.partners} partners, {asked.events} events each, {PARTITIONS} partitions; {servers.machine()}")
    with ExitStack() as stack:
        postgres, kafka = stack.enter_context(servers.postgres(asked.postgres)), stack.enter_context(servers.kafka(asked.kafka))
        one_round(postgres, kafka, raw[: len(raw) // 5], [name for name in only if name != "workers"])  # everything is warm then
        rounds = [one_round(postgres, kafka, raw, only) for _ in range(asked.rounds)]
        for name in rounds[0]:
            print(f"{name:>22} {median(each[name] for each in rounds):10,.0f} messages/s")
        for name, (ours, bare, target) in RATIOS.items():
            if ours in rounds[0]:
                ratios = [each[ours] / each[bare] for each in rounds]
                wanted = "" if target is None else f"   (target {target})"
                print(f"{name:>22} {median(ratios):6.3f} x {bare}, {min(ratios):.3f} to {max(ratios):.3f}{wanted}")
        if "visible" in only:
            found = [visible(postgres, kafka, raw) for _ in range(asked.rounds)]
            rate, p50, p99, most = (median(each[name] for each in found) for name in ("end to end", "p50", "p99", "max"))
            print(
                f"end to end {rate:,.0f} events/s; at half of that visible after {p50:.3f} s (p50), {p99:.3f} s (p99), {most:.3f} s at most"
            )
            print(f"{'':>22} p99 at most {VISIBLE_SECONDS_MAX} s is the target")


if __name__ == "__main__":
    main()
