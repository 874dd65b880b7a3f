"""The ingest station: takes what anyone published to the inbox through the door.

1 poll, 2 decode, 3 record. In the transaction of the receipts also: how far the inbox was read, by compare-and-set, so that whoever was
overtaken writes nothing; where each accepted event came from; and each refusal, with its way to the topic of refusals. Then Kafka is told.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from consumers import records
from consumers.bus import Overtaken, Reading
from consumers.inbox_message import structured
from consumers.topics import REFUSED
from consumers.wire import Message
from ledger.errors import Refusal
from ledger.events.envelope import Event, decode
from ledger.instants import Instant
from ledger.intake import Accepted, Duplicate, Intake, Receipt, Refused
from ledger.log import Writing

BATCH = 2_000


class Ingest:
    """`topic` and `topic_id`: the inbox that the offsets are of."""

    def __init__(self, inbox: Reading, intake: Intake, topic: str, topic_id: str, clock: Callable[[], Instant]) -> None:
        self._inbox = inbox
        self._intake = intake
        self._topic, self._topic_id = topic, topic_id
        self._clock = clock
        self.counts: Counter[str] = Counter()
        """accepted, duplicate and refused, each refusal by its code too."""

        self.effect: Callable[[str], None] = lambda name: None
        """Called before each effect, by name: tests stop the process there."""

    def step(self, timeout_ms: int = 500) -> int:
        """How many messages were taken in. Raises Overtaken and LogError; then nothing was, and they come again."""
        messages = self._inbox.poll(BATCH, timeout_ms)
        if not messages:
            return 0
        try:
            self.effect("record")
            receipts = self._intake.record([_input(message) for message in messages], along=lambda *done: self._keep(messages, *done))
        except BaseException:
            self._inbox.back()
            raise
        self.effect("tell Kafka")
        self._inbox.commit()
        self.counts.update(map(_outcome, receipts))
        self.counts.update(receipt.refusal.code for receipt in receipts if isinstance(receipt, Refused))
        return len(messages)

    def _keep(self, messages: Sequence[Message], writing: Writing, receipts: Sequence[Receipt]) -> None:
        self._advance(messages, writing, receipts)
        self.effect("origins and refusals")
        origins = [
            (receipt.position, self._topic, self._topic_id, message.partition, message.offset)
            for message, receipt in zip(messages, receipts, strict=True) if isinstance(receipt, Accepted)
        ]  # fmt: skip
        if origins:
            columns = [list(column) for column in zip(*origins, strict=True)]
            writing.execute("INSERT INTO origins SELECT * FROM unnest(?::bigint[], ?::text[], ?::text[], ?::int[], ?::bigint[])", columns)
        for message, receipt in zip(messages, receipts, strict=True):
            if isinstance(receipt, Refused):
                self._refuse(message, receipt.refusal, writing)

    def _advance(self, messages: Sequence[Message], writing: Writing, receipts: Sequence[Receipt]) -> None:
        """By partition: from the first offset to the one after the last, and only from there."""
        counts: dict[int, Counter[str]] = defaultdict(Counter)
        offsets: dict[int, list[int]] = defaultdict(list)
        for message, receipt in zip(messages, receipts, strict=True):
            offsets[message.partition].append(message.offset)
            counts[message.partition][_outcome(receipt)] += 1
        for partition in sorted(offsets):
            counted, read = counts[partition], offsets[partition]
            moved = writing.execute(
                "UPDATE inbox SET next = ?, accepted = accepted + ?, duplicates = duplicates + ?, refused = refused + ? "
                "WHERE topic_id = ? AND partition = ? AND next = ? RETURNING next",
                (read[-1] + 1, counted["accepted"], counted["duplicate"], counted["refused"], self._topic_id, partition, read[0]),
            ).fetchone()
            if moved is None:
                what = f"{self._topic}, partition {partition}: offset {read[0]} is not the next one for the ledger"
                raise Overtaken(what, hint="another process reads this partition; this one begins again where the ledger is")

    def _refuse(self, message: Message, refusal: Refusal, writing: Writing) -> None:
        at = self._clock()
        record = records.refusal(refusal, message, self._topic, self._topic_id, at)
        key, value = records.published(record)
        writing.execute(
            'INSERT INTO refusals (topic_id, partition, "offset", refused_at, code, record) VALUES (?, ?, ?, ?, ?, ?)',
            (self._topic_id, message.partition, message.offset, at, refusal.code, records.encode(record).decode()),
        )
        writing.execute("INSERT INTO outbox (role, key, value) VALUES (?, ?, ?)", (REFUSED, key, value))


def start(writing: Any, topic_id: str, partitions: set[int]) -> dict[int, int]:
    """Where to read on, by partition; the beginning of one that was never read. `writing` has `execute` that gives rows."""
    for partition in sorted(partitions):
        writing.execute("INSERT INTO inbox (topic_id, partition, next) VALUES (?, ?, 0) ON CONFLICT DO NOTHING", (topic_id, partition))
    rows = writing.execute("SELECT partition, next FROM inbox WHERE topic_id = ?", (topic_id,))
    return {partition: next for partition, next in rows if partition in partitions}


def _input(message: Message) -> Event | Refusal:
    found = structured(message.value, message.headers)
    return found if isinstance(found, Refusal) else decode(found)


def _outcome(receipt: Receipt) -> str:
    return "accepted" if isinstance(receipt, Accepted) else "duplicate" if isinstance(receipt, Duplicate) else "refused"
