"""Tiers and their flows: how many partners have which tier, and who went from which to which in a period.

A period is told by its two ends, just before it begins and just before it ends, so that the end of one is the beginning of the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ledger.errors import MomentError
from ledger.instants import Instant, text
from ledger.projections.partners import EVERYBODY, Filter, Held, Progress, held_at
from ledger.projections.questions import Moment, Questions


@dataclass(frozen=True, slots=True)
class Moved:
    """A partner's tier just before a period and at its end. `enrolled`: it was in the programme then. `parked`: why it is not judged."""

    partner: str
    programme: str
    award: str
    enrolled_before: bool
    before: str | None
    enrolled_after: bool
    after: str | None
    country: str | None
    market: str | None
    segment: str | None
    parked: str | None = None

    @property
    def changed(self) -> bool:
        return (self.enrolled_before, self.before) != (self.enrolled_after, self.after)


@dataclass(frozen=True, slots=True)
class TierSize:
    """How many partners have a tier just before a period and at its end, and how many came and went. None: no tier, in the programme."""

    programme: str
    award: str
    tier: str | None
    before: int
    came: int
    went: int
    after: int


@dataclass(frozen=True, slots=True)
class Flow:
    """How many partners went from one tier to another. Not enrolled: not in the programme."""

    programme: str
    award: str
    enrolled_before: bool
    before: str | None
    enrolled_after: bool
    after: str | None
    partners: tuple[str, ...]


def ends_of(since: Instant, until: Instant, as_of: Instant) -> tuple[Instant, Instant]:
    """The two instants of a period, as far as it has come at a moment. Raises MomentError for one that begins after it."""
    if since > as_of:
        raise MomentError(f"the period begins on {text(since)}, after the moment {text(as_of)}", hint="ask with --as-of at its end")
    return since - 1, min(until - 1, as_of)


def moved(
    questions: Questions, moment: Moment, ends: tuple[Instant, Instant], wanted: Filter = EVERYBODY, *, performance: bool = False,
    progress: Progress = lambda _: None,
) -> list[Moved]:  # fmt: skip
    """Every partner that was in a programme at one of two instants, by credited tier, or by performance. Its place is that of the later."""
    before, after = (_by_ladder(held_at(questions, moment, at, progress)) for at in ends)
    parked = {(each.partner, each.programme) for each in (*before.values(), *after.values()) if each.parked}
    found = []
    for key in sorted(before.keys() | after.keys()):
        first, last = before.get(key), after.get(key)
        either = last or first
        assert either is not None
        why = next((each.parked for each in (last, first) if each is not None and each.parked), None)
        if why is None and key[:2] in parked:
            continue  # told once, of the partner
        told = Moved(*key, *_tier(first, performance), *_tier(last, performance), *_place(either), why)
        tiered = wanted.tier is None or why or wanted.tier in (told.before, told.after)
        if wanted.means(either.place) and tiered and (told.enrolled_before or told.enrolled_after or why):
            found.append(told)
    return found


def _by_ladder(found: Iterable[Held]) -> dict[tuple[str, str, str], Held]:
    return {(each.partner, each.programme, each.award): each for each in found}


def _tier(held: Held | None, performance: bool) -> tuple[bool, str | None]:
    """Whether it is in the programme, and its tier there."""
    if held is None or not held.enrolled:
        return False, None
    return True, held.performance if performance else held.credited


def _place(held: Held) -> tuple[str | None, str | None, str | None]:
    return held.place.country, held.place.market, held.place.segment


def sizes(found: Iterable[Moved], ranks: Mapping[str, Sequence[str]]) -> list[TierSize]:
    """By programme and award, the highest tier first; `ranks` are the tiers of each programme, the lowest first.

    Awards that nobody has are left out.
    """
    judged = [each for each in found if not each.parked]
    before = Counter((e.programme, e.award, e.before) for e in judged if e.enrolled_before)
    after = Counter((e.programme, e.award, e.after) for e in judged if e.enrolled_after)
    stayed = Counter((e.programme, e.award, e.after) for e in judged if e.enrolled_before and e.enrolled_after and e.before == e.after)
    sized = []
    for ladder in dict.fromkeys((e.programme, e.award) for e in judged):
        tiers = [tier for programme, award, tier in {**before, **after} if (programme, award) == ladder and tier is not None]
        known = list(ranks.get(ladder[0], ()))
        ordered = [*dict.fromkeys([*reversed(known), *sorted(tiers)]), None] if tiers or not ladder[1] else []
        for tier in ordered:
            key = (*ladder, tier)
            sized.append(TierSize(*key, before[key], after[key] - stayed[key], before[key] - stayed[key], after[key]))
    return sized


def flows(found: Iterable[Moved]) -> list[Flow]:
    """The most partners first."""
    grouped: dict[tuple[str, str, bool, str | None, bool, str | None], list[str]] = {}
    for e in found:
        if not e.parked:
            grouped.setdefault((e.programme, e.award, e.enrolled_before, e.before, e.enrolled_after, e.after), []).append(e.partner)
    told = [Flow(*key, tuple(sorted(partners))) for key, partners in grouped.items()]
    return sorted(told, key=lambda flow: (flow.programme, flow.award, -len(flow.partners), flow.partners))
