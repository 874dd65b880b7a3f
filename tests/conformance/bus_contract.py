"""What every bus keeps, whatever carries it. A backend joins with a subclass that says how one is opened.

Offsets are those of a partition: a key has one partition for ever, and other keys may share it. So between keys nothing is promised.
"""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from consumers.bus import Bus
from consumers.wire import Message, Origin, Seal, message, seal_of, stream_of
from ledger.events.envelope import event
from ledger.events.refusals import BYTES_MAX
from ledger.log import GENESIS, Stored, seal

SECONDS_MAX = 30
"""A bus between processes may take its time; one in this process needs none."""


def said(key: str, n: int) -> Message:
    return Message(key.encode(), b"%d of %s" % (n, key.encode()), (("seal", b"%d" % n),))


def content(message: Message) -> tuple[bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]:
    """All but the offset, which is the bus's to give."""
    return message.key, message.value, tuple(message.headers)


def by_key(messages: Iterable[Message]) -> dict[bytes, list[Message]]:
    found: dict[bytes, list[Message]] = defaultdict(list)
    for each in messages:
        found[each.key or b""].append(each)
    return dict(found)


class BusContract(ABC):
    """One contract for every backend."""

    @abstractmethod
    def open_bus(self, where: Path) -> Bus:
        """An empty bus with one reader, which reads from the beginning."""

    @pytest.fixture
    def bus(self, tmp_path: Path) -> Iterator[Bus]:
        bus = self.open_bus(tmp_path)
        yield bus
        if close := getattr(bus, "close", None):
            close()

    def take(self, bus: Bus, count: int, limit: int = 100) -> list[Message]:
        """So many messages; a poll may give fewer than there are, or none yet."""
        found: list[Message] = []
        until = time.monotonic() + SECONDS_MAX
        while len(found) < count and time.monotonic() < until:
            page = bus.poll(limit)
            assert len(page) <= limit
            found += page
        return found

    def nothing_is_left(self, bus: Bus) -> None:
        assert [bus.poll(100) for _ in range(3)] == [[], [], []]

    def test_an_empty_poll(self, bus: Bus) -> None:
        self.nothing_is_left(bus)

    def test_publishing_nothing_changes_nothing(self, bus: Bus) -> None:
        bus.publish([])
        self.nothing_is_left(bus)
        bus.publish([said("partner/P-1", 0)])
        first = self.take(bus, 1)
        bus.publish([])
        bus.publish([said("partner/P-1", 1)])
        (second,) = self.take(bus, 1)
        assert second.offset == first[0].offset + 1

    def test_a_message_comes_out_as_it_went_in(self, bus: Bus) -> None:
        published = [
            Message(b"partner/P-1", b'{"id":"1"}', (("seal", b"[1]"),)),
            Message(b"partner/P-1", bytes(range(256)), ()),
            Message("person/é 日本".encode(), "é\r\n".encode(), (("seal", b""), ("other", b"\x00\xff"))),
            Message(b"partner/P-1", b"x" * BYTES_MAX, (("seal", b"[4]"),)),
        ]
        bus.publish(published)
        found = self.take(bus, len(published))
        assert sorted(map(content, found)) == sorted(map(content, published))
        assert all(type(each) is Message and each.offset >= 0 for each in found)

    def test_an_event_keeps_its_place_and_its_bytes(self, bus: Bus) -> None:
        made = event("points.lost.v1", subject="P-é", effective_at="2024-03-01", id="1", client="C", reason="closed\n")
        hash = seal(GENESIS, "partner/P-é", 3, -5, made.body)
        bus.publish([message(Stored(7, "partner/P-é", 3, -5, b"\x01" * 32, hash, made.body), 9, Origin("inbox", "T", 1, 4))])
        (found,) = self.take(bus, 1)
        assert seal_of(found) == Seal(7, 3, hash.hex(), "1969-12-31T23:59:59.999995Z", 9, Origin("inbox", "T", 1, 4))
        assert (stream_of(found.key or b""), found.value) == ("partner/P-é", made.body)

    def test_of_one_key_in_order_and_offsets_grow_by_one(self, bus: Bus) -> None:
        bus.publish([said("partner/P-1", n) for n in range(10)])
        for n in range(10, 20):
            bus.publish([said("partner/P-1", n)])
        found = self.take(bus, 20)
        assert [content(each) for each in found] == [content(said("partner/P-1", n)) for n in range(20)]
        assert [each.offset for each in found] == list(range(found[0].offset, found[0].offset + 20))

    def test_of_many_keys_each_in_order(self, bus: Bus) -> None:
        keys = [f"partner/P-{n}" for n in range(7)]
        bus.publish([said(key, n) for n in range(30) for key in keys])
        for name, found in by_key(self.take(bus, 30 * len(keys))).items():
            key = name.decode()
            assert [content(each) for each in found] == [content(said(key, n)) for n in range(30)]
            offsets = [each.offset for each in found]
            assert offsets == sorted(set(offsets))

    @pytest.mark.parametrize("limit", [1, 2, 7, 100])
    def test_a_poll_gives_no_more_than_its_limit(self, bus: Bus, limit: int) -> None:
        bus.publish([said("partner/P-1", n) for n in range(15)])
        assert len(self.take(bus, 15, limit)) == 15
        self.nothing_is_left(bus)

    def test_a_poll_for_nothing_takes_nothing(self, bus: Bus) -> None:
        bus.publish([said("partner/P-1", 0)])
        assert bus.poll(0) == []
        assert len(self.take(bus, 1)) == 1

    def test_what_was_polled_does_not_come_again(self, bus: Bus) -> None:
        bus.publish([said("partner/P-1", 0), said("partner/P-1", 1)])
        assert len(self.take(bus, 2)) == 2
        self.nothing_is_left(bus)
        bus.publish([said("partner/P-1", 2)])
        assert [content(each) for each in self.take(bus, 1)] == [content(said("partner/P-1", 2))]

    def test_the_same_message_twice_is_two_messages(self, bus: Bus) -> None:
        """A bus does not judge: whether a message was seen before is for its reader to know."""
        bus.publish([said("partner/P-1", 0), said("partner/P-1", 0)])
        one, other = self.take(bus, 2)
        assert content(one) == content(other)
        assert other.offset == one.offset + 1

    def test_nothing_is_lost_and_nothing_comes_twice(self, bus: Bus) -> None:
        """Publishing and polling in turns, as it falls."""
        seed = random.randrange(10**6)
        print(f"seed {seed}")
        dice, published, found = random.Random(seed), list[Message](), list[Message]()
        for _ in range(60):
            page = [said(f"partner/P-{dice.randrange(5)}", len(published) + n) for n in range(dice.randrange(12))]
            bus.publish(page)
            published += page
            if dice.random() < 0.5:
                found += bus.poll(dice.randrange(1, 20))
        found += self.take(bus, len(published) - len(found))
        self.nothing_is_left(bus)
        assert {key: list(map(content, each)) for key, each in by_key(found).items()} == {
            key: list(map(content, each)) for key, each in by_key(published).items()
        }
        assert len({(each.key, each.offset) for each in found}) == len(published)
