"""A real Apache Kafka for tests: one node in KRaft mode, its jars by Maven into a cache, run by Java on free ports."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

KAFKA = "4.3.0"
JARS = {"org.apache.kafka:kafka_2.13": KAFKA, "org.apache.kafka:kafka-tools": KAFKA, "org.apache.logging.log4j:log4j-slf4j-impl": "2.25.4"}
UP_SECONDS = 60

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>points-ledger</groupId><artifactId>broker</artifactId><version>1</version>
<dependencies>{}</dependencies></project>
"""
_DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"
_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={listeners}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,{protocols}
inter.broker.listener.name=PLAINTEXT
log.dirs={directory}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
auto.create.topics.enable=false
log.cleaner.dedupe.buffer.size=2097152
log.cleaner.threads=1
broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=200
"""
_LOGGING = """
rootLogger.level = WARN
rootLogger.appenderRef.stdout.ref = STDOUT
appender.stdout.type = Console
appender.stdout.name = STDOUT
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = %d %p %c{1} %m%n
"""


class NoBroker(Exception):
    """Why no broker can be run here, in plain words."""


def jars() -> Path:
    """The folder of the broker's jars: fetched once, kept for the next run. Raises NoBroker."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "points-ledger" / f"kafka-{KAFKA}"
    if (cache / "done").exists():
        return cache / "libs"
    for needed in ("java", "mvn"):
        if shutil.which(needed) is None:
            raise NoBroker(f"{needed} is not on the path")
    cache.mkdir(parents=True, exist_ok=True)
    work = cache / f"fetch-{os.getpid()}"
    work.mkdir()
    try:
        wanted = [_DEPENDENCY.format(*name.split(":"), version) for name, version in JARS.items()]
        (work / "pom.xml").write_text(_POM.format("".join(wanted)))
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=libs"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoBroker(f"maven could not fetch the broker: {done.stdout.strip()[-500:]}")
        if not (cache / "libs").exists():
            (work / "libs").rename(cache / "libs")
        (cache / "done").touch()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return cache / "libs"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Broker:
    """One broker on its own ports and folder. It may be stopped, killed, paused and started again; what it holds stays.

    `listeners`: more of them, by name the protocol, beside the plain one; `settings` and `java` are for what these need.
    """

    def __init__(self, directory: Path, listeners: Mapping[str, str] | None = None, *, settings: str = "", java: Sequence[str] = ()) -> None:
        self.directory = directory
        protocols = {"PLAINTEXT": "PLAINTEXT", **(listeners or {})}
        self.ports = {name: free_port() for name in protocols}
        self.port, self._controller = self.ports["PLAINTEXT"], free_port()
        self._java = java
        self._process: subprocess.Popen[bytes] | None = None
        self._libs = jars()
        data = directory / "data"
        data.mkdir(parents=True)
        identity, folder = (base64.urlsafe_b64encode(os.urandom(16)).decode()[:22] for _ in range(2))
        (data / "meta.properties").write_text(f"version=1\ncluster.id={identity}\nnode.id=1\ndirectory.id={folder}\n")
        properties = _PROPERTIES.format(
            listeners=",".join(f"{name}://127.0.0.1:{port}" for name, port in self.ports.items()), controller=self._controller,
            protocols=",".join(f"{name}:{protocol}" for name, protocol in protocols.items()), directory=directory,
        )  # fmt: skip
        (directory / "server.properties").write_text(properties + settings)
        (directory / "log4j2.properties").write_text(_LOGGING)

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> Broker:
        """Run it and wait until it listens. Raises NoBroker with the tail of its log."""
        command = [
            "java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            f"-Dlog4j2.configurationFile={self.directory}/log4j2.properties", *self._java, "-cp", f"{self._libs}/*",
            "kafka.Kafka", str(self.directory / "server.properties"),
        ]  # fmt: skip
        with (self.directory / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until = time.monotonic() + UP_SECONDS
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            with socket.socket() as probe:
                probe.settimeout(0.5)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        tail = (self.directory / "broker.log").read_text(errors="replace")[-2000:]
        self.kill()
        raise NoBroker(f"the broker did not start:\n{tail}")

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(30)
        self._process = None

    def tool(self, main: str, *words: str, input: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """One of Kafka's own tools, by its class."""
        command = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", f"{self._libs}/*", main, *words]
        return subprocess.run(command, input=input, capture_output=True, check=False, timeout=60)


class Container:
    """The same broker by Docker, for those who have its daemon."""

    def __init__(self) -> None:
        self.port = free_port()
        self._name = f"points-ledger-test-{os.urandom(4).hex()}"

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @staticmethod
    def is_possible() -> bool:
        if shutil.which("docker") is None:
            return False
        return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0

    def start(self) -> Container:
        """Raises NoBroker."""
        settings = {
            "KAFKA_NODE_ID": "1", "KAFKA_PROCESS_ROLES": "broker,controller", "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@127.0.0.1:9093",
            "KAFKA_LISTENERS": f"PLAINTEXT://:{self.port},CONTROLLER://:9093", "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{self.port}",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1", "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1", "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "500", "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        }  # fmt: skip
        words = [word for name, value in settings.items() for word in ("-e", f"{name}={value}")]
        command = ["docker", "run", "-d", "--rm", "--name", self._name, "-p", f"127.0.0.1:{self.port}:{self.port}", *words, f"apache/kafka:{KAFKA}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoBroker(f"docker could not run it: {done.stderr.strip()[-300:]}")
        until = time.monotonic() + UP_SECONDS
        while time.monotonic() < until:
            logs = subprocess.run(["docker", "logs", self._name], capture_output=True, text=True, check=False)
            if "Kafka Server started" in logs.stdout:
                return self
            time.sleep(0.2)
        self.kill()
        raise NoBroker(f"the broker did not start in its container within {UP_SECONDS} s")

    def kill(self) -> None:
        subprocess.run(["docker", "kill", self._name], capture_output=True, check=False)
