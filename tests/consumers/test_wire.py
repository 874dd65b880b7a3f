"""Events as messages: the stored bytes are the value, and nothing but an event comes out."""

from __future__ import annotations

import pytest

from consumers.wire import message, sealed
from ledger.events.catalogue import CATALOGUE
from ledger.events.envelope import Event, Sealed, decode
from ledger.log import GENESIS
from tests.events.samples import encoded, full, minimal


@pytest.mark.parametrize("kind", CATALOGUE)
def test_an_event_of_every_kind_comes_back_in_its_place(kind: str) -> None:
    for attributes in (minimal(kind), full(kind)):
        event = decode(encoded(attributes))
        assert isinstance(event, Event), event
        stored = Sealed(9, "partner/P-1", 4, 1_700_000_000_000_001, GENESIS, b"\xff" * 32, event)
        sent = message(stored)
        assert (sent.key, sent.value) == ("partner/P-1", event.body)
        assert sealed(sent) == stored


@pytest.mark.parametrize("body", [b"", b"nonsense", b"{}", b"[]", b'{"specversion":"1.0"}', b"\xff"])
def test_what_is_no_event_is_a_bug_that_says_where(body: bytes) -> None:
    event = decode(encoded(minimal("points.lost.v1")))
    assert isinstance(event, Event)
    sent = message(Sealed(9, "partner/P-1", 4, 0, GENESIS, GENESIS, event))
    with pytest.raises(AssertionError, match="partner/P-1 at 17"):
        sealed(sent._replace(value=body, offset=17))
