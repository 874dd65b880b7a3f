"""The views for analysts, on SQLite and on PostgreSQL: what they say is what the store and the engine say, and nothing can be written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine, text
from sqlalchemy.event import listen

from cli import main
from ledger.instants import DAY, parse
from ledger.projections.reader import QueryError
from ledger.projections.rows import advanced
from ledger.projections.store import Store
from ledger.projections.views import VIEWS
from tests.conformance.store_contract import LIBRARY, enrolled, sale, stream

LATE = sale("2026-02-10", "3000")
EVENTS = stream("P-1", enrolled(), sale("2026-02-01", "600"), sale("2026-03-01", "100", "EUR"), sale("2026-03-01", "700"), LATE)
RECORDED = [parse(day) for day in ("2026-01-01", "2026-02-01", "2026-03-01", "2026-03-01", "2026-06-01")]
"""The last one comes late: it makes 60 points more of what was 12 from 10 February on."""


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    return tmp_path / "read.db" if request.param == "sqlite" else str(request.getfixturevalue("postgres"))


@pytest.fixture
def store(where: Path | str) -> Iterator[Store]:
    store = Store(where)
    events = [sealed._replace(recorded_at=at) for sealed, at in zip(EVENTS, RECORDED, strict=True)]
    with store.writing() as connection:
        store.write(connection, [("P-1", *advanced(events, LIBRARY, lambda position: position, 5))])
    yield store
    store.close()


def asked(store: Store, query: str) -> list[tuple[Any, ...]]:
    return store.query(query)[1]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_every_view_has_the_columns_that_it_is_said_to_have(store: Store, view: Any) -> None:
    assert store.query(f"SELECT * FROM {view.name}")[0] == [column.name for column in view.columns]


def test_tiers_in_both_clocks(store: Store) -> None:
    now = asked(store, "SELECT since, credited, until FROM tiers WHERE credited IS NOT NULL ORDER BY since")
    assert now == [
        ("2026-02-01T00:00:00.000000Z", "Silver", "2026-02-10T00:00:00.000000Z"),
        ("2026-02-10T00:00:00.000000Z", "Gold", "2027-02-10T00:00:00.000000Z"),
        ("2027-02-10T00:00:00.000000Z", "Silver", "2027-03-01T00:00:00.000000Z"),
    ]
    known = "known_from <= 4 AND (known_until > 4 OR known_until IS NULL) AND since <= '2026-02-20' AND until > '2026-02-20'"
    assert asked(store, f"SELECT credited FROM tiers_known WHERE {known}") == [("Silver",)]
    ended = "SELECT known_until, known_until_at FROM tiers_known WHERE known_until IS NOT NULL AND credited = 'Silver'"
    assert asked(store, ended) == [(5, "2026-06-01T00:00:00.000000Z")]


def test_points_add_up_in_millionths(store: Store) -> None:
    at = parse("2026-04-01")
    exact = store.points_at("acme", at)["P-1"]["sold"]
    day = "since <= '2026-04-01' AND (until > '2026-04-01' OR until IS NULL)"
    ((micro, n),) = asked(store, f"SELECT SUM(micro_points), COUNT(*) FROM points WHERE measure = 'sold' AND {day}")
    assert abs(Fraction(micro, 1_000_000) - exact) <= n * Fraction(1, 1_000_000)
    assert sum(Fraction(points) for (points,) in asked(store, f"SELECT points FROM points WHERE measure = 'sold' AND {day}")) == exact


def test_what_was_restated(store: Store) -> None:
    query = "SELECT since, until, credited_before, credited_after, position FROM restatements ORDER BY since"
    assert asked(store, query) == [("2026-02-10T00:00:00.000000Z", "2026-06-01T00:00:00.000000Z", "Silver", "Gold", 5)]
    (found,) = store.restated(4, 5)
    assert (found.since, found.until, found.recorded_at) == (parse("2026-02-10"), parse("2026-06-01"), parse("2026-06-01"))
    assert store.restated(0, 4) == [] == store.restated(5, 9)


@pytest.mark.parametrize("where", ["sqlite"], indirect=True)  # which says how many steps a statement takes
def test_what_a_commit_restated_costs_the_same_whatever_was_restated_after_it(store: Store) -> None:
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    def cost() -> int:
        nonlocal steps
        steps = 0
        assert len(store.restated(4, 5)) == 1
        return steps

    listen(store.engine, "checkout", lambda connection, *_: connection.set_progress_handler(step, 10))
    cost()
    before = cost()
    later = [("P-2", "acme", "", n, n + 1, "b", 0, "", n + 10, n + 20) for n in range(5000)]
    with store.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO levels (partner, programme, award, since, until, book, enrolled, because, known_from, known_until) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            later,
        )
    assert 0 < cost() < 2 * before


def test_knowledge_says_how_far_it_answers(store: Store) -> None:
    found = asked(store, "SELECT position, answers_until FROM knowledge ORDER BY position")
    assert found[0] == (1, "2026-02-01T00:00:00.000000Z")
    assert found[-2:] == [(4, "2026-06-01T00:00:00.000000Z"), (5, None)]
    assert store.unanswered(parse("2026-01-15"), 1) == set() == store.unanswered(parse("2026-06-01") - DAY, 4)
    assert store.unanswered(parse("2026-02-15"), 1) == {"P-1"}, "what was known then of a later day, the engine says"


def test_facts_last(store: Store) -> None:
    assert asked(store, "SELECT kind, key, position, until FROM facts ORDER BY kind") == [("enrolment", "acme", 1, None), ("partner", "", 1, None)]


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM levels", "DROP TABLE lots", "CREATE TABLE mine (a int)", "SELECT 1; DELETE FROM levels", "UPDATE tiers SET credited = 'x'",
     "COMMIT; DELETE FROM levels", "no sql", "", "SELECT * FROM nowhere", "INSERT INTO known SELECT * FROM known RETURNING partner"],
)  # fmt: skip
def test_only_one_statement_that_reads(store: Store, statement: str) -> None:
    before = store.dump()
    with pytest.raises(QueryError):
        store.query(statement)
    assert store.dump() == before
    with store.writing() as connection:  # what was opened for reading is not used for writing
        store.mark(connection, 9)
    assert store.position() == 9


OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def test_the_query_of_the_documentation_is_answered(store: Store) -> None:
    (query,) = re.findall(r'^points sql "(.*)"$', OPERATIONS.read_text(), re.MULTILINE)
    assert asked(store, query) == [("Gold", 1)]


@pytest.fixture
def role(postgres: str) -> Iterator[str]:
    """A name for a role, which is no more after the test: roles are of the whole server."""
    name = f"analyst_{os.urandom(4).hex()}"
    yield name
    with psycopg.connect(postgres, autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,)).fetchone():
            connection.execute(f"DROP OWNED BY {name}")
            connection.execute(f"DROP ROLE {name}")


def as_role(where: str, role: str) -> psycopg.Connection[Any]:
    """A connection of the role's own, by a password that it is given for it."""
    with psycopg.connect(where, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE {role} PASSWORD 'secret'")
    return psycopg.connect(where, user=role, password="secret", autocommit=True)


def points(where: str, *words: str) -> Result:
    return CliRunner().invoke(main, ["--ledger", where, *words], catch_exceptions=False)


def begin(where: str) -> None:
    """A ledger with one partner."""
    event = {"specversion": "1.0", "id": "1", "source": "x", "type": "partner.enrolled.v1", "subject": "P-1", "time": "2026-01-01T00:00:00Z",
             "data": {"programme": "hubspot"}}  # fmt: skip
    assert CliRunner().invoke(main, ["--ledger", where, "record"], input=json.dumps(event)).exit_code == 0


def test_the_role_that_schema_grants_reads_the_views_and_nothing_else(postgres: str, role: str) -> None:
    begin(postgres)
    (documented,) = re.findall(r"```sql\n(.*?)```", OPERATIONS.read_text(), re.DOTALL)
    statements = points(postgres, "schema", "--grant", role).stdout
    assert statements == documented.replace("analyst", role)
    with psycopg.connect(postgres, autocommit=True) as owner:
        owner.execute(statements)
        tables = [name for (name,) in owner.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")]
    assert {"levels", "lots", "known", "partners", "stored_events"} <= set(tables)
    assert points(postgres, "schema", "--grant", role).stdout == statements.partition("\n")[2], "who is there is not made again"
    with as_role(postgres, role) as analyst:
        for view in VIEWS:
            assert [column.name for column in analyst.execute(f"SELECT * FROM {view.name}").description or ()] == [c.name for c in view.columns]
        assert analyst.execute("SELECT partner FROM partner_states").fetchall() == [("P-1",)]
        forbidden = [f"{verb} {name}" for name in tables for verb in ("SELECT FROM", "DELETE FROM", "TRUNCATE")]
        for view in VIEWS:
            forbidden += [f"DELETE FROM {view.name}", f"UPDATE {view.name} SET partner = 'x'", f"INSERT INTO {view.name} (partner) VALUES ('x')"]
            forbidden += [f"DROP VIEW {view.name}"]
        if analyst.info.server_version >= 150000:  # before, everybody may make tables in public
            forbidden.append("CREATE TABLE mine (a int)")
        for statement in forbidden:
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)):  # that joins: of nobody
                analyst.execute(statement)


def test_one_view_alone_can_be_granted(postgres: str, role: str) -> None:
    begin(postgres)
    with psycopg.connect(postgres, autocommit=True) as owner:
        owner.execute(points(postgres, "schema", "tiers", "--grant", role).stdout)
    with as_role(postgres, role) as analyst:
        analyst.execute("SELECT * FROM tiers")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            analyst.execute("SELECT * FROM points")


def test_a_role_reads_the_views_of_a_schema_of_its_own(postgres: str, role: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as owner:
        owner.execute('CREATE SCHEMA "Ledger"')
    inside = f"{postgres}{'&' if '?' in postgres else '?'}options=-csearch_path%3D%22Ledger%22"
    begin(inside)
    with psycopg.connect(postgres, autocommit=True) as owner:
        owner.execute(points(inside, "schema", "--grant", role).stdout)
    with as_role(postgres, role) as analyst:
        for view in VIEWS:
            analyst.execute(f"SELECT * FROM {view.name}")


def test_what_was_granted_stays_when_the_views_are_made_anew(postgres: str, role: str) -> None:
    store = Store(postgres)
    with psycopg.connect(postgres, autocommit=True) as owner:
        for statement in store.grants(role, ["tiers", "points"]):
            owner.execute(statement)
        owner.execute("GRANT SELECT ON knowledge TO PUBLIC")
        owner.execute("UPDATE read_models SET version = 0")
    store.close()
    Store(postgres).close()
    with as_role(postgres, role) as analyst:
        for view in ("tiers", "points", "knowledge"):
            analyst.execute(f"SELECT * FROM {view}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            analyst.execute("SELECT * FROM facts")


def test_schema_tells_the_columns_that_the_views_have(where: Path | str, store: Store) -> None:
    told = json.loads(points(str(where), "schema", "-o", "json").stdout)
    assert [each["view"] for each in told] == [view.name for view in VIEWS] and all(each["what_it_tells"] for each in told)
    for each in told:
        assert [column["column"] for column in each["columns"]] == store.query(f"SELECT * FROM {each['view']}")[0]
        assert json.loads(points(str(where), "schema", each["view"], "-o", "json").stdout) == each["columns"]
        assert all(column["what_it_tells"] and column["type"] in ("time", "text", "whole number") for column in each["columns"])


def test_a_file_has_no_roles(tmp_path: Path) -> None:
    result = points(str(tmp_path / "x.db"), "schema", "--grant", "analyst")
    assert (result.exit_code, result.stdout) == (2, "") and "PostgreSQL" in result.stderr
    assert "name of a role" in points(str(tmp_path / "x.db"), "schema", "--grant", "").stderr


def test_rows_come_as_they_are_asked_for(where: Path | str) -> None:
    """The first ones of a query that never ends, and after it the connection of the next one."""
    store = Store(where)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    if not isinstance(where, Path):
        endless = "SELECT generate_series(1, 1000000000000) AS i"
    with store.reading() as reader:
        columns, found = reader.select(endless)
        assert (columns, [next(found)[0] for _ in range(2500)]) == (["i"], list(range(1, 2501)))
    assert store.query("SELECT 1 AS a, 2 AS a") == (["a", "a"], [(1, 2)])
    assert store.query("SELECT 1 AS n WHERE 1 = 2") == (["n"], [])
    store.close()


def test_what_is_read_is_of_one_moment(store: Store) -> None:
    with store.reading() as reader:
        before = list(reader.select("SELECT partner, position FROM partner_states")[1])
        with store.writing() as connection:
            connection.execute(text("UPDATE partners SET position = 99"))
        assert list(reader.select("SELECT partner, position FROM partner_states")[1]) == before
    assert asked(store, "SELECT position FROM partner_states") == [(99,)]


def test_values_of_any_type_are_told_by_postgresql(postgres: str) -> None:
    store = Store(postgres)
    query = (
        "SELECT DATE '2026-04-01', TIMESTAMP '2026-04-01 12:00', TIMESTAMPTZ '0001-01-01 00:00Z', 'NaN'::numeric, 7.0::numeric, 7.5::numeric, "
        "'x'::bytea, ARRAY[1.0, 2.5], '{\"a\": 1}'::jsonb, true, 'Infinity'::float8, INTERVAL '1 day'"
    )
    ((*found,),) = asked(store, query)
    assert found == [
        "2026-04-01", "2026-04-01T12:00:00.000000", "0001-01-01T00:00:00.000000Z", "NaN", 7, "7.5", "78", [1, "2.5"], {"a": 1}, True, "inf",
        "1 day, 0:00:00",
    ]  # fmt: skip
    json.dumps(found, allow_nan=False)
    store.close()


def test_every_view_and_column_has_its_comment(postgres: str) -> None:
    store = Store(postgres)
    store.close()
    engine = create_engine(f"postgresql+psycopg://{postgres.partition('://')[2]}")
    with engine.begin() as connection:
        for view in VIEWS:
            found = connection.execute(text("SELECT obj_description(CAST(:name AS regclass))"), {"name": view.name}).scalar()
            assert found == view.comment
            columns = connection.execute(
                text("SELECT attname, col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = CAST(:name AS regclass) AND attnum > 0"),
                {"name": view.name},
            ).all()
            assert [tuple(row) for row in columns] == [(column.name, column.comment) for column in view.columns]
    engine.dispose()
