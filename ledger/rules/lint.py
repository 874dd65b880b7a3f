"""The linter: what cannot be right in a rulebook is an error, what is odd a warning, each with its line. It judges no partner."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations

from ledger.rules.book import Book, Derived, Gate, Measure, Membership, Presence, Review, Table, Tier, load
from ledger.rules.expressions import Expression, depth_of
from ledger.rules.facts import FACTS, FLAG, NUMBER, TEXT
from ledger.rules.presence import within
from ledger.rules.yaml_nodes import ERROR, WARNING, Problem, RulebookProblems

Kinds = dict[str, str]
"""What names stand for: a number, a text or a flag."""

UNFOLDED, UNFOLDED_DEPTH = 2_000, 120
"""How many names, and operations in each other, a number may come to when all numbers in it are written out."""


def lint(text: str | bytes, name: str = "rulebook") -> list[Problem]:
    """Every problem of a rulebook, in order of line."""
    try:
        book = load(text, name=name)
    except RulebookProblems as problems:
        return problems.problems
    endless = [*_cycles(book), *_derived_cycles(book), *_given_cycles(book)] or list(_unfolded(book))
    if endless:  # nothing else can be said of what has no end
        return endless
    parts = (_measures, _tables, _derived, _numbers, _tiers, _status, _benefits, _sources, _unused)
    found = [problem for part in parts for problem in part(book)]
    return sorted(dict.fromkeys(found), key=lambda problem: problem.line)


def _error(line: int, code: str, message: str, hint: str = "") -> Problem:
    return Problem(line, code, message, ERROR, hint)


# -- names, tables and types of an expression -----------------------------------------------------------------------


def _of_fact(expression: Expression | None, kind: str, book: Book, line: int, wanted: str) -> Iterator[Problem]:
    """An expression about one fact may name its fields and what is derived beside it."""
    if expression is None or kind not in FACTS:
        return
    fields = FACTS[kind].fields
    known = fields.keys() | book.derived.keys()
    for name in sorted(expression.names - known):
        yield _error(line, "unknown_name", f"{name!r} is no field of {kind}", f"known: {', '.join(sorted(known))}")
    for name in sorted(expression.names & book.derived.keys()):
        yield from _beside(book.derived[name], kind, line)
    for table in expression.tables & book.tables.keys():
        derived = book.derived.get(book.tables[table].on or "")
        if derived is not None:
            yield from _beside(derived, kind, line)
    yield from _lookups(expression, book, line)
    yield from _divisions(expression.tree, book, line, guarded=True)
    yield from _types(expression, {**fields, **_derived_kinds(book)}, book, line, wanted)


def _beside(derived: Derived, kind: str, line: int) -> Iterator[Problem]:
    """What is derived is found by fields that both kinds of fact have."""
    fields = FACTS[kind].fields
    for name in derived.by:
        if name not in fields:
            yield _error(line, "unknown_name", f"{derived.name!r} is found by {name!r}, which is no field of {kind}")
    same = derived.how == "value" and (derived.of, derived.take) == (kind, derived.name)
    if derived.name in fields and not same:
        yield _error(line, "name_twice", f"{derived.name!r} is a field of {kind} and a derived value", "rename the derived value")


def _derived_kinds(book: Book) -> Kinds:
    kinds = {}
    for derived in book.derived.values():
        fields = FACTS[derived.of].fields if derived.of in FACTS else {}
        kinds[derived.name] = fields.get(derived.take, TEXT) if derived.how == "value" else TEXT
    return kinds


def _of_numbers(expression: Expression, book: Book, line: int, wanted: str) -> Iterator[Problem]:
    """An expression about a partner may name measures and numbers."""
    known = book.measures.keys() | book.numbers.keys()
    for name in sorted(expression.names - known):
        yield _error(line, "unknown_name", f"{name!r} is no measure or number", f"known: {', '.join(sorted(known))}")
    yield from _lookups(expression, book, line)
    yield from _rows_there(expression, book, line)
    yield from _divisions(expression.tree, book, line, guarded=False)
    yield from _types(expression, dict.fromkeys(known, NUMBER), book, line, wanted)


def _lookups(expression: Expression, book: Book, line: int) -> Iterator[Problem]:
    for table_name, keys in _asked(expression):
        table = book.tables.get(table_name)
        if table is None:
            yield _error(line, "unknown_table", f"{table_name!r} is no table", f"known: {', '.join(book.tables)}")
            continue
        depths = {depth for _, row in table.rows for depth in _depths(row)}
        if depths != {len(keys)}:
            has = " or ".join(map(str, sorted(depths)))
            yield _error(line, "wrong_keys", f"table {table.name!r} is looked up by {len(keys)} keys and has {has}")


def _asked(expression: Expression) -> Iterator[tuple[str, list[ast.expr]]]:
    for node in ast.walk(expression.tree):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            yield node.value.id, list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]


def _depths(cell: object) -> set[int]:
    """By how many keys a cell is reached; a table has one answer."""
    if not isinstance(cell, dict):
        return {0}
    return {1 + depth for part in cell.values() for depth in _depths(part)} or {1}


def _rows_there(expression: Expression, book: Book, line: int) -> Iterator[Problem]:
    """A number is there for every partner at every instant: so is each row that it reads."""
    for table_name, keys in _asked(expression):
        table = book.tables.get(table_name)
        if table is None:
            continue
        if table.on is not None:
            yield _error(line, "no_fact", f"table {table_name!r} is read on {table.on!r} of a fact, and a number is about none")
        if not all(_has_row(row, keys) for _, row in table.rows):
            asked = ", ".join(map(ast.unparse, keys))
            yield _error(line, "no_row", f"{table_name}[{asked}] may find no row", "a 'default' row covers all keys")


def _has_row(row: object, keys: list[ast.expr]) -> bool:
    if not keys or not isinstance(row, dict):
        return True
    key = keys[0].value if isinstance(keys[0], ast.Constant) else None
    if "default" not in row:
        return isinstance(key, str) and key in row and _has_row(row[key], keys[1:])
    chosen = [row[key] if isinstance(key, str) and key in row else row["default"]]
    cells = chosen if isinstance(key, str) else list(row.values())
    return all(_has_row(cell, keys[1:]) for cell in cells)


def _divisions(node: ast.AST, book: Book, line: int, *, guarded: bool) -> Iterator[Problem]:
    """What is divided by is never nothing: a number that is not 0, a table without a 0, or else something that is looked at before."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        least = _least(node.right, book)
        if least == 0:
            yield _error(line, "division_by_zero", f"{ast.unparse(node)!r} divides by zero")
        elif least is None and not guarded:
            yield Problem(line, "unguarded_division", f"{ast.unparse(node)!r} may divide by zero", WARNING, "x / y if y > 0 else 0")
    for child in ast.iter_child_nodes(node):
        inside = isinstance(node, ast.IfExp) and child is not node.test
        yield from _divisions(child, book, line, guarded=guarded or inside)


def _least(node: ast.expr, book: Book) -> Fraction | None:
    """The number, or the cell of the table, that is nearest to 0; None where that is not known."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return abs(Fraction(value))
        case ast.Subscript(value=ast.Name(id=name)) if name in book.tables:
            cells = [cell for _, row in book.tables[name].rows for cell in _leaves(row)]
            return min([abs(cell) for cell in cells if isinstance(cell, Fraction)], default=None)
    return None


def _types(expression: Expression, kinds: Kinds, book: Book, line: int, wanted: str) -> Iterator[Problem]:
    """A text is never ordered against, or put together with, a number; a condition is neither."""
    found: list[Problem] = []
    kind = _Types(kinds, book, line, found).of(expression.tree)
    if not found and kind is not None:
        if wanted == FLAG and kind != FLAG:
            found.append(_error(line, "not_a_condition", f"{expression.text!r} is a {kind}, not a condition", "compare it, e.g. x >= 1"))
        if wanted == NUMBER and kind == TEXT:
            found.append(_error(line, "not_a_number", f"{expression.text!r} is a text, not a number"))
    yield from found


class _Types:
    """Whether the parts of an expression are numbers, texts or flags; None where that is not known."""

    def __init__(self, kinds: Kinds, book: Book, line: int, found: list[Problem]) -> None:
        self.kinds = kinds
        self.book = book
        self.line = line
        self.found = found

    def of(self, node: ast.expr) -> str | None:
        match node:
            case ast.Constant(value=value):
                return FLAG if isinstance(value, bool) else TEXT if isinstance(value, str) else NUMBER
            case ast.Name(id=name):
                return self.kinds.get(name)
            case ast.Subscript(value=ast.Name(id=table), slice=keys):
                for key in keys.elts if isinstance(keys, ast.Tuple) else [keys]:
                    self.of(key)
                return _cells(self.book.tables[table]) if table in self.book.tables else None
            case ast.Compare(left=left, comparators=[ast.Tuple(elts=members) | ast.List(elts=members)]):
                self.alike(node, [left, *members])
                return FLAG
            case ast.Compare(left=left, comparators=comparators):
                self.alike(node, [left, *comparators])
                return FLAG
            case ast.BoolOp(values=conditions):
                for condition in conditions:
                    self.of(condition)
                return FLAG
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                self.of(operand)
                return FLAG
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self.of(test)
                return self.alike(node, [body, orelse])
            case ast.BinOp(left=left, right=right):
                return self.numbers(node, [left, right])
            case ast.UnaryOp(operand=operand):
                return self.numbers(node, [operand])
            case ast.Call(args=args):
                return self.numbers(node, args)
        return None

    def alike(self, whole: ast.expr, parts: list[ast.expr]) -> str | None:
        kinds = {kind for part in parts if (kind := self.of(part)) is not None}
        if TEXT in kinds and len(kinds) > 1:
            self.found.append(_error(self.line, "text_and_number", f"{ast.unparse(whole)!r} puts a text beside a number"))
        return TEXT if kinds == {TEXT} else NUMBER if NUMBER in kinds else FLAG if kinds == {FLAG} else None

    def numbers(self, whole: ast.expr, parts: list[ast.expr]) -> str:
        if TEXT in [self.of(part) for part in parts]:
            self.found.append(_error(self.line, "text_and_number", f"{ast.unparse(whole)!r} calculates with a text"))
        return NUMBER


def _cells(table: Table) -> str | None:
    """What all cells of a table are, or None where they differ."""
    kinds = {TEXT if isinstance(cell, str) else NUMBER for _, row in table.rows for cell in _leaves(row)}
    return kinds.pop() if len(kinds) == 1 else None


def _leaves(cell: object) -> Iterator[object]:
    if not isinstance(cell, dict):
        yield cell
        return
    for part in cell.values():
        yield from _leaves(part)


# -- the parts of a rulebook -----------------------------------------------------------------------------------------


def _presence(presence: Presence, book: Book, line: int) -> Iterator[Problem]:
    if presence.of not in FACTS:
        yield _error(line, "unknown_fact", f"{presence.of!r} is no kind of fact", f"known: {', '.join(FACTS)}")
        return
    yield from _of_fact(presence.where, presence.of, book, line, FLAG)
    for name in presence.joined:
        if name not in FACTS[presence.of].fields:
            yield _error(line, "unknown_name", f"joined: {name!r} is no field of {presence.of}")
    for given in presence.given:
        yield from _of_numbers(given, book, line, FLAG)
    if presence.until is not None:
        yield from _until(presence.until, presence.of, book, line)
    for gate in (*presence.whiles, *presence.ifs):
        yield from _gate(gate, presence.of, book, line)


def _until(name: str, kind: str, book: Book, line: int) -> Iterator[Problem]:
    derived = book.derived.get(name)
    if derived is None:
        yield _error(line, "unknown_name", f"until: {name!r} is not derived", f"known: {', '.join(book.derived)}")
        return
    if derived.how == "value":
        yield _error(line, "bad_until", f"until: {name!r} is a value; a fact ends with a fact", "first or last")
    yield from _of_fact(derived.when, kind, book, line, FLAG)
    yield from _beside(derived, kind, line)


def _gate(gate: Gate, of: str, book: Book, line: int) -> Iterator[Problem]:
    for option in gate.any_of:
        yield from _gate(option, of, book, line)
    if gate.presence is None:
        return
    yield from _presence(gate.presence, book, line)
    for kind in (of, gate.presence.of):
        for name in gate.by:
            if kind in FACTS and name not in FACTS[kind].fields:
                yield _error(line, "unknown_name", f"by: {name!r} is no field of {kind}", f"known: {', '.join(FACTS[kind].fields)}")


def _measures(book: Book) -> Iterator[Problem]:
    for measure in [part for each in book.measures.values() for part in (*each.parts, each)]:
        if not measure.parts:
            yield from _presence(measure.presence, book, measure.line)
        kind = measure.presence.of
        yield from _of_fact(measure.value, kind, book, measure.line, NUMBER)
        yield from _of_fact(measure.times, kind, book, measure.line, NUMBER)
        for name in measure.key:
            if kind in FACTS and name not in FACTS[kind].fields:
                yield _error(measure.line, "unknown_name", f"{name!r} is no field of {kind}")
        for what in measure.as_at:
            if isinstance(what, str) and what not in FACTS:
                yield _error(
                    measure.line, "unknown_fact", f"as_at: {what!r} is neither a day nor a kind of fact", f"known: {', '.join(FACTS)}"
                )
        if measure.name in book.measures and measure.name in book.numbers:
            yield _error(measure.line, "name_twice", f"{measure.name!r} is a measure and a number")


def _tables(book: Book) -> Iterator[Problem]:
    for table in book.tables.values():
        if table.on is not None and table.on not in book.derived:
            yield _error(table.line, "unknown_name", f"on: {table.on!r} is not derived", f"known: {', '.join(book.derived)}")
        elif table.on is not None and book.derived[table.on].how == "value":
            yield _error(table.line, "bad_clock", f"on: {table.on!r} is a value, not a date", "first or last")
        if _cells(table) is None:
            yield _error(table.line, "text_and_number", f"table {table.name!r} has texts and numbers", "numbers: 3, -1.5, 20/3")


def _derived(book: Book) -> Iterator[Problem]:
    for derived in book.derived.values():
        if derived.of not in FACTS:
            yield _error(derived.line, "unknown_fact", f"{derived.of!r} is no kind of fact", f"known: {', '.join(FACTS)}")
            continue
        yield from _of_fact(derived.where, derived.of, book, derived.line, FLAG)
        taken = [derived.take] if derived.how == "value" else []
        stated = [derived.stated] if derived.stated is not None else []
        for name in [*taken, *derived.by, *stated]:
            if name not in FACTS[derived.of].fields:
                yield _error(derived.line, "unknown_name", f"{name!r} is no field of {derived.of}")


def _numbers(book: Book) -> Iterator[Problem]:
    for number in book.numbers.values():
        yield from _of_numbers(number.formula, book, number.line, NUMBER)
        yield from _units(number.formula, book, number.line)


def _cycles(book: Book) -> Iterator[Problem]:
    for number in book.numbers.values():
        if number.name in _reach(book, number.name):
            yield _error(number.line, "cycle", f"{number.name!r} rests on itself")


def _reach(book: Book, name: str) -> set[str]:
    """The numbers on which a number rests."""
    found, queue = set[str](), [name]
    while queue:
        for part in book.numbers[queue.pop()].formula.names:
            if part in book.numbers and part not in found:
                found.add(part)
                queue.append(part)
    return found


def _unfolded(book: Book) -> Iterator[Problem]:
    """A number of numbers of numbers is written out to be judged; what doubles at each step never comes to an end."""
    sizes: dict[str, int] = {}
    depths: dict[str, int] = {}
    for name in _inner_first(book):
        tree = book.numbers[name].formula.tree
        names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
        sizes[name] = 1 + sum(sizes.get(part, 1) for part in names)
        depths[name] = depth_of(tree) + max((depths.get(part, 0) for part in names), default=0)
        if sizes[name] > UNFOLDED or depths[name] > UNFOLDED_DEPTH:
            yield _error(book.numbers[name].line, "too_large", f"{name!r} is too large when all numbers in it are written out")
            return


def _inner_first(book: Book) -> Iterator[str]:
    """The numbers, each after those on which it rests; there are no cycles."""
    waiting = {name: {part for part in number.formula.names if part in book.numbers} for name, number in book.numbers.items()}
    while waiting:
        ready = [name for name, parts in waiting.items() if not parts & waiting.keys()]
        yield from ready
        for name in ready:
            del waiting[name]


def _derived_cycles(book: Book) -> Iterator[Problem]:
    for name, derived in book.derived.items():
        seen, queue = set[str](), [name]
        while queue:
            for part in _rests_on(book, queue.pop()) - seen:
                seen.add(part)
                queue.append(part)
        if name in seen:
            yield _error(derived.line, "cycle", f"{name!r} rests on itself")


def _given_cycles(book: Book) -> Iterator[Problem]:
    """A measure that counts only if a condition held asks for measures that do not ask for it."""
    for measure in book.measures.values():
        asked = [name for presence in _all_of(measure) for given in presence.given for name in given.names]
        if measure.name in book.rests_on([name for name in asked if name in book.measures or name in book.numbers]):
            yield _error(measure.line, "cycle", f"{measure.name!r} rests on itself")


def _all_of(measure: Measure) -> list[Presence]:
    return [each for presence in measure.presences() for each in within(presence)]


def _rests_on(book: Book, name: str) -> set[str]:
    """What is derived to find this: in its conditions, and as the dates of the tables that they read."""
    derived, found = book.derived[name], set[str]()
    for condition in (derived.where, derived.when):
        if condition is not None:
            found |= condition.names
            found |= {book.tables[table].on or "" for table in condition.tables if table in book.tables}
    return found & book.derived.keys()


def _tiers(book: Book) -> Iterator[Problem]:
    for tier in book.all_tiers():
        for need in tier.needs:
            yield from _of_numbers(need.test, book, need.line, FLAG)
            if not need.test.names - (book.measures.keys() | book.numbers.keys()):
                yield from _units(need.test, book, need.line)
    for each in (book, *book.awards.values()):
        for lower, higher in combinations(each.tiers, 2):
            if lower.option == higher.option and each.rank(higher.name) == each.rank(lower.name) + 1:
                yield from _falling(lower, higher)


def _minimums(tier: Tier) -> dict[str, Fraction] | None:
    """A tier as a plain list of minimums, or None where it is not."""
    minimums = {}
    for need in tier.needs:
        parts = need.test.comparison()
        threshold = parts[2].constant() if parts is not None and parts[1] in (">=", ">") else None
        if threshold is None:
            return None
        minimums[need.name] = threshold
    return minimums


def _falling(lower: Tier, higher: Tier) -> Iterator[Problem]:
    low, high = _minimums(lower), _minimums(higher)
    if low is None or high is None or higher.as_printed:
        return
    for name in low.keys() & high.keys():
        if high[name] < low[name]:
            message = f"{name} falls from {low[name]} in {lower.name} to {high[name]} in {higher.name}"
            yield Problem(higher.line, "falling_threshold", message, WARNING, "as_printed: true says that this is how it was published")


def _status(book: Book) -> Iterator[Problem]:
    line = book.lines.get("status", 1)
    if isinstance(book.status, Membership):
        yield from _moved(book.status, book, line)
    if not isinstance(book.status, Review):
        return
    required = book.status.required
    for tier in book.tiers if required is not None else ():
        if required not in {need.name for need in tier.needs}:
            yield _error(tier.line, "unknown_requirement", f"{tier.name} has no requirement {required!r}, which every review asks")
    for old, new in book.status.carry.items():
        if new != "none" and new not in book.ranks:
            yield _error(line, "unknown_tier", f"carry: {old} becomes {new!r}, which is no tier", f"known: {', '.join(book.ranks)}, none")


def _moved(policy: Membership, book: Book, line: int) -> Iterator[Problem]:
    for award, more in [pair for moved in policy.moved for pair in moved.excepted.items()]:
        if award not in book.awards:
            yield _error(line, "unknown_name", f"moved: {award!r} is no award", f"known: {', '.join(book.awards) or 'none'}")
        for name in more:
            if name not in book.measures and name not in book.numbers:
                yield _error(line, "unknown_name", f"moved: {name!r} is no measure or number")


def _benefits(book: Book) -> Iterator[Problem]:
    for level in book.benefits:
        if level not in book.ranks:
            yield _error(book.lines["benefits"], "unknown_tier", f"benefits: {level!r} is no tier", f"known: {', '.join(book.ranks)}")


def _sources(book: Book) -> Iterator[Problem]:
    """A source is named once, at the top, and cited by its name."""
    cited = [(measure.source, measure.line) for measure in book.measures.values()]
    cited += [(table.source, table.line) for table in book.tables.values()]
    cited += [(need.source, need.line) for tier in book.all_tiers() for need in tier.needs]
    for source, line in cited:
        if source and source not in book.sources:
            yield _error(line, "unknown_source", f"{source!r} is no source of this rulebook", f"known: {', '.join(book.sources)}")


def _unused(book: Book) -> Iterator[Problem]:
    used = {name for tier in book.all_tiers() for need in tier.needs for name in need.test.names}
    used |= {name for number in book.numbers.values() for name in number.formula.names} | set(book.shown)
    used |= {
        name for measure in book.measures.values() for presence in _all_of(measure) for given in presence.given for name in given.names
    }
    for name, measure in book.measures.items():
        if name not in used:
            yield _error(measure.line, "unused_measure", f"measure {name!r} is neither used nor shown", "add it to 'show', or drop it")
    for name, number in book.numbers.items():
        if book.all_tiers() and name not in used:
            yield _error(number.line, "unused_number", f"number {name!r} is neither used nor shown", "add it to 'show', or drop it")
    for name in book.shown:
        if name not in book.measures and name not in book.numbers:
            yield _error(book.lines.get("show", 1), "unknown_name", f"show: {name!r} is no measure or number")


def _units(expression: Expression, book: Book, line: int) -> Iterator[Problem]:
    """Sums and comparisons need one unit; a constant has none and fits all."""
    found: list[Problem] = []
    _unit(expression.tree, book, line, found)
    yield from found


def _unit(node: ast.expr, book: Book, line: int, found: list[Problem]) -> str | None:
    match node:
        case ast.Name(id=name) if name in book.measures:
            return book.measures[name].unit or None
        case ast.Name(id=name) if name in book.numbers:
            return _unit(book.numbers[name].formula.tree, book, line, [])
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
            return _same(node, [left, right], book, line, found)
        case ast.Compare(left=left, comparators=[right]):
            _same(node, [left, right], book, line, found)
            return None
        case ast.BinOp(left=left, op=op, right=right):
            a, b = (_unit(side, book, line, found) for side in (left, right))
            if isinstance(op, ast.Div):
                return None if a == b else a if b is None else f"{a or 1}/{b}"
            return a if b is None else b if a is None else f"{a}*{b}"
        case ast.Call(args=args):
            return _same(node, args, book, line, found)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            _unit(test, book, line, found)
            return _same(node, [body, orelse], book, line, found)
        case ast.BoolOp(values=values):
            for value in values:
                _unit(value, book, line, found)
        case ast.UnaryOp(operand=operand):
            return _unit(operand, book, line, found)
    return None


def _same(node: ast.expr, parts: list[ast.expr], book: Book, line: int, found: list[Problem]) -> str | None:
    units = {unit for part in parts if (unit := _unit(part, book, line, found)) is not None}
    if len(units) > 1:
        found.append(_error(line, "units_differ", f"{ast.unparse(node)!r} puts {' and '.join(sorted(units))} together"))
    return units.pop() if units else None
