"""Requirements as Python over integers, which says what their expressions say.

The values of a state are integers in units of 1/u. Sums, choices, least and greatest of such values are whole again in units of 1/u
over some number, so that comparing them needs no fraction; a product or a ratio of two values is an exact fraction. What reads a
table or compares texts is left to its expression.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import lcm
from typing import Any, NamedTuple

from ledger.rules.book import Book
from ledger.rules.expressions import Expression, divide

_SIGNS: dict[type[ast.cmpop], str] = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_SHORT = 60


class Code(NamedTuple):
    """Python for a number: an integer, the number times u times `scale`; or, where `scale` is 0, a Fraction, the number itself."""

    text: str
    scale: int


class Unwritten(Exception):
    """There is no such Python; the expression itself is asked."""


class Writer:
    """Writes conditions on named values, in the order of their places; the numbers that they read become functions of (v, u)."""

    def __init__(self, names: Iterable[str], numbers: Mapping[str, Expression]) -> None:
        self.places = {name: place for place, name in enumerate(names)}
        self.env: dict[str, Any] = {"Fraction": Fraction, "divide": divide}
        self._numbers = numbers
        self._known: dict[str, Code | None] = {}

    @classmethod
    def of(cls, book: Book) -> Writer:
        """For the requirements of a rulebook, over its measures."""
        return cls(book.measures, {name: number.formula for name, number in book.numbers.items()})

    def requirement(self, test: Expression) -> str | None:
        """Python for whether the values `v` in units of 1/`u` meet a requirement; None where only its expression can tell."""
        try:
            return self._test(test.tree, test)
        except Unwritten:
            return None

    def _test(self, tree: ast.expr, whole: Expression) -> str:
        match tree:
            case ast.BoolOp(op=op, values=values):
                word = " and " if isinstance(op, ast.And) else " or "
                return f"({word.join(self._test(value, whole) for value in values)})"
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return f"(not {self._test(operand, whole)})"
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _SIGNS:
                (a, b), _ = _alike(self._number(left, whole), self._number(right, whole))
                return f"({a} {_SIGNS[type(op)]} {b})"
            case ast.Name(id=name) if name in self._numbers and _is_test(self._numbers[name].tree):
                return self._test(self._numbers[name].tree, self._numbers[name])
            case _:
                return f"({self._number(tree, whole).text} != 0)"

    def _number(self, tree: ast.expr, whole: Expression) -> Code:
        match tree:
            case ast.Constant() if _is_constant(tree):
                return _constant(whole.literal(tree))
            case ast.Name(id=name) if name in self._numbers:
                return self._named(name)
            case ast.Name() | ast.Attribute() if ast.unparse(tree) in self.places:
                return Code(f"v[{self.places[ast.unparse(tree)]}]", 1)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
                (a, b), scale = _alike(self._number(left, whole), self._number(right, whole))
                return Code(f"({a} {'+' if isinstance(op, ast.Add) else '-'} {b})", scale)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return self._product(left, right, whole)
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return self._ratio(left, right, whole)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _times(self._number(operand, whole), Fraction(-1))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._choice(self._test(test, whole), self._number(body, whole), self._number(orelse, whole))
            case ast.Call(func=ast.Name(id="min" | "max" as chosen), args=args, keywords=[]) if len(args) > 1:
                texts, scale = _alike(*[self._number(each, whole) for each in args])
                return Code(f"{chosen}({', '.join(texts)})", scale)
            case _ if _is_test(tree):
                return Code(f"(u if {self._test(tree, whole)} else 0)", 1)
        raise Unwritten

    def _named(self, name: str) -> Code:
        """A number of the rulebook: a function where it is long, so that the text does not grow with numbers of numbers."""
        if name not in self._known:
            self._known[name] = None
            code = self._number(self._numbers[name].tree, self._numbers[name])
            if len(code.text) > _SHORT:
                function = f"n{len(self.env)}"
                exec(f"def {function}(v, u): return {code.text}", self.env)
                code = Code(f"{function}(v, u)", code.scale)
            self._known[name] = code
        known = self._known[name]
        if known is None:
            raise Unwritten
        return known

    def _product(self, left: ast.expr, right: ast.expr, whole: Expression) -> Code:
        for one, other in ((left, right), (right, left)):
            if self._is_fixed(other, whole):
                return self._scaled(self._number(one, whole), other, whole, 1)
        return Code(f"({_exact(self._number(left, whole))} * {_exact(self._number(right, whole))})", 0)

    def _ratio(self, left: ast.expr, right: ast.expr, whole: Expression) -> Code:
        above = self._number(left, whole)
        if self._is_fixed(right, whole) and not self._may_be_zero(right, whole):
            return self._scaled(above, right, whole, -1)
        (a, b), _ = _alike(above, self._number(right, whole))
        return Code(f"divide({a}, {b})", 0)

    def _is_fixed(self, tree: ast.expr, whole: Expression) -> bool:
        """Whether it is a constant, or a choice of constants."""
        return all(_is_constant(leaf) for leaf, _ in self._leaves(tree, whole))

    def _may_be_zero(self, tree: ast.expr, whole: Expression) -> bool:
        return any(isinstance(leaf, ast.Constant) and part.literal(leaf) == 0 for leaf, part in self._leaves(tree, whole))

    def _leaves(self, tree: ast.expr, whole: Expression) -> list[tuple[ast.expr, Expression]]:
        match tree:
            case ast.IfExp(body=body, orelse=orelse):
                return self._leaves(body, whole) + self._leaves(orelse, whole)
            case ast.Name(id=name) if name in self._numbers:
                return self._leaves(self._numbers[name].tree, self._numbers[name])
        return [(tree, whole)]

    def _scaled(self, code: Code, by: ast.expr, whole: Expression, power: int) -> Code:
        """A product with a choice is a choice of products."""
        match by:
            case ast.IfExp(test=test, body=body, orelse=orelse):
                yes, no = (self._scaled(code, part, whole, power) for part in (body, orelse))
                return self._choice(self._test(test, whole), yes, no)
            case ast.Name(id=name):
                return self._scaled(code, self._numbers[name].tree, self._numbers[name], power)
            case ast.Constant():
                return _times(code, whole.literal(by) ** power)
        raise Unwritten

    def _choice(self, test: str, yes: Code, no: Code) -> Code:
        (a, b), scale = _alike(yes, no)
        return Code(f"({a} if {test} else {b})", scale)


def _is_test(tree: ast.expr) -> bool:
    return isinstance(tree, ast.Compare | ast.BoolOp) or (isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not))


def _is_constant(tree: ast.expr) -> bool:
    return isinstance(tree, ast.Constant) and isinstance(tree.value, int | float) and not isinstance(tree.value, bool)


def _constant(value: Fraction) -> Code:
    return Code(f"{value.numerator} * u" if value else "0", value.denominator)


def _times(code: Code, factor: Fraction) -> Code:
    if not code.scale:
        return Code(f"({code.text} * Fraction({factor.numerator}, {factor.denominator}))", 0)
    return Code(_by(code.text, factor.numerator), code.scale * factor.denominator)


def _by(text: str, factor: int) -> str:
    return text if factor == 1 else f"{factor} * {text}" if text.isidentifier() or text.endswith(")") else f"{factor} * ({text})"


def _exact(code: Code) -> str:
    return f"Fraction({code.text}, {_by('u', code.scale)})" if code.scale else code.text


def _alike(*codes: Code) -> tuple[list[str], int]:
    """The numbers in one unit, and that unit."""
    if not all(code.scale for code in codes):
        return [_exact(code) for code in codes], 0
    scale = lcm(*[code.scale for code in codes])
    return [_by(code.text, scale // code.scale) for code in codes], scale
