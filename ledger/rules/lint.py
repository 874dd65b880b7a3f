"""The linter: what cannot be right in a rulebook is an error, what is odd a warning, each with its line. It judges no partner."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fractions import Fraction

from ledger.rules.book import Book, Gate, Presence, Review, Tier, load
from ledger.rules.expressions import Expression
from ledger.rules.facts import FACTS, TEXT
from ledger.rules.yaml_nodes import ERROR, WARNING, Problem, RulebookProblems


def lint(text: str, name: str = "rulebook") -> list[Problem]:
    """Every problem of a rulebook, in order of line."""
    try:
        book = load(text, name=name)
    except RulebookProblems as problems:
        return sorted(problems.problems, key=lambda problem: problem.line)
    cycles = list(_cycles(book))
    if cycles:  # nothing else can be said of numbers that have no end
        return cycles
    found = [*_measures(book), *_tables(book), *_derived(book), *_numbers(book), *_tiers(book), *_status(book), *_unused(book)]
    return sorted(found, key=lambda problem: problem.line)


def _error(line: int, code: str, message: str, hint: str = "") -> Problem:
    return Problem(line, code, message, ERROR, hint)


def _fact_names(expression: Expression | None, kind: str, book: Book, line: int) -> Iterator[Problem]:
    """An expression about one fact may name its fields and what is derived beside it."""
    if expression is None or kind not in FACTS:
        return
    known = FACTS[kind].fields.keys() | book.derived.keys()
    for name in sorted(expression.names - known):
        yield _error(line, "unknown_name", f"{name!r} is no field of {kind}", f"known: {', '.join(sorted(known))}")
    yield from _lookups(expression, book, line)
    yield from _texts(expression, kind, book, line)


def _lookups(expression: Expression, book: Book, line: int) -> Iterator[Problem]:
    for node in ast.walk(expression.tree):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            table = book.tables.get(node.value.id)
            if table is None:
                yield _error(line, "unknown_table", f"{node.value.id!r} is no table", f"known: {', '.join(book.tables)}")
                continue
            asked = len(node.slice.elts) if isinstance(node.slice, ast.Tuple) else 1
            depths = {_depth(row) for _, row in table.rows}
            if depths != {asked}:
                yield _error(line, "wrong_keys", f"table {table.name!r} is looked up by {asked} keys and has {max(depths)}")


def _depth(cell: object) -> int:
    return 1 + max((_depth(part) for part in cell.values()), default=0) if isinstance(cell, dict) else 0


def _texts(expression: Expression, kind: str, book: Book, line: int) -> Iterator[Problem]:
    """A text is never ordered against, or equal to, a number."""
    for node in ast.walk(expression.tree):
        if isinstance(node, ast.Compare) and len(node.comparators) == 1:
            types = {_type(side, kind, book) for side in (node.left, node.comparators[0])} - {None}
            if len(types) > 1:
                yield _error(line, "text_and_number", f"{ast.unparse(node)!r} compares a text with a number")


def _type(node: ast.expr, kind: str, book: Book) -> str | None:
    match node:
        case ast.Constant(value=str()):
            return "text"
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return "number"
        case ast.Name(id=name) if name in FACTS[kind].fields:
            return "text" if FACTS[kind].fields[name] == TEXT else "number" if FACTS[kind].fields[name] == "number" else None
    return None


def _presence(presence: Presence, book: Book, line: int) -> Iterator[Problem]:
    if presence.of not in FACTS:
        yield _error(line, "unknown_fact", f"{presence.of!r} is no kind of fact", f"known: {', '.join(FACTS)}")
        return
    yield from _fact_names(presence.where, presence.of, book, line)
    if presence.until is not None and presence.until not in book.derived:
        yield _error(line, "unknown_name", f"until: {presence.until!r} is not derived", f"known: {', '.join(book.derived)}")
    for gate in (*presence.whiles, *presence.ifs):
        yield from _gate(gate, presence.of, book, line)


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
    for measure in book.measures.values():
        yield from _presence(measure.presence, book, measure.line)
        kind = measure.presence.of
        yield from _fact_names(measure.value, kind, book, measure.line)
        yield from _fact_names(measure.times, kind, book, measure.line)
        for name in measure.key:
            if kind in FACTS and name not in FACTS[kind].fields:
                yield _error(measure.line, "unknown_name", f"{name!r} is no field of {kind}")
        if measure.name in book.numbers:
            yield _error(measure.line, "name_twice", f"{measure.name!r} is a measure and a number")


def _tables(book: Book) -> Iterator[Problem]:
    for table in book.tables.values():
        if table.on is not None and table.on not in book.derived:
            yield _error(table.line, "unknown_name", f"on: {table.on!r} is not derived", f"known: {', '.join(book.derived)}")


def _derived(book: Book) -> Iterator[Problem]:
    for derived in book.derived.values():
        if derived.of not in FACTS:
            yield _error(derived.line, "unknown_fact", f"{derived.of!r} is no kind of fact", f"known: {', '.join(FACTS)}")
            continue
        yield from _fact_names(derived.where, derived.of, book, derived.line)
        yield from _fact_names(derived.when, derived.of, book, derived.line)
        if derived.how == "value" and derived.take not in FACTS[derived.of].fields:
            yield _error(derived.line, "unknown_name", f"{derived.take!r} is no field of {derived.of}")


def _numbers(book: Book) -> Iterator[Problem]:
    for number in book.numbers.values():
        yield from _known(number.formula, book, number.line)
        yield from _unguarded(number.formula, number.line)
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


def _known(expression: Expression, book: Book, line: int) -> Iterator[Problem]:
    known = book.measures.keys() | book.numbers.keys()
    for name in sorted(expression.names - known):
        yield _error(line, "unknown_name", f"{name!r} is no measure or number", f"known: {', '.join(sorted(known))}")
    yield from _lookups(expression, book, line)


def _unguarded(expression: Expression, line: int) -> Iterator[Problem]:
    for node in ast.walk(expression.tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and not isinstance(node.right, ast.Constant):
            if isinstance(expression.tree, ast.IfExp):
                continue
            yield Problem(line, "unguarded_division", f"{ast.unparse(node)!r} may divide by zero", WARNING, "x / y if y > 0 else 0")


def _tiers(book: Book) -> Iterator[Problem]:
    for tier in book.tiers:
        for need in tier.needs:
            yield from _known(need.test, book, need.line)
            if not need.test.names - (book.measures.keys() | book.numbers.keys()):
                yield from _units(need.test, book, need.line)
    for lower, higher in zip(book.tiers, book.tiers[1:], strict=False):
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
    if not isinstance(book.status, Review):
        return
    line = book.tiers[0].line if book.tiers else 1
    required = book.status.required
    for tier in book.tiers if required is not None else ():
        if required not in {need.name for need in tier.needs}:
            yield _error(tier.line, "unknown_requirement", f"{tier.name} has no requirement {required!r}, which every review asks")
    for old, new in book.status.carry.items():
        if new != "none" and new not in book.ranks:
            yield _error(line, "unknown_tier", f"carry: {old} becomes {new!r}, which is no tier", f"known: {', '.join(book.ranks)}, none")


def _unused(book: Book) -> Iterator[Problem]:
    used = {name for tier in book.tiers for need in tier.needs for name in need.test.names}
    used |= {name for number in book.numbers.values() for name in number.formula.names} | set(book.shown)
    for name, measure in book.measures.items():
        if name not in used:
            yield _error(measure.line, "unused_measure", f"measure {name!r} is neither used nor shown", "add it to 'show', or drop it")
    for name, number in book.numbers.items():
        if book.tiers and name not in used:
            yield _error(number.line, "unused_number", f"number {name!r} is neither used nor shown", "add it to 'show', or drop it")
    for name in book.shown:
        if name not in book.measures and name not in book.numbers:
            yield _error(1, "unknown_name", f"show: {name!r} is no measure or number")


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
