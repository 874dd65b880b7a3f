"""A rulebook's numbers, asked with some values given: what they would be if a measure were another. It supposes, and records nothing."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from ledger.rules.reasons import Reason, Value
from ledger.rules.sweep import StateScope


class Supposed:
    """The values of one instant, of which some measures or numbers are given; all that rests on them follows."""

    def __init__(self, real: StateScope, given: Mapping[str, Fraction]) -> None:
        self.real = real
        self.given = given

    def value(self, name: str) -> Value:
        if name in self.given:
            return self.given[name]
        number = self.real.performance.book.numbers.get(name)
        return self.real.value(name) if number is None else number.formula.evaluate(self)

    def number(self, name: str) -> Fraction:
        value = self.value(name)
        assert not isinstance(value, str)
        return Fraction(value)

    def lookup(self, table: str, keys: tuple[str, ...]) -> Value:
        return self.real.lookup(table, keys)

    def explain(self, name: str) -> Reason:
        return Reason(self.value(name), name, "constant")

    def explain_lookup(self, table: str, keys: tuple[Reason, ...]) -> Reason:
        return self.real.explain_lookup(table, keys)
