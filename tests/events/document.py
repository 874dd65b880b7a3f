"""The tables of `docs/events.md` and `docs/publishing.md`, made from the program. To write them anew, between their markers:

python -m tests.events.document
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from inspect import cleandoc
from pathlib import Path

from pydantic import BaseModel

from consumers.inbox_message import CODES as MESSAGES
from ledger.events.catalogue import CATALOGUE, Attributes, Form
from ledger.events.fields import Field, fields
from ledger.events.refusals import CODES

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "events.md"
PUBLISHING = DOCUMENT.with_name("publishing.md")


def tables() -> dict[str, str]:
    """By the name of its marker, each part of the document that is made."""
    return {"attributes": _fields(Attributes), "forms": _forms(), "kinds": _kinds(), "refusals": _refusals()}


def _kinds() -> str:
    return "\n\n".join(f"### `{name}`\n\n{_told(kind)}\n\n{_fields(kind)}" for name, kind in CATALOGUE.items())


def _told(model: type[BaseModel]) -> str:
    return " ".join(cleandoc(model.__doc__ or "").split())


def _fields(model: type[BaseModel]) -> str:
    rows = ((f"`{name}`", field.form.name, _required(field), field.meaning) for name, field in fields(model).items())
    return _table(("field" if model is not Attributes else "attribute", "form", "required", "meaning"), rows)


def _required(field: Field) -> str:
    if field.required:
        return "yes"
    return "no" if field.default is None else f"no: `{json.dumps(field.default)}`"


def _forms() -> str:
    forms: dict[Form, None] = {}
    for model in (Attributes, *CATALOGUE.values()):
        forms |= {field.form: None for field in fields(model).values()}
    return _table(("form", "looks like", "else refused as"), ((form.name, form.looks, f"`{form.code}`") for form in forms))


def _refusals() -> str:
    return _table(("code", "what to do"), ((f"`{code}`", advice) for code, advice in CODES.items()))


def messages() -> str:
    """The refusals of messages, of which `docs/publishing.md` tells."""
    return _table(("code", "what to do"), ((f"`{code}`", advice) for code, advice in MESSAGES.items()))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows))


def marked(name: str, table: str) -> str:
    return f"<!-- made: {name} -->\n\n{table}\n\n<!-- end: {name} -->"


def rewritten(document: str, tables: dict[str, str]) -> str:
    for name, table in tables.items():
        pattern = rf"<!-- made: {name} -->.*<!-- end: {name} -->"
        before, after = re.split(pattern, document, flags=re.DOTALL)
        document = before + marked(name, table) + after
    return document


if __name__ == "__main__":
    DOCUMENT.write_text(rewritten(DOCUMENT.read_text(), tables()))
    PUBLISHING.write_text(rewritten(PUBLISHING.read_text(), {"messages": messages()}))
