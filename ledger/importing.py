"""Importing: lines of a CSV file to events, by a declarative mapping. It reads and maps; the door decides.

    source: online-retail
    kind: points.sold.v1
    id: $line                       # the number of the line in the file
    time: {column: invoice_date, zone: Europe/London}
    subject: customer_id            # a column
    data:
      amount: {expression: quantity * unit_price}
      currency: {value: GBP}
      client: customer_id

Lines are recorded in order of effective time, then of line. An import that is run again goes on where it stopped.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from ledger.errors import LedgerError, Refusal, Refused
from ledger.events.envelope import Event, decode
from ledger.instants import BEGINNING, Instant, from_datetime, parse, text, zone_of
from ledger.intake import Accepted, Duplicate, Intake
from ledger.rules.expressions import Expression, ExpressionError
from ledger.rules.expressions import parse as parse_expression
from ledger.rules.reasons import Reason, Value
from ledger.rules.yaml_nodes import Node, Problems, compose


class MappingError(LedgerError):
    """The mapping file, or the columns that it names, cannot be used."""

    code = "bad_mapping"
    exit_code = 2


@dataclass(slots=True)
class Counts:
    """accepted + duplicates + refused = received, always."""

    received: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    by_code: dict[str, int] = field(default_factory=dict)

    def refuse(self, code: str) -> None:
        self.refused += 1
        self.by_code[code] = self.by_code.get(code, 0) + 1


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file: its number, its cells, and the event or refusal that it maps to."""

    number: int
    cells: dict[str, str]
    made: Event | Refusal

    @property
    def effective_at(self) -> Instant:
        return self.made.effective_at if isinstance(self.made, Event) else BEGINNING


@dataclass(frozen=True, slots=True)
class Cell:
    """How one attribute is made of a line: from which columns, and by what."""

    make: Callable[[int, Mapping[str, str]], Any]
    columns: tuple[str, ...] = ()

    def read(self, target: str, number: int, cells: Mapping[str, str]) -> Any:
        """The value. Raises Refused (bad_time, bad_cell) with the cells that it cannot be made of."""
        try:
            return self.make(number, cells)
        except (ValueError, ArithmeticError):
            told = ", ".join(f"{name} {cells[name][:60]!r}" for name in self.columns)
            code, hint = ("bad_time", "such as 2024-03-01T12:00:00") if target == "time" else ("bad_cell", "mend the line and import again")
            raise Refused(Refusal(code, f"{target} cannot be made of {told}", hint, f"line {number}")) from None


_NOTHING = Cell(lambda number, cells: None)


class LineMapping:
    """A mapping file, compiled. Raises MappingError with every mistake and its line."""

    def __init__(self, source: str, name: str) -> None:
        problems = Problems(name)
        root = compose(source, problems)
        if root is not None:
            root.allow("source", "kind", "id", "time", "subject", "data")
            self.columns: set[str] = set()
            self._attributes = {
                "specversion": Cell(lambda number, cells: "1.0"),
                "source": self._cell(root.get("source"), literal=True), "type": self._cell(root.get("kind"), literal=True),
                "id": self._cell(root.get("id")), "time": self._cell(root.get("time")), "subject": self._cell(root.get("subject")),
            }  # fmt: skip
            self._names_subject = root.get("subject") is not None
            self._data = {key: self._cell(node) for key, node in root.items("data")}
            if root.get("time") is None or root.get("kind") is None or root.get("source") is None:
                root.problem("missing_key", "a mapping needs source, kind, id, time and data")
        if problems.errors:
            raise MappingError(f"{name} is no mapping", hint="\n  ".join(map(str, problems.errors)))

    def _cell(self, node: Node | None, *, literal: bool = False) -> Cell:
        if node is None:
            return _NOTHING
        if node.is_map:
            return self._described(node)
        return self._plain(node.scalar(), literal=literal)

    def _plain(self, written: str, *, literal: bool) -> Cell:
        if written == "$line":
            return Cell(lambda number, cells: str(number))
        if literal:
            return Cell(lambda number, cells: written)
        return self._of((written,), lambda number, cells: cells[written].strip() or None)

    def _of(self, columns: tuple[str, ...], make: Callable[[int, Mapping[str, str]], Any]) -> Cell:
        self.columns.update(columns)
        return Cell(make, columns)

    def _described(self, node: Node) -> Cell:
        node.allow("column", "value", "expression", "zone", "number")
        if (value := node.get("value")) is not None:
            constant: Any = value.scalar()
            return Cell(lambda number, cells: constant)
        if (written := node.get("expression")) is not None:
            return self._computed(written)
        column = node.text("column")
        if (zone := node.get("zone")) is not None:
            return self._of((column,), _local(column, zone))
        if node.text("number") == "true":
            return self._of((column,), lambda number, cells: int(cells[column]))
        return self._of((column,), lambda number, cells: cells[column].strip() or None)

    def _computed(self, node: Node) -> Cell:
        try:
            expression = parse_expression(node.scalar())
        except ExpressionError as error:
            node.problem(error.code, error.what, hint=error.hint)
            return _NOTHING
        for table in sorted(expression.tables):
            node.problem("unknown_table", f"a mapping has no table {table!r}")
        return self._of(tuple(sorted(expression.names)), lambda number, cells: _decimal(expression, cells))

    def check(self, columns: list[str], name: str) -> None:
        missing = sorted(self.columns - set(columns))
        if missing:
            raise MappingError(f"{name} has no column {', '.join(missing)}", hint=f"its columns: {', '.join(columns)}")

    def line(self, number: int, cells: dict[str, str]) -> Line:
        """One line to an event or a refusal that names the line."""
        where = f"line {number}"
        try:
            attributes = {name: cell.read(name, number, cells) for name, cell in self._attributes.items()}
            data = {name: cell.read(f"data.{name}", number, cells) for name, cell in self._data.items()}
        except Refused as error:
            return Line(number, cells, error.refusal)
        if attributes["subject"] is None and self._names_subject:
            hint = "a line without it belongs to nobody; add it and import again"
            return Line(number, cells, Refusal("subject_missing", "the line names no partner", hint, where))
        attributes["data"] = {name: value for name, value in data.items() if value is not None}
        made = decode({key: value for key, value in attributes.items() if value is not None})
        if isinstance(made, Refusal):
            made = Refusal(made.code, made.reason, made.hint, f"{where}: {made.where}".rstrip(": "))
        return Line(number, cells, made)


class _Cells:
    """The columns of a line as exact numbers, for an expression."""

    def __init__(self, cells: Mapping[str, str]) -> None:
        self._cells = cells

    def value(self, name: str) -> Value:
        return Fraction(Decimal(self._cells[name].strip()))

    def lookup(self, table: str, keys: tuple[str, ...]) -> Value:
        raise MappingError(f"a mapping has no table {table!r}")

    def explain(self, name: str) -> Reason:
        raise AssertionError(name)

    def explain_lookup(self, table: str, keys: tuple[Reason, ...]) -> Reason:
        raise AssertionError(table)


def _decimal(expression: Expression, cells: Mapping[str, str]) -> str:
    value = expression.evaluate(_Cells(cells))
    if isinstance(value, str):
        return value
    scaled = Fraction(value) * 10**9
    if scaled.denominator != 1:
        raise ValueError(f"{expression.text} is no decimal of at most 9 places")
    sign, digits = ("-" if scaled < 0 else ""), str(abs(scaled.numerator)).rjust(10, "0")
    decimals = digits[-9:].rstrip("0")
    return f"{sign}{digits[:-9]}" + (f".{decimals}" if decimals else "") if scaled else "0"


def _local(column: str, zone: Node) -> Callable[[int, Mapping[str, str]], str | None]:
    """A local time of a zone as UTC; a doubled wall time means the first."""
    name = zone.scalar()
    try:
        zone_of(name)
    except (KeyError, ValueError, OSError):
        zone.problem("unknown_zone", f"{name!r} is no time zone", hint="such as Europe/London")

    def utc(number: int, cells: Mapping[str, str]) -> str:
        written = cells[column].strip()
        if written.endswith("Z"):
            return text(parse(written))
        return text(from_datetime(datetime.fromisoformat(written).replace(tzinfo=zone_of(name), fold=0)))

    return utc


def read(mapping: LineMapping, stream: IO[str], name: str) -> list[Line]:
    """Every line of a CSV file, in order of effective time, then of line; lines that map to no event come first."""
    reader = csv.reader(stream)
    header = next(reader, None)
    if header is None:
        raise MappingError(f"{name} is empty", hint="a CSV file with a header line")
    mapping.check(header, name)
    lines = [_line(mapping, number, header, cells) for number, cells in enumerate(_cells(reader), start=2)]
    lines.sort(key=lambda line: (line.effective_at, line.number))
    return lines


def _cells(reader: Iterator[list[str]]) -> Iterator[list[str] | str]:
    """The cells of each line, or why it has none."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield str(error)


def _line(mapping: LineMapping, number: int, header: list[str], cells: list[str] | str) -> Line:
    if isinstance(cells, list) and len(cells) == len(header):
        return mapping.line(number, dict(zip(header, cells, strict=True)))
    reason = cells if isinstance(cells, str) else f"it has {len(cells)} cells, the header {len(header)}"
    return Line(number, {}, Refusal("bad_line", reason, "mend the line and import again", f"line {number}"))


def record(
    lines: list[Line], intake: Intake, batch: int, refused: Callable[[Line, Refusal], None], progress: Callable[[int], None]
) -> Counts:
    """Record the lines in batches; each refusal is handed to `refused`."""
    counts = Counts()
    for chunk in _chunks(lines, batch):
        receipts = intake.record([line.made for line in chunk])
        for line, receipt in zip(chunk, receipts, strict=True):
            counts.received += 1
            match receipt:
                case Accepted():
                    counts.accepted += 1
                case Duplicate():
                    counts.duplicates += 1
                case _:
                    refusal = receipt.refusal
                    counts.refuse(refusal.code)
                    refused(line, refusal if refusal.where.startswith("line ") else _placed(refusal, line))
        progress(len(chunk))
    assert counts.accepted + counts.duplicates + counts.refused == counts.received
    return counts


def _placed(refusal: Refusal, line: Line) -> Refusal:
    return Refusal(refusal.code, refusal.reason, refusal.hint, f"line {line.number}: {refusal.where}".rstrip(": "))


def _chunks(lines: list[Line], size: int) -> Iterator[list[Line]]:
    for begin in range(0, len(lines), size):
        yield lines[begin : begin + size]


def load_mapping(path: Path) -> LineMapping:
    try:
        return LineMapping(path.read_text("utf-8"), path.name)
    except UnicodeDecodeError as error:
        raise MappingError(f"{path.name} is no text in UTF-8: {error.reason}", hint="the mapping comes first, then the CSV file") from None


def load(mapping: LineMapping, path: Path) -> list[Line]:
    """Every line of the file. Raises MappingError where it is no CSV file at all; a line that is wrong is a refusal."""
    try:
        with open_csv(path) as stream:
            return read(mapping, stream, path.name)
    except (UnicodeDecodeError, csv.Error, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise MappingError(f"{path.name} cannot be read: {error}", hint="a CSV file in UTF-8, or one compressed by gzip") from None


@contextmanager
def open_csv(path: Path) -> Iterator[IO[str]]:
    """The text of a CSV file, also where it is compressed by gzip."""
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as stream:
            yield stream
    else:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield stream


def refusal_line(line: Line, refusal: Refusal) -> str:
    """A refusal as a line of JSON, with the cells as they came."""
    told = {"line": line.number, "code": refusal.code, "reason": refusal.reason, "hint": refusal.hint, "cells": line.cells}
    return json.dumps(told, ensure_ascii=False) + "\n"
