"""Right events of every kind, made from the catalogue: a plain value for each form, and strategies for any right value."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

from hypothesis import strategies as st
from pydantic import BaseModel

from ledger.events.catalogue import CATALOGUE, EVENTS
from ledger.events.fields import Field, fields

PLAIN: dict[str, Callable[[Field], Any]] = {
    "id": lambda field: f"{field.name}-1",
    "source": lambda field: "crm/deals",
    "code": lambda field: f"{field.name}.a",
    "amount": lambda field: "12.50",
    "day": lambda field: "2024-02-29",
    "time": lambda field: "2024-03-01T00:00:00Z",
    "day or time": lambda field: "2024-12-31",
    "month": lambda field: "2024-02",
    "currency": lambda field: "EUR",
    "country": lambda field: "NL",
    "text": lambda field: f'{field.name}: "é", \\ and 日本\n',
    "document": lambda field: "name: a book\n",
    "hash": lambda field: "0123456789abcdef" * 4,
    "count": lambda field: 3,
    "number": lambda field: 2,
    "year": lambda field: 2024,
    "flag": lambda field: not field.default,
    "version": lambda field: "1.0",
    "content type": lambda field: "application/json",
    "kind": lambda field: "points.sold.v1",
    "event": lambda field: {"source": "crm/deals", "id": "D-1"},
    "events": lambda field: [{"source": "crm/deals", "id": "D-1"}, {"source": "crm/deals", "id": "D-2"}],
}
"""By form, a value in it."""

NAMED = {
    "cause": "crm/deals D-1",
    "dataschema": "https://example.com/deal.json",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate": "vendor=1",
}
"""By name, what the form alone does not tell."""


def value(field: Field) -> Any:
    return NAMED.get(field.name) or PLAIN[field.form.name](field)


def minimal(kind: str) -> dict[str, Any]:
    """What must be stated, and no more."""
    data = {name: value(field) for name, field in fields(CATALOGUE[kind]).items() if field.required}
    return {"specversion": "1.0", "id": "1", "source": "crm/deals", "type": kind, "time": "2024-03-01T00:00:00Z", "data": data}


def full(kind: str) -> dict[str, Any]:
    """Everything that can be stated, nothing as it is by default."""
    attributes = {name: value(field) for name, field in fields(EVENTS[kind]).items() if name != "data"}
    data = {name: value(field) for name, field in fields(CATALOGUE[kind]).items()}
    return attributes | {"type": kind, "time": "2024-03-01T12:30:15.25+01:00", "recordedtime": "2024-03-02T00:00:00Z", "data": data}


def encoded(attributes: dict[str, Any]) -> bytes:
    return json.dumps(attributes, ensure_ascii=False).encode()


# Any right value ---------------------------------------------------------------------------------------------

_DIGITS = st.integers(0, 10**18 - 1).map(str)
_DAYS = st.dates().map(lambda day: day.isoformat())
_OFFSETS = st.sampled_from(("Z", "Z", "+00:00", "+05:30", "-11:59", "-00:00"))
_CLOCKS = st.builds(
    lambda clock, fraction, offset: f"T{clock.replace(microsecond=0).isoformat()}{fraction}{offset}",
    st.times(), st.sampled_from(("", "", ".5", ".123", ".000001", ".120000")), _OFFSETS,
)  # fmt: skip
_MIDDLE_DAYS = st.dates(min_value=date(2, 1, 1), max_value=date(9998, 1, 1)).map(str)
_TIMES = st.builds(lambda day, clock: day + clock, _MIDDLE_DAYS, _CLOCKS)
_WORD = st.text(st.sampled_from("abzAZ09_.+/-"), min_size=0, max_size=99)
_NO_CONTROLS = st.characters(codec="utf-8", exclude_characters=[*map(chr, range(32)), "\x7f"])
_REFS = st.fixed_dictionaries({"source": st.just("crm"), "id": st.text(_NO_CONTROLS, min_size=1, max_size=5)})

RIGHT: dict[str, st.SearchStrategy[Any]] = {
    "id": st.one_of(st.just("P-1"), st.text(_NO_CONTROLS, min_size=1, max_size=200)),
    "source": st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126), min_size=1, max_size=20),
    "code": st.builds(lambda first, rest: first + rest, st.sampled_from("aZ0"), _WORD),
    "amount": st.builds(
        lambda sign, whole, rest: sign + whole + rest, st.sampled_from(("", "-")), _DIGITS, st.sampled_from(("", ".5", ".123456789"))
    ),
    "day": _DAYS,
    "time": _TIMES,
    "day or time": st.one_of(_DAYS, _TIMES),
    "month": st.builds("{:04}-{:02}".format, st.integers(0, 9999), st.integers(1, 12)),
    "currency": st.text(st.sampled_from("ABZ"), min_size=3, max_size=3),
    "country": st.text(st.sampled_from("ABZ"), min_size=2, max_size=2),
    "text": st.text(min_size=1, max_size=60),
    "document": st.text(min_size=1, max_size=60),
    "hash": st.text(st.sampled_from("0123456789abcdef"), min_size=64, max_size=64),
    "count": st.integers(0, 1_000_000_000),
    "number": st.integers(-1_000_000, 1_000_000),
    "year": st.integers(1990, 2199),
    "flag": st.booleans(),
    "version": st.just("1.0"),
    "content type": st.just("application/json"),
    "event": _REFS,
    "events": st.lists(_REFS, max_size=3),
}
"""By form, any value in it."""


def _values(model: type[BaseModel], skip: tuple[str, ...] = ()) -> st.SearchStrategy[dict[str, Any]]:
    known = {name: field for name, field in fields(model).items() if name not in skip}
    either = {name: st.none() | RIGHT[field.form.name] if field.nullable else RIGHT[field.form.name] for name, field in known.items()}
    return st.fixed_dictionaries(
        {name: either[name] for name, field in known.items() if field.required},
        optional={name: either[name] for name, field in known.items() if not field.required},
    )


def events(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """Any right event of a kind, as a mapping."""
    return st.builds(
        lambda attributes, data: attributes | {"type": kind, "data": data},
        _values(EVENTS[kind], skip=("type", "data")),
        _values(CATALOGUE[kind]),
    )
