"""The rulebooks at hand: those that ship with the ledger, and those that were published into it.

Shipped books are known from the beginning and never change: a correction is a new book. A published book is known from the position
of its event, and replaces a shipped one of the same name. This is the only file of the rules that reads files.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

from ledger.errors import NotFound, RulebookError
from ledger.events.envelope import Sealed
from ledger.instants import BEGINNING, FOREVER, Instant
from ledger.rules.book import Book, load
from ledger.rules.facts import without_reversed
from ledger.rules.labels import FILE as LABELS
from ledger.rules.life import Force, in_force
from ledger.rules.presence import within


@cache
def shipped() -> tuple[Book, ...]:
    """Every rulebook of the package, by programme and effective date."""
    books = [load(file.read_text("utf-8"), name=file.name) for file in _files(resources.files("ledger.rules") / "books")]
    return tuple(sorted(books, key=lambda book: (book.programme, book.effective)))


def _files(folder: Traversable) -> Iterable[Traversable]:
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "golden":
            yield from _files(entry)
        elif entry.name.endswith(".yaml") and entry.name != LABELS:
            yield entry


class Change(NamedTuple):
    """A position from which other books are known, and the first instant at which they make a difference."""

    position: int
    recorded_at: Instant
    reach: Instant


class Library:
    """The books known at a position. `published` are the events that publish rulebooks or take one back, in order of position.

    What is no rulebook cannot be published by the command; if it came into the log all the same, it is none here too.
    """

    def __init__(self, published: Sequence[Sealed] = (), books: Sequence[Book] | None = None) -> None:
        self._published = published
        self._shipped = shipped() if books is None else tuple(books)
        self._loaded: dict[int, Book | RulebookError] = {}
        self._changes: list[Change] | None = None
        self._kept: dict[tuple[str, int], Any] = {}

    def books(self, known_at: int | None = None) -> list[Book]:
        """Every book known at a position, the last published under a name alone."""
        found: list[Book] = self._found(known_at, "books", lambda: self._books(known_at))
        return found

    def _books(self, known_at: int | None) -> list[Book]:
        named = {book.name: book for book in self._shipped}
        for sealed in without_reversed([s for s in self._published if known_at is None or s.position <= known_at]):
            book = self._load(sealed)
            if book is not None:
                named[book.name] = book
        return sorted(named.values(), key=lambda book: (book.programme, book.effective))

    def _found(self, known_at: int | None, what: str, find: Callable[[], Any]) -> Any:
        """The same at every position between two rulebooks."""
        count = len(self._published) if known_at is None else bisect_right(self._published, known_at, key=_position)
        if (what, count) not in self._kept:
            self._kept[what, count] = find()
        return self._kept[what, count]

    def unusable(self) -> list[tuple[Sealed, RulebookError]]:
        """The published texts that are no rulebook, with what is wrong."""
        self.books()
        return [(sealed, found) for sealed in self._published if isinstance(found := self._loaded.get(sealed.position), RulebookError)]

    def _load(self, sealed: Sealed) -> Book | None:
        if sealed.position not in self._loaded:
            try:
                self._loaded[sealed.position] = load(sealed.event.data.text, name=sealed.event.data.book)
            except RulebookError as error:
                self._loaded[sealed.position] = error
        found = self._loaded[sealed.position]
        return found if isinstance(found, Book) else None

    def programmes(self, known_at: int | None = None) -> list[str]:
        found: list[str] = self._found(known_at, "programmes", lambda: sorted({book.programme for book in self.books(known_at)}))
        return found

    def changes(self) -> list[Change]:
        """Where a rulebook was published or taken back, and from when on other books apply than before; in order of position."""
        if self._changes is None:
            found = []
            for sealed in self._published:
                reach = _first_difference(self._forces(sealed.position - 1), self._forces(sealed.position))
                if reach < FOREVER:
                    found.append(Change(sealed.position, sealed.recorded_at, reach))
            self._changes = found
        return self._changes

    def _forces(self, known_at: int) -> dict[str, tuple[Force, ...]]:
        return {programme: self.force(programme, known_at) for programme in self.programmes(known_at)}

    def only_reader(self, kinds: Iterable[str], known_at: int | None = None) -> list[str]:
        """The programme that alone reads some of these kinds of facts; none where no programme does, or several do."""
        readers: dict[str, set[str]] = self._found(known_at, "readers", lambda: self._readers(known_at))
        alone = {programme for kind in kinds if len(found := readers.get(kind, set())) == 1 for programme in found}
        return sorted(alone) if len(alone) == 1 else []

    def _readers(self, known_at: int | None) -> dict[str, set[str]]:
        readers: dict[str, set[str]] = {}
        for book in self.books(known_at):
            for kind in {each.of for measure in book.measures.values() for each in within(measure.presence)}:
                readers.setdefault(kind, set()).add(book.programme)
        return readers

    def book(self, name: str, known_at: int | None = None) -> Book:
        """By its name, by the part after the slash where that is unique, or by a prefix of its hash."""
        books = self.books(known_at)
        found = [book for book in books if name in (book.name, book.name.partition("/")[2])]
        found = found or [book for book in books if len(name) >= 8 and book.hash.startswith(name)]
        if len(found) == 1:
            return found[0]
        known = ", ".join(book.name for book in books)
        what = "names more than one" if found else "is no rulebook known at this moment"
        raise NotFound(f"{name!r} {what}", hint=f"known: {known}", code="unknown_rulebook")

    def force(self, programme: str, known_at: int | None = None) -> tuple[Force, ...]:
        """A programme's books, each in its time of force. Raises NotFound."""
        found: tuple[Force, ...] = self._found(known_at, f"force {programme}", lambda: self._force(programme, known_at))
        return found

    def _force(self, programme: str, known_at: int | None) -> tuple[Force, ...]:
        books = [book for book in self.books(known_at) if book.programme == programme]
        if not books:
            known = ", ".join(self.programmes(known_at)) or "none"
            raise NotFound(f"no rulebook of programme {programme!r}", hint=f"programmes: {known}", code="unknown_programme")
        return in_force(books)

    def named(self, name: str, known_at: int | None = None) -> tuple[Force, ...]:
        """One book for the whole history."""
        return (Force(self.book(name, known_at)),)


def _first_difference(before: Mapping[str, Sequence[Force]], after: Mapping[str, Sequence[Force]]) -> Instant:
    """The first instant at which another book is in force; FOREVER where there is none."""
    found = [FOREVER]
    for programme in before.keys() | after.keys():
        old, new = before.get(programme, ()), after.get(programme, ())
        borders = {force.since for force in (*old, *new)} | {BEGINNING}
        found += [at for at in borders if _hash_at(old, at) != _hash_at(new, at)]
    return min(found)


def _position(sealed: Sealed) -> int:
    return sealed.position


def _hash_at(force: Sequence[Force], at: Instant) -> str | None:
    return next((each.book.hash for each in force if each.since <= at < each.until), None)
