"""The read models: lots and levels as rows, one partner at a time, and how far they have come.

A partner's rows are a function of its events and the rulebooks; they are replaced whole, so applying twice changes nothing. They
can be deleted at any time: the log makes them anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from math import gcd
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, delete, func, inspect, select, update
from sqlalchemy import Text as _Text
from sqlalchemy.dialects.postgresql import TEXT

from ledger.engines import on_postgres, open_engine, put, upsert
from ledger.errors import LedgerError
from ledger.events.envelope import Sealed
from ledger.instants import BEGINNING, FOREVER, Instant
from ledger.rules.breakdown import point_measures
from ledger.rules.facts import fold
from ledger.rules.library import Library
from ledger.rules.life import Life

SCHEMA = 4
"""The version of the tables below; it is raised with every change of them."""

Text = _Text().with_variant(TEXT(collation="C"), "postgresql")  # in the order of its bytes, as everywhere

METADATA = MetaData()
MADE = Table("read_models", METADATA, Column("version", BigInteger, primary_key=True))
PROGRESS = Table("progress", METADATA, Column("name", Text, primary_key=True), Column("position", BigInteger, nullable=False))
PARTNERS = Table(
    "partners",
    METADATA,
    Column("partner", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("parked", Text),
)
LEVELS = Table(
    "levels",
    METADATA,
    Column("partner", Text, primary_key=True),
    Column("programme", Text, primary_key=True),
    Column("award", Text, primary_key=True),
    Column("since", BigInteger, primary_key=True),
    Column("until", BigInteger, nullable=False),
    Column("performance", Text),
    Column("credited", Text),
    Column("book", Text, nullable=False),
    Column("because", Text, nullable=False),
)
LOTS = Table(
    "lots",
    METADATA,
    Column("partner", Text, primary_key=True),
    Column("programme", Text, primary_key=True),
    Column("measure", Text, primary_key=True),
    Column("since", BigInteger, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("client", Text),
    Column("until", BigInteger, nullable=False),
    Column("exact", Text, nullable=False),
    Column("micro", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
OFFSETS = Table(
    "applied",
    METADATA,
    Column("topic_id", Text, primary_key=True),
    Column("partition", BigInteger, primary_key=True),
    Column("next", BigInteger, nullable=False),
)
"""How far each partition of the stream was applied."""

DUE = Table("due", METADATA, Column("partner", Text, primary_key=True), Column("at", BigInteger, nullable=False, index=True))
"""When to look again at what is announced of a partner: at once where it has new events."""

ANNOUNCED = Table(
    "announced",
    METADATA,
    Column("partner", Text, primary_key=True),
    Column("programme", Text, primary_key=True),
    Column("content", Text, nullable=False),
)

Transaction = Connection
Level = tuple[str | None, str | None, str]

TABLES = (PARTNERS, LEVELS, LOTS)
_NAMES_MAX = 10_000


class Store:
    """The read models of one ledger, in one SQLite file or beside its log in PostgreSQL."""

    def __init__(self, where: Path | str) -> None:
        hint = "delete the file and run rebuild: the log makes it anew"
        self._engine = open_engine(where, called="the read models", hint=hint, pragmas=("journal_mode=WAL", "synchronous=NORMAL"))
        self._make()

    def _make(self) -> None:
        """The tables of this version: rows of another are dropped, and made anew from the log by the next command that writes."""
        with self._engine.begin() as connection:
            if _is_made(connection):
                return
            connection.exec_driver_sql(
                "SELECT pg_advisory_xact_lock(hashtext('read_models make'))" if on_postgres(connection) else "BEGIN IMMEDIATE"
            )
            if _is_made(connection):  # by another process meanwhile
                return
            METADATA.drop_all(connection)
            METADATA.create_all(connection)
            connection.execute(MADE.insert().values(version=SCHEMA))

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: rows and the position that they rest on, or neither."""
        with self._engine.begin() as connection:
            yield connection

    def position(self, name: str = "project") -> int:
        with self._engine.connect() as connection:
            found = connection.execute(select(PROGRESS.c.position).where(PROGRESS.c.name == name)).scalar()
        return found or 0

    def mark(self, connection: Connection, position: int, name: str = "project") -> None:
        upsert(connection, PROGRESS, ["name"], {"name": name, "position": position})

    def advance(self, connection: Connection, topic_id: str, partition: int, first: int, next: int) -> bool:
        """Move a partition's offset, by compare-and-set; False where it was not at `first`."""
        of_it = (OFFSETS.c.topic_id == topic_id, OFFSETS.c.partition == partition)
        return connection.execute(update(OFFSETS).where(*of_it, OFFSETS.c.next == first).values(next=next)).rowcount == 1

    def offsets(self, topic_id: str, partitions: Iterable[int]) -> dict[int, int]:
        """Where to read on, by partition; the beginning of one that was never read."""
        wanted = set(partitions)
        with self._engine.begin() as connection:
            query = select(OFFSETS.c.partition, OFFSETS.c.next).where(OFFSETS.c.topic_id == topic_id)
            found = {partition: next for partition, next in connection.execute(query) if partition in wanted}
            for partition in sorted(wanted - found.keys()):
                upsert(connection, OFFSETS, ["topic_id", "partition"], {"topic_id": topic_id, "partition": partition, "next": 0})
        return found | dict.fromkeys(wanted - found.keys(), 0)

    def lock(self, connection: Connection, partners: Iterable[str], *, alone: bool = False) -> None:
        """On PostgreSQL, until the transaction ends: nobody else applies these partners. `alone`: nobody applies anything."""
        if on_postgres(connection):
            everyone = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
            connection.exec_driver_sql(f"SELECT {everyone}(hashtext('points_ledger apply'), hashtext(current_schema()))")
            statement = (
                "SELECT pg_advisory_xact_lock(n) FROM (SELECT DISTINCT hashtextextended(p, 1) AS n FROM unnest(%s::text[]) AS p ORDER BY n)"
                " AS locks"
            )
            connection.exec_driver_sql(statement, (list(partners),))

    def applied(self, connection: Connection, partners: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Version and position up to which these were applied; those that never were are not among them."""
        found: dict[str, tuple[int, int]] = {}
        for first in range(0, len(partners), _NAMES_MAX):
            query = select(PARTNERS.c.partner, PARTNERS.c.version, PARTNERS.c.position)
            rows = connection.execute(query.where(PARTNERS.c.partner.in_(partners[first : first + _NAMES_MAX])))
            found.update({partner: (version, position) for partner, version, position in rows})
        return found

    def look_again(self, connection: Connection, at: Mapping[str, Instant]) -> None:
        """When what is announced of partners may have changed."""
        upsert(connection, DUE, ["partner"], *[{"partner": partner, "at": when} for partner, when in sorted(at.items())])

    def look_again_at_all(self, connection: Connection) -> None:
        connection.execute(update(DUE).values(at=BEGINNING))

    def due(self, connection: Connection, now: Instant, limit: int) -> list[str]:
        """Those to look at, the longest due first; no other process is given them meanwhile."""
        query = select(DUE.c.partner).where(DUE.c.at <= now).order_by(DUE.c.at, DUE.c.partner).limit(limit)
        return list(connection.execute(query.with_for_update(skip_locked=True)).scalars())

    def announced(self, connection: Connection, partners: Sequence[str]) -> dict[str, dict[str, str]]:
        """What was last said of each partner, by programme."""
        found: dict[str, dict[str, str]] = {partner: {} for partner in partners}
        for partner, programme, content in connection.execute(select(ANNOUNCED).where(ANNOUNCED.c.partner.in_(partners))):
            found[partner][programme] = content
        return found

    def announce(self, connection: Connection, said: Sequence[tuple[str, str, str | None]]) -> None:
        """Partner, programme and what is said now; None where nothing is."""
        for partner, programme, content in said:
            if content is None:
                connection.execute(delete(ANNOUNCED).where(ANNOUNCED.c.partner == partner, ANNOUNCED.c.programme == programme))
        names = [column.name for column in ANNOUNCED.columns]
        rows = [dict(zip(names, each, strict=True)) for each in said if each[2] is not None]
        upsert(connection, ANNOUNCED, ["partner", "programme"], *rows)

    def apply(self, connection: Connection, partner: str, events: Sequence[Sealed], library: Library) -> None:
        """Replace the partner's rows by those that its events make. What cannot be applied parks the partner, visibly."""
        self.replace(connection, [rows_of(partner, events, library)])

    def replace(self, connection: Connection, partners: Sequence[Rows]) -> None:
        """The rows of partners instead of those that they have."""
        for table in TABLES:
            connection.execute(delete(table).where(table.c.partner.in_([rows.partner[0] for rows in partners])))
        self.write(connection, partners)

    def write(self, connection: Connection, partners: Iterable[Rows]) -> None:
        """The rows of partners that have none yet."""
        made = list(partners)
        put(connection, PARTNERS, [rows.partner for rows in made])
        put(connection, LEVELS, [level for rows in made for level in rows.levels])
        put(connection, LOTS, [lot for rows in made for lot in rows.lots])

    def set_offsets(self, connection: Connection, topic_id: str, ends: Mapping[int, int]) -> None:
        """What was applied otherwise than message by message."""
        for partition, next in ends.items():
            upsert(connection, OFFSETS, ["topic_id", "partition"], {"topic_id": topic_id, "partition": partition, "next": next})

    def clear(self, connection: Connection) -> None:
        for table in (*TABLES, PROGRESS):
            connection.execute(delete(table))

    def partners(self) -> dict[str, str | None]:
        """Every partner, with why it is parked."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(PARTNERS.c.partner, PARTNERS.c.parked).order_by(PARTNERS.c.partner)).all()
        return {row[0]: row[1] for row in rows}

    def parked(self, partner: str) -> str | None:
        """Why a partner is parked; None where it is not."""
        with self._engine.connect() as connection:
            return connection.execute(select(PARTNERS.c.parked).where(PARTNERS.c.partner == partner)).scalar()

    def versions(self) -> dict[str, tuple[int, int]]:
        """Version and position up to which each partner was applied."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(PARTNERS.c.partner, PARTNERS.c.version, PARTNERS.c.position)).all()
        return {partner: (version, position) for partner, version, position in rows}

    def levels_at(self, programme: str, at: Instant, award: str = "") -> dict[str, tuple[str | None, str | None]]:
        """Performance and credited tier of every partner at an instant; of one award, where the rulebook has awards."""
        query = select(LEVELS.c.partner, LEVELS.c.performance, LEVELS.c.credited).where(LEVELS.c.award == award)
        query = query.where(LEVELS.c.programme == programme, LEVELS.c.since <= at, LEVELS.c.until > at)
        with self._engine.connect() as connection:
            return {partner: (performance, credited) for partner, performance, credited in connection.execute(query)}

    def points_at(self, programme: str, at: Instant) -> dict[str, dict[str, Fraction]]:
        """The exact sum of each partner's lots by measure at an instant."""
        query = select(LOTS.c.partner, LOTS.c.measure, LOTS.c.exact, func.count())
        query = query.where(LOTS.c.programme == programme, LOTS.c.since <= at, LOTS.c.until > at)
        points: dict[str, dict[str, Fraction]] = {}
        with self._engine.connect() as connection:
            for partner, measure, exact, n in connection.execute(query.group_by(LOTS.c.partner, LOTS.c.measure, LOTS.c.exact)):
                sums = points.setdefault(partner, {})
                sums[measure] = sums.get(measure, Fraction(0)) + n * _exact(exact)
        return points

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table in a fixed order: for comparing with a fresh rebuild."""
        with self._engine.connect() as connection:
            return {
                table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr) for table in (*TABLES, PROGRESS)
            }


@lru_cache(maxsize=100_000)
def _exact(written: str) -> Fraction:
    return Fraction(written)


def programmes_of(events: Iterable[Sealed], library: Library) -> list[str]:
    """The programmes in which the partner was ever enrolled; where none is named, the only one that reads what is said of it."""
    known = library.programmes()
    named = {s.event.data.programme for s in events if s.event.kind == "partner.enrolled.v1"} - {None}
    enrolled = [programme for programme in known if programme in named]
    if enrolled or len(known) < 2:
        return enrolled or known
    return library.only_reader(fold(events).by_kind)


class Rows(NamedTuple):
    """What one partner's events make: a function of the events and the rulebooks."""

    partner: tuple[Any, ...]
    levels: list[tuple[Any, ...]]
    lots: list[tuple[Any, ...]]


def rows_of(partner: str, events: Sequence[Sealed], library: Library) -> Rows:
    """A partner's rows in every programme. What cannot be applied parks the partner."""
    parked: str | None = None
    levels: list[tuple[Any, ...]] = []
    lots: list[tuple[Any, ...]] = []
    for programme in programmes_of(events, library):
        try:
            life = Life(events, library.force(programme))
            for each in life.ladders():
                levels += _level_rows(partner, programme, each)
            lots += _lot_rows(partner, programme, life)
            broken = next((performance.broken for performance in life.performances if performance.broken is not None), None)
            if broken is not None:
                parked = f"{programme}: {broken.what} [{broken.code}]"
            life.forget()
        except LedgerError as error:
            parked = f"{programme}: {error.what} [{error.code}]"
    return Rows((partner, events[-1].version, events[-1].position, parked), levels, lots)


def _level_rows(partner: str, programme: str, life: Life) -> list[tuple[Any, ...]]:
    """One row for each stretch in which neither tier nor rulebook changes; the last one is open."""
    broken = min((p.broken_at for p in life.performances if p.broken is not None), default=FOREVER)
    found: list[tuple[Instant, Level, str]] = []
    for at in life.turns(BEGINNING, min(life.settled_at, broken)):
        step = life.credited(at)
        level = (life.tier(at), step.tier if step else None, life.book(at).name)
        if not found or level != found[-1][1]:
            found.append((at, level, step.cause if step and step.at == at else ""))
    ends = [*[at for at, _, _ in found[1:]], broken][: len(found)]
    return [(partner, programme, life.award, at, end, *level, because) for (at, level, because), end in zip(found, ends, strict=True)]


def _lot_rows(partner: str, programme: str, life: Life) -> list[tuple[Any, ...]]:
    """The lots, exactly and in whole micro-points; one that is worth the same by the next rulebook goes on."""
    rows: list[tuple[Any, ...]] = []
    last: dict[tuple[str, int], int] = {}
    for performance in life.performances:
        begin, stop = performance.since, performance.until
        for measure in point_measures(performance.book):
            name = measure.name
            for present in performance.presents(measure):
                since, until = max(present.start, begin), min(present.end, stop)
                if since >= until or present.error is not None:
                    continue
                event = present.fact.event
                exact, micro = _written(present.numerator, present.denominator)
                place = last.get((name, event.position))
                if place is not None and rows[place][_UNTIL] == since and rows[place][_EXACT] == exact:
                    since = rows[place][_SINCE]
                else:
                    place = last[name, event.position] = len(rows)
                    rows.append(())
                client = getattr(event.event.data, "client", None)
                rows[place] = (partner, programme, name, since, event.position, client, until, exact, micro)
    return sorted(rows)


_SINCE, _UNTIL, _EXACT = (list(LOTS.columns.keys()).index(name) for name in ("since", "until", "exact"))


def _written(numerator: int, denominator: int) -> tuple[str, int]:
    """A worth as a reduced fraction, and rounded to whole micro-points, half to even."""
    common = gcd(numerator, denominator)
    whole, parts = numerator // common, denominator // common
    micro, rest = divmod(whole * 1_000_000, parts)
    if 2 * rest > parts or (2 * rest == parts and micro % 2):
        micro += 1
    return (str(whole) if parts == 1 else f"{whole}/{parts}"), micro


def _is_made(connection: Connection) -> bool:
    there = inspect(connection).has_table(MADE.name)
    return there and connection.execute(select(MADE.c.version)).scalars().all() == [SCHEMA]
