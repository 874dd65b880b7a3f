"""At risk now, materialised: what is at risk of each partner, by what is known of it and until when that holds by itself.

What was judged is an answer while nothing new is known of the partner and its `due` has not come; any other partner is judged anew, and
stored. So a question about now costs what has changed since the last one, and a forecast of each partner once a day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import delete, select

from ledger.engines import put, upsert
from ledger.instants import DAY, Instant
from ledger.projections.questions import CANNOT_JUDGE, Endangered, Moment, Questions
from ledger.projections.store import ENDANGERED, JUDGED, Store, Transaction
from ledger.rules import risk
from ledger.rules.life import Life
from ledger.rules.reasons import exact


class Judged(NamedTuple):
    """What is at risk of a partner at an instant, by what is known at a position, and until when that holds by itself."""

    partner: str
    known: int
    at: Instant
    due: Instant
    found: tuple[Endangered, ...]


Judge = Callable[[Sequence[str]], Iterable[list[Judged]]]
"""Judges partners, page by page."""


def now(questions: Questions, at: Instant, judge: Judge) -> Iterator[Endangered]:
    """Every partner that is at risk at an instant by all that the read models know, or will lose its tier if nothing more happens."""
    store = questions.store
    known, valid = store.known(), _valid(store, at)
    todo = [partner for partner in sorted(known) if valid.get(partner) != known[partner]]
    for page in judge(todo):
        with store.writing() as connection:
            keep(connection, page)
    with store.snapshot() as connection:
        for (answer,) in connection.execute(
            select(ENDANGERED.c.answer).order_by(ENDANGERED.c.partner, ENDANGERED.c.programme, ENDANGERED.c.award)
        ):
            yield _DECODE(answer)


def _valid(store: Store, at: Instant) -> dict[str, int]:
    """Up to which position was known what still holds, by partner."""
    with store.snapshot() as connection:
        query = select(JUDGED.c.partner, JUDGED.c.known).where(JUDGED.c.at <= at, JUDGED.c.due > at)
        return {row[0]: row[1] for row in connection.execute(query)}


def judged(questions: Questions, partners: Sequence[str], at: Instant) -> list[Judged]:
    """By what the read models know of each."""
    known = questions.store.known()
    return [judge(partner, known[partner], at, _lives(questions, partner, known[partner], at)) for partner in partners if partner in known]


def _lives(questions: Questions, partner: str, known_at: int, at: Instant) -> Iterator[Life]:
    return (life for _, _, life in questions.lives(Moment(as_of=at, known_at=known_at), [partner]))


def judge(partner: str, known: int, at: Instant, lives: Iterable[Life]) -> Judged:
    """A partner by its lives, one for each programme."""
    due, found = next_day(at), list[Endangered]()
    for life in lives:
        found += [each for each in ladders(life, partner, at) if each.at_risk or each.tier_lost_at or each.parked]
        due = min(due, due_of(life, at))
    return Judged(partner, known, at, due, tuple(found))


def next_day(at: Instant) -> Instant:
    return (at // DAY + 1) * DAY


def due_of(life: Life, at: Instant) -> Instant:
    """The next instant at which something else may be said by itself; at the latest the next day, as a forecast holds what is held."""
    try:
        return min(life.foresee(at).edges(at + 1, next_day(at)), default=next_day(at))
    except CANNOT_JUDGE:
        return next_day(at)


def ladders(life: Life, partner: str, at: Instant) -> Iterator[Endangered]:
    """Every award of a partner by name, or its one ladder, at risk or not; where it cannot be judged, why."""
    programme = life.force[0].book.programme
    try:
        for each in [life.of(award) for award in sorted(life.awards(at))] or [life]:
            found = risk.risk(each, at), risk.loss(each, at)
            yield Endangered(partner, each.credited_tier(at), each.tier(at), *found, None, each.award, programme)
    except CANNOT_JUDGE as error:
        yield Endangered(partner, None, None, None, None, error.what, "", programme)


def keep(connection: Transaction, page: Sequence[Judged]) -> None:
    """Instead of what was judged of these partners before."""
    names = [each.partner for each in page]
    connection.execute(delete(ENDANGERED).where(ENDANGERED.c.partner.in_(names)))
    upsert(connection, JUDGED, ["partner"], *[dict(zip(Judged._fields[:-1], each[:-1], strict=True)) for each in page])
    put(connection, ENDANGERED, [_row(each) for judged in page for each in judged.found])


def _row(each: Endangered) -> tuple[Any, ...]:
    at_risk, lost = each.at_risk, each.tier_lost_at
    cause = (lost.cause if lost else None) or (at_risk.cause if at_risk else None)
    return (
        each.partner, each.programme, each.award, each.credited, each.performance,
        at_risk.since if at_risk else None, at_risk.why if at_risk else None,
        lost.at if lost else None, lost.falls_to if lost else None,
        cause.requirement if cause else None, exact(cause.missing) if cause else None, each.parked,
        _ENCODE(each).decode(),
    )  # fmt: skip


_ENCODE = msgspec.json.Encoder(enc_hook=str).encode
_DECODE = msgspec.json.Decoder(Endangered, dec_hook=lambda type, value: Fraction(value) if type is Fraction else value).decode
