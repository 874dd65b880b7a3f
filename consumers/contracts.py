"""The contracts for other teams, made from the catalogue, the topics and the records: JSON Schemas and an AsyncAPI 3 document.

python -m consumers.contracts [DIRECTORY]     writes them, by default into contracts/
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from consumers.inbox_message import MARK, NO_PARTNER
from consumers.records import RefusalRecord, StandingRecord
from consumers.topics import EVENTS, INBOX, REFUSED, STANDINGS, Topic, wanted
from consumers.wire import SEAL, Seal
from ledger.events.catalogue import CATALOGUE, Attributes
from ledger.events.fields import fields
from ledger.events.schemas import DRAFT, schema, told

VERSION = "1.0.0"
"""Of the contracts. A field or kind that is added raises the second number; nothing else may change."""

RECORDS: dict[str, type[msgspec.Struct]] = {"seal": Seal, "refusal": RefusalRecord, "standing": StandingRecord}

_INBOX_KEY = {"type": "string", "description": f"The subject of the event in UTF-8; `{NO_PARTNER.decode()}` where it names no partner."}
_KEY = {
    "type": "string",
    "description": "The partner in UTF-8; `/person/...`, `/client/...` or `/programme/...` for what is kept for one of these. A "
    "partner whose id begins with a slash has one more before it.",
}


def files() -> dict[str, str]:
    """Every file by its path within the directory."""
    made: dict[str, Any] = {f"schemas/{kind}.json": schema(kind) for kind in CATALOGUE}
    made |= {f"schemas/{name}.json": record_schema(name) for name in RECORDS}
    made["asyncapi.json"] = asyncapi()
    return {path: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for path, content in made.items()}


def write(directory: Path) -> None:
    """Write all files, and take away schemas of what is no more."""
    made = files()
    for path in directory.glob("schemas/*.json"):
        if str(path.relative_to(directory)) not in made:
            path.unlink()
    for name, text in made.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, "utf-8")


def record_schema(name: str) -> dict[str, Any]:
    """The schema of a record that the ledger writes. It allows fields that are not known yet, as a reader must."""
    (_, made) = msgspec.json.schema_components([RECORDS[name]], ref_template="#/definitions/{name}")
    record, *others = (_draft_7(made[each]) for each in (RECORDS[name].__name__, *(n for n in made if n != RECORDS[name].__name__)))
    head = {"$schema": DRAFT, "$id": f"urn:points-ledger:{name}"}
    written: dict[str, Any] = head | record | {"definitions": {other["title"]: other for other in others}}
    return written


def _draft_7(stated: Any) -> Any:
    """msgspec writes a later draft, which differs in tuples alone."""
    if isinstance(stated, list):
        return [_draft_7(each) for each in stated]
    if not isinstance(stated, dict):
        return stated
    made = {name: _draft_7(each) for name, each in stated.items() if not (name == "default" and each is None)}
    if "prefixItems" in made:
        rest = made.pop("items", True)
        made |= {"items": made.pop("prefixItems")} | ({} if rest else {"additionalItems": False})
    return made


# AsyncAPI ----------------------------------------------------------------------------------------------------


def asyncapi() -> dict[str, Any]:
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Points Ledger",
            "version": VERSION,
            "description": "A book of record for partner-programme points. Publish events to the inbox; read what was recorded, what was "
            "refused and why, and where partners stand. The address of a topic begins with the prefix of the deployment.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {name: _server(name, protocol) for name, protocol in (("plain", "kafka"), ("secured", "kafka-secure"))},
        "channels": {topic.role: _channel(topic) for topic in wanted("ledger.", 1)},
        "operations": {
            "takeEvents": _operation("receive", INBOX, "The ledger takes events from anyone who may publish."),
            "sendEvents": _operation(
                "send", EVENTS, "Every event that was recorded, in order for each key. One may come twice; its position tells."
            ),
            "sendRefusals": _operation("send", REFUSED, "Every message of the inbox that was not taken, with the reason."),
            "sendStandings": _operation("send", STANDINGS, "The standing of a partner in a programme whenever it has changed."),
        },
        "components": {"messages": _messages(), "schemas": _shared(), "securitySchemes": _SECURITY},
    }


_SECURITY = {
    "plain": {"type": "plain", "description": "SASL PLAIN, over TLS."},
    "scramSha256": {"type": "scramSha256", "description": "SASL SCRAM-SHA-256."},
    "scramSha512": {"type": "scramSha512", "description": "SASL SCRAM-SHA-512."},
    "certificate": {"type": "X509", "description": "A client certificate in TLS."},
    "token": {"type": "http", "scheme": "bearer", "description": "SASL OAUTHBEARER with a token of the deployment's identity provider."},
}


def _server(name: str, protocol: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "host": "{brokers}",
        "protocol": protocol,
        "description": f"The brokers of a deployment, {name}.",
        "variables": {"brokers": {"default": "localhost:9092", "description": "host:port, several with commas between them."}},
    }
    if protocol == "kafka-secure":
        made["security"] = [{"$ref": f"#/components/securitySchemes/{scheme}"} for scheme in _SECURITY]
    return made


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


_TOLD = {
    INBOX: "CloudEvents 1.0 by the Kafka binding, structured or binary, one a message. Kept for ever.",
    EVENTS: "What was recorded: the value is the canonical bytes, the one header its place in the log. Kept for ever.",
    REFUSED: "What was not taken, whole, with the reason.",
    STANDINGS: "Compacted: for each key the last record is kept.",
}

_PARTITIONS = "The partition is murmur2 of the key, as Java's clients choose it; the number of partitions never changes."


def _channel(topic: Topic) -> dict[str, Any]:
    configuration: dict[str, Any] = {"cleanup.policy": topic.settings["cleanup.policy"].split(",")}
    for name in ("retention.ms", "retention.bytes", "max.message.bytes"):
        if name in topic.settings:
            configuration[name] = int(topic.settings[name])
    return {
        "address": topic.name,
        "description": f"{_TOLD[topic.role]} {_PARTITIONS}",
        "messages": {name: {"$ref": f"#/components/messages/{message}"} for name, message in _carried(topic.role).items()},
        "bindings": {"kafka": {"topic": topic.name, "topicConfiguration": configuration, "bindingVersion": "0.5.0"}},
    }


def _carried(role: str) -> dict[str, str]:
    """The messages of a topic, by their name there."""
    if role == INBOX:
        return {name: name for kind in CATALOGUE for name in (kind, f"{kind}.binary")}
    if role == EVENTS:
        return {kind: f"{kind}.recorded" for kind in CATALOGUE}
    return {"refusal": "refusal"} if role == REFUSED else {"standing": "standing", "none": "standing.none"}


def _messages() -> dict[str, Any]:
    made: dict[str, Any] = {}
    for kind, model in CATALOGUE.items():
        whole = {"$ref": f"./schemas/{kind}.json"}
        data = {"$ref": f"./schemas/{kind}.json#/properties/data"}
        binary = {"allOf": [{"$ref": "#/components/schemas/binaryHeaders"}, {"properties": {"ce_type": {"const": kind}}}]}
        made[kind] = _message(kind, told(model), "application/cloudevents+json", whole, _INBOX_KEY, "structuredHeaders")
        made[f"{kind}.binary"] = _message(kind, told(model), "application/json", data, _INBOX_KEY) | {"headers": binary}
        made[f"{kind}.recorded"] = _message(kind, told(model), "application/cloudevents+json", whole, _KEY, "recordedHeaders")
    key = {"type": "string", "description": "The key of the message that was refused, in its first 50,000 bytes."}
    made["refusal"] = _message("refusal", _told_of("refusal"), "application/json", {"$ref": "./schemas/refusal.json"}, key)
    key = {"type": "string", "description": "PROGRAMME/PARTNER; a slash or percent sign in the programme is %2F or %25."}
    made["standing"] = _message("standing", _told_of("standing"), "application/json", {"$ref": "./schemas/standing.json"}, key)
    none = "No value: the partner was no longer in the programme."
    made["standing.none"] = _message("standing.none", none, "application/json", {"type": "null"}, key)
    return made


def _told_of(record: str) -> str:
    return " ".join((RECORDS[record].__doc__ or "").split())


def _message(name: str, summary: str, content: str, payload: Any, key: Any, headers: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "summary": summary, "contentType": content}
    if headers is not None:
        made["headers"] = {"$ref": f"#/components/schemas/{headers}"}
    return made | {"payload": payload, "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}}}


def _shared() -> dict[str, Any]:
    attributes = {name: field for name, field in fields(Attributes).items() if name not in ("data", "datacontenttype")}
    marked = {f"{MARK}{name}": {"type": "string", "description": field.meaning} for name, field in attributes.items()}
    media = {"type": "string", "pattern": "^application/json(;.*)?$"}
    return {
        "structuredHeaders": {
            "type": "object",
            "properties": {"content-type": {"type": "string", "pattern": "^application/cloudevents\\+json(;.*)?$"}},
            "description": "The header may be left out.",
        },
        "binaryHeaders": {
            "type": "object",
            "properties": marked | {"content-type": media},
            "required": [f"{MARK}{name}" for name, field in attributes.items() if field.required],
            "description": "The attributes, in UTF-8. Other headers say nothing to the ledger.",
        },
        "recordedHeaders": {
            "type": "object",
            "properties": {SEAL: {"$ref": "./schemas/seal.json"}},
            "required": [SEAL],
            "description": f"The value of `{SEAL}` is compact JSON in UTF-8.",
        },
    }


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "contracts"))
