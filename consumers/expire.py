"""The expiry station: announces, through the door, the lots that have left and the overrides that have ended.

One event for each partner and instant, with an id derived from both. The announcements decide nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from ledger.errors import Unpriced
from ledger.events.envelope import Event, event
from ledger.instants import Instant, text
from ledger.intake import Intake, Receipt
from ledger.projections.questions import History
from ledger.projections.rows import programmes_of
from ledger.rules.breakdown import point_measures
from ledger.rules.library import Library
from ledger.rules.life import Life
from ledger.rules.presence import Present

SOURCE = "ledger/expire"


class Expire:
    def __init__(self, history: History, intake: Intake) -> None:
        self._history = history
        self._intake = intake

    def step(self, until: Instant, go_on: Callable[[], None] = lambda: None) -> list[Receipt]:
        """Announce everything that has ended up to and including `until`; what was announced before is a duplicate."""
        library = Library(self._history.published())
        announcements: list[Event] = []
        for partner in self._history.partners():
            go_on()
            announcements += self._of(partner, until, library)
        return self._intake.record(announcements) if announcements else []

    def _of(self, partner: str, until: Instant, library: Library) -> Iterator[Event]:
        events = self._history.events(partner)
        known = {(s.event.source, s.event.id) for s in events}
        for programme in programmes_of(events, library):
            try:
                for made in _announcements(partner, Life(events, library.force(programme)), until):
                    if (made.source, made.id) not in known:
                        yield made
            except Unpriced:
                continue  # its standing says so; nothing can be announced of what has no worth


def _announcements(partner: str, life: Life, until: Instant) -> Iterator[Event]:
    ended: dict[tuple[Instant, str], list[Present]] = defaultdict(list)
    for performance in life.performances:
        for measure in point_measures(performance.book):
            if measure.presence.span is None:
                continue
            for present in performance.presents(measure):
                last = min(until, performance.until - 1)
                if performance.since <= present.end <= last and present.end != present.fact.end and present.start < present.end:
                    ended[present.end, measure.name].append(present)
    for (at, name), lots in sorted(ended.items()):
        refs = tuple({"source": p.fact.event.event.source, "id": p.fact.event.event.id} for p in lots)
        identity = f"expired {partner} {name} {text(at)}"
        yield event("points.expired.v1", subject=partner, effective_at=at, id=identity, source=SOURCE, measure=name, lots=list(refs))
    for fact in life.facts.of("override"):
        if fact.end <= until and fact.ender is None:
            identity = f"lapsed {partner} {fact.data.override}"
            yield event(
                "override.lapsed.v1", subject=partner, effective_at=fact.end, id=identity, source=SOURCE, override=fact.data.override
            )
