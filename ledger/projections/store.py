"""The read models: rows in two clocks, one partner at a time, and how far they have come.

A partner's rows are a function of its events, the commits that they came in, and the rulebooks: brought forward or made anew, they are
the same. They can be deleted at any time: the log makes them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from itertools import chain
from math import lcm
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    TextClause,
    delete,
    func,
    inspect,
    literal,
    select,
    true,
    update,
)
from sqlalchemy import Text as _Text
from sqlalchemy import text as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import TEXT
from sqlalchemy.sql import quoted_name

from ledger.engines import on_postgres, open_engine, put, upsert
from ledger.events.envelope import Sealed
from ledger.instants import BEGINNING, FOREVER, Instant
from ledger.projections import grants, rows, views
from ledger.projections.clocks import ALWAYS, Changes, Content, Identity, Payload
from ledger.projections.reader import Reader, plain_rows, reading
from ledger.projections.rows import Partner
from ledger.rules.library import Library

SCHEMA = 9
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
    Column("came", Text, nullable=False),
    Column("went", Text, nullable=False),
)
SCORES = _clocked(
    rows.SCORES,
    _key("programme"),
    Column("name", Text, nullable=False),
    Column("exact", Text, nullable=False),
    Column("micro", BigInteger, nullable=False),
)
INTERVALS = _clocked(
    rows.INTERVALS, _key("kind", "key", "position"), Column("detail", Text), *[Column(name, Text) for name in rows.WHERE],
    Column("ended_by", BigInteger),
)  # fmt: skip
BALANCES = Table(
    rows.BALANCES,
    METADATA,
    Column("partner", Text),
    Column("programme", Text),
    Column("since", BigInteger),
    Column("until", BigInteger, nullable=False),
    Column("performance", Text),
    Column("credited", Text),
    Column("book", Text, nullable=False),
    Column("enrolled", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("exact", Text, nullable=False),
    Column("micro", BigInteger, nullable=False),
    Column("known_from", BigInteger),
    Column("known_until", BigInteger, nullable=False),
    PrimaryKeyConstraint("programme", "since", "partner", "known_from"),
    sqlite_with_rowid=False,
)
"""Tiers and scores at the beginning of each month, in the order of the month: whoever asks about all partners reads them in one go, and
adds what changed within the month. The last one of a partner holds for all months to come."""

Index("balances_partner", BALANCES.c.partner)
Index(
    "balances_last",
    BALANCES.c.programme,
    BALANCES.c.since,
    sqlite_where=BALANCES.c.until == FOREVER,
    postgresql_where=BALANCES.c.until == FOREVER,
)
Index("levels_begun", LEVELS.c.programme, LEVELS.c.since)
Index("lots_begun", LOTS.c.programme, LOTS.c.since, LOTS.c.until, LOTS.c.known_until, LOTS.c.exact)
Index("lots_ended", LOTS.c.programme, LOTS.c.until, LOTS.c.since, LOTS.c.known_until, LOTS.c.exact)
Index("scores_begun", SCORES.c.programme, SCORES.c.since)
_RESTATED = LEVELS.c.known_until != ALWAYS  # with < it would be a bound, of which SQLite takes one: and read to the end of the log
Index("levels_restated", LEVELS.c.known_until, sqlite_where=_RESTATED, postgresql_where=_RESTATED)
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

JUDGED = Table(
    "judged",
    METADATA,
    Column("partner", Text, primary_key=True),
    Column("known", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("due", BigInteger, nullable=False),
)
"""As of when, and by what was known of a partner, it was last judged what is at risk, and until when that holds by itself."""

ENDANGERED = Table(
    "endangered",
    METADATA,
    Column("partner", Text, primary_key=True),
    Column("programme", Text, primary_key=True),
    Column("award", Text, primary_key=True),
    Column("credited", Text),
    Column("performance", Text),
    Column("at_risk_since", BigInteger),
    Column("why", Text),
    Column("tier_lost_at", BigInteger),
    Column("falls_to", Text),
    Column("requirement", Text),
    Column("missing", Text),
    Column("parked", Text),
    Column("answer", Text, nullable=False),
)
"""What is at risk of each partner that was judged; `answer` is the whole of it."""

Transaction = Connection
Made = tuple[str, Partner, Changes]
"""A partner, how far its rows have come, and what is to be written."""

Rows = dict[str, dict[str, list[tuple[Any, ...]]]]
"""By partner and table."""

CLOCKED = {table.name: table for table in (LEVELS, LOTS, SCORES, INTERVALS, BALANCES)}
TABLES = (PARTNERS, KNOWN, *CLOCKED.values())
LIVE: Mapping[str, Table] = {table.name: table for table in TABLES}
"""The tables that a store reads and writes, by name."""

BESIDE = MetaData()


def _beside(table: Table) -> Table:
    made = table.to_metadata(BESIDE, name=f"{table.name}_next")
    for index in made.indexes:
        index.name = quoted_name(f"{index.name}_next", None)
    return made


NEXT: Mapping[str, Table] = {name: _beside(table) for name, table in LIVE.items()}
"""Those that are made beside them: see `rebuild`."""

BEGUN = Table(
    "rebuilding",
    BESIDE,
    Column("begun_by", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    Column("run", BigInteger, nullable=False),
)
"""What is made beside: by which program, up to which position of which log, and in whose hands it is."""

NEVER_DUMPED = "verify"
"""What the names of marks begin with that say what was checked, and not how far the rows have come."""

_NAMES_MAX = 10_000


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


class Stood(NamedTuple):
    """What the rows say of one partner by one programme and award; `since` is that of its tiers, `book` is empty before its first fact."""

    programme: str
    award: str
    performance: str | None
    credited: str | None
    book: str
    enrolled: int
    since: Instant
    points: dict[str, Fraction]
    """By measure, where the measure is a sum of lots and there are any."""
    number: tuple[str, Fraction] | None
    """The number by which the rulebook ranks, where it is no sum of lots."""


class Balance(NamedTuple):
    """Tiers and score of a partner at an instant; `book` is empty before its first fact."""

    performance: str | None
    credited: str | None
    book: str
    enrolled: int
    score: Fraction


class Store:
    """The read models of one ledger, in one SQLite file or beside its log in PostgreSQL."""

    tables = LIVE

    def __init__(self, where: Path | str) -> None:
        hint = "delete the file and run rebuild: the log makes it anew"
        self.engine = open_engine(
            where, called="the read models", hint=hint, pragmas=("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-65536")
        )
        self._make()

    def _make(self) -> None:
        """The tables of this version: rows of another are dropped, and made anew from the log by the next command that writes."""
        with self.engine.begin() as connection:
            if is_made(connection):
                return
            hold_tables(connection)
            if is_made(connection):  # by another process meanwhile
                return
            postgres = on_postgres(connection)
            readers = grants.readers(connection) if postgres else {}
            for view in views.VIEWS:
                connection.exec_driver_sql(f"DROP VIEW IF EXISTS {view.name}")
            METADATA.drop_all(connection)
            BESIDE.drop_all(connection)
            for name in LIVE:
                drop_old(connection, name)
            METADATA.create_all(connection)
            make_views(connection)
            grants.grant(connection, readers)
            connection.execute(MADE.insert().values(version=SCHEMA))

    def beside(self) -> Store:
        """The same database, with the tables that are made beside those that are read."""
        other = copy(self)
        other.tables = NEXT
        return other

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: rows and the position that they rest on, or neither."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """To read from: all of one moment."""
        with self.engine.connect() as connection:
            if on_postgres(connection):
                connection.execution_options(isolation_level="REPEATABLE READ")
            else:
                connection.exec_driver_sql("BEGIN")
            yield connection

    def position(self, name: str = "project") -> int:
        with self.engine.connect() as connection:
            found = connection.execute(select(PROGRESS.c.position).where(PROGRESS.c.name == name)).scalar()
        return found or 0

    def mark(self, connection: Connection, position: int, name: str = "project") -> None:
        upsert(connection, PROGRESS, ["name"], {"name": name, "position": position})

    def mark_alone(self, connection: Connection, position: int, name: str) -> None:
        """Instead of all marks whose names begin with the same word."""
        connection.execute(delete(PROGRESS).where(PROGRESS.c.name.like(f"{name.partition(' ')[0]} %")))
        self.mark(connection, position, name)

    def advance(self, connection: Connection, topic_id: str, partition: int, first: int, next: int) -> bool:
        """Move a partition's offset, by compare-and-set; False where it was not at `first`."""
        of_it = (OFFSETS.c.topic_id == topic_id, OFFSETS.c.partition == partition)
        return connection.execute(update(OFFSETS).where(*of_it, OFFSETS.c.next == first).values(next=next)).rowcount == 1

    def offsets(self, topic_id: str, partitions: Iterable[int]) -> dict[int, int]:
        """Where to read on, by partition; the beginning of one that was never read."""
        wanted = set(partitions)
        with self.engine.begin() as connection:
            query = select(OFFSETS.c.partition, OFFSETS.c.next).where(OFFSETS.c.topic_id == topic_id)
            found = {partition: next for partition, next in connection.execute(query) if partition in wanted}
            for partition in sorted(wanted - found.keys()):
                upsert(connection, OFFSETS, ["topic_id", "partition"], {"topic_id": topic_id, "partition": partition, "next": 0})
        return found | dict.fromkeys(wanted - found.keys(), 0)

    def lock(self, connection: Connection, partners: Iterable[str], *, alone: bool = False) -> None:
        """Until the transaction ends nobody else applies these partners. `alone`, and on SQLite always: nobody applies anything."""
        if on_postgres(connection):
            everyone = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
            connection.exec_driver_sql(f"SELECT {everyone}(hashtext('points_ledger apply'), hashtext(current_schema()))")
            statement = (
                "SELECT pg_advisory_xact_lock(n) FROM (SELECT DISTINCT hashtextextended(p, 1) AS n FROM unnest(%s::text[]) AS p ORDER BY n)"
                " AS locks"
            )
            connection.exec_driver_sql(statement, (list(partners),))
        else:
            hold(connection)

    def lock_those_free(self, connection: Connection, partners: Sequence[str]) -> list[str]:
        """As `lock`, of those that nobody is applying now, without waiting for anybody: who holds other rows may ask."""
        if not on_postgres(connection):
            self.lock(connection, partners)
            return list(partners)
        everyone = "SELECT pg_try_advisory_xact_lock_shared(hashtext('points_ledger apply'), hashtext(current_schema()))"
        if not connection.exec_driver_sql(everyone).scalar():
            return []
        statement = "SELECT p FROM unnest(%s::text[]) AS p WHERE pg_try_advisory_xact_lock(hashtextextended(p, 1))"
        return list(connection.exec_driver_sql(statement, (list(partners),)).scalars())

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
        """Those that another process is looking at are left to it: it waits, and says what it will find."""
        at_hand = select(DUE.c.partner).with_for_update(skip_locked=True)
        connection.execute(delete(DUE).where(DUE.c.partner.in_(at_hand)))
        everyone = select(PARTNERS.c.partner, literal(BEGINNING).label("at")).where(true())
        insert = (postgresql if on_postgres(connection) else sqlite).insert(DUE)
        connection.execute(insert.from_select(["partner", "at"], everyone).on_conflict_do_nothing())

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
        connection.execute(delete(JUDGED).where(JUDGED.c.partner.in_(names)))
        for table in self.tables.values():
            connection.execute(delete(table).where(table.c.partner.in_(names)))
        self.write(connection, made)

    def write(self, connection: Connection, made: Sequence[Made]) -> None:
        """The rows of partners that have none yet."""
        put(connection, self.tables[PARTNERS.name], [(partner, *state) for partner, state, _ in made])
        self._put(connection, made)

    def change(self, connection: Connection, made: Sequence[Made]) -> None:
        """Bring the rows of partners forward from where they are."""
        names = PARTNERS.columns.keys()
        states = [dict(zip(names, (partner, *state), strict=True)) for partner, state, _ in made]
        upsert(connection, self.tables[PARTNERS.name], ["partner"], *states)
        for name in CLOCKED:
            self._edit(connection, name, self.tables[name], made)
        heads = [(*changes.head, partner) for partner, _, changes in made if changes.head is not None]
        if heads:
            _many(connection, f"UPDATE {self.tables[KNOWN.name].name} SET until = ? WHERE position = ? AND partner = ?", heads)
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
            _many(connection, f"DELETE FROM {table.name} WHERE {now}", gone)
        if changed:
            _many(connection, f"UPDATE {table.name} SET {', '.join(f'{column} = ?' for column in columns[until:-2])} WHERE {now}", changed)
        if ended:
            _many(connection, f"UPDATE {table.name} SET known_until = ? WHERE {now}", ended)

    def _put(self, connection: Connection, made: Sequence[Made]) -> None:
        new: dict[str, list[tuple[Any, ...]]] = {name: [] for name in CLOCKED}
        for partner, _, changes in made:
            for name, identity, until, payload, known_from, known_until in changes.new:
                new[name].append((partner, *identity, until, *payload, known_from, known_until))
        put(connection, self.tables[KNOWN.name], [(partner, *known) for partner, _, changes in made for known in changes.known])
        for name in CLOCKED:
            put(connection, self.tables[name], new[name])

    def states(self, connection: Connection, partners: Sequence[str]) -> dict[str, Partner]:
        """How far the rows of these have come; those that have none are not among them."""
        table, found = self.tables[PARTNERS.name], dict[str, Partner]()
        for first in range(0, len(partners), _NAMES_MAX):
            query = select(table).where(table.c.partner.in_(partners[first : first + _NAMES_MAX]))
            found.update({partner: Partner(*state) for partner, *state in connection.execute(query)})
        return found

    def rows(self, connection: Connection, partners: Sequence[str]) -> dict[str, Content]:
        """What is known now of each, by table and identity."""
        found: dict[str, dict[str, dict[Identity, tuple[Instant, Payload]]]] = {
            partner: {name: {} for name in CLOCKED} for partner in partners
        }
        for name in CLOCKED:
            table = self.tables[name]
            place = list(table.columns.keys()).index("until")
            for first in range(0, len(partners), _NAMES_MAX):
                asked = table.c.partner.in_(partners[first : first + _NAMES_MAX])
                for row in connection.execute(select(table).where(asked, table.c.known_until == ALWAYS)):
                    found[row[0]][name][tuple(row[1:place])] = row[place], tuple(row[place + 1 : -2])
        return dict(found)

    def all_rows(self, connection: Connection, partners: Sequence[str]) -> Rows:
        """Every row of these, by partner and table."""
        found: Rows = {}
        for name, table in self.tables.items():
            for row in connection.execute(select(table).where(table.c.partner.in_(partners))):
                found.setdefault(row[0], {}).setdefault(name, []).append(tuple(row))
        return found

    def names(self) -> set[str]:
        """Every partner that has a row in any table."""
        found: set[str] = set()
        with self.engine.connect() as connection:
            for table in self.tables.values():
                found.update(connection.execute(select(table.c.partner).distinct()).scalars())
        return found

    def known_after(self, position: int) -> set[str]:
        """The partners whose rows know a commit beyond a position."""
        with self.engine.connect() as connection:
            return set(connection.execute(select(PARTNERS.c.partner).where(PARTNERS.c.known > position)).scalars())

    def set_offsets(self, connection: Connection, topic_id: str, ends: Mapping[int, int]) -> None:
        """What was applied otherwise than message by message."""
        for partition, next in ends.items():
            upsert(connection, OFFSETS, ["topic_id", "partition"], {"topic_id": topic_id, "partition": partition, "next": next})

    def partners(self) -> dict[str, str | None]:
        """Every partner, with why it is parked."""
        with self.engine.connect() as connection:
            rows = connection.execute(select(PARTNERS.c.partner, PARTNERS.c.parked).order_by(PARTNERS.c.partner)).all()
        return {row[0]: row[1] for row in rows}

    def all_parked(self) -> dict[str, str]:
        """Every parked partner, with why."""
        query = select(PARTNERS.c.partner, PARTNERS.c.parked).where(PARTNERS.c.parked.is_not(None)).order_by(PARTNERS.c.partner)
        with self.engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def partners_of(self, programme: str, known_at: int) -> set[str]:
        """Those of a programme that were known at a position."""
        query = sql(f"SELECT DISTINCT partner FROM levels WHERE {_KNOWN_THEN} AND since = {BEGINNING}")
        with self.engine.connect() as connection:
            return set(connection.execute(query, {"programme": programme, "known_at": known_at}).scalars())

    def parked(self, partner: str) -> str | None:
        """Why a partner is parked; None where it is not."""
        with self.engine.connect() as connection:
            return connection.execute(select(PARTNERS.c.parked).where(PARTNERS.c.partner == partner)).scalar()

    def versions(self) -> dict[str, tuple[int, int]]:
        """Version and position up to which each partner was applied."""
        with self.engine.connect() as connection:
            rows = connection.execute(select(PARTNERS.c.partner, PARTNERS.c.version, PARTNERS.c.position)).all()
        return {partner: (version, position) for partner, version, position in rows}

    def known(self) -> dict[str, int]:
        """The last position of the last commit that each partner's rows know."""
        with self.engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(select(PARTNERS.c.partner, PARTNERS.c.known))}

    def unanswered(self, at: Instant, known_at: int) -> set[str]:
        """Partners of which the rows do not answer for an instant as known at a position: ask the engine."""
        last = (
            "SELECT until FROM known WHERE known.partner = partners.partner AND known.position <= :known_at "
            "ORDER BY known.position DESC LIMIT 1"
        )
        query = sql(f"SELECT partner FROM (SELECT partner, ({last}) AS until FROM partners) AS answers WHERE until <= :at")
        with self.engine.connect() as connection:
            if not connection.execute(select(PARTNERS.c.partner).where(PARTNERS.c.known > known_at).limit(1)).all():
                return set()  # what is known last answers for every instant
            return set(connection.execute(query, {"known_at": known_at, "at": at}).scalars())

    def balances_at(
        self, programme: str, at: Instant, known_at: int, summed: Callable[[str], Sequence[str] | None]
    ) -> Iterator[tuple[str, Balance]]:
        """Tiers and scores of all partners of a programme at an instant as known at a position, where the rows answer for it.

        `summed` gives, by the name of a rulebook, the measures of which its score is the sum, and None where it is none.
        """
        asked = {"programme": programme, "month": rows.month_of(at), "at": at, "known_at": known_at}
        with self.snapshot() as connection:
            begun = _all(connection, _BALANCES, asked)
            tiers = {row[0]: row[1:] for row in _all(connection, _TIERS_SINCE, asked)}
            scores = dict(_all(connection, _SCORES_SINCE, asked))
            came, went = (_all(connection, statement, asked) for statement in (_LOTS_BEGUN, _LOTS_ENDED))
            books = {row[0]: row[3] for row in begun}
            now = books | {partner: tier[2] for partner, tier in tiers.items()}
            changed = [partner for partner in tiers if books.get(partner) and now[partner] not in ("", books[partner])]
            anew = {partner for partner in changed if summed(now[partner]) != summed(books[partner])}  # another number by another rulebook
            lots = list(self._lots_of(connection, programme, sorted(anew), at, known_at))
        measures = {book: frozenset(summed(book) or ()) for book in {*now.values()} - {""}}
        unit, units = _in_units(chain((row[-1] for row in begun), (row[2] for row in chain(came, went, lots))))
        moved: dict[str, int] = {}
        for steps, sign in ((came, 1), (went, -1), (lots, 0)):
            for partner, measure, exact in steps:
                if measure in measures.get(now.get(partner, ""), ()) and (partner in anew) == (sign == 0):
                    moved[partner] = moved.get(partner, 0) + (sign or 1) * units[exact]
        for partner, performance, credited, book, enrolled, exact in begun:
            if partner in tiers:
                performance, credited, book, enrolled = tiers[partner]
            if not book or summed(book) is None:
                score = _exact(scores.get(partner, exact))
            else:
                score = Fraction(moved.get(partner, 0) + (0 if partner in anew else units[exact]), unit)
            yield partner, Balance(performance, credited, book, enrolled, score)

    def stood(self, partner: str, at: Instant, known_at: int) -> list[Stood] | None:
        """Tiers and points of one partner at an instant as known at a position, by programme and award; None where no row answers."""
        asked = {"partner": partner, "at": at, "known_at": known_at}
        with self.snapshot() as connection:
            answers = connection.execute(_ANSWERS, asked).scalar()
            if answers is None or answers <= at:
                return None
            levels = connection.execute(_OWN_TIERS, asked).all()
            scores = {row[0]: (row[1], _exact(row[2])) for row in connection.execute(_OWN_SCORES, asked)}
            points: dict[str, dict[str, list[str]]] = {}
            for programme, measure, exact in _all(connection, _OWN_LOTS, asked):
                points.setdefault(programme, {}).setdefault(measure, []).append(exact)
        found = []
        for programme, award, performance, credited, book, enrolled, since in levels:
            sums = {name: _sum(lots) for name, lots in points.get(programme, {}).items()}
            found.append(Stood(programme, award, performance, credited, book, enrolled, since, sums, scores.get(programme)))
        return found

    def _lots_of(self, connection: Connection, programme: str, partners: Sequence[str], at: Instant, known_at: int) -> Iterator[Any]:
        query = select(LOTS.c.partner, LOTS.c.measure, LOTS.c.exact).where(LOTS.c.programme == programme, *_at(LOTS, at, known_at))
        for first in range(0, len(partners), _NAMES_MAX):
            yield from connection.execute(query.where(LOTS.c.partner.in_(partners[first : first + _NAMES_MAX])))

    def levels_at(
        self, programme: str, at: Instant, award: str = "", known_at: int | None = None
    ) -> dict[str, tuple[str | None, str | None]]:
        """Performance and credited tier of every partner at an instant; of one award, where the rulebook has awards."""
        query = select(LEVELS.c.partner, LEVELS.c.performance, LEVELS.c.credited).where(LEVELS.c.award == award)
        query = query.where(LEVELS.c.programme == programme, *_at(LEVELS, at, known_at))
        with self.engine.connect() as connection:
            return {partner: (performance, credited) for partner, performance, credited in connection.execute(query)}

    def points_at(self, programme: str, at: Instant, known_at: int | None = None) -> dict[str, dict[str, Fraction]]:
        """The exact sum of each partner's lots by measure at an instant."""
        query = select(LOTS.c.partner, LOTS.c.measure, LOTS.c.exact, func.count())
        query = query.where(LOTS.c.programme == programme, *_at(LOTS, at, known_at))
        points: dict[str, dict[str, Fraction]] = {}
        with self.engine.connect() as connection:
            for partner, measure, exact, n in connection.execute(query.group_by(LOTS.c.partner, LOTS.c.measure, LOTS.c.exact)):
                sums = points.setdefault(partner, {})
                sums[measure] = sums.get(measure, Fraction(0)) + n * _exact(exact)
        return points

    def scores_at(self, programme: str, at: Instant, known_at: int | None = None) -> dict[str, tuple[str, Fraction]]:
        """The number by which a rulebook ranks, where it is not the sum of lots: its name and value."""
        query = select(SCORES.c.partner, SCORES.c.name, SCORES.c.exact).where(SCORES.c.programme == programme, *_at(SCORES, at, known_at))
        with self.engine.connect() as connection:
            return {partner: (name, _exact(exact)) for partner, name, exact in connection.execute(query)}

    def restated(self, after: int, until: int) -> list[Restated]:
        """What the commits at positions in (after, until] made another of past tiers, by position, partner and time."""
        with self.engine.connect() as connection:
            found = connection.execute(_restated(on_postgres(connection)), {"after": after, "until": until})
            return [Restated(*row) for row in found]

    def grants(self, role: str, names: Sequence[str] | None = None) -> list[str]:
        """The statements that let a role of PostgreSQL read views, default all of them."""
        with self.engine.connect() as connection:
            return grants.statements(connection, role, names)

    def reading(self) -> AbstractContextManager[Reader]:
        """One snapshot, for statements of anybody. Raises QueryError."""
        return reading(self.engine)

    def query(self, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The columns and rows of one statement that only reads. Raises QueryError, also for one that writes."""
        with self.reading() as reader:
            columns, found = reader.select(statement)
            return columns, list(plain_rows(found))

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table in a fixed order: for comparing with a fresh rebuild."""
        with self.engine.connect() as connection:
            return {
                table.name: sorted((tuple(row) for row in connection.execute(query)), key=repr)
                for table, query in [
                    *[(table, select(table)) for table in TABLES],
                    (PROGRESS, select(PROGRESS).where(PROGRESS.c.name.not_like(f"{NEVER_DUMPED} %"))),
                ]
            }


def hold(connection: Connection) -> None:
    """On SQLite: be the one that writes from here on, and not only from the first row that is written."""
    if not on_postgres(connection) and not connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@cache
def _restated(postgres: bool) -> TextClause:
    found = f"{views.RESTATEMENTS.select(postgres=postgres)} AND r.known_until > :after AND r.known_until <= :until"
    return sql(f"{found} ORDER BY position, partner, programme, award, since")


@lru_cache(maxsize=100_000)
def _exact(written: str) -> Fraction:
    return Fraction(*_parts(written))


def _parts(written: str) -> tuple[int, int]:
    whole, _, parts = written.partition("/")
    return int(whole), int(parts or 1)


def _in_units(written: Iterable[str]) -> tuple[int, dict[str, int]]:
    """How many parts of a whole make numbers as they are written whole ones, and these by what is written."""
    numbers = {exact: _parts(exact) for exact in set(written)}
    unit = lcm(*{parts for _, parts in numbers.values()})
    return unit, {exact: whole * (unit // parts) for exact, (whole, parts) in numbers.items()}


def _sum(written: Iterable[str]) -> Fraction:
    """The sum of numbers as they are written: those of the same parts of a whole first."""
    sums: dict[str, int] = {}
    for exact in written:
        whole, _, parts = exact.partition("/")
        sums[parts] = sums.get(parts, 0) + int(whole)
    return sum((Fraction(whole, int(parts or 1)) for parts, whole in sums.items()), Fraction(0))


_KNOWN_THEN = "programme = :programme AND known_from <= :known_at AND known_until > :known_at"
_BALANCE = "SELECT partner, performance, credited, book, enrolled, exact FROM balances WHERE " + _KNOWN_THEN
_BALANCES = sql(
    f"{_BALANCE} AND since = :month UNION ALL {_BALANCE} AND since < :month AND until = {FOREVER} "
    f"UNION ALL {_BALANCE} AND since = {BEGINNING} AND until > :month AND until < {FOREVER}"
)
_SINCE = _KNOWN_THEN + " AND since > :month AND since <= :at AND until > :at"
_TIERS_SINCE = sql(f"SELECT partner, performance, credited, book, enrolled FROM levels WHERE award = '' AND {_SINCE}")
_SCORES_SINCE = sql(f"SELECT partner, exact FROM scores WHERE {_SINCE}")
_LOTS_BEGUN = sql(f"SELECT partner, measure, exact FROM lots WHERE {_SINCE}")
_OWN = "partner = :partner AND since <= :at AND until > :at AND known_from <= :known_at AND known_until > :known_at"
_OWN_TIERS = sql(
    f"SELECT programme, award, performance, credited, book, enrolled, since FROM levels WHERE {_OWN} ORDER BY programme, award"
)
_OWN_SCORES = sql(f"SELECT programme, name, exact FROM scores WHERE {_OWN}")
_OWN_LOTS = sql(f"SELECT programme, measure, exact FROM lots WHERE {_OWN}")
_ANSWERS = sql("SELECT until FROM known WHERE partner = :partner AND position <= :known_at ORDER BY position DESC LIMIT 1")
_LOTS_ENDED = sql(f"SELECT partner, measure, exact FROM lots WHERE {_KNOWN_THEN} AND until > :month AND until <= :at AND since <= :month")


def _at(table: Table, at: Instant, known_at: int | None) -> list[ColumnElement[bool]]:
    """The rows of an instant as known at a position; None: as known now."""
    known = [table.c.known_until == ALWAYS] if known_at is None else [table.c.known_from <= known_at, table.c.known_until > known_at]
    return [table.c.since <= at, table.c.until > at, *known]


def _all(connection: Connection, statement: TextClause, asked: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
    """Rows as the driver has them: of a hundred thousand partners the wrapping of each takes longer than the statement."""
    cursor = connection.execute(statement, asked).cursor
    assert cursor is not None, "a statement that gives rows"
    return cursor.fetchall()


def _many(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    connection.exec_driver_sql(statement.replace("?", "%s") if on_postgres(connection) else statement, list(rows))


def hold_tables(connection: Connection) -> None:
    """Until the transaction ends nobody else makes or drops tables."""
    if on_postgres(connection):
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('read_models make'))")
    hold(connection)


def drop_old(connection: Connection, name: str) -> None:
    """What a rebuild has put aside."""
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}_old")


def make_views(connection: Connection) -> None:
    """The views over the tables as they are now; on PostgreSQL whoever may read one still may."""
    postgres = on_postgres(connection)
    for view in views.VIEWS:
        for statement in (view.sql(postgres=postgres), *(view.comments() if postgres else ())):
            connection.execute(sql(statement.replace(":", "\\:")))


def is_made(connection: Connection) -> bool:
    """Whether the tables of this version are there."""
    there = inspect(connection).has_table(MADE.name)
    return there and connection.execute(select(MADE.c.version)).scalars().all() == [SCHEMA]
