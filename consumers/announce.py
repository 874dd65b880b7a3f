"""Announcements of standings: who has new events, and whom the passing of time or another rulebook has changed, is told to other systems.

1 take those that are due, 2 say where each stands, 3 put what is new into the outbox, with what was said and when to look again, in one
transaction. They decide nothing: whoever wants to know why asks the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from consumers.topics import STANDINGS
from ledger.errors import LedgerError
from ledger.instants import DAY, Instant, text
from ledger.projections.questions import History
from ledger.projections.store import Store, Transaction, programmes_of
from ledger.rules import risk
from ledger.rules.library import Library
from ledger.rules.life import Life
from ledger.rules.reasons import exact

AT_ONCE = 50
_ENCODE = msgspec.json.Encoder(order="deterministic").encode


class Announce:
    def __init__(self, history: History, store: Store, clock: Callable[[], Instant]) -> None:
        self._history = history
        self._store = store
        self._clock = clock
        self.effect: Callable[[str], None] = lambda name: None
        """Called before each effect, by name: tests stop the process there."""

    def step(self, limit: int = AT_ONCE) -> int:
        """How many partners were looked at."""
        now = self._clock()
        with self._store.writing() as connection:
            partners = self._store.due(connection, now, limit)
            if partners:
                self.effect("announce")
                self._store.lock(connection, partners)
                library = Library(self._history.published())
                for partner, (_, position) in self._store.applied(connection, partners).items():
                    self._announce(connection, partner, position, library, now)
        return len(partners)

    def _announce(self, connection: Transaction, partner: str, position: int, library: Library, now: Instant) -> None:
        events = self._history.events(partner, position)
        said, again = self._store.announced(connection, partner), (now // DAY + 1) * DAY
        for programme in programmes_of(events, library):
            life = Life(events, library.force(programme))
            again = min(again, *life.foresee(now).edges(now + 1, again), again)
            standing = standing_of(life, partner, programme, now)
            life.forget()
            before = said.pop(programme, None)
            content = _ENCODE(standing).decode()
            if content != before:
                changed = _changed(standing, msgspec.json.decode(before) if before else {})
                record = {**standing, "position": position, "as_of": text(now), "changed": changed}
                self._store.announce(connection, partner, programme, content)
                _put(connection, key_of(programme, partner), _ENCODE(record))
        for programme in said:  # the partner is not in it any more
            self._store.announce(connection, partner, programme, None)
            _put(connection, key_of(programme, partner), None)
        self._store.look_again(connection, [partner], again)


def standing_of(life: Life, partner: str, programme: str, at: Instant) -> dict[str, Any]:
    """Where a partner stands in a programme, as others are told; where it cannot be judged, why."""
    told: dict[str, Any] = {"partner": partner, "programme": programme}
    try:
        book = life.book(at)
        told |= {"rulebook": book.name, "rulebook_hash": book.hash, "left": life.left(at)}
        told["values"] = {name: exact(value) for name, value in life.values(at).items()}
        ladders = {each.award: dict(_ladder(each, at)) for each in [life.of(award) for award in life.awards(at)] or [life]}
        if "" in ladders:
            told |= ladders[""]
        else:
            told["awards"] = {award: ladder for award, ladder in ladders.items() if any(ladder.values())}
    except LedgerError as error:
        told |= {"error": {"code": error.code, "message": error.what}}
    return told


def _ladder(life: Life, at: Instant) -> Iterator[tuple[str, Any]]:
    endangered, lost = risk.risk(life, at), risk.loss(life, at)
    yield "credited", life.credited_tier(at)
    yield "performance", life.tier(at)
    yield "at_risk", None if endangered is None else {"since": text(endangered.since), "why": endangered.why}
    yield "tier_lost_at", None if lost is None else {"at": text(lost.at), "falls_to": lost.falls_to, "how": lost.how}


def _changed(standing: dict[str, Any], before: dict[str, Any]) -> list[str]:
    return sorted(name for name in standing.keys() | before.keys() if standing.get(name) != before.get(name))


def key_of(programme: str, partner: str) -> bytes:
    """PROGRAMME/PARTNER; a slash within the programme's name is written %2F, so that no two share a key."""
    return f"{programme.replace('%', '%25').replace('/', '%2F')}/{partner}".encode()


def _put(connection: Transaction, key: bytes, value: bytes | None) -> None:
    statement = "INSERT INTO outbox (role, key, value) VALUES (%s, %s, %s)"
    connection.exec_driver_sql(statement, (STANDINGS, key, value))
