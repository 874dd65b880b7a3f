"""The rulebooks at hand: those that ship with the ledger, and those that were published into it.

Shipped books are known from the beginning and never change: a correction is a new book. A published book is known from the position
of its event, and replaces a shipped one of the same name. This is the only file of the rules that reads files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from ledger.errors import NotFound, RulebookError
from ledger.events.envelope import Sealed
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


class Library:
    """The books known at a position. `published` are the events that publish rulebooks or take one back, in order of position.

    What is no rulebook cannot be published by the command; if it came into the log all the same, it is none here too.
    """

    def __init__(self, published: Sequence[Sealed] = (), books: Sequence[Book] | None = None) -> None:
        self._published = published
        self._shipped = shipped() if books is None else tuple(books)
        self._loaded: dict[int, Book | RulebookError] = {}

    def books(self, known_at: int | None = None) -> list[Book]:
        """Every book known at a position, the last published under a name alone."""
        named = {book.name: book for book in self._shipped}
        for sealed in without_reversed([s for s in self._published if known_at is None or s.position <= known_at]):
            book = self._load(sealed)
            if book is not None:
                named[book.name] = book
        return sorted(named.values(), key=lambda book: (book.programme, book.effective))

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
        return sorted({book.programme for book in self.books(known_at)})

    def only_reader(self, kinds: Iterable[str]) -> list[str]:
        """The programme that alone reads some of these kinds of facts; none where no programme does, or several do."""
        readers: dict[str, set[str]] = {}
        for book in self.books():
            for kind in {each.of for measure in book.measures.values() for each in within(measure.presence)}:
                readers.setdefault(kind, set()).add(book.programme)
        alone = {programme for kind in kinds if len(found := readers.get(kind, set())) == 1 for programme in found}
        return sorted(alone) if len(alone) == 1 else []

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
        """A programme's books, each in its time of force."""
        books = [book for book in self.books(known_at) if book.programme == programme]
        if not books:
            known = ", ".join(self.programmes(known_at)) or "none"
            raise NotFound(f"no rulebook of programme {programme!r}", hint=f"programmes: {known}", code="unknown_programme")
        return in_force(books)

    def named(self, name: str, known_at: int | None = None) -> tuple[Force, ...]:
        """One book for the whole history."""
        return (Force(self.book(name, known_at)),)
