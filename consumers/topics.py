"""The topics: which there are, how they must be set, and what would lose events. Pure; `kafka_bus` speaks to the broker.

Nothing is ever deleted from the inbox and the stream of events: the stream alone is enough to make everything anew. Keys decide the
partition, so the number of partitions is part of the data, and so is the identity that a topic got when it was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FOR_EVER = "-1"
MESSAGE_BYTES = 1_048_588
REQUEST_BYTES = 2_097_152
"""What the ledger itself publishes may be longer than what it was sent: an event with its seal, a refusal with the bytes in base64."""

INBOX, EVENTS, REFUSED, STANDINGS = "inbox", "events", "refused", "standings"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it must be: settings by the broker's own names."""

    role: str
    name: str
    partitions: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as the broker has it."""

    name: str
    topic_id: str
    partitions: int
    replicas: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is not as it must be. `loses`: events would be lost, so no station starts."""

    topic: str
    code: str
    found: str
    wanted: str
    loses: bool = True

    def __str__(self) -> str:
        return f"{self.topic}: {self.found}, and not {self.wanted} [{self.code}]"


AUTO_CREATED = Fault("the broker", "auto_create", "auto.create.topics.enable is true, so a wrong name makes a topic", "false", loses=False)


def wanted(prefix: str, partitions: int) -> tuple[Topic, ...]:
    """`partitions` are those of inbox and events; the two others have as many."""
    kept = {"cleanup.policy": "delete", "retention.ms": FOR_EVER, "retention.bytes": FOR_EVER, "max.message.bytes": str(MESSAGE_BYTES)}
    compacted = {"cleanup.policy": "compact", "max.message.bytes": str(MESSAGE_BYTES)}
    roomy = {"max.message.bytes": str(REQUEST_BYTES)}
    stamped = {"message.timestamp.type": "LogAppendTime"}
    """A publisher's clock says nothing here, and one that is an hour ahead would be refused for its time."""
    return (
        Topic(INBOX, f"{prefix}{INBOX}", partitions, kept | stamped),
        Topic(EVENTS, f"{prefix}{EVENTS}", partitions, kept | roomy | stamped),
        Topic(REFUSED, f"{prefix}{REFUSED}", partitions, kept | roomy | stamped),
        Topic(STANDINGS, f"{prefix}{STANDINGS}", partitions, compacted | stamped),
    )


def faults(topic: Topic, found: Found | None, known_id: str | None = None) -> list[Fault]:
    """What is not as it must be, the worst first. `known_id` is the identity that the ledger has worked with so far."""
    if found is None:
        return [Fault(topic.name, "topic_missing", "it is not there", "made: topics create")]
    faults = []
    if known_id is not None and known_id != found.topic_id:
        faults.append(Fault(topic.name, "topic_made_anew", f"it is {found.topic_id}", f"{known_id}, which the ledger's offsets are of"))
    if found.partitions != topic.partitions:
        wanted = f"{topic.partitions}: another number moves partners to other partitions"
        faults.append(Fault(topic.name, "topic_partitions", f"{found.partitions} partitions", wanted))
    for name, value in topic.settings.items():
        if not _serves(name, found.settings.get(name), value):
            faults.append(Fault(topic.name, "topic_setting", f"{name} is {found.settings.get(name)}", value, loses=name in _LOSING))
    return sorted(faults, key=lambda fault: not fault.loses)


_LOSING = {"cleanup.policy", "retention.ms", "retention.bytes"}


def _serves(name: str, found: str | None, wanted: str) -> bool:
    if name == "max.message.bytes":
        return found is not None and int(found) >= int(wanted)
    return found == wanted
