"""The door. `record(events)` takes one event or a batch, in one transaction, and answers each with a receipt.

Everything that writes comes through here: importers, the command line, the expiry station. An input is accepted at a position,
a duplicate of a position, or refused with a reason; there is no fourth way, and one input's refusal does not hold up the others.
When `record` returns, what it accepted is durable (see `ledger.log` on power cuts); when it raises, nothing of the batch was recorded,
and sending the batch again is always safe: source and id are remembered for ever.

It refuses to know rules. What an event is worth is never asked here; what stands before it is (`ledger.guards`), and so is in which
streams it belongs (`ledger.streams`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from typing import Any, NamedTuple

from ledger import guards, streams
from ledger.errors import LedgerError, Refusal
from ledger.events.envelope import Event, decode
from ledger.guards import Associations
from ledger.instants import Instant
from ledger.log import Entry, Log, Writing
from ledger.log_database import Taken
from ledger.streams import Copy, Key, Past

Clock = Callable[[], Instant]
Input = Event | Refusal | bytes | str | Mapping[str, Any]

_PASTS_MAX = 50_000
_new = tuple.__new__  # what Accepted(...) does, in half the time


class Accepted(NamedTuple):
    """Recorded, durably, at a position; `rows` counts it and the copies right behind it."""

    position: int
    rows: int = 1


class Duplicate(NamedTuple):
    """Recorded before, with the same bytes, at a position."""

    of: int


class Refused(NamedTuple):
    """Not recorded, and why."""

    refusal: Refusal


Receipt = Accepted | Duplicate | Refused
Along = Callable[[Writing, list[Receipt]], None]


class MigrationError(LedgerError):
    """A migration into a ledger that has events of its own."""

    code = "migration_not_empty"


def utc_now() -> Instant:
    """The clock of this machine, in microseconds of UTC."""
    return time.time_ns() // 1000


class Intake:
    """The one door into a log. Safe to use from several processes; one `Intake` belongs to one thread at a time."""

    def __init__(self, log: Log, clock: Clock = utc_now, associations: Associations | None = None) -> None:
        self._log = log
        self._clock = clock
        self._associations = associations
        self._pasts: dict[str, Past] = {}
        self._pasts_at = -1
        self._repeats = False

    def record(self, events: Iterable[Input], *, migrate: bool = False, along: Along | None = None) -> list[Receipt]:
        """One transaction; a receipt for each input, in order. A refusal among the inputs is handed through, so that counts add up.

        `along` writes what has to be there with the receipts or not at all; what it raises leaves nothing of the batch.

        `migrate` takes the recorded time from each event (`recordedtime`) instead of the clock: only while all that the ledger
        has came that way, and never out of order. Raises LogError (nothing was recorded) and MigrationError.
        """
        inputs = _read(events)
        with self._writing() as writing:
            receipts = self._record(inputs, writing, migrate=migrate)
            if along is not None:
                along(writing, receipts)
            return receipts

    def record_all(self, batches: Iterable[Iterable[Input]], *, migrate: bool = False) -> Iterator[list[Receipt]]:
        """Many batches, a transaction each: the next one is read and decoded while the disk takes in the one before.

        The receipts of a batch are handed out once it is durable. The batches are read one ahead, in another thread.
        """
        source = iter(batches)
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(_read_next, source)
            while (inputs := ahead.result()) is not None:
                with self._writing() as writing:
                    receipts = self._record(inputs, writing, migrate=migrate)
                    ahead = reader.submit(_read_next, source)  # last, so that it has the time of the commit
                yield receipts

    @contextmanager
    def _writing(self) -> Iterator[Writing]:
        """The end of the log; what was learnt of streams is forgotten where it was not recorded in the end."""
        try:
            with self._log.writing() as writing:
                yield writing
        except BaseException:
            self._pasts_at = -1
            raise
        self._pasts_at = writing.head

    def _record(self, inputs: list[Event | Refusal], writing: Writing, *, migrate: bool) -> list[Receipt]:
        """Look-ups are dear and duplicates rare: let an id conflict first, and look all of them up only then."""
        if writing.head != self._pasts_at or len(self._pasts) > _PASTS_MAX:
            self._pasts.clear()
        if migrate and not self._migrated_so_far(writing.head):
            raise MigrationError("a migration goes into an empty ledger only", hint="name a new path")
        if not (migrate or self._repeats):
            try:
                return self._batch(writing, migrate=False, look_up=False).record(inputs)
            except Taken:
                self._pasts.clear()
        receipts = self._batch(writing, migrate=migrate, look_up=True).record(inputs)
        self._repeats = any(isinstance(receipt, Duplicate) for receipt in receipts)
        return receipts

    def _batch(self, writing: Writing, *, migrate: bool, look_up: bool) -> _Batch:
        now = self._clock()
        associations = None if migrate else self._associations  # former history is as it was
        return _Batch(self._log, writing, self._pasts, now, associations, migrate=migrate, look_up=look_up)

    def _migrated_so_far(self, head: int) -> bool:
        while head and (event := self._log.get(head).event).source == streams.LEDGER:
            head -= 1
        return head == 0 or event.recorded_hint is not None


def _read(events: Iterable[Input]) -> list[Event | Refusal]:
    return [event if isinstance(event, (Event, Refusal)) else decode(event) for event in events]


def _read_next(batches: Iterator[Iterable[Input]]) -> list[Event | Refusal] | None:
    """The next batch, decoded; None at the end."""
    batch = next(batches, None)
    return None if batch is None else _read(batch)


class _Batch:
    """One batch under the lock of the log: judged in order, each input seeing those before it, then appended at once."""

    def __init__(
        self, log: Log, writing: Writing, pasts: dict[str, Past], now: Instant, associations: Associations | None, *,
        migrate: bool, look_up: bool,
    ) -> None:  # fmt: skip
        self._log = log
        self._associations = associations
        self._writing = writing
        self._pasts = pasts
        self._now = now
        self._migrate = migrate
        self._look_up = look_up
        self._careful = migrate or look_up
        self._head = writing.head
        self._entries: list[Entry] = []
        self._places: dict[Key, int] = {}  # of the inputs accepted in this batch: 1 for the first entry
        self._facts: dict[str, list[Event]] = {}  # of persons and clients, accepted in this batch
        self._recorded_at = writing.recorded_at
        self._recorded: list[Instant] = []  # in a migration, of each entry

    def record(self, inputs: Iterable[Event | Refusal]) -> list[Receipt]:
        """1 judge each input, 2 append what was accepted. Raises Taken where an id that was not looked up has a receipt."""
        plain, other = self._plain, self._receipt
        receipts = [plain(event) or other(event) for event in inputs]
        if self._migrate:
            for recorded_at, run in groupby(zip(self._recorded, self._entries, strict=True), key=lambda pair: pair[0]):
                self._writing.append([entry for _, entry in run], recorded_at=recorded_at)
        else:
            self._writing.append(self._entries, recorded_at=max(self._now, self._recorded_at))
        return receipts

    def _plain(self, event: Event | Refusal) -> Receipt | None:
        """The bulk path: an event that is one row of a partner's stream, and about which there is nothing to say. None for all others."""
        if type(event) is not Event or self._careful:
            return None
        id, source, kind, subject, _, _, _, recorded_hint, body = event
        key = source, id
        if subject is None or recorded_hint is not None or kind in streams.ENTANGLED or key in self._places or guards.sane(event):
            return None
        entries = self._entries
        entries.append((f"partner/{subject}", kind, body, source, id, 1))
        self._places[key] = place = len(entries)
        return _new(Accepted, (self._head + place, 1))

    def _receipt(self, event: Event | Refusal) -> Receipt:
        """The order of judgement that `ledger.guards` documents."""
        if isinstance(event, Refusal):
            return Refused(event)
        taken = self._taken((event.source, event.id), look_up=self._look_up or event.kind in streams.ENTANGLED)
        if taken is not None:
            return _again(event, *taken)
        if refusal := guards.sane(event) or self._recorded_time(event):
            return self._refused(event, refusal)
        if event.kind in streams.ENTANGLED or event.subject is None:
            return self._entangled(event)
        return self._accept(event, streams.partner_stream(event.subject), ())

    def _taken(self, key: Key, *, look_up: bool = True) -> tuple[int, bytes] | None:
        """Position and bytes of an input that has a receipt, of this batch or of an earlier one."""
        place = self._places.get(key)
        if place is not None:
            return self._head + place, self._entries[place - 1][2]
        found = self._writing.filed(*key) if look_up else None
        return None if found is None else (found[0].position, found[1])

    def _refused(self, event: Event, refusal: Refusal) -> Receipt:
        """What was accepted once is a duplicate for ever, also where a guard has become stricter since."""
        taken = self._taken((event.source, event.id))
        return Refused(refusal) if taken is None else _again(event, *taken)

    def _recorded_time(self, event: Event) -> Refusal | None:
        if event.recorded_hint is None and not self._migrate:
            return None
        return guards.recorded_time(event, migrate=self._migrate, last=self._recorded_at, now=self._now)

    def _accept(self, event: Event, stream: str, copies: Sequence[Copy]) -> Accepted:
        rows = 1 + len(copies)
        self._entries.append((stream, event.kind, event.body, event.source, event.id, rows))
        self._places[event.source, event.id] = place = len(self._entries)
        self._entries.extend((copy.stream, copy.event.kind, copy.event.body, "", "", 0) for copy in copies)
        if self._migrate:
            assert event.recorded_hint is not None
            self._recorded_at = event.recorded_hint
            self._recorded.extend([event.recorded_hint] * rows)
        return Accepted(self._head + place, rows)

    def _entangled(self, event: Event) -> Receipt:
        """An event that rests on others, or that others rest on, or that concerns several streams."""
        if event.kind == streams.REVERSAL:
            return self._reversal(event)
        if refusal := self._standing(event):
            return Refused(refusal)
        home = streams.home(event)
        copies = streams.copies(event, self._past, self._facts_of)
        if event.kind in streams.OVERRIDES:
            self._past(home).remember(event)
        self._keep(Copy(home, event), *copies)
        return self._accept(event, home, copies)

    def _standing(self, event: Event) -> Refusal | None:
        """Step 5 of the guards: what stands before it."""
        match event.kind:
            case "override.granted.v1":
                return guards.granting(event, self._past(streams.home(event)))
            case "override.revoked.v1" | "override.lapsed.v1":
                return guards.ending(event, self._past(streams.home(event)))
            case "person.linked.v1" if self._associations is not None:
                return guards.association(event, self._past(f"person/{event.data.person}"), self._associations)
            case "points.lost.v1" if event.data.lot is not None:
                lot = self._event((event.data.lot.source, event.data.lot.id))
                return guards.loss(event, lot, self._past(streams.home(event)))
        return None

    def _reversal(self, event: Event) -> Receipt:
        """It goes to each stream that its target has reached, and brings back who was there before."""
        target = self._event((event.data.reverses.source, event.data.reverses.id))
        standing = target is not None and target.kind != streams.REVERSAL
        reached = list(streams.reached(target, self._past)) if target is not None and standing else []
        past = self._past(reached[0]) if reached else Past()
        if refusal := guards.reversal(event, target, frozenset(reached), past):
            return Refused(refusal)
        assert target is not None
        for stream in reached:
            self._past(stream).remember(event)
        copies = [streams.copy(event, stream, streams.partner_of(stream) or event.subject) for stream in reached[1:]]
        if guarding := streams.shared(target):
            copies += streams.told(guarding, self._past(guarding))
        return self._accept(event, reached[0], copies)

    def _event(self, key: Key) -> Event | None:
        """The input of a source and id, of this batch or of an earlier one."""
        taken = self._taken(key)
        if taken is None:
            return None
        event = decode(taken[1])
        assert isinstance(event, Event), event
        return event

    def _past(self, stream: str) -> Past:
        """What the stream says so far, this batch included; read from the log once."""
        past = self._pasts.get(stream)
        if past is None:
            past = self._pasts[stream] = Past()
            if self._writing.version(stream):
                for sealed in self._log.history(stream, kinds=streams.remembered(stream)):
                    past.remember(sealed.event)
        return past

    def _facts_of(self, stream: str) -> list[Event]:
        """The unreversed facts that a person's or client's stream passes on, this batch included."""
        recorded = self._log.history(stream, kinds=streams.facts_shared(stream)) if self._writing.version(stream) else []
        facts = [*(sealed.event for sealed in recorded), *self._facts.get(stream, ())]
        return [fact for fact in facts if streams.origin(fact) not in self._past(stream).reversed]

    def _keep(self, *copies: Copy) -> None:
        """Facts of this batch, for a link that comes later in it."""
        for stream, event in copies:
            if not stream.startswith("partner/") and event.kind in streams.facts_shared(stream):
                self._facts.setdefault(stream, []).append(event)


def _again(event: Event, position: int, body: bytes) -> Receipt:
    if event.body == body:
        return Duplicate(position)
    return Refused(
        Refusal(
            "id_reused",
            f"{event.id} of {event.source} was recorded with other contents at position {position}",
            "give the new fact an id of its own; to correct the old one, reverse it",
            "id",
        )
    )
