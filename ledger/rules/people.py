"""Groups of which each member holds codes or has sums: the same people, one of a list, the other person, customers of some size.

`each: person` counts members by a predicate over the codes that they hold. In a predicate `n('A', 'B')` is how many of these codes
one holds, `any(...)` at least one, `all(...)` every one; a name stands for a list of codes. `team(people, 1, sell, 2, pre)` asks for
one member of the first predicate and two others of the second, all different: by Hall's theorem there are such exactly if each choice
of predicates is held by as many members as it asks for, taken together.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Container, Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from itertools import combinations

from ledger.rules.expressions import Expression, ExpressionError, Scope
from ledger.rules.reasons import Reason, Value

HELD = "n"
"""The table that a predicate looks up: how many of these codes one holds."""

ROLES_MAX = 4


class Codes(ast.NodeTransformer):
    """Writes out the predicates: lists of codes, `any` and `all`."""

    def __init__(self, lists: Mapping[str, tuple[str, ...]]) -> None:
        self.lists = lists
        self.named: set[str] = set()
        """Every code that was written out."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if not isinstance(node.func, ast.Name) or node.func.id not in (HELD, "any", "all"):
            return node
        codes = [code for argument in node.args for code in self._codes(argument)]
        if not codes:
            raise ExpressionError(f"{ast.unparse(node)!r} names no codes", hint="e.g. n('A', 'B') >= 1")
        self.named.update(codes)
        held = ast.Subscript(ast.Name(HELD, ast.Load()), ast.Tuple([ast.Constant(code) for code in codes], ast.Load()), ast.Load())
        ast.copy_location(held, node)
        if node.func.id == HELD:
            return held
        wanted = 1 if node.func.id == "any" else len(set(codes))
        return ast.copy_location(ast.Compare(held, [ast.GtE()], [ast.Constant(wanted)]), node)

    def _codes(self, argument: ast.expr) -> tuple[str, ...]:
        match argument:
            case ast.Constant(value=str() as code):
                return (code,)
            case ast.Name(id=name) if name in self.lists:
                return self.lists[name]
        known = f"known: {', '.join(self.lists)}" if self.lists else "no lists are known"
        raise ExpressionError(f"{ast.unparse(argument)!r} is neither a code in quotes nor a list", hint=known)


class Teams(ast.NodeTransformer):
    """Writes out `team(group, n, predicate, m, predicate ...)` as the counts that such a team needs.

    `joined(group, predicates)` gives the name of the measure that counts members of which any of the predicates holds.
    """

    def __init__(self, joined: Callable[[str, tuple[str, ...]], str]) -> None:
        self.joined = joined

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if not isinstance(node.func, ast.Name) or node.func.id != "team":
            self.generic_visit(node)
            return node
        group, roles = _roles(node)
        tests: list[ast.expr] = []
        for size in range(1, len(roles) + 1):
            for chosen in combinations(roles, size):
                name = self.joined(group, tuple(role for _, role in chosen)).partition(".")[2]
                counted = ast.Attribute(ast.Name(group, ast.Load()), name, ast.Load())
                tests.append(ast.Compare(counted, [ast.GtE()], [ast.Constant(sum(n for n, _ in chosen))]))
        return ast.copy_location(ast.BoolOp(ast.And(), tests) if len(tests) > 1 else tests[0], node)


def _roles(node: ast.Call) -> tuple[str, list[tuple[int, str]]]:
    match node.args:
        case [ast.Name(id=group), *pairs] if len(pairs) % 2 == 0 and 2 <= len(pairs) <= 2 * ROLES_MAX:
            roles = []
            for number, role in zip(pairs[::2], pairs[1::2], strict=True):
                match number, role:
                    case ast.Constant(value=int() as n), ast.Name(id=name) if n > 0:
                        roles.append((n, name))
            if len(roles) * 2 == len(pairs) and len({role for _, role in roles}) == len(roles):
                return group, roles
    raise ExpressionError(f"{ast.unparse(node)!r} is no team", hint="e.g. team(people, 1, sell, 2, pre): up to four different predicates")


def teams(text: str) -> list[tuple[str, list[tuple[int, str]]]]:
    """The teams that a requirement asks for: of which group, how many members of which predicate."""
    calls = [node for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Call)]
    return [_roles(node) for node in calls if isinstance(node.func, ast.Name) and node.func.id == "team"]


class Held:
    """What a predicate may ask of one member: which codes it holds."""

    __slots__ = ("codes", "facts")

    def __init__(self, codes: Iterable[str], facts: Mapping[str, Reason] | None = None) -> None:
        self.codes = codes
        self.facts = facts or {}

    def value(self, name: str) -> Value:
        raise AssertionError(name)

    def lookup(self, table: str, keys: tuple[str, ...]) -> Value:
        return Fraction(len([code for code in dict.fromkeys(keys) if code in self.codes]))

    def explain(self, name: str) -> Reason:
        raise AssertionError(name)

    def explain_lookup(self, table: str, keys: tuple[Reason, ...]) -> Reason:
        asked = list(dict.fromkeys(str(key.value) for key in keys))
        held = tuple([self.facts[code] for code in asked if code in self.facts])
        return Reason(Fraction(len(held)), f"of {', '.join(asked)}", "count", held)


class Summed:
    """What a predicate may ask of one member: the sums that it has."""

    __slots__ = ("facts", "sums")

    def __init__(self, sums: Mapping[str, Fraction], facts: Mapping[str, Reason] | None = None) -> None:
        self.sums = sums
        self.facts = facts or {}

    def value(self, name: str) -> Value:
        return self.sums[name]

    def lookup(self, table: str, keys: tuple[str, ...]) -> Value:
        raise AssertionError(table)

    def explain(self, name: str) -> Reason:
        return self.facts[name]

    def explain_lookup(self, table: str, keys: tuple[Reason, ...]) -> Reason:
        raise AssertionError(table)


_: tuple[type[Scope], ...] = (Held, Summed)


@lru_cache(maxsize=10_000)
def holder(holds: Expression) -> Callable[[Container[str]], bool]:
    """A predicate as a function of the codes that one holds: our own text, with codes handed over by reference."""
    env: dict[str, object] = {}
    made: Callable[[Container[str]], bool] = eval(f"lambda codes: {_written(holds.tree, env)}", env)
    return made


def _written(tree: ast.expr, env: dict[str, object]) -> str:
    match tree:
        case ast.BoolOp(op=op, values=values):
            return f"({(' and ' if isinstance(op, ast.And) else ' or ').join([_written(value, env) for value in values])})"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return f"(not {_written(operand, env)})"
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return f"({_written(left, env)} {_SIGNS[type(op)]} {_written(right, env)})"
        case ast.Subscript(slice=ast.Tuple(elts=codes)):
            names = []
            for code in dict.fromkeys(code.value for code in codes if isinstance(code, ast.Constant)):
                names.append(f"c{len(env)}")
                env[names[-1]] = code
            return f"({' + '.join(f'({name} in codes)' for name in names)})"
        case ast.Constant(value=int() as number):
            return str(number)
    raise AssertionError(ast.unparse(tree))


_SIGNS: dict[type[ast.cmpop], str] = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
