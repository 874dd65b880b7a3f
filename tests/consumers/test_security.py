"""Listeners that ask who is there: every way in works, every way out has its own code and words, and no secret is ever shown."""

from __future__ import annotations

import base64
import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import ACLOperation

from consumers import connection as connections
from consumers import kafka_bus
from consumers.connection import BusError, Connection
from consumers.kafka_bus import Admin, Publisher, Unpublished, read_all
from consumers.topics import wanted
from consumers.wire import Message
from ledger.settings import Settings
from tests.secured import KEY_PASSWORD, MECHANISMS, PASSWORD, WRITER, Authority, Secured

WAYS = [("TLS", None), ("MUTUAL", None), *[("GUARDED", mechanism) for mechanism in MECHANISMS], ("OPEN", "SCRAM-SHA-512")]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not let in gives up soon."""
    monkeypatch.setattr(kafka_bus, "BOOTSTRAP_MS", 700)


def connection(**settings: Any) -> Connection:
    return Connection.of(Settings(**settings))


@pytest.fixture
def heard() -> Iterator[io.StringIO]:
    """Everything that is logged by anyone, in all detail."""
    out, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(out), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield out
    root.removeHandler(handler)
    root.setLevel(level)


def no_secret(*shown: object) -> None:
    text = "\n".join(map(str, shown))
    for secret in (PASSWORD, KEY_PASSWORD, "hush-", "eyJ"):  # a token begins with eyJ
        assert secret not in text
        assert base64.b64encode(secret.encode()).decode().rstrip("=")[:-1] not in text


@pytest.mark.parametrize(("listener", "mechanism"), WAYS)
def test_every_way_in(secured: Secured, prefix: str, heard: io.StringIO, listener: str, mechanism: str | None) -> None:
    settings = Settings(**secured.settings(listener, mechanism))
    way = Connection.of(settings)
    topic = wanted(prefix, 1)[0]
    with Admin(way) as admin:
        assert admin.create(topic, 1)
    publisher = Publisher(way)
    assert publisher.publish(topic.name, [Message(b"P-1", b"{}", (), -1)]) == {0: 1}
    publisher.close()
    assert [(each.key, each.value) for each in read_all(way, topic.name, 1)] == [(b"P-1", b"{}")]
    assert "kafka" in heard.getvalue()
    no_secret(heard.getvalue(), repr(settings), str(settings), repr(way), str(way))


def refused(code: str, says: str, heard: io.StringIO, **settings: Any) -> None:
    with pytest.raises(BusError) as raised:
        Admin(connection(**settings))
    assert raised.value.code == code, raised.value
    assert says in raised.value.what and raised.value.hint
    no_secret(raised.value, repr(raised.value), heard.getvalue(), raised.value.__cause__)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_wrong_password(secured: Secured, heard: io.StringIO, mechanism: str) -> None:
    wrong = secured.settings("GUARDED", mechanism, kafka_password_file=secured.files["wrong"])
    refused("bus_access", f"does not let 'crm' by {mechanism} in", heard, **wrong)


def test_a_user_who_is_not_known(secured: Secured, heard: io.StringIO) -> None:
    nobody = secured.settings("GUARDED", "SCRAM-SHA-256", kafka_username="nobody")
    refused("bus_access", "does not let 'nobody'", heard, **nobody)


@pytest.mark.parametrize("claims", [{"seconds": -60}, {"aud": "other"}, {"iss": "https://other.example"}])
def test_a_token_that_is_not_good(secured: Secured, heard: io.StringIO, claims: dict[str, Any]) -> None:
    file = secured.file("bad.token", secured.issuer.token(**claims))
    refused("bus_access", "does not let us by OAUTHBEARER in", heard, **secured.settings("GUARDED", "OAUTHBEARER", kafka_token_file=file))


def test_a_mechanism_that_is_not_offered(secured: Secured, heard: io.StringIO) -> None:
    refused("bus_access", "does not let 'crm' by PLAIN in", heard, **secured.settings("OPEN", "PLAIN"))


def test_certificates_that_are_not_good(secured: Secured, heard: io.StringIO) -> None:
    refused("bus_certificate", "is not trusted", heard, **secured.settings("TLS", kafka_ca_file=secured.files["other_ca"]))
    refused("bus_certificate", "is not trusted", heard, **secured.settings("GUARDED", "PLAIN", kafka_ca_file=None))
    bare = secured.settings("MUTUAL", kafka_cert_file=None, kafka_key_file=None, kafka_key_password_file=None)
    refused("bus_certificate", "asks for a client certificate", heard, **bare)
    certificate, key = Authority("unknown").issue("client")
    both = secured.file("unknown.pem", certificate + key)
    foreign = secured.settings("MUTUAL", kafka_cert_file=both, kafka_key_file=None, kafka_key_password_file=None)
    refused("bus_certificate", "does not take", heard, **foreign)


def test_a_certificate_for_another_name(secured: Secured, heard: io.StringIO) -> None:
    elsewhere = secured.settings("TLS", kafka=f"localhost:{secured.broker.ports['TLS']}")
    refused("bus_certificate", "Hostname mismatch", heard, **elsewhere)


def test_listeners_of_another_protocol(secured: Secured, heard: io.StringIO) -> None:
    refused("bus_certificate", "does not speak TLS", heard, **secured.settings("TLS", kafka=secured.broker.bootstrap))
    refused("bus_unreachable", "does not answer as a Kafka broker", heard, kafka=secured.server("TLS"))
    refused("bus_unreachable", "does not answer as a Kafka broker", heard, **secured.settings("TLS", kafka=secured.server("GUARDED")))
    refused("bus_unreachable", "no broker at 127.0.0.1:1", heard, **secured.settings("GUARDED", "PLAIN", kafka="127.0.0.1:1"))


def test_files_that_are_not_what_they_should_be(secured: Secured, heard: io.StringIO, tmp_path: Path) -> None:
    gone, empty, binary = tmp_path / "gone", secured.file("empty", "\n"), secured.file("binary", b"\xff\xfe")
    junk = secured.file("junk.pem", "no certificate")
    for file, says in ((gone, "No such file"), (empty, "is empty"), (binary, "no text"), (tmp_path, "directory")):
        refused("bus_secret", says, heard, **secured.settings("GUARDED", "PLAIN", kafka_password_file=file))
        refused("bus_secret", says, heard, **secured.settings("GUARDED", "OAUTHBEARER", kafka_token_file=file))
    refused("bus_secret", "No such file", heard, **secured.settings("MUTUAL", kafka_key_password_file=gone))
    refused("bus_certificate", "No such file", heard, **secured.settings("TLS", kafka_ca_file=gone))
    refused("bus_certificate", "no certificate of a CA", heard, **secured.settings("TLS", kafka_ca_file=junk))
    refused("bus_certificate", "No such file", heard, **secured.settings("MUTUAL", kafka_cert_file=gone))
    for wrong in ({"kafka_key_file": junk}, {"kafka_key_password_file": secured.files["wrong"]}, {"kafka_key_password_file": None}):
        refused("bus_certificate", "another password", heard, **secured.settings("MUTUAL", **wrong))


def test_a_command_that_prints_the_token(secured: Secured, heard: io.StringIO, tmp_path: Path) -> None:
    good = secured.file("fresh", secured.issuer.token())

    def by(command: str) -> dict[str, Any]:
        return secured.settings("GUARDED", "OAUTHBEARER", kafka_token_file=None, kafka_token_command=command)

    settings = Settings(**by(f"cat {good} --"))
    with Admin(Connection.of(settings)) as admin:
        assert admin.find(["none"]) == {}
    assert str(good) not in repr(settings) + str(settings) + repr(Connection.of(settings))
    refused("bus_secret", "sh has ended with 3 and printed a token", heard, **by(f"sh -c 'echo hush-x; cat {good} >&2; exit 3'"))
    refused("bus_secret", "true has ended with 0 and printed no token", heard, **by("true hush-secret"))
    refused("bus_secret", "No such file", heard, **by("/no/such/program hush-secret"))
    refused("bus_secret", "cannot be run", heard, **by("cat 'hush-unclosed"))
    refused("bus_secret", "cannot be run", heard, **by(" "))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kafka_mechanism": "PLAIN", "kafka_username": "u", "kafka_password_file": "p"}, "knows no users"),
        ({"kafka_protocol": "SASL_SSL"}, "no mechanism was named"),
        ({"kafka_ca_file": "ca"}, "uses no certificates"),
        ({"kafka_protocol": "SSL", "kafka_key_file": "key"}, "a key was named and no certificate"),
        ({"kafka_protocol": "SASL_SSL", "kafka_mechanism": "PLAIN", "kafka_password_file": "p"}, "no user was named"),
        ({"kafka_protocol": "SASL_SSL", "kafka_mechanism": "PLAIN", "kafka_username": "u"}, "no file with the password"),
        ({"kafka_protocol": "SASL_SSL", "kafka_mechanism": "OAUTHBEARER"}, "one place"),
        ({"kafka_protocol": "SASL_SSL", "kafka_mechanism": "OAUTHBEARER", "kafka_token_file": "t", "kafka_token_command": "t"}, "one place"),
        ({"kafka": None}, "no brokers are named"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(BusError) as raised:
        connection(**{"kafka": "h:1", **settings})
    assert raised.value.code == "bus_settings" and says in raised.value.what and "POINTS_LEDGER_KAFKA" in raised.value.hint


def test_settings_show_no_password_of_a_url() -> None:
    for url in ("postgresql://me:hush-1@h/db", "postgresql://h/db?user=me&password=hush-1&x=1", "postgres://h/db?sslpassword=hush-1"):
        settings = Settings(path=url)
        assert settings.path == url
        assert "hush" not in repr(settings) + str(settings) and "postgres" in repr(settings)
    assert "postgresql://me@h:1/db" in repr(Settings(path="postgresql://me@h:1/db"))


def test_who_publishes_needs_the_right_to_write_and_no_more(secured: Secured, prefix: str) -> None:
    with Admin(connection(**secured.settings("TLS"))) as admin:
        inbox, other, *_ = wanted(prefix, 1)
        assert admin.create(inbox, 1) and admin.create(other, 1)
    secured.allow(WRITER, ACLOperation.WRITE, inbox.name)
    way = connection(**secured.settings("GUARDED", "SCRAM-SHA-512", kafka_username=WRITER))
    publisher = Publisher(way, delivery_ms=3_000)
    message = Message(b"P-1", b"{}", (), -1)
    assert publisher.publish(inbox.name, [message]) == {0: 1}
    for _ in range(2):
        with pytest.raises(Unpublished) as raised:
            publisher.publish(other.name, [message])
        assert raised.value.code == "bus_access" and other.name in raised.value.what, raised.value
    assert publisher.publish(inbox.name, [message]) == {0: 2}
    publisher.close()
    with pytest.raises(BusError) as reading:
        list(read_all(way, inbox.name, 1))
    assert reading.value.code == "bus_access"
    with Admin(way) as admin, pytest.raises(BusError) as making:
        admin.create(wanted(f"{prefix}x", 1)[0], 1)
    assert making.value.code == "bus_access"


def test_every_code_and_setting_is_documented() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "operations.md").read_text()
    source = "".join(Path(module.__file__ or "").read_text() for module in (connections, kafka_bus))
    codes = {code for code in re.findall(r'"(bus_\w+)"', source) if code != "bus_error"}
    assert len(codes) == 6 and codes <= set(re.findall(r"`(bus_\w+)`", page))
    for name in Settings.model_fields:
        if name.startswith("kafka_"):
            assert f"`{name.removeprefix('kafka_').upper()}`" in page, name
