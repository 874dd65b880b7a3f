"""What lies ahead of an instant, taken forward from what is known up to it.

The past of a forecast is the past: everything that had happened by then is in both. So only what was there at the instant, and what
had been planned, is followed on. `Life.foresee` says the same from the beginning, whatever was known when; this is the short way to
it, for lives in which nothing had been recorded before it happened.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Set
from itertools import accumulate
from operator import attrgetter

from ledger.instants import DAY, FOREVER, Instant, Span, minus
from ledger.rules.book import Book, Derived, Gate, Measure, Presence
from ledger.rules.expressions import Expression
from ledger.rules.facts import Fact, Facts
from ledger.rules.presence import Interval, Present, Reading, Stay
from ledger.rules.sweep import Performance

_start, _fact_start = attrgetter("start"), attrgetter("fact.start")


class Seen(Facts):
    """The facts that had begun by an instant; an end that came later is not known yet."""

    def __init__(self, known: Facts, at: Instant) -> None:
        super().__init__()
        self.at = at
        self.reopened: dict[int, Fact] = {}
        for kind, facts in known.by_kind.items():
            self.by_kind[kind] = facts[: bisect_right(facts, at, key=_start)]
        for fact in known.ended():
            if fact.start <= at < fact.end:
                self.reopened[id(fact)] = Fact(fact.kind, fact.key, fact.start, fact.data, fact.event, fact.planned)
        self.changed = {fact.kind for fact in self.reopened.values()}
        for kind in self.changed:
            self.by_kind[kind] = [self.reopened.get(id(fact), fact) for fact in self.by_kind[kind]]

    def as_seen(self, fact: Fact) -> Fact:
        return self.reopened.get(id(fact), fact)


class Ahead(Reading):
    """A rulebook over what could be foreseen at `now`, from there on. Stays that have ended by then are left out."""

    def __init__(self, book: Book, seen: Seen, known: Performance) -> None:
        super().__init__(book, seen, seen.at)
        self.at = seen.at
        self.seen = seen
        self.known = known
        self.past = known.reading

    def within(self, measure: Measure, since: Instant, until: Instant) -> list[Present]:
        """Nothing of a measure on which no tier rests."""
        if measure.name not in self.compiled.judged:
            return []
        if follows(self.past, measure, self.seen.changed):
            begun, gone, presents = self._ordered(measure)
            there = presents[bisect_right(gone, since) : bisect_right(begun, self.at)]
            return [p for p in there if p.end > since and p.start < until]
        return [present for present in super().within(measure, since, until) if present.end > since]

    def _ordered(self, measure: Measure) -> tuple[list[Instant], list[Instant], list[Present]]:
        """What is known of a measure in order of the facts' starts: those starts, and by when each and all before it have ended."""
        kept, asked = self.past.kept, ("ordered", measure.name, self.known.since)
        if asked not in kept:
            presents = sorted(self.known.presents(measure), key=_fact_start)
            kept[asked] = [p.fact.start for p in presents], list(accumulate([p.end for p in presents], max)), presents
        ordered: tuple[list[Instant], list[Instant], list[Present]] = kept[asked]
        return ordered

    def _facts(self, presence: Presence) -> list[Fact]:
        """Those that can still count: what counts for a time and has had it is over."""
        facts = super()._facts(presence)
        if presence.span is None or presence.calendar or presence.joined:
            return list(facts)
        oldest = minus(minus(self.at, presence.span, self.book.zone), presence.after or Span(), self.book.zone) - SLACK
        return list(facts[bisect_left(facts, oldest, key=_start) :])

    def _lives(self, presence: Presence, facts: Iterable[Fact]) -> list[Stay]:
        return [stay for stay in super()._lives(presence, facts) if stay[2] > self.at]

    def _open_at_start(self, gate: Gate, fact: Fact, start: Instant) -> list[Interval]:
        return self.past._open(gate, fact) if start <= self.at else self._open(gate, fact)

    def holds_at(self, condition: Expression, at: Instant) -> bool:
        return self.past.holds_at(condition, at) if at <= self.at else super().holds_at(condition, at)

    def relative(self, derived: Derived, fact: Fact) -> Fact | None:
        found = self.past.named(derived, fact)
        if found is None or found.start > self.at:
            found = self.past.nearest(derived, fact)
        return None if found is None else self.seen.as_seen(found)

    def level_of(self, derived: Derived, fact: Fact, at: Instant) -> tuple[str, Fact | None]:
        return self.past.level_of(derived, fact, min(at, self.at))

    def _stated_at(self, derived: Derived, fact: Fact) -> Iterable[Instant]:
        return [at for at in self.past._stated_at(derived, fact) if at <= self.at]


def follows(known: Reading, measure: Measure, changed: Set[str]) -> bool:
    """Whether what is known of the stays of facts that had begun says what was foreseen of them; `changed`: kinds with other ends."""
    presence = measure.presence
    put_together = measure.parts or presence.joined or presence.whiles or presence.ifs or presence.given
    if put_together or presence.hold or measure.on_now or changed & {presence.of, "override"}:
        return False
    if presence.until is None:
        return True
    settles = known.book.derived[presence.until]
    return settles.of not in changed and not known.names_later(settles)


SLACK = 4 * DAY
"""Months that were clipped to their end are not the same length back."""


def until(known: Performance, at: Instant) -> Performance:
    """The performance as it was before an instant."""
    i = bisect_left(known.instants, at)
    j = bisect_left(known.judged, at)
    broken = known.broken if known.broken_at < at else None
    exempt = {instant: names for instant, names in known.exempt.items() if instant < at}
    return Performance(
        known.reading, known.since, min(known.until, at), known.unit, known.instants[:i], known.values[:i], known.met[:j],
        judged=known.judged[:j], touched=known.touched[:i], exempt=exempt, first=known.first if known.first < at else FOREVER,
        broken=broken, broken_at=known.broken_at if broken else FOREVER,
    )  # fmt: skip
