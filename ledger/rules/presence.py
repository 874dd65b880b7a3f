"""Presence: which facts count in which measure, from when until when, and for how much.

One rulebook over the facts of one partner. Worths are exact: a numerator over a denominator that comes from the rulebook's tables, so
that a sweep can add plain integers in units of one over the common multiple. A forecast passes `now`: a fact that `hold`s and is
present then does not end by its span.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any

from ledger.errors import Unpriced
from ledger.instants import BEGINNING, FOREVER, Instant, Span, parse, plus, text, to_datetime, wall
from ledger.rules import earlier
from ledger.rules.book import Book, Derived, Gate, Measure, Presence, Row, Table
from ledger.rules.compiled import FACTORS_MAX, Signature, Worth, compiled, condition, key_of
from ledger.rules.expressions import Expression
from ledger.rules.facts import FACTS, Fact, Facts, Key
from ledger.rules.people import Held, Summed
from ledger.rules.reasons import Reason, Value, key_text, median

Interval = tuple[Instant, Instant]
Stay = tuple[Fact, Instant, Instant]
Levels = tuple[list[Instant], list[Fact], list[str]]
_NO_LEVELS: Levels = ([], [], [])
_CLOSED: list[Interval] = []
Price = tuple[Worth, Unpriced | None]
ONE: Worth = (1, 1)
NOTHING: Worth = (0, 1)


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
        self.compiled = compiled(book)
        self._within: dict[tuple[str, Instant, Instant], list[Present]] = {}
        self._indexes: dict[str | int, Any] = {}
        self.prices: dict[str, dict[int, Price]] = {}
        """What facts are worth in a measure that is not read `on: now`, by the positions of their events."""
        self.kept: dict[tuple[object, ...], Any] = {}
        """What forecasts found out about this reading."""

    def presents(self, measure: Measure) -> list[Present]:
        """Every stay of every fact in the measure, each worth what it is worth."""
        return self.within(measure, BEGINNING, FOREVER)

    def within(self, measure: Measure, since: Instant, until: Instant) -> list[Present]:
        """The stays that reach into [since, until); what lies outside is not priced."""
        known = self._within.get((measure.name, since, until))
        if known is None:
            if measure.is_of_earlier:
                known = [present for present in self._earlier(measure) if present.end > since and present.start < until]
            else:
                known = self._there(measure, since, until)
            self._within[measure.name, since, until] = known
        return known

    def _there(self, measure: Measure, since: Instant, until: Instant) -> list[Present]:
        if measure.parts:
            return [present for present in self._of_members(measure) if present.end > since and present.start < until]
        if measure.codes:
            held = self._by_code(measure)
            found = [present for code in sorted(measure.codes) for present in held.get(code, ())]
            return [p for p in found if p.end > since and p.start < until]
        prices = None if measure.on_now else self.prices.setdefault(measure.name, {})
        presents = self._priced(measure, [stay for stay in self.stays(measure.presence) if stay[2] > since and stay[1] < until], prices)
        return [*presents, *self._stated_points(measure)] if measure.aggregate == "sum" else presents

    def _earlier(self, measure: Measure) -> list[Present]:
        """What was there on the last of some days, or has reached a number."""
        if measure.reached is not None:
            of, span = self.book.measures[measure.reached.measure], measure.reached.span
            found = earlier.reached(of, self.presents(of), measure.reached)
            return [Present(present.fact, at, plus(at, span, self.book.zone), ONE) for present, at in found]
        days = [at for each in measure.as_at for at in ([each] if isinstance(each, int) else [fact.start for fact in self.facts.of(each)])]
        there = earlier.as_at(self._there(measure, BEGINNING, FOREVER), days)
        return [Present(p.fact, begin, end, (p.numerator, p.denominator), p.key, p.error) for p, begin, end in there]

    def _by_code(self, measure: Measure) -> dict[str, list[Present]]:
        """What members hold, by code: the same for all predicates of a group."""

        def find() -> dict[str, list[Present]]:
            by_code: dict[str, list[Present]] = {}
            for present in self._priced(measure, self.stays(measure.presence)):
                by_code.setdefault(present.key[-1] or "", []).append(present)
            return by_code

        found: dict[str, list[Present]] = self._shared("codes", (*self.compiled.signature(measure.presence), measure.key), find)
        return found

    def _of_members(self, measure: Measure) -> list[Present]:
        """What is added up for the members of a group, by member and sum: the same for all predicates of a group."""

        def find() -> list[Present]:
            found = []
            for place, part in enumerate(measure.parts):
                member = key_of(part.key)
                for present in self._priced(part, self.stays(part.presence)):
                    present.key = (*member(present.fact.data), str(place))
                    found.append(present)
            return found

        sums = [(part.key, part.value and part.value.text, part.times and part.times.text, part.presence.of) for part in measure.parts]
        alone = not any(
            part.times or (part.value and (part.value.tables or part.value.names & self.book.derived.keys())) for part in measure.parts
        )
        asked = (*[self.compiled.signature(part.presence) for part in measure.parts], *sums, "" if alone else self.book.hash)
        members: list[Present] = self._shared("sums", asked, find)
        return members

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

    def of(self, book: Book) -> Reading:
        """The same reading for one award of the rulebook: the measures are the same."""
        other = Reading(book, self.facts, self.now)
        other._within, other._indexes = self._within, self._indexes
        return other

    def covers(self, override: Fact) -> bool:
        """An override of one award is for that award alone; the rulebook as a whole knows them all."""
        return override.data.programme in (None, self.book.programme) and (
            not self.book.award or override.data.award in (None, self.book.award)
        )

    def _shared(self, what: str, signature: Signature, find: Callable[[], Any]) -> Any:
        """What is found once for all rulebooks that ask the same of these facts."""
        asked = what, signature, self.book.zone, self.now
        found = self.facts.found
        if asked not in found:
            found[asked] = find()
        return found[asked]

    # -- when ---------------------------------------------------------------------------------------------------

    def stays(self, presence: Presence) -> list[Stay]:
        """Facts with their intervals: their own life and span, cut by what they settle, gated by what else is there."""
        found: list[Stay] = self._shared("stays", self.compiled.signature(presence), lambda: self._find_stays(presence))
        return found

    def stays_alone(self, presence: Presence) -> list[Stay]:
        """The stays of a presence that no rulebook holds, so that nothing is kept under its name."""
        return self._find_stays(presence)

    def open_for(self, gate: Gate, fact: Fact) -> list[Interval]:
        return self._open(gate, fact)

    def _find_stays(self, presence: Presence) -> list[Stay]:
        facts = self._those(self._facts(presence), presence.of, presence.where)
        stays = self._lives(presence, _joined(presence.joined, facts) if presence.joined else facts)
        if presence.until:
            stays = self._settled(presence, self.book.derived[presence.until], stays)
        else:
            stays = [stay for stay in stays if stay[1] < stay[2]]
        if presence.given:
            stays = [stay for stay in stays if all(self.holds_at(condition, stay[1]) for condition in presence.given)]
        if not presence.whiles and not presence.ifs:
            return stays
        return [
            (fact, begin, stop)
            for fact, start, end in stays
            for begin, stop in (self._gated(presence, fact, start, end) if start < end else [(start, end)])
        ]

    def _facts(self, presence: Presence) -> Sequence[Fact]:
        """The facts that may count in a presence."""
        return self.facts.of(presence.of)

    def _those(self, facts: Sequence[Fact], kind: str, where: Expression | None) -> Sequence[Fact]:
        """The facts of a kind of which a condition holds."""
        if where is None:
            return facts
        quick = condition(where, kind)
        if quick is not None:
            return [fact for fact in facts if quick(fact.data)]
        return [fact for fact in facts if where.evaluate(FactScope(self, fact, fact.start))]

    def _lives(self, presence: Presence, facts: Iterable[Fact]) -> list[Stay]:
        """A fact's own life, delayed, and no longer than the span; delay and span are counted from its start together, never chained."""
        zone, after = self.book.zone, presence.after
        if presence.calendar:
            stays = self._months(presence, facts)
        elif after:
            stays = [(fact, plus(fact.start, after, zone), plus(fact.end, after, zone)) for fact in facts]
        else:
            stays = [(fact, fact.start, fact.end) for fact in facts]
        held = self.now if presence.hold and self.now is not None else FOREVER
        if held < FOREVER and (after or presence.calendar):
            stays = [stay for stay in stays if stay[1] <= held]
        if presence.calendar:
            return [(fact, start, end if end <= held else fact.end) for fact, start, end in stays]
        if presence.to_day is not None:
            return [(fact, start, min(end, _day_of_next_month(start, presence.to_day, zone))) for fact, start, end in stays]
        if presence.span is None:
            return stays
        span = _sum(after, presence.span)
        lives = []
        for stay in stays:
            fact, start, end = stay
            natural = plus(fact.start, span, zone)
            lives.append(stay if natural >= end or natural > held else (fact, start, natural))
        return lives

    def _months(self, presence: Presence, facts: Iterable[Fact]) -> list[Stay]:
        """Whole months: those after a fact's own month, which it may state, and for a fact that ends up to the end of its last month."""
        zone, span = self.book.zone, presence.span or Span(months=1)
        stays = []
        for fact in facts:
            own = _month(fact.start, zone)
            stated = getattr(fact.data, "month", None)
            begun = own if stated is None else int(stated[:4]) * 12 + int(stated[5:]) - 1
            begin, stop = _following(zone, begun, 0, presence.after), _following(zone, begun, span.months, presence.after)
            if begun < own:
                begin = max(begin, fact.start)
            if fact.end < FOREVER:
                stop = min(stop, _following(zone, _month(fact.end, zone), 0, presence.after))
            stays.append((fact, begin, stop))
        return stays

    def _settled(self, presence: Presence, settles: Derived, stays: list[Stay]) -> list[Stay]:
        """A fact that takes another back ends with it; if that one has left already, it takes nothing and is still shown."""
        takers = {id(fact) for fact in self._those([fact for fact, _, _ in stays], presence.of, settles.when)}
        if not takers:
            return stays
        ends = {id(fact): end for fact, _, end in stays if id(fact) not in takers}
        counted = Presence(of=settles.of, span=presence.span)
        settled: list[Stay] = []
        for fact, start, end in stays:
            other = self.relative(settles, fact) if id(fact) in takers else None
            if other is not None:
                last = ends.get(id(other))
                end = min(fact.end, Reading._lives(self, counted, [other])[0][2] if last is None else last)
            settled.append((fact, start, max(start, end)))
        return settled

    def _gated(self, presence: Presence, fact: Fact, start: Instant, end: Instant) -> list[Interval]:
        stays = [(start, end)]
        for gate in presence.whiles:
            stays = _intersect(stays, self._open(gate, fact))
        for gate in presence.ifs:
            if not any(begin <= start < stop for begin, stop in self._open_at_start(gate, fact, start)):
                return []
        return [(begin, stop) for begin, stop in stays if begin < stop]

    def holds_at(self, condition: Expression, at: Instant) -> bool:
        """Whether a condition on measures and numbers holds at an instant."""
        return bool(condition.evaluate(Counted(self, at)))

    def _open_at_start(self, gate: Gate, fact: Fact, start: Instant) -> list[Interval]:
        return self._open(gate, fact)

    def _open(self, gate: Gate, fact: Fact) -> list[Interval]:
        """When the gate is open for this fact: the union of the stays of the gate's facts of the same key."""
        presence = gate.presence
        if presence is None:
            return _union([stay for option in gate.any_of for stay in self._open(option, fact)])
        index = self._indexes.get(id(gate))
        if index is None:
            found = self._shared("gate", (gate.by, self.compiled.signature(presence)), lambda: self._gate_index(gate.by, presence))
            index = self._indexes[id(gate)] = key_of(gate.by), found
        opened: list[Interval] = index[1].get(index[0](fact.data), _CLOSED)
        return opened

    def _gate_index(self, by: tuple[str, ...], presence: Presence) -> dict[Key, list[Interval]]:
        intervals: dict[Key, list[Interval]] = defaultdict(list)
        key = key_of(by)
        for fact, start, end in self.stays(presence):
            intervals[key(fact.data)].append((start, end))
        return {key: _union(found) if len(found) > 1 else found for key, found in intervals.items()}

    def touching(self, measure: Measure) -> list[Instant]:
        """When something happened, or was held no more, that has a part in what is foreseen of a measure."""
        parts = [part for part in (measure.value, measure.times) if part is not None]
        asked = {name for part in parts for name in part.names} | {self.book.tables[name].on for part in parts for name in part.tables}
        kinds, found = {"adjusted", "override"}, set[Instant]()
        for presence in [each for stated in measure.presences() for each in within(stated)]:
            kinds.add(presence.of)
            asked |= {presence.until} | (presence.where.names if presence.where else frozenset())
            if presence.hold:
                found.update(end for _, _, end in self.stays(presence))
        kinds |= {self.book.derived[name].of for name in asked if name in self.book.derived}
        for fact in [fact for kind in kinds for fact in self.facts.of(kind)]:
            found.add(fact.start)
            if fact.ender is not None:
                found.add(fact.end)
        return sorted(found)

    # -- how much -----------------------------------------------------------------------------------------------

    def _priced(self, measure: Measure, stays: list[Stay], prices: dict[int, Price] | None = None) -> list[Present]:
        """The stays with their worth. A measure that is read `on: now` is split where a table's row or a level that it reads changes.

        `prices`: what is known, and becomes known, of what facts are worth.
        """
        key = key_of(measure.key)
        if measure.value is None:
            return [Present(fact, start, end, ONE, key(fact.data)) for fact, start, end in stays]
        if measure.on_now:
            stays = [
                (fact, begin, stop)
                for fact, start, end in stays
                for begin, stop in pairwise((start, *self._changes(measure, fact, start, end), end))
            ]
        written = measure.value.text if measure.value.text in FACTS[measure.presence.of].fields else None
        factors, asked = self.compiled.factors, self.compiled.asked(measure) if measure.times else None
        presents = []
        for fact, start, end in stays:
            if prices is not None and (price := prices.get(fact.event.position)) is not None:
                presents.append(Present(fact, start, end, price[0], (), price[1]))
                continue
            data, at, error = fact.data, start if measure.on_now else fact.start, None
            try:
                value = _pair(getattr(data, written)) if written else _ratio(measure.value.evaluate(FactScope(self, fact, at)))
                if asked is not None:
                    basis = asked(self, fact, data, at)
                    factor = factors.get(basis) or self._factor(measure, fact, at, basis)
                    value = value[0] * factor[0], value[1] * factor[1]
            except Unpriced as unpriced:
                value, error = NOTHING, unpriced
            if prices is not None:
                prices[fact.event.position] = value, error
            presents.append(Present(fact, start, end, value, (), error))
        return presents

    def _changes(self, measure: Measure, fact: Fact, start: Instant, end: Instant) -> tuple[Instant, ...]:
        rows, levels = self.compiled.changes(measure)
        found = [at for at in rows if start < at < end]
        for derived in levels:
            found += [at for at in self._stated_at(derived, fact) if start < at < end]
        return tuple(sorted(set(found)))

    def _stated_at(self, derived: Derived, fact: Fact) -> Iterable[Instant]:
        """When the level was stated that belongs to a fact."""
        return self._levels(derived).get(key_of(derived.by)(fact.data), _NO_LEVELS)[0]

    def _factor(self, measure: Measure, fact: Fact, at: Instant, basis: tuple[object, ...]) -> Worth:
        """What `times` gives, kept by what it depends on."""
        assert measure.times is not None
        factors = self.compiled.factors
        if len(factors) >= FACTORS_MAX:
            factors.clear()
        factor = factors[basis] = _ratio(measure.times.evaluate(FactScope(self, fact, at)))
        return factor

    # -- derived values ------------------------------------------------------------------------------------------

    def relative(self, derived: Derived, fact: Fact) -> Fact | None:
        """The first or last fact of the same key at or before this one; the one that the fact names comes first."""
        return self.named(derived, fact) or self.nearest(derived, fact)

    def named(self, derived: Derived, fact: Fact) -> Fact | None:
        if derived.stated is None:
            return None
        name = getattr(fact.data, derived.stated, None)
        return None if name is None else self._names(derived).get((fact.event.event.source, name))

    def names_later(self, derived: Derived) -> bool:
        """Whether a fact names one that began after it."""

        def find() -> bool:
            of = self.facts.of(derived.of)
            return any((other := self.named(derived, fact)) is not None and other.start > fact.start for fact in of)

        later: bool = derived.stated is not None and self._shared("later", self.compiled.derived_signature(derived.name), find)
        return later

    def nearest(self, derived: Derived, fact: Fact) -> Fact | None:
        relatives = (self._indexes.get(derived.name) or self._index(derived)).get(key_of(derived.by)(fact.data), ())
        if derived.how == "first":
            return relatives[0] if relatives and _place(relatives[0]) <= _place(fact) else None
        before = bisect_right(relatives, _place(fact), key=_place)
        return relatives[before - 1] if before else None

    def _names(self, derived: Derived) -> dict[tuple[str, str], Fact]:
        names = dict[tuple[str, str], Fact]()

        def learn(fact: Fact) -> None:
            names[fact.event.event.source, fact.event.event.id] = fact

        found: dict[tuple[str, str], Fact] = self._indexed("names", derived, names, learn)
        return found

    def _index(self, derived: Derived) -> dict[Key, list[Fact]]:
        key, relatives = key_of(derived.by), dict[Key, list[Fact]]()

        def learn(fact: Fact) -> None:
            relatives.setdefault(key(fact.data), []).append(fact)

        index: dict[Key, list[Fact]] = self._indexed("relatives", derived, relatives, learn)
        self._indexes[derived.name] = index
        return index

    def _indexed(self, what: str, derived: Derived, index: Any, learn: Callable[[Fact], None]) -> Any:
        """An index of the facts that a derived value looks among, found once and told of those that follow."""

        def learn_all(facts: Sequence[Fact]) -> None:
            for fact in self._those(facts, derived.of, derived.where):
                learn(fact)

        asked = what, self.compiled.derived_signature(derived.name), self.book.zone
        if asked not in self.facts.indexes:
            learn_all(self.facts.of(derived.of))
            self.facts.indexes[asked] = derived.of, learn_all, index
        return self.facts.indexes[asked][2]

    def date_of(self, derived: Derived, fact: Fact) -> Instant:
        """The start of the first or last relative; a date that the fact states itself wins; else its own start."""
        stated = getattr(fact.data, derived.stated, None) if derived.stated else None
        if stated is not None:
            return parse(stated)
        found = self.relative(derived, fact)
        return fact.start if found is None else found.start

    def level_of(self, derived: Derived, fact: Fact, at: Instant) -> tuple[str, Fact | None]:
        """The value last stated at or before `at`; nothing stated is the empty text."""
        levels = self._indexes.get(derived.name) or self._levels(derived)
        starts, facts, values = levels.get(key_of(derived.by)(fact.data), _NO_LEVELS)
        before = bisect_right(starts, at)
        return (values[before - 1], facts[before - 1]) if before else ("", None)

    def _levels(self, derived: Derived) -> dict[Key, Levels]:
        key, levels = key_of(derived.by), dict[Key, Levels]()

        def learn(fact: Fact) -> None:
            value = getattr(fact.data, derived.take, None)
            if value is not None:
                starts, facts, values = levels.setdefault(key(fact.data), ([], [], []))
                starts.append(fact.start)
                facts.append(fact)
                values.append(str(value))

        index: dict[Key, Levels] = self._indexed("levels", derived, levels, learn)
        self._indexes[derived.name] = index
        return index


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
        found = cell_of(row, keys)
        if found is None:
            raise self._unpriced(table, keys)
        return found

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
        asked = table, at, tuple([key_text(key.value) for key in keys])
        told = self.reading.compiled.told.get(asked)
        if told is None:
            told = self.reading.compiled.told[asked] = tell(found, at, self._cell(found, row, asked[2]))
        return Reason(told[0], told[1], "row", keys, assumed=told[2], source=found.source)


def cell_of(row: Row, keys: tuple[str, ...]) -> tuple[Value, str] | None:
    """What a row has for these keys, with the way to it; None where it has nothing."""
    cell: Any = row
    path = []
    for key in keys:
        chosen = key if isinstance(cell, dict) and key in cell else "default"
        if not isinstance(cell, dict) or chosen not in cell:
            return None
        cell = cell[chosen]
        path.append(chosen)
    return None if isinstance(cell, dict) else (cell, "/".join(path))


def tell(table: Table, since: Instant, cell: tuple[Value, str]) -> tuple[Value, str, bool]:
    """A cell of a table in words, with the day of its row; and whether it is assumed."""
    value, path = cell
    row = "" if len(table.rows) == 1 else f" since {text(since)[:10]}"
    return value, f"{table.name}[{path}]{row}", any(path == mark or path.startswith(f"{mark}/") for mark in table.assumed)


class Counted:
    """What a condition at an instant may read: the measures of a rulebook counted there, and its numbers."""

    __slots__ = ("at", "reading")

    def __init__(self, reading: Reading, at: Instant) -> None:
        self.at = at
        self.reading = reading

    def value(self, name: str) -> Value:
        book = self.reading.book
        if name in book.numbers:
            return book.numbers[name].formula.evaluate(self)
        measure = book.measures[name]
        return counted(measure, [present for present in self.reading.presents(measure) if present.start <= self.at < present.end])

    def lookup(self, table: str, keys: tuple[str, ...]) -> Value:
        return cell_at(self.reading.book.tables[table], self.at, keys)

    def explain(self, name: str) -> Reason:
        raise AssertionError(name)

    def explain_lookup(self, table: str, keys: tuple[Reason, ...]) -> Reason:
        raise AssertionError(table)


def cell_at(table: Table, at: Instant, keys: tuple[str, ...]) -> Value:
    """The cell of a table that no fact chooses; the linter sees to it that there is one."""
    found = cell_of(table.row_at(at)[1], keys)
    assert found is not None
    return found[0]


def counted(measure: Measure, here: Iterable[Present]) -> Fraction:
    """The aggregate over facts that are present together."""
    present = list(here)
    if measure.aggregate == "each":
        return Fraction(sum(bool(holds) for holds in members(measure, present).values()))
    return AGGREGATES[measure.aggregate]([each.key for each in present], [each.value for each in present])


def members(measure: Measure, here: Iterable[Present]) -> dict[Key, bool]:
    """Of an `each`: who is there, and of whom the predicate holds."""
    assert measure.holds is not None
    grouped: dict[Key, list[Present]] = defaultdict(list)
    for present in here:
        grouped[present.key[:-1]].append(present)
    return {who: bool(measure.holds.evaluate(_has(measure, own))) for who, own in grouped.items()}


def _has(measure: Measure, own: Iterable[Present]) -> Held | Summed:
    if not measure.parts:
        return Held({present.key[-1] or "" for present in own})
    sums = [Fraction(0)] * len(measure.parts)
    for present in own:
        sums[int(present.key[-1] or 0)] += present.value
    return Summed({part.name: value for part, value in zip(measure.parts, sums, strict=True)})


AGGREGATES: dict[str, Callable[[list[Key], list[Fraction]], Fraction]] = {
    "sum": lambda keys, values: sum(values, Fraction(0)),
    "count": lambda keys, values: Fraction(len(keys)),
    "distinct": lambda keys, values: Fraction(len(set(keys))),
    "median": lambda keys, values: median(values),
}


def _joined(by: tuple[str, ...], facts: Iterable[Fact]) -> list[Fact]:
    """Facts of one key that follow each other without a gap, as one that begins with the first and ends with the last."""
    key, last, runs = key_of(by), dict[Key, Fact](), list[Fact]()
    for fact in facts:
        if fact.start >= fact.end:
            continue
        run = last.get(key(fact.data))
        if run is None or run.end < fact.start:
            run = last[key(fact.data)] = Fact(fact.kind, fact.key, fact.start, fact.data, fact.event, fact.planned)
            runs.append(run)
            run.end, run.ender = fact.end, fact.ender
        elif run.end < fact.end:
            run.end, run.ender = fact.end, fact.ender
    return runs


def _month(at: Instant, zone: str) -> int:
    day = to_datetime(at, zone)
    return day.year * 12 + day.month - 1


@lru_cache(maxsize=65_536)
def _following(zone: str, month: int, months: int, after: Span | None) -> Instant:
    """The first instant of the month that is one and so many months later, delayed."""
    later = month + 1 + months
    at = wall(zone, later // 12, later % 12 + 1)
    return plus(at, after, zone) if after else at


def _place(fact: Fact) -> tuple[Instant, int]:
    return fact.start, fact.event.position


def _day_of_next_month(at: Instant, day: int, zone: str) -> Instant:
    when = to_datetime(at, zone)
    return wall(zone, when.year + when.month // 12, when.month % 12 + 1, day)


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


def within(presence: Presence) -> Iterator[Presence]:
    """The presence with all that gate it."""
    yield presence
    gates = (*presence.whiles, *presence.ifs)
    for gate in (*gates, *[option for each in gates for option in each.any_of]):
        if gate.presence is not None:
            yield from within(gate.presence)
