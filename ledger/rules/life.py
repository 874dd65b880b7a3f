"""A partner's life under rulebooks: facts, performance and credited tiers, computed once and asked at any instant.

It takes the partner's events that were known and the rulebooks with their times of force, and nothing else: no log, no
clock, no other partner. A `now` makes it a forecast from that instant.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from ledger.events.envelope import Sealed
from ledger.instants import BEGINNING, FOREVER, Instant, plus
from ledger.rules import ahead
from ledger.rules.book import Book, Membership
from ledger.rules.facts import Facts, fold
from ledger.rules.presence import Reading
from ledger.rules.sweep import Performance, StateScope, sweep
from ledger.rules.walk import Step, Walk, lift, settles_within, walk

_DECISIONS = ("purchase", "renewed", "override", "enrolment")
"""What the walk reads beside the performance."""


@dataclass(frozen=True, slots=True)
class Force:
    """A rulebook in its time of force."""

    book: Book
    since: Instant = BEGINNING
    until: Instant = FOREVER


def in_force(books: Sequence[Book]) -> tuple[Force, ...]:
    """One programme's rulebooks, each from its effective date until the next; the first covers all earlier dates too."""
    ordered = sorted(books, key=lambda book: book.effective)
    starts = [BEGINNING, *[book.effective for book in ordered[1:]]]
    ends = [*starts[1:], FOREVER]
    return tuple(Force(book, start, end) for book, start, end in zip(ordered, starts, ends, strict=True) if start < end)


class Life:
    """One partner's events under the rulebooks in force (or one that was named, for the whole history)."""

    def __init__(self, events: Sequence[Sealed], force: Sequence[Force], now: Instant | None = None) -> None:
        self.events = events
        self.force = tuple(force)
        self.now = now
        self.whole: Life | None = None
        self.award = ""
        """The life of which this one is that of one award."""
        self.origin: Life | None = None
        """The life of which this one is a forecast."""
        self.found: dict[str, Any] = {}
        """What questions found out about this life, by what they asked."""
        self._ahead: tuple[Instant, Life] | None = None

    @cached_property
    def facts(self) -> Facts:
        return fold(self.events)

    @cached_property
    def first(self) -> Instant:
        """When the first fact begins."""
        return self.facts.first

    @cached_property
    def performances(self) -> tuple[Performance, ...]:
        """Each rulebook swept over its time of force; rulebooks that ended before the partner's first fact are left out."""
        needed = [force for force in self.force if force.until > self.first] or [self.force[-1]]
        return tuple(sweep(Reading(force.book, self.facts, self.now), force.since, force.until) for force in needed)

    @cached_property
    def settled_at(self) -> Instant:
        """After this instant nothing changes by itself, reviews included."""
        last = [performance.instants[-1] for performance in self.performances if performance.instants]
        last += [at for kind in _DECISIONS for fact in self.facts.of(kind) for at in (fact.start, fact.end) if at < FOREVER]
        begin = max(last, default=BEGINNING)
        return max(plus(begin, settles_within(force.book.status)) for force in self.force)

    @cached_property
    def _walked(self) -> dict[Instant, Walk]:
        return {}

    def walked(self, until: Instant) -> Walk:
        """Credited tiers up to and including `until`, with overrides of a tier on top."""
        horizon = max(self._walked, default=BEGINNING)
        if horizon <= until:
            horizon = until + 1
            walked = walk(
                self.performances, self.facts, horizon, self._ladders(), self.whole.found.setdefault("years", {}) if self.whole else None
            )
            self._walked[horizon] = lift(walked, self.performances, self.facts)
        return self._walked[horizon]

    def _ladders(self) -> list[Sequence[Performance]]:
        """Those of all awards, if this life is of one."""
        whole = self.whole
        if whole is None:
            return []
        return [life.performances for life in whole.ladders()]

    def performance(self, at: Instant) -> Performance:
        """The performance by the rulebook in force at an instant."""
        i = bisect_right([performance.since for performance in self.performances], at) - 1
        return self.performances[i] if i >= 0 else self._before(at)

    def _before(self, at: Instant) -> Performance:
        """By a rulebook that ended before the partner's first fact."""
        force = next(force for force in self.force if at < force.until)
        known: Performance | None = self.found.get(f"before {force.book.name}")
        if known is None:
            known = self.found[f"before {force.book.name}"] = sweep(Reading(force.book, self.facts, self.now), force.since, force.until)
        return known

    def scope(self, at: Instant) -> StateScope:
        self.check(at)
        return self.performance(at).scope_at(at)

    def check(self, at: Instant) -> None:
        """What cannot be priced contaminates everything after it: raises Unpriced."""
        for performance in self.performances:
            if performance.since <= at:
                performance.check(min(at, performance.until - 1))

    def book(self, at: Instant) -> Book:
        return self.performance(at).book

    def tier(self, at: Instant) -> str | None:
        """The performance tier."""
        return self.performance(at).tier_at(at)

    def credited(self, at: Instant) -> Step | None:
        self.check(at)
        return self.walked(at).at(at)

    def credited_tier(self, at: Instant) -> str | None:
        step = self.credited(at)
        return step.tier if step is not None else None

    def values(self, at: Instant) -> dict[str, Fraction]:
        """Every measure and number of the rulebook in force."""
        scope, book = self.scope(at), self.book(at)
        return {name: scope.number(name) for name in (*book.measures, *book.numbers)}

    def edges(self, since: Instant, until: Instant) -> list[Instant]:
        """The instants in [since, until) at which performance or credited tier may change."""
        found = {step.at for step in self.walked(until).steps if since <= step.at < until}
        for performance in self.performances:
            instants = performance.instants
            found.update(instants[bisect_left(instants, since) : bisect_left(instants, until)])
        borders = {force.since for force in self.force} | {performance.since for performance in self.performances}
        return sorted(found | {at for at in borders if max(since, BEGINNING + 1) <= at < until})

    def of(self, award: str) -> Life:
        """The same life, judged by one award of its rulebooks."""
        if not award:
            return self
        known: Life | None = self.found.get(f"award {award}")
        if known is None:
            known = Life(self.events, [Force(force.book.of(award), force.since, force.until) for force in self.force], self.now)
            known.facts = self.facts
            known.performances = tuple(performance.of(performance.book.of(award)) for performance in self.performances)
            known.whole, known.award = self, award
            known.origin = None if self.origin is None else self.origin.of(award)
            self.found[f"award {award}"] = known
        return known

    def left(self, at: Instant) -> bool:
        """Whether the partner had left the programme by then, having been in it."""
        stays = [(start, end) for start, end in self.facts.enrolments(self.book(at).programme) if start <= at]
        return bool(stays) and all(end <= at for _, end in stays)

    def awards(self, at: Instant) -> list[str]:
        """The awards of the rulebook in force."""
        return [name for name, book in self.book(at).awards.items() if book.tiers]

    def ladders(self) -> list[Life]:
        """This life by each award that its rulebooks ever had; itself, where they have none."""
        names = dict.fromkeys(name for performance in self.performances for name in performance.book.awards)
        return [self.of(name) for name in names] or [self]

    def turns(self, since: Instant, until: Instant) -> list[Instant]:
        """The instants in [since, until) at which the performance tier, the credited tier or the rulebook changes."""
        found = {step.at for step in self.walked(until).steps if since <= step.at < until}
        for performance in self.performances:
            found.update(performance.turns(since, until))
            if max(since, BEGINNING + 1) <= performance.since < until:
                found.add(performance.since)
        return sorted(found)

    def foresee(self, at: Instant) -> Life:
        """What could be foreseen at an instant: only what had happened or had been recorded by then; what is held, holds.

        What is known to have been reversed never happened, whenever it was reversed.
        """
        if self.whole is not None:
            return self.whole.foresee(at).of(self.award)
        known: Life | None = self.found.get("foreseen")
        if known is not None and known.now == at:
            return known
        seen = [s for s in self.events if min(s.event.effective_at, s.recorded_at) <= at or s.event.kind == "event.reversed.v1"]
        ahead = Life(seen, self.force, now=at)
        ahead.origin = self
        self.found["foreseen"] = ahead
        return ahead

    def ahead(self, at: Instant) -> Life:
        """What `foresee` says of `at` and later, taken forward from this life where it can be; the past is the same.

        A forecast says itself what lies ahead of its later instants.
        """
        if self.now is not None and at >= self.now:
            return self
        if self._ahead is None or self._ahead[0] != at:
            self._ahead = at, Spliced(self, at) if self.is_known_by(at) else self.foresee(at)
        return self._ahead[1]

    def is_known_by(self, at: Instant) -> bool:
        """Whether everything that could be foreseen at `at` had happened by then."""
        if self.now is not None or not self.performances[0].first <= at:
            return False
        return not self._looks_back and not any(recorded <= at < effective for recorded, effective in self._early)

    @cached_property
    def _looks_back(self) -> bool:
        """Whether a rulebook asks what was there earlier, of memberships or of measures."""
        if any(isinstance(force.book.status, Membership) for force in self.force):
            return True
        return any(measure.is_of_earlier for force in self.force for measure in force.book.measures.values())

    @cached_property
    def _early(self) -> list[tuple[Instant, Instant]]:
        """Events that were recorded before they happened."""
        return [(s.recorded_at, s.event.effective_at) for s in self.events if s.recorded_at < s.event.effective_at]

    def forget(self) -> None:
        """Let go of what was found out, which refers back to this life: so that it goes when nobody asks it any more."""
        found = [*self.found.values(), self._ahead and self._ahead[1], self.__dict__.pop("without_overrides", None)]
        self.found.clear()
        self._ahead = None
        for each in found:
            if isinstance(each, Life) and each is not self:
                each.forget()

    @cached_property
    def without_overrides(self) -> Life:
        if not any(sealed.event.kind == "override.granted.v1" for sealed in self.events):
            return self
        if self.whole is not None:
            return self.whole.without_overrides.of(self.award)
        bare = [sealed for sealed in self.events if not sealed.event.kind.startswith("override.")]
        return Life(bare, self.force, self.now)


class Spliced(Life):
    """A life up to an instant, and from there on what could be foreseen then."""

    def __init__(self, known: Life, at: Instant) -> None:
        super().__init__(known.events, known.force, at)
        self._known = known
        self._at = at

    @cached_property
    def facts(self) -> ahead.Seen:
        return ahead.Seen(self._known.facts, self._at)

    @cached_property
    def performances(self) -> tuple[Performance, ...]:
        at = self._at
        before = [ahead.until(performance, at) for performance in self._known.performances if performance.since < at]
        after = [
            sweep(ahead.Ahead(performance.book, self.facts, performance), max(performance.since, at), performance.until)
            for performance in self._known.performances
            if performance.until > at
        ]
        return (*before, *after)
