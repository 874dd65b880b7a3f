"""The schema of a ledger on PostgreSQL, step by step, by Alembic. A step is one transaction: it is there whole or not at all."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

HERE = Path(__file__).parent


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database to a revision; several processes may ask at once. Raises the driver's errors."""
    engine = create_engine(make_url("postgresql+psycopg://" + url.partition("://")[2]))
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('points_ledger migrations'))"))
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    except DBAPIError as error:
        raise error.orig if isinstance(error.orig, Exception) else error from None
    finally:
        engine.dispose()


def revisions() -> list[str]:
    """All that this program knows, the first one first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()][::-1]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    return config
