"""The log held against the read models, both ways: whatever was altered in either is found, and named. On both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from cli import _kept, main
from ledger import audit
from ledger.audit import Finding
from ledger.events.envelope import event
from ledger.settings import Settings
from tests.projections.test_rebuild import NAMES, Ground, copied, sale
from tests.test_kill import published


@pytest.fixture(params=["sqlite", "postgresql"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(tmp_path / "ledger.db" if request.param == "sqlite" else str(request.getfixturevalue("postgres")))
    for n in range(1, 4):
        ground.record(*[sale(name, n, f"2024-0{n}-15") for name in NAMES])
        ground.catch_up()
    yield ground
    ground.close()


def points(ground: Ground, *words: str) -> Result:
    return CliRunner().invoke(main, ["--ledger", str(ground.where), *words], catch_exceptions=False)


def found(ground: Ground, **asked: Any) -> list[Finding]:
    return audit.walked(ground.log) + list(audit.against_rows(ground.log, ground.store, ground.store.position(), **asked))


LOT = "FROM lots WHERE partner = 'P-4' AND since = (SELECT MIN(since) FROM lots WHERE partner = 'P-4')"
PLACE = "P-4, lots: programme='hubspot' measure='sold' position=5 since=2024-01-15T00:00:00Z known_from=7"
TAMPERED = {
    "a cell": (("UPDATE lots SET exact = '7' " + LOT.removeprefix("FROM lots "),), "rows_differ", PLACE, "the log makes exact='107/25', the read models have exact='7'"),
    "two cells": (("UPDATE known SET until = 0 WHERE partner = 'P-2'",), "rows_differ", "P-2, known: position=7", "the read models have until=1970-01-01T00:00:00Z"),
    "a row less": ((f"DELETE {LOT}",), "rows_missing", PLACE, "the read models have no such row, the log makes until=2025-01-15T00:00:00Z client='C' exact='107/25'"),
    "a row more": ((copied("lots", LOT.partition("WHERE ")[2], measure="luck"),),
                   "rows_surplus", PLACE.replace("sold", "luck"), "the log makes no such row, the read models have until="),
    "another instant": ((f"UPDATE lots SET since = since + 1 {LOT.removeprefix('FROM lots ')}",), "rows_missing", PLACE, "the read models have no such row"),
    "a partner less": (tuple(f"DELETE FROM {table} WHERE partner = 'P-0'" for table in ("partners", "known", "levels", "lots", "scores", "intervals")),
                       "rows_missing", "P-0, partners", "the read models have no such row, the log makes version=3"),
    "a partner more": ((copied("partners", "partner = 'P-3'", partner="P-33"),),
                       "rows_without_events", "P-33, partners", "the log knows no such partner; the log makes no such row, the read models have version=3"),
    "a partner's row more": ((copied("levels", "partner = 'P-3' AND known_until > 1000000000 AND credited IS NULL AND since > 0", partner="Z"),),
                             "rows_without_events", "Z, levels: programme='hubspot' award='' since=", "the log knows no such partner"),
    "not applied": (("DELETE FROM lots WHERE partner = 'P-6' AND position = 21", "UPDATE partners SET version = 2, position = 14, known = 14 WHERE partner = 'P-6'"),
                    "rows_differ", "P-6, partners", "the log makes version=3 position=21 known=21, the read models have version=2 position=14 known=14"),
    "parked": (("UPDATE partners SET parked = 'a whim' WHERE partner = 'P-1'",), "rows_differ", "P-1, partners", "the log makes parked=NULL, the read models have parked='a whim'"),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_altered_is_named(ground: Ground, what: str) -> None:
    assert found(ground) == []
    statements, code, where, said = TAMPERED[what]
    ground.spoil(*statements)
    first, *more = [each for each in found(ground) if not each.note]
    assert (first.code, more) == (code, [])
    assert first.where.startswith(where) and said in first.found, first
    told = points(ground, "verify", "--whole")
    assert told.exit_code == 1 and f"{code}: {first.where}: {first.found}" in told.stdout.splitlines()
    assert "1 difference" in told.stderr
    assert points(ground, "rebuild").exit_code == 0 == points(ground, "verify").exit_code


def test_the_first_one_comes_first(ground: Ground) -> None:
    for name in ("a cell", "a partner less", "a partner more"):
        ground.spoil(*TAMPERED[name][0])
    assert [each.where.split(",")[0] for each in found(ground)] == ["P-0", "P-33", "P-4"]
    assert found(ground, processes=2, open_parts=partial(_kept, Settings(path=ground.where))) == found(ground)


def test_only_what_came_since_is_looked_at(ground: Ground) -> None:
    whole = points(ground, "verify")
    assert whole.exit_code == 0 and "21 events, 7 partners: 0 differences" in whole.stderr
    ground.spoil("UPDATE known SET until = until + 1 WHERE partner = 'P-4' AND position = 7")
    assert "since position 21: 0 events, 0 partners: 0 differences" in points(ground, "verify").stderr
    ground.record(sale("P-1", 7), sale("N", 1))
    assert "since position 21: 2 events, 2 partners: 0 differences" in points(ground, "verify").stderr
    ground.record(sale("P-4", 8))
    again = points(ground, "verify")
    assert again.exit_code == 1 and "rows_differ" in again.stdout
    assert points(ground, "verify").stderr == again.stderr, "it goes on from where nothing differed"
    ground.spoil("UPDATE known SET until = until - 1 WHERE partner = 'P-4' AND position = 7")
    assert points(ground, "verify").exit_code == 0


def test_a_partner_that_was_invented_since_is_found(ground: Ground) -> None:
    assert points(ground, "verify").exit_code == 0
    ground.record(sale("P-1", 7))
    ground.catch_up()
    ground.spoil(copied("partners", "partner = 'P-1'", partner="Q"))
    told = points(ground, "verify")
    assert told.exit_code == 1 and told.stdout.startswith("rows_without_events: Q, partners")


@pytest.mark.parametrize("how", ["whole", "rulebook", "other program", "rebuild"])
def test_when_everything_is_looked_at(ground: Ground, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert points(ground, "verify").exit_code == 0
    ground.spoil(*TAMPERED["a partner more"][0])
    assert points(ground, "verify").exit_code == 0
    match how:
        case "rulebook":
            ground.record(published())
        case "other program":
            monkeypatch.setattr(audit, "program", lambda: "other")
        case "rebuild":
            points(ground, "rebuild")
            ground.spoil(*TAMPERED["a partner more"][0])
    assert points(ground, "verify", *(["--whole"] if how == "whole" else [])).exit_code == 1


@pytest.mark.parametrize(
    ("alter", "code"),
    [
        (lambda body: f"UPDATE stored_events SET state = {body} WHERE originator_id = 'partner/P-1' AND originator_version = 4", "log_hash"),
        (lambda body: "UPDATE stored_events SET originator_version = 9 WHERE originator_id = 'partner/P-1' AND originator_version = 4", "log_version_gap"),
        (lambda body: "DELETE FROM receipts WHERE id = 'P-1 9'", "log_receipt_missing"),
        (lambda body: "DELETE FROM inserts WHERE position = 23", "log_insert_differs"),
    ],
)  # fmt: skip
def test_a_log_that_was_altered_since_is_found(ground: Ground, alter: Callable[[str], str], code: str) -> None:
    """What was recorded after the last verify; before that the whole is looked at."""
    assert points(ground, "verify").exit_code == 0
    ground.record(sale("P-1", 9), sale("N", 1))
    assert ground.log.verify(21) is None
    on_sqlite = isinstance(ground.where, Path)
    statement = alter("CAST(substr(state, 1, 99) || 'X' || substr(state, 101) AS BLOB)" if on_sqlite else "overlay(state PLACING 'X' FROM 100)")
    with ground.log.writing() as writing:
        writing.execute(statement)
    told = points(ground, "verify")
    assert told.exit_code == 1 and told.stdout.startswith(f"{code}: position 2"), told.output


def test_a_log_that_was_altered_before_is_found_by_the_whole(ground: Ground) -> None:
    assert points(ground, "verify").exit_code == 0
    with ground.log.writing() as writing:
        writing.execute("INSERT INTO receipts VALUES ('nobody', 'x', 3, 1)")
    ground.record(sale("P-1", 9))
    assert points(ground, "verify").exit_code == 0
    assert points(ground, "verify", "--whole").stdout.startswith("log_receipts_surplus")


def test_who_is_parked_is_named(ground: Ground) -> None:
    ground.record(event("points.sold.v1", subject="L", effective_at="2024-05-01", id="L", client="C", line="hub", amount="5", currency="XAU", deal_type="sourced"))
    ground.catch_up()
    with ground.store.writing() as connection:
        why = connection.execute(text("SELECT parked FROM partners WHERE partner = 'L'")).scalar()
    assert why, "XAU has no rate"
    for words in (("verify",), ("verify",), ("verify", "--whole")):
        told = points(ground, *words)
        assert told.exit_code == 0 and f"note: parked: L: {why}" in told.stdout
