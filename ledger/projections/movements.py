"""Points gained and lost in a period, over all partners: which lots began to count and which stopped, of whom, and why.

A step is what `changes` tells of one partner: a lot that begins or ends to count, or goes on at another worth. Lots are rows that say why
they came and went; where rows do not answer, the engine does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from sqlalchemy import and_, or_, select

from ledger.instants import Instant
from ledger.projections.partners import EVERYBODY, NOWHERE, Filter, Held, Place, Progress, held_at, known, place_of, placed, told_at
from ledger.projections.questions import CANNOT_JUDGE, Moment, Questions
from ledger.projections.store import INTERVALS, LOTS
from ledger.rules import breakdown
from ledger.rules.book import Book
from ledger.rules.standing import basis

BY = ("partner", "client", "cause")


@dataclass(frozen=True, slots=True)
class Movement:
    """A step of a measure: how much, when, why, and by the event of which lot. `place` is that of the client."""

    partner: str
    programme: str
    at: Instant
    measure: str
    delta: Fraction
    cause: str
    client: str | None
    position: int
    place: Place


@dataclass(frozen=True, slots=True)
class Balance:
    """What a group gained and lost; `key` has a value for each field that was grouped by. Lost is 0 or below."""

    key: tuple[str, ...]
    programme: str
    measure: str
    gained: Fraction
    lost: Fraction

    @property
    def net(self) -> Fraction:
        return self.gained + self.lost


@dataclass(frozen=True, slots=True)
class Movements:
    """The steps in (ends[0], ends[1]], in order of time; and who could not be judged, with why."""

    ends: tuple[Instant, Instant]
    steps: tuple[Movement, ...]
    parked: dict[str, str]


def movements(
    questions: Questions, moment: Moment, ends: tuple[Instant, Instant], wanted: Filter = EVERYBODY, *, partner: str | None = None,
    progress: Progress = lambda _: None,
) -> Movements:  # fmt: skip
    """The steps after one instant and up to another. `wanted` is about clients; its tier is what the partner has at the end."""
    moment = replace(moment, as_of=ends[1], award=None)
    told = told_at(questions, moment, ends[1])
    if partner is not None:
        told = {partner: told[partner]} if partner in told else {}
    steps = list(_by_rows(questions, moment, ends, told, partner))
    asked = [partner] if partner is not None else questions.history.partners()
    engine, parked = _by_engine(questions, moment, ends, [name for name in asked if name not in told], progress)
    steps += engine
    if wanted.tier is not None:
        having = {(each.partner, each.programme) for each in held_at(questions, moment, ends[1]) if each.credited == wanted.tier}
        steps = [step for step in steps if (step.partner, step.programme) in having]
    found = sorted((s for s in steps if s.delta and wanted.means(s.place)), key=lambda s: (s.at, s.partner, s.position, s.measure))
    return Movements(ends, tuple(found), parked)


def _by_rows(
    questions: Questions, moment: Moment, ends: tuple[Instant, Instant], told: Mapping[str, Sequence[Held]], partner: str | None
) -> Iterator[Movement]:  # fmt: skip
    """A row that ends where the next of the same lot begins is one step."""
    if not told:
        return
    known_at = questions.position(moment)
    c = LOTS.c
    begins, stops = and_(c.since > ends[0], c.since <= ends[1]), and_(c.until > ends[0], c.until <= ends[1])
    query = select(c.partner, c.programme, c.measure, c.position, c.client, c.exact, c.since, c.until, c.came, c.went)
    query = query.where(or_(begins, stops), *known(LOTS, known_at))
    if partner is not None:
        query = query.where(c.partner == partner)
    if moment.programme is not None:
        query = query.where(c.programme == moment.programme)
    deltas: dict[tuple[str, str, str, int, Instant], tuple[Fraction, str, str | None]] = {}
    with questions.store.snapshot() as connection:
        for owner, programme, measure, position, client, exact, since, until, came, went in connection.execute(query):
            if owner not in told:
                continue
            value = Fraction(exact)
            for at, delta, cause in ((since, value, came), (until, -value, went)):
                if ends[0] < at <= ends[1]:
                    key = owner, programme, measure, position, at
                    before = deltas.get(key, (Fraction(0), "", None))
                    deltas[key] = before[0] + delta, before[1] or cause, client
    places = _client_places(questions, moment, ends[1], partner)
    books = {programme: _book(questions, programme, known_at, ends[1]) for _, programme, *_ in deltas}
    for (owner, programme, measure, position, at), (delta, cause, client) in deltas.items():
        place = placed(places.get((owner, client or ""), NOWHERE), books[programme], ends[1])
        yield Movement(owner, programme, at, measure, delta, cause, client, position, place)


def _book(questions: Questions, programme: str, known_at: int, at: Instant) -> Book:
    return next(force.book for force in questions.library.force(programme, known_at) if at < force.until)


def _client_places(questions: Questions, moment: Moment, at: Instant, partner: str | None) -> dict[tuple[str, str], Place]:
    """Where clients were last said to be, by partner and client; also of those that were released since."""
    c = INTERVALS.c
    query = select(c.partner, c.key, c.country, c.market, c.segment).where(
        c.kind == "client", c.since <= at, *known(INTERVALS, questions.position(moment))
    )
    if partner is not None:
        query = query.where(c.partner == partner)
    with questions.store.snapshot() as connection:
        rows = connection.execute(query.order_by(c.since, c.position))
        return {(owner, client): Place(*place) for owner, client, *place in rows}


def _by_engine(
    questions: Questions, moment: Moment, ends: tuple[Instant, Instant], partners: Sequence[str], progress: Progress
) -> tuple[list[Movement], dict[str, str]]:
    steps, parked = list[Movement](), dict[str, str]()
    for partner, programme, life in questions.lives(moment, partners):
        progress(partner)
        try:
            on = basis(life, partner, ends[1], questions.position(moment))
            found = breakdown.changes(life, on, ends[0] + 1, ends[1] + 1).changes
        except CANNOT_JUDGE as error:
            parked[partner] = f"{error.what} [{error.code}]"
            continue
        book = life.book(ends[1])
        places: dict[str | None, Place] = {}
        for step in found:
            if step.client not in places:
                facts = [fact for fact in life.facts.of("client") if fact.data.client == step.client and fact.start <= ends[1]]
                places[step.client] = placed(place_of(facts), book, ends[1])
            place, position = places[step.client], step.position or 0
            steps.append(Movement(partner, programme, step.at, step.measure, step.delta, step.cause, step.client, position, place))
    return steps, parked


def balances(steps: Iterable[Movement], by: Sequence[str]) -> list[Balance]:
    """Steps added up by some of BY, and always by measure, since not all are of one unit; the largest first."""
    groups: dict[tuple[tuple[str, ...], str, str], tuple[Fraction, Fraction]] = {}
    for step in steps:
        key = tuple(getattr(step, field) or "" for field in by), step.programme, step.measure
        gained, lost = groups.get(key, (Fraction(0), Fraction(0)))
        groups[key] = (gained + step.delta, lost) if step.delta > 0 else (gained, lost + step.delta)
    found = [Balance(*key, *sums) for key, sums in groups.items()]
    return sorted(found, key=lambda each: (each.programme, -max(each.gained, -each.lost), each.key, each.measure))
