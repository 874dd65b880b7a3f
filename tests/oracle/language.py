"""The rulebook language read a second time: YAML as plain texts, expressions as Python over exact numbers, tables by date.

Nothing here comes from the engine's reader. What is not read raises `Unread`: a word of the language is never passed over.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any

import yaml

import ledger.rules
from ledger.instants import Instant, Span, parse

BOOKS = Path(ledger.rules.__file__).parent / "books"
Spec = dict[str, Any]
Ask = Callable[[str], Any]


class Unread(Exception):
    """A word of the language that the oracle does not read."""


class _Texts(yaml.BaseLoader):
    """Every scalar is text, and the mark of what no owner published is passed over: it changes no answer."""


def _assumed(loader: yaml.BaseLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


_Texts.add_constructor("!assumed", _assumed)


def known(spec: Any, *names: str) -> Spec:
    """The map, if the oracle reads all its keys."""
    spec = spec or {}
    assert isinstance(spec, dict), spec
    strangers = [name for name in spec if name not in names]
    if strangers:
        raise Unread(f"{', '.join(strangers)} in {spec}")
    return spec


def several(spec: Any) -> list[Any]:
    return [] if spec is None else spec if isinstance(spec, list) else [spec]


PRESENCE = ("of", "where", "joined", "for", "to", "after", "while", "if", "hold", "until")
AGGREGATE = ("sum", "count", "distinct", "median", *PRESENCE, "as_at", "times", "on", "unit", "source")
SHAPES = {
    "reached": ("reached", "for", "unit", "source"),
    "sums": ("each", "sums", "is", "unit", "source"),
    "each": ("each", "has", "is", *PRESENCE, "as_at", "unit", "source"),
}
"""What a measure may say, by the word that makes it something else than an aggregate."""
TOP = (
    "book", "programme", "effective", "language", "zone", "label", "sources", "tables", "lists", "derive", "measures", "numbers", "show",
    "tiers", "levels", "awards", "status", "overrides", "benefits",
)  # fmt: skip


@dataclass(frozen=True)
class Need:
    """A requirement; its name is its left side, or the whole of it where it is no comparison."""

    name: str
    test: str


@dataclass(frozen=True)
class Way:
    """One way to a tier."""

    tier: str
    needs: tuple[Need, ...]


@dataclass(eq=False)
class Rules:
    """One rulebook. `ladders` has the ways to the tiers by award, lowest first; "" where there are no awards."""

    spec: Spec
    effective: Instant
    zone: str
    measures: dict[str, Spec]
    roles: dict[str, dict[str, str]]
    numbers: dict[str, str]
    ladders: dict[str, list[Way]]
    levels: list[str]
    tables: dict[str, list[tuple[Instant | None, Spec]]]
    dates: dict[str, str | None] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.spec["book"])

    def rank(self, tier: str | None) -> int:
        return self.levels.index(tier) + 1 if tier in self.levels else 0

    def ladder(self, award: str) -> list[Way]:
        return self.ladders.get(award, [])

    def presences(self) -> Iterator[Spec]:
        """Every presence of every measure, those of gates included."""
        for spec in self.measures.values():
            yield from presences(spec)


def presences(spec: Spec) -> Iterator[Spec]:
    """What a measure or a gate counts, and what that is gated by; what has reached a number counts nothing of its own."""
    if "any" in spec:
        known(spec, "any")
    elif "of" in spec:
        yield spec
    gates = [gate for gate in several(spec.get("if")) if isinstance(gate, dict)]
    for part in (*spec.get("sums", {}).values(), *several(spec.get("while")), *gates, *spec.get("any", ())):
        yield from presences(part)


def books(name: str) -> list[Path]:
    """The files of a programme's rulebooks; what their names are called stands beside them."""
    return sorted(path for path in (BOOKS / name).glob("*.yaml") if path.name != "labels.yaml")


@lru_cache(maxsize=64)
def programme(name: str) -> tuple[Rules, ...]:
    """The rulebooks that ship for a programme, in the order in which they come into force."""
    return tuple(sorted((read(path.read_text()) for path in books(name)), key=lambda rules: rules.effective))


def read(written: str) -> Rules:
    spec = known(yaml.load(written, _Texts), *TOP)
    known(spec.get("overrides"), "tier", "requirement", "points", "for")
    measures = _written_out(spec["measures"])
    for each in measures.values():
        known(each, *next((shape for word, shape in SHAPES.items() if word in each), AGGREGATE))
        for part in each.get("sums", {}).values():
            known(part, "sum", *PRESENCE, "times")
        for gate in [gate for gate in presences(each) if gate is not each and gate not in each.get("sums", {}).values()]:
            known(gate, *PRESENCE, "by")
    for each in spec.get("derive", {}).values():
        known(each, "first", "last", "value", "of", "by", "where", "when", "stated")
    ladders = {"": _ways(spec["tiers"])} if "tiers" in spec else {}
    levels = spec.get("levels") or [way.tier for way in ladders.get("", ())]
    for name, award in spec.get("awards", {}).items():
        known(award, "tiers", "options", "group", "source")
        ways = [way for tiers in award.get("options", {"": award.get("tiers")}).values() for way in _ways(tiers)]
        ladders[name] = sorted(ways, key=lambda way: levels.index(way.tier))
    return Rules(
        spec, parse(spec["effective"]), spec.get("zone", "UTC"), measures, {name: m["is"] for name, m in measures.items() if "each" in m},
        spec.get("numbers", {}), ladders, levels, {name: _rows(table) for name, table in spec.get("tables", {}).items()},
        {name: table.get("on") for name, table in spec.get("tables", {}).items()},
    )  # fmt: skip


def _written_out(measures: dict[str, Spec]) -> dict[str, Spec]:
    """What is `like` another says all that the other says, and comes so much later."""
    found: dict[str, Spec] = {}
    for name, spec in measures.items():
        if "like" in spec:
            spec = _later(found[known(spec, "like", "after", "source")["like"]], spec["after"])
        found[name] = spec
    return found


def _later(spec: Spec, after: str) -> Spec:
    if "sums" in spec:
        return {**spec, "sums": {name: _later(part, after) for name, part in spec["sums"].items()}}
    if "reached" in spec or "as_at" in spec:
        raise Unread(f"{after} later than {spec}")
    return {**spec, "after": [*several(spec.get("after")), after]}


def _ways(tiers: Spec) -> list[Way]:
    found = []
    for tier, needs in tiers.items():
        if isinstance(needs, dict):
            needs = known(needs, "needs", "as_printed", "source")["needs"]
        found.append(Way(tier, tuple(Need(_left(need), need) for need in several(needs))))
    return found


def _left(test: str) -> str:
    tree = ast.parse(test.strip(), mode="eval").body
    return (ast.get_source_segment(test.strip(), tree.left) or "") if isinstance(tree, ast.Compare) else test


# -- tables ----------------------------------------------------------------------------------------------------------


def _rows(table: Spec) -> list[tuple[Instant | None, Spec]]:
    """Each row with all that it inherits; the first has no beginning."""
    known(table, "on", "values", "rows", "source")
    if "values" in table:
        return [(None, table["values"])]
    rows: list[tuple[Instant | None, Spec]] = []
    for day, row in table["rows"].items():
        rows.append((parse(day) if rows else None, _over(rows[-1][1], row) if rows else row))
    return rows


def _over(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return {key: _over(old.get(key), new.get(key, old.get(key))) for key in {**old, **new}}
    return new


class NoRow(Exception):
    """A table says nothing of what is asked."""


class Row:
    """A table at an instant: `row[key]`, `row[key, key]`."""

    def __init__(self, rows: list[tuple[Instant | None, Spec]], at: Instant) -> None:
        self.cells = [cells for since, cells in rows if since is None or since <= at][-1]

    def __getitem__(self, keys: object) -> Fraction | str:
        cell: Any = self.cells
        for key in keys if isinstance(keys, tuple) else (keys,):
            key = {True: "yes", False: "no"}[key] if isinstance(key, bool) else key
            assert isinstance(key, str), key
            if not isinstance(cell, dict) or (key not in cell and "default" not in cell):
                raise NoRow(keys)
            cell = cell.get(key, cell.get("default"))
        if isinstance(cell, dict):
            raise NoRow(keys)
        return as_number(cell)


def as_number(written: str) -> Fraction | str:
    try:
        return Fraction(written)
    except ValueError:
        return written


# -- expressions -----------------------------------------------------------------------------------------------------

_FUNCTIONS: dict[str, Any] = {"truth": bool, "min": min, "max": max}


class _Exact(ast.NodeTransformer):
    """Numbers are taken from the text, dotted names are names, `and` and `or` are true or false."""

    def __init__(self, text: str) -> None:
        self.text = text

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if isinstance(node.value, str):
            return node
        return ast.Name(f"={ast.get_source_segment(self.text, node)}", ast.Load())

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        assert isinstance(node.value, ast.Name)
        return ast.Name(f"{node.value.id}.{node.attr}", ast.Load())

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        return ast.Call(ast.Name("truth", ast.Load()), [node], [])

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """`team` is asked by the names of its roles, which are no numbers."""
        if isinstance(node.func, ast.Name) and node.func.id == "team":
            node.args = [ast.Constant(arg.id) if isinstance(arg, ast.Name) else arg for arg in node.args]
        else:
            self.generic_visit(node)
        return node


@lru_cache(maxsize=10_000)
def _code(text: str) -> CodeType:
    text = text.strip()
    return compile(ast.fix_missing_locations(ast.Expression(_Exact(text).visit(ast.parse(text, mode="eval").body))), text, "eval")


class _Names(dict[str, Any]):
    """The names of one evaluation, asked for as they are met."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask

    def __missing__(self, name: str) -> Any:
        if name.startswith("="):
            return _exact(name)
        return _FUNCTIONS[name] if name in _FUNCTIONS else self.ask(name)


@lru_cache(maxsize=10_000)
def _exact(name: str) -> Fraction | bool:
    return name == "=True" if name in ("=True", "=False") else Fraction(name[1:])


def value(text: str, ask: Ask) -> Any:
    """What an expression comes to, where `ask` says what its names are."""
    return eval(_code(text), {"__builtins__": {}}, _Names(ask))


@lru_cache(maxsize=10_000)
def names(text: str) -> frozenset[str]:
    return frozenset(_code(text).co_names)


def predicate(text: str, held: frozenset[str], lists: dict[str, Any]) -> bool:
    """Whether a condition on codes holds of who holds these."""

    def codes(*asked: str | Iterable[str]) -> set[str]:
        return {code for each in asked for code in ([each] if isinstance(each, str) else each)}

    def ask(name: str) -> Any:
        match name:
            case "n":
                return lambda *asked: Fraction(len(codes(*asked) & held))
            case "any":
                return lambda *asked: bool(codes(*asked) & held)
            case "all":
                return lambda *asked: codes(*asked) <= held
            case _ if name in lists:
                return lists[name]
        raise Unread(f"{name} in {text}")

    return bool(value(text, ask))


def can_be_found(roles: list[tuple[int, frozenset[str]]], taken: frozenset[str] = frozenset()) -> bool:
    """Whether each role has as many people as it asks for, all of them different: every choice is tried."""
    if not roles:
        return True
    (number, people), *others = roles
    if not number:
        return can_be_found(others, taken)
    return any(can_be_found([(number - 1, people), *others], taken | {one}) for one in sorted(people - taken))


def span(written: str) -> Span:
    return Span.parse(written)
