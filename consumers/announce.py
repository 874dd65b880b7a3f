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
from ledger.instants import Instant, text
from ledger.projections import endangered
from ledger.projections.endangered import Judged
from ledger.projections.questions import Endangered, History
from ledger.projections.rows import programmes_of
from ledger.projections.store import Store, Transaction
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
                partners = self._store.lock_those_free(connection, partners)  # whoever applies the others waits for us, and not we for it
                self._announce(connection, partners, now)
        return len(partners)

    def _announce(self, connection: Transaction, partners: Sequence[str], now: Instant) -> None:
        applied, library = self._store.applied(connection, partners), self._shelf.library()
        known = self._history.histories(dict.fromkeys(applied, 0), max([position for _, position in applied.values()], default=0))
        before = self._store.announced(connection, list(applied))
        again: dict[str, Instant] = {}
        said, judged = list[Said](), list[Judged]()
        states = self._store.states(connection, list(applied))
        for partner, (_, position) in applied.items():
            events = [sealed for sealed in known[partner] if sealed.position <= position]
            found, news = news_of(partner, events, library, before[partner], now)
            judged.append(found._replace(known=states[partner].known))
            again[partner] = found.due
            said += news
        endangered.keep(connection, judged)
        self._store.announce(connection, [(each.partner, each.programme, each.content) for each in said])
        _put(connection, [(key_of(each.programme, each.partner), each.record) for each in said])
        self._store.look_again(connection, again)


class Said(NamedTuple):
    """What is new of a partner in a programme: what to remember, and what to tell; None where it is not in it any more."""

    partner: str
    programme: str
    content: str | None
    record: bytes | None


def news_of(partner: str, events: Sequence[Sealed], library: Library, said: Mapping[str, str], now: Instant) -> tuple[Judged, list[Said]]:
    """What is at risk and when to look again, and what is not as it was said before."""
    again, news, position = endangered.next_day(now), list[Said](), events[-1].position
    told: list[Endangered] = []
    programmes = programmes_of(events, library)
    for programme in programmes:
        life = Life(events, library.force(programme))
        again = min(again, endangered.due_of(life, now))
        ladders = list(endangered.ladders(life, partner, now))
        told += [each for each in ladders if each.at_risk or each.tier_lost_at or each.parked]
        standing = standing_of(life, partner, programme, now, ladders)
        life.forget()
        before, content = said.get(programme), _ENCODE(standing).decode()
        if content != before:
            changed = _changed(standing, msgspec.json.decode(before) if before else {})
            record = {**standing, "position": position, "as_of": text(now), "changed": changed}
            news.append(Said(partner, programme, content, _ENCODE(record)))
    news += [Said(partner, programme, None, None) for programme in said if programme not in programmes]
    return Judged(partner, position, now, again, tuple(told)), news


def standing_of(life: Life, partner: str, programme: str, at: Instant, ladders: Sequence[Endangered] | None = None) -> dict[str, Any]:
    """Where a partner stands in a programme, as others are told; where it cannot be judged, why."""
    told: dict[str, Any] = {"partner": partner, "programme": programme}
    try:
        book = life.book(at)
        told |= {"rulebook": book.name, "rulebook_hash": book.hash, "left": life.left(at)}
        told["values"] = {name: exact(value) for name, value in life.values(at).items()}
        judged = endangered.ladders(life, partner, at) if ladders is None else ladders
        told_of = {each.award: dict(_ladder(each)) for each in judged}
        if "" in told_of:
            told |= told_of[""]
        else:
            told["awards"] = {award: ladder for award, ladder in told_of.items() if any(ladder.values())}
    except LedgerError as error:
        told |= {"error": {"code": error.code, "message": error.what}}
    return told


def _ladder(found: Endangered) -> Iterator[tuple[str, Any]]:
    at_risk, lost = found.at_risk, found.tier_lost_at
    yield "credited", found.credited
    yield "performance", found.performance
    yield "at_risk", None if at_risk is None else {"since": text(at_risk.since), "why": at_risk.why}
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
