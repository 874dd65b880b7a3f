"""Expressions: the one form in which a rulebook writes conditions and numbers.

Python's grammar on a whitelist of nodes; constants are taken from the source text, so 62.5 is exactly 125/2. An expression is
compiled once into closures that evaluate and that explain: the tree of its operations with their values is the reason. It
knows no facts and no tables: names and lookups are asked of a scope.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Protocol

from ledger.errors import RulebookError
from ledger.rules.reasons import Reason, Value, key_text
from ledger.rules.yaml_nodes import exact

Test = Callable[["Scope"], Value]
Explanation = Callable[["Scope"], Reason]

LENGTH, DEPTH = 2_000, 60
"""The longest expression, and how deep its operations may lie in each other: what is longer is better told as several numbers."""


class Scope(Protocol):
    """What an expression may ask for while it is evaluated."""

    def value(self, name: str) -> Value: ...

    def lookup(self, table: str, keys: tuple[str, ...]) -> Value: ...

    def explain(self, name: str) -> Reason: ...

    def explain_lookup(self, table: str, keys: tuple[Reason, ...]) -> Reason: ...


class ExpressionError(RulebookError):
    """The text is no expression of the rulebook language."""

    code = "bad_expression"


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression: its text, the names and tables it asks for, and its two readings.

    `evaluate` gives the value; `explain` gives it as a tree, in which each node's operation on its children gives its value.
    """

    text: str
    tree: ast.expr
    names: frozenset[str]
    tables: frozenset[str]
    evaluate: Test
    explain: Explanation
    source: str
    """The whole text of which `tree` is a part; the places of its nodes refer to it."""

    def comparison(self) -> tuple[Expression, str, Expression] | None:
        """`left >= right` as its parts, for progress and for what is missing; None for any other shape."""
        return _comparison(self)

    def conditions(self) -> list[Expression]:
        """The conditions of `a and b and c`, one by one; itself, where it is one."""
        if isinstance(self.tree, ast.BoolOp) and isinstance(self.tree.op, ast.And):
            return [each for part in self.tree.values for each in _part(part, self.source).conditions()]
        return [self]

    def literal(self, node: ast.Constant) -> Fraction:
        """A number of this expression exactly as it is written."""
        number = _constant(node, self.source)
        assert not isinstance(number, str)
        return Fraction(number)

    def constant(self) -> Fraction | None:
        """The number that the text is, or None where it depends on anything."""
        if self.names or self.tables:
            return None
        value = self.evaluate(_NOTHING)
        return value if isinstance(value, Fraction) else None


@lru_cache(maxsize=10_000)
def _comparison(whole: Expression) -> tuple[Expression, str, Expression] | None:
    match whole.tree:
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE_NAMES:
            return _part(left, whole.source), _COMPARE_NAMES[type(op)], _part(right, whole.source)
    return None


class _Nothing:
    def value(self, name: str) -> Value:
        raise AssertionError(name)

    def lookup(self, table: str, keys: tuple[str, ...]) -> Value:
        raise AssertionError(table)

    def explain(self, name: str) -> Reason:
        raise AssertionError(name)

    def explain_lookup(self, table: str, keys: tuple[Reason, ...]) -> Reason:
        raise AssertionError(table)


_NOTHING = _Nothing()

_BINARY: dict[type[ast.operator], tuple[str, Callable[[Fraction, Fraction], Fraction]]] = {
    ast.Add: ("+", lambda a, b: a + b),
    ast.Sub: ("-", lambda a, b: a - b),
    ast.Mult: ("*", lambda a, b: a * b),
    ast.Div: ("/", lambda a, b: a / b),
}
_COMPARE: dict[type[ast.cmpop], Callable[[Value, Value], bool]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,  # type: ignore[operator]
    ast.LtE: lambda a, b: a <= b,  # type: ignore[operator]
    ast.Gt: lambda a, b: a > b,  # type: ignore[operator]
    ast.GtE: lambda a, b: a >= b,  # type: ignore[operator]
}
_COMPARE_NAMES: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
OPERATIONS: dict[str, Callable[..., Value]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "negate": lambda a: -a,
    "not": lambda a: not a,
    "and": lambda *all_of: all(all_of),
    "or": lambda *any_of: any(any_of),
    "min": lambda *values: min(values),
    "max": lambda *values: max(values),
    "if": lambda _, value: value,
    "sum": lambda *values: sum(values, Fraction(0)),
    "each": lambda *holds: Fraction(sum(bool(one) for one in holds)),
    "as": lambda value: value,
    "number": lambda value: value,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
"""What each operation of a reason's node does to its children's values; aggregates add theirs in `reasons`."""


def parse(text: str, unfold: ast.NodeTransformer | None = None) -> Expression:
    """Compile one expression; `unfold` writes out what is short for more. Raises ExpressionError with what is not allowed."""
    text = text.strip()
    if len(text) > LENGTH:
        raise ExpressionError(f"an expression of {len(text)} characters is too long", hint=f"at most {LENGTH}: split it into numbers")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's advice about Python
            tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ExpressionError(f"{text!r} is not an expression: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"{text!r} is not an expression: {error}") from None
    if unfold is not None:
        tree = unfold.visit(tree)
    if depth_of(tree) > DEPTH:
        raise ExpressionError("the operations of an expression lie too deep in each other", hint="split it into numbers")
    return _part(tree, text)


def depth_of(tree: ast.expr) -> int:
    """How many operations lie in each other, at the deepest."""
    depth, level = 0, [tree]
    while level:
        depth += 1
        level = [child for node in level for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    return depth


def _part(tree: ast.expr, text: str) -> Expression:
    names, tables = set[str](), set[str]()
    for kind, name in _asked(tree):
        (tables if kind == "table" else names).add(name)
    evaluate, explain = _compile(tree, text), _compile_explain(tree, text)
    return Expression(_source(tree, text), tree, frozenset(names), frozenset(tables), evaluate, explain, text)


def _source(node: ast.expr, text: str) -> str:
    return ast.get_source_segment(text, node) or ast.unparse(node)


def _asked(node: ast.expr) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Name(id=name):
            yield "name", name
        case ast.Attribute(value=ast.Name(id=owner), attr=attribute):
            yield "name", f"{owner}.{attribute}"
        case ast.Subscript(value=ast.Name(id=table), slice=keys):
            yield "table", table
            yield from _asked(keys)
        case ast.Call(args=args):
            for argument in args:
                yield from _asked(argument)
        case _:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    yield from _asked(child)


def _refuse(node: ast.AST, text: str) -> ExpressionError:
    part = _source(node, text) if isinstance(node, ast.expr) else type(node).__name__
    return ExpressionError(
        f"{part!r} is not allowed in an expression",
        hint="allowed: + - * / comparisons, and, or, not, 'x if y else z', min, max, names, table[key], numbers, 'text'",
    )


def _constant(node: ast.Constant, text: str) -> Value:
    match node.value:
        case bool():
            return node.value
        case int() | float():
            number = exact(_source(node, text))
            if number is None:
                raise _refuse(node, text)
            return number
        case str():
            return node.value
        case _:
            raise _refuse(node, text)


def _name(node: ast.expr, text: str) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id=owner), attr=attribute):
            return f"{owner}.{attribute}"
        case _:
            raise _refuse(node, text)


def _compile(node: ast.expr, text: str) -> Test:
    match node:
        case ast.Constant():
            constant = _constant(node, text)
            return lambda scope: constant
        case ast.Name() | ast.Attribute():
            name = _name(node, text)
            return lambda scope: scope.value(name)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _compile_binary(_compile(left, text), type(op), _compile(right, text))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _compile(operand, text)
            return lambda scope: -_number(inner(scope))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _compile(operand, text)
            return lambda scope: not inner(scope)
        case ast.BoolOp(op=op, values=values):
            return _compile_bool(isinstance(op, ast.And), [_compile(value, text) for value in values])
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _compile_compare(left, op, right, text)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            ask, yes, no = (_compile(part, text) for part in (test, body, orelse))
            return lambda scope: yes(scope) if ask(scope) else no(scope)
        case ast.Call(func=ast.Name(id="min" | "max" as called), args=args, keywords=[]) if args:
            parts = [_compile(argument, text) for argument in args]
            chosen = min if called == "min" else max
            return lambda scope: chosen([_number(part(scope)) for part in parts])
        case ast.Subscript(value=ast.Name(id=table), slice=keys):
            parts = [_compile(key, text) for key in _keys(keys)]
            return lambda scope: scope.lookup(table, tuple([key_text(part(scope)) for part in parts]))
        case _:
            raise _refuse(node, text)


def _compile_binary(a: Test, op: type[ast.operator], b: Test) -> Test:
    if op is ast.Div:
        return lambda scope: divide(a(scope), b(scope))
    operation = _BINARY[op][1]
    return lambda scope: operation(_number(a(scope)), _number(b(scope)))


def divide(a: Value | int, b: Value | int) -> Value:
    """Exactly. Raises RulebookError for a division by zero."""
    if b == 0:
        raise RulebookError("a rulebook divides by zero", hint="guard the ratio: x / y if y > 0 else 0", code="division_by_zero")
    return _number(a) / _number(b)


def _number(value: Value | int) -> Fraction:
    if isinstance(value, Fraction):
        return value
    if isinstance(value, int):
        return Fraction(value)
    raise RulebookError(f"{value!r} is no number", hint="arithmetic needs numbers", code="not_a_number")


def _compile_bool(every: bool, parts: list[Test]) -> Test:
    if every:
        return lambda scope: all(part(scope) for part in parts)
    return lambda scope: any(part(scope) for part in parts)


def _compile_compare(left: ast.expr, op: ast.cmpop, right: ast.expr, text: str) -> Test:
    if isinstance(op, ast.In | ast.NotIn) and isinstance(right, ast.Tuple | ast.List):
        inner, members = _compile(left, text), [_compile(member, text) for member in right.elts]
        wanted = isinstance(op, ast.In)
        return lambda scope: (inner(scope) in [member(scope) for member in members]) is wanted
    if type(op) not in _COMPARE:
        raise _refuse(op, text)
    a, b, compare = _compile(left, text), _compile(right, text), _COMPARE[type(op)]
    return lambda scope: compare(a(scope), b(scope))


def _keys(keys: ast.expr) -> list[ast.expr]:
    return list(keys.elts) if isinstance(keys, ast.Tuple) else [keys]


def _compile_explain(node: ast.expr, text: str) -> Explanation:
    source = _source(node, text)

    def parts(*nodes: ast.expr) -> list[Explanation]:
        return [_compile_explain(each, text) for each in nodes]

    def applied(op: str, *nodes: ast.expr) -> Explanation:
        explained = parts(*nodes)
        return lambda scope: _applied(source, op, *[part(scope) for part in explained])

    match node:
        case ast.Constant():
            constant = Reason(_constant(node, text), source, "constant")
            return lambda scope: constant
        case ast.Name() | ast.Attribute():
            name = _name(node, text)
            return lambda scope: scope.explain(name)
        case ast.BinOp(left=left, op=op, right=right):
            return applied(_BINARY[type(op)][0], left, right)
        case ast.UnaryOp(op=op, operand=operand):
            return applied("negate" if isinstance(op, ast.USub) else "not", operand)
        case ast.BoolOp(op=op, values=values):
            return applied("and" if isinstance(op, ast.And) else "or", *values)
        case ast.Compare(ops=[ast.In() | ast.NotIn()]):
            test = _compile(node, text)
            return lambda scope: Reason(test(scope), source, "constant")
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return applied(_COMPARE_NAMES[type(op)], left, right)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            ask, yes, no = parts(test, body, orelse)
            return lambda scope: _chosen(source, ask(scope), yes, no, scope)
        case ast.Call(func=ast.Name(id=called), args=args):
            return applied(called, *args)
        case ast.Subscript(value=ast.Name(id=table), slice=keys):
            explained = parts(*_keys(keys))
            return lambda scope: scope.explain_lookup(table, tuple([part(scope) for part in explained]))
        case _:
            raise _refuse(node, text)


def _chosen(source: str, condition: Reason, yes: Explanation, no: Explanation, scope: Scope) -> Reason:
    return _applied(source, "if", condition, (yes if condition.value else no)(scope))


def _applied(source: str, op: str, *children: Reason) -> Reason:
    if op == "/" and children[1].value == 0:
        divide(Fraction(1), Fraction(0))
    return Reason(OPERATIONS[op](*[child.value for child in children]), source, op, children)
