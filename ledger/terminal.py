"""Answers on a terminal: tables for people, JSON and CSV for programs. It shows; it computes nothing.

Numbers are shown rounded to two decimals, half up; JSON carries the exact value, as a fraction where it is no decimal.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ledger.instants import BEGINNING, FOREVER, Instant, day_text, text
from ledger.rules.reasons import Reason


class Named(str):
    """An id that people see with its name; programs get the id."""

    id: str

    def __new__(cls, id: str, name: str | None) -> Named:
        named = super().__new__(cls, f"{id} ({name})" if name else id)
        named.id = id
        return named


FORMATS = ("table", "json", "jsonl", "csv")


def number(value: Fraction | None) -> str:
    """Two decimals at most, half up."""
    if value is None:
        return ""
    rounded = (Decimal(value.numerator) / Decimal(value.denominator)).quantize(Decimal("0.01"), ROUND_HALF_UP)
    shown = f"{rounded:,.2f}"
    return shown.rstrip("0").rstrip(".")


def exact(value: Fraction) -> str:
    """A decimal where the value is one, else a fraction."""
    twos_and_fives = value.denominator
    for prime in (2, 5):
        while twos_and_fives % prime == 0:
            twos_and_fives //= prime
    if twos_and_fives != 1:
        return str(value)
    digits = len(str(value.denominator))
    return f"{Decimal(value.numerator) / Decimal(value.denominator):.{4 * digits}f}".rstrip("0").rstrip(".") if value else "0"


def when(at: Instant | None) -> str:
    """A day, or a time where it is not 00:00; the last microsecond of a day is shown as that day's end."""
    if at is None or at <= BEGINNING:
        return ""
    if at < FOREVER and (at + 1) % 86_400_000_000 == 0:
        return f"{text(at)[:10]} (end of day)"
    return day_text(at)


def plain(value: Any) -> Any:
    """An answer as what JSON can say: numbers as exact texts, instants as times."""
    if isinstance(value, Reason):
        return _reason(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _field(str(f.type), getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Fraction):
        return exact(value)
    if isinstance(value, Named):
        return value.id
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
        told |= {"since": when(reason.effective_at), "until": when(reason.until)}
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


def emit(answer: Any, format: str) -> None:
    """An answer that is one object; as CSV a line for each value, by its path."""
    if format == "csv":
        _csv(("what", "value"), _paths(plain(answer), ""))
    else:
        print(json.dumps(plain(answer), ensure_ascii=False, indent=2 if format == "json" else None))


def _paths(told: Any, path: str) -> Iterator[tuple[str, Any]]:
    parts = told.items() if isinstance(told, dict) else enumerate(told) if isinstance(told, list) else None
    if parts is None:
        yield path, told
        return
    for name, part in parts:
        yield from _paths(part, f"{path}.{name}" if path else str(name))


def _csv(columns: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[_written(cell) for cell in line] for line in lines])
    print(out.getvalue(), end="")


def _written(cell: Any) -> str:
    """For programs: numbers as decimals, where they are none to six places (JSON has the fraction); ids without names."""
    if isinstance(cell, Fraction):
        written = exact(cell)
        return written if "/" not in written else exact(Fraction(round(cell * 1_000_000), 1_000_000))
    return cell.id if isinstance(cell, Named) else _shown(cell)


def rows(
    columns: Sequence[str], lines: Iterable[Sequence[Any]], format: str, answers: Iterable[Any] | None = None, title: str = ""
) -> None:
    """A list: as a table or CSV of the columns, or as JSON of the whole answers."""
    match format:
        case "json":
            print(json.dumps(_objects(columns, lines, answers), ensure_ascii=False, indent=2))
        case "jsonl":
            for one in _objects(columns, lines, answers):
                print(json.dumps(one, ensure_ascii=False))
        case "csv":
            _csv(columns, lines)
        case _:
            table(columns, lines, title)


def _objects(columns: Sequence[str], lines: Iterable[Sequence[Any]], answers: Iterable[Any] | None) -> list[Any]:
    if answers is not None:
        return [plain(answer) for answer in answers]
    return [{name: plain(cell) for name, cell in zip(columns, line, strict=True)} for line in lines]


def _shown(cell: Any) -> str:
    if isinstance(cell, Fraction):
        return number(cell)
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return "" if cell is None else str(cell)


def table(columns: Sequence[str], lines: Iterable[Sequence[Any]], title: str = "") -> None:
    console = _console()
    shown = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    cells = [list(line) for line in lines]
    for i, name in enumerate(columns):
        right = any(isinstance(line[i], Fraction | int) and not isinstance(line[i], bool) for line in cells)
        shown.add_column(name, justify="right" if right else "left", overflow="fold")
    for line in cells:
        shown.add_row(*[Text(_shown(cell)) for cell in line])
    console.print(shown)


def line(message: str = "") -> None:
    _console().print(Text(message), soft_wrap=True)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def tree(reason: Reason, indent: int = 0, *, limit: int = 12) -> None:
    """A reason as an indented tree; long sums show their largest children."""
    value = reason.value
    shown = number(value) if isinstance(value, Fraction) else _shown(value)
    at = f"  [position {reason.position}, {when(reason.effective_at)} to {when(reason.until)}]" if reason.until is not None else ""
    marks = (" (assumed)" if reason.assumed else "") + (f"  <{reason.source}>" if reason.source else "")
    operation = f" ({reason.op})" if reason.op in ("sum", "count", "distinct", "median", "min", "max") else ""
    line(f"{'  ' * indent}{shown}  {reason.text}{operation}{marks}{at}")
    children = sorted(reason.children, key=_size, reverse=True) if reason.op in ("sum", "count", "distinct") else list(reason.children)
    for child in children[:limit]:
        tree(child, indent + 1, limit=limit)
    if len(children) > limit:
        line(f"{'  ' * (indent + 1)}... and {len(children) - limit} more (-o json has all)")


def _size(reason: Reason) -> Fraction:
    return abs(reason.value) if isinstance(reason.value, Fraction) else Fraction(0)
