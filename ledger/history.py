"""The history of partners as the log has it: what questions and stations read. It adds nothing to the log and caches nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.events.envelope import Sealed
from ledger.instants import Instant
from ledger.log import Log

_RULEBOOKS = ("rulebook.published.v1", "event.reversed.v1")


class History:
    """Reads one log, partner by partner."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def head(self) -> int:
        return self._log.head()

    def position_at(self, recorded_at: Instant) -> int:
        """The last position recorded at or before an instant."""
        return self._log.position_at(recorded_at)

    def partners(self) -> list[str]:
        return [stream.partition("/")[2] for stream in self._log.streams("partner/")]

    def events(self, partner: str, until: int | None = None) -> Sequence[Sealed]:
        """A partner's events up to a position, in order of version."""
        return self._log.history(f"partner/{partner}", until_position=until)

    def histories(self, partners: Sequence[str], until: int) -> dict[str, list[Sealed]]:
        """The same of many partners, asked for at once."""
        found = self._log.histories([f"partner/{partner}" for partner in partners], until)
        return {partner: found[f"partner/{partner}"] for partner in partners}

    def published(self, until: int | None = None) -> Sequence[Sealed]:
        """The events up to a position that publish rulebooks and those that take one back, in order of position."""
        streams = self._log.streams("programme/")
        found = [s for stream in streams for s in self._log.history(stream, kinds=_RULEBOOKS, until_position=until)]
        return sorted(found, key=lambda sealed: sealed.position)

    def get(self, position: int) -> Sealed:
        return self._log.get(position)

    def tail(self, after: int, limit: int) -> list[Sealed]:
        return self._log.tail(after, limit)
