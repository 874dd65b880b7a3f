"""The questions that people ask of the ledger, at any moment: one function each, answered with what it rests on.

A moment has three coordinates: `as_of` (effective), `known_at` (a position or a recorded time) and `rulebook` (none: the books in
force). What lies after the instant at which one asks is a forecast, and says so. Nothing here writes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol

from ledger.errors import MomentError, NotFound, Parked, RulebookError
from ledger.events.envelope import Event, Sealed
from ledger.instants import BEGINNING, DAY, Instant, Span, plus, to_datetime, zone_of
from ledger.projections import achievements as achieved
from ledger.projections import competencies
from ledger.projections import licences as counts
from ledger.projections.achievements import Achievement, Honour, Place
from ledger.projections.rows import programmes_of, summed
from ledger.projections.store import Restated, Store
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

    def events(self, partner: str, until: int | None = None) -> Sequence[Sealed]: ...

    def histories(self, partners: Sequence[str], until: int) -> dict[str, list[Sealed]]: ...

    def published(self, until: int | None = None) -> Sequence[Sealed]: ...

    def ends(self, position: int) -> int: ...

    def is_end(self, position: int) -> bool: ...


@dataclass(frozen=True, slots=True)
class Moment:
    """When, as known when, by which rules. None: now, all that is known, the books in force."""

    as_of: Instant | None = None
    known_at: int | None = None
    known_when: Instant | None = None
    rulebook: str | None = None
    programme: str | None = None
    award: str | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """A place in the ranking; shared places are 1, 2, 2, 4. Who cannot be judged comes last, without place and score, and says why.

    `points` are the sums of lots, and the score. `by` is the number of the rulebook that is the score; `tiered`: whether the rulebook has
    tiers at all.
    """

    place: int | None
    partner: str
    credited: str | None
    performance: str | None
    score: Fraction | None
    points: dict[str, Fraction]
    parked: str | None
    by: str | None = None
    tiered: bool = False
    programme: str = ""


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
        told = self._from_rows(moment, at)
        rest = [partner for partner in self.history.partners() if partner not in told] if told else None
        return self._placed([row for row in told.values() if row is not None] + self._judged(moment, lambda _: at, rest), names)

    def _from_rows(self, moment: Moment, at: Instant) -> dict[str, Ranked | None]:
        """What the read models say of an instant; None of a partner that had left. Who is not among them, the engine is asked about."""
        known_at = self.position(moment)
        if moment.rulebook is not None or moment.award is not None or at > self._clock() or not self._rows_know(known_at):
            return {}
        parked, unanswered, found = self.store.partners(), self.store.unanswered(at, known_at), dict[str, Ranked | None]()
        books = {book.name: book for book in self.library.books(known_at)}
        points: dict[str, dict[str, dict[str, Fraction]]] = {}
        scores: dict[str, dict[str, tuple[str, Fraction]]] = {}
        several: set[str] = set()
        for partner, level in self.store.standings_at(at, known_at, moment.programme):
            several |= {partner} & found.keys()
            if level.book not in books:
                continue  # before its first fact
            book, programme = books[level.book], level.programme
            if programme not in points:
                points[programme] = self.store.points_at(programme, at, known_at)
                scores[programme] = self.store.scores_at(programme, at, known_at)
            by, sums, own = achieved.scored_by(book), summed(book), points[programme].get(partner, {})
            lots = {measure.name: own.get(measure.name, Fraction(0)) for measure in breakdown.point_measures(book)}
            if by is None:
                score = Fraction(0)
            elif sums is not None:
                score = sum((lots[name] for name in sums), Fraction(0))
            elif partner in scores[programme]:
                score = scores[programme][partner][1]
            else:
                continue
            told = lots | ({by: score} if by is not None else {})
            row = Ranked(
                None, partner, level.credited, level.performance, score, told, parked.get(partner), by, bool(book.ranks), programme
            )
            found[partner] = row if level.enrolled else None
        return {partner: row for partner, row in found.items() if partner not in unanswered and partner not in several}

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
                    told = {measure.name: values[measure.name] for measure in breakdown.point_measures(book)}
                    if by is not None:
                        told[by] = values[by]
                    score, tiered = told[by] if by is not None else Fraction(0), bool(book.ranks)
                    rows.append(
                        Ranked(None, partner, credited, life.tier(at), score, told, parked.get(partner), by, tiered, book.programme)
                    )
            except CANNOT_JUDGE as error:
                rows.append(Ranked(None, partner, None, None, None, {}, error.what))
        return rows

    def _placed(self, rows: Sequence[Ranked], names: Mapping[str, str] | None) -> list[Ranked]:
        """By score, those that cannot be judged last. Raises NotFound where they are of several programmes."""
        programmes = {row.programme for row in rows if row.score is not None}
        if len(programmes) > 1:
            hint = f"name one: {', '.join(sorted(programmes))}"
            raise NotFound("scores of several programmes do not make one ranking", hint=hint, code="programme_needed")
        by_partner = {row.partner: row for row in rows}
        places = achieved.ranking({row.partner: row.score for row in rows if row.score is not None}, names)
        judged = [replace(by_partner[place.partner], place=place.place) for place in places]
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
        """Every partner (or of these) that is at risk at the moment, or will lose its tier if nothing more happens."""
        for partner, life in self._each(moment, partners):
            progress(partner)
            at = self.as_of(moment)
            try:
                for each in [life.of(award) for award in life.awards(at)] or [life]:
                    endangered, lost = risk.risk(each, at), risk.loss(each, at)
                    if endangered is not None or lost is not None:
                        programme = life.book(at).programme
                        yield Endangered(partner, each.credited_tier(at), each.tier(at), endangered, lost, None, each.award, programme)
            except CANNOT_JUDGE as error:
                yield Endangered(partner, None, None, None, None, error.what)

    def restatements(self, since: Instant, until: Instant) -> list[Restated]:
        """Past tiers that became others by what was recorded in [since, until), as far as the read models have come."""
        return self.store.restated(self.history.position_at(since - 1), self.history.position_at(until - 1))

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
            if moment.programme is not None and programmes and moment.programme not in programmes:
                continue
            life = Life(events, self.force(moment, events, known_at))
            yield partner, self._foreseen(life, moment)
            life.forget()

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


def _zone(name: str) -> str:
    try:
        zone_of(name)
    except (KeyError, ValueError, OSError):
        raise NotFound(f"{name!r} is no time zone", hint="e.g. Europe/London", code="unknown_zone") from None
    return name
