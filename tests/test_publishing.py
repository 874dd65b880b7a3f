"""`docs/publishing.md` is true: its programs publish, the ledger takes what they send, its commands read what the ledger wrote."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cloudevents.core.bindings.kafka import to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from jsonschema import Draft7Validator

from consumers.inbox_message import CODES
from consumers.kafka_bus import Admin, partition_of, read_all
from consumers.topics import INBOX, MESSAGE_BYTES
from ledger.events.refusals import BYTES_MAX
from ledger.instants import to_datetime
from tests.broker import NoBroker, jars
from tests.events.document import marked, messages
from tests.servers import missing
from tests.stations.ground import NOW, PARTITIONS, Ground

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "publishing.md").read_text()
FILES = dict(re.findall(r"```\w+ file=(\S+)\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = [(tool, line) for tool, block in re.findall(r"```sh run=(\w+)\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
SCRIPTS = {
    "kafka-console-consumer.sh": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-consumer-groups.sh": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
}
"""What the scripts of Kafka's own distribution run."""


@pytest.fixture
def ground(postgres: str, kafka_server: str, prefix: str, tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(postgres, kafka_server, prefix).make()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    yield ground
    ground.close()


def needed(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on the path")


def libs(directory: Path) -> None:
    """Kafka's jars, where the page says that they are."""
    needed("java", "javac")
    try:
        (directory / "libs").symlink_to(jars())
    except NoBroker as why:
        missing(f"no jars of Kafka: {why}")


def run(ground: Ground, directory: Path, line: str) -> str:
    """A line of the page, on our broker and our topics."""
    here = line.replace("localhost:9092", ground.server).replace("ledger.inbox", ground.name(INBOX)).replace(" ledger.", f" {ground.prefix}")
    for script, main in SCRIPTS.items():
        here = here.replace(script, f"java -Xmx128m -XX:TieredStopAtLevel=1 -cp 'libs/*' {main}")
    done = subprocess.run(["bash", "-c", here], cwd=directory, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, (here, done.stdout, done.stderr)
    return done.stdout


def lines(tool: str, words: str) -> list[str]:
    found = [line for each, line in COMMANDS if each == tool and words in line]
    assert found, (tool, words)
    return found


def publish_by_python(ground: Ground, directory: Path) -> str:
    environment = {"POINTS_LEDGER_KAFKA": ground.server, "POINTS_LEDGER_TOPICS": ground.prefix, "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-W", "ignore", "publish_sale.py"]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    ground.sent += 1
    return done.stdout


def bodies(ground: Ground) -> dict[str, dict[str, object]]:
    return {event["id"]: event for _, value in ground.read("events") if (event := json.loads(value or b""))}


def test_python_publishes_and_the_same_again_is_a_duplicate(ground: Ground, tmp_path: Path) -> None:
    first, second = publish_by_python(ground, tmp_path).split(), publish_by_python(ground, tmp_path).split()
    partition = partition_of(b"P-17", PARTITIONS)
    assert first == ["45a43e9d-87c5-57c7-a84c-3c321d16d4cc", ground.name(INBOX), str(partition), "0"]
    assert second == [*first[:3], "1"]
    ground.settle()
    assert [n for name, n in ground.numbers().items() if name in ("inbox, accepted", "inbox, duplicates", "inbox, refused")] == [1, 1, 0]
    assert bodies(ground)[first[0]]["subject"] == "P-17"
    ground.check()


def test_java_publishes_to_the_same_partition(ground: Ground, tmp_path: Path) -> None:
    libs(tmp_path)
    compiling, running = [line for tool, line in COMMANDS if tool == "java"]
    run(ground, tmp_path, compiling)
    said = run(ground, tmp_path, running).split()
    assert said == [ground.name(INBOX), str(partition_of(b"P-17", PARTITIONS)), "0"]
    ground.sent += 1
    ground.settle()
    assert bodies(ground)["deal-4712/won"]["data"]["amount"] == "120.00"  # type: ignore[index]
    assert ground.numbers()["inbox, accepted"] == 1


def test_kcat_publishes_in_both_modes_and_reads(ground: Ground, tmp_path: Path) -> None:
    needed("kcat")
    for line in lines("kcat", "-P"):
        run(ground, tmp_path, line)
        ground.sent += 1
    partitions = {message.partition for message in read_all(ground.connection, ground.name(INBOX), PARTITIONS)}
    assert partitions == {partition_of(b"P-17", PARTITIONS)}
    ground.publish([(b"P-17", b"nonsense")])
    ground.settle()
    events, refused = (run(ground, tmp_path, line).splitlines() for line in lines("kcat", "-C"))
    assert len(events) == 2 and len(refused) == 1
    for n, line in enumerate(events, start=1):
        key, partition, offset, rest = line.split(" ", 3)
        assert (key, partition, offset) == ("P-17", str(partition_of(b"P-17", PARTITIONS)), str(n - 1))
        seal, _ = json.JSONDecoder().raw_decode(rest.removeprefix("ledger="))
        assert (seal["position"], seal["version"]) == (n, n) and seal["origin"][3] == n - 1
        assert rest.endswith(ground.read("events")[n - 1][1].decode())  # type: ignore[union-attr]
    record = json.loads(refused[0])
    assert record["code"] == "not_json" and record["origin"][2:] == [partition_of(b"P-17", PARTITIONS), 2]


def test_a_foreign_sdk_is_taken_in_both_modes_and_every_record_fits_its_schema(ground: Ground) -> None:
    data = {"client": "C-3", "line": "sales-hub", "amount": "450.00", "currency": "EUR"}
    made = {"source": "foreign", "type": "points.sold.v1", "subject": "P-日本", "time": to_datetime(NOW)}
    for write, id in ((to_structured_event, "1"), (to_binary_event, "2")):
        message = write(CloudEvent({**made, "id": id}, data), JSONFormat(), key_mapper=lambda event: event.get_subject())
        assert isinstance(message.key, str)
        ground.publish([(message.key.encode(), message.value)], list(message.headers.items()))
    ground.publish([(b"\xff", b"\xff"), (None, b"{}"), (b"k", None)])
    ground.settle()
    ground.check()
    numbers = ground.numbers()
    assert (numbers["inbox, accepted"], numbers["inbox, refused"]) == (2, 3)
    contracts = {path.stem: Draft7Validator(json.loads(path.read_text())) for path in (ROOT / "contracts" / "schemas").glob("*.json")}
    seen = dict.fromkeys(("events", "refused", "standings"), 0)
    for role, schema in (("events", "points.sold.v1"), ("refused", "refusal"), ("standings", "standing")):
        for message in read_all(ground.connection, ground.name(role), PARTITIONS):
            assert message.value is not None
            assert list(contracts[schema].iter_errors(json.loads(message.value))) == []
            if role == "events":
                ((name, seal),) = message.headers
                assert name == "ledger" and list(contracts["seal"].iter_errors(json.loads(seal or b""))) == []
            seen[role] += 1
    assert seen["events"] == 2 and seen["refused"] == 3 and seen["standings"] > 0


def test_kafkas_own_tools_read_the_stream_and_show_the_lag(ground: Ground, tmp_path: Path) -> None:
    libs(tmp_path)
    sale = FILES["sale.json"].encode()
    ground.publish([(b"P-17", sale), (b"P-17", b"nonsense")])
    ground.settle()
    ground.publish([(b"P-17", sale)] * 3)
    reading, lag = (line for tool, line in COMMANDS if tool == "kafka")
    (line,) = run(ground, tmp_path, reading).splitlines()
    headers, key, value = line.split("\t")
    assert headers.startswith('ledger:{"position":1,') and key == "P-17" and value.encode() == ground.read("events")[0][1]
    table = [row.split() for row in run(ground, tmp_path, lag).splitlines() if row.strip()]
    at = table[0].index("LAG")
    assert {row[2]: row[at] for row in table[1:]}[str(partition_of(b"P-17", PARTITIONS))] == "3"


def test_what_the_page_states_is_what_the_program_does(ground: Ground) -> None:
    assert marked("messages", messages()) in PAGE, "run `python -m tests.events.document`"
    assert f"at most {BYTES_MAX:,}" in PAGE
    assert f"up to {MESSAGE_BYTES:,} bytes" in PAGE
    with Admin(ground.connection) as admin:
        assert set(admin.find([f"{ground.prefix}{role}" for role in ("inbox", "events", "refused", "standings")])) == {
            topic.name for topic in ground.place.topics
        }
    assert set(CODES) <= set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
