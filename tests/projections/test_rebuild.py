"""A rebuild beside the rows that are read: the same rows, old or new and never half, whoever dies or records meanwhile. On both databases."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import create_engine, event, inspect, select, text
from sqlalchemy.engine import Engine

from cli import _kept
from consumers.bus import InProcessBus
from consumers.project import Project
from consumers.relay import Relay
from ledger.events.envelope import Event
from ledger.events.envelope import event as made_event
from ledger.history import History
from ledger.instants import BEGINNING, parse
from ledger.intake import Intake
from ledger.log import Log
from ledger.projections import rebuild as rebuilding
from ledger.projections import spread
from ledger.projections.rebuild import Maker, Overtaken, Rebuilding, begin
from ledger.projections.store import ANNOUNCED, BESIDE, DUE, LIVE, OFFSETS, Store
from ledger.projections.views import VIEWS
from ledger.settings import Settings
from tests.test_kill import Child, published

NAMES = [f"P-{n}" for n in range(7)]


def sale(partner: str, n: int, on: str = "2024-05-01") -> Event:
    data = {"client": "C", "line": "hub", "amount": str(100 * n + 7), "currency": "EUR", "deal_type": "sourced"}
    return made_event("points.sold.v1", subject=partner, effective_at=on, id=f"{partner} {n}", **data)


class Ground:
    """A ledger with its read models, that records and applies as the commands do."""

    def __init__(self, where: Path | str) -> None:
        self.where = where
        self.read = where if isinstance(where, str) else where.with_suffix(".read.db")
        self.log, self.store = Log(where), Store(self.read)
        self.history = History(self.log)
        self.times = iter(range(parse("2024-08-01"), parse("2025-08-01"), 3_600_000_000))
        self.project = Project(InProcessBus(), self.history, self.store)
        self.live, self.bus = Store(self.read), InProcessBus()
        self.station = Project(self.bus, self.history, self.live)

    def record(self, *events: Event) -> None:
        Intake(self.log, lambda: next(self.times)).record(list(events))

    def catch_up(self) -> None:
        relay = Relay(self.log, self.bus, self.live.position())
        while relay.step():
            pass
        while self.station.step():
            pass

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        return self.store.dump()

    def fresh(self) -> dict[str, list[tuple[Any, ...]]]:
        store = Store(":memory:")
        Project(InProcessBus(), self.history, store).rebuild()
        return store.dump()

    def spoil(self, *statements: str) -> dict[str, list[tuple[Any, ...]]]:
        with self.store.writing() as connection:
            for statement in statements:
                connection.execute(text(statement))
        return self.rows()

    def close(self) -> None:
        self.log.close()
        self.live.close()
        self.store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    return tmp_path / "ledger.db" if request.param == "sqlite" else str(request.getfixturevalue("postgres"))


@pytest.fixture
def ground(where: Path | str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    monkeypatch.setattr(spread, "PARTNERS_AT_ONCE", 2)
    ground = Ground(where)
    for n in range(1, 5):
        ground.record(*[sale(name, n, f"2024-0{n}-15") for name in NAMES[n % 2 :]])
        ground.catch_up()
    yield ground
    ground.close()


def copied(table: str, where: str, **changed: str) -> str:
    """A statement that puts a row there again, with some columns changed."""
    columns = LIVE[table].columns.keys()
    told = ", ".join(f"'{changed[name]}'" if name in changed else name for name in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {told} FROM {table} WHERE {where}"


WRONG = ("UPDATE lots SET exact = '51', micro = 51000000",)


def indexes(of: Any, table: str) -> set[tuple[Any, ...]]:
    """On SQLite an index has one of two names."""
    on_sqlite = of.engine.dialect.name == "sqlite"
    return {(str(each["name"]).removesuffix("_next" if on_sqlite else " "), *each["column_names"]) for each in of.get_indexes(table)}


def nothing_is_left(ground: Ground) -> None:
    """Tables, views and indexes are called as they were made, and nothing lies beside them."""
    other = Store(ground.read if isinstance(ground.read, str) else ":memory:")
    with ground.store.writing() as connection, other.writing() as anew:
        there, wanted = inspect(connection), inspect(anew)
        assert there.get_table_names() == wanted.get_table_names() and there.get_view_names() == wanted.get_view_names()
        assert not {table.name for table in BESIDE.tables.values()} & set(there.get_table_names())
        for table in wanted.get_table_names():
            assert indexes(there, table) == indexes(wanted, table)
            assert "_next" not in str(there.get_pk_constraint(table)["name"])
    other.close()


def test_the_rows_are_those_of_the_live_path(ground: Ground) -> None:
    before = ground.rows()
    for _ in range(2):
        done = ground.project.rebuild()
        assert (done.partners, done.position, done.before, done.differing, done.first) == (7, ground.log.head(), 0, 0, None)
        assert ground.rows() == before == ground.fresh()
        nothing_is_left(ground)
    for view in VIEWS:
        assert ground.store.query(f"SELECT * FROM {view.name}")[0]


@pytest.mark.parametrize(
    ("statement", "count", "first"),
    [
        (WRONG[0], 7, "P-0, lots: programme='hubspot' measure='sold' position=7 since=2024-02-15T00:00:00Z"),
        ("DELETE FROM lots WHERE partner = 'P-3'", 1, "the read models have no such row, the log makes"),
        (copied("lots", "partner = 'P-4'", measure="made up"), 1, "measure='made up'"),
        (copied("partners", "partner = 'P-1'", partner="Q"), 1, "Q, partners: the log makes no such row"),
        ("UPDATE partners SET version = version - 1 WHERE partner = 'P-6'", 1, "the log makes version=4, the read models have version=3"),
    ],
    ids=["changed", "deleted", "invented", "partner invented", "behind its mark"],
)  # fmt: skip
def test_what_the_old_rows_had_wrong_is_told(ground: Ground, statement: str, count: int, first: str) -> None:
    right = ground.rows()
    ground.spoil(statement)
    done = ground.project.rebuild()
    assert done.differing == count and first in str(done.first)
    assert ground.rows() == right


def test_rows_that_have_not_come_so_far_are_not_wrong(ground: Ground) -> None:
    ground.record(sale("P-0", 9), sale("P-9", 1))
    done = ground.project.rebuild()
    assert (done.differing, done.partners) == (0, 8)
    assert ground.rows() == ground.fresh()


# -- kills ----------------------------------------------------------------------------------------------------------------


@contextmanager
def effects(effect: Callable[[str], None]) -> Iterator[None]:
    """Called before each statement to any database of rows, and before each commit."""

    def statement(_: Any, __: Any, said: str, *___: Any) -> None:
        effect(said)

    def commit(_: Any) -> None:
        effect("COMMIT")

    event.listen(Engine, "before_cursor_execute", statement)
    event.listen(Engine, "commit", commit)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", statement)
        event.remove(Engine, "commit", commit)


def rebuilt(where: Path | str, death: int = -1) -> int:
    """In a process of its own, which dies before an effect: 0 done, 1 more effects than that."""
    ground, done = Ground(where), 0

    def effect(said: str) -> None:
        nonlocal done
        done += 1
        if done == death:
            os.kill(os.getpid(), signal.SIGKILL)

    with effects(effect):
        ground.project.rebuild()
    return 0


def said_of(ground: Ground) -> list[str]:
    done: list[str] = []
    with effects(done.append):
        ground.project.rebuild()
    return done


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that can fork")
def test_killed_at_any_effect_it_leaves_the_old_rows_and_goes_on(ground: Ground) -> None:
    said, right, gone_on = said_of(ground), ground.rows(), set()
    wrong, count = ground.spoil(*WRONG), len(said)
    switched = max(n for n, statement in enumerate(said, start=1) if "partners_old" in statement and "EXISTS" in statement)
    begun = {n for n, statement in enumerate(said, start=1) if "INSERT INTO partners_next" in statement}
    deaths = sorted({*range(8, count, count // 8), *begun, *range(switched - 12, switched + 3)})
    for death in deaths:
        ground.spoil(*WRONG)
        assert Child(lambda death=death: rebuilt(ground.where, death)).died(), (death, count)  # type: ignore[misc]
        assert ground.rows() == (wrong if death < switched else right), f"killed before effect {death} of {count}: {said[death - 1]}"
        if death % 3 == 0 and death not in begun:  # in the middle of what was left
            Child(lambda: rebuilt(ground.where, 25)).died()
            assert ground.rows() in (wrong, right)
        done = ground.project.rebuild()
        assert ground.rows() == right
        gone_on.add(done.before)
    assert {0, 2, 4, 6, 7} <= gone_on, "each page that was written is gone on with"
    nothing_is_left(ground)


def stopped(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebuild that is stopped by Ctrl-C after it has made some."""
    with monkeypatch.context() as patch:
        patch.setattr(Rebuilding, "switch", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ground.project.rebuild()


def test_what_others_have_begun_is_not_gone_on_with(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    right = ground.rows()
    stopped(ground, monkeypatch)
    assert ground.project.rebuild().before == 7
    stopped(ground, monkeypatch)
    assert ground.project.rebuild(fresh=True).before == 0
    stopped(ground, monkeypatch)
    monkeypatch.setattr(rebuilding, "program", lambda: "another program")
    assert ground.project.rebuild().before == 0
    assert ground.rows() == right


def test_of_another_log_nothing_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Ground(tmp_path / "one.db"), Ground(tmp_path / "other.db")
    one.record(sale("A", 1))
    other.record(sale("A", 2), sale("B", 2))
    stopped(one, monkeypatch)
    done = Project(InProcessBus(), other.history, one.store).rebuild()
    assert done.before == 0 and one.rows() == other.fresh()
    one.close()
    other.close()


def test_what_was_made_is_brought_forward(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a stop: events of those that are made, late ones, new partners, and a rulebook."""
    for more in ([sale("P-1", 20, "2023-01-01")], [sale("N", 1), sale("P-2", 21)], [published()]):
        stopped(ground, monkeypatch)
        ground.record(*more)
        ground.catch_up()
        live = ground.rows()
        assert ground.project.rebuild().before >= 7
        assert ground.rows() == live == ground.fresh()


def test_of_two_the_later_one_goes_on(ground: Ground) -> None:
    before, maker = ground.rows(), Maker(ground.history, ground.store)
    first, _ = begin(ground.history, ground.store, False)
    second, _ = begin(ground.history, ground.store, False)
    many, page = maker.make(NAMES[:2], ground.log.head(), second, False)
    assert many == 2 and page is not None
    with pytest.raises(Overtaken, match="another rebuild"):
        maker.write(page, first)
    maker.write(page, second)
    assert ground.rows() == before
    assert ground.project.rebuild().before == 2
    with pytest.raises(Overtaken):
        maker.write(page, second)
    assert ground.rows() == before


# -- meanwhile ------------------------------------------------------------------------------------------------------------


def test_what_is_recorded_meanwhile_is_not_lost(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """While rows are made, while they are compared, and right before the switch; applied by the live path, or not yet."""
    make, hold, switch, n = Maker.make, Maker.hold, Rebuilding.switch, iter(range(100, 200))

    def meanwhile(*events: Event, apply: bool = True) -> None:
        ground.record(*events)
        if apply:
            ground.catch_up()

    def making(self: Maker, names: Sequence[str], *more: Any) -> Any:
        found = make(self, names, *more)
        meanwhile(sale(names[0], next(n), "2023-07-01"), sale(f"N-{next(n)}", 1))
        return found

    def holding(self: Maker, names: Sequence[str], *more: Any) -> Any:
        found = hold(self, names, *more)
        meanwhile(sale(names[-1], next(n)), apply=next(n) % 4 < 2)
        return found

    def switching(self: Rebuilding) -> Any:
        meanwhile(sale("P-5", next(n)), sale("N", 1), published())
        meanwhile(sale("P-6", next(n)), apply=False)
        return switch(self)

    monkeypatch.setattr(Maker, "make", making)
    monkeypatch.setattr(Maker, "hold", holding)
    monkeypatch.setattr(Rebuilding, "switch", switching)
    done = ground.project.rebuild()
    monkeypatch.undo()
    assert done.position == ground.log.head() and done.differing == 0, done.first
    assert ground.rows() == ground.fresh()
    ground.record(sale("P-0", 300))
    ground.catch_up()
    assert ground.rows() == ground.fresh()


def test_a_live_writer_and_a_reader_go_on(ground: Ground) -> None:
    """Somebody records and applies all the time, somebody reads all the time: old or new rows, and all that was recorded is there."""
    count, over, seen, failed = len(ground.rows()["lots"]), Flag(), set[bool](), list[BaseException]()

    def guarded(work: Callable[[], None]) -> Thread:
        def run() -> None:
            try:
                while not over.is_set():
                    work()
            except BaseException as error:
                failed.append(error)

        thread = Thread(target=run)
        thread.start()
        return thread

    n = iter(range(10**6))

    def write() -> None:
        ground.record(sale(f"L-{next(n)}", 1))
        ground.catch_up()

    reader = Store(ground.read)

    def read() -> None:
        with reader.writing() as connection:  # one statement: of one moment
            query = text("SELECT exact, COUNT(*) FROM lots WHERE partner LIKE 'P-%' GROUP BY exact")
            found = dict(map(tuple, connection.execute(query).all()))  # type: ignore[arg-type]
        assert sum(found.values()) == count
        seen.add(found == {"51": count})
        assert found == {"51": count} or "51" not in found

    def until_seen(wrong: bool) -> None:
        seen.clear()
        while wrong not in seen and not failed:
            time.sleep(0.01)

    threads = [guarded(write), guarded(read)]
    try:
        for _ in range(3):
            ground.spoil("UPDATE lots SET exact = '51', micro = 51000000 WHERE partner LIKE 'P-%'")
            until_seen(True)
            assert ground.project.rebuild().differing >= 7
            until_seen(False)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    reader.close()
    assert not failed, failed
    ground.catch_up()
    assert ground.rows() == ground.fresh()


def test_two_processes_make_what_one_makes(ground: Ground) -> None:
    right = ground.rows()
    ground.spoil(*WRONG)
    done = ground.project.rebuild(processes=2, open_parts=partial(_kept, Settings(path=ground.where)))
    assert (done.differing, done.partners) == (7, 7)
    assert ground.rows() == right


def test_a_large_partner_is_a_page_of_its_own() -> None:
    names = [f"P-{n:03}" for n in range(120)]
    made = spread.pages_by_size(names, dict.fromkeys(names, 10) | {"P-007": spread.LARGE + 1, "P-100": spread.LARGE + 2})
    assert made[:2] == [["P-100"], ["P-007"]]
    others = [name for page in made[2:] for name in page]
    assert others == [name for name in names if name not in ("P-007", "P-100")]
    assert max(map(len, made)) == spread.PARTNERS_AT_ONCE
    assert spread.pages_by_size(names, {}) == spread.pages(names)


@pytest.mark.parametrize("in_order", [True, False])
def test_a_page_that_takes_long_keeps_nobody_waiting(tmp_path: Path, in_order: bool) -> None:
    """The first waits for the second, which another process does."""
    with spread.spread(str, 2) as each:
        found = list(each(_patient, ["first", "second"], tmp_path / "there", in_order=in_order))
    assert found == (["first", "second"] if in_order else ["second", "first"])


def _patient(_: object, page: str, there: Path) -> str:
    if page == "second":
        there.touch()
    while not there.exists():
        time.sleep(0.01)
    if page == "first":
        time.sleep(0.5)  # so that it is done later
    return page


def test_whoever_is_announced_is_looked_at_again_and_offsets_stay(ground: Ground) -> None:
    with ground.store.writing() as connection:
        connection.execute(OFFSETS.insert().values(topic_id="t", partition=0, next=17))
        connection.execute(ANNOUNCED.insert().values(partner="P-1", programme="hubspot", content="{}"))
        ground.store.look_again(connection, {"P-1": parse("2030-01-01"), "gone": BEGINNING})
        ground.store.mark(connection, 5, "verify x")
    ground.project.rebuild()
    with ground.store.writing() as connection:
        assert dict(map(tuple, connection.execute(select(DUE)).all())) == dict.fromkeys(NAMES, BEGINNING)  # type: ignore[arg-type]
        assert connection.execute(select(OFFSETS)).all() == [("t", 0, 17)]
        assert connection.execute(select(ANNOUNCED)).all() == [("P-1", "hubspot", "{}")]
    assert (ground.store.position(), ground.store.position("verify x")) == (ground.log.head(), 0)


# -- PostgreSQL -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["postgresql"], indirect=True)
def test_who_reads_for_long_is_waited_for_and_a_role_keeps_its_rights(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    role, waited = f"reader_{os.getpid()}", []
    engine = create_engine(f"postgresql+psycopg://{str(ground.where).partition('://')[2]}")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE ROLE {role}"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {role}"))
        connection.execute(text(f"GRANT SELECT ON {', '.join(view.name for view in VIEWS)} TO {role}"))
        connection.commit()
        try:
            connection.execute(text(f"SET ROLE {role}"))
            assert connection.execute(text("SELECT COUNT(*) FROM tiers")).scalar()

            def wait(seconds: float) -> None:
                waited.append(seconds)
                ground.record(sale("P-3", 77))  # the live path goes on
                ground.catch_up()
                connection.commit()

            monkeypatch.setattr(rebuilding.time, "sleep", wait)
            done = ground.project.rebuild()
            assert waited == [1] and done.position == ground.log.head()
            assert connection.execute(text("SELECT COUNT(*) FROM tiers")).scalar()
            for view in VIEWS:
                connection.execute(text(f"SELECT * FROM {view.name}"))
            comment = "SELECT obj_description(CAST('tiers' AS regclass))"
            assert connection.execute(text(comment)).scalar() == next(view.comment for view in VIEWS if view.name == "tiers")
        finally:
            connection.rollback()
            connection.execute(text("RESET ROLE"))
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))
            connection.commit()
    engine.dispose()
    assert ground.rows() == ground.fresh()


@pytest.mark.parametrize("where", ["postgresql"], indirect=True)
def test_who_is_being_announced_is_not_waited_for(ground: Ground) -> None:
    """That station has the row of a partner that is due, and waits for the switch before it reads what to say."""
    with ground.store.writing() as connection:
        ground.store.look_again(connection, dict.fromkeys(NAMES, parse("2024-01-01")))
    with ground.live.writing() as announcing:
        assert ground.live.due(announcing, parse("2024-01-01"), 2) == ["P-0", "P-1"]
        assert ground.project.rebuild().differing == 0
        ground.live.lock(announcing, ["P-0", "P-1"])
        assert ground.live.applied(announcing, ["P-0"]) == {"P-0": (2, 20)}
        ground.live.look_again(announcing, {"P-0": parse("2024-01-02")})
    with ground.store.writing() as connection:
        due = dict(map(tuple, connection.execute(select(DUE)).all()))  # type: ignore[arg-type]
    assert due == dict.fromkeys(NAMES, BEGINNING) | {"P-0": parse("2024-01-02"), "P-1": parse("2024-01-01")}
