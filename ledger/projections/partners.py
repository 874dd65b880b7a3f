"""Who is where: every partner's tier and place in the world at an instant, from rows where they answer, and by the engine elsewhere.

Questions about many begin here: which partners are in a programme, which tier they have, and which of them a filter means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, select

from ledger.errors import NotFound
from ledger.instants import Instant
from ledger.projections.questions import CANNOT_JUDGE, Moment, Questions
from ledger.projections.rows import is_there_from_the_beginning
from ledger.projections.store import INTERVALS, LEVELS, Store
from ledger.rules.book import Book
from ledger.rules.facts import Fact
from ledger.rules.life import Life
from ledger.rules.presence import cell_of

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a partner or client is, as far as it was said. The market is stated, or that of its country by the rulebook's table."""

    country: str | None = None
    market: str | None = None
    segment: str | None = None


NOWHERE = Place()


@dataclass(frozen=True, slots=True)
class Held:
    """A partner's tiers in a programme, by award where its rulebooks have several. `enrolled`: it has begun there, and not left.

    Who cannot be judged has no tier and says why.
    """

    partner: str
    programme: str
    award: str
    enrolled: bool
    credited: str | None
    performance: str | None
    place: Place
    parked: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Who is meant; None: all."""

    tier: str | None = None
    country: str | None = None
    market: str | None = None
    segment: str | None = None

    @property
    def of_place(self) -> bool:
        return (self.country, self.market, self.segment) != (None, None, None)

    def means(self, place: Place) -> bool:
        return all(
            asked in (None, found)
            for asked, found in ((self.country, place.country), (self.market, place.market), (self.segment, place.segment))
        )


EVERYBODY = Filter()


def held_at(questions: Questions, moment: Moment, at: Instant, progress: Progress = lambda _: None) -> list[Held]:
    """Every partner that was known by then, in order of name, programme and award."""
    moment = replace(moment, as_of=at)
    told = told_at(questions, moment, at)
    found = [each for partner, own in told.items() for each in own if moment.programme in (None, each.programme)]
    for partner, programme, life in questions.lives(moment, [name for name in questions.history.partners() if name not in told]):
        progress(partner)
        found += _judged(partner, programme, life, at)
    if moment.award is not None:
        found = [each for each in found if each.award == moment.award or each.parked]
    return sorted(found, key=lambda each: (each.partner, each.programme, each.award))


def told_at(questions: Questions, moment: Moment, at: Instant) -> dict[str, list[Held]]:
    """What rows say of an instant, of all programmes; who is not among them, the engine is asked about."""
    if not questions.rows_answer(moment, at):
        return {}
    store, known_at = questions.store, questions.position(moment)
    left_out = store.unanswered(at, known_at) | {partner for partner, parked in store.partners().items() if parked}
    books = {book.name: book for book in questions.library.books(known_at)}
    stated, found = stated_at(store, at, known_at), dict[str, list[Held]]()
    columns = (
        LEVELS.c.partner,
        LEVELS.c.programme,
        LEVELS.c.award,
        LEVELS.c.credited,
        LEVELS.c.performance,
        LEVELS.c.book,
        LEVELS.c.enrolled,
    )
    with store.snapshot() as connection:
        for partner, programme, award, credited, performance, name, enrolled in connection.execute(
            select(*columns).where(LEVELS.c.since <= at, LEVELS.c.until > at, *known(LEVELS, known_at))
        ):
            if partner not in left_out:
                place = placed(stated.get(partner, NOWHERE), books.get(name), at)
                there = bool(name) and bool(enrolled)
                found.setdefault(partner, []).append(Held(partner, programme, award, there, credited, performance, place))
    return found


def known(table: object, known_at: int) -> list[ColumnElement[bool]]:
    columns = table.c  # type: ignore[attr-defined]
    return [columns.known_from <= known_at, columns.known_until > known_at]


def stated_at(store: Store, at: Instant, known_at: int) -> dict[str, Place]:
    """What partners were last said to be, by rows."""
    query = select(INTERVALS.c.partner, INTERVALS.c.country, INTERVALS.c.market, INTERVALS.c.segment).where(
        INTERVALS.c.kind == "partner", INTERVALS.c.since <= at, INTERVALS.c.until > at, *known(INTERVALS, known_at)
    )
    with store.snapshot() as connection:
        return {partner: Place(*place) for partner, *place in connection.execute(query)}


def _judged(partner: str, programme: str, life: Life, at: Instant) -> Iterator[Held]:
    stated = place_of([fact for fact in life.facts.of("partner") if fact.start <= at < fact.end])
    try:
        place = placed(stated, life.book(at), at)
        there = (at >= life.first or is_there_from_the_beginning(life)) and not life.left(at)
        for own in life.ladders():
            yield Held(partner, programme, own.award, there, own.credited_tier(at), own.tier(at), place)
    except CANNOT_JUDGE as error:
        yield Held(partner, programme, "", False, None, None, stated, f"{error.what} [{error.code}]")


def place_of(facts: Iterable[Fact]) -> Place:
    """What the last of these facts says."""
    last = max(facts, key=lambda fact: (fact.start, fact.event.position), default=None)
    return NOWHERE if last is None else Place(*[getattr(last.data, name, None) for name in ("country", "market", "segment")])


def placed(stated: Place, book: Book | None, at: Instant) -> Place:
    """With the market of the country by the rulebook, where none was stated and it has a table of markets."""
    table = book.tables.get("market") if book is not None else None
    if stated.market is not None or stated.country is None or table is None:
        return stated
    cell = cell_of(table.row_at(at)[1], (stated.country,))
    return stated if cell is None else replace(stated, market=str(cell[0]))


def those(found: Iterable[Held], wanted: Filter) -> list[Held]:
    """Those that are meant; who cannot be judged is among them, unless it is elsewhere."""
    return [each for each in found if wanted.means(each.place) and (wanted.tier in (None, each.credited) or each.parked)]


def places_at(questions: Questions, moment: Moment, at: Instant) -> Mapping[str, Place]:
    """Where each partner is."""
    return {each.partner: each.place for each in held_at(questions, replace(moment, award=None), at)}


def check(places: Iterable[Place], wanted: Filter) -> None:
    """That somebody is there at all: a list of nobody is an answer, a wrong name is none. Raises NotFound."""
    known = list(places)
    for what in ("country", "market", "segment"):
        asked, found = getattr(wanted, what), sorted({name for place in known if (name := getattr(place, what)) is not None})
        if asked is not None and asked not in found:
            hint = f"there are {', '.join(found)}" if found else "of nobody it was said"
            raise NotFound(f"nobody is in {what} {asked!r} at this moment", hint=hint, code=f"unknown_{what}")
