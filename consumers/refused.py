"""Refusals of the inbox, kept until somebody has settled them: sent again, as they came or mended, or put aside with a reason."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from consumers.inbox_message import structured
from ledger.errors import NotFound, Refusal
from ledger.events.envelope import decode
from ledger.instants import Instant
from ledger.intake import Accepted, Intake, Receipt, Refused
from ledger.log_database import Session

_COLUMNS = 'id, refused_at, code, record, partition, "offset", settled'


@dataclass(frozen=True, slots=True)
class Kept:
    """A refusal as it was published, with its number here; `settled` says how, where it is."""

    id: int
    refused_at: Instant
    code: str
    record: dict[str, Any]
    partition: int
    offset: int
    settled: str | None

    @property
    def raw(self) -> bytes | None:
        """The value of the message as it came."""
        return _bytes(self.record["raw"])

    @property
    def headers(self) -> list[tuple[str, bytes | None]]:
        return [(name, _bytes(value)) for name, value in self.record["headers"]]


def listed(session: Session, everything: bool) -> list[Kept]:
    where = "" if everything else "WHERE settled IS NULL "
    return [_kept(row) for row in session.execute(f"SELECT {_COLUMNS} FROM refusals {where}ORDER BY id")]


def get(session: Session, id: int) -> Kept:
    """Raises NotFound."""
    found = session.execute(f"SELECT {_COLUMNS} FROM refusals WHERE id = ?", (id,))
    if not found:
        raise NotFound(f"there is no refusal {id}", hint="refused list has them", code="unknown_refusal")
    return _kept(found[0])


def retry(session: Session, intake: Intake, kept: Kept, mended: bytes | None, now: Instant) -> Receipt:
    """Through the door once more. What is not refused again is settled; a process that dies in between finds a duplicate next time."""
    sent = mended if mended is not None else structured(kept.raw, kept.headers)
    (receipt,) = intake.record([sent if isinstance(sent, Refusal) else decode(sent)])
    if not isinstance(receipt, Refused):
        position = receipt.position if isinstance(receipt, Accepted) else receipt.of
        settle(session, kept, f"{'mended, ' if mended is not None else ''}position {position}", now)
    return receipt


def settle(session: Session, kept: Kept, how: str, now: Instant) -> None:
    session.execute("UPDATE refusals SET settled = ?, settled_at = ? WHERE id = ?", (how, now, kept.id))


def _kept(row: Any) -> Kept:
    id, refused_at, code, record, partition, offset, settled = row
    return Kept(id, refused_at, code, json.loads(record), partition, offset, settled)


def _bytes(written: str | None) -> bytes | None:
    return None if written is None else base64.b64decode(written)
