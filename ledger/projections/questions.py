"""The questions that people ask of the ledger, at any moment: one function each, answered with what it rests on.

A moment has three coordinates: `as_of` (effective), `known_at` (a position or a recorded time) and `rulebook` (none: the books in
force). What lies after the instant at which one asks is a forecast, and says so. Nothing here writes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple, Protocol

from ledger.errors import MomentError, NotFound, Parked, RulebookError
from ledger.events.envelope import Event, Sealed
from ledger.instants import BEGINNING, DAY, Instant, Span, plus, to_datetime, zone_of
from ledger.projections import achievements as achieved
from ledger.projections import competencies
from ledger.projections import licences as counts
from ledger.projections.achievements import Achievement, Honour, Place
from ledger.projections.extract import Extract
from ledger.projections.reader import Reader, Row
from ledger.projections.rows import content_of, is_there_from_the_beginning, of_nothing, programmes_of, summed
from ledger.projections.store import Restated, Stood, Store
from ledger.projections.views import View
from ledger.rules import breakdown, counted, risk, standing
from ledger.rules.answers import (
    ActiveOverride,
    Basis,
    Changes,
    ClientPoints,
    HistoryRow,
    Interval,
    Loss,
    RequirementCount,
    Risk,
    Standing,
    Why,
)
from ledger.rules.book import Book
from ledger.rules.library import Library
from ledger.rules.life import Force, Life, in_force

_LIVES = 16
CANNOT_JUDGE = (Parked, RulebookError)
"""What concerns one partner alone: a question about many goes on, and says so."""


class History(Protocol):
    """What the questions need of a log."""

    def head(self) -> int: ...

    def position_at(self, recorded_at: Instant) -> int: ...

    def partners(self) -> list[str]: ...

    def sizes(self) -> dict[str, int]: ...

    def events(self, partner: str, until: int | None = None) -> Sequence[Sealed]: ...

    def histories(self, after: Mapping[str, int], until: int) -> dict[str, list[Sealed]]: ...

    def published(self, until: int | None = None) -> Sequence[Sealed]: ...

    def ends(self, position: int) -> int: ...

    def is_end(self, position: int) -> bool: ...

    def touched(self, after: int, until: int) -> list[str]: ...

    def get(self, position: int) -> Sealed: ...


@dataclass(frozen=True, slots=True)
class Moment:
    """When, as known when, by which rules. None: now, all that is known, the books in force."""

    as_of: Instant | None = None
    known_at: int | None = None
    known_when: Instant | None = None
    rulebook: str | None = None
    programme: str | None = None
    award: str | None = None


class Ranked(NamedTuple):
    """A place in the ranking; shared places are 1, 2, 2, 4. Who cannot be judged comes last, without place and score, and says why.

    `by` is the number of the rulebook that is the score; `tiered`: whether the rulebook has tiers at all.
    """

    place: int | None
    partner: str
    credited: str | None
    performance: str | None
    score: Fraction | None
    parked: str | None
    by: str | None = None
    tiered: bool = False
    programme: str = ""


@dataclass(frozen=True, slots=True)
class Brief:
    """Tiers and points by one programme, and award; before the first fact no rulebook is named."""

    programme: str
    award: str
    rulebook: str
    credited: str | None
    performance: str | None
    enrolled: bool
    points: dict[str, Fraction]
    """By measure that is a sum of lots."""
    by: str | None
    """The number by which the rulebook ranks."""
    score: Fraction | None
    parked: str | None


@dataclass(frozen=True, slots=True)
class Nomination:
    """Who is nominated at the end of the second quarter of a year, and who could not be judged."""

    year: int
    at: Instant
    nominees: tuple[Place, ...]
    parked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Endangered:
    """A partner that is at risk, or whose tier will be lost if nothing more happens; or that cannot be judged (`parked` says why)."""

    partner: str
    credited: str | None
    performance: str | None
    at_risk: Risk | None
    tier_lost_at: Loss | None
    parked: str | None
    award: str = ""
    programme: str = ""


@dataclass(frozen=True, slots=True)
class Impact:
    """What a rulebook would change first for a partner: when, and from which credited tier to which; or why that cannot be told."""

    partner: str
    award: str
    at: Instant | None
    before: str | None
    after: str | None
    parked: str | None = None


class Questions:
    """Asks lives of partners; keeps a few of them, which changes no answer."""

    def __init__(
        self, history: History, store: Store, clock: Callable[[], Instant], applied: Callable[[], int] | None = None
    ) -> None:  # fmt: skip
        """`applied`: up to which position the read models have come; by default as the store says."""
        self.history = history
        self.store = store
        self._clock = clock
        self._applied = store.position if applied is None else applied
        self._lives: OrderedDict[tuple[object, ...], Life] = OrderedDict()
        self.library = Library(history.published())

    # -- moments ------------------------------------------------------------------------------------------------

    def position(self, moment: Moment) -> int:
        """The position up to which the answer knows. Raises MomentError for one that is not there."""
        head = self.history.head()
        if moment.known_when is not None:
            return self.history.position_at(moment.known_when)
        if moment.known_at is None:
            return head
        if not 0 <= moment.known_at <= head:
            raise MomentError(f"position {moment.known_at} is not in the log", hint=f"the last position is {head}")
        return moment.known_at

    def as_of(self, moment: Moment) -> Instant:
        return self._clock() if moment.as_of is None else moment.as_of

    def force(self, moment: Moment, events: Sequence[Sealed], known_at: int) -> tuple[Force, ...]:
        """The rulebooks that apply: the one that is named (`book@Zone` counts its months in that zone), else those in force."""
        if moment.rulebook is not None:
            name, _, zone = moment.rulebook.partition("@")
            named = self.library.named(name, known_at)
            if zone:
                book = named[0].book
                return (Force(replace(book, zone=_zone(zone), name=f"{book.name}@{zone}")),)
            return named
        programme = moment.programme or self._programme(events, known_at)
        return self.library.force(programme, known_at)

    def _programme(self, events: Sequence[Sealed], known_at: int) -> str:
        found = programmes_of(events, self.library, known_at)
        if len(found) == 1:
            return found[0]
        hint = f"name one: {', '.join(found or self.library.programmes(known_at))}"
        raise NotFound("the question needs a programme", hint=hint, code="programme_needed")

    def life(self, partner: str, moment: Moment) -> Life:
        """The partner's life as known. Raises NotFound for a partner that the ledger does not know at the moment."""
        known_at = self.position(moment)
        key = (partner, known_at, moment.rulebook, moment.programme)
        life = self._lives.get(key)
        if life is None:
            events = self.history.events(partner, known_at)
            if not events:
                raise NotFound(
                    f"no partner {partner!r} is known at position {known_at}", hint="points ranking lists them", code="unknown_partner"
                )
            life = self._lives[key] = Life(events, self.force(moment, events, known_at))
            if len(self._lives) > _LIVES:
                self._lives.popitem(last=False)[1].forget()
        else:
            self._lives.move_to_end(key)
        return self._of(life, moment)

    def _of(self, life: Life, moment: Moment) -> Life:
        """The life by the award that is asked for. Raises NotFound for one that the rulebook has not."""
        if moment.award is None:
            return life
        known = life.awards(self.as_of(moment))
        if moment.award not in known:
            hint = f"its awards: {', '.join(known) or 'none'}"
            raise NotFound(f"{life.book(self.as_of(moment)).name} has no award {moment.award!r}", hint=hint, code="unknown_award")
        return life.of(moment.award)

    def _asked(self, partner: str, moment: Moment) -> tuple[Life, Basis]:
        """The life to ask, and the basis: what lies ahead of now is a forecast from now."""
        life, at, now = self.life(partner, moment), self.as_of(moment), self._clock()
        foreseen_from = now if at > now else None
        if foreseen_from is not None:
            life = life.foresee(foreseen_from)
        return life, standing.basis(life, partner, at, self.position(moment), foreseen_from)

    # -- one partner --------------------------------------------------------------------------------------------

    def standing(self, partner: str, moment: Moment, *, goal: str | None = None) -> Standing:
        life, on = self._asked(partner, moment)
        return replace(standing.standing(life, on, goal=goal), parked=self.store.parked(partner))

    def brief(self, partner: str, moment: Moment) -> tuple[Brief, ...]:
        """Tiers and points at an instant that is past, by programme and award: read from the rows by an index, or by the engine where
        they do not answer. Raises MomentError for an instant to come.
        """
        at, known_at = self.as_of(moment), self.position(moment)
        if at > self._clock():
            raise MomentError("what lies ahead is a forecast, and no row", hint="ask points standing without --brief")
        stood = self.store.stood(partner, at, known_at) if moment.rulebook is None and self._rows_know(known_at) else None
        parked = self.store.parked(partner)
        if stood is None or parked:
            whole = replace(moment, as_of=at, known_at=known_at, known_when=None, award=None)
            lives = self.lives(whole, [partner]) if self.history.events(partner, known_at) else iter(())
            found = [brief for _, programme, life in lives for brief in _briefs(programme, life, at, parked)]
        else:
            books = {book.name: book for book in self.library.books(known_at)}
            found = []
            for row in stood:
                points, by, score = _points(books.get(row.book), row, at)
                enrolled = bool(row.enrolled)
                found.append(Brief(row.programme, row.award, row.book, row.credited, row.performance, enrolled, points, by, score, None))
        wanted = [b for b in found if moment.programme in (None, b.programme) and moment.award in (None, b.award)]
        if not wanted:
            raise NotFound(f"no partner {partner!r} is known at this moment", hint="points ranking lists them", code="unknown_partner")
        return tuple(sorted(wanted, key=lambda brief: (brief.programme, brief.award)))

    def why(self, partner: str, moment: Moment, *, goal: str | None = None) -> Why:
        life, on = self._asked(partner, moment)
        return standing.why(life, on, goal=goal)

    def counted(
        self, partner: str, moment: Moment, *, name: str | None = None, goal: str | None = None
    ) -> tuple[Basis, list[RequirementCount]]:  # fmt: skip
        """What counts, what does not and why: for a measure or number, else for the ways to the next tier of each award, else for all."""
        life, on = self._asked(partner, moment)
        at, book = on.as_of, life.book(on.as_of)
        if name is not None:
            return on, [counted.counted(life, at, name)]
        found: list[RequirementCount] = []
        for each in [life.of(award) for award in life.awards(at)] or [life]:
            found += counted.counted_for(each, at, standing.ways(each.book(at), each.tier(at), goal))
        return on, found or [counted.counted(life, at, name) for name in book.measures]

    def membership(self, partner: str, moment: Moment) -> tuple[Basis, competencies.MembershipView]:
        """What is and was held, what was bought, and the days that come."""
        life, on = self._asked(partner, moment)
        return on, competencies.membership(life, on.as_of)

    def performance(
        self, partner: str, moment: Moment, months: int = competencies.MONTHS
    ) -> tuple[Basis, list[competencies.MonthOfMetric]]:
        """Each metric of each option, month by month."""
        life, on = self._asked(partner, moment)
        return on, competencies.performance(life, on.as_of, months)

    def timeline(self, partner: str, moment: Moment, *, since: Instant | None = None, until: Instant | None = None) -> list[Interval]:
        """The past up to `as_of` as it was, then what can be foreseen from there."""
        life, at = self.life(partner, moment), min(self.as_of(moment), self._clock())
        ahead = life.foresee(at)
        begin = since if since is not None else min((s.event.effective_at for s in life.events), default=at)
        end = until if until is not None else max(ahead.settled_at, plus(at, Span(months=24)))
        past = standing.timeline(life, begin, min(at, end)) if begin < min(at, end) else []
        future = standing.timeline(ahead, max(at, begin), end, foreseen=True) if max(at, begin) < end else []
        return past + future

    def past(self, partner: str, moment: Moment, *, since: Instant = BEGINNING) -> list[HistoryRow]:
        life, at = self.life(partner, moment), self.as_of(moment)
        return breakdown.history(life, since=since, until=at + 1)

    def breakdown(
        self, partner: str, moment: Moment, *, deal_type: str | None = None, market: str | None = None, measure: str | None = None
    ) -> tuple[Basis, list[ClientPoints]]:
        """Points by client, filtered by deal type and market type, each lot with its state."""
        life, on = self._asked(partner, moment)
        found = breakdown.lots(life, on.as_of, measure=measure)
        kept = [lot for lot in found if deal_type in (None, lot.deal_type) and market in (None, lot.market)]
        return on, breakdown.by_client(kept)

    def changes(self, partner: str, moment: Moment, since: Instant, until: Instant) -> Changes:
        life = self.life(partner, moment)
        on = standing.basis(life, partner, until - 1, self.position(moment))
        if breakdown.point_measures(life.book(until - 1)):
            return breakdown.changes(life, on, since, until)
        return achieved.changes(life, on, since, until)

    def achievements(self, partner: str, moment: Moment) -> tuple[Basis, list[Achievement]]:
        """What is reached and what is open, and what each would bring to the number by which the partner is ranked."""
        life, on = self._asked(partner, moment)
        return on, achieved.achievements(life, on.as_of)

    def quick_wins(self, partner: str, moment: Moment) -> tuple[Basis, list[Achievement]]:
        life, on = self._asked(partner, moment)
        return on, achieved.quick_wins(life, on.as_of)

    def licences(self, partner: str, moment: Moment) -> tuple[Life, Basis]:
        """The life to ask about licences, and the basis: where no instant is asked for, that of the latest count."""
        if moment.as_of is None:
            moment = replace(moment, as_of=counts.processed_at(self.life(partner, moment), self.as_of(moment)))
        return self._asked(partner, moment)

    def months(self, partner: str, moment: Moment) -> list[tuple[Instant, dict[str, Fraction], bool]]:
        return breakdown.months(self.life(partner, moment), self.as_of(moment))

    def overrides(self, partner: str, moment: Moment) -> tuple[ActiveOverride, ...]:
        life, on = self._asked(partner, moment)
        return standing.standing(life, on, ahead=False).overrides

    def simulate(self, partner: str, moment: Moment, events: Sequence[Event], *, goal: str | None = None) -> tuple[Standing, Standing]:
        """The standing as it is, and as it would be if these events were recorded now. Nothing is recorded."""
        whole = self.life(partner, replace(moment, award=None))
        at, known_at = self.as_of(moment), self.position(moment)
        now, version = self._clock(), whole.events[-1].version
        supposed = [
            Sealed(known_at + n, f"partner/{partner}", version + n, now, b"", b"", event) for n, event in enumerate(events, start=1)
        ]
        answers = []
        for each in (whole, Life([*whole.events, *supposed], whole.force)):
            life = self._of(each.foresee(now) if at > now else each, moment)
            on = standing.basis(life, partner, at, known_at, now if at > now else None)
            answers.append(standing.standing(life, on, goal=goal))
        return answers[0], answers[1]

    # -- many partners ------------------------------------------------------------------------------------------

    def ranking(self, moment: Moment, names: Mapping[str, str] | None = None) -> list[Ranked]:
        """All partners by score (the rulebook's `total` or `score`, else the first number that it shows or has), within a place by name.

        Those that had left the programme by then are not among them. Raises NotFound where they are of several programmes.
        """
        at = self.as_of(moment)
        told, rest = self._from_rows(moment, at) or ([], None)
        _of_one_programme(told)  # before the others are judged
        return self._placed(told if rest == [] else told + self._judged(moment, lambda _: at, rest), names)

    def _from_rows(self, moment: Moment, at: Instant) -> tuple[list[Ranked], list[str]] | None:
        """What the read models say of an instant, and whom the engine is to be asked about; None where they do not know the moment."""
        known_at = self.position(moment)
        if moment.rulebook is not None or moment.award is not None or at > self._clock() or not self._rows_know(known_at):
            return None
        asked, found = self.store.unanswered(at, known_at) | self.store.all_parked().keys(), dict[str, Ranked | None]()
        for programme in self.library.programmes(known_at) if moment.programme is None else [moment.programme]:
            books = {book.name: book for book in self.library.books(known_at) if book.programme == programme}
            if any(book.awards for book in books.values()):
                asked |= self.store.partners_of(programme, known_at)
                continue
            begun = next(force.book for force in self.library.force(programme, known_at) if at < force.until)
            told = {name: (achieved.scored_by(book), bool(book.ranks)) for name, book in books.items()}
            sums = {name: summed(book) for name, book in books.items()}
            nothing = of_nothing(begun, at)
            for partner, balance in self.store.balances_at(programme, at, known_at, sums.get):
                performance, credited, name, enrolled, score = balance
                if partner in found:
                    asked.add(partner)
                if not name:  # before its first fact
                    name, score = begun.name, nothing
                found[partner] = Ranked(None, partner, credited, performance, score, None, *told[name], programme) if enrolled else None
        return [row for partner, row in found.items() if row is not None and partner not in asked], sorted(asked)

    def _rows_know(self, known_at: int) -> bool:
        """Whether the read models have come to a position at which a commit ends."""
        return 0 < known_at <= self._applied() and self.history.is_end(known_at)

    def _judged(self, moment: Moment, when: Callable[[Life], Instant], partners: Sequence[str] | None = None) -> list[Ranked]:
        """What the engine says of partners that had not left; default of all."""
        parked, rows = self.store.partners(), list[Ranked]()
        for partner, life in self._each(moment, partners):
            try:
                at = when(life)
                if not life.left(at):
                    values, book = life.values(at), life.book(at)
                    by, credited = achieved.scored_by(book), life.credited_tier(at)
                    score, tiered = values[by] if by is not None else Fraction(0), bool(book.ranks)
                    rows.append(Ranked(None, partner, credited, life.tier(at), score, parked.get(partner), by, tiered, book.programme))
            except CANNOT_JUDGE as error:
                rows.append(Ranked(None, partner, None, None, None, error.what))
        return rows

    def _placed(self, rows: Sequence[Ranked], names: Mapping[str, str] | None) -> list[Ranked]:
        """By score, those that cannot be judged last. Raises NotFound where they are of several programmes."""
        _of_one_programme(rows)
        by_partner = {row.partner: row for row in rows}
        places = achieved.ranking({row.partner: row.score for row in rows if row.score is not None}, names)
        judged = [Ranked(place.place, *by_partner[place.partner][1:]) for place in places]
        return judged + sorted([row for row in rows if row.score is None], key=lambda row: row.partner)

    def nominees(
        self, moment: Moment, year: int | None = None, best: int = achieved.NOMINEES, names: Mapping[str, str] | None = None
    ) -> Nomination | None:
        """The best at the end of the second quarter of a year; default the latest that lies before the moment. None: nobody is there."""
        ends: list[tuple[int, Instant]] = []

        def when(life: Life) -> Instant:
            ends.append(_nomination(life, self.as_of(moment), year))
            return ends[-1][1]

        asked = moment if year is None else replace(moment, as_of=achieved.second_quarter_end(year, "UTC") + DAY)
        rows = self._placed(self._judged(asked, when), names)
        if not ends:
            return None
        scored = {row.partner: row.score for row in rows if row.score is not None}
        return Nomination(
            *ends[-1], tuple(achieved.nominees(scored, names, best)), tuple(row.partner for row in rows if row.parked is not None)
        )

    def awards(self, moment: Moment, names: Mapping[str, str] | None = None) -> dict[int, list[Honour]]:
        """The nominations and awards that had been given by the moment, by year."""
        return achieved.awards(self._each(moment), self.as_of(moment), names)

    def at_risk(
        self, moment: Moment, partners: Sequence[str] | None = None, progress: Callable[[str], None] = lambda _: None
    ) -> Iterator[Endangered]:
        """Every partner (or of these) that is at risk at the moment, or will lose its tier if nothing more happens; its awards by name."""
        for partner, life in self._each(moment, partners):
            progress(partner)
            at = self.as_of(moment)
            try:
                for each in [life.of(award) for award in sorted(life.awards(at))] or [life]:
                    endangered, lost = risk.risk(each, at), risk.loss(each, at)
                    if endangered is not None or lost is not None:
                        programme = life.book(at).programme
                        yield Endangered(partner, each.credited_tier(at), each.tier(at), endangered, lost, None, each.award, programme)
            except CANNOT_JUDGE as error:
                yield Endangered(partner, None, None, None, None, error.what)

    def restatements(self, since: Instant, until: Instant) -> list[Restated]:
        """Past tiers that became others by what was recorded in [since, until), as far as the read models have come."""
        return self.store.restated(self.history.position_at(since - 1), self.history.position_at(until - 1))

    def extract(self, view: View, moment: Moment, partner: str | None = None) -> Extract:
        """What of a view holds at a moment; without one, all. Raises MomentError where the rows do not tell a position apart."""
        if moment.known_at is None and moment.known_when is None:
            return Extract(view, moment.as_of, None, partner)
        known_at = self.position(moment)
        if known_at and not self._rows_know(known_at):
            if known_at > (applied := self.applied()):
                raise MomentError(f"the read models have not come to position {known_at}", hint=f"they have come to {applied}")
            hint = f"ask for that: --known-at {self.history.ends(known_at)}"
            raise MomentError(f"position {known_at} is not the last one of what was recorded with it", hint=hint)
        return Extract(view, moment.as_of, known_at, partner)

    def rows(self, extract: Extract, reader: Reader) -> Iterator[Row]:
        """In the order of what tells them apart, with instants as whole numbers; they are read as they are asked for."""
        known_at = extract.known_at
        return extract.rows(reader, lambda partner: content_of(self.history.events(partner, known_at), self.library, known_at or 0).content)

    def applied(self) -> int:
        """Up to which position the read models have come."""
        return self._applied()

    def impact(self, book: Book, moment: Moment, progress: Callable[[str], None] = lambda _: None) -> Iterator[Impact]:
        """Whose credited tier would be another if a rulebook were published, and from when: by what is known and can be foreseen now."""
        now, moment = self._clock(), replace(moment, programme=book.programme, rulebook=None, award=None)
        for partner, life in self._each(moment):
            progress(partner)
            books = [force.book for force in life.force if force.book.name != book.name]
            other = Life(life.events, in_force([*books, book])).foresee(now)
            try:
                for ladder in other.ladders():
                    before = life.foresee(now).of(ladder.award)
                    at = _first_change(before, ladder)
                    if at is not None:
                        yield Impact(partner, ladder.award, at, before.credited_tier(at), ladder.credited_tier(at))
            except CANNOT_JUDGE as error:
                yield Impact(partner, "", None, None, None, error.what)

    def _each(self, moment: Moment, partners: Sequence[str] | None = None) -> Iterator[tuple[str, Life]]:
        known_at = self.position(moment)
        for partner in self.history.partners() if partners is None else partners:
            events = self.history.events(partner, known_at)
            if not events:
                continue
            programmes = programmes_of(events, self.library, known_at)
            if moment.rulebook is None and moment.programme is None and not programmes:
                continue
            if moment.rulebook is None and moment.programme is not None and moment.programme not in programmes:
                continue
            life = Life(events, self.force(moment, events, known_at))
            yield partner, self._foreseen(life, moment)
            life.forget()

    def lives(self, moment: Moment, partners: Sequence[str] | None = None) -> Iterator[tuple[str, str, Life]]:
        """Every partner (or of these) in each of its programmes, or in the one that is asked for."""
        known_at = self.position(moment)
        for partner in self.history.partners() if partners is None else partners:
            events = self.history.events(partner, known_at)
            own = programmes_of(events, self.library, known_at) if events else []
            if moment.rulebook is not None and events:
                own = [self.force(moment, events, known_at)[0].book.programme] if moment.programme in (None, *own) else []
            for programme in own:
                if moment.programme in (None, programme):
                    life = Life(events, self.force(replace(moment, programme=programme), events, known_at))
                    yield partner, programme, self._foreseen(life, moment)
                    life.forget()

    def rows_answer(self, moment: Moment, at: Instant) -> bool:
        """Whether the read models may be asked about an instant at all: by the rulebooks in force, of what is no forecast."""
        return moment.rulebook is None and at <= self._clock() and self._rows_know(self.position(moment))

    def _foreseen(self, life: Life, moment: Moment) -> Life:
        now = self._clock()
        return life.foresee(now) if self.as_of(moment) > now else life


def _first_change(before: Life, after: Life) -> Instant | None:
    """The first instant at which two lives are credited differently."""
    until = max(before.settled_at, after.settled_at)
    for life in (before, after):
        life.check(until)
    steps = {step.at for life in (before, after) for step in life.walked(until).steps}
    return next((at for at in sorted(steps) if at < until and before.credited_tier(at) != after.credited_tier(at)), None)


def _nomination(life: Life, at: Instant, year: int | None) -> tuple[int, Instant]:
    """The end of a second quarter in the rulebook's zone: of the year, or the latest that is not after an instant."""
    if year is not None:
        return year, achieved.second_quarter_end(year, life.book(achieved.second_quarter_end(year, "UTC")).zone)
    zone = life.book(at).zone
    this = to_datetime(at, zone).year
    last = this if achieved.second_quarter_end(this, zone) <= at else this - 1
    return last, achieved.second_quarter_end(last, zone)


def _of_one_programme(rows: Iterable[Ranked]) -> None:
    """Raises NotFound where those that were judged are of several programmes."""
    programmes = {row.programme for row in rows if row.score is not None}
    if len(programmes) > 1:
        hint = f"name one, such as {', '.join(sorted(programmes))}"
        raise NotFound("scores of several programmes do not make one ranking", hint=hint, code="programme_needed")


def _zone(name: str) -> str:
    try:
        zone_of(name)
    except (KeyError, ValueError, OSError):
        raise NotFound(f"{name!r} is no time zone", hint="e.g. Europe/London", code="unknown_zone") from None
    return name


def _points(book: Book | None, row: Stood, at: Instant) -> tuple[dict[str, Fraction], str | None, Fraction | None]:
    """The points of each measure, and the number by which the rulebook ranks."""
    if book is None:
        return {}, None, None
    points = {measure.name: row.points.get(measure.name, Fraction(0)) for measure in breakdown.point_measures(book)}
    sums, name = summed(book), achieved.scored_by(book)
    if sums is not None:
        return points, name, sum((points[measure] for measure in sums), Fraction(0))
    return points, name, None if name is None else of_nothing(book, at) if row.number is None else row.number[1]


def _briefs(programme: str, life: Life, at: Instant, parked: str | None) -> Iterator[Brief]:
    for ladder in life.ladders():
        book, name = ladder.book(at), ""
        before = at < life.first and not is_there_from_the_beginning(life)
        credited, tier = ladder.credited_tier(at), ladder.tier(at)
        if before:
            yield Brief(programme, ladder.award, name, credited, tier, True, {}, None, None, parked)
            continue
        scope, by = life.scope(at), achieved.scored_by(life.book(at))
        points = {measure.name: scope.number(measure.name) for measure in breakdown.point_measures(life.book(at))}
        number = None if by is None else scope.number(by)
        yield Brief(programme, ladder.award, book.name, credited, tier, not life.left(at), points, by, number, parked)
