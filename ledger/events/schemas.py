"""JSON Schemas (draft 7) of the catalogue: one whole event of each kind, as a source may send it. The canonical form has the same shape.

A schema says less than `decode` does: whether a day exists, how many bytes there are, that 3.0 is no whole number here. Nothing is stated
here that is not read from the catalogue.
"""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

from pydantic import BaseModel

from ledger.events.catalogue import CATALOGUE, EVENTS
from ledger.events.fields import Field, fields

DRAFT = "http://json-schema.org/draft-07/schema#"

_TYPES = {str: "string", int: "integer", bool: "boolean"}
_BOUNDS = {"min_length": "minLength", "max_length": "maxLength", "ge": "minimum", "le": "maximum"}
_FORMATS = {"day": "date", "time": "date-time"}
_ONE_LINE = {"pattern": "[\\n\\r]"}
"""Some engines let `$` match before a last line end, so a form with a pattern refuses line ends by itself."""


def schema(kind: str) -> dict[str, Any]:
    """The schema of the events of a kind, complete in itself."""
    forms: dict[str, dict[str, Any]] = {}
    event = _object(EVENTS[kind], forms)
    event["properties"]["type"] = {"description": event["properties"]["type"]["description"], "const": kind}
    head = {"$schema": DRAFT, "$id": f"urn:points-ledger:{kind}", "title": kind, "description": told(CATALOGUE[kind])}
    return head | event | {"definitions": dict(sorted(forms.items()))}


def told(model: type[BaseModel]) -> str:
    """What a model is, in one line."""
    return " ".join(cleandoc(model.__doc__ or "").split())


def _object(model: type[BaseModel], forms: dict[str, dict[str, Any]]) -> dict[str, Any]:
    members = fields(model)
    return {
        "type": "object",
        "properties": {name: _property(field, forms) for name, field in members.items()},
        "required": [name for name, field in members.items() if field.required],
        "additionalProperties": False,
    }


def _property(field: Field, forms: dict[str, dict[str, Any]]) -> dict[str, Any]:
    said: dict[str, Any] = {"description": field.meaning}
    if field.default is not None:
        said["default"] = field.default
    if field.name == "data":
        return said | _object(field.type, forms)
    form = _form(field, forms)
    if field.nullable:
        return said | {"anyOf": [form, {"type": "null"}]}
    return said | {"allOf": [form]}  # beside a reference itself nothing would count


def _form(field: Field, forms: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A reference to the form of a value, which is put among the others."""
    name = field.form.name.title().replace(" ", "")
    stated = {"description": field.form.looks} | _value(field, forms)
    assert forms.setdefault(name, stated) == stated, f"two forms have the name {name}"
    return {"$ref": f"#/definitions/{name}"}


def _value(field: Field, forms: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if field.type not in _TYPES:
        single = _object(field.type, forms)
    else:
        single = {"type": _TYPES[field.type], **{_BOUNDS[name]: bound for name, bound in field.bounds.items()}}
        if field.pattern is not None:
            single |= {"pattern": field.pattern, "not": _ONE_LINE}
        if field.form.name in _FORMATS:
            single["format"] = _FORMATS[field.form.name]
    return {"type": "array", "items": single} if field.many else single
