"""Events as messages: the stored bytes are the value, the key says the stream, and one header the place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.wire import SEAL, Message, NoSeal, Origin, Seal, key_of, message, seal_of, stream_of
from ledger.events.catalogue import CATALOGUE
from ledger.events.envelope import Event, decode
from ledger.log import GENESIS, STREAM_KINDS, Stored
from tests.events.samples import encoded, full, minimal

ORIGIN = Origin("ledger.inbox", "abc", 3, 17)


@pytest.mark.parametrize("kind", CATALOGUE)
@pytest.mark.parametrize("origin", [None, ORIGIN])
def test_an_event_of_every_kind_comes_back_in_its_place(kind: str, origin: Origin | None) -> None:
    for attributes in (minimal(kind), full(kind)):
        event = decode(encoded(attributes))
        assert isinstance(event, Event), event
        sent = message(Stored(9, "partner/P-1", 4, 1_700_000_000_000_001, GENESIS, b"\xff" * 32, event.body), 12, origin)
        assert (sent.key, sent.value, len(sent.headers), sent.headers[0][0]) == (b"P-1", event.body, 1, SEAL)
        assert seal_of(sent) == Seal(9, 4, "ff" * 32, "2023-11-14T22:13:20.000001Z", 12, origin)


@given(st.sampled_from(STREAM_KINDS), st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_a_stream_has_a_key_of_its_own(kind: str, name: str) -> None:
    assert stream_of(key_of(f"{kind}/{name}")) == f"{kind}/{name}"


def test_keys_are_as_they_are_documented() -> None:
    streams = {"P-1": "partner/P-1", "//x": "partner//x", "/person/E-1": "person/E-1", "/programme/hubspot": "programme/hubspot"}
    assert {key: key_of(stream).decode() for key, stream in streams.items()} == {key: key for key in streams}


@pytest.mark.parametrize(
    "strange",
    [
        Message(b"P-1", b"{}"),
        Message(b"P-1", b"{}", ((SEAL, None),)),
        Message(b"P-1", b"{}", ((SEAL, b"nonsense"),)),
        Message(b"P-1", b"{}", ((SEAL, b'{"position":1}'),)),
        Message(b"P-1", b"{}", (("other", b"{}"),)),
        Message(b"P-1", b"{}", ((SEAL, b"{}"), (SEAL, b"{}"))),
        Message(None, b"{}", ((SEAL, b"{}"),)),
        Message(b"P-1", None, ((SEAL, b"{}"),)),
    ],
)
def test_what_no_relay_has_written_is_named_with_its_place(strange: Message) -> None:
    with pytest.raises(NoSeal, match="partition 2, offset 17"):
        seal_of(strange._replace(partition=2, offset=17))
