"""The read store on SQLite and on PostgreSQL: the contract of stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.projections.store import Store
from tests.conformance.store_contract import StoreContract


class TestSqliteStore(StoreContract):
    def open_store(self, where: Path | str) -> Store:
        return Store(where)


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def where(self, postgres: str) -> str:
        return postgres

    def open_store(self, where: Path | str) -> Store:
        return Store(where)
