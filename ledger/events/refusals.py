"""Refusals of events: what the catalogue finds wrong, said to the person who can put it right.

A refusal has a stable code, what was found, what to send instead, and where. It never shows how the program checks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from ledger.errors import Refusal
from ledger.events.catalogue import CATALOGUE
from ledger.events.fields import Field, fields

BYTES_MAX = 1_048_576

CODES: dict[str, str] = {
    "too_large": f"Send at most {BYTES_MAX:,} bytes an event; split it, or keep the document elsewhere and name it.",
    "not_json": "Send one JSON object in UTF-8, without a byte order mark, NaN or anything after it.",
    "not_an_object": "Send one CloudEvent as a JSON object, not a list, a text or a number.",
    "wrong_specversion": 'Send CloudEvents 1.0: `"specversion": "1.0"`.',
    "wrong_content_type": "Send the data as `application/json`, or leave the attribute out.",
    "missing_attribute": "Add the attribute of the envelope that is named.",
    "unknown_attribute": "Leave the attribute out: the ledger takes no extensions but its own.",
    "unknown_kind": "Use a kind of the catalogue, with its version.",
    "missing_field": "Add the field of the data that is named.",
    "unknown_field": "Leave the field out, or correct its name.",
    "bad_amount": 'Write amounts and points as decimal strings: `"12.50"`, never `12.50`.',
    "bad_time": "Write a day as `2024-02-29` and a time as `2024-03-01T00:00:00Z`; it must exist.",
    "wrong_type": "Write the value in the form that the hint describes.",
}
"""Every code of a refusal by `decode`, with what to do."""

_SHOWN_MAX = 40


def too_large(size: int) -> Refusal:
    return Refusal("too_large", f"it has {size:,} bytes, and an event has at most {BYTES_MAX:,}", "keep the document elsewhere and name it")


def not_json(why: str) -> Refusal:
    return Refusal("not_json", f"this is not JSON: {why}", "one CloudEvent as a JSON object in UTF-8")


def unknown_kind(name: str) -> Refusal:
    near = get_close_matches(name[:100], CATALOGUE, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "see the catalogue of events"
    return Refusal("unknown_kind", f"{_shown(name)} is no kind of event", hint, "type")


def found(error: ValidationError, model: type[BaseModel]) -> Refusal:
    """The first thing that a model finds wrong: of what it knows, in its order; then of what it does not know."""
    errors = error.errors(include_url=False, include_context=False)
    first = min(errors, key=lambda one: one["type"] == "extra_forbidden")
    return _refusal(first["type"], first["loc"], first["msg"], first["input"], model)


def _refusal(type: str, place: Sequence[int | str], message: str, value: Any, model: type[BaseModel]) -> Refusal:
    where, owner = _where(place), "attribute" if len(place) == 1 else "field"
    match type:
        case "json_invalid":
            return not_json(message.removeprefix("Invalid JSON: "))
        case "missing":
            field = _field(place, model)
            return Refusal(f"missing_{owner}", f"{place[-1]} is missing", f"{field.meaning} {_capital(field.form.looks)}", where)
        case "extra_forbidden":
            return Refusal(f"unknown_{owner}", f"{_shown(place[-1])} is not known here", _nearest(place, model), where)
        case _ if not place:
            return Refusal("not_an_object", f"{_shown(value)} is not a JSON object", "one CloudEvent in structured JSON")
    return _wrong(_field(place, model), value, where)


def _wrong(field: Field, value: Any, where: str) -> Refusal:
    """A value that is not in the form of its field."""
    form = field.form
    if form.code == "bad_amount" and _is_number(value):
        return Refusal(form.code, f"{_shown(value)} is a number, amounts are decimal strings", 'put it in quotes: "12.50"', where)
    article = "an" if form.name[0] in "aeiou" else "a"
    return Refusal(form.code, f"{_shown(value)} is not {article} {form.name}", form.looks, where)


def _field(place: Sequence[int | str], model: type[BaseModel]) -> Field:
    """The field at a place, which may lie in a model within the model; a place in a list is that of its items."""
    *outer, name = [step for step in place if isinstance(step, str)]
    for step in outer:
        model = fields(model)[step].type
    return fields(model)[name]


def _nearest(place: Sequence[int | str], model: type[BaseModel]) -> str:
    for step in place[:-1]:
        model = fields(model)[step].type if isinstance(step, str) else model
    near = get_close_matches(str(place[-1])[:100], fields(model), n=1)
    return f"did you mean {near[0]}?" if near else "leave it out"


def _where(place: Sequence[int | str]) -> str:
    """data.lots[0].id"""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{_cut(step)}" for step in place).lstrip(".")


def _shown(value: Any) -> str:
    return _cut(json.dumps(value, ensure_ascii=False))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:] + "."
