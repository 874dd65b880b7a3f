"""The projection station: takes messages from the bus and brings the read models up to them.

1 poll, 2 bring each partner that they touch forward, commit by commit, 3 mark how far, in one transaction with the rows. A redelivered
message changes nothing: a partner's rows are a function of its events, versions that were applied are dropped, and the mark never goes
back. A message says that something was recorded; the log says what, and with what else at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from consumers.bus import Bus, Overtaken, Reading
from consumers.wire import Message, seal_of, stream_of
from ledger.errors import LedgerError
from ledger.events.envelope import Sealed
from ledger.instants import BEGINNING
from ledger.projections import rows
from ledger.projections.questions import History
from ledger.projections.rebuild import Rebuilt, rebuild
from ledger.projections.rows import Partner
from ledger.projections.store import Made, Store, Transaction
from ledger.rules.library import Library

PAGE = 50_000
APPLIED_AT_ONCE = 25
"""So many histories are read at once; between two of them a station can be stopped."""

Progress = Callable[[int, int], None]
Place = tuple[int, int]
"""Version and position."""


class Gap(LedgerError):
    """A partner's next event is not the one that comes next. Nothing was applied."""

    code = "stream_gap"
    exit_code = 8


class Project:
    """The station of the embedded default: bus, log and read models in one process."""

    def __init__(self, bus: Bus, history: History, store: Store) -> None:
        self._bus = bus
        self._history = history
        self._store = store
        self._heads = rows.Heads()

    def step(self, limit: int = PAGE, progress: Progress = lambda done, of: None) -> int:
        """How many messages were applied."""
        found = self._bus.poll(limit)
        if not found:
            return 0
        with self._store.writing() as connection:
            position = max(self._store.position(), *[seal_of(each).position for each in found])
            apply(connection, found, self._history, Library(self._history.published()), self._store, self._heads, progress)
            self._store.mark(connection, position)
        return len(found)

    def retry(self, partners: Sequence[str]) -> None:
        """Apply these again, as far as they were applied."""
        with self._store.writing() as connection:
            self._store.lock(connection, partners)
            library = Library(self._history.published())
            for partner, state in self._store.states(connection, partners).items():
                events = self._history.events(partner, state.known)
                self._store.apply(connection, partner, events, library, self._history.ends, state.known)
            self._store.look_again(connection, dict.fromkeys(partners, BEGINNING))

    def rebuild(
        self, progress: Progress = lambda done, of: None, *, applied: int | None = None, fresh: bool = False, processes: int | None = 1,
        open_parts: Callable[[], tuple[History, Store]] | None = None,
    ) -> Rebuilt:  # fmt: skip
        """Make all rows anew from the log, beside those that are read until it is done: see `rebuild.rebuild`."""
        return rebuild(self._history, self._store, progress, applied=applied, fresh=fresh, processes=processes, open_parts=open_parts)


class Shelf:
    """The library as it is now: its books are read again only after one was published or taken back."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._published: list[int] = []
        self._library = Library()

    def library(self) -> Library:
        published = self._history.published()
        if (positions := [sealed.position for sealed in published]) != self._published:
            self._published, self._library = positions, Library(published)
        return self._library


class Worker:
    """The station of production: some partitions of the stream, as one of as many workers as one likes."""

    def __init__(self, stream: Reading, history: History, store: Store, topic: str, topic_id: str) -> None:
        self._stream = stream
        self._history = history
        self._store = store
        self._shelf = Shelf(history)
        self._heads = rows.Heads()
        self._topic, self._topic_id = topic, topic_id
        self.go_on: Callable[[], None] = lambda: None
        """Called for each partner; it may raise, and then nothing of the batch is kept."""

        self.effect: Callable[[str], None] = lambda name: None
        """Called before each effect, by name: tests stop the process there."""

    def step(self, timeout_ms: int = 500, limit: int = PAGE) -> int:
        """How many messages were applied. Raises Overtaken, Gap and LogError; then nothing was, and they come again."""
        found = self._stream.poll(limit, timeout_ms)
        if not found:
            return 0
        try:
            self.effect("apply")
            with self._store.writing() as connection:
                self._advance(connection, found)
                touched = apply(connection, found, self._history, self._shelf.library(), self._store, self._heads, lambda *_: self.go_on())
                self._store.look_again(connection, dict.fromkeys(touched, BEGINNING))
        except BaseException:
            self._stream.back()
            raise
        self.effect("commit offsets")
        self._stream.commit()
        return len(found)

    def _advance(self, connection: Transaction, messages: Sequence[Message]) -> None:
        offsets: dict[int, list[int]] = defaultdict(list)
        for message in messages:
            offsets[message.partition].append(message.offset)
        for partition, read in sorted(offsets.items()):
            if not self._store.advance(connection, self._topic_id, partition, read[0], read[-1] + 1):
                what = f"{self._topic}, partition {partition}: offset {read[0]} is not the next one for the read models"
                raise Overtaken(what, hint="another process reads this partition; this one begins again where they are")


def apply(
    connection: Transaction, messages: Sequence[Message], history: History, library: Library, store: Store, heads: rows.Heads,
    progress: Progress = lambda done, of: None,
) -> list[str]:  # fmt: skip
    """Bring the partners that messages touch up to them: at or below what was applied is dropped, the next is applied. Raises Gap."""
    places: dict[str, list[Place]] = defaultdict(list)
    until: dict[str, int] = defaultdict(int)
    for message in messages:
        seal, stream = seal_of(message), stream_of(message.key or b"")
        places[stream].append((seal.version, seal.position))
        until[stream] = max(until[stream], seal.insert)
    ruled = max([end for stream, end in until.items() if stream.startswith("programme/")], default=0)
    new = {stream.removeprefix("partner/"): found for stream, found in places.items() if stream.startswith("partner/")}
    store.lock(connection, () if ruled else new, alone=bool(ruled))
    touched = sorted({*new, *history.partners()}) if ruled else sorted(new)
    states = store.states(connection, touched)
    wanted: dict[str, int] = {}
    for partner in touched:
        state = states.get(partner)
        applied = (state.version, state.position) if state is not None else (0, 0)
        if _last(partner, new.get(partner, ()), applied) > applied:
            wanted[partner] = max(ruled, until[f"partner/{partner}"])
        elif ruled > (state.known if state is not None else 0):
            wanted[partner] = ruled
    names = list(wanted)
    for first in range(0, len(names), APPLIED_AT_ONCE):
        page = names[first : first + APPLIED_AT_ONCE]
        known = _histories(page, wanted, states, history, heads)
        stored = store.rows(connection, [p for p in page if p in states and heads.get(f"partner/{p}", states[p].known) is None])
        made: list[Made] = []
        changed: list[Made] = []
        for done, partner in enumerate(page, start=first + 1):
            events, state = _until(partner, known[partner], wanted[partner], new.get(partner, ())), states.get(partner)
            if events:
                forward = rows.advanced(events, library, history.ends, wanted[partner], state, stored.get(partner), heads)
                (made if state is None else changed).append((partner, *forward))
            progress(done, len(names))
        store.write(connection, made)
        store.change(connection, changed)
    return names


def _histories(
    partners: Sequence[str], wanted: Mapping[str, int], states: Mapping[str, Partner], history: History, heads: rows.Heads
) -> dict[str, Sequence[Sealed]]:  # fmt: skip
    """All events of partners, read from where their heads are."""
    before: dict[str, Sequence[Sealed]] = {}
    for partner in partners:
        head = heads.get(f"partner/{partner}", states[partner].known) if partner in states else None
        before[partner] = head.events if head is not None else ()
    after = {partner: events[-1].version if events else 0 for partner, events in before.items()}
    more = history.histories(after, max(wanted[partner] for partner in partners))
    return {partner: [*events, *more[partner]] for partner, events in before.items()}


def _until(partner: str, known: Sequence[Sealed], position: int, places: Sequence[Place]) -> Sequence[Sealed]:
    """A partner's events up to a position, among which are those that were announced."""
    events = known if known and known[-1].position <= position else [sealed for sealed in known if sealed.position <= position]
    for version, at in places:
        if version > len(events) or events[version - 1].position != at:
            what = f"{partner}: version {version} at position {at} is in the stream and not in the log"
            raise Gap(what, hint="run verify --kafka")
    return events


def _last(partner: str, places: Sequence[Place], applied: Place) -> Place:
    """The place of the last event, where each one follows the one before it."""
    last = applied
    for version, position in sorted(places):
        if version > last[0] + 1:
            what = f"{partner}: version {version} (position {position}) comes after {last[0]}"
            raise Gap(what, hint="an event between them is missing in the stream: run verify --kafka")
        last = max(last, (version, position))
    return last
