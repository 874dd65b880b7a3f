"""The audit: the log by itself, and the log against the read models, both ways. The only file that sees both sides; it mends nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from ledger.errors import LedgerError
from ledger.history import History
from ledger.instants import text
from ledger.log import Log
from ledger.projections.rows import programmes_of
from ledger.projections.store import Store
from ledger.rules.library import Library
from ledger.rules.life import Life


@dataclass(frozen=True, slots=True)
class Finding:
    """What does not agree, and where. `code` is stable; a note is not an error."""

    code: str
    where: str
    found: str
    note: bool = False


def audit(
    log: Log, store: Store, progress: Callable[[int, int], None] = lambda done, of: None, position: int | None = None
) -> Iterator[Finding]:  # fmt: skip
    """1 the log's own order, versions, hashes and receipts, 2 rows of partners against a fresh making, 3 asserted scores.

    `position`: up to which everything was applied; some partners may be further.
    """
    difference = log.verify()
    if difference is not None:
        yield Finding(f"log_{difference.name}", f"position {difference.position}", difference.found)
        return
    history, library = History(log), Library(History(log).published())
    for sealed, error in library.unusable():
        yield Finding("rulebook_unusable", f"position {sealed.position}", f"{sealed.event.data.book}: {error.what}", note=True)
    yield from _rows(history, store, store.position() if position is None else position, progress)
    yield from _asserted(history, library)


def _rows(history: History, store: Store, position: int, progress: Callable[[int, int], None]) -> Iterator[Finding]:
    known, partners = store.known(), history.partners()
    library = Library(history.published())
    for partner in sorted(known.keys() - set(partners)):
        yield Finding("rows_without_events", partner, "the read models know a partner that the log does not")
    fresh = Store(":memory:")
    with fresh.writing() as connection:
        for done, partner in enumerate(partners, start=1):
            until = max(position, known.get(partner, 0))
            if events := history.events(partner, until):
                fresh.apply(connection, partner, events, library, history.ends, until)
            progress(done, len(partners))
    ours, theirs = store.dump(), fresh.dump()
    del theirs["progress"]  # how far they have come is where the comparison began
    for table, rows in theirs.items():
        for row in sorted(set(ours[table]) ^ set(rows), key=repr)[:1]:
            side = "the read models have a row that" if row in set(ours[table]) else "the read models lack a row that"
            yield Finding(
                "rows_differ", f"{table} of {row[0]}", f"{side} the log {'does not make' if row in set(ours[table]) else 'makes'}: {row}"
            )
    fresh.close()
    if position < history.head():
        yield Finding("rows_behind", f"position {position}", f"the log is at {history.head()}", note=True)


def _asserted(history: History, library: Library) -> Iterator[Finding]:
    """What another system said the score was, against the ledger's own."""
    for partner in history.partners():
        events = history.events(partner)
        for sealed in events:
            if sealed.event.kind != "score.asserted.v1":
                continue
            data, at = sealed.event.data, sealed.event.effective_at
            programme = data.programme or next(iter(programmes_of(events, library)), "")
            try:
                own = Life(events, library.force(programme)).values(at).get(data.measure)
            except LedgerError as error:
                yield Finding("score_not_computed", f"{partner} at {text(at)}", str(error), note=True)
                continue
            if own is None or own != Fraction(data.value):
                found = f"{data.measure} was asserted as {data.value}, the ledger has {own}"
                yield Finding("score_differs", f"{partner} at {text(at)}", found, note=True)
