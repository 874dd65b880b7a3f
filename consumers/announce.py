"""Announcements of standings: who has new events, and whom the passing of time or another rulebook has changed, is told to other systems.

1 take those that are due, 2 say where each stands, 3 put what is new into the outbox, with what was said and when to look again, in one
transaction. They decide nothing: whoever wants to know why asks the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from consumers.project import Shelf
from consumers.topics import STANDINGS
from ledger.errors import LedgerError
from ledger.events.envelope import Sealed
from ledger.instants import DAY, Instant, text
from ledger.projections.questions import History
from ledger.projections.rows import programmes_of
from ledger.projections.store import Store, Transaction
from ledger.rules import risk
from ledger.rules.library import Library
from ledger.rules.life import Life
from ledger.rules.reasons import exact

AT_ONCE = 10
_ENCODE = msgspec.json.Encoder(order="deterministic").encode


class Announce:
    def __init__(self, history: History, store: Store, clock: Callable[[], Instant]) -> None:
        self._history = history
        self._store = store
        self._shelf = Shelf(history)
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
                self._announce(connection, partners, now)
        return len(partners)

    def _announce(self, connection: Transaction, partners: Sequence[str], now: Instant) -> None:
        applied, library = self._store.applied(connection, partners), self._shelf.library()
        known = self._history.histories(list(applied), max([position for _, position in applied.values()], default=0))
        before = self._store.announced(connection, list(applied))
        again: dict[str, Instant] = {}
        said: list[Said] = []
        for partner, (_, position) in applied.items():
            events = [sealed for sealed in known[partner] if sealed.position <= position]
            again[partner], news = news_of(partner, events, library, before[partner], now)
            said += news
        self._store.announce(connection, [(each.partner, each.programme, each.content) for each in said])
        _put(connection, [(key_of(each.programme, each.partner), each.record) for each in said])
        self._store.look_again(connection, again)


class Said(NamedTuple):
    """What is new of a partner in a programme: what to remember, and what to tell; None where it is not in it any more."""

    partner: str
    programme: str
    content: str | None
    record: bytes | None


def news_of(partner: str, events: Sequence[Sealed], library: Library, said: Mapping[str, str], now: Instant) -> tuple[Instant, list[Said]]:
    """When to look again, and what is not as it was said before."""
    again, news, position = (now // DAY + 1) * DAY, list[Said](), events[-1].position
    programmes = programmes_of(events, library)
    for programme in programmes:
        life = Life(events, library.force(programme))
        again = min(again, *life.foresee(now).edges(now + 1, again), again)
        standing = standing_of(life, partner, programme, now)
        life.forget()
        before, content = said.get(programme), _ENCODE(standing).decode()
        if content != before:
            changed = _changed(standing, msgspec.json.decode(before) if before else {})
            record = {**standing, "position": position, "as_of": text(now), "changed": changed}
            news.append(Said(partner, programme, content, _ENCODE(record)))
    news += [Said(partner, programme, None, None) for programme in said if programme not in programmes]
    return again, news


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


def _put(connection: Transaction, messages: Sequence[tuple[bytes, bytes | None]]) -> None:
    if messages:
        statement = "INSERT INTO outbox (role, key, value) VALUES (%s, %s, %s)"
        connection.exec_driver_sql(statement, [(STANDINGS, key, value) for key, value in messages])
