"""The read store on SQLite: the contract of stores."""

from __future__ import annotations

from pathlib import Path

from ledger.projections.store import Store
from tests.conformance.store_contract import StoreContract


class TestSqliteStore(StoreContract):
    def open_store(self, where: Path) -> Store:
        return Store(where)
