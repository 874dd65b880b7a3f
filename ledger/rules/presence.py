"""Presence: which facts count in which measure, from when until when, and for how much.

One rulebook over the facts of one partner. Worths are exact: a numerator over a denominator that comes from the rulebook's tables, so
that a sweep can add plain integers in units of one over the common multiple. A forecast passes `now`: a fact that `hold`s and is
present then does not end by its span.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

from ledger.errors import Unpriced
from ledger.instants import BEGINNING, FOREVER, Instant, Span, parse, plus, text
from ledger.rules.book import Book, Derived, Gate, Measure, Presence, Row, Table
from ledger.rules.facts import FACTS, Fact, Facts, Key
from ledger.rules.reasons import Reason, Value, key_text

Interval = tuple[Instant, Instant]
Worth = tuple[int, int]
ONE: Worth = (1, 1)


class Present:
    """A fact in a measure during [start, end), worth `numerator / denominator`; `key` tells it apart where keys are counted."""

    __slots__ = ("denominator", "end", "error", "fact", "key", "numerator", "start")

    def __init__(self, fact: Fact, start: Instant, end: Instant, worth: Worth, key: Key = (), error: Unpriced | None = None) -> None:
        self.fact = fact
        self.start = start
        self.end = end
        self.numerator, self.denominator = worth
        self.key = key
        self.error = error

    @property
    def value(self) -> Fraction:
        return Fraction(self.numerator, self.denominator)


class Reading:
    """A rulebook over the facts of a partner; `now` makes it a forecast from that instant."""

    def __init__(self, book: Book, facts: Facts, now: Instant | None = None) -> None:
        self.book = book
        self.facts = facts
        self.now = now
        self._gates: dict[int, dict[Key, list[Interval]]] = {}
        self._relatives: dict[str, dict[Key, list[Fact]]] = {}
        self._named: dict[str, dict[tuple[str, str], Fact]] = {}
        self._stated: dict[str, dict[Key, tuple[list[Instant], list[Fact]]]] = {}
        self._factors: dict[tuple[object, ...], Worth] = {}
        self._presents: dict[str, list[Present]] = {}
        self._within: dict[tuple[str, Instant, Instant], list[Present]] = {}

    def presents(self, measure: Measure) -> list[Present]:
        """Every stay of every fact in the measure, each worth what it is worth."""
        known = self._presents.get(measure.name)
        if known is None:
            known = self._presents[measure.name] = list(self._find(measure, BEGINNING, FOREVER))
        return known

    def within(self, measure: Measure, since: Instant, until: Instant) -> list[Present]:
        """The stays that reach into [since, until); what lies outside is not priced."""
        known = self._within.get((measure.name, since, until))
        if known is None:
            known = self._within[measure.name, since, until] = list(self._find(measure, since, until))
        return known

    def _find(self, measure: Measure, since: Instant, until: Instant) -> Iterator[Present]:
        for fact, start, end in self._stays(measure.presence):
            if end > since and start < until:
                yield from self._priced(measure, fact, start, end)
        if measure.aggregate == "sum":
            yield from self._stated_points(measure)

    def _stated_points(self, measure: Measure) -> Iterator[Present]:
        """Points stated outright: adjustments count for the measure's span or until they say, overrides while they last."""
        span = measure.presence.span
        for fact in self.facts.of("adjusted"):
            if fact.data.measure == measure.name:
                natural = plus(fact.start, span, self.book.zone) if span and fact.planned == FOREVER else FOREVER
                yield Present(fact, fact.start, min(fact.end, natural), _pair(fact.data.points))
        for fact in self.facts.of("override"):
            if fact.data.measure == measure.name and self.covers(fact):
                yield Present(fact, fact.start, fact.end, _pair(fact.data.points))

    def covers(self, override: Fact) -> bool:
        return override.data.programme in (None, self.book.programme)

    # -- when ---------------------------------------------------------------------------------------------------

    def _stays(self, presence: Presence) -> Iterator[tuple[Fact, Instant, Instant]]:
        """Facts with their intervals: their own life and span, cut by what they settle, gated by what else is there."""
        ends: dict[int, Instant] = {}
        settles = self.book.derived[presence.until] if presence.until else None
        where = presence.where.evaluate if presence.where else None
        for fact in self.facts.of(presence.of):
            if where is not None and not where(FactScope(self, fact, fact.start)):
                continue
            start, end = self._life(presence, fact)
            if settles is not None:
                end = self._settled(settles, fact, end, ends)
            if settles is not None and end <= start:  # it takes nothing back, and is still a lot that can be shown
                yield fact, start, start
                continue
            for begin, stop in self._gated(presence, fact, start, end):
                if begin < stop:
                    yield fact, begin, stop

    def _life(self, presence: Presence, fact: Fact) -> Interval:
        zone, after = self.book.zone, presence.after
        start = plus(fact.start, after, zone) if after else fact.start
        end = plus(fact.end, after, zone) if after and fact.end < FOREVER else fact.end
        if presence.span is None:
            return start, end
        natural = plus(fact.start, _sum(after, presence.span), zone)
        if presence.hold and self.now is not None and natural > self.now:
            return start, end
        return start, min(end, natural)

    def _settled(self, settles: Derived, fact: Fact, end: Instant, ends: dict[int, Instant]) -> Instant:
        """A fact that takes another back ends with it; if that one has left already, it takes nothing."""
        if settles.when is not None and not settles.when.evaluate(FactScope(self, fact, fact.start)):
            ends[id(fact)] = end
            return end
        other = self.relative(settles, fact)
        if other is None:
            return end
        if id(other) not in ends:  # named by a fact that began before it
            ends[id(other)] = self._life(Presence(of=settles.of, span=self._span_of(settles)), other)[1]
        return min(fact.end, ends[id(other)])

    def _span_of(self, settles: Derived) -> Span | None:
        for measure in self.book.measures.values():
            if measure.presence.until == settles.name:
                return measure.presence.span
        return None

    def _gated(self, presence: Presence, fact: Fact, start: Instant, end: Instant) -> list[Interval]:
        stays = [(start, end)]
        for gate in presence.whiles:
            stays = _intersect(stays, self._open(gate, fact))
        for gate in presence.ifs:
            if not any(begin <= start < stop for begin, stop in self._open(gate, fact)):
                return []
        return stays

    def _open(self, gate: Gate, fact: Fact) -> list[Interval]:
        """When the gate is open for this fact: the union of the stays of the gate's facts of the same key."""
        if gate.presence is None:
            return _union([stay for option in gate.any_of for stay in self._open(option, fact)])
        index = self._gates.get(id(gate))
        if index is None:
            index = self._gates[id(gate)] = self._gate_index(gate)
        return index.get(_key(fact, gate.by), [])

    def _gate_index(self, gate: Gate) -> dict[Key, list[Interval]]:
        stays: dict[Key, list[Interval]] = defaultdict(list)
        assert gate.presence is not None
        for fact, start, end in self._stays(gate.presence):
            stays[_key(fact, gate.by)].append((start, end))
        return {key: _union(found) for key, found in stays.items()}

    # -- how much -----------------------------------------------------------------------------------------------

    def _priced(self, measure: Measure, fact: Fact, start: Instant, end: Instant) -> Iterator[Present]:
        """A measure that is read `on: now` is split where a table's row or a level that it reads changes."""
        key = _key(fact, measure.key)
        if measure.value is None and measure.times is None:
            yield Present(fact, start, end, ONE, key)
            return
        cuts = self._changes(measure, fact, start, end) if measure.on_now else ()
        for begin, stop in zip((start, *cuts), (*cuts, end), strict=True):
            try:
                worth, error = self._worth(measure, fact, begin if measure.on_now else fact.start), None
            except Unpriced as unpriced:
                worth, error = (0, 1), unpriced
            yield Present(fact, begin, stop, worth, key, error)

    def _changes(self, measure: Measure, fact: Fact, start: Instant, end: Instant) -> tuple[Instant, ...]:
        found = set[Instant]()
        for part in (measure.value, measure.times):
            for name in part.tables if part is not None else ():
                if self.book.tables[name].on is None:
                    found.update(at for at, _ in self.book.tables[name].rows[1:])
            for name in part.names & self.book.derived.keys() if part is not None else ():
                derived = self.book.derived[name]
                if derived.how == "value":
                    found.update(self._levels(derived).get(_key(fact, derived.by), ((), ()))[0])
        return tuple(sorted(at for at in found if start < at < end))

    def _worth(self, measure: Measure, fact: Fact, at: Instant) -> Worth:
        value = self._value(measure, fact, at)
        if measure.times is None:
            return value
        factor = self._factor(measure, fact, at)
        return value[0] * factor[0], value[1] * factor[1]

    def _value(self, measure: Measure, fact: Fact, at: Instant) -> Worth:
        assert measure.value is not None
        name = measure.value.text
        if name in FACTS[fact.kind].fields:
            return _pair(getattr(fact.data, name))
        return _ratio(measure.value.evaluate(FactScope(self, fact, at)))

    def _factor(self, measure: Measure, fact: Fact, at: Instant) -> Worth:
        """What `times` gives; the same for all facts with the same values of the names and rows that it reads."""
        assert measure.times is not None
        scope = FactScope(self, fact, at)
        tables = self.book.tables
        asked: tuple[object, ...] = (
            measure.name,
            *[scope.value(name) for name in measure.times.names],
            *[tables[name].row_at(scope.clock(tables[name]))[0] for name in measure.times.tables],
        )
        factor = self._factors.get(asked)
        if factor is None:
            factor = self._factors[asked] = _ratio(measure.times.evaluate(scope))
        return factor

    # -- derived values ------------------------------------------------------------------------------------------

    def relative(self, derived: Derived, fact: Fact) -> Fact | None:
        """The first or last fact of the same key at or before this one; the one that the fact names comes first."""
        named = getattr(fact.data, derived.stated, None) if derived.stated else None
        if named is not None:
            found = self._names(derived).get((fact.event.event.source, named))
            if found is not None:
                return found
        relatives = self._index(derived).get(_key(fact, derived.by), ())
        before = bisect_right(relatives, (fact.start, fact.event.position), key=_place)
        if not before:
            return None
        return relatives[0 if derived.how == "first" else before - 1]

    def _names(self, derived: Derived) -> dict[tuple[str, str], Fact]:
        names = self._named.get(derived.name)
        if names is None:
            names = {(fact.event.event.source, fact.event.event.id): fact for fact in self._candidates(derived)}
            self._named[derived.name] = names
        return names

    def _index(self, derived: Derived) -> dict[Key, list[Fact]]:
        index = self._relatives.get(derived.name)
        if index is None:
            index = self._relatives[derived.name] = defaultdict(list)
            for fact in self._candidates(derived):
                index[_key(fact, derived.by)].append(fact)
        return index

    def _candidates(self, derived: Derived) -> Iterator[Fact]:
        where = derived.where.evaluate if derived.where else None
        for fact in self.facts.of(derived.of):
            if where is None or where(FactScope(self, fact, fact.start)):
                yield fact

    def date_of(self, derived: Derived, fact: Fact) -> Instant:
        """The start of the first or last relative; a date that the fact states itself wins; else its own start."""
        stated = getattr(fact.data, derived.stated, None) if derived.stated else None
        if stated is not None:
            return parse(stated)
        found = self.relative(derived, fact)
        return fact.start if found is None else found.start

    def level_of(self, derived: Derived, fact: Fact, at: Instant) -> tuple[str, Fact | None]:
        """The value last stated at or before `at`; nothing stated is the empty text."""
        starts, facts = self._levels(derived).get(_key(fact, derived.by), ((), ()))
        before = bisect_right(starts, at)
        if not before:
            return "", None
        return str(getattr(facts[before - 1].data, derived.take)), facts[before - 1]

    def _levels(self, derived: Derived) -> dict[Key, tuple[list[Instant], list[Fact]]]:
        levels = self._stated.get(derived.name)
        if levels is None:
            levels = self._stated[derived.name] = defaultdict(lambda: ([], []))
            for fact in self._candidates(derived):
                if getattr(fact.data, derived.take, None) is not None:
                    starts, facts = levels[_key(fact, derived.by)]
                    starts.append(fact.start)
                    facts.append(fact)
        return levels


class FactScope:
    """What an expression about one fact may read: its fields, derived values, and tables at an instant."""

    __slots__ = ("at", "fact", "reading")

    def __init__(self, reading: Reading, fact: Fact, at: Instant) -> None:
        self.reading = reading
        self.fact = fact
        self.at = at

    def value(self, name: str) -> Value:
        derived = self.reading.book.derived.get(name)
        if derived is None:
            value: Value = self.fact.get(name)
            return value
        return self._derived(derived)

    def _derived(self, derived: Derived) -> Value:
        if derived.how == "value":
            return self.reading.level_of(derived, self.fact, self.at)[0]
        return text(self.reading.date_of(derived, self.fact))

    def clock(self, table: Table) -> Instant:
        """The instant on which the table is read: a derived date, or the measure's own clock."""
        if table.on is None:
            return self.at
        return self.reading.date_of(self.reading.book.derived[table.on], self.fact)

    def lookup(self, table: str, keys: tuple[str, ...]) -> Value:
        found = self.reading.book.tables[table]
        return self._cell(found, found.row_at(self.clock(found))[1], keys)[0]

    def _cell(self, table: Table, row: Row, keys: tuple[str, ...]) -> tuple[Value, str]:
        cell: Any = row
        path = []
        for key in keys:
            chosen = key if isinstance(cell, dict) and key in cell else "default"
            if not isinstance(cell, dict) or chosen not in cell:
                raise self._unpriced(table, keys)
            cell = cell[chosen]
            path.append(chosen)
        if isinstance(cell, dict):
            raise self._unpriced(table, keys)
        return cell, "/".join(path)

    def _unpriced(self, table: Table, keys: tuple[str, ...]) -> Unpriced:
        event = self.fact.event
        return Unpriced(
            f"{self.reading.book.name}: table {table.name!r} has no row for {', '.join(keys) or 'nothing'}, which event "
            f"{event.event.source} {event.event.id} at position {event.position} needs",
            hint="reverse the event and record it anew, or ask by a rulebook that has the row",
        )

    def explain(self, name: str) -> Reason:
        derived = self.reading.book.derived.get(name)
        if derived is not None and derived.how == "value":
            value, stated = self.reading.level_of(derived, self.fact, self.at)
            position = stated.event.position if stated is not None else None
            return Reason(value, f"{name} of the {derived.of}", "fact", position=position)
        return Reason(self.value(name), name, "fact", position=self.fact.event.position)

    def explain_lookup(self, table: str, keys: tuple[Reason, ...]) -> Reason:
        found = self.reading.book.tables[table]
        at, row = found.row_at(self.clock(found))
        value, path = self._cell(found, row, tuple(key_text(key.value) for key in keys))
        since = "" if len(found.rows) == 1 else f" since {text(at)[:10]}"
        assumed = any(path == mark or path.startswith(f"{mark}/") for mark in found.assumed)
        return Reason(value, f"{table}[{path}]{since}", "row", keys, assumed=assumed, source=found.source)


def _place(fact: Fact) -> tuple[Instant, int]:
    return fact.start, fact.event.position


def _key(fact: Fact, names: tuple[str, ...]) -> Key:
    data = fact.data
    return tuple([getattr(data, name, None) for name in names])


def _sum(after: Span | None, span: Span) -> Span:
    """A delay and a span are counted from the original date together, never chained."""
    if after is None:
        return span
    return Span(after.months + span.months, after.days + span.days, after.micros + span.micros)


def _pair(value: str | int | None) -> Worth:
    """A decimal string as numerator and denominator, without reducing it."""
    if value is None:
        return 0, 1
    if isinstance(value, int):
        return value, 1
    whole, point, decimals = value.partition(".")
    return (int(whole + decimals), 10 ** len(decimals)) if point else (int(whole), 1)


def _ratio(value: Value) -> Worth:
    assert not isinstance(value, str)
    return Fraction(value).as_integer_ratio()


def _union(stays: Iterable[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for start, end in sorted(stays):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _intersect(stays: list[Interval], others: list[Interval]) -> list[Interval]:
    return [(max(start, begin), min(end, stop)) for start, end in stays for begin, stop in others if begin < end and start < stop]
