"""Histories as one writes them down: a line an event, `2018-09-01 membership.purchased level=Silver`; `@` names when it was recorded."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ledger.events.catalogue import CATALOGUE
from ledger.events.envelope import Sealed, event
from ledger.instants import Instant, parse
from ledger.rules.book import Book, load
from ledger.rules.life import Force, Life, in_force
from ledger.rules.lint import lint

PARTNER = "P-1"


def book(text: str) -> Book:
    """A rulebook that the linter finds no fault with."""
    assert [str(problem) for problem in lint(text)] == []
    return load(text)


def life(books: str | Book | Iterable[Book], written: str | Iterable[Sealed], now: Instant | None = None) -> Life:
    """A partner's life under one rulebook, or several in their times of force."""
    found = [book(books)] if isinstance(books, str) else [books] if isinstance(books, Book) else list(books)
    events = history(written) if isinstance(written, str) else list(written)
    return Life(events, in_force(found) if len(found) > 1 else [Force(found[0])], now)


def history(written: str) -> list[Sealed]:
    return [_line(line, place) for place, line in enumerate((each for each in written.splitlines() if each.strip()), start=1)]


def _line(line: str, position: int) -> Sealed:
    when, kind, *fields = line.split()
    at, _, recorded = when.partition("@")
    named = f"{kind}.v1"
    data = {name: _value(named, name, value) for name, _, value in (field.partition("=") for field in fields)}
    return sealed(named, parse(at), position, recorded_at=parse(recorded) if recorded else None, **data)


def _value(kind: str, name: str, value: str) -> Any:
    field = CATALOGUE[kind].model_fields.get(name)
    if value in ("true", "false"):
        return value == "true"
    return int(value) if field is not None and re.search(r"\bint\b", str(field.annotation)) else value


def sealed(kind: str, at: Instant, position: int, *, recorded_at: Instant | None = None, **data: Any) -> Sealed:
    """One event in its place; its id is its position, unless it says another."""
    made = event(kind, subject=PARTNER, effective_at=at, id=str(data.pop("id", position)), source="test", **data)
    return Sealed(position, f"partner/{PARTNER}", position, at if recorded_at is None else recorded_at, b"", b"", made)
