"""What a rulebook asks of facts and of states, turned once into plain functions.

A rulebook is read once and asked millions of times. Simple conditions about a fact, the names that a price depends on and the
requirements of the tiers become Python functions here; whatever is not simple stays with its expression, which says the same.
"""

from __future__ import annotations

import ast
from bisect import bisect_right
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ledger.instants import Instant
from ledger.rules.arithmetic import Writer
from ledger.rules.book import Book, Derived, Gate, Measure, Presence
from ledger.rules.expressions import Expression
from ledger.rules.facts import FACTS, FLAG, NUMBER, Fact, Key
from ledger.rules.people import Summed
from ledger.rules.reasons import Value

if TYPE_CHECKING:
    from ledger.rules.presence import Reading

Worth = tuple[int, int]
Condition = Callable[[Any], bool]
Asked = Callable[["Reading", Fact, Any, Instant], tuple[object, ...]]
Slow = Callable[[int, int], bool]
Judge = Callable[[tuple[int, ...], int, Slow], str | None]
Signature = tuple[object, ...]
Summing = Callable[[list[int], int], bool]

FACTORS_MAX = 50_000


class Compiled:
    """One rulebook's functions."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.judge = _judge(book)
        self.places = {name: place for place, name in enumerate(book.measures)}
        self.judged = frozenset(book.rests_on([name for tier in book.tiers for need in tier.needs for name in need.test.names]))
        """The measures on which the tiers rest."""

        self.touches = sum(1 << place for name, place in self.places.items() if name in self.judged)
        self.dated = frozenset(at for name in _tables_judged(book) for at, _ in book.tables[name].rows)
        """When a row changes of a table that a requirement reads, itself or by a number."""

        self.factors: dict[tuple[object, ...], Worth] = {}
        """What `times` gives for the values and rows that it reads: the same for all partners."""
        self.told: dict[tuple[str, Instant, tuple[str, ...]], tuple[Value, str, bool]] = {}
        """Cells of tables as reasons tell them: the value, its place, and whether it is assumed."""
        self._signatures: dict[int, Signature] = {}
        self._asked: dict[str, Asked] = {}
        self._changes: dict[str, tuple[list[Instant], list[Derived]]] = {}

    def signature(self, presence: Presence) -> Signature:
        """Equal for presences that say the same, in whatever rulebook, so that their stays are found once."""
        known = self._signatures.get(id(presence))
        if known is None:
            known = self._signatures[id(presence)] = self._sign(presence)
        return known

    def _sign(self, presence: Presence) -> Signature:
        whiles, ifs = (tuple([self._sign_gate(gate) for gate in gates]) for gates in (presence.whiles, presence.ifs))
        until = self.derived_signature(presence.until) if presence.until else ()
        return (
            presence.of, self._sign_expression(presence.where), presence.span, presence.to_day, presence.after, whiles, ifs,
            presence.hold, until, presence.calendar, presence.joined, self._sign_given(presence),
        )  # fmt: skip

    def _sign_given(self, presence: Presence) -> Signature:
        """What asks for measures asks for those of its own rulebook."""
        return (*[given.text for given in presence.given], self.book.hash) if presence.given else ()

    def _sign_gate(self, gate: Gate) -> Signature:
        if gate.presence is None:
            return tuple([self._sign_gate(option) for option in gate.any_of])
        return gate.by, self.signature(gate.presence)

    def derived_signature(self, name: str) -> Signature:
        derived = self.book.derived[name]
        where, when = self._sign_expression(derived.where), self._sign_expression(derived.when)
        return derived.how, derived.of, derived.take, derived.by, where, when, derived.stated

    def _sign_expression(self, expression: Expression | None) -> Signature:
        """What reads tables or derived values may read others of the same name elsewhere."""
        if expression is None:
            return ()
        alone = not expression.tables and not expression.names & self.book.derived.keys()
        return (expression.text,) if alone else (expression.text, self.book.hash)

    def changes(self, measure: Measure) -> tuple[list[Instant], list[Derived]]:
        """What changes the worth of a measure that is read `on: now`: the dates of its tables' rows, and levels."""
        known = self._changes.get(measure.name)
        if known is None:
            parts = [part for part in (measure.value, measure.times) if part is not None]
            tables = [self.book.tables[name] for part in parts for name in part.tables]
            derived = [self.book.derived[name] for part in parts for name in part.names if name in self.book.derived]
            rows = [at for table in tables if table.on is None for at, _ in table.rows[1:]]
            known = self._changes[measure.name] = rows, [each for each in derived if each.how == "value"]
        return known

    def asked(self, measure: Measure) -> Asked:
        """The values and rows on which the measure's `times` depends, as a key."""
        known = self._asked.get(measure.name)
        if known is None:
            known = self._asked[measure.name] = _asked(self.book, measure)
        return known


@lru_cache(maxsize=256)
def compiled(book: Book) -> Compiled:
    return Compiled(book)


def _tables_judged(book: Book) -> set[str]:
    tests = [need.test for tier in book.all_tiers() for need in tier.needs]
    found, seen = set[str](), set[str]()
    while tests:
        test = tests.pop()
        found |= test.tables
        tests += [book.numbers[name].formula for name in test.names - seen if name in book.numbers]
        seen |= test.names
    return found & book.tables.keys()


# -- conditions about one fact ---------------------------------------------------------------------------------------


@lru_cache(maxsize=10_000)
def condition(expression: Expression, kind: str) -> Condition | None:
    """The condition as a function of a fact's data, where it compares nothing but fields with constants."""
    env: dict[str, Any] = {"Decimal": Decimal}
    source = _condition(expression.tree, expression, FACTS[kind].fields, env)
    return None if source is None else _made(f"lambda data: {source}", env)


def _made(source: str, env: dict[str, Any]) -> Any:
    """Our own text: names are checked fields, constants are handed over by reference."""
    return eval(source, env)


def _condition(tree: ast.expr, whole: Expression, fields: dict[str, str], env: dict[str, Any]) -> str | None:
    match tree:
        case ast.BoolOp(op=op, values=values):
            parts = [_condition(value, whole, fields, env) for value in values]
            word = " and " if isinstance(op, ast.And) else " or "
            return None if None in parts else f"({word.join(part for part in parts if part)})"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            part = _condition(operand, whole, fields, env)
            return None if part is None else f"(not {part})"
        case ast.Compare(left=ast.Name(id=name), ops=[op], comparators=[ast.Constant() as constant]) if type(op) in _SIGNS:
            return _compared(name, _SIGNS[type(op)], [constant], whole, fields, env)
        case ast.Compare(left=ast.Name(id=name), ops=[ast.In() | ast.NotIn() as op], comparators=[ast.Tuple() | ast.List() as row]):
            sign = "in" if isinstance(op, ast.In) else "not in"
            return _compared(name, sign, row.elts, whole, fields, env)
    return None


_SIGNS: dict[type[ast.cmpop], str] = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


def _compared(
    name: str, sign: str, constants: list[Any], whole: Expression, fields: dict[str, str], env: dict[str, Any]
) -> str | None:  # fmt: skip
    kind = fields.get(name)
    if kind is None or not all(isinstance(each, ast.Constant) and _fits(kind, each.value) for each in constants):
        return None
    handed = f"c{len(env)}"
    if kind == NUMBER:
        exact = [_decimal(whole, each) for each in constants]
        env[handed] = exact[0] if sign in _SIGNS.values() else tuple(exact)
        return f"(Decimal(data.{name} or 0) {sign} {handed})"
    values = [each.value for each in constants]
    env[handed] = values[0] if sign in _SIGNS.values() else tuple(values)
    nothing = f'("" if data.{name} is None else data.{name})'
    return f"({nothing} {sign} {handed})"


def _fits(kind: str, value: object) -> bool:
    if kind == NUMBER:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, bool if kind == FLAG else str)


def _decimal(whole: Expression, constant: ast.Constant) -> Decimal:
    """Exactly as written; comparing decimals is exact at any length."""
    numerator, denominator = whole.literal(constant).as_integer_ratio()
    digits = 0
    while (numerator * 10**digits) % denominator:
        digits += 1
    return Decimal(numerator * 10**digits // denominator).scaleb(-digits)


@lru_cache(maxsize=10_000)
def summed(holds: Expression, names: tuple[str, ...]) -> Summing:
    """A predicate over the sums of a member as a function of them, in units of 1/u."""
    writer = Writer(names, {})
    written = writer.requirement(holds)
    if written is None:
        return lambda sums, unit: bool(holds.evaluate(Summed({name: Fraction(each, unit) for name, each in zip(names, sums, strict=True)})))
    made: Summing = eval(f"lambda v, u: {written}", writer.env)
    return made


# -- keys and prices ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=10_000)
def key_of(names: tuple[str, ...]) -> Callable[[Any], Key]:
    """The named fields of a fact's data, always as a tuple; None for a field that the data has not."""
    if not names:
        return lambda data: ()
    get = attrgetter(*names)

    def key(data: Any) -> Key:
        try:
            found = get(data)
        except AttributeError:
            return tuple([getattr(data, name, None) for name in names])
        return found if len(names) > 1 else (found,)

    return key


def _asked(book: Book, measure: Measure) -> Asked:
    assert measure.times is not None
    env: dict[str, Any] = {"bisect_right": bisect_right}
    parts = [repr(measure.name)]
    for name in sorted(measure.times.names):
        derived = book.derived.get(name)
        if derived is None:
            parts.append(f"data.{name}" if name in FACTS[measure.presence.of].fields else "''")
            continue
        env[f"d_{name}"] = derived
        parts.append(f"reading.level_of(d_{name}, fact, at)[0]" if derived.how == "value" else f"reading.date_of(d_{name}, fact)")
    for name in sorted(measure.times.tables):
        table = book.tables[name]
        if len(table.rows) == 1:
            continue
        env[f"rows_{name}"] = [at for at, _ in table.rows]
        if table.on is not None:
            env[f"d_{table.on}"] = book.derived[table.on]
        clock = "at" if table.on is None else f"reading.date_of(d_{table.on}, fact)"
        parts.append(f"bisect_right(rows_{name}, {clock}, 1)")
    made: Asked = _made(f"lambda reading, fact, data, at: ({', '.join(parts)},)", env)
    return made


# -- the judgement of a state ------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def exempted(book: Book, exempt: frozenset[str]) -> Judge:
    """The same of a partner that is exempt from some requirements, or from all of a tier (`tier Gold`)."""
    return _judge(book, exempt)


def _judge(book: Book, exempt: frozenset[str] = frozenset()) -> Judge:
    """The highest tier whose requirements the values in units of 1/u meet; `slow(tier, requirement)` asks the expression itself."""
    lines, writer = ["def judge(v, u, slow):"], Writer.of(book)
    for place, tier in reversed(list(enumerate(book.tiers))):
        needs = [] if f"tier {tier.name}" in exempt else [(i, need) for i, need in enumerate(tier.needs) if need.name not in exempt]
        tests = [writer.requirement(need.test) or f"slow({place}, {i})" for i, need in needs]
        lines.append(f"    if {' and '.join(tests) or 'True'}: return {tier.name!r}")
    exec("\n".join([*lines, "    return None"]), writer.env)
    judge: Judge = writer.env["judge"]
    return judge
