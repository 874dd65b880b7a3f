"""What a partner's events and the rulebooks say, as rows: levels, lots, scores, and what lasts from when until when.

`content` is a function of the events and of the rulebooks that are known at a position; it knows nothing of tables or of what was
known earlier (see `clocks`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import cache, lru_cache
from math import gcd
from typing import Any, NamedTuple

from ledger.errors import LedgerError
from ledger.events.envelope import Sealed
from ledger.instants import BEGINNING, FOREVER, Instant, to_datetime, wall
from ledger.projections.achievements import scored_by
from ledger.projections.clocks import Changes, Clocked, Commit, Content, Identity, Part, Payload, commits_of
from ledger.rules import breakdown
from ledger.rules.book import Book
from ledger.rules.breakdown import point_measures
from ledger.rules.facts import Facts, fold
from ledger.rules.library import Library
from ledger.rules.life import Life
from ledger.rules.linear import weights
from ledger.rules.onward import Resumed
from ledger.rules.presence import Reading
from ledger.rules.sweep import Performance, sweep

LEVELS, LOTS, SCORES, INTERVALS, BALANCES = "levels", "lots", "scores", "intervals", "balances"
LASTING = (
    "enrolment", "partner", "link", "leaver", "client", "assignment", "account_user", "subscription", "managed", "activity", "certificate",
    "invitation", "override",
)  # fmt: skip
"""The kinds of facts that are rows of their own; lots are, and what is only measured is in the log."""

WHERE = ("country", "market", "segment")
"""What is said of where a partner or client is."""

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

    reach: Instant
    content: Content
    """The rows that hold at `reach` or later, or end there."""
    parked: str | None
    """Why it is parked, if it is."""
    performances: Mapping[str, Sequence[Performance]]
    """By programme."""
    facts: Facts
    first: Instant
    """When the first fact begins."""
    known_at: int

    def folded(self, events: Sequence[Sealed]) -> Facts:
        """The facts of what is known now; those of before go on where they can, and are no others then."""
        new = events[bisect_right(events, self.known_at, key=_position) :]
        return self.facts if self.known_at and self.facts.go_on(new) else fold(events)

    def goes_on_from(self, reach: Instant, programmes: Sequence[str]) -> bool:
        """Whether what was made up to an instant need not be made again."""
        return self.parked is None and list(self.performances) == programmes and self.first < reach


NOTHING = Made(BEGINNING, {}, None, {}, Facts(), FOREVER, 0)


class Head(NamedTuple):
    """Where a partner's rows have come to, and what they were made of: so that what follows need not begin anew."""

    rows: Clocked
    made: Made
    events: Sequence[Sealed]


class Heads:
    """The heads of the partners that were brought forward last. Without them the rows become the same."""

    def __init__(self, size_max: int = 500_000) -> None:
        """`size_max`: of events and rows together."""
        self._max = size_max
        self._size = 0
        self._kept: OrderedDict[str, Head] = OrderedDict()

    def get(self, stream: str, position: int) -> Head | None:
        """The head at a position."""
        head = self._kept.get(stream)
        return head if head is not None and head.rows.position == position else None

    def take(self, stream: str, position: int) -> Head | None:
        """The same to be brought forward: it is not kept any more."""
        head = self._kept.pop(stream, None)
        if head is None:
            return None
        self._size -= _size(head)
        return head if head.rows.position == position else None

    def put(self, stream: str, head: Head) -> None:
        self._kept[stream] = head
        self._size += _size(head)
        while self._size > self._max:
            self._size -= _size(self._kept.popitem(last=False)[1])


def _size(head: Head) -> int:
    return len(head.events) + sum(map(len, head.made.content.values()))


def advanced(
    events: Sequence[Sealed], library: Library, ends: Callable[[int], int], until: int, before: Partner | None = None,
    rows: Content | None = None, heads: Heads | None = None,
) -> tuple[Partner, Changes]:  # fmt: skip
    """A partner's rows brought forward to a position: from nothing, or from what is stored (`before`, with the `rows` that are known now).

    `events` are all that the partner has up to the last position of what was recorded with `until`, in order of version; `ends` gives
    the last position of what was recorded with a position. Where `heads` has the partner's, `rows` are not asked for.
    """
    stream = events[0].stream
    after = before.known if before is not None else 0
    head = heads.take(stream, after) if heads is not None else None
    if head is not None:
        clocked, last = head.rows, head.made
    elif before is not None:
        clocked, last = Clocked(rows, position=after, recorded_at=before.recorded_at, horizon=before.horizon, epoch=before.epoch), NOTHING
    else:
        clocked, last = Clocked(), NOTHING
    commits = _with_rulebooks(commits_of(events, ends, after), library, ends, max(after, events[0].position), until)
    commits = _with_programmes(commits, events, library, after)

    def content_at(known_at: int, reach: Instant) -> Part:
        nonlocal last
        last = content_of(events, library, known_at, last, reach, clocked.alive)
        return last.reach, last.content

    clocked.advance(commits, content_at)
    changes = clocked.changes()
    if heads is not None:
        heads.put(stream, Head(clocked, last, events))
    version, position = events[-1].version, events[-1].position
    return Partner(version, position, clocked.position, clocked.recorded_at, clocked.horizon, clocked.epoch, last.parked), changes


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


def _with_programmes(commits: Sequence[Commit], events: Sequence[Sealed], library: Library, after: int) -> list[Commit]:
    """What puts a partner into a programme, or takes it out of one, says something new of all times."""
    first = bisect_right(events, after, key=_position)
    there, known = library.programmes(after), programmes_of(events[:first], library, after) if first else None
    found: list[Commit] = []
    for commit in commits:
        last = bisect_right(events, commit.position, key=_position)
        new, before, there = events[first:last], there, library.programmes(commit.position)
        deciding = known is None or there != before or not new or any(sealed.event.kind in _DECIDING for sealed in new)
        if deciding or not any(_is_enrolled(sealed, there) for sealed in events[:last]):
            programmes = programmes_of(events[:last], library, commit.position)
            if known is not None and programmes != known:
                commit = commit._replace(reach=BEGINNING)
            known = programmes
        found.append(commit)
        first = last
    return found


_DECIDING = ("partner.enrolled.v1", "event.reversed.v1")


def _is_enrolled(sealed: Sealed, programmes: Sequence[str]) -> bool:
    """Whether an event enrols in one of these; who is in none of them is in what reads the facts."""
    return sealed.event.kind == "partner.enrolled.v1" and sealed.event.data.programme in programmes


def content_of(
    events: Sequence[Sealed], library: Library, known_at: int, before: Made = NOTHING, reach: Instant = BEGINNING,
    alive: Callable[[Instant], Content] = lambda reach: {},
) -> Made:  # fmt: skip
    """What is known at a position.

    `before` was made of fewer events, and what was recorded since says nothing new before `reach`; `alive` gives the rows of it that
    hold at an instant or later, or end there.
    """
    events = events[: bisect_right(events, known_at, key=_position)]
    programmes, facts = programmes_of(events, library, known_at), before.folded(events)
    found = None
    if reach > BEGINNING and before.goes_on_from(reach, programmes):
        found = _gone_on(events, library, known_at, before, reach, alive(reach), facts)
    return found or _made_anew(events, library, known_at, programmes, facts)


def _made_anew(events: Sequence[Sealed], library: Library, known_at: int, programmes: Sequence[str], facts: Facts) -> Made:
    parked: str | None = None
    levels, lots, scores, balances = Found(), Found(), Found(), Found()
    performances: dict[str, Sequence[Performance]] = {}
    for programme in programmes:
        try:
            life = Life(events, library.force(programme, known_at))
            life.facts = facts
            performances[programme] = life.performances
            own = _levels(programme, life)
            numbers = _scores(programme, life)
            made = own, _lots(programme, life), numbers, _balances(programme, life, own, numbers)
            for rows, more in zip((levels, lots, scores, balances), made, strict=True):
                rows.update(more)
            broken = next((performance.broken for performance in life.performances if performance.broken is not None), None)
            if broken is not None:
                parked = f"{programme}: {broken.what} [{broken.code}]"
            life.forget()
        except LedgerError as error:
            parked = f"{programme}: {error.what} [{error.code}]"
    content = {LEVELS: levels, LOTS: lots, SCORES: scores, INTERVALS: _intervals(facts), BALANCES: balances}
    return Made(BEGINNING, content, parked, performances, facts, facts.first, known_at)


def _gone_on(
    events: Sequence[Sealed], library: Library, known_at: int, before: Made, reach: Instant, alive: Content, facts: Facts
) -> Made | None:  # fmt: skip
    """What holds from an instant on; None where something cannot be judged: then all is made anew."""
    levels, lots, scores, balances = Found(), Found(), Found(), Found()
    held = _held(alive.get(LEVELS, {}), reach), _held(alive.get(BALANCES, {}), reach)
    performances: dict[str, Sequence[Performance]] = {}
    try:
        for programme, known in before.performances.items():
            life = Resumed(events, library.force(programme, known_at), known, reach)
            life.facts = facts
            performances[programme] = life.performances
            if any(performance.broken is not None for performance in life.performances):
                return None
            own = _levels(programme, life, reach, held[0])
            levels.update(own)
            numbers = _scores(programme, life, reach)
            scores.update(numbers)
            balance = held[1].get((programme,))
            if balance is not None and balance[0][-1] > BEGINNING and month_of(balance[0][-1] - 1) >= _last_change(life, own):
                return None  # nothing changes any more from an earlier month on than was known
            balances.update(_balances(programme, life, own, numbers, reach, balance))
            lots.update(_lots(programme, life, reach))
            life.forget()
    except LedgerError:
        return None
    content = {
        LEVELS: levels,
        LOTS: _continued(alive.get(LOTS, {}), lots, reach - 1),
        SCORES: _stitched(alive.get(SCORES, {}), scores, reach),
        INTERVALS: _intervals(facts, reach),
        BALANCES: balances,
    }
    return Made(reach, content, None, performances, facts, facts.first, known_at)


Held = dict[Identity, tuple[Identity, Payload]]
"""The rows that hold up to an instant, by what tells them apart but for `since`."""


def _held(alive: Mapping[Identity, tuple[Instant, Payload]], reach: Instant) -> Held:
    return {identity[:-1]: (identity, payload) for identity, (_, payload) in alive.items() if identity[-1] < reach}


def _stitched(alive: Mapping[Identity, tuple[Instant, Payload]], found: Found, at: Instant) -> Found:
    """Rows from an instant on, as going on from those that hold up to there where they say the same; the others end there."""
    held, rows = _held(alive, at), Found()
    for identity, (until, payload) in found.items():
        before = held.get(identity[:-1]) if identity[-1] == at else None
        if before is not None and before[1] == payload:
            identity, _ = held.pop(identity[:-1])
        rows[identity] = until, payload
    rows.update({identity: (at, payload) for identity, payload in held.values()})
    return rows


def _continued(alive: Mapping[Identity, tuple[Instant, Payload]], found: Found, at: Instant) -> Found:
    """Lots from an instant on, of which those that hold there already began as they are known to have begun."""
    held, rows = _held(alive, at + 1), Found()
    for identity, (until, payload) in found.items():
        before = held.get(identity[:-1]) if identity[-1] == at else None
        if before is not None:
            identity, payload = before[0], (*payload[:3], before[1][3], *payload[4:])
        rows[identity] = until, payload
    return rows


def _position(sealed: Sealed) -> int:
    return sealed.position


def _levels(programme: str, life: Life, reach: Instant = BEGINNING, held: Held | None = None) -> Found:
    """One row for each stretch from an instant on in which neither tier nor rulebook changes, nor whether the partner is enrolled.

    The last one is open. The first one, before the first fact, names no rulebook; from a later instant on it is the one that is `held`.
    """
    rows = Found()
    for each in life.ladders():
        rows.update(_ladder(programme, each, reach, (held or {}).get((programme, each.award))))
    return rows


def _ladder(programme: str, life: Life, reach: Instant, held: tuple[Identity, Payload] | None) -> Found:
    broken = min((p.broken_at for p in life.performances if p.broken is not None), default=FOREVER)
    until = min(life.settled_at, broken)
    left = {at for stay in life.facts.enrolments(programme) for at in stay if at < until}
    begin = max(reach, BEGINNING if is_there_from_the_beginning(life) else life.first)
    found: list[tuple[Instant, Payload, str]] = [] if held is None else [(held[0][-1], held[1][:-1], held[1][-1])]
    instants = {*life.turns(begin, until), *[at for at in left if at >= begin]}.union((begin,) if held is None else ())
    for at in sorted(instants) if begin < broken else ():
        step = life.credited(at)
        level = (life.tier(at), step.tier if step else None, life.book(at).name, int(not (left and life.left(at))))
        if not found or level != found[-1][1]:
            found.append((at, level, step.cause if step and step.at == at else ""))
    if held is None and begin > BEGINNING:
        found.insert(0, (BEGINNING, (None, None, "", 1), ""))
    ends = [*[at for at, _, _ in found[1:]], broken][: len(found)]
    return {(programme, life.award, at): (end, (*level, because)) for (at, level, because), end in zip(found, ends, strict=True)}


def is_there_from_the_beginning(life: Life) -> bool:
    """Whether who has no facts has a tier by one of the rulebooks, so that nothing begins with the first fact."""
    return not all(_is_nothing(force.book) for force in life.force)


@cache
def _is_nothing(book: Book) -> bool:
    """Whether who has no facts has no tier."""
    return sweep(Reading(book, Facts())).tier_at(BEGINNING) is None


def _lots(programme: str, life: Life, reach: Instant = BEGINNING) -> Found:
    """The lots, exactly and in whole micro-points, why they begin and end to count; one that is worth the same by the next book goes on.

    One that goes on at another worth has no cause of its end: that of the next one's beginning is the cause of the difference. From a
    later instant on: those that hold just before it too, so that it is known why they end there.
    """
    rows = Found()
    last: dict[tuple[str, int], Identity] = {}
    for performance in life.performances:
        begin, stop = max(performance.since, reach - 1 if reach > BEGINNING else BEGINNING), performance.until
        if begin >= stop:
            continue
        for measure in point_measures(performance.book):
            name = measure.name
            for present in performance.reading.within(measure, begin, stop):
                start, end = present.start, present.end
                since, until = start if start > begin else begin, end if end < stop else stop
                if since >= until or present.error is not None:
                    continue
                fact = present.fact
                position = fact.event.position
                worth = (getattr(fact.event.event.data, "client", None), *written(present.numerator, present.denominator))
                border = since == performance.since > BEGINNING
                came = breakdown.why_entered(present) if not border or start == fact.start == since else breakdown.RULES
                went = breakdown.RULES if end > stop else breakdown.why_left(present) if until < FOREVER else ""
                place = last.get((name, position))
                if place is not None and rows[place][0] == since:
                    if rows[place][1][:3] == worth:
                        since, came = place[-1], rows[place][1][3]
                    else:
                        came = breakdown.RULES if border else breakdown.WORTH
                        rows[place] = since, (*rows[place][1][:4], "")
                identity = last[name, position] = (programme, name, position, since)
                rows[identity] = until, (*worth, came, went)
    return rows


def _scores(programme: str, life: Life, reach: Instant = BEGINNING) -> Found:
    """The number by which a rulebook ranks, where it is not the sum of lots: a row for each stretch in which it is the same."""
    found: list[tuple[Instant, Payload]] = []
    for performance in life.performances:
        if performance.until <= reach:
            continue
        if summed(performance.book) is not None:
            if found and found[-1][1]:
                found.append((performance.since, ()))
            continue
        name, stop, places = scored_by(performance.book), performance.broken_at, _places(performance.book)
        known = dict[Any, Payload]()  # the number rests on few of the measures, and they come back to what they were
        for instant in performance.instants[max(0, performance.index(reach)) :] if name is not None else ():
            at = max(instant, reach)
            if at < stop:
                values = performance.values[performance.index(at)]
                rests_on = tuple([values[place] for place in places]) if places is not None else at
                if rests_on not in known:
                    value = performance.scope_at(at).number(name or "")
                    known[rests_on] = (name, *written(value.numerator, value.denominator))
                if not found or known[rests_on] != found[-1][1]:
                    found.append((at, known[rests_on]))
        if stop < FOREVER:
            found.append((stop, ()))
    ends = [*[at for at, _ in found[1:]], FOREVER]
    return {(programme, at): (end, payload) for (at, payload), end in zip(found, ends, strict=False) if payload}


def _balances(
    programme: str, life: Life, levels: Found, scores: Found, reach: Instant = BEGINNING, held: tuple[Identity, Payload] | None = None
) -> Found:  # fmt: skip
    """Tiers and score at the beginning of each month (UTC) from an instant on, up to that from which on nothing changes by itself.

    Who asks for a later instant of the month adds what changed since. The last one is open. Of rulebooks with awards there are none.
    """
    begins = [identity[-1] for identity in levels]
    if (programme, "") not in {identity[:2] for identity in levels}:
        return {}
    last, broken = _last_change(life, levels), min((p.broken_at for p in life.performances if p.broken is not None), default=FOREVER)
    tiers = [level[:4] for _, level in levels.values()]

    changes, numbers = [identity[-1] for identity in scores], [number for _, number in scores.values()]

    def balance(at: Instant) -> Payload:
        if at < reach and held is not None:
            return held[1]  # nothing had changed since
        performance = life.performance(at)
        measures, name, i = summed(performance.book), scored_by(performance.book), performance.index(at)
        if measures is not None:
            values, places = performance.values[i] if i >= 0 else None, performance.reading.compiled.places
            number = (name, *written(sum([values[places[each]] for each in measures]) if values else 0, performance.unit))
        elif changes and changes[0] <= at:
            number = numbers[bisect_right(changes, at) - 1]
        else:
            value = of_nothing(performance.book, at)
            number = (name or "", *written(value.numerator, value.denominator))
        return *tiers[bisect_right(begins, at) - 1], *number

    since, payload = (BEGINNING, balance(BEGINNING)) if held is None else (held[0][-1], held[1])
    found = [(since, payload)]
    while found[-1][0] < last and life.first < FOREVER:
        month = month_of(life.first) if found[-1][0] == BEGINNING else month_of(found[-1][0], 1)
        if month >= broken:
            break
        found.append((month, balance(month)))
    until = [*[at for at, _ in found[1:]], broken]
    return {(programme, at): (end, payload) for (at, payload), end in zip(found, until, strict=True)}


def _last_change(life: Life, levels: Found) -> Instant:
    """After this instant neither tiers nor measures change by themselves."""
    ends = [performance.instants[-1] for performance in life.performances if performance.instants]
    return max([identity[-1] for identity in levels] + ends, default=BEGINNING)


_NOTHING = Fraction(0)


def month_of(at: Instant, months: int = 0) -> Instant:
    """The beginning (UTC) of the month of an instant, or of one so many months later."""
    day = to_datetime(at, "UTC")
    month = day.year * 12 + day.month - 1 + months
    return wall("UTC", month // 12, month % 12 + 1, 1)


def _intervals(facts: Facts, reach: Instant = BEGINNING) -> Found:
    found = Found()
    for kind in LASTING:
        for fact in facts.of(kind):
            if fact.start < fact.end and fact.end >= reach:
                key = " / ".join("" if part is None else part for part in fact.key)
                ended_by = fact.ender.position if fact.ender is not None else None
                where = [getattr(fact.data, name, None) for name in WHERE] if kind in ("partner", "client") else [None] * len(WHERE)
                found[kind, key, fact.event.position, fact.start] = fact.end, (_detail(fact.data, kind), *where, ended_by)
    return found


_DETAILS: Mapping[str, str] = {"override": "tier", "activity": "state", "link": "role", "subscription": "line", "client": "association"}


def _detail(data: Any, kind: str) -> str | None:
    name = _DETAILS.get(kind)
    found = getattr(data, name, None) if name is not None else None
    if kind == "override" and found is None:
        return data.requirement or f"{data.points} {data.measure}"
    return found


@lru_cache(maxsize=1024)
def of_nothing(book: Book, at: Instant) -> Fraction:
    """What the number by which a rulebook ranks is at an instant, of who has no facts."""
    name = scored_by(book)
    return sweep(Reading(book, Facts())).scope_at(at).number(name) if name is not None else _NOTHING


@cache
def _places(book: Book) -> tuple[int, ...] | None:
    """The places of the measures on which the number rests by which a rulebook ranks; None where it reads tables by their dates too."""
    name, names = scored_by(book), list(book.measures)
    seen, asked = set[str](), [name] if name is not None else []
    while asked:
        number = book.numbers.get(asked.pop())
        if number is not None:
            if number.formula.tables:
                return None
            asked += number.formula.names - seen
            seen |= number.formula.names
    return tuple([names.index(measure) for measure in book.rests_on([name] if name is not None else [])])


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


@lru_cache(maxsize=65_536)
def written(numerator: int, denominator: int) -> tuple[str, int]:
    """A worth as a reduced fraction, and rounded to whole micro-points, half to even."""
    common = gcd(numerator, denominator)
    whole, parts = numerator // common, denominator // common
    micro, rest = divmod(whole * 1_000_000, parts)
    if 2 * rest > parts or (2 * rest == parts and micro % 2):
        micro += 1
    return (str(whole) if parts == 1 else f"{whole}/{parts}"), micro
