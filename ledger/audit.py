"""The audit: the log by itself, and the log against the read models, both ways. The only file that sees both sides; it mends nothing.

It remembers up to where nothing differed: the next one begins there, unless it is told to look at everything, or is another program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from ledger.errors import LedgerError
from ledger.events.envelope import Sealed
from ledger.history import History
from ledger.instants import text
from ledger.log import Log
from ledger.projections.compare import Difference, Tables, first_difference, made_rows
from ledger.projections.questions import History as Reading
from ledger.projections.rebuild import program
from ledger.projections.rows import advanced, programmes_of
from ledger.projections.spread import how_many, pages, spread
from ledger.projections.store import NEVER_DUMPED, Store
from ledger.rules.library import Library
from ledger.rules.life import Life


@dataclass(frozen=True, slots=True)
class Finding:
    """What does not agree, and where. `code` is stable; a note is not an error."""

    code: str
    where: str
    found: str
    note: bool = False


def audit(log: Log, store: Store, position: int | None = None) -> Iterator[Finding]:
    """All of it: the log by itself; where nothing differs there, the log against the read models (see `against_rows`)."""
    found = walked(log)
    yield from found or against_rows(log, store, store.position() if position is None else position)


def walked(log: Log, after: int = 0) -> list[Finding]:
    """The log's own order, versions, hashes and receipts: the first difference."""
    difference = log.verify(after)
    return [] if difference is None else [Finding(f"log_{difference.name}", f"position {difference.position}", difference.found)]


def against_rows(
    log: Log, store: Store, position: int, progress: Callable[[int, int], None] = lambda done, of: None, *, after: int = 0,
    processes: int | None = 1, open_parts: Callable[[], tuple[Reading, Store]] | None = None,
) -> Iterator[Finding]:  # fmt: skip
    """1 rows of partners against a fresh making, 2 asserted scores, 3 who is parked.

    Of each partner that differs the first row that does, in the order of partners. `position`: up to which everything was applied; some
    partners may be further. `after`: only the partners whom that concerns which was recorded since (see `verified`). `processes` and
    `open_parts` as for `rebuild`.
    """
    history = History(log)
    library = Library(history.published())
    for sealed, error in library.unusable():
        yield Finding("rulebook_unusable", f"position {sealed.position}", f"{sealed.event.data.book}: {error.what}", note=True)
    if after and not any(change.position > after for change in library.changes()):
        names = sorted({*history.touched(after, history.head()), *store.known_after(after)})
    else:
        names = sorted({*history.partners(), *store.names()})
    yield from _pages(Auditor(history, store), names, position, progress, processes, open_parts)
    if position < history.head():
        yield Finding("rows_behind", f"position {position}", f"the log is at {history.head()}", note=True)
    for partner, why in store.all_parked().items():
        yield Finding("parked", partner, why, note=True)


def verified(log: Log, store: Store) -> int:
    """Up to where this program has found nothing that differs; 0: nowhere."""
    position = store.position(_mark())
    return position if position and log.insert_end(position) == position else 0


def remember(store: Store, position: int) -> None:
    """Nothing differs up to a position, at which an insert ends."""
    with store.writing() as connection:
        store.lock(connection, ())
        store.mark_alone(connection, position, _mark())


def _mark() -> str:
    return f"{NEVER_DUMPED} {program()}"


def _pages(
    auditor: Auditor, names: Sequence[str], position: int, progress: Callable[[int, int], None], processes: int | None,
    open_parts: Callable[[], tuple[Reading, Store]] | None,
) -> Iterator[Finding]:  # fmt: skip
    count = how_many(processes, len(names)) if open_parts is not None else 1
    opened = partial(_opened, open_parts) if open_parts is not None and count > 1 else lambda: auditor
    done = 0
    with spread(opened, count) as each:
        for page, found in zip(pages(names), each(Auditor.page, pages(names), position), strict=True):
            yield from found
            done += len(page)
            progress(done, len(names))


def _opened(open_parts: Callable[[], tuple[Reading, Store]]) -> Auditor:
    return Auditor(*open_parts())


class Auditor:
    """Holds rows against the log: what each process has one of."""

    def __init__(self, history: Reading, store: Store) -> None:
        self._history = history
        self._store = store
        self._library: tuple[int, Library] = -1, Library()

    def page(self, names: Sequence[str], position: int) -> list[Finding]:
        """What differs of these partners, of each the first row."""
        with self._store.snapshot() as connection:
            states, stored = self._store.states(connection, names), self._store.all_rows(connection, names)
        found: list[Finding] = []
        known = self._history.histories(dict.fromkeys(names, 0), max([position, *[state.known for state in states.values()]]))
        for partner, events in known.items():
            until = max(position, states[partner].known if partner in states else 0)
            events = [sealed for sealed in events if sealed.position <= until]
            found += self._held(partner, events, until, stored.get(partner, {}))
            found += self._asserted(partner, events)
        return found

    def library(self, until: int) -> Library:
        if self._library[0] < until:
            head = self._history.head()
            self._library = head, Library(self._history.published(head))
        return self._library[1]

    def _held(self, partner: str, events: Sequence[Sealed], until: int, stored: Tables) -> Iterator[Finding]:
        if not events:
            if (difference := first_difference(partner, {}, stored)) is not None:
                yield Finding("rows_without_events", difference.where, f"the log knows no such partner; {difference.said}")
            return
        made = made_rows(partner, *advanced(events, self.library(until), self._history.ends, until))
        difference = first_difference(partner, made, stored)
        if difference is not None:
            yield Finding(_code(difference), difference.where, difference.said)

    def _asserted(self, partner: str, events: Sequence[Sealed]) -> Iterator[Finding]:
        """What another system said the score was, against the ledger's own."""
        for sealed in events:
            if sealed.event.kind != "score.asserted.v1":
                continue
            data, at, library = sealed.event.data, sealed.event.effective_at, self.library(sealed.position)
            programme = data.programme or next(iter(programmes_of(events, library)), "")
            try:
                own = Life(events, library.force(programme)).values(at).get(data.measure)
            except LedgerError as error:
                yield Finding("score_not_computed", f"{partner} at {text(at)}", str(error), note=True)
                continue
            if own is None or own != Fraction(data.value):
                found = f"{data.measure} was asserted as {data.value}, the ledger has {own}"
                yield Finding("score_differs", f"{partner} at {text(at)}", found, note=True)


def _code(difference: Difference) -> str:
    if difference.stored is None:
        return "rows_missing"
    return "rows_surplus" if difference.made is None else "rows_differ"
