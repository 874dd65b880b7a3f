"""Rulebooks in the log: those that are taken back, and texts that are none."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from consumers.bus import InProcessBus
from consumers.project import Project
from consumers.relay import Relay
from ledger.audit import audit
from ledger.events.envelope import Event, event
from ledger.history import History
from ledger.intake import Accepted, Intake
from ledger.log import Log
from ledger.projections.store import Store
from ledger.rules.library import Library

GENEROUS = Library().book("hubspot/points-2025").text.replace("sourced >= 63", "sourced >= 1").replace("total >= 129.15", "total >= 1")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with Log(tmp_path / "ledger.db") as log:
        yield log


def record(log: Log, *events: Event) -> list[int]:
    receipts = Intake(log, lambda: 1_790_000_000_000_000).record(list(events))
    assert all(isinstance(receipt, Accepted) for receipt in receipts), receipts
    return [receipt.position for receipt in receipts if isinstance(receipt, Accepted)]


def published(text: str, id: str = "book") -> Event:
    return event(
        "rulebook.published.v1", effective_at="2026-01-01", id=id, source="test", book="hubspot/points-2025", programme="hubspot",
        effective="2025-07-15", hash=sha256(text.encode()).hexdigest(), text=text, author="test",
    )  # fmt: skip


def told(kind: str, id: str, **data: object) -> Event:
    return event(kind, subject="P-1", effective_at="2025-09-01", id=id, source="test", **data)


def a_partner(log: Log) -> None:
    record(
        log, told("partner.enrolled.v1", "1", programme="hubspot", country="US"), told("person.linked.v1", "2", person="H"),
        told("certification.earned.v1", "3", person="H", code="solutions-partner"), told("client.assigned.v1", "4", client="C", country="US"),
        told("points.sold.v1", "5", client="C", line="crm", amount="100", currency="USD"),
    )  # fmt: skip


def test_a_text_that_is_no_rulebook_is_none_and_everything_else_goes_on(log: Log, tmp_path: Path) -> None:
    a_partner(log)
    (position,) = record(log, published("nonsense"))
    store, history = Store(tmp_path / "read.db"), History(log)
    Project(InProcessBus(), history, store).rebuild()
    assert store.partners() == {"P-1": None}
    assert Library(history.published()).book("hubspot/points-2025").hash == Library().book("hubspot/points-2025").hash
    assert [(found.code, found.where, found.note) for found in audit(log, store)] == [("rulebook_unusable", f"position {position}", True)]


def test_a_rulebook_that_is_taken_back_is_known_between(log: Log) -> None:
    (first,) = record(log, published(GENEROUS))
    reversal = event(
        "event.reversed.v1", effective_at="2026-01-02", id="back", source="test", reverses={"source": "test", "id": "book"},
        reason="too generous", author="test",
    )  # fmt: skip
    (second,) = record(log, reversal)
    library = Library(History(log).published())
    own = Library().book("hubspot/points-2025").hash
    found = [library.book("hubspot/points-2025", known_at).hash == own for known_at in (first - 1, first, second - 1, second, None)]
    assert found == [True, False, False, True, True]


def test_rows_follow_a_rulebook_and_its_taking_back(log: Log, tmp_path: Path) -> None:
    a_partner(log)
    store, history, bus = Store(tmp_path / "read.db"), History(log), InProcessBus()
    relay, project = Relay(log, bus, 0), Project(bus, history, store)

    def caught_up() -> dict[str, tuple[str | None, str | None]]:
        while relay.step():
            project.step()
        return store.levels_at("hubspot", 1_765_000_000_000_000)

    assert caught_up() == {"P-1": (None, None)}
    record(log, published(GENEROUS))
    assert caught_up() == {"P-1": ("Gold", "Gold")}
    record(
        log, event("event.reversed.v1", effective_at="2026-01-02", id="back", source="test", reason="too generous", author="test",
                   reverses={"source": "test", "id": "book"})
    )  # fmt: skip
    assert caught_up() == {"P-1": (None, None)}
    assert list(audit(log, store)) == []


@pytest.mark.parametrize("page", [1, 2, 3, 5, 100])
def test_page_by_page_the_rows_are_those_of_what_was_known_by_then(log: Log, tmp_path: Path, page: int) -> None:
    """A page of the stream may end before a rulebook, or between it and its taking back, that the log has already."""
    a_partner(log)
    record(log, published(GENEROUS))
    record(log, told("partner.enrolled.v1", "6", programme="hubspot", country="US"), told("person.linked.v1", "7", person="I"))
    taken_back = {"reverses": {"source": "test", "id": "book"}, "reason": "too generous", "author": "test"}
    record(log, event("event.reversed.v1", effective_at="2026-01-02", id="back", source="test", **taken_back))
    record(log, event("partner.enrolled.v1", subject="P-2", effective_at="2026-02-01", id="8", source="test", programme="hubspot", country="US"))
    bus, history, store = InProcessBus(), History(log), Store(tmp_path / "read.db")
    project, relay = Project(bus, history, store), Relay(log, bus, 0)
    while relay.step():
        pass
    positions = set()
    while project.step(page):
        position = store.position()
        positions.add(position)
        assert not [finding for finding in audit(log, store) if not finding.note], position
    assert len(positions) == -(-log.head() // page)
    live = store.dump()
    project.rebuild()
    assert store.dump() == live
