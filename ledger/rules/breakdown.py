"""Where points come from and go: lots by client, changes in a period with their causes, points by month, the history of events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from fractions import Fraction

from ledger.events.envelope import Sealed
from ledger.instants import BEGINNING, FOREVER, Instant, to_datetime, wall
from ledger.rules.answers import Basis, Change, Changes, ClientPoints, HistoryRow, Lot
from ledger.rules.book import Book, Measure
from ledger.rules.facts import Facts, fold, without_reversed
from ledger.rules.life import Life
from ledger.rules.presence import FactScope, Present, Reading
from ledger.rules.risk import about

ACTIVE, PENDING, EXPIRED, LOST, REVERSED = "active", "pending", "expired", "lost", "reversed"
RULES, WORTH = "rules changed", "rules or market changed"


def point_measures(book: Book) -> list[Measure]:
    """The sums that make the score: those on which `total` rests; without a total, the sums of sales and managed credit."""
    if "total" in book.numbers:
        return [book.measures[name] for name in book.rests_on(["total"]) if book.measures[name].aggregate == "sum"]
    return [measure for measure in book.measures.values() if measure.aggregate == "sum" and measure.presence.of in _LOT_FACTS]


_LOT_FACTS = ("sold", "managed")


def lots(life: Life, at: Instant, *, measure: str | None = None) -> list[Lot]:
    """Every lot of the partner by the rulebook in force at `at`: active, pending, expired, lost or reversed.

    A lot of a measure that is read `on: now` is shown once for each stretch in which it is worth the same.
    """
    reading = life.performance(at).reading
    found = [lot for each in _chosen(reading.book, measure) for lot in _lots(reading, each, at)]
    found += _reversed(life, reading, measure, at)
    return sorted(found, key=lambda lot: (lot.position, lot.start))


def _chosen(book: Book, measure: str | None) -> list[Measure]:
    return [each for each in point_measures(book) if measure in (None, each.name)]


def _lots(reading: Reading, measure: Measure, at: Instant) -> Iterator[Lot]:
    for present in reading.presents(measure):
        if present.error is not None and present.start <= at:
            raise present.error
        yield _lot(reading, measure, present, _state(present, at))


def _state(present: Present, at: Instant) -> str:
    if at < present.start:
        return PENDING
    if at < present.end:
        return ACTIVE
    ender = present.fact.ender
    lost = ender is not None and present.end == present.fact.end and ender.event.kind == "points.lost.v1"
    return LOST if lost else EXPIRED


def _reversed(life: Life, reading: Reading, measure: str | None, at: Instant) -> list[Lot]:
    """What was reversed, priced as it stood: it counts no more, and is still shown."""
    gone = reversed_positions(life.events)
    if not gone:
        return []
    whole = Reading(reading.book, with_reversed(life.events), reading.now)
    return [
        _lot(whole, each, present, REVERSED)
        for each in _chosen(reading.book, measure)
        for present in whole.presents(each)
        if present.fact.event.position in gone and present.error is None
    ]


def reversed_positions(events: Iterable[Sealed]) -> set[int]:
    known = list(events)
    standing = {sealed.position for sealed in without_reversed(known)}
    return {s.position for s in known if s.position not in standing and s.event.kind != "event.reversed.v1"}


def with_reversed(events: Iterable[Sealed]) -> Facts:
    return fold([sealed for sealed in events if sealed.event.kind != "event.reversed.v1"])


def _lot(reading: Reading, measure: Measure, present: Present, state: str) -> Lot:
    fact, event = present.fact, present.fact.event.event
    data = event.data
    reason_rows = measure.presence.of == fact.kind and measure.times is not None and present.error is None
    return Lot(
        present.fact.event.position, event.source, event.id, event.kind, measure.name,
        getattr(data, "client", None), getattr(data, "line", None), getattr(data, "deal_type", None),
        _market(reading, measure, present), getattr(data, "amount", None) or getattr(data, "mrr", None),
        getattr(data, "currency", None), present.value, present.start, present.end, state,
        reason_rows and _rests_on_assumed(reading, measure, present),
    )  # fmt: skip


def _market(reading: Reading, measure: Measure, present: Present) -> str | None:
    """The market type of the lot, where the rulebook has a table of that name."""
    if "market" not in reading.book.tables or "country" not in reading.book.derived:
        return None
    at = present.start if measure.on_now else present.fact.start
    scope = FactScope(reading, present.fact, at)
    return str(scope.lookup("market", (str(scope.value("country")),)))


def _rests_on_assumed(reading: Reading, measure: Measure, present: Present) -> bool:
    if measure.times is None or not any(reading.book.tables[name].assumed for name in measure.times.tables):
        return False
    at = present.start if measure.on_now else present.fact.start
    return any(node.assumed for node in measure.times.explain(FactScope(reading, present.fact, at)).walk())


def by_client(found: Iterable[Lot]) -> list[ClientPoints]:
    """Each client's active points by measure, with all its lots."""
    grouped: dict[str | None, list[Lot]] = defaultdict(list)
    for lot in found:
        grouped[lot.client].append(lot)
    rows = [ClientPoints(client, _totals(own), tuple(own)) for client, own in grouped.items()]
    return sorted(rows, key=lambda row: (-sum(row.totals.values(), Fraction(0)), row.client or ""))


def _totals(own: Iterable[Lot]) -> dict[str, Fraction]:
    totals: dict[str, Fraction] = defaultdict(Fraction)
    for lot in own:
        totals[lot.measure] += lot.value if lot.state == ACTIVE else 0
    return dict(totals)


# -- changes -----------------------------------------------------------------------------------------------------


def changes(life: Life, on: Basis, since: Instant, until: Instant) -> Changes:
    """What [since, until) brought and took of each measure of points, each step with its cause; they add up.

    `before` is the value just before `since`, `after` the value just before `until`.
    """
    life.check(until - 1)
    steps: list[Change] = []
    for performance in life.performances:
        begin, end = max(since, performance.since), min(until, performance.until)
        if begin < end:
            for measure in point_measures(performance.book):
                border = performance.since if performance is not life.performances[0] else BEGINNING
                steps += _steps(performance.reading, measure, begin, end, border=border)
    steps += _border_steps(life, since, until)
    ordered = sorted((step for step in steps if step.delta), key=lambda step: (step.at, step.position or 0))
    names = [measure.name for measure in point_measures(life.book(until - 1))]
    before, after = life.values(since - 1), life.values(until - 1)
    return Changes(
        on, since, until, {name: before.get(name, Fraction(0)) for name in names},
        {name: after.get(name, Fraction(0)) for name in names}, tuple(ordered),
    )  # fmt: skip


def _steps(reading: Reading, measure: Measure, since: Instant, until: Instant, *, border: Instant) -> Iterator[Change]:
    """Enterings and leavings inside one rulebook's time of force; a fact that goes on at another worth is one step."""
    goes_on = {(id(p.fact), p.start): p for p in reading.presents(measure) if p.start < p.end}
    followed: set[int] = set()
    for present in goes_on.values():
        following = goes_on.get((id(present.fact), present.end))
        if following is not None and since <= present.end < until and present.end != border:
            followed.add(id(following))
            yield _change(measure, following, present.end, following.value - present.value, WORTH)
        elif since <= present.end < until and present.end != border:
            yield _change(measure, present, present.end, -present.value, why_left(present))
    for present in goes_on.values():
        begun = since <= present.start < until and present.start != border
        if begun and (id(present) not in followed):
            yield _change(measure, present, present.start, present.value, why_entered(present))


def why_entered(present: Present) -> str:
    """What brought points that begin to count."""
    return present.fact.kind


def why_left(present: Present) -> str:
    """What took points that count no more."""
    ender = present.fact.ender
    if ender is not None and present.end == present.fact.end:
        return {"points.lost.v1": "lost", "client.released.v1": "services ended"}.get(ender.event.kind, "replaced")
    return "no longer serviced" if present.fact.kind == "managed" else "expired"


def _change(measure: Measure, present: Present, at: Instant, delta: Fraction, cause: str) -> Change:
    event = present.fact.event
    client = getattr(event.event.data, "client", None)
    return Change(at, measure.name, delta, cause, client, event.position, about(event.event.data))


def _border_steps(life: Life, since: Instant, until: Instant) -> Iterator[Change]:
    """Where a new rulebook comes into force: facts that enter or leave at that very instant, and the rules' own change."""
    for old, new in zip(life.performances, life.performances[1:], strict=False):
        at = new.since
        if not since <= at < until:
            continue
        names = {m.name: m for m in (*point_measures(old.book), *point_measures(new.book))}
        for name in names:
            yield from _border(old.reading, new.reading, name, at)


def _border(old: Reading, new: Reading, name: str, at: Instant) -> Iterator[Change]:
    before, after = (_here(old, name, at - 1), _here(new, name, at))
    measure = new.book.measures.get(name) or old.book.measures[name]
    for position in sorted(before.keys() | after.keys()):
        was, now = before.get(position, []), after.get(position, [])
        delta = sum((p.value for p in now), Fraction(0)) - sum((p.value for p in was), Fraction(0))
        present = (now or was)[0]
        if not was and present.start == at and present.fact.start == at:
            cause = why_entered(present)
        elif not now and was[0].end == at:
            cause = why_left(present)
        else:
            cause = RULES
        yield _change(measure, present, at, delta, cause)


def _here(reading: Reading, name: str, at: Instant) -> dict[int, list[Present]]:
    here: dict[int, list[Present]] = defaultdict(list)
    measure = reading.book.measures.get(name)
    for present in reading.presents(measure) if measure is not None else ():
        if present.start <= at < present.end:
            here[present.fact.event.position].append(present)
    return here


# -- months and history --------------------------------------------------------------------------------------------


def months(life: Life, as_of: Instant, *, back: int = 6, ahead: int = 3) -> list[tuple[Instant, dict[str, Fraction], bool]]:
    """Points at the last microsecond of each month: past ones as they were, the current at `as_of`, coming ones foreseen."""
    zone = life.book(as_of).zone
    day = to_datetime(as_of, zone)
    first = day.year * 12 + day.month - 1
    coming = life.foresee(as_of)
    rows = []
    for month in range(first - back, first + ahead + 1):
        end = wall(zone, (month + 1) // 12, (month + 1) % 12 + 1) - 1
        at = as_of if month == first else end
        rows.append((at, (coming if month > first else life).values(at), month > first))
    return rows


def history(life: Life, *, since: Instant = BEGINNING, until: Instant = FOREVER) -> list[HistoryRow]:
    """Every event in order of effective time and position, with the standing just before and at its instant."""
    gone = reversed_positions(life.events)
    rows = []
    for sealed in sorted(life.events, key=lambda s: (s.event.effective_at, s.position)):
        if since <= sealed.event.effective_at < until:
            rows.append(_history_row(life, sealed, reversed_=sealed.position in gone))
    return rows


def _history_row(life: Life, sealed: Sealed, *, reversed_: bool) -> HistoryRow:
    event, at = sealed.event, sealed.event.effective_at
    return HistoryRow(
        sealed.position, sealed.version, event.kind, event.source, event.id, at, sealed.recorded_at, reversed_,
        about(event.data), life.values(at - 1), life.values(at), life.tier(at - 1), life.tier(at),
        life.credited_tier(at - 1), life.credited_tier(at),
    )  # fmt: skip
