"""The rows of all partners made anew beside those that are read, and then put in their place.

1 begin, or go on with what an earlier run has made; 2 make what is not made yet, and bring forward what was made before the last events;
3 hold the new rows against the old ones; 4 with nobody else applying, bring forward the rest, and put the new tables in the place of the
old ones. Until the commit of 4 readers and stations have the old tables, all of them; after it the new ones.

A partner's rows are the same, made anew or brought forward. So it does not matter who made them, in which run, and up to which position:
only that it was this program, of this log.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from hashlib import sha256
from importlib import resources
from importlib.resources.abc import Traversable
from secrets import randbits
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, Index, delete, inspect, select, update
from sqlalchemy.sql import quoted_name

from ledger.engines import on_postgres
from ledger.errors import LedgerError, LogError
from ledger.projections import rows, views
from ledger.projections.compare import Difference, first_difference
from ledger.projections.questions import History
from ledger.projections.spread import Each, how_many, pages, pages_by_size, spread
from ledger.projections.store import (
    BEGUN,
    BESIDE,
    JUDGED,
    LIVE,
    NEXT,
    PARTNERS,
    PROGRESS,
    SCHEMA,
    Made,
    Store,
    drop_old,
    hold,
    hold_tables,
    is_made,
    make_views,
)
from ledger.rules.library import Library

FEW_EVENTS, FEW_PARTNERS = 1_000, 500
"""So many are brought forward while everybody waits."""

ROUNDS, TRIES = 5, 100
LOCK_TIMEOUT = "1500ms"
"""How long those who begin to read wait for one who does not end, before the new tables stand back for another try."""

T = TypeVar("T")
Progress = Callable[[int, int], None]


class Overtaken(LedgerError):
    """Another rebuild goes on with what this one has made."""

    code = "rebuild_overtaken"
    exit_code = 6


class Rebuilt(NamedTuple):
    """What was made, and in what the rows that were there differed from it."""

    partners: int
    position: int
    before: int
    """So many were made by an earlier run that was stopped."""

    differing: int
    """Partners whose old rows were not what the log makes, as far as they had come."""

    first: Difference | None


class Page(NamedTuple):
    new: list[Made]
    changed: list[Made]


class Held(NamedTuple):
    """Old rows held against new ones: the names of those of whom it can be told, what differs of them, and the others."""

    told: list[str]
    differences: list[Difference]
    untold: list[str]
    """The old ones had not come so far."""


class Maker:
    """Makes rows, and holds them against those that are there: what each process has one of."""

    def __init__(self, history: History, store: Store) -> None:
        self.history = history
        self.store = store
        self.beside = store.beside()
        self._library: tuple[int, Library] = -1, Library()

    def library(self, until: int) -> Library:
        if self._library[0] != until:
            self._library = until, Library(self.history.published(until))
        return self._library[1]

    def made(self, connection: Connection, names: Sequence[str], until: int) -> Page:
        """Their rows at a position: from nothing, or from where they are."""
        library, states = self.library(until), self.beside.states(connection, names)
        ruled = max([self.history.ends(change.position) for change in library.changes()], default=0)
        known = self.history.histories(dict.fromkeys(names, 0), until)
        later = [name for name, state in states.items() if known[name][-1].position > state.position or ruled > state.known]
        stored, page = self.beside.rows(connection, later), Page([], [])
        for name, events in known.items():
            if name not in states and events:
                page.new.append((name, *rows.advanced(events, library, self.history.ends, until)))
        for name in later:
            forward = rows.advanced(known[name], library, self.history.ends, until, states[name], stored[name])
            page.changed.append((name, *forward))
        return page

    def make(self, names: Sequence[str], until: int, run: int, write: bool) -> tuple[int, Page | None]:
        """How many partners, and what was made of them. `write`: it is written already."""
        with self.beside.snapshot() as connection:
            page = self.made(connection, names, until)
        if not write:
            return len(names), page
        self.write(page, run)
        return len(names), None

    def write(self, page: Page, run: int) -> None:
        with self.beside.writing() as connection:
            in_hand(connection, run)
            self.put(connection, page)

    def put(self, connection: Connection, page: Page) -> None:
        self.beside.write(connection, page.new)
        self.beside.change(connection, page.changed)

    def hold(self, names: Sequence[str], applied: int) -> Held:
        with self.store.snapshot() as connection:
            return self.held(connection, names, applied)

    def held(self, connection: Connection, names: Sequence[str], applied: int, *, last: bool = False) -> Held:
        """`applied`: up to there the old rows are said to have come. `last`: whom the log has not now, it never had."""
        old, new = self.store.states(connection, names), self.beside.states(connection, names)
        told = [name for name in names if name in new and (old.get(name) == new[name] or new[name].known <= applied)]
        strangers = [name for name in names if name not in new and last]
        ours, theirs = self.beside.all_rows(connection, told), self.store.all_rows(connection, [*told, *strangers])
        found = [first_difference(name, ours.get(name, {}), theirs.get(name, {})) for name in sorted([*told, *strangers])]
        asked = {*told, *strangers}
        return Held(sorted(asked), [each for each in found if each is not None], [name for name in names if name not in asked])

    def others(self, after: int, until: int) -> list[str]:
        """Whose rows are not the same at two positions."""
        if any(after < change.position for change in self.library(until).changes()):
            return self.history.partners()
        return self.history.touched(after, until)


def rebuild(
    history: History, store: Store, progress: Progress = lambda done, of: None, *, applied: int | None = None, fresh: bool = False,
    processes: int | None = 1, open_parts: Callable[[], tuple[History, Store]] | None = None,
) -> Rebuilt:  # fmt: skip
    """Make all rows anew.

    `applied`: up to which position the old rows have come, at least; default their mark. `fresh`: go on with nothing. `open_parts`:
    what another process opens; None: there is only this one. Raises Overtaken and LogError; then the old rows are untouched.
    """
    rebuilding = Rebuilding(Maker(history, store), store.position() if applied is None else applied, fresh)
    missing = rebuilding.missing()
    count = how_many(processes, len(missing)) if open_parts is not None else 1
    opened = partial(_opened, open_parts) if open_parts is not None and count > 1 else lambda: rebuilding.maker
    with spread(opened, count) as each:
        rebuilding.advance(each, missing, progress)
    return rebuilding.switch()


class Rebuilding:
    """One run: how far it has come, and what it has found."""

    def __init__(self, maker: Maker, applied: int, fresh: bool) -> None:
        self.maker = maker
        self._applied = applied
        self._run, self._position = begin(maker.history, maker.store, fresh)
        self._before = 0
        self._differences: dict[str, Difference] = {}
        self._untold: set[str] = set()

    def missing(self) -> list[str]:
        """Those that no earlier run has made."""
        with self.maker.store.snapshot() as connection:
            there = set(connection.execute(select(NEXT[PARTNERS.name].c.partner)).scalars())
        self._before = len(there)
        return [name for name in self.maker.history.partners() if name not in there]

    def advance(self, each: Each, missing: Sequence[str], progress: Progress) -> None:
        """Make what is missing, and follow the log until only a few partners are left for the switch."""
        maker, names = self.maker, set[str](missing)
        for n in range(ROUNDS):
            names |= self._follow(each, names, progress)
            if n == 0:
                _index(maker.store)
                names = maker.store.names() | maker.beside.names()
                if on_postgres(maker.store.engine):
                    _analyze(maker.store)
            for held in each(Maker.hold, pages(sorted(names)), self._applied, in_order=False):
                self._take(held)
            names = set()
            if len(maker.others(self._position, maker.history.head())) <= FEW_PARTNERS:
                return

    def _follow(self, each: Each, missing: set[str], progress: Progress) -> set[str]:
        """Make these, and bring forward what was touched since; whom that was."""
        history, found, behind = self.maker.history, set[str](), 0
        while True:
            head, before = history.head(), behind
            names = sorted({*missing, *self.maker.others(self._position, head)})
            self._make(each, names, head, progress)
            self._mark(head)
            found, missing, behind = found | set(names), set(), history.head() - head
            if behind <= FEW_EVENTS or 0 < before <= behind:
                return found

    def _make(self, each: Each, names: Sequence[str], head: int, progress: Progress) -> None:
        """On PostgreSQL each process writes what it makes; an SQLite file has one writer, and that is this process."""
        done, of = self._before, self._before + len(names)
        parts = pages_by_size(names, self.maker.history.sizes() if len(names) > FEW_PARTNERS else {})
        writes = on_postgres(self.maker.store.engine)
        for many, page in each(Maker.make, parts, head, self._run, writes, in_order=False):
            if page is not None:
                self.maker.write(page, self._run)
            done += many
            progress(done, of)

    def _mark(self, position: int) -> None:
        with self.maker.store.writing() as connection:
            in_hand(connection, self._run)
            connection.execute(update(BEGUN).values(position=position, hash=_hash(self.maker.history, position)))
        self._position = position

    def _take(self, held: Held) -> None:
        for name in (*held.told, *held.untold):
            self._differences.pop(name, None)
        self._differences.update({each.partner: each for each in held.differences})
        self._untold = (self._untold | set(held.untold)) - set(held.told)

    def switch(self) -> Rebuilt:
        done = _patiently(self._switch)
        _patiently(lambda: _clear_away(self.maker.store))
        return done

    def _switch(self) -> Rebuilt:
        maker, store = self.maker, self.maker.store
        with store.writing() as connection:
            store.lock(connection, (), alone=True)
            hold_tables(connection)
            in_hand(connection, self._run)
            head = maker.history.head()
            late = maker.others(self._position, head)
            for names in pages(late):
                maker.put(connection, maker.made(connection, names, head))
            for names in pages(sorted({*self._untold, *late})):
                self._take(maker.held(connection, names, self._applied, last=True))
            count = len(connection.execute(select(NEXT[PARTNERS.name].c.partner)).all())
            (_exchange_on_postgres if on_postgres(connection) else _exchange)(connection)
            connection.execute(delete(PROGRESS))
            store.mark(connection, head)
            store.look_again_at_all(connection)
        first = min(self._differences, default=None)
        return Rebuilt(count, head, self._before, len(self._differences), None if first is None else self._differences[first])


def begin(history: History, store: Store, fresh: bool) -> tuple[int, int]:
    """The number of this run, and up to which position what is there is right: nothing, unless this program began it of this log."""
    run = randbits(62)
    _clear_away(store)
    with store.writing() as connection:
        hold_tables(connection)
        _check(connection)
        found = connection.execute(select(BEGUN)).first() if inspect(connection).has_table(BEGUN.name) else None
        head = history.head()
        _name_indexes(connection)
        if found is not None and not fresh and found.begun_by == program() and _hash(history, min(found.position, head)) == found.hash:
            connection.execute(update(BEGUN).values(run=run))
            return run, found.position
        BESIDE.drop_all(connection)
        BESIDE.create_all(connection)
        for index in _in_order_of_time():
            index.drop(connection)
        connection.execute(BEGUN.insert().values(begun_by=program(), position=head, hash=_hash(history, head), run=run))
        return run, head


def _in_order_of_time() -> list[Index]:
    """The indexes that are made when the rows are there: partner by partner each of them would be written all over."""
    return [index for table in NEXT.values() for index in table.indexes if "partner" not in index.columns]


def _name_indexes(connection: Connection) -> None:
    """SQLite cannot rename an index, and making one takes long: of two names the old tables have one, the new ones the other."""
    there = inspect(connection)
    for name, table in NEXT.items():
        taken = {index["name"] for index in there.get_indexes(name)}
        for index in table.indexes:
            plain = str(index.name).removesuffix("_next")
            index.name = quoted_name(plain if f"{plain}_next" in taken else f"{plain}_next", None)


def in_hand(connection: Connection, run: int) -> None:
    """That no other run has begun, nor does until the transaction ends. Raises Overtaken."""
    hold(connection)
    query = select(BEGUN.c.run).where(BEGUN.c.run == run).with_for_update(read=True)
    if not inspect(connection).has_table(BEGUN.name) or connection.execute(query).first() is None:
        raise Overtaken("another rebuild has begun, and goes on with what this one has made", hint="wait for it")


def _check(connection: Connection) -> None:
    if not is_made(connection):
        what = "the read models were made anew by another version of this program"
        raise LogError(what, hint="use one version of the program", code="side_version")


@cache
def program() -> str:
    """What makes the rows: the tables, the code and the rulebooks of this program."""
    digest = sha256(str(SCHEMA).encode())
    for file in _sources(resources.files("ledger")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _sources(folder: Traversable) -> Iterable[Traversable]:
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            yield from _sources(entry)
        elif entry.name.endswith((".py", ".yaml")):
            yield entry


def _hash(history: History, position: int) -> str:
    """Tells one log from another."""
    return f"{position} {history.get(position).hash.hex()}" if position else ""


def _opened(open_parts: Callable[[], tuple[History, Store]]) -> Maker:
    return Maker(*open_parts())


def _index(store: Store) -> None:
    with store.writing() as connection:
        for index in _in_order_of_time():
            index.create(connection, checkfirst=True)


def _analyze(store: Store) -> None:
    """So that the server knows the new tables when the first question comes."""
    with store.writing() as connection:
        for table in NEXT.values():
            connection.exec_driver_sql(f"ANALYZE {table.name}")


def _patiently(do: Callable[[], T]) -> T:
    """Try until nobody who reads or writes holds the tables for long."""
    for tries in range(TRIES):
        try:
            return do()
        except LogError as error:
            if error.code != "side_busy" or tries + 1 == TRIES:
                raise
            time.sleep(1)
    raise AssertionError


def _clear_away(store: Store) -> None:
    """The old tables, one by one: an SQLite file takes some seconds for a large one, in which nobody else can write."""
    for name in LIVE:
        with store.writing() as connection:
            drop_old(connection, name)


def _exchange(connection: Connection) -> None:
    _check(connection)
    for view in views.VIEWS:
        connection.exec_driver_sql(f"DROP VIEW {view.name}")
    for name, table in NEXT.items():
        connection.exec_driver_sql(f"ALTER TABLE {name} RENAME TO {name}_old")
        connection.exec_driver_sql(f"ALTER TABLE {table.name} RENAME TO {name}")
    BEGUN.drop(connection)
    connection.execute(delete(JUDGED))
    make_views(connection)


def _exchange_on_postgres(connection: Connection) -> None:
    """Views first, as those who ask come by them: so nobody waits for us who holds what we wait for."""
    _check(connection)
    connection.exec_driver_sql(f"LOCK TABLE {', '.join(table.name for table in NEXT.values())} IN ACCESS EXCLUSIVE MODE")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
    connection.exec_driver_sql(f"LOCK TABLE {', '.join([*[view.name for view in views.VIEWS], *LIVE])} IN ACCESS EXCLUSIVE MODE")
    for name, table in NEXT.items():
        connection.exec_driver_sql(f"ALTER TABLE {name} RENAME TO {name}_old")
        connection.exec_driver_sql(f"ALTER TABLE {table.name} RENAME TO {name}")
    make_views(connection)
    connection.execute(delete(JUDGED))
    for name in LIVE:
        connection.exec_driver_sql(f"DROP TABLE {name}_old")  # which takes no time here
        indexes = connection.exec_driver_sql("SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = %s::regclass", (name,))
        for index in indexes.scalars().all():
            connection.exec_driver_sql(f"ALTER INDEX {index} RENAME TO {index.replace('_next', '')}")
    BEGUN.drop(connection)
