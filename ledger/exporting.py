"""Files for other programs: whole or not there at all, and Parquet with a type for each column. It knows no command and no view.

In Parquet an instant is a timestamp in UTC with microseconds, a whole number an int64, an exact number its text, and beside it, under the
same name with `_micro`, the same in millionths, rounded half to even.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from enum import Enum, auto
from fractions import Fraction
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from ledger.errors import LedgerError
from ledger.instants import DAY, FOREVER, SECOND, Instant, day_start, to_datetime
from ledger.rules.reasons import exact

ENDINGS = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".txt": "table"}
"""What the ending of a file says of its form."""

PAGE = 10_000
GROUP = 100_000
"""So many rows are read at once, and are a row group in Parquet."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_INT64 = 1 << 63


class NoParquet(LedgerError):
    """What writes Parquet is not installed."""

    code = "parquet_missing"
    exit_code = 2


class Kind(Enum):
    """What a column holds."""

    TEXT = auto()
    WHOLE = auto()
    TIME = auto()
    EXACT = auto()
    REAL = auto()
    FLAG = auto()
    LIST = auto()


class Field(NamedTuple):
    name: str
    kind: Kind


class At(int):
    """An instant among whole numbers."""


# -- files ---------------------------------------------------------------------------------------------------------------


@contextmanager
def beside(path: Path) -> Iterator[IO[str]]:
    """A file that takes its name when all of it is written; what was there before stays until then, and after an error."""
    given, path = path, path.resolve()
    if path.exists() and not path.is_file():  # a pipe, a device
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _opened(unfinished, given) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _opened(path: Path, given: Path) -> IO[str]:
    """What cannot be is told of the file that was asked for."""
    try:
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(given)) from error


# -- instants ------------------------------------------------------------------------------------------------------------


def time_text(at: Instant | None) -> str | None:
    """As the views on SQLite have it: texts that compare as times do. No end is None."""
    if at is None or at >= FOREVER:
        return None
    day, micros = divmod(at, DAY)
    return f"{_day_text(day)}T{_clock_text(micros)}Z"


@lru_cache(maxsize=20_000)
def _day_text(day: int) -> str:
    return to_datetime(day * DAY).date().isoformat()


@lru_cache(maxsize=20_000)
def _clock_text(micros: int) -> str:
    return (datetime.min + timedelta(microseconds=micros)).time().isoformat("microseconds")


def _micros(told: str) -> Instant:
    """The instant of such a text."""
    return _day_start(told[:10]) + int(told[11:13]) * _HOUR + int(told[14:16]) * _MINUTE + int(told[17:19]) * SECOND + int(told[20:26])


@lru_cache(maxsize=20_000)
def _day_start(day: str) -> Instant:
    return day_start(date.fromisoformat(day))


_MINUTE, _HOUR = 60 * SECOND, 3600 * SECOND


# -- kinds ---------------------------------------------------------------------------------------------------------------


class Shape:
    """The kinds of columns, by all that stands in them."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._seen: list[set[Kind]] = [set() for _ in names]

    def see(self, rows: Iterable[Sequence[Any]]) -> Shape:
        for row in rows:
            for seen, cell in zip(self._seen, row, strict=True):
                if cell is not None and cell != "":
                    seen.add(_kind(cell))
        return self

    def fields(self, known: Mapping[str, Kind] | None = None) -> list[Field]:
        """`known`: what a column holds in which nothing stands, by its name; a text, where it is not said."""
        known = known or {}
        return [
            Field(name, _common(seen) if seen else known.get(name, Kind.TEXT)) for name, seen in zip(self._names, self._seen, strict=True)
        ]


def _kind(cell: Any) -> Kind:
    match cell:
        case bool():
            return Kind.FLAG
        case At():
            return Kind.TIME
        case int():
            return Kind.WHOLE if -_INT64 <= cell < _INT64 else Kind.TEXT
        case str():
            return Kind.TIME if len(cell) == 27 and _TIME.fullmatch(cell) else Kind.TEXT
        case Fraction():
            return Kind.EXACT
        case float():
            return Kind.REAL
        case tuple():
            return Kind.LIST
    return Kind.TEXT


def _common(seen: set[Kind]) -> Kind:
    if len(seen) == 1:
        return next(iter(seen))
    return next((kind for kind in (Kind.REAL, Kind.EXACT) if seen == {Kind.WHOLE, kind}), Kind.TEXT)


# -- Parquet -------------------------------------------------------------------------------------------------------------


def parquet_library() -> Any:
    """Raises NoParquet where it is not there: before anything is asked."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise NoParquet("Parquet needs pyarrow, which is not installed", hint="pip install 'points-ledger[parquet]'") from error
    return pyarrow


def write_parquet(
    fields: Sequence[Field], rows: Iterable[Sequence[Any]], file: IO[bytes], about: Mapping[str, str] | None = None
) -> None:  # fmt: skip
    """The rows, one group after the other. `about` goes into the file's own description."""
    pa = parquet_library()
    parts = [part for i, field in enumerate(fields) for part in _parts(pa, i, field)]
    schema = pa.schema([(name, type) for name, type, _, _ in parts], metadata=dict(about or {}))
    left = iter(rows)
    with pa.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while group := list(islice(left, GROUP)):
            columns = list(zip(*group, strict=True))
            writer.write_table(pa.table([_array(pa, columns[i], type, into) for _, type, i, into in parts], schema=schema))


def _array(pa: Any, cells: Sequence[Any], type: Any, into: Callable[[Any], Any]) -> Any:
    """What Arrow takes as it is, is not looked at cell by cell."""
    if into not in _ALWAYS:
        try:
            return pa.array(cells, type)
        except (TypeError, ValueError, OverflowError):
            pass
    return pa.array(list(map(into, cells)), type)


def _parts(pa: Any, i: int, field: Field) -> list[tuple[str, Any, int, Callable[[Any], Any]]]:
    """The columns of a field: name, type, which cell of a row, and what is written of it."""
    name = field.name
    match field.kind:
        case Kind.WHOLE:
            return [(name, pa.int64(), i, partial(_something, into=int))]
        case Kind.REAL:
            return [(name, pa.float64(), i, partial(_something, into=float))]
        case Kind.FLAG:
            return [(name, pa.bool_(), i, partial(_something, into=bool))]
        case Kind.TIME:
            return [(name, pa.timestamp("us", tz="UTC"), i, _time)]
        case Kind.EXACT:
            return [(name, pa.string(), i, _exact), (f"{name}_micro", pa.int64(), i, _micro)]
        case Kind.LIST:
            return [(name, pa.list_(pa.string()), i, partial(_something, into=lambda cell: list(map(str, cell))))]
    return [(name, pa.string(), i, _text)]


def _something(cell: Any, into: Callable[[Any], Any]) -> Any:
    return None if cell is None or cell == "" else into(cell)


def _exact(cell: Fraction | int | str | None) -> str | None:
    return None if cell is None or cell == "" else exact(Fraction(cell))


def _micro(cell: Fraction | int | str | None) -> int | None:
    return None if cell is None or cell == "" else round(Fraction(cell) * 1_000_000)


def _time(cell: int | str | None) -> int | None:
    if cell is None or cell == "":
        return None
    at = _micros(cell) if isinstance(cell, str) else cell
    return None if at >= FOREVER else at


def _text(cell: Any) -> str | None:
    match cell:
        case None | str():
            return cell
        case At():
            return time_text(cell)
        case Fraction():
            return exact(cell)
        case tuple():
            return ", ".join(map(str, cell))
    return str(cell)


_ALWAYS = frozenset((_time, _exact, _micro))
"""Of what Arrow would take, and mean something else by it."""
