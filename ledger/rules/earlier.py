"""What was there earlier: a measure as it was on a day, and whether a measure has reached a number.

Both are stays that other stays make, so that the sweep needs no memory: who was there on the day counts until the next such day; what
reaches the number counts for a time from then on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from ledger.instants import FOREVER, Instant
from ledger.rules.book import Measure, Reached
from ledger.rules.expressions import OPERATIONS
from ledger.rules.facts import Key
from ledger.rules.people import holder

if TYPE_CHECKING:
    from ledger.rules.presence import Present


def as_at(presents: Sequence[Present], days: Iterable[Instant]) -> Iterator[tuple[Present, Instant, Instant]]:
    """Who was there on a day, from that day until the next of them."""
    for begin, end in pairwise([*sorted(set(days)), FOREVER]):
        for present in presents:
            if present.start <= begin < present.end:
                yield present, begin, end


def reached(of: Measure, presents: Iterable[Present], what: Reached) -> Iterator[tuple[Present, Instant]]:
    """When a measure begins to be at the bar, each time, with what brought it there."""
    total, met = _Total(of), False
    moves = [(at, way, p) for p in presents if p.start < p.end for at, way in ((p.start, 1), (p.end, -1)) if at < FOREVER]
    for at, here in groupby(sorted(moves, key=lambda move: move[:2]), key=lambda move: move[0]):
        moved = list(here)
        for _, way, present in moved:
            total.move(way, present)
        before, met = met, bool(OPERATIONS[what.op](total.value(), what.bar))
        if met and not before:
            yield moved[-1][2], at


class _Total:
    """A measure from instant to instant: a sum, how many keys there are, or of how many members a condition holds."""

    def __init__(self, measure: Measure) -> None:
        self._sum = Fraction(0)
        self._keys: dict[Key, int] = {}
        self._held: dict[Key, set[str]] = {}
        self._holds = holder(measure.holds) if measure.holds is not None else None
        self._distinct = measure.aggregate == "distinct"

    def move(self, way: int, present: Present) -> None:
        key = present.key
        self._sum += way * present.value
        self._keys[key] = self._keys.get(key, 0) + way
        if not self._keys[key]:
            del self._keys[key]
        if self._holds is not None:
            codes = self._held.setdefault(key[:-1], set())
            (codes.add if key in self._keys else codes.discard)(key[-1] or "")

    def value(self) -> Fraction:
        if self._holds is not None:
            return Fraction(sum(self._holds(codes) for codes in self._held.values()))
        return Fraction(len(self._keys)) if self._distinct else self._sum
