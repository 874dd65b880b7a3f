"""Answers as plain typed values that know nothing of terminals, databases or the web.

Every answer names the moment and the rulebook on which it rests, so that it can be asked again. Numbers are exact fractions;
rounding is for display.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from ledger.instants import Instant
from ledger.rules.reasons import Reason


@dataclass(frozen=True, slots=True)
class Basis:
    """What an answer rests on. `known_at` is a position; `foreseen_from` is set where the answer is a forecast."""

    partner: str
    programme: str
    book: str
    book_hash: str
    language: int
    as_of: Instant
    known_at: int
    foreseen_from: Instant | None = None


@dataclass(frozen=True, slots=True)
class LotRef:
    """A lot or certificate by its event, with what it is worth and when it stops counting."""

    position: int
    source: str
    id: str
    kind: str
    measure: str
    value: Fraction
    until: Instant
    about: str


@dataclass(frozen=True, slots=True)
class Progress:
    """One requirement of a tier: what is there, what is asked, what is missing (0 where it is met)."""

    requirement: str
    text: str
    value: Fraction | None
    threshold: Fraction | None
    met: bool
    missing: Fraction
    overridden: bool
    assumed: bool
    unit: str
    source: str
    line: int


@dataclass(frozen=True, slots=True)
class TierProgress:
    """The way to a tier; `option` names it where an award offers several."""

    tier: str
    met: bool
    requirements: tuple[Progress, ...]
    option: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a tier is in danger or lost: the requirement that fails, when, by how much, and what takes it away."""

    at: Instant
    requirement: str
    value: Fraction | None
    threshold: Fraction | None
    missing: Fraction
    lots: tuple[LotRef, ...]


@dataclass(frozen=True, slots=True)
class Risk:
    """At risk by the programme's own policy."""

    since: Instant
    until_review: Instant | None
    why: str
    cause: Cause | None


@dataclass(frozen=True, slots=True)
class Loss:
    """The first instant at which the credited tier falls if nothing more happens."""

    at: Instant
    tier: str
    falls_to: str | None
    how: str
    cause: Cause | None


@dataclass(frozen=True, slots=True)
class ActiveOverride:
    override: str
    target: str
    since: Instant
    until: Instant
    reason: str
    author: str
    position: int


@dataclass(frozen=True, slots=True)
class Bare:
    """The standing as it would be without overrides."""

    performance: str | None
    credited: str | None
    values: dict[str, Fraction]


@dataclass(frozen=True, slots=True)
class AwardStanding:
    """One award at a moment. `status` is none, started, qualified, active or in grace; `anniversary` is the next one while it is held."""

    award: str
    group: str
    performance: str | None
    credited: str | None
    credited_since: Instant | None
    status: str
    anniversary: Instant | None
    option: str
    at_risk: bool | None = None
    """Of what is held; None where it was not asked."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A partner at a moment. `values` are the rulebook's measures and numbers by name."""

    basis: Basis
    performance: str | None
    credited: str | None
    credited_since: Instant | None
    credited_because: str
    values: dict[str, Fraction]
    units: dict[str, str]
    at_risk: Risk | None
    tier_lost_at: Loss | None
    keep: TierProgress | None
    next: TierProgress | None
    goal: TierProgress | None
    overrides: tuple[ActiveOverride, ...]
    without_overrides: Bare
    assumed: tuple[str, ...]
    parked: str | None = None
    options: tuple[TierProgress, ...] = ()
    """Every way to the next tier, or to the one that was asked for."""

    award: AwardStanding | None = None
    awards: tuple[AwardStanding, ...] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """A day of a membership: a reminder, or an anniversary; `tested_at` is where what is held then is tested."""

    at: Instant
    what: str
    tested_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """One stretch of a timeline: half open, in the past or foreseen."""

    start: Instant
    end: Instant
    performance: str | None
    credited: str | None
    values: dict[str, Fraction]
    book: str
    because: str
    foreseen: bool
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class Lot:
    """Points that one event brought, in one measure. `state` is active, pending, expired, lost or reversed."""

    position: int
    source: str
    id: str
    kind: str
    measure: str
    client: str | None
    line: str | None
    deal_type: str | None
    market: str | None
    amount: str | None
    currency: str | None
    value: Fraction
    start: Instant
    end: Instant
    state: str
    assumed: bool


@dataclass(frozen=True, slots=True)
class ClientPoints:
    """One client's share of the points, with its lots."""

    client: str | None
    totals: dict[str, Fraction]
    lots: tuple[Lot, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A step of a measure: how much, when, which cause, and the event behind it."""

    at: Instant
    measure: str
    delta: Fraction
    cause: str
    client: str | None
    position: int | None
    about: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What a period [since, until) brought and took; for each measure before + changes = after."""

    basis: Basis
    since: Instant
    until: Instant
    before: dict[str, Fraction]
    after: dict[str, Fraction]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One event of the partner with the standing just before and at its instant."""

    position: int
    version: int
    kind: str
    source: str
    id: str
    effective_at: Instant
    recorded_at: Instant
    reversed: bool
    about: str
    before: dict[str, Fraction]
    after: dict[str, Fraction]
    performance_before: str | None
    performance_after: str | None
    credited_before: str | None
    credited_after: str | None


@dataclass(frozen=True, slots=True)
class Considered:
    """A fact that a measure looks at: whether it counts, and why not; `key` is who or what is counted.

    `since` and `until` are those of its counting, where it counts, else its own.
    """

    position: int
    kind: str
    about: str
    key: str
    counts: bool
    value: Fraction | None
    since: Instant
    until: Instant
    code: str
    because: str


@dataclass(frozen=True, slots=True)
class MeasureCount:
    """A measure with every fact that it looks at."""

    measure: str
    value: Fraction
    unit: str
    rows: tuple[Considered, ...]


@dataclass(frozen=True, slots=True)
class RequirementCount:
    """One requirement of one way to a tier, with what counts for it; `tier` is empty where a measure or number alone was asked for."""

    award: str
    tier: str
    option: str
    requirement: str
    value: Fraction | None
    threshold: Fraction | None
    met: bool | None
    overridden: bool
    measures: tuple[MeasureCount, ...]


@dataclass(frozen=True, slots=True)
class CheckpointSeen:
    at: Instant
    performance: str | None
    review: bool
    credited: str | None
    verdict: str


@dataclass(frozen=True, slots=True)
class Why:
    """One standing explained: the reasons of every number and requirement, and the steps that led to the credited tier."""

    standing: Standing
    reasons: dict[str, Reason]
    requirements: dict[str, Reason]
    steps: tuple[Interval, ...] = ()
    checkpoints: tuple[CheckpointSeen, ...] = ()
    restated: tuple[int, ...] = field(default=())
