"""A life taken forward from an instant: before it everything is as it was known, and from there on only what lasts is read.

What an event says it says from its effective time on. So who knows a partner's performance up to there need not sweep it again, and
what had ended by then need not be priced.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from math import lcm
from operator import attrgetter
from typing import Any

from ledger.events.envelope import Sealed
from ledger.instants import Instant, Span, minus
from ledger.rules import ahead
from ledger.rules.ahead import SLACK
from ledger.rules.book import Book, Gate, Measure, Presence
from ledger.rules.compiled import Signature
from ledger.rules.expressions import Expression
from ledger.rules.facts import Fact, Facts
from ledger.rules.life import Force, Life
from ledger.rules.presence import Interval, Present, Reading, Stay
from ledger.rules.sweep import Performance, Values, sweep

_start = attrgetter("start")


class Onward(Reading):
    """A rulebook over what is there from an instant on: stays that have ended by then are left out."""

    def __init__(self, book: Book, facts: Facts, at: Instant) -> None:
        super().__init__(book, facts)
        self.at = at

    @cached_property
    def past(self) -> Reading:
        """The same with all that ever was, for what looks back."""
        return Reading(self.book, self.facts)

    def within(self, measure: Measure, since: Instant, until: Instant) -> list[Present]:
        return self.past.within(measure, since, until) if measure.is_of_earlier else super().within(measure, since, until)

    def learn(self, before: Reading) -> None:
        """What facts are worth that had begun by then: it rests on nothing that came later."""
        for name, prices in before.prices.items():
            facts = self.facts.of(self.book.measures[name].presence.of)
            there = facts[bisect_left(facts, self.at + 1, key=_start) :]
            later = {fact.event.position for fact in there}
            self.prices[name] = {position: price for position, price in prices.items() if position not in later}

    def of(self, book: Book) -> Reading:
        other = Onward(book, self.facts, self.at)
        other._within, other._indexes = self._within, self._indexes
        return other

    def _shared(self, what: str, signature: Signature, find: Callable[[], Any]) -> Any:
        return super()._shared(what, (*signature, self.at), find)

    def _facts(self, presence: Presence) -> Sequence[Fact]:
        """Those that can still count: what counts for a time and has had it is over, and so is what was ended."""
        facts = super()._facts(presence)
        if presence.calendar or presence.joined or presence.to_day is not None:
            return facts
        after = presence.after or Span()
        if presence.span is not None:
            oldest = minus(minus(self.at, presence.span, self.book.zone), after, self.book.zone) - SLACK
            facts = facts[bisect_left(facts, oldest, key=_start) :]
        ended = minus(self.at, after, self.book.zone) - SLACK
        return [fact for fact in facts if fact.end > ended]

    def _find_stays(self, presence: Presence) -> list[Stay]:
        return [stay for stay in super()._find_stays(presence) if stay[2] > self.at]

    def _open_at_start(self, gate: Gate, fact: Fact, start: Instant) -> list[Interval]:
        return self.past._open(gate, fact) if start < self.at else self._open(gate, fact)

    def holds_at(self, condition: Expression, at: Instant) -> bool:
        return self.past.holds_at(condition, at) if at < self.at else super().holds_at(condition, at)


class Resumed(Life):
    """A life of which the performances before an instant are known, and are the same."""

    def __init__(self, events: Sequence[Sealed], force: Sequence[Force], known: Sequence[Performance], at: Instant) -> None:
        super().__init__(events, force)
        self._known = {(performance.book, performance.since): performance for performance in known}
        self._at = at

    @cached_property
    def performances(self) -> tuple[Performance, ...]:
        needed = [force for force in self.force if force.until > self.first] or [self.force[-1]]
        return tuple([self._performance(force) for force in needed])

    def _performance(self, force: Force) -> Performance:
        known, at = self._known.get((force.book, force.since)), self._at
        reading = Onward(force.book, self.facts, at - 1)
        if known is not None:
            reading.learn(known.reading)
        if at <= force.since:
            return sweep(reading, force.since, force.until)
        if known is None or min(known.until, at) != min(force.until, at):
            return sweep(Reading(force.book, self.facts), force.since, force.until)
        if known.until == force.until <= at:
            return replace(known, reading=Reading(force.book, self.facts))
        return _joined(ahead.until(known, at), sweep(reading, at - 1, force.until))


def _joined(before: Performance, after: Performance) -> Performance:
    """One performance of two. `before` is not broken where it ends; the first state of `after` is its last one."""
    unit = lcm(before.unit, after.unit)
    exempt = {at: names for at, names in after.exempt.items() if at > after.since}
    return Performance(
        after.reading, before.since, after.until, unit,
        before.instants + after.instants[1:], _in(unit, before) + _in(unit, after)[1:], before.met + after.met[1:],
        judged=before.judged + after.judged[1:], touched=before.touched + after.touched[1:], exempt=before.exempt | exempt,
        first=min(before.first, after.first), broken=after.broken, broken_at=after.broken_at,
    )  # fmt: skip


def _in(unit: int, performance: Performance) -> list[Values]:
    times = unit // performance.unit
    if times == 1:
        return performance.values
    return [tuple([value * times for value in values]) for values in performance.values]
