"""Rows held against rows: the first thing in which those of a partner differ, and how to say it. It reads no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ledger.instants import BEGINNING, FOREVER, text
from ledger.projections.clocks import Changes
from ledger.projections.rows import Partner
from ledger.projections.store import KNOWN, LIVE, PARTNERS

Row = tuple[Any, ...]
Tables = Mapping[str, Sequence[Row]]
"""The rows of one partner, by table."""

_INSTANTS = ("since", "until", "recorded_at", "horizon")


class Difference(NamedTuple):
    """A row that is not what the log makes. None: there is no such row."""

    partner: str
    table: str
    made: Row | None
    stored: Row | None

    @property
    def where(self) -> str:
        row = self.made or self.stored or ()
        key = [f"{name}={value}" for name, value in self._cells(row) if LIVE[self.table].c[name].primary_key and name != "partner"]
        return " ".join([f"{self.partner}, {self.table}{':' if key else ''}", *key])

    @property
    def said(self) -> str:
        if self.made is None or self.stored is None:
            none, some, row = (
                ("the log makes", "the read models have", self.stored)
                if self.made is None
                else ("the read models have", "the log makes", self.made)
            )
            cells = [f"{name}={value}" for name, value in self._cells(row or ()) if not LIVE[self.table].c[name].primary_key]
            return f"{none} no such row, {some} {' '.join(cells)}"
        differing = [
            (name, ours, theirs)
            for (name, ours), (_, theirs) in zip(self._cells(self.made), self._cells(self.stored), strict=True)
            if ours != theirs
        ]
        ours, theirs = (" ".join(f"{cell[0]}={cell[n]}" for cell in differing) for n in (1, 2))
        return f"the log makes {ours}, the read models have {theirs}"

    def __str__(self) -> str:
        return f"{self.where}: {self.said}"

    def _cells(self, row: Row) -> list[tuple[str, str]]:
        return [(name, _shown(name, value)) for name, value in zip(LIVE[self.table].columns.keys(), row, strict=True)]


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "NULL"
    if name in _INSTANTS:
        return "always" if value <= BEGINNING else text(value)
    if name == "known_until" and value >= FOREVER:
        return "now"
    return repr(value) if isinstance(value, str) else str(value)


def first_difference(partner: str, made: Tables, stored: Tables) -> Difference | None:
    """The first one, by table and by the key of the row."""
    for name, table in LIVE.items():
        ours, theirs = made.get(name, ()), stored.get(name, ())
        if len(ours) == len(theirs) and set(ours) == set(theirs):
            continue
        columns = list(table.columns)
        places = [columns.index(column) for column in table.primary_key]
        left, right = ({tuple(row[place] for place in places): row for row in rows} for rows in (ours, theirs))
        for key in sorted(left.keys() | right.keys()):
            if left.get(key) != right.get(key):
                return Difference(partner, name, left.get(key), right.get(key))
    return None


def made_rows(partner: str, state: Partner, changes: Changes) -> Tables:
    """The rows of a partner that were made from nothing, as they would be stored."""
    found: dict[str, list[Row]] = {PARTNERS.name: [(partner, *state)], KNOWN.name: [(partner, *known) for known in changes.known]}
    for name, identity, until, payload, known_from, known_until in changes.new:
        found.setdefault(name, []).append((partner, *identity, until, *payload, known_from, known_until))
    return found
