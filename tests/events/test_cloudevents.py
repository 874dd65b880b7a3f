"""Ours and the `cloudevents` SDK: what one writes, the other reads as the same, for every kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event, to_structured_event
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from ledger.events.catalogue import CATALOGUE
from ledger.events.envelope import Event, cloudevent, decode
from ledger.instants import to_datetime
from tests.events.samples import encoded, full, minimal

EVENTS = [pytest.param(make(kind), id=f"{kind} {make.__name__}") for kind in sorted(CATALOGUE) for make in (minimal, full)]


def taken(raw: bytes) -> Event:
    found = decode(raw)
    assert isinstance(found, Event), found
    return found


def stated(event: CloudEvent) -> dict[str, Any]:
    """What an event of the SDK says, as it would be written by us: times in UTC, no content type."""
    attributes = dict(event.get_attributes()) | {"data": event.get_data()}
    attributes.pop("datacontenttype", None)
    return attributes


@pytest.mark.parametrize("attributes", EVENTS)
def test_ours_is_read_by_the_sdk(attributes: dict[str, Any]) -> None:
    ours = taken(encoded(attributes))
    theirs = JSONFormat().read(CloudEvent, ours.body)
    assert isinstance(theirs, CloudEvent)
    assert (theirs.get_id(), theirs.get_source(), theirs.get_type()) == (ours.id, ours.source, ours.kind)
    assert theirs.get_subject() == ours.subject
    assert theirs.get_time() == to_datetime(ours.effective_at)
    assert theirs.get_data() == cloudevent(ours)["data"]
    assert stated(theirs) | {"time": None} == cloudevent(ours) | {"time": None}


@pytest.mark.parametrize("attributes", EVENTS)
def test_theirs_is_read_by_us(attributes: dict[str, Any]) -> None:
    made = {name: value for name, value in attributes.items() if name not in ("data", "time")}
    at = datetime(2024, 3, 1, 12, 30, 15, 250_000, tzinfo=timezone(timedelta(hours=1)))
    theirs = CloudEvent({**made, "time": at}, attributes["data"])
    ours = taken(JSONFormat().write(theirs))
    assert to_datetime(ours.effective_at) == at
    assert (ours.id, ours.source, ours.kind, ours.subject) == (
        theirs.get_id(),
        theirs.get_source(),
        theirs.get_type(),
        theirs.get_subject(),
    )
    assert ours.body == taken(encoded({**attributes, "time": at.astimezone(UTC).isoformat()})).body
    for name, value in attributes["data"].items():
        assert msgspec.to_builtins(getattr(ours.data, name)) in (value, tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize("attributes", EVENTS)
def test_there_and_back_by_http(attributes: dict[str, Any]) -> None:
    """Structured content mode: the SDK parses our bytes, sends them on, and we take them as the same event."""
    ours = taken(encoded(attributes))
    headers = {"content-type": "application/cloudevents+json"}
    theirs = from_structured_event(HTTPMessage(headers=headers, body=ours.body))
    sent = to_structured_event(theirs)
    assert sent.headers["content-type"] == headers["content-type"]
    assert taken(sent.body) == ours


def test_the_sdk_refuses_what_we_refuse_of_the_envelope() -> None:
    """The attributes that CloudEvents itself requires."""
    for name in ("id", "source", "type", "specversion"):
        assert not isinstance(decode(encoded(minimal("partner.left.v1") | {name: ""})), Event)
        with pytest.raises(CloudEventValidationError):
            CloudEvent({"id": "1", "source": "crm", "type": "partner.left.v1", "specversion": "1.0", name: ""}, {})
