"""Reasons: a value with the tree of operations that made it.

Each node's operation on its children gives its value, down to events and rows of the rulebook. A reason decides nothing and renders
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from ledger.instants import Instant

Value = Fraction | bool | str


@dataclass(frozen=True, slots=True)
class Reason:
    """`value` is what `op` makes of the children's values.

    Leaves: `constant` (the rulebook says so), `fact` (a field of the event at `position`), `row` (a row of a dated table),
    `override`. Aggregates: `sum`, `count`, `distinct`, `median`, `each` (members of which a condition holds).
    """

    value: Value
    text: str
    op: str
    children: tuple[Reason, ...] = ()
    position: int | None = None
    effective_at: Instant | None = None
    until: Instant | None = None
    assumed: bool = False
    source: str = ""

    def walk(self) -> Iterator[Reason]:
        yield self
        for child in self.children:
            yield from child.walk()

    def positions(self) -> list[int]:
        """The events on which the value rests, each once, in order of position."""
        return sorted({node.position for node in self.walk() if node.position is not None})


def median(values: list[Fraction]) -> Fraction:
    """The middle value; of an even count the mean of the middle two; of none 0."""
    if not values:
        return Fraction(0)
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def exact(value: Fraction) -> str:
    """A decimal where the value is one, else a fraction."""
    digits, rest = 0, value.denominator
    for prime in (2, 5):
        power = 0
        while rest % prime == 0:
            rest, power = rest // prime, power + 1
        digits = max(digits, power)
    if rest != 1:
        return str(value)
    written = str(abs(value.numerator) * 10**digits // value.denominator).rjust(digits + 1, "0")
    return ("-" if value < 0 else "") + (f"{written[:-digits]}.{written[-digits:]}" if digits else written)


def key_text(value: Value) -> str:
    """A value as a key of a table: flags are `yes` and `no`."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
