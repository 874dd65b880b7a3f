"""A rulebook as data: measures, numbers, tables, tiers, status policy. It is read here and judged elsewhere.

A rulebook is a YAML file in which every scalar is text; numbers are read exactly by `expressions`. `!assumed` in front of any
value marks what no owner published; whatever rests on it says so.
"""

from __future__ import annotations

import re
from ast import BoolOp, NodeTransformer, UnaryOp
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256
from keyword import iskeyword
from typing import Any

from ledger import instants
from ledger.instants import BEGINNING, Instant, Span
from ledger.rules.expressions import Expression, ExpressionError, parse
from ledger.rules.people import HELD, Codes, Held, Summed, Teams
from ledger.rules.yaml_nodes import Node, Problem, Problems, compose, exact

LANGUAGE = 1
LONGEST = Span(months=1200)
AGGREGATES = ("sum", "count", "distinct", "median", "each")
NO_TIER = "none"
NO_RENEWAL = "no renewal"

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
    to_day: int | None = None
    """It counts to 00:00 of this day of the next month."""

    calendar: bool = False
    """It counts by whole months: from the first day after its own month, for the months of the span."""

    joined: tuple[str, ...] = ()
    """Facts of which these fields are the same are one while they follow each other without a gap: it begins with the first of them."""

    given: tuple[Expression, ...] = ()
    """Conditions on measures and numbers, asked once, when it enters."""

    def delayed(self, by: Span) -> Presence:
        """The same facts, so much later."""
        return replace(self, after=by if self.after is None else Span(*map(sum, zip(self.after, by, strict=True))))


@dataclass(frozen=True, slots=True)
class Reached:
    """A measure has come to a bar, which counts for so long."""

    measure: str
    op: str
    bar: Fraction
    span: Span


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
    holds: Expression | None = None
    """Of an `each`: which members count, by the codes that they hold; the last field of `key` is the code."""

    codes: frozenset[str] = frozenset()
    """The codes that can make a difference."""

    as_at: tuple[Instant | str, ...] = ()
    """It is what it was on the last of these days, or when the last fact of these kinds began."""

    reached: Reached | None = None
    """1 where another measure has come to a bar; `presence` is that of the other."""

    @property
    def is_of_earlier(self) -> bool:
        return bool(self.as_at) or self.reached is not None

    parts: tuple[Measure, ...] = ()
    """Of an `each` by `sums`: what is added up for each member, and which members count, by these sums; `key` is the member."""

    def presences(self) -> tuple[Presence, ...]:
        return tuple([part.presence for part in self.parts]) or (self.presence,)


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
    option: str = ""
    """The way to the tier, where an award offers several; one of them is enough."""


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
class Moved:
    """Anniversaries in [since, until) are tested so much later; the renewal is due all the same.

    An award in `excepted` is tested on the day, with so much more of some measures and numbers.
    """

    since: Instant
    until: Instant
    by: Span
    excepted: dict[str, dict[str, Fraction]]


@dataclass(frozen=True, slots=True)
class Membership:
    """Proficiency and purchase make active; the anniversary tests; renewal in its window keeps; else lost."""

    renewal: Span
    remind_before: Span
    remind_after: Span
    next_rows: tuple[tuple[Instant, str, Span], ...]
    test_window: Span | None
    test_months: int | None = None
    moved: tuple[Moved, ...] = ()

    def next_row(self, at: Instant) -> tuple[Instant, str, Span]:
        """By which the year is counted that follows a renewal at `at`; the first row covers all earlier days too."""
        return [row for row in self.next_rows if row[0] <= at or row is self.next_rows[0]][-1]

    def moved_at(self, anniversary: Instant) -> Moved | None:
        return next((moved for moved in self.moved if moved.since <= anniversary < moved.until), None)

    def tested(self, at: Instant, zone: str) -> tuple[Instant, Instant]:
        """Where one instant is enough: the span up to and including `at`, or the whole months of which the last is that of `at`."""
        if self.test_months is not None:
            day = instants.to_datetime(at, zone)
            last = day.year * 12 + day.month - 1
            first = last - self.test_months + 1
            return instants.wall(zone, first // 12, first % 12 + 1), instants.wall(zone, (last + 1) // 12, (last + 1) % 12 + 1) - 1
        return (instants.minus(at, self.test_window, zone) if self.test_window else at), at


Status = Continuous | Review | Membership


@dataclass(frozen=True, slots=True, eq=False)
class Book:
    """One rulebook. `hash` is the SHA-256 of its bytes; answers name it. Equal is only what is the same object."""

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
    overrides_last: Span | None
    """How long an override holds where nobody says."""

    shown: tuple[str, ...]
    lines: dict[str, int]
    """Where each key of the top stands in the text."""

    label: str = ""
    benefits: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What a level brings, in words that are shown and decide nothing."""

    ranks: dict[str, int] = field(default_factory=dict)
    awards: dict[str, Book] = field(default_factory=dict)
    """This rulebook with the tiers of one award; none where it has but one ladder of tiers."""

    among: frozenset[str] = frozenset()
    award: str = ""
    group: str = ""
    """The awards there are; that of which this is the rulebook, and the group to which it belongs."""

    def of(self, award: str) -> Book:
        """This rulebook for one award; one that it does not know has no tiers."""
        return self.awards.get(award) or _without(self, award)

    def all_tiers(self) -> list[Tier]:
        return [*self.tiers, *[tier for book in self.awards.values() for tier in book.tiers]]

    def rank(self, tier: str | None) -> int:
        """0 is no tier, 1 the lowest."""
        return 0 if tier is None else self.ranks.get(tier, 0)

    def tier(self, name: str) -> Tier:
        return self.options(name)[0]

    def options(self, name: str) -> list[Tier]:
        """The ways to a tier. Raises KeyError where there is none."""
        found = [tier for tier in self.tiers if tier.name == name]
        if not found:
            raise KeyError(name)
        return found

    def rests_on(self, names: Iterable[str]) -> list[str]:
        """The measures on which names rest, numbers unfolded, in the rulebook's order."""
        found, open_names = set[str](), list(names)
        while open_names:
            name = open_names.pop()
            if name in self.numbers:
                open_names += self.numbers[name].formula.names
            elif name not in found:
                found.add(name)
                open_names += self._given(name)
        return [name for name in self.measures if name in found]

    def _given(self, name: str) -> list[str]:
        """What a measure asks for when a fact enters it."""
        presences = self.measures[name].presences() if name in self.measures else ()
        return [asked for presence in presences for given in presence.given for asked in given.names]


@lru_cache(maxsize=1024)
def _without(book: Book, award: str) -> Book:
    return replace(book, tiers=(), award=award, awards={})


def hash_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def load(text: str | bytes, *, name: str = "rulebook") -> Book:
    """Read a rulebook. Raises RulebookProblems with every mistake of form, each with its line."""
    problems = Problems(name)
    root = compose(text, problems)
    book = _book(root, text if isinstance(text, str) else text.decode(), problems) if root is not None else None
    problems.raise_if_any()
    assert book is not None
    return book


def _book(root: Node, text: str, problems: Problems) -> Book | None:
    known = (
        "book", "programme", "effective", "language", "zone", "label", "sources", "derive", "tables", "lists", "measures",
        "numbers", "show", "tiers", "levels", "awards", "status", "overrides", "benefits",
    )  # fmt: skip
    root.allow(*known)
    for required in ("book", "programme", "effective", "language", "measures", "status"):
        if root.get(required) is None:
            root.problem("missing_key", f"a rulebook needs {required!r}")
    for part in ("derive", "tables", "lists", "measures", "numbers"):
        _check_names(root, part)
    for part, form in _NAMES.items():
        node = root.get(part)
        if node is not None and not form.fullmatch(node.scalar()):
            node.problem("bad_name", f"{part}: {node.scalar()!r} is no name", hint="letters, digits and _ . + / -, e.g. acme/points-2024")
    language = _whole(root.get("language"), LANGUAGE)
    if language > LANGUAGE:
        (root.get("language") or root).problem("language_too_new", f"written in language {language}; this ledger reads up to {LANGUAGE}")
    measures = _Measures(root)
    tiers = tuple(_tier(key, node, measures) for key, node in root.items("tiers"))
    overrides = root.get("overrides")
    levels = [node.scalar() for node in root.list("levels")] or [tier.name for tier in tiers]
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
        measures=measures.found,
        numbers={key: _number(key, node) for key, node in root.items("numbers")},
        tiers=tiers,
        status=_status(root.get("status")),
        acts_on=_acts_on(overrides),
        overrides_last=_lasting(overrides.get("for")) if overrides else None,
        shown=tuple(node.scalar() for node in root.list("show")),
        lines={key: node.line for key, node in root.entries()},
        label=root.text("label"),
        benefits={key: _names(node) for key, node in root.items("benefits")},
        ranks={level: rank for rank, level in enumerate(levels, start=1)},
        among=frozenset(name for name, _ in root.items("awards")),
    )
    for name, node in root.items("awards"):
        group = node.text("group")
        book.awards[name] = replace(book, tiers=_award(node, measures, book.ranks), award=name, group=group, awards={})
    return book if not problems.errors else None


_NAMES = {"book": re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+/-]{0,99}"), "programme": re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+/-]{0,99}")}
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def _check_names(root: Node, part: str) -> None:
    """What an expression is to read has a name that an expression can write."""
    for name, node in root.items(part):
        _check_word(name, node, "min", "max")


def _check_word(name: str, node: Node, *taken: str) -> None:
    if not _WORD.fullmatch(name) or iskeyword(name) or name in taken:
        node.problem("bad_name", f"{name!r} cannot be read in an expression", hint="letters, digits and _, and no word of the language")


def _day(node: Node | None, default: Instant) -> Instant:
    return default if node is None else _key_day(node.scalar(), node, default)


def _whole(node: Node | None, default: int, unit: str = "") -> int:
    """A whole number from 1, with or without its unit."""
    if node is None:
        return default
    found = re.fullmatch(rf"([1-9][0-9]{{0,8}})(?: {unit}s?)?" if unit else r"([1-9][0-9]{0,8})", node.scalar())
    if found is None:
        node.problem("bad_number", f"{node.scalar()!r} is not a whole number from 1" + (f" of {unit}s" if unit else ""))
        return default
    return int(found[1])


def _flag(node: Node | None) -> bool:
    if node is None:
        return False
    if node.scalar() not in ("true", "false"):
        node.problem("bad_flag", f"{node.scalar()!r} is neither true nor false")
    return node.scalar() == "true"


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
    return None if node is None else _parsed_span(node.scalar(), node)


def _parsed_span(written: str, node: Node) -> Span | None:
    try:
        span = Span.parse(written)
    except ValueError as error:
        node.problem("bad_span", str(error))
        return None
    if instants.plus(0, span) > instants.plus(0, LONGEST):
        node.problem("bad_span", f"{written!r} is longer than a hundred years")
        return None
    return span


def _lasting(node: Node | None) -> Span | None:
    """A span in which something is to be there."""
    span = _span(node)
    if node is not None and span == Span():
        node.problem("bad_span", f"{node.scalar()!r}: nothing counts for no time")
    return span


def _span_or(node: Node | None, default: str) -> Span:
    return _span(node) or Span.parse(default)


def _expression(node: Node | None, unfold: NodeTransformer | None = None) -> Expression | None:
    if node is None:
        return None
    try:
        return parse(node.scalar(), unfold)
    except ExpressionError as error:
        node.problem(error.code, error.what, hint=error.hint)
        return None


def _needed(node: Node | None, owner: Node, unfold: NodeTransformer | None = None) -> Expression:
    if node is None:
        owner.problem("missing_key", "an expression is missing")
    return _expression(node, unfold) or parse("0")


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


def _key_day(key: str, node: Node, default: Instant = BEGINNING) -> Instant:
    try:
        at = instants.parse(key)
    except (ValueError, OverflowError) as error:
        node.problem("bad_date", str(error))
        return default
    if not BEGINNING <= at < instants.FOREVER:
        node.problem("bad_date", f"{key!r} is not within the years 1 to 9999")
        return default
    return at


def _cells(node: Node, assumed: set[str], path: str) -> Row:
    row: Row = {}
    for key, cell in node.entries():
        here = f"{path}/{key}" if path else key
        if cell.assumed:
            assumed.add(here)
        row[key] = _cells(cell, assumed, here) if cell.is_map else _cell(cell)
    return row


def _cell(node: Node) -> Fraction | str:
    number = exact(node.scalar())
    return node.scalar() if number is None else number


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


_PRESENCE = ("of", "where", "joined", "for", "to", "after", "while", "if", "hold", "until")


class _Measures:
    """The measures of a rulebook; each predicate of a group is one, and each union of predicates that a team asks for."""

    def __init__(self, root: Node) -> None:
        self.lists = {key: _names(node) for key, node in root.items("lists")}
        self.found: dict[str, Measure] = {}
        self._groups: dict[str, tuple[Node, Presence, tuple[str, ...], dict[str, str]]] = {}
        for name, node in root.items("measures"):
            if node.get("reached") is not None:
                continue
            if node.get("like") is not None:
                self._like(name, node)
            elif node.get("each") is None:
                self.found[name] = _measure(name, node)
            elif node.get("sums") is not None:
                self._summed(name, node)
            else:
                self._group(name, node)
        for name, node in root.items("measures"):
            if node.get("reached") is not None:
                self._reached(name, node)

    def _reached(self, name: str, node: Node) -> None:
        node.allow("reached", "for", "unit", "source")
        test = _expression(node.get("reached"))
        parts = test.comparison() if test is not None else None
        of = self.found.get(parts[0].text) if parts is not None else None
        bar = parts[2].constant() if parts is not None else None
        if parts is None or of is None or bar is None or parts[1] not in (">=", ">") or of.is_of_earlier or of.aggregate == "median":
            node.problem("bad_aggregate", f"measure {name!r}: 'reached' holds another measure against a number", hint="people.seller >= 50")
            return
        span = _lasting(node.get("for"))
        if span is None:
            node.problem("missing_key", "'for' is missing: how long it counts that the number was reached")
        self.found[name] = replace(
            of, name=name, aggregate="distinct", value=None, times=None, key=(), on_now=False, unit=node.text("unit"), line=node.line,
            assumed=node.assumed, source=node.text("source"), holds=None, codes=frozenset(),
            reached=Reached(of.name, parts[1], bar, span or Span(days=1)),
        )  # fmt: skip

    def _like(self, name: str, node: Node) -> None:
        """Another measure, or each measure of a group, so much later."""
        node.allow("like", "after", "source")
        other, after = node.text("like"), _lasting(node.get("after"))
        if node.get("after") is None:
            node.problem("missing_key", "'after' is missing: how much later it counts")
        those = {each: measure for each, measure in self.found.items() if each == other or each.startswith(f"{other}.")}
        if not those:
            node.problem("unknown_name", f"like: {other!r} is no measure above", hint=f"known: {', '.join(self.found) or 'none'}")
        for each, measure in those.items():
            later = name + each.removeprefix(other)
            parts = tuple([replace(part, presence=part.presence.delayed(after or Span())) for part in measure.parts])
            self.found[later] = replace(
                measure, name=later, presence=measure.presence.delayed(after or Span()), parts=parts, line=node.line,
                assumed=measure.assumed or node.assumed, source=node.text("source") or measure.source,
            )  # fmt: skip

    def _summed(self, name: str, node: Node) -> None:
        """A group of which each member has sums; each predicate over them is a measure of its own."""
        node.allow("each", "sums", "is", "unit", "source")
        key = _names(node.get("each"))
        parts = tuple([self._sum(part, each, key) for part, each in node.items("sums")])
        predicates = list(node.items("is"))
        if not parts or not predicates:
            node.problem("missing_key", "'sums' and 'is' are needed: what is added up for each, and which members count")
            return
        for role, at in predicates:
            _check_word(role, at)
            holds = _expression(at)
            if holds is None:
                continue
            names = [part.name for part in parts]
            strangers = sorted(holds.names - set(names) | holds.tables)
            if strangers or (holds.comparison() is None and not isinstance(holds.tree, BoolOp | UnaryOp)):
                hint = f"sums here: {', '.join(names)}"
                at.problem("bad_predicate", f"{at.scalar()!r} is no condition on the sums of a member", hint=hint)
            elif holds.evaluate(Summed(dict.fromkeys(names, Fraction(0)))):
                at.problem("bad_predicate", f"{at.scalar()!r} holds of those who have nothing", hint="ask for something, e.g. and x > 0")
            else:
                self.found[f"{name}.{role}"] = Measure(
                    f"{name}.{role}", "each", parts[0].presence, None, None, key, False, node.text("unit"), at.line,
                    node.assumed or at.assumed, node.text("source"), holds, parts=parts,
                )  # fmt: skip

    def _sum(self, name: str, node: Node, key: tuple[str, ...]) -> Measure:
        node.allow("sum", *_PRESENCE, "times", "by")
        _check_word(name, node)
        if node.get("sum") is None:
            node.problem("bad_aggregate", f"{name!r} needs 'sum': the field that is added up")
        presence, value, times = _presence(node), _expression(node.get("sum")), _expression(node.get("times"))
        return Measure(name, "sum", presence, value, times, key, False, "", node.line, node.assumed, "")

    def _group(self, name: str, node: Node) -> None:
        node.allow("each", "has", "is", *_PRESENCE, "as_at", "unit", "source", "by")
        key = (*_names(node.get("each")), node.text("has") or "code")
        predicates = {role: part.scalar() for role, part in node.items("is")}
        if not predicates:
            node.problem("missing_key", "'is' is missing: which members count", hint="distinct counts them all")
        self._groups[name] = node, _presence(node), key, predicates
        for role, part in node.items("is"):
            _check_word(role, part)
            self._add(f"{name}.{role}", name, part.scalar(), part)

    def _add(self, name: str, group: str, predicate: str, at: Node) -> None:
        node, presence, key, _ = self._groups[group]
        codes = Codes(self.lists)
        try:
            holds = parse(predicate, codes)
        except ExpressionError as error:
            at.problem(error.code, error.what, hint=error.hint)
            return
        if holds.names or holds.tables - {HELD} or (holds.comparison() is None and not isinstance(holds.tree, BoolOp | UnaryOp)):
            at.problem("bad_predicate", f"{predicate!r} is no condition on codes", hint="e.g. n('A', 'B') >= 1 and any('C')")
        elif holds.evaluate(Held(())):
            at.problem("bad_predicate", f"{predicate!r} holds of those who hold nothing", hint="ask for at least one code")
        self.found[name] = Measure(
            name, "each", presence, None, None, key, False, node.text("unit"), at.line, node.assumed or at.assumed, node.text("source"),
            holds, frozenset(codes.named), _as_at(node.get("as_at")),
        )  # fmt: skip

    def joined(self, group: str, roles: tuple[str, ...]) -> str:
        """The measure that counts members of which any of the predicates holds. Raises ExpressionError."""
        if group not in self._groups:
            raise ExpressionError(f"{group!r} is no group", hint=f"measures with 'each': {', '.join(self._groups) or 'none'}")
        node, _, _, predicates = self._groups[group]
        for role in roles:
            if role not in predicates:
                raise ExpressionError(f"{role!r} is no predicate of {group}", hint=f"known: {', '.join(predicates)}")
        name = f"{group}.{'_or_'.join(roles)}"
        if name not in self.found:
            self._add(name, group, " or ".join(f"({predicates[role]})" for role in roles), node)
        return name


def _measure(name: str, node: Node) -> Measure:
    node.allow(*(each for each in AGGREGATES if each != "each"), *_PRESENCE, "as_at", "times", "on", "unit", "source", "by")
    chosen = [aggregate for aggregate in AGGREGATES if node.get(aggregate) is not None]
    if len(chosen) != 1:
        node.problem("bad_aggregate", f"measure {name!r} needs exactly one of: {', '.join(AGGREGATES)}")
    aggregate = chosen[0] if chosen else "count"
    on = node.text("on") or "at"
    if on not in ("at", "now"):
        node.problem("bad_clock", f"{on!r}: a measure's tables are read 'on: at' or 'on: now'")
    what = node.get(aggregate)
    if aggregate == "count" and what is not None and what.scalar() != "all":
        what.problem("bad_aggregate", "a count is written 'count: all'", hint="'where' says which facts count")
    if aggregate in ("count", "distinct") and node.get("times") is not None:
        node.problem("bad_aggregate", f"measure {name!r}: 'times' weighs a sum or a median, not a {aggregate}")
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
        as_at=_as_at(node.get("as_at")),
    )


def _as_at(node: Node | None) -> tuple[Instant | str, ...]:
    """Days, and kinds of facts that begin one."""
    parts = [] if node is None else node.parts()
    if node is not None and not parts:
        node.problem("bad_date", "'as_at' lists days, and kinds of facts", hint="e.g. [2020-10-01, renewed]")
    return tuple(_key_day(part.scalar(), part) if part.scalar()[:1].isdigit() else part.scalar() for part in parts)


def _presence(node: Node) -> Presence:
    if not node.text("of"):
        node.problem("missing_key", "'of' is missing: the kind of fact that counts")
    hold, until = node.get("hold"), node.get("until")
    lasting, whole = node.get("for"), _CALENDAR.fullmatch(node.text("for"))
    return Presence(
        of=node.text("of"),
        where=_expression(node.get("where")),
        span=_parsed_span(f"{whole[1]} months", lasting) if whole and lasting else _lasting(lasting),
        after=_span(node.get("after")),
        whiles=tuple([_gate(part) for part in _several(node.get("while"))]),
        ifs=tuple([_gate(part) for part in _several(node.get("if")) if part.is_map or part.is_list]),
        hold=_flag(hold),
        until=until.scalar() if until else None,
        to_day=_to_day(node.get("to"), lasting),
        calendar=whole is not None,
        joined=_names(node.get("joined")),
        given=_given(node.get("if")),
    )


_CALENDAR = re.compile(r"([1-9][0-9]{0,3}) calendar months?")


def _to_day(node: Node | None, lasting: Node | None) -> int | None:
    if node is None:
        return None
    day = node.scalar().removeprefix("day ")
    if lasting is not None or not node.scalar().startswith("day ") or not day.isdecimal() or not 1 <= int(day) <= 28:
        node.problem("bad_span", "'to' is 'day 1' to 'day 28' of the next month, and stands in place of 'for'")
        return None
    return int(day)


def _several(node: Node | None) -> list[Node]:
    return [] if node is None else node.parts() if node.is_list else [node]


def _given(node: Node | None) -> tuple[Expression, ...]:
    """The conditions of an `if` that are written as expressions."""
    found = [_expression(part) for part in _several(node) if not part.is_map and not part.is_list]
    return tuple([each for each in found if each is not None])


def _gate(node: Node) -> Gate:
    options = node.get("any")
    if options is not None:
        node.allow("any")
        parts = tuple(_gate(part) for part in options.parts())
        if not parts:
            options.problem("empty_any", "'any' of nothing is never there")
        return Gate((), None, parts)
    node.allow(*_PRESENCE, "by")
    return Gate(_names(node.get("by")), _presence(node))


def _number(name: str, node: Node) -> Number:
    return Number(name, _needed(node, node), node.line, node.assumed)


def _award(node: Node, measures: _Measures, ranks: dict[str, int]) -> tuple[Tier, ...]:
    """The tiers of an award, lowest first; where it offers several options, each of them has tiers."""
    node.allow("options", "tiers", "group", "source")
    if (node.get("options") is None) == (node.get("tiers") is None):
        node.problem("bad_award", "an award has either 'tiers' or 'options', each with its tiers")
    options = [(name, option) for name, option in node.items("options")] or [("", part) for part in [node.get("tiers")] if part]
    tiers = []
    for option, part in options:
        for level, needs in part.entries():
            if level not in ranks:
                needs.problem(
                    "unknown_tier", f"{level!r} is no level of this rulebook", hint=f"levels: {', '.join(ranks) or 'none are listed'}"
                )
            tiers.append(replace(_tier(level, needs, measures, node.text("source")), option=option))
    return tuple(sorted(tiers, key=lambda tier: ranks.get(tier.name, 0)))


def _tier(name: str, node: Node, measures: _Measures, source: str = "") -> Tier:
    as_printed = False
    needs = node
    if node.is_map:
        node.allow("needs", "as_printed", "source")
        as_printed = _flag(node.get("as_printed"))
        source = node.text("source") or source
        needs = node.get("needs") or node
    parts = [_requirement(part, source, measures) for part in needs.parts()]
    names = [requirement.name for requirement in parts]
    for i, part in enumerate(parts):
        if part.name in names[:i]:
            needs.parts()[i].problem("requirement_twice", f"tier {name!r} asks for {part.name!r} twice")
    if name == NO_TIER:
        node.problem("bad_tier", "'none' is no tier's name: it means no tier")
    return Tier(name, tuple(parts), node.line, as_printed)


def _requirement(node: Node, source: str, measures: _Measures) -> Requirement:
    test = _needed(node, node, Teams(measures.joined))
    compared = test.comparison()
    name = compared[0].text if compared else node.scalar()
    return Requirement(name, test, node.line, node.assumed, source)


def _acts_on(node: Node | None) -> dict[str, str]:
    """What an override of each kind of target acts on: the credited result alone, or the performance that the walk sees."""
    acts = {"tier": "credited", "requirement": "performance", "points": "performance"}
    for key, part in node.entries() if node else ():
        if key == "for":
            continue
        if key not in acts or part.scalar() not in ("credited", "performance"):
            part.problem("bad_override", f"{key}: {part.scalar()}", hint="tier|requirement|points: credited|performance, for: 3 months")
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
            if policy.is_map or policy.scalar():
                policy.allow()
            return Continuous()


_CHECKPOINTS = frozenset(f"day {day}" for day in range(1, 29))


def _review(node: Node) -> Review:
    node.allow("checkpoints", "reviews", "window", "hold", "required", "carry", "source")
    required = node.get("required")
    checkpoints = node.text("checkpoints")
    if checkpoints not in _CHECKPOINTS:
        node.problem("bad_checkpoints", f"{checkpoints!r}: checkpoints are 'day 1' to 'day 28' of each month")
        checkpoints = "day 15"
    day = int(checkpoints[4:])
    reviews = tuple(_month_day(part, day) for part in node.list("reviews"))
    if not reviews:
        node.problem("no_reviews", "'reviews' lists the days of the year on which the tier is reviewed")
    return Review(
        day=day,
        reviews=reviews,
        window=_whole(node.get("window"), 1, "checkpoint"),
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
    node.allow("renewal", "remind", "next", "moved", "test_window", "test_months", "source")
    before, after = _reminders(node)
    rows: list[tuple[Instant, str, Span]] = []
    for key, part in node.items("next"):
        row = _next_row(key, part)
        if rows and row[0] <= rows[-1][0]:
            part.problem("rows_overlap", f"row {key} of 'next' does not begin after the row before it")
        rows.append(row)
    return Membership(
        renewal=_span_or(node.get("renewal"), "30 days"),
        remind_before=before,
        remind_after=after,
        next_rows=tuple(rows) or ((BEGINNING, "anniversary", Span(days=365)),),
        test_window=_span(node.get("test_window")),
        test_months=_whole(node.get("test_months"), 1, "month") if node.get("test_months") else None,
        moved=_moved(node),
    )


def _moved(node: Node) -> tuple[Moved, ...]:
    rows: list[Moved] = []
    for part in node.list("moved"):
        part.allow("from", "until", "by", "except")
        for name in ("from", "until", "by"):
            if part.get(name) is None:
                part.problem("missing_key", f"{name!r} is missing", hint="{from: 2020-01-01, until: 2020-07-01, by: 12 months}")
        since, until = _day(part.get("from"), BEGINNING), _day(part.get("until"), instants.FOREVER)
        if until <= since or (rows and since < rows[-1].until):
            part.problem(
                "rows_overlap", "it ends before it begins, or begins before the one above has ended", hint="'until' is the day after"
            )
        excepted = {award: {name: _points(cell) for name, cell in more.entries()} for award, more in part.items("except")}
        rows.append(Moved(since, until, _lasting(part.get("by")) or Span(), excepted))
    return tuple(rows)


def _points(node: Node) -> Fraction:
    number = exact(node.scalar())
    if number is None:
        node.problem("bad_number", f"{node.scalar()!r} is no number")
    return number or Fraction(0)


def _reminders(node: Node) -> tuple[Span, Span]:
    """One reminder before the anniversary, one after it: [-15 days, 23 days]."""
    remind = node.get("remind")
    before, after = Span(days=15), Span(days=23)
    if remind is None:
        return before, after
    parts = remind.parts()
    if len(parts) != 2 or not parts[0].scalar().startswith("-") or parts[1].scalar().startswith("-"):
        remind.problem("bad_reminders", "one span before the anniversary and one after it", hint="e.g. [-15 days, 23 days]")
        return before, after
    return _parsed_span(parts[0].scalar().removeprefix("-"), parts[0]) or before, _span(parts[1]) or after


def _next_row(key: str, node: Node) -> tuple[Instant, str, Span]:
    base, plus, span = node.scalar().partition(" + ")
    if node.scalar() == NO_RENEWAL:
        return _key_day(key, node), NO_RENEWAL, Span()
    if base not in ("anniversary", "renewal") or not plus:
        node.problem("bad_next", f"{node.scalar()!r}: 'anniversary + 365 days', 'renewal + 365 days' or '{NO_RENEWAL}'")
        return _key_day(key, node), "anniversary", Span(days=365)
    return _key_day(key, node), base, _parsed_span(span, node) or Span(days=365)


__all__ = ["Book", "Problem", "hash_of", "load"]
