"""The fast decoder: msgspec structures generated from the catalogue, field by field.

The catalogue is the one definition; nothing is stated here that is not read from it. A property test holds both to the same
verdicts and values on fuzzed input.
"""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import BaseModel, StringConstraints
from pydantic.fields import FieldInfo

from ledger.events.catalogue import CATALOGUE

_MODELS: dict[type[BaseModel], type[msgspec.Struct]] = {}


def struct_of(model: type[BaseModel]) -> type[msgspec.Struct]:
    """The structure with the fields, constraints and defaults of a model; unknown fields are refused."""
    known = _MODELS.get(model)
    if known is None:
        fields = [_field(name, info) for name, info in model.model_fields.items()]
        known = _MODELS[model] = msgspec.defstruct(
            model.__name__, fields, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False,
            module=__name__, omit_defaults=False,
        )  # fmt: skip
    return known


def _field(name: str, info: FieldInfo) -> tuple[str, Any] | tuple[str, Any, Any]:
    constrained = _constrained(info.annotation, info.metadata)
    return (name, constrained) if info.is_required() else (name, constrained, info.default)


def _constrained(annotation: Any, metadata: list[Any]) -> Any:
    """A type of the catalogue as a type of msgspec."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        parts = [_constrained(part, []) for part in get_args(annotation)]
        return Union[tuple(parts)]  # noqa: UP007
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return _constrained(inner, [*more, *metadata])
    if origin is tuple:
        return tuple.__class_getitem__((_constrained(get_args(annotation)[0], []), ...))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return struct_of(annotation)
    meta = _meta(metadata)
    return Annotated[annotation, msgspec.Meta(**meta)] if meta else annotation


def _meta(metadata: list[Any]) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    for item in metadata:
        match item:
            case StringConstraints():
                stated = {"pattern": item.pattern, "min_length": item.min_length, "max_length": item.max_length}
                meta |= {name: value for name, value in stated.items() if value is not None}
            case Ge(ge=bound):
                meta["ge"] = bound
            case Le(le=bound):
                meta["le"] = bound
            case MinLen(min_length=length):
                meta["min_length"] = length
            case MaxLen(max_length=length):
                meta["max_length"] = length
            case _ if getattr(item, "metadata", None):
                meta |= _meta(list(item.metadata))
    return meta


DATA: dict[str, type[msgspec.Struct]] = {kind: struct_of(model) for kind, model in CATALOGUE.items()}
"""The structure of the data of each kind."""

DECODERS: dict[str, msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(struct) for kind, struct in DATA.items()}
