"""Licence deployment and usage by group: a client, a product, a workload, or the whole portfolio. Nothing here writes.

A *position* is the facts of one client, product, service and workload, and what the rulebook in force says of them alone. A group adds up
what its positions hold and asks the rulebook's numbers about the sums, so its percentages are weighted by seats.

The rulebook names what is asked here: `assigned` of `sold` make `deployment`, `used` of `entitled` make `usage`, both in percent.
A `cause_` says why usage is above 100 %, an `advice_` what to do. Its table `words` puts both into words, its table `position` says
which services and workloads count as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ledger.errors import NotFound
from ledger.instants import Instant, text
from ledger.projections.supposed import Supposed
from ledger.rules.book import Book
from ledger.rules.facts import Fact, Facts
from ledger.rules.life import Force, Life
from ledger.rules.presence import FactScope, Reading, within
from ledger.streams import LEDGER

KEY = ("client", "product", "service", "workload")
OWN, ALL = "own", "all"
DEPLOYMENT, USAGE = "deployment", "usage"
NEEDED = ("assigned", "sold", DEPLOYMENT, "used", "entitled", USAGE)
UNEXPLAINED = "cause_unexplained"
NO_ENTITLEMENTS = "no entitlements"
BUCKETS = ("[0,20)", "[20,40)", "[40,60)", "[60,80)", "[80,100]", "above 100")

_COUNTED = ("licences", "metric", "metered")
_STATED_OUTRIGHT = ("adjusted", "override")

Group = tuple[str, ...]
Names = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Position:
    """What is counted under one key. `deployed`, `in_use`: whether the source states what deployment and usage need."""

    key: Group
    values: dict[str, Fraction]
    deployed: bool
    in_use: bool
    channels: frozenset[str]
    stated: int
    """The position of the last event that counts."""


@dataclass(frozen=True, slots=True)
class Told:
    """A cause or an advice: its name in the rulebook, and in words."""

    name: str
    words: str


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole in percent: none where the whole is 0, and never clamped."""

    part: Fraction
    whole: Fraction
    percent: Fraction | None

    @property
    def bucket(self) -> str:
        return bucket(self.percent)


@dataclass(frozen=True, slots=True)
class Row:
    """One group at a moment. None: the source states nothing of it. `key` has a value for each field that was grouped by."""

    key: Group
    deployment: Share | None
    usage: Share | None
    causes: tuple[Told, ...]
    advice: tuple[Told, ...]
    channels: tuple[str, ...]


NOTHING = Row((), None, None, (), (), ())


def rows(life: Life, at: Instant, by: Sequence[str] = KEY, *, scope: str = ALL) -> list[Row]:
    """The groups of a partner at an instant, in order of their keys, `by` some of KEY.

    `scope`: all partners of a client, or own: only the licences that come through its subscriptions with this partner.
    Raises NotFound for a rulebook that is not about licences, and for a field or scope that there is not.
    """
    _book(life, at)
    for what, known, kind in [*[(field, KEY, "field") for field in by], (scope, (ALL, OWN), "scope")]:
        if what not in known:
            raise NotFound(f"{what!r} is no {kind} of licences", hint=f"one of: {', '.join(known)}", code=f"unknown_{kind}")
    groups: dict[Group, list[Position]] = {}
    for position in positions(life, at, scope=scope):
        groups.setdefault(tuple(position.key[KEY.index(field)] for field in by), []).append(position)
    return grouped(life, at, groups)


def grouped(life: Life, at: Instant, groups: Mapping[Group, Sequence[Position]]) -> list[Row]:
    """Groups of positions, also of several partners; `life` is any of theirs."""
    found = [_row(life, at, life.book(at), key, group) for key, group in sorted(groups.items())]
    return [row for row in found if row.deployment is not None or row.usage is not None]


def portfolio(life: Life, at: Instant, *, scope: str = ALL) -> Row:
    """All clients together: sums of seats first, one division after."""
    book = _book(life, at)
    return _row(life, at, book, (), positions(life, at, scope=scope))


def is_about(book: Book) -> bool:
    """Whether a rulebook is about licences."""
    return all(name in book.measures or name in book.numbers for name in NEEDED)


def _book(life: Life, at: Instant) -> Book:
    book = life.book(at)
    if not is_about(book):
        hint = f"such a rulebook has the measures or numbers {', '.join(NEEDED)}; points rules list shows those at hand"
        raise NotFound(f"{book.name} is no rulebook about licences", hint=hint, code="no_licences")
    return book


# -- positions -------------------------------------------------------------------------------------------------------


def positions(life: Life, at: Instant, *, scope: str = ALL) -> list[Position]:
    """The positions of the partner's clients at an instant, each asked for alone. A fact that no measure takes is not counted."""
    reading = life.performance(at).reading
    ours, gone = _own(life, at) if scope == OWN else None, _gone(life, at)
    counted: dict[Group, list[Fact]] = {}
    for fact in [fact for kind in _COUNTED for fact in life.facts.of(kind) if _taken(reading, fact)]:
        key = _key(reading.book, at, fact)
        if key[0] not in gone and (ours is None or _subscribed(fact) in ours):
            counted.setdefault(key, []).append(fact)
    read = {each.of for measure in reading.book.measures.values() for each in within(measure.presence)}
    beside = [fact for kind in read - {*_COUNTED, *_STATED_OUTRIGHT} for fact in life.facts.of(kind)]
    return [_position(life, at, key, facts, beside) for key, facts in counted.items()]


def _taken(reading: Reading, fact: Fact) -> bool:
    """Whether the fact is any of what the rulebook counts."""
    wheres = [measure.presence.where for measure in reading.book.measures.values() if measure.presence.of == fact.kind]
    return any(where is None or where.evaluate(FactScope(reading, fact, fact.start)) for where in wheres)


def _key(book: Book, at: Instant, fact: Fact) -> Group:
    """A metric states the product as its area."""
    data = fact.data
    product = data.product if fact.kind == "licences" else data.area
    return data.client or "", product or "", _joined(book, at, data.service), _joined(book, at, data.workload)


def _joined(book: Book, at: Instant, code: str | None) -> str:
    """The position as which a service or workload counts."""
    table = book.tables.get("position")
    return str(table.row_at(at)[1].get(code, code)) if table is not None and code else code or ""


def _subscribed(fact: Fact) -> tuple[str, str] | None:
    """The client's subscription through which the licences came; users are counted over all of them."""
    return (fact.data.client, fact.data.subscription) if fact.kind == "licences" else None


def _own(life: Life, at: Instant) -> set[tuple[str, str] | None]:
    """The subscriptions that run at an instant and that this partner stated itself; a copy is another's."""
    facts = life.facts.of("subscription")
    stated = {fact.key for fact in facts if fact.event.event.source != LEDGER}
    return {(str(fact.key[0]), str(fact.key[1])) for fact in facts if fact.start <= at < fact.end and fact.key in stated}


def _gone(life: Life, at: Instant) -> set[str]:
    """The clients that were the partner's and are not any more."""
    facts = [fact for fact in life.facts.of("client") if fact.start <= at]
    return {fact.data.client for fact in facts} - {fact.data.client for fact in facts if at < fact.end}


def _position(life: Life, at: Instant, key: Group, counted: Sequence[Fact], beside: Iterable[Fact]) -> Position:
    """The rulebook over the facts of one key, and nothing else."""
    alone = Life(life.events, [_force(life, at)], life.now)
    alone.facts = Facts()
    for fact in (*counted, *beside):
        alone.facts.by_kind[fact.kind].append(fact)
    here = [fact for fact in counted if fact.kind == "licences" and fact.start <= at < fact.end]
    channels = frozenset(fact.data.channel for fact in here if fact.data.channel)
    stated = max((fact.event.position for fact in counted if fact.start <= at), default=0)
    return Position(key, alone.values(at), _states(alone, at, "assigned"), _states(alone, at, "used"), channels, stated)


def _force(life: Life, at: Instant) -> Force:
    performance = life.performance(at)
    return Force(performance.book, performance.since, performance.until)


def _states(alone: Life, at: Instant, name: str) -> bool:
    """Whether any fact states a value on which a number rests; a count that is spent by its age states it still."""
    book = alone.book(at)
    for measure in [book.measures[each] for each in book.rests_on([name])]:
        fields = measure.value.names if measure.value is not None else ()
        facts = [fact for fact in alone.facts.of(measure.presence.of) if fact.start <= at < fact.end]
        if any(getattr(fact.data, field) is not None for fact in facts for field in fields):
            return True
    return False


# -- groups ----------------------------------------------------------------------------------------------------------


def _row(life: Life, at: Instant, book: Book, key: Group, group: Sequence[Position]) -> Row:
    scope = life.scope(at)
    deployed, in_use = [each for each in group if each.deployed], [each for each in group if each.in_use]
    used = {name: _sum(in_use, name) for name in (*book.measures, "used", "entitled")}
    both = {name: _sum(group, name) for name in book.measures} | {name: used[name] for name in ("used", "entitled")}
    asked = Supposed(scope, both | {name: _sum(deployed, name) for name in ("assigned", "sold")})
    return Row(
        key,
        _share(asked, "assigned", "sold", DEPLOYMENT) if deployed else None,
        _share(asked, "used", "entitled", USAGE) if in_use else None,
        _causes(at, book, Supposed(scope, used), in_use),
        tuple(_told(at, book, name) for name in book.numbers if name.startswith("advice_") and asked.number(name)),
        tuple(sorted({channel for each in group for channel in each.channels})),
    )


def _causes(at: Instant, book: Book, asked: Supposed, positions: Sequence[Position]) -> tuple[Told, ...]:
    """Why the usage of a group is above 100 %: what applies to the group or to any of its positions, else that it is unexplained."""
    if asked.number(USAGE) <= 100:
        return ()
    named = [name for name in book.numbers if name.startswith("cause_")]
    apply = [name for name in named if asked.number(name) or any(position.values[name] for position in positions)]
    known = [name for name in apply if name != UNEXPLAINED]
    return tuple(_told(at, book, name) for name in known or apply)


def _told(at: Instant, book: Book, name: str) -> Told:
    words = book.tables["words"].row_at(at)[1] if "words" in book.tables else {}
    return Told(name, str(words.get(name, name)))


def _sum(group: Iterable[Position], name: str) -> Fraction:
    return sum((position.values[name] for position in group), Fraction(0))


def _share(asked: Supposed, part: str, whole: str, percent: str) -> Share:
    total = asked.number(whole)
    return Share(asked.number(part), total, asked.number(percent) if total else None)


def bucket(percent: Fraction | None) -> str:
    """One of BUCKETS, or that there are no entitlements."""
    if percent is None:
        return NO_ENTITLEMENTS
    if percent > 100:
        return BUCKETS[-1]
    return BUCKETS[min(int(percent // 20), 4)]


def buckets(life: Life, at: Instant, of: str = DEPLOYMENT, *, scope: str = ALL) -> dict[str, list[str]]:
    """The clients in each bucket of deployment or of usage; those without entitlements are in none, and named apart."""
    share = _share_of(of)
    found: dict[str, list[str]] = {name: [] for name in (*BUCKETS, NO_ENTITLEMENTS)}
    for row in rows(life, at, ("client",), scope=scope):
        known = share(row)
        if known is not None:
            found[known.bucket].append(row.key[0])
    return found


def _share_of(of: str) -> Callable[[Row], Share | None]:
    match of:
        case "deployment":
            return lambda row: row.deployment
        case "usage":
            return lambda row: row.usage
    raise NotFound(f"{of!r} is no report of licences", hint="deployment or usage", code="unknown_report")


# -- the export ------------------------------------------------------------------------------------------------------

DEPLOYMENT_COLUMNS = (
    "customerId", "customerName", "productName", "serviceCode", "serviceName", "channel", "licensesDeployed", "licensesSold",
    "deploymentPercent", "processedDateTime",
)  # fmt: skip
USAGE_COLUMNS = (
    "customerId", "customerName", "productName", "serviceCode", "serviceName", "channel", "workloadCode", "workloadName",
    "licensesActive", "licensesQualified", "usagePercent", "processedDateTime",
)  # fmt: skip


def export(life: Life, at: Instant, of: str = DEPLOYMENT, names: Names | None = None, *, scope: str = ALL) -> Iterator[dict[str, Any]]:
    """The rows of the published export: of deployment by customer, product and service, of usage also by workload.

    Codes stand where there is no name. A percentage is a fraction, or None where there are no entitlements.
    """
    share, called = _share_of(of), names or {}
    by = KEY[:3] if of == DEPLOYMENT else KEY
    columns = DEPLOYMENT_COLUMNS if of == DEPLOYMENT else USAGE_COLUMNS
    for row in rows(life, at, by, scope=scope):
        known = share(row)
        if known is None:
            continue
        client, product, service, workload = (*row.key, "")[:4]
        cells = {
            "customerId": client, "customerName": called.get(client, client), "productName": called.get(product, product),
            "serviceCode": service, "serviceName": called.get(service, service), "channel": ", ".join(row.channels),
            "workloadCode": workload, "workloadName": called.get(workload, workload),
            "licensesDeployed": known.part, "licensesSold": known.whole, "deploymentPercent": known.percent,
            "licensesActive": known.part, "licensesQualified": known.whole, "usagePercent": known.percent,
            "processedDateTime": text(at),
        }  # fmt: skip
        yield {column: cells[column] for column in columns}


def processed_at(life: Life, until: Instant) -> Instant | None:
    """The latest count up to an instant: the moment of the export where no other is asked for."""
    return max((fact.start for fact in life.facts.of("licences") if fact.start <= until), default=None)
