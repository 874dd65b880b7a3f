"""How to reach Kafka: what a deployment says of it, the secrets that it names, and what is wrong where nobody is let in.

Secrets are read from files when they are needed. They are in no setting, no error and no log.
"""

from __future__ import annotations

import shlex
import socket
import ssl
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ledger.errors import LedgerError
from ledger.settings import Settings

TOKEN_SECONDS = 30
_PROBE_SECONDS = 3.0
_ALERT_SECONDS = 1.0


class BusError(LedgerError):
    """Kafka cannot be reached or used; what was not confirmed counts as not published."""

    code = "bus_error"
    exit_code = 8


class Reason(NamedTuple):
    """Why a server cannot be used."""

    what: str
    hint: str
    code: str


@dataclass(frozen=True, slots=True)
class Connection:
    """Servers, what is spoken with them, and the files of secrets. Raises BusError where that cannot be meant."""

    servers: tuple[str, ...]
    protocol: str = "PLAINTEXT"
    mechanism: str | None = None
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password_file: Path | None = None
    token_file: Path | None = None
    token_command: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Connection:
        if settings.kafka is None:
            raise BusError("no brokers are named", hint="set POINTS_LEDGER_KAFKA to host:port", code="bus_settings")
        s, servers = settings, tuple(server.strip() for server in settings.kafka.split(",") if server.strip())
        return cls(
            servers, s.kafka_protocol, s.kafka_mechanism, s.kafka_username, s.kafka_password_file, s.kafka_ca_file, s.kafka_cert_file,
            s.kafka_key_file, s.kafka_key_password_file, s.kafka_token_file, s.kafka_token_command,
        )  # fmt: skip

    def __post_init__(self) -> None:
        for server in self.servers:
            host, _, port = server.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
                raise BusError(f"{server!r} is no server", hint="name host:port", code="bus_unreachable")
        if wrong := self._contradiction():
            what, hint = wrong
            raise BusError(what, hint=hint, code="bus_settings")

    def _contradiction(self) -> tuple[str, str] | None:
        sasl = self.protocol.startswith("SASL")
        if self.mechanism is not None and not sasl:
            return f"{self.protocol} knows no users, and {self.mechanism} was asked for", _set("PROTOCOL to SASL_SSL")
        if sasl and self.mechanism is None:
            return f"{self.protocol} asks who is there, and no mechanism was named", _set("MECHANISM")
        tls = (self.ca_file, self.cert_file, self.key_file, self.key_password_file)
        if any(tls) and not self.protocol.endswith("SSL"):
            return f"{self.protocol} uses no certificates, and one was named", _set("PROTOCOL to SSL or SASL_SSL")
        if self.key_file and not self.cert_file:
            return "a key was named and no certificate", _set("CERT_FILE")
        if self.mechanism == "OAUTHBEARER":
            if (self.token_file is None) == (self.token_command is None):
                return "OAUTHBEARER takes its token from one place", _set("TOKEN_FILE or _TOKEN_COMMAND")
        elif self.mechanism is not None:
            if not self.username:
                return "no user was named", _set("USERNAME")
            if self.password_file is None:
                return "no file with the password was named", _set("PASSWORD_FILE")
        return None

    def password(self) -> str:
        assert self.password_file is not None
        return _secret(self.password_file)

    def token(self) -> str:
        """A token, fetched anew: they live for minutes."""
        if self.token_file is not None:
            return _secret(self.token_file)
        return _printed(self.token_command or "")

    def tls(self) -> ssl.SSLContext | None:
        """TLS 1.2 or later that checks the server's certificate and name; None where none is spoken."""
        if not self.protocol.endswith("SSL"):
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            if self.ca_file is None:
                context.load_default_certs()
            else:
                context.load_verify_locations(self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(self.ca_file, "certificate of a CA", error) from None
        if self.cert_file is not None:
            password = _secret(self.key_password_file) if self.key_password_file is not None else ""
            try:
                context.load_cert_chain(self.cert_file, self.key_file, lambda: password)  # without it OpenSSL would ask at the terminal
            except (OSError, ssl.SSLError) as error:
                raise _unusable(
                    self.key_file or self.cert_file, "certificate with its key, or the key has another password", error
                ) from None
        return context

    def __str__(self) -> str:
        return ", ".join(self.servers)


def _set(name: str) -> str:
    return f"set POINTS_LEDGER_KAFKA_{name}"


def _secret(file: Path) -> str:
    try:
        found = file.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise BusError(f"{file}: {error.strerror}", hint="check the path and its rights", code="bus_secret") from None
    except UnicodeDecodeError:
        raise BusError(f"{file} is no text in UTF-8", hint="check the path", code="bus_secret") from None
    if not found:
        raise BusError(f"{file} is empty", hint="write the secret into it, and nothing else", code="bus_secret")
    return found


def _printed(command: str) -> str:
    """What a command prints. Neither its arguments nor its output are ever shown."""
    program, *_ = command.split() or ("",)
    try:
        words = shlex.split(command)
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=TOKEN_SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise BusError(f"{program} has printed no token within {TOKEN_SECONDS} s", hint="run it by hand", code="bus_secret") from None
    except OSError as error:
        raise BusError(f"{program}: {error.strerror}", hint="check the command that prints the token", code="bus_secret") from None
    except (ValueError, IndexError):
        raise BusError(f"{program}: it cannot be run", hint="check the command that prints the token", code="bus_secret") from None
    token = done.stdout.strip()
    if done.returncode or not token:
        what = f"{program} has ended with {done.returncode} and printed {'a' if token else 'no'} token"
        raise BusError(what, hint="run it by hand", code="bus_secret")
    return token


def _unusable(file: Path | None, meant: str, error: OSError) -> BusError:
    if isinstance(error, ssl.SSLError) or not error.strerror:
        return BusError(f"{file} is no {meant}", hint="PEM is read here", code="bus_certificate")
    return BusError(f"{file}: {error.strerror}", hint="check the path and its rights", code="bus_certificate")


def reason(connection: Connection, server: str) -> Reason | None:
    """Why a server cannot be talked to, asked step by step: its name, its port, its certificate, ours. None where all that is right."""
    host, _, port = server.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_PROBE_SECONDS) as plain:
            if (context := connection.tls()) is None:
                return None
            with context.wrap_socket(plain, server_hostname=host) as secure:
                return None if connection.mechanism else _alert(connection, server, secure)
    except socket.gaierror:
        return Reason(f"{host} is a name that nobody knows", "check the host's name", "bus_unreachable")
    except ssl.SSLCertVerificationError as error:
        hint = "name its CA" if "name" not in error.verify_message.lower() else "call it by a name in its certificate"
        return Reason(f"the certificate of {server} is not trusted: {error.verify_message}", hint, "bus_certificate")
    except ssl.SSLError as error:
        return Reason(f"{server} does not speak TLS: {error.reason}", "check the protocol and the port", "bus_certificate")
    except OSError as error:
        said = error.strerror or str(error) or type(error).__name__
        return Reason(f"no broker at {server}: {said}", "start it, or check host and port", "bus_unreachable")


def _alert(connection: Connection, server: str, secure: ssl.SSLSocket) -> Reason | None:
    """A server that does not like our certificate says so only after the handshake."""
    secure.settimeout(_ALERT_SECONDS)
    try:
        secure.recv(1)
    except TimeoutError:
        return None
    except OSError:
        pass
    if connection.cert_file is None:
        return Reason(f"{server} asks for a client certificate", _set("CERT_FILE and _KEY_FILE"), "bus_certificate")
    return Reason(f"{server} does not take {connection.cert_file}", "is it signed by a CA that the broker trusts?", "bus_certificate")
