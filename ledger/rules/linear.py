"""Linear requirements as integer arithmetic: most thresholds compare a weighted sum of measures with a constant.

`sold + managed >= 123` needs no fraction when values are integers in units of 1/U. What is not linear is judged by its expression.
"""

from __future__ import annotations

import ast
from fractions import Fraction
from math import lcm

from ledger.rules.book import Book
from ledger.rules.expressions import Expression

Terms = dict[int | None, Fraction]  # measure's place -> weight; None -> the constant


Form = tuple[tuple[tuple[int, int], ...], str, int]


def form(test: Expression, book: Book) -> Form | None:
    """Weights by the measure's place, the comparison and the bound, all whole: `weights . values op bound`; None if not linear."""
    parts = test.comparison()
    if parts is None:
        return None
    left, op, right = parts
    places = {name: place for place, name in enumerate(book.measures)}
    terms = _minus(_terms(left.tree, left, book, places), _terms(right.tree, right, book, places))
    if terms is None:
        return None
    scale = lcm(*[weight.denominator for weight in terms.values()])
    bound = int(-terms.pop(None, Fraction(0)) * scale)
    return tuple((place, int(weight * scale)) for place, weight in terms.items() if place is not None), op, bound


def weights(formula: Expression, book: Book) -> dict[str, Fraction] | None:
    """The measures of which a formula is the weighted sum; None where it is not linear, or has a constant."""
    names = list(book.measures)
    terms = _terms(formula.tree, formula, book, {name: place for place, name in enumerate(names)})
    if terms is None or terms.get(None):
        return None
    return {names[place]: weight for place, weight in terms.items() if place is not None}


def _minus(a: Terms | None, b: Terms | None) -> Terms | None:
    return None if b is None else _plus(a, {place: -weight for place, weight in b.items()})


def _plus(a: Terms | None, b: Terms | None) -> Terms | None:
    if a is None or b is None:
        return None
    return {place: a.get(place, Fraction(0)) + b.get(place, Fraction(0)) for place in {**a, **b}}


def _times(terms: Terms | None, factor: Fraction | None) -> Terms | None:
    if terms is None or factor is None:
        return None
    return {place: weight * factor for place, weight in terms.items()}


def _constant_of(terms: Terms | None) -> Fraction | None:
    return terms.get(None, Fraction(0)) if terms is not None and not terms.keys() - {None} else None


def _terms(tree: ast.expr, whole: Expression, book: Book, places: dict[str, int]) -> Terms | None:
    match tree:
        case ast.Constant(value=int() | float()):
            return {None: whole.literal(tree)}
        case ast.Name(id=name) if name in book.numbers:
            formula = book.numbers[name].formula
            return _terms(formula.tree, formula, book, places)
        case ast.Name(id=name) if name in places:
            return {places[name]: Fraction(1)}
        case ast.Attribute(value=ast.Name(id=group), attr=role) if f"{group}.{role}" in places:
            return {places[f"{group}.{role}"]: Fraction(1)}
        case ast.BinOp(left=left, op=op, right=right):
            a, b = (_terms(side, whole, book, places) for side in (left, right))
            return _combined(a, op, b)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _times(_terms(operand, whole, book, places), Fraction(-1))
        case _:
            return None


def _combined(a: Terms | None, op: ast.operator, b: Terms | None) -> Terms | None:
    match op:
        case ast.Add():
            return _plus(a, b)
        case ast.Sub():
            return _minus(a, b)
        case ast.Mult():
            factor = _constant_of(b)
            return _times(a, factor) if factor is not None else _times(b, _constant_of(a))
        case ast.Div():
            divisor = _constant_of(b)
            return _times(a, 1 / divisor) if divisor else None
        case _:
            return None
