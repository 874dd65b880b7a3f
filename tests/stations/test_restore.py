"""Everything from the topic: the same bytes again, what was not published comes in from the inbox, and what does not fit is told."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import psycopg
import pytest
from click.testing import CliRunner, Result
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from cli import main
from consumers import production
from consumers.production import Parts
from consumers.topics import EVENTS, INBOX
from consumers.wire import SEAL, key_of
from ledger.errors import LedgerError
from ledger.log import Log
from ledger.projections.store import Store
from tests.servers import database
from tests.stations.ground import PARTITIONS, Ground, mixture, sold


@pytest.fixture
def empty(postgres_server: str) -> Iterator[str]:
    """A second database."""
    name = f"test_{os.urandom(6).hex()}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    yield database(postgres_server, name)
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def points(ground: Ground, where: str, *words: str, input: bytes | None = None) -> Result:
    environment = {"POINTS_LEDGER_KAFKA": ground.server, "POINTS_LEDGER_TOPICS": ground.prefix, "POINTS_LEDGER_PARTITIONS": str(PARTITIONS)}
    return CliRunner(env=environment).invoke(main, ["--ledger", where, *words], input=input, catch_exceptions=False)


def rows(where: str) -> dict[str, list[tuple[object, ...]]]:
    with psycopg.connect(where) as connection:
        found = {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in ("stored_events", "inserts", "receipts", "origins")}
    store = Store(where)
    found |= {table: each for table, each in store.dump().items() if table != "progress"}
    store.close()
    return found


def test_a_ledger_made_from_the_stream_has_the_same_bytes_and_goes_on(ground: Ground, empty: str) -> None:
    ground.publish(mixture(3, 250))
    ground.settle()
    with psycopg.connect(ground.url) as other:
        other.execute("UPDATE relay SET position = 0")
    ground.settle()  # everything is in the stream twice
    ground.publish(mixture(4, 60))
    ingest = ground.ingest()
    ground.until(lambda: ground.numbers()["inbox, next offset"] == ground.sent, [ingest])  # accepted, and not published
    before = ground.numbers()
    ground.close()

    restored = points(ground, empty, "restore", "--from-kafka")
    assert restored.exit_code == 0, restored.output
    ours, theirs = rows(ground.url), rows(empty)
    published = int(before["position of the relay"])
    assert theirs["stored_events"] == ours["stored_events"][:published]
    for table in ("inserts", "receipts", "origins"):
        at = 2 if table == "receipts" else 0
        assert theirs[table] == [row for row in ours[table] if row[at] <= published], table  # type: ignore[operator]
    assert theirs["partners"] == ours["partners"] and theirs["levels"] == ours["levels"] and theirs["lots"] == ours["lots"]
    assert f"{published} duplicates" in restored.stderr

    again = Ground(empty, ground.server, ground.prefix, sent=ground.sent)
    again.settle()
    n = again.numbers()
    assert n["position of the log"] == before["position of the log"]  # what had been accepted comes in again
    assert [f for f in points(ground, empty, "verify", "--kafka").stdout.splitlines() if "note" not in f] == []
    with psycopg.connect(empty) as one, psycopg.connect(ground.url) as other:
        bodies = "SELECT originator_id, originator_version, substr(state, 73) FROM stored_events ORDER BY notification_id"
        assert sorted(one.execute(bodies).fetchall()) == sorted(other.execute(bodies).fetchall())


def test_restore_goes_into_an_empty_ledger_only(ground: Ground) -> None:
    ground.publish(mixture(3, 20))
    ground.settle()
    refused = points(ground, ground.url, "restore", "--from-kafka")
    assert refused.exit_code == 6 and "log_not_empty" in refused.stderr


def altered(ground: Ground, change: object) -> None:
    """Publish into the stream what the log never said: the last message once more, changed."""
    consumer = KafkaConsumer(bootstrap_servers=ground.server)
    places = [TopicPartition(ground.name(EVENTS), n) for n in range(PARTITIONS)]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    records = []
    while not records:
        records = [record for found in consumer.poll(500).values() for record in found]
    consumer.close()
    record = records[-1]
    seal = json.loads(record.headers[0][1])
    value, seal = change(record.value, seal)  # type: ignore[operator]
    producer = KafkaProducer(bootstrap_servers=ground.server)
    producer.send(ground.name(EVENTS), value, record.key, [(SEAL, json.dumps(seal).encode())], record.partition).get(10)
    producer.close()


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (lambda value, seal: (value.replace(b"crm", b"cRm"), seal), ("stream_differs", "stream_two_contents")),
        (lambda value, seal: (value, {**seal, "hash": "00" * 32}), ("stream_differs", "stream_two_contents")),
        (lambda value, seal: (value, {**seal, "position": 9999, "insert": 9999}), ("stream_beyond_log", None)),
        (lambda value, seal: (value, {"nothing": 1}), ("stream_foreign", "stream_foreign")),
    ],
)
def test_what_the_log_has_not_said_is_found(ground: Ground, empty: str, change: object, codes: tuple[str, str | None]) -> None:
    ground.publish(mixture(5, 60))
    ground.settle()
    assert points(ground, ground.url, "verify", "--kafka").exit_code == 0
    altered(ground, change)
    found = points(ground, ground.url, "verify", "--kafka")
    assert found.exit_code in (1, 8) and codes[0] in found.output, found.output
    if codes[1] is not None:
        restored = points(ground, empty, "restore", "--from-kafka")
        assert restored.exit_code == 8 and codes[1] in restored.stderr, restored.output
        with Log(empty) as log:
            assert log.head() == 0


def test_what_was_published_and_is_not_there_is_found(ground: Ground) -> None:
    ground.publish(mixture(6, 40))
    ground.until(lambda: ground.numbers()["inbox, next offset"] == ground.sent, [ground.ingest()])
    with psycopg.connect(ground.url) as other:
        other.execute("UPDATE relay SET position = (SELECT MAX(position) FROM inserts WHERE position < (SELECT MAX(position) FROM inserts)) WHERE EXISTS (SELECT 1 FROM inserts OFFSET 1)")
        other.execute("UPDATE relay SET position = (SELECT MAX(position) FROM inserts)")
    found = points(ground, ground.url, "verify", "--kafka")
    assert found.exit_code == 1 and "stream_lacks" in found.stdout and "position 1 " in found.stdout


def test_an_insert_that_was_not_published_whole_is_left_out_and_the_stream_is_not_gone_on_with(ground: Ground, empty: str) -> None:
    for n in range(4):
        ground.publish([(b"P-1", json.dumps(sold(n)).encode())])
        ground.settle()
    with Log(ground.url) as log:
        (whole,) = log.stored(3, 1)
        seal = {"position": 6, "version": 6, "hash": whole.hash.hex(), "recorded_at": "2026-07-01T00:00:00Z", "insert": 7}
    producer = KafkaProducer(bootstrap_servers=ground.server)
    producer.send(ground.name(EVENTS), whole.body, key_of("partner/P-1"), [(SEAL, json.dumps(seal).encode())]).get(10)
    producer.close()
    restored = points(ground, empty, "restore", "--from-kafka")
    assert restored.exit_code == 1 and "topics move" in restored.stderr, restored.output
    with Log(empty) as log:
        assert log.head() == 4
    with pytest.raises(LedgerError) as raised:
        Parts(Ground(empty, ground.server, ground.prefix).place)
    assert raised.value.code == "topic_made_anew"
    moved = points(ground, empty, "topics", "move", "events", f"{ground.prefix}events.2")
    assert moved.exit_code == 0, moved.output
    again = Ground(empty, ground.server, ground.prefix, sent=ground.sent)
    again.settle()
    assert points(ground, empty, "verify", "--kafka").exit_code == 0


def test_the_stream_goes_on_in_a_topic_with_more_partitions(ground: Ground) -> None:
    ground.publish(mixture(7, 100))
    ground.settle()
    relay, project = ground.relay(), ground.project()
    assert points(ground, ground.url, "topics", "move", "events", f"{ground.prefix}events.2", "--partitions", "5").exit_code == 0
    for station in (relay, project):
        station._parts._checked_at = 0
        with pytest.raises(LedgerError) as raised:
            station.step()
        assert raised.value.code == "station_overtaken"
    ground.close()
    ground.publish(mixture(8, 40))
    ground.settle()
    parts = Parts(ground.place)
    ground.keep(parts)
    assert (parts.found[EVENTS].partitions, parts.found[INBOX].partitions) == (5, PARTITIONS)
    assert production.compared(parts, lambda done, of: None).difference is None
    assert points(ground, ground.url, "topics", "check").exit_code == 0
    verified = points(ground, ground.url, "verify", "--kafka")
    assert verified.exit_code == 0, verified.output


def test_an_inbox_is_moved_when_it_was_read_to_its_end(ground: Ground) -> None:
    ground.publish(mixture(9, 30))
    refused = points(ground, ground.url, "topics", "move", "inbox", f"{ground.prefix}inbox.2", "--partitions", "4")
    assert refused.exit_code == 8 and "inbox_not_drained" in refused.stderr and "30 messages" in refused.stderr
    ground.settle()
    assert points(ground, ground.url, "topics", "move", "inbox", f"{ground.prefix}inbox.2", "--partitions", "4").exit_code == 0
    parts = Parts(ground.place)
    ground.keep(parts)
    assert parts.found[INBOX].partitions == 4


def test_refusals_are_listed_shown_mended_and_sent_again(ground: Ground) -> None:
    reversal = {
        "specversion": "1.0", "id": "r", "source": "crm", "subject": "P-1", "type": "event.reversed.v1", "time": "2026-03-02T00:00:00Z",
        "data": {"reverses": {"source": "crm", "id": "sold-1"}, "reason": "typed twice", "author": "A-1"},
    }  # fmt: skip
    ground.publish([(b"P-1", json.dumps(reversal).encode()), (b"P-1", b'{"specversion":"1.0"}'), (b"P-1", b"nonsense")])
    ground.publish([(b"P-1", json.dumps(sold(1)).encode())])
    ground.settle()
    listed = json.loads(points(ground, ground.url, "refused", "list", "-o", "json").stdout)
    assert [each["code"] for each in listed] == ["reversal_not_found", "missing_attribute", "not_json"]
    first, second, third = (str(each["id"]) for each in listed)
    shown = json.loads(points(ground, ground.url, "refused", "show", first).stdout)
    assert shown["origin"][2:] == [shown["origin"][2], 0] and shown["message"]
    assert points(ground, ground.url, "refused", "show", first, "--raw").stdout_bytes == json.dumps(reversal).encode()
    retried = points(ground, ground.url, "refused", "retry", first, "-o", "json")
    assert retried.exit_code == 0 and json.loads(retried.stdout)[0]["receipt"] == "accepted"
    still = points(ground, ground.url, "refused", "retry", second)
    assert still.exit_code == 1 and "missing_attribute" in still.stdout
    mended = json.dumps(sold(2)).encode()
    assert points(ground, ground.url, "refused", "retry", second, "--file", "-", input=mended).exit_code == 0
    assert points(ground, ground.url, "refused", "retry", third, "--dismiss", "a test of the publisher").exit_code == 0
    assert json.loads(points(ground, ground.url, "refused", "list", "-o", "json").stdout) == []
    settled = json.loads(points(ground, ground.url, "refused", "list", "--all", "-o", "json").stdout)
    assert [each["settled"] for each in settled] == ["position 2", "mended, position 3", "a test of the publisher"]
    assert points(ground, ground.url, "refused", "show", "999").exit_code == 3
    ground.settle()
    assert ground.numbers()["position applied"] == 3


def test_a_partner_that_cannot_be_applied_is_parked_and_the_others_go_on(ground: Ground) -> None:
    ground.publish([(b"P-1", json.dumps(sold(1, "P-1", at="2026-03-01T00:00:00Z") | {"data": {"client": "C", "line": "L", "amount": "1.00", "currency": "KZT"}}).encode())])
    ground.publish([(b"P-2", json.dumps(sold(2, "P-2")).encode())])
    ground.settle()
    listed = json.loads(points(ground, ground.url, "parked", "list", "-o", "json").stdout)
    assert [each["partner"] for each in listed] == ["P-1"] and "KZT" in listed[0]["parked"]
    assert points(ground, ground.url, "parked", "retry", "P-1").exit_code == 7
    assert points(ground, ground.url, "parked", "retry", "P-2").exit_code == 3
    assert points(ground, ground.url, "standing", "P-2").exit_code == 0
    assert ground.standings()["hubspot/P-1"]["error"]["code"] == "unpriced_event"
    with psycopg.connect(ground.url) as other:
        other.execute("UPDATE partners SET parked = 'hubspot: it was so once' WHERE partner = 'P-2'")
    assert points(ground, ground.url, "parked", "retry", "P-2").exit_code == 7  # P-1 still is
    assert [each["partner"] for each in json.loads(points(ground, ground.url, "parked", "list", "-o", "json").stdout)] == ["P-1"]
