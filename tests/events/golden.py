"""The golden bytes: for each kind a file of events as they were first recorded, which every later version must read as the same bytes.

A line is {"sha256":<of the canonical bytes>,"event":<the canonical bytes>}. Lines are added, never changed or removed: what they hold
may be in someone's ledger. To add the lines of a new kind, or a line with a field that is new:

    python -m tests.events.golden
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec

from ledger.events.catalogue import CATALOGUE
from ledger.events.envelope import Event, decode
from tests.events.samples import encoded, full, minimal

GOLDEN = Path(__file__).parent.parent / "golden" / "events"
_MIDDLE = b'","event":'


class Line(NamedTuple):
    sha256: str
    body: bytes


def lines(kind: str) -> list[Line]:
    """The lines of a kind; none where it has no file yet."""
    path = GOLDEN / f"{kind}.jsonl"
    return [_line(written) for written in path.read_bytes().splitlines()] if path.exists() else []


def _line(written: bytes) -> Line:
    msgspec.json.decode(written)  # each line is JSON, for whoever else reads it
    start, _, rest = written.partition(_MIDDLE)
    return Line(start.removeprefix(b'{"sha256":"').decode(), rest[:-1])


def is_full(line: Line) -> bool:
    """Whether the line states every field that its kind has now."""
    event = msgspec.json.decode(line.body)
    return set(event["data"]) == set(CATALOGUE[event["type"]].model_fields)


def missing(kind: str) -> Iterator[bytes]:
    """The canonical bytes that a kind's file has still to get."""
    known = lines(kind)
    if not known:
        yield _body(encoded(minimal(kind)))
    if not any(map(is_full, known)):
        yield _body(encoded(full(kind)))


def _body(raw: bytes) -> bytes:
    event = decode(raw)
    assert isinstance(event, Event), event
    return event.body


def add() -> None:
    for kind in CATALOGUE:
        for body in list(missing(kind)):
            with (GOLDEN / f"{kind}.jsonl").open("ab") as file:
                file.write(b'{"sha256":"' + sha256(body).hexdigest().encode() + _MIDDLE + body + b"}\n")
            print(f"added to {kind}")


if __name__ == "__main__":
    add()
