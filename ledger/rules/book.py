"""A rulebook as data: measures, numbers, tables, tiers, status policy. It is read here and judged elsewhere.

A rulebook is a YAML file in which every scalar is text; numbers are read exactly by `expressions`. `!assumed` in front of any
value marks what no owner published; whatever rests on it says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from hashlib import sha256
from typing import Any

from ledger import instants
from ledger.instants import BEGINNING, Instant, Span
from ledger.rules.expressions import Expression, ExpressionError, parse
from ledger.rules.yaml_nodes import Node, Problem, Problems, compose

LANGUAGE = 1
AGGREGATES = ("sum", "count", "distinct", "median")
NO_TIER = "none"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Gate:
    """While (or if, at its start) a fact of another presence with the same key is there. `any_of` needs one of its parts."""

    by: tuple[str, ...]
    presence: Presence | None
    any_of: tuple[Gate, ...] = ()


@dataclass(frozen=True, slots=True)
class Presence:
    """When a fact counts: which facts, from when, how long, only while what else."""

    of: str
    where: Expression | None = None
    span: Span | None = None
    after: Span | None = None
    whiles: tuple[Gate, ...] = ()
    ifs: tuple[Gate, ...] = ()
    hold: bool = False
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """An aggregate over the facts present at an instant. `on` now: tables and derived values are read at the instant asked."""

    name: str
    aggregate: str
    presence: Presence
    value: Expression | None
    times: Expression | None
    key: tuple[str, ...]
    on_now: bool
    unit: str
    line: int
    assumed: bool
    source: str


@dataclass(frozen=True, slots=True)
class Table:
    """Dated rows; a later row inherits what it does not restate. Looked up on a derived date, or on the measure's own clock."""

    name: str
    on: str | None
    rows: tuple[tuple[Instant, Row], ...]
    assumed: frozenset[str]
    line: int
    source: str

    def row_at(self, at: Instant) -> tuple[Instant, Row]:
        """The row in force; the first row covers all earlier dates too."""
        chosen = self.rows[0]
        for row in self.rows[1:]:
            if row[0] > at:
                break
            chosen = row
        return chosen


@dataclass(frozen=True, slots=True)
class Derived:
    """A value found beside a fact: its first or last relative of the same key, or the value of a level in force."""

    name: str
    how: str
    of: str
    take: str
    by: tuple[str, ...]
    where: Expression | None
    when: Expression | None
    stated: str | None
    line: int


@dataclass(frozen=True, slots=True)
class Requirement:
    name: str
    test: Expression
    line: int
    assumed: bool
    source: str


@dataclass(frozen=True, slots=True)
class Tier:
    name: str
    needs: tuple[Requirement, ...]
    line: int
    as_printed: bool


@dataclass(frozen=True, slots=True)
class Number:
    name: str
    formula: Expression
    line: int
    assumed: bool


@dataclass(frozen=True, slots=True)
class Continuous:
    """The credited tier is the performance tier."""


@dataclass(frozen=True, slots=True)
class Review:
    """Checkpoints raise, reviews lower: kept if met at one checkpoint of the window, else the best met in it."""

    day: int
    reviews: tuple[tuple[int, int], ...]
    window: int
    hold: Span
    required: str | None
    carry: dict[str, str]


@dataclass(frozen=True, slots=True)
class Membership:
    """Proficiency and purchase make active; the anniversary tests; renewal in its window keeps; else lost."""

    renewal: Span
    remind_before: Span
    remind_after: Span
    next_rows: tuple[tuple[Instant, str, Span], ...]
    test_window: Span | None


Status = Continuous | Review | Membership


@dataclass(frozen=True, slots=True)
class Book:
    """One rulebook. `hash` is the SHA-256 of its bytes; answers name it."""

    name: str
    programme: str
    effective: Instant
    zone: str
    language: int
    text: str
    hash: str
    sources: dict[str, str]
    tables: dict[str, Table]
    derived: dict[str, Derived]
    measures: dict[str, Measure]
    numbers: dict[str, Number]
    tiers: tuple[Tier, ...]
    status: Status
    acts_on: dict[str, str]
    shown: tuple[str, ...]
    label: str = ""
    ranks: dict[str, int] = field(default_factory=dict)

    def rank(self, tier: str | None) -> int:
        """0 is no tier, 1 the lowest."""
        return 0 if tier is None else self.ranks.get(tier, 0)

    def tier(self, name: str) -> Tier:
        for tier in self.tiers:
            if tier.name == name:
                return tier
        raise KeyError(name)


def hash_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def load(text: str, *, name: str = "rulebook") -> Book:
    """Read a rulebook. Raises RulebookProblems with every mistake of form, each with its line."""
    problems = Problems(name)
    root = compose(text, problems)
    book = _book(root, text, problems) if root is not None else None
    problems.raise_if_any()
    assert book is not None
    return book


def _book(root: Node, text: str, problems: Problems) -> Book | None:
    known = (
        "book", "programme", "effective", "language", "zone", "label", "sources", "derive", "tables", "measures",
        "numbers", "show", "tiers", "status", "overrides",
    )  # fmt: skip
    root.allow(*known)
    for required in ("book", "programme", "effective", "language", "measures", "status"):
        if root.get(required) is None:
            root.problem("missing_key", f"a rulebook needs {required!r}")
    language = _whole(root.get("language"), 0)
    if language > LANGUAGE:
        (root.get("language") or root).problem("language_too_new", f"written in language {language}; this ledger reads up to {LANGUAGE}")
    tiers = tuple(_tier(key, node) for key, node in root.items("tiers"))
    book = Book(
        name=root.text("book"),
        programme=root.text("programme"),
        effective=_day(root.get("effective"), BEGINNING),
        zone=_zone(root.get("zone")),
        language=language,
        text=text,
        hash=hash_of(text),
        sources={key: node.scalar() for key, node in root.items("sources")},
        tables={key: _table(key, node) for key, node in root.items("tables")},
        derived={key: _derived(key, node) for key, node in root.items("derive")},
        measures={key: _measure(key, node) for key, node in root.items("measures")},
        numbers={key: _number(key, node) for key, node in root.items("numbers")},
        tiers=tiers,
        status=_status(root.get("status")),
        acts_on=_acts_on(root.get("overrides")),
        shown=tuple(node.scalar() for node in root.list("show")),
        label=root.text("label"),
        ranks={tier.name: rank for rank, tier in enumerate(tiers, start=1)},
    )
    return book if not problems.errors else None


def _day(node: Node | None, default: Instant) -> Instant:
    if node is None:
        return default
    try:
        return instants.parse(node.scalar())
    except ValueError as error:
        node.problem("bad_date", str(error))
        return default


def _whole(node: Node | None, default: int) -> int:
    if node is None:
        return default
    head = node.scalar().split(" ")[0]
    if not head.isdecimal():
        node.problem("bad_number", f"{node.scalar()!r} is not a whole number")
        return default
    return int(head)


def _zone(node: Node | None) -> str:
    if node is None:
        return "UTC"
    try:
        instants.zone_of(node.scalar())
    except (KeyError, ValueError, OSError):
        node.problem("unknown_zone", f"{node.scalar()!r} is no time zone", hint="e.g. UTC or Europe/Amsterdam")
        return "UTC"
    return node.scalar()


def _span(node: Node | None) -> Span | None:
    if node is None:
        return None
    try:
        return Span.parse(node.scalar())
    except ValueError as error:
        node.problem("bad_span", str(error))
        return None


def _span_or(node: Node | None, default: str) -> Span:
    return _span(node) or Span.parse(default)


def _expression(node: Node | None) -> Expression | None:
    if node is None:
        return None
    try:
        return parse(node.scalar())
    except ExpressionError as error:
        node.problem(error.code, error.what, hint=error.hint)
        return None


def _needed(node: Node | None, owner: Node) -> Expression:
    if node is None:
        owner.problem("missing_key", "an expression is missing")
    return _expression(node) or parse("0")


def _names(node: Node | None) -> tuple[str, ...]:
    if node is None:
        return ()
    return tuple(part.scalar() for part in node.parts()) if node.is_list else (node.scalar(),)


def _table(name: str, node: Node) -> Table:
    node.allow("on", "rows", "values", "source")
    values, rows = node.get("values"), list(node.items("rows"))
    dated: list[tuple[Instant, Row]] = []
    assumed: set[str] = set()
    if values is not None and rows:
        node.problem("values_and_rows", f"table {name!r} has both 'values' and dated 'rows'", hint="keep one")
    if values is not None:
        dated.append((BEGINNING, _cells(values, assumed, "")))
    for key, row in rows:
        at = _key_day(key, row)
        if dated and at <= dated[-1][0]:
            row.problem("rows_overlap", f"row {key} of table {name!r} does not begin after the row before it")
        dated.append((at, _inherit(dated[-1][1] if dated else {}, _cells(row, assumed, ""))))
    if not dated:
        node.problem("empty_table", f"table {name!r} has no rows")
        dated.append((BEGINNING, {}))
    on = node.get("on")
    return Table(name, on.scalar() if on else None, tuple(dated), frozenset(assumed), node.line, node.text("source"))


def _key_day(key: str, node: Node) -> Instant:
    try:
        return instants.parse(key)
    except ValueError as error:
        node.problem("bad_date", str(error))
        return BEGINNING


def _cells(node: Node, assumed: set[str], path: str) -> Row:
    row: Row = {}
    for key, cell in node.entries():
        here = f"{path}/{key}" if path else key
        if cell.assumed:
            assumed.add(here)
        row[key] = _cells(cell, assumed, here) if cell.is_map else _cell(cell)
    return row


def _cell(node: Node) -> Fraction | str:
    try:
        return Fraction(node.scalar())
    except ValueError:
        return node.scalar()


def _inherit(before: Row, row: Row) -> Row:
    merged = dict(before)
    for key, cell in row.items():
        old = merged.get(key)
        merged[key] = _inherit(old, cell) if isinstance(old, dict) and isinstance(cell, dict) else cell
    return merged


def _derived(name: str, node: Node) -> Derived:
    node.allow("first", "last", "value", "of", "by", "where", "when", "stated")
    hows = [how for how in ("first", "last", "value") if node.get(how) is not None]
    if len(hows) != 1:
        node.problem("bad_derive", f"{name!r} needs exactly one of: first, last, value")
    how = hows[0] if hows else "first"
    stated = node.get("stated")
    return Derived(
        name, how, node.text("of"), node.text(how), _names(node.get("by")), _expression(node.get("where")),
        _expression(node.get("when")), stated.scalar() if stated else None, node.line,
    )  # fmt: skip


_PRESENCE = ("of", "where", "for", "after", "while", "if", "hold", "until")


def _measure(name: str, node: Node) -> Measure:
    node.allow(*AGGREGATES, *_PRESENCE, "times", "on", "unit", "source", "by")
    chosen = [aggregate for aggregate in AGGREGATES if node.get(aggregate) is not None]
    if len(chosen) != 1:
        node.problem("bad_aggregate", f"measure {name!r} needs exactly one of: {', '.join(AGGREGATES)}")
    aggregate = chosen[0] if chosen else "count"
    on = node.text("on") or "at"
    if on not in ("at", "now"):
        node.problem("bad_clock", f"{on!r}: a measure's tables are read 'on: at' or 'on: now'")
    what = node.get(aggregate)
    return Measure(
        name=name,
        aggregate=aggregate,
        presence=_presence(node),
        value=_expression(what) if aggregate in ("sum", "median") else None,
        times=_expression(node.get("times")),
        key=_names(what) if aggregate == "distinct" else (),
        on_now=on == "now",
        unit=node.text("unit"),
        line=node.line,
        assumed=node.assumed,
        source=node.text("source"),
    )


def _presence(node: Node) -> Presence:
    if not node.text("of"):
        node.problem("missing_key", "'of' is missing: the kind of fact that counts")
    hold, until = node.get("hold"), node.get("until")
    return Presence(
        of=node.text("of"),
        where=_expression(node.get("where")),
        span=_span(node.get("for")),
        after=_span(node.get("after")),
        whiles=_gates(node.get("while")),
        ifs=_gates(node.get("if")),
        hold=hold is not None and hold.scalar() == "true",
        until=until.scalar() if until else None,
    )


def _gates(node: Node | None) -> tuple[Gate, ...]:
    if node is None:
        return ()
    return tuple(_gate(part) for part in (node.parts() if node.is_list else [node]))


def _gate(node: Node) -> Gate:
    options = node.get("any")
    if options is not None:
        node.allow("any")
        return Gate((), None, tuple(_gate(part) for part in options.parts()))
    node.allow(*_PRESENCE, "by")
    return Gate(_names(node.get("by")), _presence(node))


def _number(name: str, node: Node) -> Number:
    return Number(name, _needed(node, node), node.line, node.assumed)


def _tier(name: str, node: Node) -> Tier:
    as_printed, source = False, ""
    needs = node
    if node.is_map:
        node.allow("needs", "as_printed", "source")
        as_printed = node.text("as_printed") == "true"
        source = node.text("source")
        needs = node.get("needs") or node
    parts = [_requirement(part, source) for part in needs.parts()]
    names = [requirement.name for requirement in parts]
    if len(set(names)) < len(names):
        node.problem("requirement_twice", f"tier {name!r} names a requirement twice")
    if name == NO_TIER:
        node.problem("bad_tier", "'none' is no tier's name: it means no tier")
    return Tier(name, tuple(parts), node.line, as_printed)


def _requirement(node: Node, source: str) -> Requirement:
    test = _needed(node, node)
    compared = test.comparison()
    name = compared[0].text if compared else test.text
    return Requirement(name, test, node.line, node.assumed, source)


def _acts_on(node: Node | None) -> dict[str, str]:
    """What an override of each kind of target acts on: the credited result alone, or the performance that the walk sees."""
    acts = {"tier": "credited", "requirement": "performance", "points": "performance"}
    for key, part in node.entries() if node else ():
        if key not in acts or part.scalar() not in ("credited", "performance"):
            part.problem("bad_override", f"{key}: {part.scalar()}", hint="tier|requirement|points: credited|performance")
        acts[key] = part.scalar()
    if acts["requirement"] == "credited" or acts["points"] == "credited":
        assert node is not None
        node.problem("bad_override", "requirements and points act on performance; only a tier can act on credited")
    return acts


def _status(node: Node | None) -> Status:
    if node is None:
        return Continuous()
    node.allow("continuous", "review", "membership")
    entries = list(node.entries())
    if len(entries) != 1:
        node.problem("bad_status", "exactly one of: continuous, review, membership")
        return Continuous()
    kind, policy = entries[0]
    match kind:
        case "review":
            return _review(policy)
        case "membership":
            return _membership(policy)
        case _:
            return Continuous()


def _review(node: Node) -> Review:
    node.allow("checkpoints", "reviews", "window", "hold", "required", "carry", "source")
    required = node.get("required")
    checkpoints = node.text("checkpoints")
    if not checkpoints.startswith("day ") or not checkpoints[4:].isdecimal() or not 1 <= int(checkpoints[4:]) <= 28:
        node.problem("bad_checkpoints", f"{checkpoints!r}: checkpoints are 'day 1' to 'day 28' of each month")
        checkpoints = "day 15"
    day = int(checkpoints[4:])
    reviews = tuple(_month_day(part, day) for part in node.list("reviews"))
    if not reviews:
        node.problem("no_reviews", "'reviews' lists the days of the year on which the tier is reviewed")
    return Review(
        day=day,
        reviews=reviews,
        window=_whole(node.get("window"), 1),
        hold=_span_or(node.get("hold"), "0 days"),
        required=required.scalar() if required else None,
        carry={key: part.scalar() for key, part in node.items("carry")},
    )


def _month_day(node: Node, day: int) -> tuple[int, int]:
    try:
        when = date.fromisoformat(f"2000-{node.scalar()}")
    except ValueError:
        node.problem("bad_date", f"{node.scalar()!r} is no day of the year such as 01-15")
        return 1, day
    if when.day != day:
        node.problem("review_off_checkpoint", f"a review falls on a checkpoint: day {day}, not {when.day}")
    return when.month, when.day


def _membership(node: Node) -> Membership:
    node.allow("renewal", "remind", "next", "test_window", "source")
    remind = node.list("remind")
    before = Span.parse(remind[0].scalar().lstrip("-")) if remind else Span(days=15)
    after = Span.parse(remind[1].scalar()) if len(remind) > 1 else Span(days=23)
    rows = tuple(_next_row(key, part) for key, part in node.items("next"))
    return Membership(
        renewal=_span_or(node.get("renewal"), "30 days"),
        remind_before=before,
        remind_after=after,
        next_rows=rows or ((BEGINNING, "anniversary", Span(days=365)),),
        test_window=_span(node.get("test_window")),
    )


def _next_row(key: str, node: Node) -> tuple[Instant, str, Span]:
    base, _, span = node.scalar().partition(" + ")
    if base not in ("anniversary", "renewal"):
        node.problem("bad_next", f"{node.scalar()!r}: 'anniversary + 365 days' or 'renewal + 365 days'")
    try:
        return _key_day(key, node), base, Span.parse(span or "365 days")
    except ValueError as error:
        node.problem("bad_span", str(error))
        return BEGINNING, base, Span(days=365)


__all__ = ["Book", "Problem", "hash_of", "load"]
