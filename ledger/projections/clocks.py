"""Rows in two clocks: what holds in [since, until), as it was known in [known_from, known_until).

`since` and `until` are effective times; `known_from` and `known_until` are positions of the log, at the grain of a commit: what was
recorded at once is known at once. A partner's rows are made commit by commit, and an *epoch* is what lies between two commits that
reach back behind what had been said before.

In order   what a commit says lies at or after everything that was said before. Rows are changed in place: what was known earlier
           does not answer for so late an instant. `KNOWN` says up to which instant each commit answers.
Late       it reaches back behind the horizon, or behind what had been the past for a week while nothing else was recorded. Rows that
           say something else of an instant before the horizon end in the clock of knowledge, and what is true now begins there; rows
           beyond the horizon are made anew in place.

So an event in order writes what it changes and nothing else, and a late one writes the past that it restates.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ledger.events.envelope import Sealed
from ledger.instants import BEGINNING, DAY, FOREVER, Instant

Identity = tuple[Any, ...]
"""What tells a row of a table apart among those of its partner that are known at the same position; its last part is `since`."""

Payload = tuple[Any, ...]
Content = Mapping[str, Mapping[Identity, tuple[Instant, Payload]]]
"""By table and identity: until when, and what. A function of the events and rulebooks known at a position."""

Part = tuple[Instant, Content]
"""The rows that hold at an instant or later, or end there: those that had ended before are as they were."""

LAG = 7 * DAY
"""What is recorded within a week of its effective time is no restatement, nor what is recorded within a week of what was recorded before.
Each restating commit costs a sweep or two, and what comes by daily or weekly batches is not late."""

ALWAYS = FOREVER
"""The `known_until` of what is known now."""


class Commit(NamedTuple):
    """What was recorded at once, as far as it concerns a partner."""

    position: int
    """The last position of what was recorded."""
    recorded_at: Instant
    reach: Instant
    """The earliest instant of which it may say something new."""
    latest: Instant
    """Its latest effective time; BEGINNING for a rulebook alone, which says nothing that is the latest."""


def commits_of(events: Sequence[Sealed], ends: Callable[[int], int], after: int = 0) -> list[Commit]:
    """The commits of a partner's events beyond a position; `ends` gives the last position of what was recorded with a position."""
    stated: dict[tuple[str, str], Instant] = {}
    found: list[Commit] = []
    for sealed in events[bisect_right(events, after, key=_position) :]:
        reach = at = sealed.event.effective_at
        if sealed.event.kind == "event.reversed.v1":
            stated = stated or {(each.event.source, each.event.id): each.event.effective_at for each in events}
            reach = min(at, _reversed_at(sealed, stated, events))
        end = ends(sealed.position)
        if found and found[-1].position == end:
            before = found[-1]
            found[-1] = Commit(end, sealed.recorded_at, min(before.reach, reach), max(before.latest, at))
        else:
            found.append(Commit(end, sealed.recorded_at, reach, at))
    return found


def _position(sealed: Sealed) -> int:
    return sealed.position


def _reversed_at(reversal: Sealed, stated: Mapping[tuple[str, str], Instant], events: Iterable[Sealed]) -> Instant:
    """The effective time of what a reversal takes back: the event, or its copies in the stream."""
    target = reversal.event.data.reverses
    at = stated.get((target.source, target.id))
    if at is not None:
        return at
    cause = f"{target.source} {target.id}"
    return min((sealed.event.effective_at for sealed in events if sealed.event.cause == cause), default=FOREVER)


@dataclass(slots=True)
class _Entry:
    until: Instant
    payload: Payload
    known_from: int
    stored: bool


@dataclass(slots=True)
class Changes:
    """What becomes of a partner's stored rows. Rows are named by table and identity, among those that are known now."""

    gone: list[tuple[str, Identity]] = field(default_factory=list)
    changed: dict[tuple[str, Identity], tuple[Instant, Payload]] = field(default_factory=dict)
    ended: list[tuple[str, Identity, int]] = field(default_factory=list)
    """With the position from which they are known no more."""
    new: list[tuple[str, Identity, Instant, Payload, int, int]] = field(default_factory=list)
    """table, identity, until, payload, known from and until."""
    head: tuple[Instant, int] | None = None
    """Up to which instant the commit that was stored last answers, and its position; None where it still is the last."""
    known: list[tuple[int, Instant, Instant]] = field(default_factory=list)
    """position, recorded time, and up to which instant it answers."""


class Clocked:
    """A partner's rows, brought forward from what is stored to later commits."""

    def __init__(
        self, content: Content | None = None, *, position: int = 0, recorded_at: Instant = BEGINNING, horizon: Instant = BEGINNING,
        epoch: int = 0,
    ) -> None:  # fmt: skip
        """`content` is that of `position`, up to which the rows are stored; none: nothing is."""
        self.position, self.recorded_at, self.horizon, self.epoch = position, recorded_at, horizon, epoch
        self._rows = {
            table: {identity: _Entry(until, payload, 0, True) for identity, (until, payload) in rows.items()}
            for table, rows in (content or {}).items()
        }
        self._made: dict[str, dict[Identity, None]] = defaultdict(dict)
        """Those that are not stored."""
        self._changes = Changes()
        self._stored = position

    def alive(self, reach: Instant) -> Content:
        """The rows known now that hold at `reach` or later, or end there."""
        return {
            table: {identity: (entry.until, entry.payload) for identity, entry in rows.items() if entry.until >= reach}
            for table, rows in self._rows.items()
        }

    def advance(self, commits: Sequence[Commit], content_at: Callable[[int, Instant], Part]) -> None:
        """To the last of these commits, which follow `position`.

        `content_at` is asked in order of positions, and told before which instant nothing new was said since it was last asked.
        """
        first = 0
        while first < len(commits):
            commit = commits[first]
            past = _past(self.horizon, self.recorded_at, commit)
            if self.position and commit.reach < past:
                self.horizon = past
                self._late(commit, *content_at(commit.position, commit.reach))
                first += 1
                continue
            last, horizon = first, max(self.horizon, commit.latest)
            while last + 1 < len(commits) and commits[last + 1].reach >= _past(horizon, commits[last].recorded_at, commits[last + 1]):
                last += 1
                horizon = max(horizon, commits[last].latest)
            run = commits[first : last + 1]
            self.epoch = self.epoch or run[0].position
            self._in_order(*content_at(run[-1].position, min(each.reach for each in run)))
            for each in run:
                self._know(each)
            first = last + 1

    def changes(self) -> Changes:
        """What is to be written to what was stored when this was last asked, or to what it began with."""
        found, self._changes, self._stored = self._changes, Changes(), self.position
        for table, made in self._made.items():
            rows = self._rows[table]
            for identity in made:
                entry = rows[identity]
                found.new.append((table, identity, entry.until, entry.payload, entry.known_from, ALWAYS))
                entry.stored = True
            made.clear()
        return found

    def _know(self, commit: Commit) -> None:
        found, until = self._changes, max(self.horizon, min(commit.reach, commit.latest))
        if found.known:
            found.known[-1] = (*found.known[-1][:2], until)
        elif self._stored:
            found.head = until, self._stored
        found.known.append((commit.position, commit.recorded_at, FOREVER))
        self.position, self.recorded_at, self.horizon = commit.position, commit.recorded_at, max(self.horizon, commit.latest)

    def _in_order(self, reach: Instant, content: Content) -> None:
        for table in self._rows.keys() | content.keys():
            rows, found = self._rows.setdefault(table, {}), content.get(table, {})
            for identity in [identity for identity, entry in rows.items() if entry.until >= reach and identity not in found]:
                self._drop(table, identity)
            for identity, (until, payload) in found.items():
                self._put(table, identity, until, payload, self.epoch)

    def _late(self, commit: Commit, reach: Instant, content: Content) -> None:
        position, horizon = commit.position, self.horizon
        for table in self._rows.keys() | content.keys():
            rows, found = self._rows.setdefault(table, {}), content.get(table, {})
            for identity in [identity for identity, entry in rows.items() if entry.until >= reach]:
                if identity[-1] >= horizon:
                    self._drop(table, identity)
                elif not _same(rows[identity], found.get(identity), horizon):
                    self._end(table, identity, position)
            for identity, (until, payload) in found.items():
                self._put(table, identity, until, payload, position)
        self.epoch = position
        self._know(commit)

    def _put(self, table: str, identity: Identity, until: Instant, payload: Payload, known_from: int) -> None:
        rows = self._rows[table]
        entry = rows.get(identity)
        if entry is None:
            rows[identity] = _Entry(until, payload, known_from, False)
            self._made[table][identity] = None
        elif entry.until != until or entry.payload != payload:
            entry.until, entry.payload = until, payload
            if entry.stored:
                self._changes.changed[table, identity] = until, payload

    def _drop(self, table: str, identity: Identity) -> None:
        if self._rows[table].pop(identity).stored:
            self._changes.changed.pop((table, identity), None)
            self._changes.gone.append((table, identity))
        else:
            del self._made[table][identity]

    def _end(self, table: str, identity: Identity, position: int) -> None:
        entry = self._rows[table].pop(identity)
        if entry.stored:
            self._changes.ended.append((table, identity, position))
        else:
            del self._made[table][identity]
            self._changes.new.append((table, identity, entry.until, entry.payload, entry.known_from, position))


def _past(horizon: Instant, before: Instant, commit: Commit) -> Instant:
    """The instants before which a commit restates what was said. `before`: when the commit before it was recorded."""
    asked = commit.recorded_at - LAG
    return max(horizon, commit.recorded_at) if before < asked and commit.reach < asked else horizon


def _same(entry: _Entry, found: tuple[Instant, Payload] | None, horizon: Instant) -> bool:
    """Whether a row says the same of every instant before the horizon."""
    return found is not None and entry.payload == found[1] and min(entry.until, horizon) == min(found[0], horizon)
