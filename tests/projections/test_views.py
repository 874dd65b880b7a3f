"""The views for analysts, on SQLite and on PostgreSQL: what they say is what the store and the engine say, and nothing can be written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

from ledger.instants import DAY, parse
from ledger.projections.rows import advanced
from ledger.projections.store import QueryError, Store
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


def test_the_role_of_the_documentation_reads_and_writes_nothing(postgres: str) -> None:
    Store(postgres).close()
    (statements,) = re.findall(r"```sql\n(.*?)```", OPERATIONS.read_text(), re.DOTALL)
    role = f"analyst_{os.getpid()}"
    engine = create_engine(f"postgresql+psycopg://{postgres.partition('://')[2]}")
    with engine.connect() as connection:
        schema = connection.execute(text("SELECT current_schema()")).scalar()
        for statement in statements.replace("analyst", role).replace("SCHEMA public", f"SCHEMA {schema}").split(";"):
            if statement.strip():
                connection.execute(text(statement))
        connection.execute(text(f"SET ROLE {role}"))
        for view in VIEWS:
            connection.execute(text(f"SELECT * FROM {view.name}"))
        for statement in ("SELECT * FROM levels", "DELETE FROM tiers"):
            with pytest.raises(ProgrammingError, match="permission denied"), connection.begin_nested():
                connection.execute(text(statement))
        connection.rollback()
    engine.dispose()


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
