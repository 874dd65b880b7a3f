"""Answers on a terminal: tables for people, JSON and CSV for programs. It shows; it computes nothing.

People see numbers rounded to two decimals, half up, and days; JSON carries the exact value, as a fraction where it is no decimal,
and whole times.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

from rich.cells import cell_len

from ledger import exporting
from ledger.exporting import Kind
from ledger.instants import BEGINNING, FOREVER, Instant, day_text, text
from ledger.languages import plain as english
from ledger.languages import t
from ledger.rules.reasons import Reason, exact

FORMATS = ("table", "json", "jsonl", "csv", "parquet")

_NUMERIC = re.compile(r"-?[\d,]+(\.\d+)?", re.ASCII)
_UNSEEN = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != 0x0A}
"""What a terminal would obey instead of showing it."""


class Told(str):
    """What people see; `written` is what programs get."""

    written: str

    def __new__(cls, seen: str, written: str) -> Told:
        told = super().__new__(cls, seen)
        told.written = written
        return told


class Time(Told):
    """An instant as people see it."""

    at: Instant

    def __new__(cls, seen: str, at: Instant) -> Time:
        told = super().__new__(cls, seen, text(at))
        assert isinstance(told, Time)
        told.at = at
        return told


def word(text: str) -> Told:
    """A word in the language that is spoken; programs get it as it is."""
    return Told(t(text), text)


def named(id: str, name: str | None) -> Told:
    """An id with its name; programs get the id."""
    return Told(f"{id} ({name})" if name else id, id)


def when(at: Instant | None) -> str:
    """A day, or a time where it is not 00:00; the last microsecond of a day is shown as that day's end. Programs get the whole time."""
    if at is None or at <= BEGINNING:
        return ""
    if at < FOREVER and (at + 1) % 86_400_000_000 == 0:
        return Time(t("{day} (end of day)", day=text(at)[:10]), at)
    return Time(t("forever") if at >= FOREVER else day_text(at), at)


def number(value: Fraction | None) -> str:
    """Two decimals at most, half up."""
    if value is None:
        return ""
    rounded = (Decimal(value.numerator) / Decimal(value.denominator)).quantize(Decimal("0.01"), ROUND_HALF_UP)
    shown = f"{rounded:,.2f}"
    return shown.rstrip("0").rstrip(".")


def many(count: int, what: str) -> str:
    """A number of things: 1 event, 2 events."""
    return f"{count} {t(what if count == 1 else f'{what}s')}"


def plain(value: Any) -> Any:
    """An answer as what JSON can say: numbers as exact texts, instants as times."""
    if isinstance(value, Reason):
        return _reason(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _field(str(f.type), getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        types = type(value).__annotations__
        return {name: _field(str(types[name]), part) for name, part in zip(value._fields, value, strict=True)}
    if isinstance(value, Fraction):
        return exact(value)
    if isinstance(value, Told):
        return value.written
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value


def _field(annotation: str, value: Any) -> Any:
    if "Instant" in annotation and isinstance(value, int):
        return None if value <= BEGINNING else text(value)
    return plain(value)


def _reason(reason: Reason) -> dict[str, Any]:
    told: dict[str, Any] = {"value": plain(reason.value), "text": reason.text, "op": reason.op}
    if reason.position is not None:
        told["position"] = reason.position
    if reason.until is not None:
        told |= {"since": plain(when(reason.effective_at)) or None, "until": text(reason.until)}
    if reason.assumed:
        told["assumed"] = True
    if reason.source:
        told["source"] = reason.source
    if reason.children:
        told["children"] = [_reason(child) for child in reason.children]
    return told


def say(message: str) -> None:
    """Talk goes to stderr; stdout is for data."""
    print(message, file=sys.stderr)


def hush() -> None:
    """Nobody reads any more: what is still to be flushed goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def emit(answer: Any, format: str) -> None:
    """An answer that is one object; as CSV and in Parquet a line for each value, by its path."""
    match format:
        case "csv":
            _csv(("what", "value"), _paths(plain(answer), ""))
        case "parquet":
            lines = ((path, None if told is None else _written(told)) for path, told in _paths(plain(answer), ""))
            exporting.write_parquet([exporting.Field(name, Kind.TEXT) for name in ("what", "value")], lines, sys.stdout.buffer)
        case _:
            print(json.dumps(plain(answer), ensure_ascii=False, indent=2 if format == "json" else None))


def _paths(told: Any, path: str) -> Iterator[tuple[str, Any]]:
    parts = told.items() if isinstance(told, dict) else enumerate(told) if isinstance(told, list) else None
    if parts is None:
        yield path, told
        return
    for name, part in parts:
        yield from _paths(part, f"{path}.{name}" if path else str(name))


def _csv(columns: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([_key(name) for name in columns])
    writer.writerows(line if _AS_IT_IS.issuperset(map(type, line)) else list(map(_written, line)) for line in lines)


_AS_IT_IS = frozenset((str, int, type(None)))
"""What programs get as it is."""


def _parquet(columns: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    """The columns of CSV, with types; a column in which nothing stands has the type that its name says."""
    names, cells = [_key(name) for name in columns], [[_typed(cell) for cell in line] for line in lines]
    fields = exporting.Shape(names).see(cells).fields(_HOLDS)
    exporting.write_parquet(fields, cells, sys.stdout.buffer)


_HOLDS = {
    **dict.fromkeys(
        ("place", "position", "year", "line", "version", "partners", "came", "went", "assigned", "used", "entitled"), Kind.WHOLE
    ),
    **dict.fromkeys(("score", "sold", "managed", "missing", "points", "value", "change", "gained", "lost", "net"), Kind.EXACT),
    **dict.fromkeys(("at_risk_since", "tier_lost_at", "fails_from", "since", "until", "from", "on", "recorded", "ends", "when"), Kind.TIME),
}


def _typed(cell: Any) -> Any:
    match cell:
        case Time():
            return exporting.At(cell.at)
        case Told():
            return cell.written or None
        case "":
            return None
        case tuple():
            return tuple(map(_written, cell))
        case None | str() | int() | Fraction():
            return cell
    return _written(cell)


def _key(column: str) -> str:
    """The heading of a column as a name in JSON and CSV."""
    return english(str(getattr(column, "written", column))).replace(" ", "_").replace("-", "_")


def _written(cell: Any) -> str:
    """For programs: numbers as decimals, where they are none to six places (JSON has the fraction); ids without names; whole times."""
    if isinstance(cell, Fraction):
        written = exact(cell)
        return written if "/" not in written else exact(Fraction(round(cell * 1_000_000), 1_000_000))
    if isinstance(cell, tuple):
        return ", ".join(map(_written, cell))
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return cell.written if isinstance(cell, Told) else _shown(cell)


def rows(
    columns: Sequence[str], lines: Iterable[Sequence[Any]], format: str, answers: Iterable[Any] | None = None, title: str = ""
) -> None:
    """A list: as a table, CSV or Parquet of the columns, or as JSON of the whole answers. Lines are written as they come."""
    match format:
        case "json":
            _array(_objects(columns, lines, answers))
        case "jsonl":
            write = sys.stdout.write
            for one in _objects(columns, lines, answers):
                write(f"{_LINE.encode(one)}\n")
        case "csv":
            _csv(columns, lines)
        case "parquet":
            _parquet(columns, lines)
        case _:
            table(columns, lines, title)


_LINE, _PARAGRAPH = json.JSONEncoder(ensure_ascii=False), json.JSONEncoder(ensure_ascii=False, indent=2)


def _array(objects: Iterable[Any]) -> None:
    """As `json.dumps` of all of them would, one after the other."""
    before = "["
    for one in objects:
        print(before, _PARAGRAPH.encode(one).replace("\n", "\n  "), sep="\n  ", end="")
        before = ","
    print("[]" if before == "[" else "\n]")


def names(columns: Sequence[str]) -> list[str]:
    """Those that a query gave; one that comes twice is told apart."""
    seen: dict[str, int] = {}
    found = []
    for name in columns:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return found


def answer(columns: Sequence[str], lines: Iterable[Sequence[Any]], format: str) -> None:
    """What a query gave, under the names that it has there."""
    rows([Told(name, name) for name in columns], lines, format)


def _objects(columns: Sequence[str], lines: Iterable[Sequence[Any]], answers: Iterable[Any] | None) -> Iterator[Any]:
    if answers is not None:
        return (plain(answer) for answer in answers)
    keys = [_key(name) for name in columns]
    return ({key: cell if type(cell) in _AS_IT_IS else plain(cell) for key, cell in zip(keys, line, strict=True)} for line in lines)


def _shown(cell: Any) -> str:
    if isinstance(cell, Fraction):
        return number(cell)
    if isinstance(cell, bool):
        return t("yes") if cell else t("no")
    if isinstance(cell, tuple):
        return ", ".join(map(_shown, cell))
    return "" if cell is None else str(cell)


def table(columns: Sequence[str], lines: Iterable[Sequence[Any]], title: str = "") -> None:
    """Columns side by side, numbers by their decimal points; a column in which nothing stands is left out.

    Where they do not fit the terminal, each line is told one cell below the other.
    """
    cells = [[_shown(cell).replace("\n", " ").translate(_UNSEEN) for cell in line] for line in lines]
    if title:
        line(title if cells else t("{title}: none", title=title))
        if not cells:
            return
    headings = [name if isinstance(name, Told) else t(name) for name in columns]
    told = [_column(name, [row[i] for row in cells]) for i, name in enumerate(headings) if not cells or any(row[i] for row in cells)]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if width is not None and sum(cell_len(column[0]) + 2 for column in told) - 2 > width:
        _below(told)
        return
    for row in zip(*told, strict=True):
        line("  ".join(row))


def _column(name: str, cells: list[str]) -> list[str]:
    """Heading and cells, of one width."""
    numeric = any(cells) and all(_NUMERIC.fullmatch(cell) for cell in cells if cell)
    if numeric:
        places = max(len(cell.partition(".")[2]) for cell in cells)
        cells = [cell + " " * _short(cell, places) for cell in cells]
    width = max(map(cell_len, [name, *cells]))
    gaps = [" " * (width - cell_len(cell)) for cell in [name, *cells]]
    return [gap + cell if numeric else cell + gap for gap, cell in zip(gaps, [name, *cells], strict=True)]


def _short(cell: str, places: int) -> int:
    """By how much a number ends before the longest of its column does."""
    _, point, decimals = cell.partition(".")
    return places + (places > 0) - len(decimals) - len(point)


def _below(told: list[list[str]]) -> None:
    names = [column[0].strip() for column in told]
    width = max(map(len, names))
    for i, row in enumerate(zip(*[column[1:] for column in told], strict=True)):
        if i:
            line()
        for name, cell in zip(names, row, strict=True):
            if cell.strip():
                line(f"{name.ljust(width)}  {cell.strip()}")


def line(message: str = "") -> None:
    print(message.rstrip().translate(_UNSEEN))


def tree(reason: Reason, indent: int = 0, *, limit: int = 12, told: set[Reason] | None = None) -> None:
    """A reason as an indented tree; long sums show their largest children, and what was told before is told once."""
    told = set() if told is None else told
    stretch = _stretch(reason.effective_at, reason.until) if reason.until is not None else ""
    at = "  " + t("[position {position}, {stretch}]", position=reason.position, stretch=stretch) if stretch else ""
    marks = (t(" (assumed)") if reason.assumed else "") + (f"  <{reason.source}>" if reason.source else "")
    operation = f" ({reason.op})" if reason.op in (*_AGGREGATES, "min", "max") else ""
    again = reason in told
    line(f"{'  ' * indent}{_factor(reason.value)}  {reason.text}{operation}{marks}{at}{t(' (see above)') if again else ''}")
    if again:
        return
    if reason.children and reason.op in (*_AGGREGATES, "number"):
        told.add(reason)
    children = [child for child in _terms(reason) if not _plain_number(child)]
    children = sorted(children, key=_size, reverse=True) if reason.op in ("sum", "count", "distinct") else children
    for child in children[:limit]:
        tree(child, indent + 1, limit=limit, told=told)
    if len(children) > limit:
        line(f"{'  ' * (indent + 1)}{t('... and {count} more (-o json has all)', count=len(children) - limit)}")


_AGGREGATES = ("sum", "count", "distinct", "median", "each")


def _terms(reason: Reason) -> Iterator[Reason]:
    """What is put together: of a + b + c all three, and not a + b first."""
    for child in reason.children:
        if reason.op == child.op == "+":
            yield from _terms(child)
        else:
            yield child


def _stretch(since: Instant | None, until: Instant) -> str:
    if until >= FOREVER:
        return t("since {when}", when=when(since))
    return t("{since} to {until}", since=when(since), until=when(until))


def _plain_number(reason: Reason) -> bool:
    """A number of the rulebook's text, which the line above shows already."""
    return reason.op == "constant" and _NUMERIC.fullmatch(reason.text) is not None


def _factor(value: Fraction | bool | str) -> str:
    """As a number; what is below 1 and no short decimal as the fraction that it is, so that the product can be checked."""
    if isinstance(value, Fraction) and abs(value) < 1 and (value * 100).denominator != 1:
        return str(value)
    return _shown(value)


def _size(reason: Reason) -> Fraction:
    return abs(reason.value) if isinstance(reason.value, Fraction) else Fraction(0)
