"""The bus between the stations: a port of two methods, the in-process bus of the embedded default, and what stations of production read.

The in-process bus keeps nothing: what it carried is in the log, and the relay begins again from the reader's mark.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from consumers.wire import Message
from ledger.errors import LedgerError


class Bus(Protocol):
    """Messages in order; of one key always in order."""

    def publish(self, messages: Sequence[Message]) -> None: ...

    def poll(self, limit: int) -> list[Message]: ...


class Reading(Protocol):
    """What a station reads in production: some partitions of a topic, on from where the ledger's own database says."""

    def poll(self, limit: int, timeout_ms: int = ...) -> list[Message]: ...

    def commit(self) -> None:
        """What was polled is kept."""

    def back(self) -> None:
        """What was polled and not kept comes again."""


class Overtaken(LedgerError):
    """Another process did what this one was about to do; nothing of it was written here."""

    code = "station_overtaken"
    exit_code = 8


class Stopping(Exception):
    """The process was told to stop; what was under way was not kept, and comes again."""


class InProcessBus:
    """A queue in this process; offsets count from 0."""

    def __init__(self) -> None:
        self._queue: deque[Message] = deque()
        self._next = 0

    def publish(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._queue.append(message._replace(offset=self._next))
            self._next += 1

    def poll(self, limit: int) -> list[Message]:
        return [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]
