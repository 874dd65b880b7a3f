"""Settings: the only reader of the environment. Every name has the prefix POINTS_LEDGER_."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from ledger.languages import of_locale

_PASSWORD = re.compile(r"((?<=://)[^:@/]*:|[?&](?:ssl)?password=)[^@&/]*")

SERVER = ("postgresql://", "postgres://")


def _where(written: object) -> object:
    return written if str(written).startswith(SERVER) else Path(str(written))


class Settings(BaseSettings):
    """Where the ledger lies and how it is written. `zone` is that in which people's dates are read."""

    model_config = SettingsConfigDict(env_prefix="POINTS_LEDGER_", frozen=True, extra="ignore")

    path: Annotated[Path | str, BeforeValidator(_where)] = Path("ledger.db")
    """The log's file, or the URL of a PostgreSQL database that holds the log, the read models and the directory."""

    batch_size: int = Field(default=1000, ge=1, le=20_000)
    zone: str = "UTC"
    associations_from: date | None = None
    """From this day a person may move to another partner `associations_at_most` times in twelve months, 30 days apart; None: no limit."""

    associations_at_most: int = Field(default=3, ge=1)
    lang: Annotated[Literal["en", "de", "nl"] | None, BeforeValidator(lambda written: written or None)] = None
    """The language of tables and messages; None: that of the locale."""

    lc_all: str = Field(default="", validation_alias="LC_ALL")
    lc_messages: str = Field(default="", validation_alias="LC_MESSAGES")
    locale: str = Field(default="", validation_alias="LANG")

    kafka: str | None = None
    """The brokers, host:port and host:port; None: the in-process bus of the embedded default."""

    kafka_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    kafka_username: str | None = None
    kafka_password_file: Path | None = None
    kafka_ca_file: Path | None = None
    """The CA of the brokers' certificates; None: those that the system trusts."""

    kafka_cert_file: Path | None = None
    kafka_key_file: Path | None = None
    kafka_key_password_file: Path | None = None
    """The client's certificate, its key where that is not in the same file, and the key's password where it has one."""

    kafka_token_file: Path | None = None
    kafka_token_command: str | None = Field(default=None, repr=False)
    """Where OAUTHBEARER has its token from: a file that is kept fresh, or what a command prints."""

    topics: str = "ledger."
    """What the names of the topics begin with."""

    partitions: int = Field(default=6, ge=1, le=1000)
    """Of each topic. Part of the data: the key decides the partition, so the number never changes while a topic lives."""

    replicas: int = Field(default=1, ge=1, le=9)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Without the password that a URL may hold."""
        for name, value in super().__repr_args__():
            yield name, _PASSWORD.sub(r"\1***", value) if isinstance(value, str) else value

    @property
    def language(self) -> str:
        return self.lang or of_locale(self.lc_all, self.lc_messages, self.locale)

    @property
    def read_path(self) -> Path | str:
        """The read models: they can be deleted at any time and are made anew."""
        return self.path.with_suffix(".read.db") if isinstance(self.path, Path) else self.path

    @property
    def directory_path(self) -> Path | str:
        """Names and addresses: outside the log, erasable."""
        return self.path.with_suffix(".directory.db") if isinstance(self.path, Path) else self.path


def collect_seldom() -> None:
    """For a process that reads and computes: what it makes refers back to nothing, and the collector looks at it in vain."""
    gc.set_threshold(200_000, 10, 1000)
