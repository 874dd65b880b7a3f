"""What counts in a measure at an instant, what does not, and why not: every fact of the kind, one by one. It decides nothing.

The measures say what counts; here each fact that is not among it is held against the parts of the measure, in the order in which they
are asked: was it reversed, has it begun, does its condition hold, has it ended, has its time run out, is what it needs beside it there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cached_property

from ledger.errors import NotFound
from ledger.instants import Instant, day_text
from ledger.rules.answers import Considered, MeasureCount, RequirementCount
from ledger.rules.book import Book, Gate, Measure, Presence, Requirement, Tier
from ledger.rules.breakdown import reversed_positions, with_reversed
from ledger.rules.compiled import key_of
from ledger.rules.expressions import Expression
from ledger.rules.facts import FACTS, Fact, Key
from ledger.rules.life import Life
from ledger.rules.people import Held, Summed, teams
from ledger.rules.presence import FactScope, Present, Reading
from ledger.rules.risk import about, sides
from ledger.rules.sweep import StateScope

COUNTS, REVERSED, LATER, CONDITION, ENDED, REPLACED, RUN_OUT, BESIDE, NOT_NAMED, NOT_ENOUGH, TWICE, USED, NOTHING = (
    "counts", "reversed", "not_yet", "condition", "ended", "replaced", "run_out", "not_beside", "not_named", "not_enough", "counted_once",
    "used_elsewhere", "nothing_held",
)  # fmt: skip

Why = tuple[str, str]
"""A code, and the same in words."""


def counted(life: Life, at: Instant, name: str) -> RequirementCount:
    """A measure, or a number with the measures on which it rests, each with every fact that it looks at. Raises NotFound."""
    scope, book = life.scope(at), life.book(at)
    if name not in book.measures and name not in book.numbers:
        known = ", ".join([*book.measures, *book.numbers]) or "none"
        raise NotFound(f"{book.name} has no measure or number {name!r}", hint=f"it has {known}", code="unknown_number")
    own = [name] if name in book.measures else []
    measures = tuple(_measure(life, scope, book.measures[each]) for each in dict.fromkeys([*own, *book.rests_on([name])]))
    return RequirementCount(life.award, "", "", name, scope.number(name), None, None, False, measures)


def counted_for(life: Life, at: Instant, tiers: Iterable[Tier]) -> list[RequirementCount]:
    """Each requirement of some tiers with what counts for it."""
    scope, book = life.scope(at), life.book(at)
    known: dict[str, MeasureCount] = {}
    found = []
    for tier in tiers:
        for i, need in enumerate(tier.needs):
            value, threshold = sides(scope, need)
            for name in _measures_of(need, book):
                if name not in known:
                    known[name] = _measure(life, scope, book.measures[name])
            measures = tuple(_used_once(need, [known[name] for name in _measures_of(need, book)], life, scope))
            found.append(
                RequirementCount(
                    life.award,
                    tier.name,
                    tier.option,
                    need.test.text,
                    value,
                    threshold,
                    scope.meets_one(tier, i),
                    need.name in scope.exempt,
                    measures,
                )
            )
    return found


def _measures_of(need: Requirement, book: Book) -> list[str]:
    """Those on which it rests; of a team the roles alone, and not their unions."""
    roles = {f"{group}.{role}" for group, roles in teams(need.test.text) for _, role in roles}
    names = book.rests_on(need.test.names)
    groups = {role.partition(".")[0] for role in roles}
    return [name for name in names if name.partition(".")[0] not in groups or name in roles]


# -- one measure -----------------------------------------------------------------------------------------------------


def _measure(life: Life, scope: StateScope, measure: Measure) -> MeasureCount:
    reading, at = scope.performance.reading, scope.at
    counting = _Summing(reading, measure, at) if measure.parts else _Counting(reading, measure, at)
    rows = [*counting.rows(), *_reversed(life, reading, measure)]
    rows.sort(key=lambda row: (not row.counts, row.code == CONDITION, row.key, row.position))
    return MeasureCount(measure.name, scope.number(measure.name), measure.unit, tuple(rows))


class _Counting:
    """One measure at one instant."""

    def __init__(self, reading: Reading, measure: Measure, at: Instant) -> None:
        self.reading = reading
        self.measure = measure
        self.at = at
        self.zone = reading.book.zone
        self.here = [present for present in reading.presents(measure) if present.start <= at < present.end]
        self.held = self._members()

    def _members(self) -> dict[Key, set[str]]:
        """What each member holds, where members are counted."""
        held: dict[Key, set[str]] = {}
        for present in self.here if self.measure.holds is not None else ():
            held.setdefault(present.key[:-1], set()).add(present.key[-1] or "")
        return held

    def rows(self) -> Iterator[Considered]:
        there = {present.fact.event.position for present in self.here}
        seen: dict[Key, Fact] = {}
        for present in self.here:
            yield self._row(present.fact, self._among(present, seen), present)
        for fact in self._others():
            if fact.event.position not in there:
                yield self._row(fact, self._why_not(fact), None)
        yield from self._with_nothing()

    def _others(self) -> list[Fact]:
        """Every fact of the kind, and what was stated outright for this measure."""
        stated = {id(p.fact): p.fact for p in self.reading.presents(self.measure) if p.fact.kind != self.measure.presence.of}
        if self.measure.reached is not None:
            return list({id(present.fact): present.fact for present in self.reading.presents(self.measure)}.values())
        return [*self.reading.facts.of(self.measure.presence.of), *stated.values()]

    def _row(self, fact: Fact, why: Why, present: Present | None) -> Considered:
        code, because = why
        return Considered(
            fact.event.position, fact.kind, what(fact), _key(self.measure, fact), code == COUNTS,
            present.value if present is not None else None, present.start if present is not None else fact.start,
            present.end if present is not None else fact.end, code, because,
        )  # fmt: skip

    def _among(self, present: Present, seen: dict[Key, Fact]) -> Why:
        """What is there counts, but for the same again, and for what does not make its member one."""
        holds = self.measure.holds
        if holds is not None:
            held = self.held[present.key[:-1]]
            if holds.evaluate(Held(held)):
                return COUNTS, ""
            return NOT_ENOUGH, f"needs {holds.text}; holds {', '.join(sorted(held))}"
        if self.measure.aggregate == "distinct" and self.measure.reached is None:
            first = seen.setdefault(present.key, present.fact)
            if first is not present.fact:
                return TWICE, f"the same is counted by position {first.event.position}"
        return COUNTS, ""

    # -- why not ---------------------------------------------------------------------------------------------------

    def _why_not(self, fact: Fact) -> Why:
        if self.measure.reached is not None or fact.kind != self.measure.presence.of:
            return self._in_time(fact, [(p.start, p.end) for p in self.reading.presents(self.measure) if p.fact is fact], self.at)
        if self.measure.as_at:
            return self._then(fact)
        return self._at(fact, self.at)

    def _then(self, fact: Fact) -> Why:
        """As it was on the day."""
        days = [at for each in self.measure.as_at for at in ([each] if isinstance(each, int) else _starts(self.reading, each))]
        last = max([day for day in days if day <= self.at], default=None)
        if last is None:
            return LATER, "its day has not come"
        code, because = self._at(fact, last)
        return code, f"on {self._day(last)}: {because}"

    def _at(self, fact: Fact, at: Instant) -> Why:
        presence, codes = self.measure.presence, self.measure.codes
        if codes and (code := str(fact.get(self.measure.key[-1]))) not in codes:
            return NOT_NAMED, f"{code} is not named"
        if presence.where is not None and not presence.where.evaluate(FactScope(self.reading, fact, fact.start)):
            return CONDITION, self._condition(presence.where, fact)
        if fact.start > at:
            return LATER, f"begins on {self._day(fact.start)}"
        if presence.joined and (first := self._joined_to(fact)) is not None:
            return TWICE, f"goes on what began with position {first.event.position}"
        if fact.end <= at and presence.after is None:
            return self._ended(fact)
        free = self._free.get(id(fact), [])
        if any(start <= at < end for start, end in free):
            return BESIDE, self._beside(fact, presence, free[0][0], at)
        return self._in_time(fact, free, at)

    @cached_property
    def _free(self) -> dict[int, list[tuple[Instant, Instant]]]:
        """When each fact would count if nothing had to be there beside it."""
        alone = replace(self.measure.presence, whiles=(), ifs=(), given=())
        free: dict[int, list[tuple[Instant, Instant]]] = {}
        for fact, start, end in self.reading.stays_alone(alone):
            free.setdefault(id(fact), []).append((start, end))
        return free

    def _joined_to(self, fact: Fact) -> Fact | None:
        """The fact of the same key that another one goes on without a gap, from the first on."""
        key = key_of(self.measure.presence.joined)
        for run, _, _ in self.reading.stays_alone(replace(self.measure.presence, span=None, whiles=(), ifs=(), given=())):
            if key(run.data) == key(fact.data) and run.start < fact.start < run.end:
                return run
        return None

    def _in_time(self, fact: Fact, stays: list[tuple[Instant, Instant]], at: Instant) -> Why:
        coming = [start for start, end in stays if at < start < end]
        if coming:
            return LATER, f"counts from {self._day(min(coming))} on"
        presence = self.measure.presence
        if presence.until is not None and all(start >= end for start, end in stays):
            return RUN_OUT, "what it takes back had left before"
        last = max([end for _, end in stays], default=fact.start)
        if fact.end == last:
            return self._ended(fact)
        why = f", {presence.span} long" if presence.span is not None else ", as what it takes back" if presence.until is not None else ""
        return RUN_OUT, f"counted until {self._day(last)}{why}"

    def _ended(self, fact: Fact) -> Why:
        ender, day = fact.ender, self._day(fact.end)
        if ender is None:
            return ENDED, f"expired on {day}"
        if ender.event.kind == fact.event.event.kind:
            return REPLACED, f"stated anew on {day} by position {ender.position}"
        return ENDED, f"ended on {day} by {ender.event.kind} (position {ender.position})"

    def _condition(self, where: Expression, fact: Fact) -> str:
        """The first of its conditions that does not hold, with what is there."""
        scope = FactScope(self.reading, fact, fact.start)
        failing = next((part for part in where.conditions() if not part.evaluate(scope)), where)
        there = [f"{name} is {_shown(scope.value(name))}" for name in sorted(failing.names)]
        return f"{failing.text} does not hold{': ' if there else ''}{', '.join(there)}"

    def _beside(self, fact: Fact, presence: Presence, start: Instant, at: Instant) -> str:
        """The first of what has to be there beside it that is not."""
        for gate in presence.ifs:
            if not any(begin <= start < end for begin, end in self.reading.open_for(gate, fact)):
                return f"there was no {_named(gate, fact)} when it began, on {self._day(start)}"
        for condition in presence.given:
            if not self.reading.holds_at(condition, start):
                return f"{condition.text} did not hold when it began to count, on {self._day(start)}"
        for gate in presence.whiles:
            options = [(option, self.reading.open_for(option, fact)) for option in gate.any_of or (gate,)]
            if any(begin <= at < end for _, stays in options for begin, end in stays):
                continue
            ended = max([(end, i) for i, (_, stays) in enumerate(options) for _, end in stays if end <= at], default=None)
            begins = min([begin for _, stays in options for begin, _ in stays if begin > at], default=None)
            if ended is not None:
                return f"{_named(options[ended[1]][0], fact)} ended on {self._day(ended[0])}"
            return f"there is no {_named(gate, fact)}" + (f" before {self._day(begins)}" if begins is not None else "")
        return "what it needs beside it is not there"

    def _with_nothing(self) -> Iterator[Considered]:
        """Who is there beside it and has no fact of the kind at all."""
        if self.measure.is_of_earlier:
            return
        presence, told = self.measure.presence, set[Key]()
        for option in [option for gate in presence.whiles for option in gate.any_of or (gate,)]:
            key = key_of(option.by)
            told |= {key(fact.data) for fact in self.reading.facts.of(presence.of)}
            for fact, start, end in self.reading.stays(option.presence) if option.presence is not None else ():
                if start <= self.at < end and key(fact.data) not in told:
                    told.add(key(fact.data))
                    yield self._row(fact, (NOTHING, f"has no {presence.of}"), None)

    def _day(self, at: Instant) -> str:
        return day_text(at, self.zone)


class _Summing(_Counting):
    """A measure that counts members by sums: each fact by the member for whom it is added up, and by what that comes to."""

    def _members(self) -> dict[Key, set[str]]:
        return {}

    def rows(self) -> Iterator[Considered]:
        told: set[int] = set()
        for present in self.here:
            if present.fact.event.position not in told:
                told.add(present.fact.event.position)
                yield self._row(present.fact, self._of_member(present.key[:-1]), present)
        for fact in {id(fact): fact for part in self.measure.parts for fact in self.reading.facts.of(part.presence.of)}.values():
            if fact.event.position not in told:
                yield self._row(fact, self._in_no_sum(fact), None)

    def _of_member(self, member: Key) -> Why:
        assert self.measure.holds is not None
        own = [present for present in self.here if present.key[:-1] == member]
        sums = {part.name: sum((p.value for p in own if p.key[-1] == str(i)), Fraction(0)) for i, part in enumerate(self.measure.parts)}
        if self.measure.holds.evaluate(Summed(sums)):
            return COUNTS, ""
        there = ", ".join(f"{name} is {sums[name]}" for name in sorted(self.measure.holds.names))
        return NOT_ENOUGH, f"needs {self.measure.holds.text}: {there}"

    def _in_no_sum(self, fact: Fact) -> Why:
        """Why it is in none of the sums: of the one that comes nearest to it."""
        order = (CONDITION, NOT_NAMED, LATER, RUN_OUT, ENDED, REPLACED, BESIDE, TWICE)
        parts = [replace(part, name=self.measure.name) for part in self.measure.parts if part.presence.of == fact.kind]
        found = [_Part(self.reading, part, self.at).why_not(fact) for part in parts]
        return max(found, key=lambda why: order.index(why[0]))


class _Part(_Counting):
    """One of the sums, by itself."""

    def __init__(self, reading: Reading, measure: Measure, at: Instant) -> None:
        self.reading, self.measure, self.at, self.zone = reading, measure, at, reading.book.zone

    def why_not(self, fact: Fact) -> Why:
        return self._at(fact, self.at)


def _starts(reading: Reading, kind: str) -> list[Instant]:
    return [fact.start for fact in reading.facts.of(kind)]


def _reversed(life: Life, reading: Reading, measure: Measure) -> Iterator[Considered]:
    """What would be of the kind, had it not been reversed."""
    gone = reversed_positions(life.events)
    if not gone or measure.reached is not None:
        return
    for fact in with_reversed(life.events).of(measure.presence.of):
        if fact.event.position in gone:
            yield Considered(
                fact.event.position, fact.kind, what(fact), _key(measure, fact), False, None, fact.start, fact.end, REVERSED, "was reversed"
            )


def _key(measure: Measure, fact: Fact) -> str:
    """Who or what is counted: the member, what is told apart, else the person or the client."""
    if measure.reached is None and (measure.holds is not None or measure.key):
        names = measure.key[:-1] if measure.holds is not None and not measure.parts else measure.key
    else:
        names = ("person",) if "person" in FACTS[fact.kind].fields else ("client",)
    return " ".join(str(value) for name in names if (value := getattr(fact.data, name, None)) is not None)


def what(fact: Fact) -> str:
    """A fact in its own codes."""
    more = [str(value) for name in ("area", "service", "workload") if (value := getattr(fact.data, name, None)) is not None]
    return " ".join([text for text in (about(fact.data), *more) if text])


def _named(gate: Gate, fact: Fact) -> str:
    """`client C-1`, `link of A`; of several the first that would do."""
    option = (gate.any_of or (gate,))[0]
    if option.presence is None:
        return _named(option, fact)
    key = " ".join(str(getattr(fact.data, name, None) or "nobody") for name in option.by)
    return f"{option.presence.of}{'' if option.by == (option.presence.of,) else ' of' if key else ''} {key}".strip()


def _shown(value: Fraction | bool | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value}" if value != "" else "not stated"


# -- who is used for which role ------------------------------------------------------------------------------------------


def _used_once(need: Requirement, measures: list[MeasureCount], life: Life, scope: StateScope) -> list[MeasureCount]:
    """In a team nobody is counted twice: who is needed for one role is used there and not in the others."""
    for group, roles in teams(need.test.text):
        wanted = {f"{group}.{role}": n for n, role in roles}
        able = {m.measure: sorted({row.key for row in m.rows if row.counts}) for m in measures if m.measure in wanted}
        chosen = _assigned(wanted, able)
        measures = [_in_role(m, chosen) if m.measure in wanted else m for m in measures]
    return measures


def _in_role(measure: MeasureCount, chosen: dict[str, str]) -> MeasureCount:
    rows = []
    for row in measure.rows:
        role = chosen.get(row.key, measure.measure)
        if row.counts and role != measure.measure:
            row = replace(row, counts=False, code=USED, because=f"counts already as {role.partition('.')[2]}")
        rows.append(row)
    return replace(measure, rows=tuple(rows))


def _assigned(wanted: dict[str, int], able: dict[str, list[str]]) -> dict[str, str]:
    """Each person's role, so that as many places as possible are taken: along augmenting paths."""
    filled: dict[str, list[str]] = {role: [] for role in wanted}

    def seated(person: str, tried: set[str]) -> bool:
        for role in [role for role in wanted if person in able[role] and role not in tried]:
            tried.add(role)
            if len(filled[role]) < wanted[role]:
                filled[role].append(person)
                return True
            gives_way = next((other for other in list(filled[role]) if seated(other, tried)), None)
            if gives_way is not None:
                filled[role].remove(gives_way)
                filled[role].append(person)
                return True
        return False

    for person in sorted({person for people in able.values() for person in people}):
        seated(person, set())
    return {person: role for role, people in filled.items() for person in people}


__all__ = ["counted", "counted_for"]
