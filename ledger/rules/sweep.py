"""The sweep: enterings and leavings in order of time, everything of one instant, then one judgement.

It has no memory: what it tells at an instant follows from the facts present then. Values are integers in units of one over the
common multiple of all denominators, so adding is exact and cheap; fractions are made only where a judgement or an answer needs one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm
from operator import itemgetter

from ledger.errors import Unpriced
from ledger.instants import BEGINNING, FOREVER, Instant
from ledger.rules.book import Book, Measure, Tier
from ledger.rules.compiled import exempted, summed
from ledger.rules.expressions import OPERATIONS, Expression
from ledger.rules.facts import Fact, Key
from ledger.rules.people import Held, Summed, holder
from ledger.rules.presence import AGGREGATES, FactScope, Present, Reading, cell_at, cell_of, tell
from ledger.rules.reasons import Reason, Value, key_text

Values = tuple[int, ...]
_NOBODY = frozenset[str]()


@dataclass(slots=True)
class Performance:
    """What one rulebook makes of a partner while it is in force: at each instant its values and the tiers that are met.

    `instants[i]` is where state i begins; the state holds until the next. `values` are in units of 1/`unit`, one for each
    measure in the rulebook's order; `met[i]` is the highest tier (None: no tier).
    """

    reading: Reading
    since: Instant
    until: Instant
    unit: int = 1
    instants: list[Instant] = field(default_factory=list)
    values: list[Values] = field(default_factory=list)
    met: list[str | None] = field(default_factory=list)
    judged: list[Instant] = field(default_factory=list)
    """`met[i]` holds from `judged[i]`; an award is judged only where something happened on which it rests."""

    touched: list[int] = field(default_factory=list)
    """Which measures moved at each instant, as bits; all at a border. Kept where there are awards."""

    exempt: dict[Instant, frozenset[str]] = field(default_factory=dict)
    first: Instant = FOREVER
    """When the first fact enters."""
    broken: Unpriced | None = None
    broken_at: Instant = FOREVER

    @property
    def book(self) -> Book:
        return self.reading.book

    def presents(self, measure: Measure) -> list[Present]:
        """The stays in a measure that reach into the time of force."""
        return self.reading.within(measure, self.since, self.until)

    def index(self, at: Instant) -> int:
        """The state at an instant; -1 before the first."""
        return bisect_right(self.instants, at) - 1

    def check(self, at: Instant) -> None:
        """Raises Unpriced once a fact that cannot be priced has entered."""
        if self.broken is not None and at >= self.broken_at:
            raise self.broken

    def tier_at(self, at: Instant) -> str | None:
        self.check(at)
        i = bisect_right(self.judged, at) - 1
        return self.met[i] if i >= 0 else self._at_nothing().met[0]

    def turns(self, since: Instant, until: Instant) -> list[Instant]:
        """The instants in [since, until) at which the tier that is met becomes another; the first state is one."""
        i, j = bisect_left(self.judged, since), bisect_left(self.judged, until)
        before = [self.met[i - 1] if i else self, *self.met[i:j]]
        return [at for at, met, was in zip(self.judged[i:j], self.met[i:j], before, strict=False) if met != was]

    def of(self, book: Book) -> Performance:
        """The same states, judged by one award of the rulebook."""
        award = Performance(
            self.reading.of(book), self.since, self.until, self.unit, self.instants, self.values,
            first=self.first, broken=self.broken, broken_at=self.broken_at,
        )  # fmt: skip
        _Judgement(award, _exemptions(award.reading)).again(self.touched)
        return award

    def scope_at(self, at: Instant) -> StateScope:
        self.check(at)
        i = self.index(at)
        if i < 0:
            return StateScope(self, tuple([0] * len(self.book.measures)), at)
        return StateScope(self, self.values[i], at, self._exempt_at(at))

    def _exempt_at(self, at: Instant) -> frozenset[str]:
        return self.exempt.get(self.judged[bisect_right(self.judged, at) - 1], _NOBODY) if self.exempt else _NOBODY

    def _at_nothing(self) -> Performance:
        """Before the first fact: what the rulebook says of nothing at all."""
        nothing = Performance(self.reading, self.since, self.until)
        _Judgement(nothing, []).at(BEGINNING)
        return nothing


class StateScope:
    """What numbers and requirements may read: the values of the measures at one instant."""

    __slots__ = ("_explained", "at", "exempt", "performance", "values")

    def __init__(self, performance: Performance, values: Values, at: Instant, exempt: frozenset[str] = _NOBODY) -> None:
        self.performance = performance
        self.values = values
        self.at = at
        self.exempt = exempt
        self._explained: dict[str, Reason] = {}

    def value(self, name: str) -> Value:
        book = self.performance.book
        if name in book.numbers:
            return book.numbers[name].formula.evaluate(self)
        return Fraction(self.values[self.performance.reading.compiled.places[name]], self.performance.unit)

    def number(self, name: str) -> Fraction:
        value = self.value(name)
        assert not isinstance(value, str)
        return Fraction(value)

    def lookup(self, table: str, keys: tuple[str, ...]) -> Value:
        return cell_at(self.performance.book.tables[table], self.at, keys)

    def with_more(self, more: Mapping[str, Fraction]) -> StateScope:
        return More(self, more) if more else self

    def tier(self) -> str | None:
        """The highest tier that is met."""
        for tier in reversed(self.performance.book.tiers):
            if f"tier {tier.name}" in self.exempt or self.meets(tier):
                return tier.name
        return None

    def meets(self, tier: Tier) -> bool:
        return all(self.meets_one(tier, i) for i in range(len(tier.needs)))

    def meets_one(self, tier: Tier, i: int) -> bool:
        need = tier.needs[i]
        return need.name in self.exempt or bool(need.test.evaluate(self))

    def explain(self, name: str) -> Reason:
        if name not in self._explained:
            self._explained[name] = self._explain(name)
        return self._explained[name]

    def _explain(self, name: str) -> Reason:
        book = self.performance.book
        number = book.numbers.get(name)
        if number is not None:
            inner = number.formula.explain(self)
            return Reason(inner.value, name, "number", (inner,), assumed=number.assumed)
        return explain_measure(self.performance, book.measures[name], self.at)

    def explain_lookup(self, table: str, keys: tuple[Reason, ...]) -> Reason:
        found = self.performance.book.tables[table]
        since, row = found.row_at(self.at)
        cell = cell_of(row, tuple(key_text(key.value) for key in keys))
        assert cell is not None
        value, told, assumed = tell(found, since, cell)
        return Reason(value, told, "row", keys, assumed=assumed, source=found.source)


class More(StateScope):
    """The same instant, with so much more of some measures and numbers."""

    __slots__ = ("_more",)

    def __init__(self, real: StateScope, more: Mapping[str, Fraction]) -> None:
        super().__init__(real.performance, real.values, real.at, real.exempt)
        self._more = more

    def value(self, name: str) -> Value:
        value, more = super().value(name), self._more.get(name)
        return value if more is None or isinstance(value, str) else value + more


def explain_measure(performance: Performance, measure: Measure, at: Instant) -> Reason:
    """The measure at an instant as a tree: its aggregate over the facts that are present, each priced by its own reason."""
    here = [present for present in performance.presents(measure) if present.start <= at < present.end]
    if measure.aggregate == "each":
        return _explain_each(performance.reading, measure, here)
    children = tuple([explain_present(performance.reading, measure, present) for present in here])
    value = AGGREGATES[measure.aggregate]([present.key for present in here], [present.value for present in here])
    if measure.aggregate == "distinct":
        children = tuple(
            Reason(_key_text(present.key), present.fact.kind, "key", (child,)) for present, child in zip(here, children, strict=True)
        )
    return Reason(value, measure.name, measure.aggregate, children, assumed=measure.assumed, source=measure.source)


def _explain_each(reading: Reading, measure: Measure, here: list[Present]) -> Reason:
    """Each member with its predicate, and the facts that it rests on."""
    assert measure.holds is not None
    members: dict[Key, Held | Summed] = _summed_members(reading, measure, here) if measure.parts else _held_members(reading, measure, here)
    children = []
    for key, has in members.items():
        held = measure.holds.explain(has)
        children.append(Reason(held.value, _key_text(key), "as", (held,)))
    value = OPERATIONS["each"](*[child.value for child in children])
    return Reason(value, measure.name, "each", tuple(children), assumed=measure.assumed, source=measure.source)


def _held_members(reading: Reading, measure: Measure, here: list[Present]) -> dict[Key, Held | Summed]:
    members: dict[Key, dict[str, Reason]] = {}
    for present in here:
        members.setdefault(present.key[:-1], {}).setdefault(present.key[-1] or "", explain_present(reading, measure, present))
    return {key: Held(facts, facts) for key, facts in members.items()}


def _summed_members(reading: Reading, measure: Measure, here: list[Present]) -> dict[Key, Held | Summed]:
    members: dict[Key, list[list[Reason]]] = {}
    for present in here:
        place = int(present.key[-1] or 0)
        sums = members.setdefault(present.key[:-1], [[] for _ in measure.parts])
        sums[place].append(explain_present(reading, measure.parts[place], present))
    found: dict[Key, Held | Summed] = {}
    for key, sums in members.items():
        named = {part.name: tuple(facts) for part, facts in zip(measure.parts, sums, strict=True)}
        totals = {name: OPERATIONS["sum"](*[fact.value for fact in facts]) for name, facts in named.items()}
        reasons = {name: Reason(totals[name], name, "sum", facts) for name, facts in named.items()}
        found[key] = Summed({name: Fraction(total) for name, total in totals.items()}, reasons)
    return found


def _key_text(key: Key) -> str:
    return " / ".join(part or "" for part in key)


def explain_present(reading: Reading, measure: Measure, present: Present) -> Reason:
    """One fact's share: its value times what the tables say, or points that it states outright."""
    fact, event = present.fact, present.fact.event
    at = present.start if measure.on_now else fact.start
    parts: tuple[Reason, ...] = ()
    value: Value = present.value
    if fact.kind == measure.presence.of and measure.value is not None:
        scope = FactScope(reading, fact, at)
        parts = (measure.value.explain(scope), *([measure.times.explain(scope)] if measure.times else []))
    op = {0: "fact", 1: "as", 2: "*"}[len(parts)]
    return Reason(
        value, f"{event.event.kind} {event.event.source} {event.event.id}", op, parts,
        position=event.position, effective_at=present.start, until=present.end,
    )  # fmt: skip


class _Distinct:
    __slots__ = ("keys", "total", "unit")

    def __init__(self, unit: int) -> None:
        self.keys: dict[Key, int] = {}
        self.unit = unit
        self.total = 0

    def move(self, way: int, worth: int, key: Key) -> None:
        count = self.keys.get(key, 0) + way
        if count:
            self.keys[key] = count
        else:
            del self.keys[key]
        self.total = len(self.keys) * self.unit


class _Each:
    """Members of which a predicate over their codes holds; the last part of a key is the code."""

    __slots__ = ("held", "holds", "members", "total", "unit")

    def __init__(self, holds: Expression, unit: int) -> None:
        self.held: dict[Key, dict[str, int]] = {}
        self.members: set[Key] = set()
        self.holds = holder(holds)
        self.unit = unit
        self.total = 0

    def move(self, way: int, worth: int, key: Key) -> None:
        who, code = key[:-1], key[-1] or ""
        codes = self.held.setdefault(who, {})
        before = codes.get(code, 0)
        if before and before + way:
            codes[code] = before + way
            return
        if before:
            del codes[code]
        else:
            codes[code] = way
        if self.holds(codes):
            self.members.add(who)
        else:
            self.members.discard(who)
        self.total = self.unit * len(self.members)


class _Sums:
    """Members of which a predicate over their sums holds; the last part of a key says which sum."""

    __slots__ = ("holds", "members", "sums", "total", "unit", "width")

    def __init__(self, measure: Measure, unit: int) -> None:
        assert measure.holds is not None
        self.sums: dict[Key, list[int]] = {}
        self.members: set[Key] = set()
        self.holds = summed(measure.holds, tuple([part.name for part in measure.parts]))
        self.width = len(measure.parts)
        self.unit = unit
        self.total = 0

    def move(self, way: int, worth: int, key: Key) -> None:
        who = key[:-1]
        sums = self.sums.get(who)
        if sums is None:
            sums = self.sums[who] = [0] * self.width
        sums[int(key[-1] or 0)] += worth
        if self.holds(sums, self.unit):
            self.members.add(who)
        else:
            self.members.discard(who)
        self.total = self.unit * len(self.members)


class _Median:
    """Holds twice the unit's grain: the mean of two middle values stays an integer because the unit is even."""

    __slots__ = ("ordered", "total")

    def __init__(self) -> None:
        self.ordered: list[int] = []
        self.total = 0

    def move(self, way: int, worth: int, key: Key) -> None:
        if way > 0:
            insort(self.ordered, worth)
        else:
            del self.ordered[bisect_left(self.ordered, -worth)]
        n = len(self.ordered)
        half = n // 2
        if not n:
            self.total = 0
        else:
            self.total = self.ordered[half] if n % 2 else (self.ordered[half - 1] + self.ordered[half]) // 2


_State = _Distinct | _Each | _Sums | _Median
_Move = tuple[Instant, int, int, int, Key]  # at, measure, way, worth with its sign, key


def sweep(reading: Reading, since: Instant = BEGINNING, until: Instant = FOREVER) -> Performance:
    """Judge a partner by one rulebook at every instant of [since, until) at which anything changes."""
    performance = Performance(reading, since, until)
    stays = [
        [p for p in performance.presents(measure) if p.end > since and p.start < until and p.start < p.end]
        for measure in reading.book.measures.values()
    ]
    performance.first = min([present.start for stay in stays for present in stay], default=FOREVER)
    performance.unit = 2 * lcm(*{present.denominator for stay in stays for present in stay})  # halves, for a median
    for present in [present for stay in stays for present in stay if present.error is not None]:
        if present.start < performance.broken_at:
            performance.broken, performance.broken_at = present.error, max(present.start, since)
    judgement = _Judgement(performance, _exemptions(reading))
    judgement.states = [judgement.aggregate(measure) for measure in reading.book.measures.values()]
    judgement.run([move for i, stay in enumerate(stays) for move in judgement.moves(i, stay)])
    return performance


_at = itemgetter(0)


def _exemptions(reading: Reading) -> list[Fact]:
    """Overrides that meet a requirement while they last, and tiers that the rulebook lets act on performance."""
    tiers_too = reading.book.acts_on["tier"] == "performance"
    found = [fact for fact in reading.facts.of("override") if fact.data.requirement or (tiers_too and fact.data.tier)]
    return [fact for fact in found if reading.covers(fact)]


class _Judgement:
    """The states of the measures, and the tiers that they meet."""

    def __init__(self, performance: Performance, exemptions: Iterable[Fact]) -> None:
        self.performance = performance
        self.book = performance.book
        self.judge = performance.reading.compiled.judge
        self.totals = [0] * len(self.book.measures)
        self.states: list[_State | None] = []
        self.exemptions = [fact for fact in exemptions if fact.start < fact.end]
        self.unit = performance.unit
        self.state: Values = ()
        self.instants, self.values, self.met = performance.instants, performance.values, performance.met
        self.judged = performance.judged

    def aggregate(self, measure: Measure) -> _State | None:
        """None: a sum, and the worth of a counted fact is one."""
        match measure.aggregate:
            case "distinct":
                return _Distinct(self.performance.unit)
            case "median":
                return _Median()
            case "each":
                assert measure.holds is not None
                return _Sums(measure, self.performance.unit) if measure.parts else _Each(measure.holds, self.performance.unit)
            case _:
                return None

    def moves(self, i: int, stay: Iterable[Present]) -> list[_Move]:
        """The enterings and leavings of a measure; what is there when the time of force begins is there already."""
        unit, until = self.performance.unit, self.performance.until
        since = self.performance.since if self.performance.since > BEGINNING else BEGINNING - 1
        moves: list[_Move] = []
        for present in stay:
            worth, start, end = present.numerator * (unit // present.denominator), present.start, present.end
            if start > since:
                moves.append((start, i, 1, worth, present.key))
            else:
                self.move(i, 1, worth, present.key)
            if end < until:
                moves.append((end, i, -1, -worth, present.key))
        return moves

    def move(self, i: int, way: int, worth: int, key: Key) -> None:
        state = self.states[i]
        if state is None:
            self.totals[i] += worth
        elif way:
            state.move(way, worth, key)
            self.totals[i] = state.total

    def run(self, moves: list[_Move]) -> None:
        """Everything of one instant, then one judgement."""
        moves += [(at, 0, 0, 0, ()) for at in self._borders()]
        moves.sort(key=_at)
        if self.book.awards:
            self._note(moves)
        if not moves:
            return
        now, totals, states, step = moves[0][0], self.totals, self.states, self._step()
        for at, i, way, worth, key in moves:
            if at != now:
                step(now)
                now = at
            if not way:
                continue
            if states[i] is None:
                totals[i] += worth
            else:
                self.move(i, way, worth, key)
        step(now)

    def _step(self) -> Callable[[Instant], None]:
        """`at`, written out for the ordinary case: no overrides, and all states are judged."""
        if self.exemptions:
            return self.at
        performance = self.performance
        performance.judged = self.judged = performance.instants
        totals, judge, unit, slow = self.totals, self.judge, self.unit, self._slow
        began, became, met = performance.instants.append, performance.values.append, performance.met.append

        def step(at: Instant) -> None:
            self.state = values = tuple(totals)
            began(at)
            became(values)
            met(judge(values, unit, slow))

        return step

    def _note(self, moves: list[_Move]) -> None:
        """Which measures move at each instant."""
        touched: dict[Instant, int] = {}
        for at, i, way, _, _ in moves:
            touched[at] = touched.get(at, 0) | (1 << i if way else -1)
        self.performance.touched += touched.values()

    def again(self, touched: list[int]) -> None:
        """Judge the states of a rulebook by one of its awards: where nothing moved on which it rests, nothing changes."""
        touches = self.performance.reading.compiled.touches
        if not self.book.tiers:
            return
        for i, bits in enumerate(touched):
            if bits < 0 or bits & touches:  # at a border, or where an override begins or ends, all is judged
                self._judge(self.instants[i], self.values[i])

    def _borders(self) -> list[Instant]:
        """Instants at which the judgement may change though no measure does."""
        performance = self.performance
        edges = performance.reading.compiled.dated | {at for fact in self.exemptions for at in (fact.start, fact.end)}
        inside = {at for at in edges if performance.since < at < performance.until and at < FOREVER}
        if performance.since > BEGINNING:
            inside.add(performance.since)
        return sorted(inside)

    def at(self, at: Instant) -> None:
        values = tuple(self.totals)
        self.instants.append(at)
        self.values.append(values)
        self._judge(at, values)

    def _judge(self, at: Instant, values: Values) -> None:
        self.judged.append(at)
        self.state, judge = values, self.judge
        if self.exemptions and (exempt := self._exempt(at)):
            self.performance.exempt[at] = exempt
            judge = exempted(self.book, exempt)
        self.met.append(judge(values, self.unit, self._slow))

    def _slow(self, tier: int, requirement: int) -> bool:
        """A requirement that is not linear, of the state that is judged."""
        scope = StateScope(self.performance, self.state, self.judged[-1])
        return scope.meets_one(self.book.tiers[tier], requirement)

    def _exempt(self, at: Instant) -> frozenset[str]:
        """The names of the requirements that an override meets now; a tier's override meets all of that tier's and below."""
        names = set[str]()
        for fact in self.exemptions:
            if fact.start <= at < fact.end:
                if fact.data.requirement:
                    names.add(fact.data.requirement)
                else:
                    names.add(f"tier {fact.data.tier}")
        return frozenset(names)
