"""The read models: rows in two clocks, one partner at a time, and how far they have come.

A partner's rows are a function of its events, the commits that they came in, and the rulebooks: brought forward or made anew, they are
the same. They can be deleted at any time: the log makes them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, ColumnElement, Connection, Index, MetaData, Table, delete, func, inspect, select, update
from sqlalchemy import Text as _Text
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import TEXT

from ledger.engines import on_postgres, open_engine, put, upsert
from ledger.errors import LedgerError
from ledger.events.envelope import Sealed
from ledger.instants import BEGINNING, Instant
from ledger.projections import rows, views
from ledger.projections.clocks import ALWAYS, Changes
from ledger.projections.rows import Partner
from ledger.rules.library import Library

SCHEMA = 5
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
    Column("known", BigInteger, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("horizon", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("parked", Text),
)
"""How far a partner's rows have come: see `rows.Partner`."""


def _clocked(name: str, identity: Sequence[Column[Any]], *payload: Column[Any]) -> Table:
    """Rows in two clocks: `since` and `until` are instants, `known_from` and `known_until` positions of the log."""
    return Table(
        name,
        METADATA,
        Column("partner", Text, primary_key=True),
        *identity,
        Column("since", BigInteger, primary_key=True),
        Column("until", BigInteger, nullable=False),
        *payload,
        Column("known_from", BigInteger, primary_key=True),
        Column("known_until", BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def _key(*names: str) -> list[Column[Any]]:
    return [Column(name, BigInteger if name == "position" else Text, primary_key=True) for name in names]


LEVELS = _clocked(
    rows.LEVELS,
    _key("programme", "award"),
    Column("performance", Text),
    Column("credited", Text),
    Column("book", Text, nullable=False),
    Column("enrolled", BigInteger, nullable=False),
    Column("because", Text, nullable=False),
)
LOTS = _clocked(
    rows.LOTS,
    _key("programme", "measure", "position"),
    Column("client", Text),
    Column("exact", Text, nullable=False),
    Column("micro", BigInteger, nullable=False),
)
SCORES = _clocked(
    rows.SCORES,
    _key("programme"),
    Column("name", Text, nullable=False),
    Column("exact", Text, nullable=False),
    Column("micro", BigInteger, nullable=False),
)
INTERVALS = _clocked(rows.INTERVALS, _key("kind", "key", "position"), Column("detail", Text), Column("ended_by", BigInteger))
Index("levels_restated", LEVELS.c.known_until, sqlite_where=LEVELS.c.known_until < ALWAYS, postgresql_where=LEVELS.c.known_until < ALWAYS)
KNOWN = Table(
    "known",
    METADATA,
    Column("partner", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("recorded_at", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The commits that concern a partner, and up to which instant the rows answer for what was known from there on: for later ones ask the
engine. The last one answers for every instant."""

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
Made = tuple[str, Partner, Changes]
"""A partner, how far its rows have come, and what is to be written."""

CLOCKED = {table.name: table for table in (LEVELS, LOTS, SCORES, INTERVALS)}
TABLES = (PARTNERS, KNOWN, *CLOCKED.values())
_NAMES_MAX = 10_000


class QueryError(LedgerError):
    """A statement that the read models do not answer."""

    code = "query_failed"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Restated:
    """A stretch of a partner's past of which a later commit says another tier."""

    partner: str
    programme: str
    award: str
    since: Instant
    until: Instant
    performance_before: str | None
    performance_after: str | None
    credited_before: str | None
    credited_after: str | None
    position: int
    """The last one of the commit that says so."""
    position_before: int
    """The last one of the partner's commit before it."""
    recorded_at: Instant


class Standing(NamedTuple):
    """A row of LEVELS at an instant."""

    programme: str
    performance: str | None
    credited: str | None
    book: str
    enrolled: int


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
            for view in views.VIEWS:
                connection.exec_driver_sql(f"DROP VIEW IF EXISTS {view.name}")
            METADATA.drop_all(connection)
            METADATA.create_all(connection)
            postgres = on_postgres(connection)
            for view in views.VIEWS:
                for statement in (view.sql(postgres=postgres), *(view.comments() if postgres else ())):
                    connection.execute(sql(statement.replace(":", "\\:")))
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

    def apply(
        self, connection: Connection, partner: str, events: Sequence[Sealed], library: Library,
        ends: Callable[[int], int] = lambda position: position, until: int | None = None,
    ) -> None:  # fmt: skip
        """The partner's rows made anew, up to a position; default its last event. What cannot be applied parks the partner, visibly.

        `ends`: the last position of what was recorded with a position; by default each event was recorded alone.
        """
        until = ends(events[-1].position) if until is None else until
        self.replace(connection, [(partner, *rows.advanced(events, library, ends, until))])

    def replace(self, connection: Connection, made: Sequence[Made]) -> None:
        """The rows of partners, made anew, instead of those that they have."""
        names = [partner for partner, _, _ in made]
        for table in TABLES:
            connection.execute(delete(table).where(table.c.partner.in_(names)))
        self.write(connection, made)

    def write(self, connection: Connection, made: Sequence[Made]) -> None:
        """The rows of partners that have none yet."""
        put(connection, PARTNERS, [(partner, *state) for partner, state, _ in made])
        self._put(connection, made)

    def change(self, connection: Connection, made: Sequence[Made]) -> None:
        """Bring the rows of partners forward from where they are."""
        names = PARTNERS.columns.keys()
        upsert(connection, PARTNERS, ["partner"], *[dict(zip(names, (partner, *state), strict=True)) for partner, state, _ in made])
        for name, table in CLOCKED.items():
            self._edit(connection, name, table, made)
        heads = [(*changes.head, partner) for partner, _, changes in made if changes.head is not None]
        if heads:
            _many(connection, "UPDATE known SET until = ? WHERE position = ? AND partner = ?", heads)
        self._put(connection, made)

    def _edit(self, connection: Connection, name: str, table: Table, made: Sequence[Made]) -> None:
        columns = list(table.columns.keys())
        until = columns.index("until")
        now = f"{' AND '.join(f'{column} = ?' for column in columns[:until])} AND known_until = {ALWAYS}"
        gone = [(partner, *identity) for partner, _, changes in made for of, identity in changes.gone if of == name]
        changed = [
            (until, *payload, partner, *identity)
            for partner, _, changes in made
            for (of, identity), (until, payload) in changes.changed.items()
            if of == name
        ]
        ended = [(at, partner, *identity) for partner, _, changes in made for of, identity, at in changes.ended if of == name]
        if gone:
            _many(connection, f"DELETE FROM {name} WHERE {now}", gone)
        if changed:
            _many(connection, f"UPDATE {name} SET {', '.join(f'{column} = ?' for column in columns[until:-2])} WHERE {now}", changed)
        if ended:
            _many(connection, f"UPDATE {name} SET known_until = ? WHERE {now}", ended)

    def _put(self, connection: Connection, made: Sequence[Made]) -> None:
        new: dict[str, list[tuple[Any, ...]]] = {name: [] for name in CLOCKED}
        for partner, _, changes in made:
            for name, identity, until, payload, known_from, known_until in changes.new:
                new[name].append((partner, *identity, until, *payload, known_from, known_until))
        put(connection, KNOWN, [(partner, *known) for partner, _, changes in made for known in changes.known])
        for name, table in CLOCKED.items():
            put(connection, table, new[name])

    def states(self, connection: Connection, partners: Sequence[str]) -> dict[str, Partner]:
        """How far the rows of these have come; those that have none are not among them."""
        found: dict[str, Partner] = {}
        for first in range(0, len(partners), _NAMES_MAX):
            found.update(
                {
                    partner: Partner(*state)
                    for partner, *state in connection.execute(
                        select(PARTNERS).where(PARTNERS.c.partner.in_(partners[first : first + _NAMES_MAX]))
                    )
                }
            )
        return found

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

    def known(self) -> dict[str, int]:
        """The last position of the last commit that each partner's rows know."""
        with self._engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(select(PARTNERS.c.partner, PARTNERS.c.known))}

    def unanswered(self, at: Instant, known_at: int) -> set[str]:
        """Partners of which the rows do not answer for an instant as known at a position: ask the engine."""
        last = (
            "SELECT until FROM known WHERE known.partner = partners.partner AND known.position <= :known_at "
            "ORDER BY known.position DESC LIMIT 1"
        )
        query = sql(f"SELECT partner FROM (SELECT partner, ({last}) AS until FROM partners) AS answers WHERE until <= :at")
        with self._engine.connect() as connection:
            return set(connection.execute(query, {"known_at": known_at, "at": at}).scalars())

    def standings_at(self, at: Instant, known_at: int, programme: str | None = None) -> list[tuple[str, Standing]]:
        """Tiers by partner and programme, of rulebooks without awards; of one programme, or of all."""
        query = select(
            LEVELS.c.partner, LEVELS.c.programme, LEVELS.c.performance, LEVELS.c.credited, LEVELS.c.book, LEVELS.c.enrolled
        ).where(LEVELS.c.award == "", *_at(LEVELS, at, known_at))
        if programme is not None:
            query = query.where(LEVELS.c.programme == programme)
        with self._engine.connect() as connection:
            return [(partner, Standing(*rest)) for partner, *rest in connection.execute(query)]

    def levels_at(
        self, programme: str, at: Instant, award: str = "", known_at: int | None = None
    ) -> dict[str, tuple[str | None, str | None]]:
        """Performance and credited tier of every partner at an instant; of one award, where the rulebook has awards."""
        query = select(LEVELS.c.partner, LEVELS.c.performance, LEVELS.c.credited).where(LEVELS.c.award == award)
        query = query.where(LEVELS.c.programme == programme, *_at(LEVELS, at, known_at))
        with self._engine.connect() as connection:
            return {partner: (performance, credited) for partner, performance, credited in connection.execute(query)}

    def points_at(self, programme: str, at: Instant, known_at: int | None = None) -> dict[str, dict[str, Fraction]]:
        """The exact sum of each partner's lots by measure at an instant."""
        query = select(LOTS.c.partner, LOTS.c.measure, LOTS.c.exact, func.count())
        query = query.where(LOTS.c.programme == programme, *_at(LOTS, at, known_at))
        points: dict[str, dict[str, Fraction]] = {}
        with self._engine.connect() as connection:
            for partner, measure, exact, n in connection.execute(query.group_by(LOTS.c.partner, LOTS.c.measure, LOTS.c.exact)):
                sums = points.setdefault(partner, {})
                sums[measure] = sums.get(measure, Fraction(0)) + n * _exact(exact)
        return points

    def scores_at(self, programme: str, at: Instant, known_at: int | None = None) -> dict[str, tuple[str, Fraction]]:
        """The number by which a rulebook ranks, where it is not the sum of lots: its name and value."""
        query = select(SCORES.c.partner, SCORES.c.name, SCORES.c.exact).where(SCORES.c.programme == programme, *_at(SCORES, at, known_at))
        with self._engine.connect() as connection:
            return {partner: (name, _exact(exact)) for partner, name, exact in connection.execute(query)}

    def restated(self, after: int, until: int) -> list[Restated]:
        """What the commits at positions in (after, until] made another of past tiers, by position, partner and time."""
        view = views.RESTATEMENTS.select(postgres=on_postgres(self._engine))
        query = f"{view} AND r.known_until > {after:d} AND r.known_until <= {until:d} ORDER BY position, partner, programme, award, since"
        with self._engine.connect() as connection:
            return [Restated(*row) for row in connection.execute(sql(query))]

    def query(self, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The columns and rows of one statement that only reads. Raises QueryError, also for one that writes."""
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            if on_postgres(self._engine):
                cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
                connection.commit()
                cursor.execute(statement, prepare=True)  # type: ignore[call-arg]  # so that it is one statement
            else:
                cursor.execute("PRAGMA query_only = ON")
                cursor.execute(statement)
            if cursor.description is None:
                raise QueryError("the statement gives no rows", hint="it may read, and only read")
            return [column[0] for column in cursor.description], [tuple(map(_cell, row)) for row in cursor.fetchall()]
        except (connection.dbapi_connection.Error, self._engine.dialect.dbapi.Error) as error:  # type: ignore[union-attr]
            said = str(error).strip().partition("\n")[0]
            raise QueryError(said, hint="points schema lists the views and their columns") from error
        finally:
            connection.invalidate()

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table in a fixed order: for comparing with a fresh rebuild."""
        with self._engine.connect() as connection:
            return {
                table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr) for table in (*TABLES, PROGRESS)
            }


@lru_cache(maxsize=100_000)
def _exact(written: str) -> Fraction:
    return Fraction(written)


def _at(table: Table, at: Instant, known_at: int | None) -> list[ColumnElement[bool]]:
    """The rows of an instant as known at a position; None: as known now."""
    known = [table.c.known_until == ALWAYS] if known_at is None else [table.c.known_from <= known_at, table.c.known_until > known_at]
    return [table.c.since <= at, table.c.until > at, *known]


def _cell(value: Any) -> Any:
    """Times as texts, decimals as whole numbers where they are whole."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else str(value)
    return value


def _many(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    connection.exec_driver_sql(statement.replace("?", "%s") if on_postgres(connection) else statement, list(rows))


def _is_made(connection: Connection) -> bool:
    there = inspect(connection).has_table(MADE.name)
    return there and connection.execute(select(MADE.c.version)).scalars().all() == [SCHEMA]
