"""The bus between relay and project: a port of two methods, and the in-process bus of the embedded default.

The in-process bus keeps nothing: what it carried is in the log, and the relay begins again from the reader's mark.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from consumers.wire import Message


class Bus(Protocol):
    """Messages in order; of one key always in order."""

    def publish(self, messages: Sequence[Message]) -> None: ...

    def poll(self, limit: int) -> list[Message]: ...


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
