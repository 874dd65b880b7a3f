"""What a partner's events and the rulebooks say, as rows: levels, lots, scores, and what lasts from when until when.

`content` is a function of the events and of the rulebooks that are known at a position; it knows nothing of tables or of what was
known earlier (see `clocks`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from math import gcd
from typing import Any, NamedTuple

from ledger.errors import LedgerError
from ledger.events.envelope import Sealed
from ledger.instants import BEGINNING, FOREVER, Instant
from ledger.projections.achievements import scored_by
from ledger.projections.clocks import Changes, Clocked, Commit, Content, Identity, Payload, commits_of
from ledger.rules.book import Book
from ledger.rules.breakdown import point_measures
from ledger.rules.facts import Facts, fold
from ledger.rules.library import Library
from ledger.rules.life import Life
from ledger.rules.linear import weights
from ledger.rules.presence import Reading
from ledger.rules.sweep import Performance, sweep

LEVELS, LOTS, SCORES, INTERVALS = "levels", "lots", "scores", "intervals"
LASTING = (
    "enrolment", "partner", "link", "leaver", "client", "assignment", "account_user", "subscription", "managed", "activity", "certificate",
    "invitation", "override",
)  # fmt: skip
"""The kinds of facts that are rows of their own; lots are, and what is only measured is in the log."""

Found = dict[Identity, tuple[Instant, Payload]]


def programmes_of(events: Iterable[Sealed], library: Library, known_at: int | None = None) -> list[str]:
    """The programmes in which the partner was ever enrolled; where none is named, the only one that reads what is said of it."""
    known = library.programmes(known_at)
    named = {s.event.data.programme for s in events if s.event.kind == "partner.enrolled.v1"} - {None}
    enrolled = [programme for programme in known if programme in named]
    if enrolled or len(known) < 2:
        return enrolled or known
    return library.only_reader(fold(events).by_kind, known_at)


class Partner(NamedTuple):
    """How far a partner's rows have come."""

    version: int
    position: int
    """Of its last event."""
    known: int
    """The last position of its last commit, which may be that of a rulebook."""
    recorded_at: Instant
    """When that commit was recorded."""
    horizon: Instant
    """Before which the rows tell the past in both clocks."""
    epoch: int
    """The last commit that reached back."""
    parked: str | None


class Made(NamedTuple):
    """What is known of a partner at a position."""

    content: Content
    parked: str | None
    """Why it is parked, if it is."""
    performances: Mapping[str, Sequence[Performance]]
    """By programme."""

    def settled(self, programme: str, reach: Instant) -> Sequence[Performance]:
        """What no later event changes that says nothing new of an instant before `reach`."""
        return [performance for performance in self.performances.get(programme, ()) if performance.until <= reach]


NOTHING = Made({}, None, {})


class Contents:
    """What was made last of some partners: whoever brings them forward again need not make it anew. It changes no row."""

    def __init__(self, rows_max: int = 100_000) -> None:
        self._max = rows_max
        self._count = 0
        self._kept: OrderedDict[str, tuple[int, Made]] = OrderedDict()

    def get(self, stream: str, position: int) -> Made | None:
        at, made = self._kept.get(stream, (0, NOTHING))
        return made if at == position else None

    def put(self, stream: str, position: int, made: Made) -> None:
        self._count += _size(made) - _size(self._kept.pop(stream, (0, NOTHING))[1])
        self._kept[stream] = position, made
        while self._count > self._max:
            self._count -= _size(self._kept.popitem(last=False)[1][1])


def _size(made: Made) -> int:
    return sum(map(len, made.content.values()))


def advanced(
    events: Sequence[Sealed], library: Library, ends: Callable[[int], int], until: int, before: Partner | None = None,
    contents: Contents | None = None,
) -> tuple[Partner, Changes]:  # fmt: skip
    """A partner's rows brought forward to a position: from nothing, or from what is stored (`before`).

    `events` are all that the partner has up to the last position of what was recorded with `until`, in order of version; `ends` gives
    the last position of what was recorded with a position.
    """
    stream = events[0].stream
    if before is None:
        rows, after, last = Clocked(), 0, NOTHING
    else:
        after = before.known
        kept = contents.get(stream, after) if contents is not None else None
        last = content_of(events, library, after) if kept is None else kept
        rows = Clocked(last.content, position=after, recorded_at=before.recorded_at, horizon=before.horizon, epoch=before.epoch)
    commits = _with_rulebooks(commits_of(events, ends, after), library, ends, max(after, events[0].position), until)

    def content_at(known_at: int, reach: Instant) -> Content:
        nonlocal last
        last = content_of(events, library, known_at, last, reach)
        return last.content

    rows.advance(commits, content_at)
    if contents is not None:
        contents.put(stream, rows.position, last)
    version, position = events[-1].version, events[-1].position
    return Partner(version, position, rows.position, rows.recorded_at, rows.horizon, rows.epoch, last.parked), rows.changes()


def _with_rulebooks(commits: list[Commit], library: Library, ends: Callable[[int], int], after: int, until: int) -> list[Commit]:
    """A rulebook that was published, or taken back, says something new of every partner that was there."""
    found = {commit.position: commit for commit in commits}
    for change in library.changes():
        if after < change.position <= until:
            position = ends(change.position)
            own = found.get(position)
            reach, latest = (change.reach, BEGINNING) if own is None else (min(own.reach, change.reach), own.latest)
            found[position] = Commit(position, change.recorded_at, reach, latest)
    return [found[position] for position in sorted(found)]


def content_of(
    events: Sequence[Sealed], library: Library, known_at: int, before: Made = NOTHING, reach: Instant = BEGINNING
) -> Made:  # fmt: skip
    """What is known at a position. `before` was made of fewer events, and what was recorded since says nothing new before `reach`."""
    events = events[: bisect_right(events, known_at, key=_position)]
    parked: str | None = None
    levels, lots, scores = Found(), Found(), Found()
    facts: Facts | None = None
    performances: dict[str, Sequence[Performance]] = {}
    for programme in programmes_of(events, library, known_at):
        try:
            life = Life(events, library.force(programme, known_at))
            life.settled = before.settled(programme, reach)
            facts, performances[programme] = life.facts, life.performances
            made = [_levels(programme, each) for each in life.ladders()], _lots(programme, life), _scores(programme, life)
            for rows in made[0]:
                levels.update(rows)
            lots.update(made[1])
            scores.update(made[2])
            broken = next((performance.broken for performance in life.performances if performance.broken is not None), None)
            if broken is not None:
                parked = f"{programme}: {broken.what} [{broken.code}]"
            life.forget()
        except LedgerError as error:
            parked = f"{programme}: {error.what} [{error.code}]"
    intervals = _intervals(facts if facts is not None else fold(events))
    return Made({LEVELS: levels, LOTS: lots, SCORES: scores, INTERVALS: intervals}, parked, performances)


def _position(sealed: Sealed) -> int:
    return sealed.position


def _levels(programme: str, life: Life) -> Found:
    """One row for each stretch in which neither tier nor rulebook changes, nor whether the partner is enrolled; the last one is open.

    The first one, before the first fact, names no rulebook.
    """
    broken = min((p.broken_at for p in life.performances if p.broken is not None), default=FOREVER)
    until = min(life.settled_at, broken)
    left = {at for stay in life.facts.enrolments(programme) for at in stay if at < until}
    found: list[tuple[Instant, tuple[Any, ...], str]] = []
    for at in sorted({*life.turns(BEGINNING, until), *left}):
        step = life.credited(at)
        level = (life.tier(at), step.tier if step else None, life.book(at).name, int(not (left and life.left(at))))
        if not found or level != found[-1][1]:
            found.append((at, level, step.cause if step and step.at == at else ""))
    if all(_is_nothing(force.book) for force in life.force) and (not found or found[0][0] > BEGINNING):
        found.insert(0, (BEGINNING, (None, None, "", 1), ""))
    ends = [*[at for at, _, _ in found[1:]], broken][: len(found)]
    return {(programme, life.award, at): (end, (*level, because)) for (at, level, because), end in zip(found, ends, strict=True)}


@cache
def _is_nothing(book: Book) -> bool:
    """Whether who has no facts has no tier."""
    return sweep(Reading(book, Facts())).tier_at(BEGINNING) is None


def _lots(programme: str, life: Life) -> Found:
    """The lots, exactly and in whole micro-points; one that is worth the same by the next rulebook goes on."""
    rows = Found()
    last: dict[tuple[str, int], Identity] = {}
    for performance in life.performances:
        begin, stop = performance.since, performance.until
        for measure in point_measures(performance.book):
            name = measure.name
            for present in performance.presents(measure):
                since, until = max(present.start, begin), min(present.end, stop)
                if since >= until or present.error is not None:
                    continue
                event = present.fact.event
                exact, micro = written(present.numerator, present.denominator)
                payload = (getattr(event.event.data, "client", None), exact, micro)
                place = last.get((name, event.position))
                if place is not None and rows[place][0] == since and rows[place][1] == payload:
                    since = place[-1]
                identity = last[name, event.position] = (programme, name, event.position, since)
                rows[identity] = until, payload
    return rows


def _scores(programme: str, life: Life) -> Found:
    """The number by which a rulebook ranks, where it is not the sum of lots: a row for each stretch in which it is the same."""
    found: list[tuple[Instant, Payload]] = []
    for performance in life.performances:
        if summed(performance.book) is not None:
            if found and found[-1][1]:
                found.append((performance.since, ()))
            continue
        name, stop = scored_by(performance.book), performance.broken_at
        for at in performance.instants if name is not None else ():
            if at < stop:
                value = performance.scope_at(at).number(name or "")
                payload = (name, *written(value.numerator, value.denominator))
                if not found or payload != found[-1][1]:
                    found.append((at, payload))
        if stop < FOREVER:
            found.append((stop, ()))
    ends = [*[at for at, _ in found[1:]], FOREVER]
    return {(programme, at): (end, payload) for (at, payload), end in zip(found, ends, strict=False) if payload}


def _intervals(facts: Facts) -> Found:
    found = Found()
    for kind in LASTING:
        for fact in facts.of(kind):
            if fact.start < fact.end:
                key = " / ".join("" if part is None else part for part in fact.key)
                ended_by = fact.ender.position if fact.ender is not None else None
                found[kind, key, fact.event.position, fact.start] = fact.end, (_detail(fact.data, kind), ended_by)
    return found


_DETAILS: Mapping[str, str] = {"override": "tier", "activity": "state", "link": "role", "subscription": "line", "client": "association"}


def _detail(data: Any, kind: str) -> str | None:
    name = _DETAILS.get(kind)
    found = getattr(data, name, None) if name is not None else None
    if kind == "override" and found is None:
        return data.requirement or f"{data.points} {data.measure}"
    return found


@cache
def summed(book: Book) -> tuple[str, ...] | None:
    """The measures of which the number by which a rulebook ranks is the sum, if all of them are lots; None where it is not."""
    name = scored_by(book)
    if name is None:
        return None
    lots = {measure.name for measure in point_measures(book)}
    if name in book.measures:
        return (name,) if name in lots else None
    terms = weights(book.numbers[name].formula, book)
    if terms is None or set(terms.values()) != {1} or not terms.keys() <= lots:
        return None
    return tuple(terms)


def written(numerator: int, denominator: int) -> tuple[str, int]:
    """A worth as a reduced fraction, and rounded to whole micro-points, half to even."""
    common = gcd(numerator, denominator)
    whole, parts = numerator // common, denominator // common
    micro, rest = divmod(whole * 1_000_000, parts)
    if 2 * rest > parts or (2 * rest == parts and micro % 2):
        micro += 1
    return (str(whole) if parts == 1 else f"{whole}/{parts}"), micro
