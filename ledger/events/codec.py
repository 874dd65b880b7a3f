"""The fast way in and out: structures of msgspec and shapes of bytes, generated from the catalogue field by field.

A structure checks names, types, lengths and bounds while it reads. Patterns would take most of its time, one call for each field;
so they are checked all at once and afterwards, on the canonical bytes that were written: that is the shape. What has the shape is
right. What has not may be right all the same (a text with an escape, say), and is for the catalogue to judge.

Nothing is stated here that is not read from the catalogue; a property test holds both to the same verdicts and values.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, ClassVar, Protocol

import msgspec
from pydantic import BaseModel

from ledger.events.catalogue import CATALOGUE, EVENTS, Attributes
from ledger.events.fields import Field, fields


class Envelope(Protocol):
    """An event as it was read. It can be changed, until it is canonical."""

    kind: ClassVar[str]
    days: ClassVar[tuple[str, ...]]
    """The fields of the data that name a day or time."""
    id: str
    source: str
    subject: str | None
    time: str
    recordedtime: str | None
    cause: str | None
    datacontenttype: str | None
    data: Any


@cache
def _struct(model: type[BaseModel]) -> type[msgspec.Struct]:
    """The structure of a model. In writing it leaves out what says nothing: an optional field that is null or absent."""
    kind: dict[str, Any] = {"frozen": True}
    members = list(fields(model).values())
    if issubclass(model, Attributes):
        members = [field for field in members if field.name != "type"]  # it is the tag, by which the structure is chosen
        kind = _tagged(fields(model)["data"].type)
    return msgspec.defstruct(
        model.__name__, [_member(field) for field in members],
        kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False, module=__name__, **kind,
    )  # fmt: skip


def _tagged(data: Any) -> dict[str, Any]:
    days = tuple(field.name for field in fields(data).values() if field.in_calendar)
    return {"tag_field": "type", "tag": data.kind, "namespace": {"kind": data.kind, "days": days}}


def _member(field: Field) -> tuple[str, Any] | tuple[str, Any, Any]:
    if field.required:
        return field.name, _type(field)
    if field.default is None:
        return field.name, _type(field), None
    return field.name, _type(field), msgspec.field(default_factory=lambda: field.default)  # by a factory, so that it is written


def _type(field: Field) -> Any:
    single: Any = _struct(field.type) if _is_model(field) else field.type
    if field.bounds:
        bounds: dict[str, Any] = {**field.bounds}
        single = Annotated[single, msgspec.Meta(**bounds)]
    several: Any = tuple.__class_getitem__((single, ...)) if field.many else single
    return several | None if field.nullable else several


def _is_model(field: Field) -> bool:
    return isinstance(field.type, type) and issubclass(field.type, BaseModel)


# Shapes ------------------------------------------------------------------------------------------------------

_TEXT = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'


class Shapes(dict[str, Callable[[bytes], object]]):
    """By kind, what tells whether bytes that were written by `write` have the canonical shape. Made when first asked for."""

    def __missing__(self, kind: str) -> Callable[[bytes], object]:
        self[kind] = re.compile(_shape(EVENTS[kind]).encode()).fullmatch
        return self[kind]


def _shape(model: type[BaseModel]) -> str:
    """A pattern of the bytes: the fields in order of name, those that may be left out with the comma that comes with them."""
    parts = sorted(fields(model).values())
    first = next((place for place, field in enumerate(parts) if field.written), len(parts))
    before = "".join(_optional(f"{_part(field)},?") for field in parts[:first])
    after = "".join(f",{_part(field)}" if field.written else _optional(f",{_part(field)}") for field in parts[first:])
    return r"\{" + before + after.removeprefix(",") + r"\}"


def _part(field: Field) -> str:
    return f'"{field.name}":{_value(field)}'


def _optional(part: str) -> str:
    return f"(?:{part})?+"


def _value(field: Field) -> str:
    if field.type is bool:
        single = "(?:true|false)"
    elif field.type is int:
        single = "-?[0-9]+"
    elif _is_model(field):
        single = _shape(field.type)
    else:
        single = _TEXT if field.pattern is None else _text(field.pattern)
    return rf"\[(?:{single},?)*+\]" if field.many else single


def _text(pattern: str) -> str:
    """The pattern between quotes, without quotes and escapes in it: so no text can run on into the next, and none is tried twice."""
    assert pattern.startswith("^") and pattern.endswith("$"), pattern
    return '"(?>' + pattern[1:-1].replace("[^", r'[^"\\') + ')"'


SHAPES = Shapes()

_ANY: Any = reduce(or_, map(_struct, EVENTS.values()))

read: Callable[[bytes], Envelope] = msgspec.json.Decoder[Any](_ANY).decode
"""An event of any kind. Raises MsgspecError, UnicodeDecodeError, RecursionError."""

write: Callable[[Any], bytes] = msgspec.json.Encoder(order="sorted").encode
"""JSON in UTF-8, keys sorted, no spaces. Of an `Envelope`, without what says nothing."""

DATA: dict[str, type[msgspec.Struct]] = {kind: _struct(model) for kind, model in CATALOGUE.items()}
"""The structure of the data of each kind."""
