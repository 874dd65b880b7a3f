"""The library's own way to read models, to measure ours against: `ProjectionRunner`, one row an event, on PostgreSQL.

The events are `eventsourcing`'s own, saved by its `Application` in its `stored_events`; each is as long as a stored event of
ours. A runner reads them and its projection's view inserts a row for each, with the tracking record in the same transaction:
what the library's contract asks of a view. Default durability: each commit is forced to the disk.

The PostgreSQL is one of its own, in a temporary directory, on a Unix socket, with the settings that `initdb` makes; or the one
that a DSN names, in a schema of its own that is dropped at the end. It needs the extra `postgres`: pip install -e '.[postgres]'
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.utils import get_topic
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

BINARIES = ("initdb", "pg_ctl", "postgres")
SCHEMA = "points_ledger_benchmark"
AT_ONCE = 1000
TIMEOUT_SECONDS = 600.0


class Partner(Aggregate):
    """What the library's own way needs to keep the same data."""

    @event("Sold")
    def sold(self, text: str) -> None:
        pass


class Ledger(Application[UUID]):
    """The library's own application, on PostgreSQL."""


class RowsView(PostgresTrackingRecorder):
    """One row an event, and how far the rows have come, in one transaction."""

    def __init__(self, datastore: PostgresDatastore, **kwargs: Any) -> None:
        super().__init__(datastore, **kwargs)
        rows = Identifier(self.datastore.schema), Identifier("partner_rows")
        self.sql_create_statements.append(
            SQL("CREATE TABLE IF NOT EXISTS {}.{} (partner uuid, version bigint, text text, PRIMARY KEY (partner, version))").format(*rows)
        )
        self.insert_row_statement = SQL("INSERT INTO {}.{} VALUES (%s, %s, %s)").format(*rows)

    def insert_row(self, partner: UUID, version: int, text: str, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(self.insert_row_statement, (partner, version, text), prepare=True)


class Rows(Projection[RowsView]):
    name = "rows"
    topics = (get_topic(Partner.Sold),)  # type: ignore[attr-defined]

    def __init__(self, view: RowsView) -> None:
        super().__init__(view)
        self.processed, self.processed_at = 0, 0.0

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.insert_row(domain_event.originator_id, domain_event.originator_version, domain_event.text, tracking)
        self.processed, self.processed_at = self.processed + 1, time.perf_counter()


class Library:
    """The events, saved once, and the runner over them as often as asked."""

    def __init__(self, dsn: str, lengths: Sequence[int], events_each: int) -> None:
        """`lengths` in bytes, one for each event; so many events a partner."""
        self._dsn, self.events = dsn, len(lengths)
        self._env = _environment(dsn)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(SCHEMA)))
            connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(SCHEMA)))
        with Ledger(env=self._env) as app:
            _save(app, lengths, events_each)
            self._head = app.recorder.max_notification_id()

    def seconds(self) -> float:
        """From the start of the runner until the row of the last event is committed."""
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            for table in ("rows_tracking", "partner_rows"):
                connection.execute(SQL("DROP TABLE IF EXISTS {}.{}").format(Identifier(SCHEMA), Identifier(table)))
        started = time.perf_counter()
        with ProjectionRunner(application_class=Ledger, projection_class=Rows, view_class=RowsView, env=self._env) as runner:
            runner.wait(self._head, timeout=TIMEOUT_SECONDS)
            projection = runner.projection
        assert isinstance(projection, Rows)
        assert projection.processed == self.events, (projection.processed, self.events)
        return projection.processed_at - started

    def close(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(SCHEMA)))


def _save(app: Ledger, lengths: Sequence[int], events_each: int) -> None:
    """Each event with a text that makes its stored state as many bytes as asked."""
    bare = _stored_bytes(app, "")
    for first in range(0, len(lengths), events_each):
        partner = Partner()
        for length in lengths[first : first + events_each]:
            partner.sold("x" * max(0, length - bare))
            if len(partner.pending_events) >= AT_ONCE:
                app.save(partner)
        app.save(partner)


def _stored_bytes(app: Ledger, text: str) -> int:
    partner = Partner()
    partner.sold(text)
    return len(app.mapper.to_stored_event(partner.pending_events[-1]).state)


def _environment(dsn: str) -> dict[str, str]:
    parts = conninfo_to_dict(dsn)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(parts.get("dbname", "postgres")),
        "POSTGRES_HOST": str(parts.get("host", "")),
        "POSTGRES_PORT": str(parts.get("port", "5432")),
        "POSTGRES_USER": str(parts.get("user", "postgres")),
        "POSTGRES_PASSWORD": str(parts.get("password", "")),
        "POSTGRES_SCHEMA": SCHEMA,
    }


def installed() -> bool:
    """Whether a PostgreSQL can be started here."""
    return all(shutil.which(name) for name in BINARIES)


@contextmanager
def server() -> Iterator[str]:
    """A PostgreSQL of its own in a temporary directory; yields its DSN. Started as root it runs as another user, as it must."""
    with tempfile.TemporaryDirectory(prefix="points-pg-") as directory:
        data, log = Path(directory) / "data", Path(directory) / "log"
        user = _unprivileged(directory)
        _run(user, "initdb", "--pgdata", str(data), "--username", "ledger", "--auth", "trust", "--encoding", "UTF8", "--no-locale")
        options = f"-c listen_addresses='' -c unix_socket_directories='{directory}'"
        _run(user, "pg_ctl", "--pgdata", str(data), "--log", str(log), "--wait", "--options", options, "start")
        try:
            yield make_conninfo(host=directory, dbname="postgres", user="ledger")
        finally:
            _run(user, "pg_ctl", "--pgdata", str(data), "--mode", "immediate", "--wait", "stop")


def _unprivileged(directory: str) -> pwd.struct_passwd | None:
    """The user that owns the server where we are root; None where we are not."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    os.chown(directory, user.pw_uid, user.pw_gid)
    return user


def _run(user: pwd.struct_passwd | None, *command: str) -> None:
    as_user: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    done = subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **as_user)
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stderr.decode().strip()}")
