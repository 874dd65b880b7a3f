"""The projection station: takes messages from the bus and brings the read models up to them.

1 poll, 2 apply each partner that they touch, 3 mark the position, in one transaction with the rows. A redelivered message changes
nothing: a partner's rows are a function of its events, and the mark never goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from consumers.bus import Bus
from consumers.wire import sealed
from ledger.projections.questions import History
from ledger.projections.store import Store, rows_of
from ledger.rules.library import Library

PAGE = 50_000
PARTNERS_AT_ONCE = 100


class Project:
    def __init__(self, bus: Bus, history: History, store: Store) -> None:
        self._bus = bus
        self._history = history
        self._store = store

    def step(self, limit: int = PAGE, progress: Callable[[int, int], None] = lambda done, of: None) -> int:
        """How many messages were applied."""
        found = [sealed(message) for message in self._bus.poll(limit)]
        if not found:
            return 0
        republished = any(s.stream.startswith("programme/") for s in found)
        touched = self._history.partners() if republished else _partners(s.stream for s in found)
        self._apply(touched, max(self._store.position(), *[s.position for s in found]), progress)
        return len(found)

    def _apply(self, partners: list[str], position: int, progress: Callable[[int, int], None]) -> None:
        library = Library(self._history.published(position))
        with self._store.writing() as connection:
            for done, partner in enumerate(partners, start=1):
                if events := self._history.events(partner, position):
                    self._store.apply(connection, partner, events, library)
                progress(done, len(partners))
            self._store.mark(connection, position)

    def rebuild(self, progress: Callable[[int, int], None] = lambda done, of: None) -> int:
        """Make all rows anew from the log, in one transaction: readers see the old ones until it is done."""
        head = self._history.head()
        library, partners = Library(self._history.published(head)), self._history.partners()
        with self._store.writing() as connection:
            self._store.clear(connection)
            for first in range(0, len(partners), PARTNERS_AT_ONCE):
                page = partners[first : first + PARTNERS_AT_ONCE]
                known = [(partner, self._history.events(partner, head)) for partner in page]
                self._store.write(connection, [rows_of(partner, events, library) for partner, events in known if events])
                progress(first + len(page), len(partners))
            self._store.mark(connection, head)
        return len(partners)


def _partners(streams: Iterable[str]) -> list[str]:
    return sorted({stream.removeprefix("partner/") for stream in streams if stream.startswith("partner/")})
