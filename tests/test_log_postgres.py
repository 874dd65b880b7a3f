"""The log on PostgreSQL: the contract of logs, the library's own recorder tests, and what only a server can get wrong."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import psycopg
import pytest

from tests.conformance.log_contract import NOON, LogContract, claim

sys.modules.setdefault("eventsourcing.cipher", SimpleNamespace(AESCipher=None))  # type: ignore[arg-type]  # needs a package that no recorder uses
from eventsourcing.tests.persistence import (
    ApplicationRecorderTestCase,
    NonInterleavingNotificationIDsBaseCase,
    ProcessRecorderTestCase,
    TrackingRecorderTestCase,
)

from ledger import log_postgres, migrations
from ledger.errors import LogError, NotFound
from ledger.log import Log, migrate
from ledger.log_postgres import LogDatastore, LogRecorder
from tests.servers import database


class TestPostgresLog(LogContract):
    @pytest.fixture
    def where(self, postgres: str) -> str:
        return postgres

    def open_log(self, where: Path | str) -> Log:
        return Log(where)


class _OurRecorder:
    """The library's test cases on our recorder; streams are texts."""

    _server: str

    @pytest.fixture(autouse=True)
    def _on_a_server(self, postgres_server: str) -> None:
        type(self)._server = postgres_server

    def setUp(self) -> None:
        self._name = f"test_{os.urandom(6).hex()}"
        self._opened: list[LogDatastore] = []
        with psycopg.connect(self._server, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {self._name}")

    def tearDown(self) -> None:
        for datastore in self._opened:
            datastore.close()
        with psycopg.connect(self._server, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {self._name} WITH (FORCE)")

    def new_originator_id(self) -> str:
        return f"partner/{uuid4()}"

    def create_recorder(self) -> LogRecorder:
        migrations.upgrade(database(self._server, self._name))
        self._opened.append(LogDatastore(database(self._server, self._name), lock_seconds=30))
        recorder = LogRecorder(self._opened[-1])
        recorder.create_table()
        return recorder


class TestLibraryApplicationRecorder(_OurRecorder, ApplicationRecorderTestCase[LogRecorder]):
    pass


class TestLibraryProcessRecorder(_OurRecorder, ProcessRecorderTestCase):
    pass


class TestLibraryTrackingRecorder(_OurRecorder, TrackingRecorderTestCase):
    pass


class TestLibraryOrder(_OurRecorder, NonInterleavingNotificationIDsBaseCase):
    pass


@pytest.fixture
def log(postgres: str) -> Iterator[Log]:
    with Log(postgres, lock_seconds=1) as log:
        yield log


def told(where: str, code: str, **more: object) -> LogError:
    with pytest.raises(LogError) as raised, Log(where, **more) as log:  # type: ignore[arg-type]
        log.append([claim("P-1", "1")], recorded_at=NOON)
    assert raised.value.code == code, raised.value
    assert raised.value.hint and "secret" not in str(raised.value)
    return raised.value


def test_a_server_that_is_not_there_a_wrong_user_and_a_missing_database(postgres: str) -> None:
    told("postgresql://someone:secret@127.0.0.1:1/ledger", "log_connection_lost")
    told(postgres.replace("postgres:@", "nobody:secret@"), "log_access")
    told(postgres.replace("/test_", "/none_"), "log_access")


def test_nothing_is_made_where_a_log_should_be(postgres: str) -> None:
    with pytest.raises(NotFound):
        Log(postgres, create=False)
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def test_a_database_of_another_kind_or_format_is_refused(postgres: str) -> None:
    Log(postgres).close()
    with psycopg.connect(postgres) as connection:
        connection.execute("UPDATE points_ledger SET format = 99")
    assert "99" in str(told(postgres, "log_format"))
    with psycopg.connect(postgres) as connection:
        connection.execute("DROP TABLE points_ledger")
    told(postgres, "log_foreign")


def test_every_step_of_the_schema_is_a_way_to_the_last(postgres: str) -> None:
    assert migrations.revisions()[-1] == log_postgres.REVISION
    for revision in migrations.revisions():
        migrations.upgrade(postgres, revision)
        if revision != log_postgres.REVISION:
            assert "migrate" in told(postgres, "log_schema_old").hint
    with Log(postgres, create=False) as log:
        log.append([claim("P-1", "1")], recorded_at=NOON)
    migrate(postgres)  # there is nothing left to do
    with Log(postgres) as log:
        assert log.head() == 1


def test_a_schema_that_is_of_no_known_revision_or_is_not_whole_is_refused(postgres: str) -> None:
    Log(postgres).close()
    with psycopg.connect(postgres) as connection:
        connection.execute("DROP TABLE outbox")
    assert "outbox" in str(told(postgres, "log_schema"))
    with psycopg.connect(postgres) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "9999" in str(told(postgres, "log_schema"))


def test_a_step_that_breaks_off_leaves_nothing(postgres: str) -> None:
    migrations.upgrade(postgres, "0001")
    with psycopg.connect(postgres) as connection:
        connection.execute("CREATE TABLE relayed (x int)")  # the last table of the step is in its way
    with pytest.raises(LogError):
        migrate(postgres)
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT to_regclass('outbox'), version_num FROM alembic_version").fetchall() == [(None, "0001")]


def test_a_writer_that_is_kept_waiting_says_so(postgres: str, log: Log) -> None:
    with Log(postgres) as other, other.writing():
        with pytest.raises(LogError) as raised:
            log.append([claim("P-1", "1")], recorded_at=NOON)
        assert raised.value.code == "log_busy"
        assert log.head() == 0  # readers do not wait
    assert log.append([claim("P-1", "1")], recorded_at=NOON) == range(1, 2)


def test_a_writer_that_stops_holds_the_log_no_longer(postgres: str, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_postgres, "IDLE_SECONDS", 0.5)
    with Log(postgres) as stopped:
        with pytest.raises(LogError) as raised, stopped.writing() as writing:
            writing.append([claim("P-1", "1")], recorded_at=NOON)
            time.sleep(1)
            assert log.append([claim("P-2", "2")], recorded_at=NOON + 1) == range(1, 2)
            writing.append([claim("P-1", "3")], recorded_at=NOON + 2)
        assert raised.value.code == "log_connection_lost"
        assert stopped.append([claim("P-1", "4")], recorded_at=NOON + 3) == range(2, 3)
    assert log.verify() is None and log.head() == 2


def test_a_lost_connection_is_told_and_the_next_command_goes_on(postgres: str, log: Log) -> None:
    log.append([claim("P-1", "1")], recorded_at=NOON)
    with pytest.raises(LogError) as raised, log.writing() as writing:
        writing.append([claim("P-1", "2")], recorded_at=NOON)
        cut(postgres)
        writing.append([claim("P-1", "3")], recorded_at=NOON)
    assert raised.value.code == "log_connection_lost"
    assert log.head() == 1
    assert log.append([claim("P-1", "2")], recorded_at=NOON) == range(2, 3)
    cut(postgres)
    assert log.head() == 2 and log.verify() is None


def cut(url: str) -> None:
    """End every other connection to the database."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")


def test_many_writers_and_readers_at_once(postgres: str, log: Log) -> None:
    """No reader misses a row: what it has seen is 1 to n, whenever it looks."""
    writers, each = 4, 25
    failed: list[BaseException] = []

    def write(name: int) -> None:
        try:
            with Log(postgres, lock_seconds=30) as mine:
                for n in range(each):
                    mine.append([claim(f"P-{n % 3}", f"{name}-{n}"), claim("P-9", f"{name}-{n}-b")], recorded_at=NOON)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(writers)]
    for thread in threads:
        thread.start()
    seen = 0
    while any(thread.is_alive() for thread in threads) or seen < log.head():
        found = log.tail(seen, 1000)
        assert [sealed.position for sealed in found] == list(range(seen + 1, seen + 1 + len(found)))
        seen += len(found)
    assert not failed
    assert seen == writers * each * 2 and log.verify() is None
