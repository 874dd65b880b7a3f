"""The fields of the catalogue's models, taken apart: what the decoder, the refusals and the documents ask of them.

It reads the catalogue and adds nothing to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import AfterValidator, BaseModel, StringConstraints
from pydantic.fields import FieldInfo

from ledger.events.catalogue import MEANINGS, Form


class Field(NamedTuple):
    """One field. `type` is str, int, bool or a model, or Any; `many` says that there is a list of them."""

    name: str
    type: Any
    many: bool
    nullable: bool
    required: bool
    default: Any
    form: Form
    pattern: str | None
    bounds: dict[str, int]
    """Any of min_length, max_length, ge, le."""
    in_calendar: bool
    """Whether it names a day or time, which must exist."""

    @property
    def meaning(self) -> str:
        return MEANINGS[self.name]

    @property
    def written(self) -> bool:
        """Whether the canonical form always has it: it is required, or has a default that says something."""
        return self.required or self.default is not None


@cache
def fields(model: type[BaseModel]) -> dict[str, Field]:
    """The fields of a model by name, in its order."""
    return {name: _field(name, info) for name, info in model.model_fields.items()}


def _field(name: str, info: FieldInfo) -> Field:
    found = list(_bare(info.annotation, info.metadata))
    types = [type for type, _ in found if type is not NoneType]
    stated = [item for _, metadata in found for item in metadata]
    assert len(types) == 1, f"{name}: one type, or nothing"
    bounds, pattern = _bounds(stated)
    return Field(
        name=name,
        type=get_args(types[0])[0] if get_origin(types[0]) is tuple else types[0],
        many=get_origin(types[0]) is tuple,
        nullable=len(found) > 1,
        required=info.is_required(),
        default=None if info.is_required() else info.default,
        form=next((item for item in stated if isinstance(item, Form)), _OBJECT),
        pattern=pattern,
        bounds=bounds,
        in_calendar=any(isinstance(item, AfterValidator) for item in stated),
    )


_OBJECT = Form("object", "a JSON object")


def _bare(annotation: Any, metadata: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """The types of which a value may be one, each with what is stated about it."""
    match get_origin(annotation):
        case origin if origin in (Union, UnionType):
            for part in get_args(annotation):
                yield from _bare(part, metadata)
        case origin if origin is Annotated:
            inner, *more = get_args(annotation)
            yield from _bare(inner, [*more, *metadata])
        case _:
            yield annotation, metadata


def _bounds(stated: list[Any]) -> tuple[dict[str, int], str | None]:
    bounds: dict[str, Any] = {}
    pattern = None
    for item in stated:
        match item:
            case StringConstraints(min_length=least, max_length=most):
                bounds |= {"min_length": least, "max_length": most}
                assert isinstance(item.pattern, str | None)
                pattern = item.pattern
            case Ge(ge=bound):
                bounds["ge"] = bound
            case Le(le=bound):
                bounds["le"] = bound
            case FieldInfo():
                bounds |= _bounds(item.metadata)[0]
    return {name: bound for name, bound in bounds.items() if bound is not None}, pattern
