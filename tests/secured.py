"""A real broker whose listeners ask who is there: TLS, client certificates, SASL by password and by token. All made anew for each run."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.broker import Broker, NoBroker
from tests.servers import missing

USER, PASSWORD, KEY_PASSWORD = "crm", "hush-Pa55=word", "hush-key"
WRITER = "writer"
"""A user who may do nothing but what a test allows; the password is the same."""

AUDIENCE, ISSUER = "points-ledger", "https://issuer.example"
LISTENERS = {"TLS": "SSL", "MUTUAL": "SSL", "GUARDED": "SASL_SSL", "OPEN": "SASL_PLAINTEXT"}
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")

_SETTINGS = """
ssl.keystore.type=PEM
ssl.keystore.location={directory}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={directory}/ca.pem
ssl.client.auth=none
listener.name.mutual.ssl.client.auth=required
listener.name.guarded.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.guarded.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.guarded.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.guarded.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.guarded.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
listener.name.guarded.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler
sasl.oauthbearer.jwks.endpoint.url=file://{directory}/keys.json
sasl.oauthbearer.expected.audience={audience}
sasl.oauthbearer.expected.issuer={issuer}
listener.name.open.sasl.enabled.mechanisms=SCRAM-SHA-512
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:{user};User:CN=client
listener.name.open.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Authority:
    """Signs certificates."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self.certificate = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))

    def _signed(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> bytes:
        now = datetime.now(UTC)
        made = x509.CertificateBuilder(self._name, name, key.public_key(), x509.random_serial_number(), now - timedelta(days=1), now + timedelta(days=1))
        signed = made.add_extension(extension, critical=False).sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str, *, hosts: tuple[str, ...] = (), password: str | None = None) -> tuple[bytes, bytes]:
        """Certificate and private key in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts]
        extension = x509.SubjectAlternativeName(names or [x509.DNSName("client.example")])
        how = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        written = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
        return self._signed(_named(name), key, extension), written


def _unpadded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Issuer:
    """Signs tokens."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def keys(self) -> str:
        numbers = self._key.public_key().public_numbers()
        n, e = (_unpadded(number.to_bytes((number.bit_length() + 7) // 8)) for number in (numbers.n, numbers.e))
        return json.dumps({"keys": [{"kty": "RSA", "kid": "one", "use": "sig", "alg": "RS256", "n": n, "e": e}]})

    def token(self, seconds: int = 600, **claims: Any) -> str:
        now = int(time.time())
        head = {"alg": "RS256", "kid": "one", "typ": "JWT"}
        body = {"sub": USER, "iss": ISSUER, "aud": AUDIENCE, "iat": now - 700, "exp": now + seconds, **claims}
        signed = ".".join(_unpadded(json.dumps(part).encode()) for part in (head, body))
        return f"{signed}.{_unpadded(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


@dataclass
class Secured:
    """The broker, and the files that a client needs."""

    broker: Broker
    directory: Path
    issuer: Issuer
    files: dict[str, Path] = field(default_factory=dict)

    def server(self, listener: str) -> str:
        return f"127.0.0.1:{self.broker.ports[listener]}"

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def allow(self, user: str, what: ACLOperation, topic: str) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        on = ResourcePattern(ResourceType.TOPIC, topic)
        made = admin.create_acls([ACL(f"User:{user}", "*", what, ACLPermissionType.ALLOW, on)])
        assert not made["failed"], made
        admin.close()

    def settings(self, listener: str, mechanism: str | None = None, **more: Any) -> dict[str, Any]:
        """The settings of a client that gets in, by name without the prefix."""
        found: dict[str, Any] = {"kafka": self.server(listener), "kafka_protocol": LISTENERS[listener]}
        if LISTENERS[listener].endswith("SSL"):
            found["kafka_ca_file"] = self.files["ca"]
        if listener == "MUTUAL":
            found |= {"kafka_cert_file": self.files["cert"], "kafka_key_file": self.files["key"], "kafka_key_password_file": self.files["key_password"]}
        if mechanism is not None:
            found["kafka_mechanism"] = mechanism
            if mechanism == "OAUTHBEARER":
                found["kafka_token_file"] = self.file("token", self.issuer.token())
            else:
                found |= {"kafka_username": USER, "kafka_password_file": self.files["password"]}
        return {name: value for name, value in (found | more).items() if value is not None}


def _run(directory: Path) -> Secured:
    directory.mkdir()
    authority, issuer = Authority("test authority"), Issuer()
    certificate, key = authority.issue("server", hosts=("127.0.0.1",))
    (directory / "server.pem").write_bytes(key + certificate)
    (directory / "ca.pem").write_bytes(authority.certificate)
    (directory / "keys.json").write_text(issuer.keys())
    settings = _SETTINGS.format(directory=directory, user=USER, password=PASSWORD, audience=AUDIENCE, issuer=ISSUER)
    java = (f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://{directory}/keys.json",)
    made = Secured(Broker(directory / "broker", LISTENERS, settings=settings, java=java).start(), directory, issuer)
    certificate, key = authority.issue("client", password=KEY_PASSWORD)
    made.files = {
        "ca": directory / "ca.pem", "cert": made.file("client.pem", certificate), "key": made.file("client.key", key),
        "key_password": made.file("key.password", KEY_PASSWORD + "\n"), "password": made.file("password", PASSWORD + "\n"),
        "other_ca": made.file("other.pem", Authority("another").certificate), "wrong": made.file("wrong", "hush-wrong"),
    }  # fmt: skip
    admin = KafkaAdminClient(bootstrap_servers=made.broker.bootstrap)
    for name in (USER, WRITER):
        for how in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            assert admin.alter_user_scram_credentials([UserScramCredentialUpsertion(name, how, PASSWORD)]) == {name: None}
    admin.close()
    return made


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    try:
        made = _run(tmp_path_factory.mktemp("secured") / "all")
    except NoBroker as why:
        missing(f"no Kafka: {why}; install Java 17 and Maven")
        return
    yield made
    made.broker.kill()
