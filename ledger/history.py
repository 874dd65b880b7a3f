"""The history of partners as the log has it: what questions and stations read. It adds nothing to the log."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence

from ledger.errors import NotFound
from ledger.events.envelope import Sealed
from ledger.instants import FOREVER, Instant
from ledger.log import Log

_AT_ONCE = 100_000
_RULEBOOKS = ("rulebook.published.v1", "event.reversed.v1")


class History:
    """Reads one log, partner by partner."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._from, self._ends = FOREVER, array("q")
        """The last positions of all inserts beyond a position, as far as they were asked for."""

    def head(self) -> int:
        return self._log.head()

    def position_at(self, recorded_at: Instant) -> int:
        """The last position recorded at or before an instant."""
        return self._log.position_at(recorded_at)

    def ends(self, position: int) -> int:
        """The last position of what was recorded at once with a position. Raises NotFound for one that is not in the log."""
        if position <= self._from:
            self._from, self._ends = position - 1, array("q")
        ends = self._ends
        while not ends or ends[-1] < position:
            more = self._log.insert_ends(ends[-1] if ends else self._from, _AT_ONCE)
            if not more:
                raise NotFound(f"position {position} is not in the log", hint=f"the last position is {self.head()}")
            ends.extend(more)
        return ends[bisect_left(ends, position)]

    def is_end(self, position: int) -> bool:
        """Whether a position is the last one of what was recorded at once."""
        return self._log.insert_ends(position - 1, 1) == [position]

    def partners(self) -> list[str]:
        return [stream.partition("/")[2] for stream in self._log.streams("partner/")]

    def sizes(self) -> dict[str, int]:
        """How many events each partner has."""
        return {stream.partition("/")[2]: events for stream, events in self._log.sizes("partner/").items()}

    def touched(self, after: int, until: int) -> list[str]:
        """The partners that have an event in (after, until]."""
        return [stream.partition("/")[2] for stream in self._log.streams_of(after, until) if stream.startswith("partner/")]

    def events(self, partner: str, until: int | None = None) -> Sequence[Sealed]:
        """A partner's events up to a position, in order of version."""
        return self._log.history(f"partner/{partner}", until_position=until)

    def histories(self, after: Mapping[str, int], until: int) -> dict[str, list[Sealed]]:
        """The events of many partners beyond a version of each (0: all) up to a position, asked for at once."""
        found = self._log.histories({f"partner/{partner}": version for partner, version in after.items()}, until)
        return {partner: found[f"partner/{partner}"] for partner in after}

    def published(self, until: int | None = None) -> Sequence[Sealed]:
        """The events up to a position that publish rulebooks and those that take one back, in order of position."""
        streams = self._log.streams("programme/")
        found = [s for stream in streams for s in self._log.history(stream, kinds=_RULEBOOKS, until_position=until)]
        return sorted(found, key=lambda sealed: sealed.position)

    def get(self, position: int) -> Sealed:
        return self._log.get(position)

    def tail(self, after: int, limit: int) -> list[Sealed]:
        return self._log.tail(after, limit)
