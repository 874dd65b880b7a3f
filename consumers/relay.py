"""The relay: tails the log onto the bus. It is the only publisher."""

from __future__ import annotations

from typing import Protocol

from consumers.bus import Bus
from consumers.wire import message
from ledger.events.envelope import Sealed


class Tail(Protocol):
    def tail(self, after: int, limit: int) -> list[Sealed]: ...


class Relay:
    """1 read a page after the mark, 2 publish it, 3 move the mark."""

    def __init__(self, log: Tail, bus: Bus, mark: int) -> None:
        self._log = log
        self._bus = bus
        self.mark = mark

    def step(self, limit: int = 1000) -> int:
        """How many events were published."""
        page = self._log.tail(self.mark, limit)
        if page:
            self._bus.publish([message(sealed) for sealed in page])
            self.mark = page[-1].position
        return len(page)
