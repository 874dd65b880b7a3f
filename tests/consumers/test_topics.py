"""Topics: what must be, what is not, on paper and on a real broker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import main
from consumers.kafka_bus import Admin, BusError, Connection
from consumers.topics import Fault, Found, Topic, faults, wanted
from ledger.settings import Settings
from tests.broker import Broker, NoBroker
from tests.servers import missing

EVENTS = wanted("x.", 3)[1]
RIGHT = Found(EVENTS.name, "an-id", 3, 1, dict(EVENTS.settings))


def code(topic: Topic, found: Found | None, known: str | None = None) -> list[tuple[str, bool]]:
    return [(fault.code, fault.loses) for fault in faults(topic, found, known)]


def test_on_paper() -> None:
    assert code(EVENTS, RIGHT) == code(EVENTS, RIGHT, "an-id") == []
    assert code(EVENTS, None) == [("topic_missing", True)]
    assert code(EVENTS, RIGHT, "another") == [("topic_made_anew", True)]
    assert code(EVENTS, replace(RIGHT, partitions=4)) == [("topic_partitions", True)]
    for name in EVENTS.settings:
        bad = replace(RIGHT, settings={**RIGHT.settings, name: "1"})
        assert code(EVENTS, bad) == [("topic_setting", name in ("cleanup.policy", "retention.ms", "retention.bytes"))], name
    more = replace(RIGHT, settings={**RIGHT.settings, "max.message.bytes": "9999999"})
    assert code(EVENTS, more) == []


def test_nothing_that_came_in_or_was_recorded_is_ever_deleted() -> None:
    for topic in wanted("x.", 3)[:3]:
        assert topic.settings["cleanup.policy"] == "delete"
        assert topic.settings["retention.ms"] == topic.settings["retention.bytes"] == "-1"
    assert wanted("x.", 3)[3].settings["cleanup.policy"] == "compact"


@pytest.fixture
def admin(kafka_server: str) -> Iterator[Admin]:
    with Admin(Connection((kafka_server,))) as admin:
        yield admin


def points(*words: str, **settings: object) -> Result:
    environment = {f"POINTS_LEDGER_{name.upper()}": str(value) for name, value in settings.items()}
    return CliRunner().invoke(main, list(words), env=environment, catch_exceptions=False)


def test_topics_are_made_once_and_checked(kafka_server: str, prefix: str, admin: Admin) -> None:
    settings = {"kafka": kafka_server, "topics": prefix, "partitions": 3}
    missing = points("topics", "check", **settings)
    assert missing.exit_code == 1 and missing.stdout.count("topic_missing") == 4
    made = points("topics", "create", **settings)
    assert made.exit_code == 0 and made.stderr.count(": made") == 4 and "4 topics: 0 faults, 0 notes" in made.stderr
    there = admin.find([f"{prefix}events"])[f"{prefix}events"]
    assert (there.partitions, there.replicas) == (3, 1) and there.topic_id
    again = points("topics", "create", **settings)
    assert again.exit_code == 0 and again.stderr.count("is there already") == 4
    assert admin.find([f"{prefix}events"])[f"{prefix}events"] == there
    other = points("topics", "check", **settings | {"partitions": 5})
    assert other.exit_code == 1 and other.stdout.count("[topic_partitions]") == 4


def test_a_topic_that_forgets_is_refused(kafka_server: str, prefix: str, admin: Admin) -> None:
    (inbox, *rest) = wanted(prefix, 1)
    admin.create(replace(inbox, settings={"retention.ms": "604800000"}), 1)
    for topic in rest:
        admin.create(topic, 1)
    result = points("topics", "check", kafka=kafka_server, topics=prefix, partitions=1)
    assert result.exit_code == 1
    assert f"{prefix}inbox: retention.ms is 604800000, and not -1 [topic_setting]" in result.stdout
    assert "note: " in result.stdout


def test_more_replicas_than_brokers_is_told(kafka_server: str, prefix: str) -> None:
    result = points("topics", "create", kafka=kafka_server, topics=prefix, replicas=3)
    assert result.exit_code == 8 and "topic_not_made" in result.stderr


@pytest.mark.parametrize(
    ("server", "said"),
    [("127.0.0.1:1", "refused"), ("no-such-host.invalid:9092", "nobody knows"), ("localhost", "host:port"), ("localhost:port", "host:port")],
)
def test_a_broker_that_is_not_there_is_told_by_its_cause(server: str, said: str) -> None:
    result = points("topics", "check", kafka=server)
    assert result.exit_code == 8 and "bus_unreachable" in result.stderr and said in result.stderr, result.stderr


def test_a_listener_of_another_protocol_is_told(kafka_server: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush-hush\n")
    sasl = {"kafka_protocol": "SASL_PLAINTEXT", "kafka_mechanism": "PLAIN", "kafka_username": "me", "kafka_password_file": secret}
    result = points("topics", "check", kafka=kafka_server, **sasl)
    assert result.exit_code == 8 and "bus_access" in result.stderr and "hush" not in result.output
    result = points("topics", "check", kafka=kafka_server, kafka_protocol="SSL")
    assert result.exit_code == 8 and "bus_certificate" in result.stderr


def test_without_a_broker_the_command_says_how_to_name_one() -> None:
    result = points("topics", "check")
    assert result.exit_code == 2 and "POINTS_LEDGER_KAFKA" in result.stderr
    assert Settings().kafka is None
    with pytest.raises(BusError):
        Connection(("h:1",), mechanism="PLAIN", username="me")
    assert str(Fault("t", "c", "found", "wanted")) == "t: found, and not wanted [c]"


def test_a_broker_that_makes_topics_by_itself_is_noted(tmp_path: Path) -> None:
    try:
        broker = Broker(tmp_path / "broker", settings="auto.create.topics.enable=true\n").start()
    except NoBroker as why:
        missing(f"no Kafka: {why}")
        return
    try:
        environment = {"POINTS_LEDGER_KAFKA": broker.bootstrap, "POINTS_LEDGER_PATH": str(tmp_path / "ledger.db")}
        made = CliRunner(env=environment).invoke(main, ["topics", "create"])
        assert made.exit_code == 0, made.output
        assert "note: the broker" in made.stdout and "auto_create" in made.stdout
    finally:
        broker.kill()
