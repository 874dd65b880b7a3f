"""What all partners have together: overrides in force, and licences by client, product and partner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select

from ledger.errors import NotFound
from ledger.instants import Instant
from ledger.projections import licences as counts
from ledger.projections.licences import KEY, Group, Position, Row
from ledger.projections.partners import EVERYBODY, Filter, Place, Progress, held_at, known, place_of, placed, told_at
from ledger.projections.questions import CANNOT_JUDGE, Moment, Questions
from ledger.projections.store import INTERVALS
from ledger.rules.answers import ActiveOverride
from ledger.rules.facts import fold
from ledger.rules.life import Life
from ledger.rules.standing import exception

# -- overrides -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Granted:
    """An override in force. `programme` and `award`: of these alone; none: of all."""

    partner: str
    programme: str | None
    award: str | None
    override: ActiveOverride


def overrides(questions: Questions, moment: Moment, lapsing_until: Instant | None = None) -> list[Granted]:
    """The overrides in force at a moment, of those of a programme and award that are asked for; the next to lapse first.

    `lapsing_until`: only those that have ended by then if nothing more happens.
    """
    at = questions.as_of(moment)
    found = [
        each
        for each in (*_by_rows(questions, moment, at), *_by_log(questions, moment, at))
        if moment.programme in (None, each.programme or moment.programme)
        and moment.award in (None, each.award or moment.award)
        and (lapsing_until is None or each.override.until <= lapsing_until)
    ]
    return sorted(found, key=lambda each: (each.override.until, each.partner, each.override.position))


def _by_rows(questions: Questions, moment: Moment, at: Instant) -> Iterator[Granted]:
    """Rows say of whom one is in force, the event what it is."""
    told, known_at = told_at(questions, moment, at), questions.position(moment)
    query = select(INTERVALS.c.partner, INTERVALS.c.position, INTERVALS.c.since, INTERVALS.c.until).where(
        INTERVALS.c.kind == "override", INTERVALS.c.since <= at, INTERVALS.c.until > at, *known(INTERVALS, known_at)
    )
    with questions.store.snapshot() as connection:
        rows = [tuple(row) for row in connection.execute(query)] if told else []
    for partner, position, since, until in rows:
        if partner in told:
            data = questions.history.get(position).event.data
            yield Granted(partner, data.programme, data.award, exception(data, since, until, position))


def _by_log(questions: Questions, moment: Moment, at: Instant) -> Iterator[Granted]:
    told, known_at = told_at(questions, moment, at), questions.position(moment)
    for partner in questions.history.partners():
        if partner not in told:
            for fact in fold(questions.history.events(partner, known_at)).of("override"):
                if fact.start <= at < fact.end:
                    data = fact.data
                    yield Granted(partner, data.programme, data.award, exception(data, fact.start, fact.end, fact.event.position))


# -- licences --------------------------------------------------------------------------------------------------------

PARTNER = "partner"
BY = (PARTNER, *KEY)


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Groups of licences over all partners, in order of their keys, all of them together, and who could not be judged, with why."""

    programme: str
    as_of: Instant
    rows: tuple[Row, ...]
    total: Row
    parked: dict[str, str]


def licences(
    questions: Questions, moment: Moment, by: Sequence[str], wanted: Filter = EVERYBODY, *, scope: str = counts.ALL,
    progress: Progress = lambda _: None,
) -> Portfolio:  # fmt: skip
    """Licences by some of BY, by default as of the latest count of all. `wanted` is about the clients; its tier is the partner's.

    What several partners have of one client is counted once in a group that is not by partner: as it was stated last. Raises NotFound
    where no rulebook is about licences, or those of several programmes are.
    """
    moment = replace(moment, programme=_programme(questions, moment))
    at = _counted_at(questions, moment)
    moment = replace(moment, as_of=at)
    meant = None if wanted.tier is None else _of_tier(questions, moment, wanted)
    found, parked, whole = dict[tuple[str, str], list[Position]](), dict[str, str](), None
    for partner, _, life in questions.lives(moment):
        progress(partner)
        if (meant is None or partner in meant) and counts.is_about(life.book(at)):
            try:
                own = [each for each in counts.positions(life, at, scope=scope) if wanted.means(_client_at(life, each.key[0], at))]
            except CANNOT_JUDGE as error:
                parked[partner] = f"{error.what} [{error.code}]"
                continue
            for each in own:
                found.setdefault((partner, each.key[0]), []).append(each)
            whole = whole or (Life(life.events, life.force, life.now) if own else None)
    if whole is None:
        return Portfolio(moment.programme or "", at, (), counts.NOTHING, parked)
    rows = counts.grouped(whole, at, _groups(found, by, scope))
    return Portfolio(moment.programme or "", at, tuple(rows), counts.grouped(whole, at, _groups(found, (), scope))[0], parked)


def _programme(questions: Questions, moment: Moment) -> str:
    """The programme that is about licences. Raises NotFound where none is, or several are."""
    known_at = questions.position(moment)
    if moment.rulebook is not None:
        return questions.force(moment, (), known_at)[0].book.programme
    about = sorted({book.programme for book in questions.library.books(known_at) if counts.is_about(book)})
    if moment.programme is not None and moment.programme not in about:
        raise NotFound(
            f"{moment.programme} has no rulebook about licences",
            hint=f"programmes that have: {', '.join(about) or 'none'}",
            code="no_licences",
        )
    if moment.programme is None and len(about) != 1:
        hint = f"name one: {', '.join(about)}" if about else "points rules list shows the rulebooks at hand"
        raise NotFound("the question needs a programme about licences", hint=hint, code="programme_needed")
    return moment.programme or about[0]


def _counted_at(questions: Questions, moment: Moment) -> Instant:
    """The moment that is asked about, or that of the latest count."""
    if moment.as_of is not None:
        return moment.as_of
    now = questions.as_of(moment)
    latest = [at for _, _, life in questions.lives(moment) if (at := counts.processed_at(life, now)) is not None]
    return max(latest, default=now)


def _of_tier(questions: Questions, moment: Moment, wanted: Filter) -> set[str]:
    """Partners that have a tier in any programme."""
    held = held_at(questions, replace(moment, programme=None), questions.as_of(moment))
    return {each.partner for each in held if each.credited == wanted.tier}


def _client_at(life: Life, client: str, at: Instant) -> Place:
    """Where a client was last said to be."""
    facts = [fact for fact in life.facts.of("client") if fact.data.client == client and fact.start <= at]
    return placed(place_of(facts), life.book(at), at)


def _groups(found: Mapping[tuple[str, str], Sequence[Position]], by: Sequence[str], scope: str) -> dict[Group, list[Position]]:
    """Positions by their groups; of those that several partners have, the one that was stated last, unless each has its own."""
    groups: dict[Group, dict[Group, Position]] = {}
    for (partner, _), positions in found.items():
        for each in positions:
            whole = (partner, *each.key)
            own = groups.setdefault(tuple(whole[BY.index(field)] for field in by), {})
            key = whole if scope == counts.OWN or PARTNER in by else each.key
            if key not in own or own[key].stated < each.stated:
                own[key] = each
    return {key: list(own.values()) for key, own in groups.items()}
