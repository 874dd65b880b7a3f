"""What would be: events that are supposed, and a rulebook that is not published. Neither leaves a trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.events.envelope import Event, event
from ledger.history import History
from ledger.instants import parse, text
from ledger.intake import Accepted, Intake
from ledger.log import Log
from ledger.projections.questions import Moment, Questions
from ledger.projections.store import Store
from ledger.rules.book import load
from ledger.rules.library import Library

NOW = parse("2026-02-20")


def said(kind: str, at: str, id: str, subject: str = "P-1", **data: object) -> Event:
    return event(kind, subject=subject, effective_at=at, id=id, source="test", **data)


def sale(at: str, id: str, amount: str, subject: str = "P-1") -> Event:
    return said("points.sold.v1", at, id, subject, client="C-1", line="marketing", amount=amount, currency="USD")


@pytest.fixture
def questions(tmp_path: Path) -> Iterator[Questions]:
    """Two certified partners with 70 and 140 sourced points; the first is short of the total for Gold."""
    with Log(tmp_path / "ledger.db") as log:
        events = []
        for partner, amount in (("P-1", "1400"), ("P-2", "2800")):
            events += [
                said("partner.enrolled.v1", "2025-08-01", f"{partner}-1", partner, programme="hubspot", country="US"),
                said("person.linked.v1", "2025-08-01", f"{partner}-2", partner, person=f"H-{partner}"),
                said("certification.earned.v1", "2025-08-02", f"{partner}-3", partner, person=f"H-{partner}", code="solutions-partner"),
                said("client.assigned.v1", "2025-08-03", f"{partner}-4", partner, client="C-1", country="US"),
                sale("2025-09-01", f"{partner}-5", amount, partner),
            ]
        assert all(isinstance(receipt, Accepted) for receipt in Intake(log, lambda: NOW).record(events))
        store = Store(tmp_path / "read.db")
        yield Questions(History(log), store, lambda: NOW)
        store.close()


def test_supposed_sales_raise_the_standing_and_are_not_recorded(questions: Questions) -> None:
    head = questions.history.head()
    before, after = questions.simulate("P-1", Moment(), [sale("2026-02-01", "supposed", "1400")])
    assert (before.performance, after.performance) == (None, "Gold")
    assert after.values["total"] - before.values["total"] == 70
    assert (questions.history.head(), questions.standing("P-1", Moment()).performance) == (head, None)


def test_a_supposed_future_is_foreseen(questions: Questions) -> None:
    supposed = [sale("2026-03-01", "supposed", "1400")]
    before, after = questions.simulate("P-1", Moment(as_of=parse("2026-03-15")), supposed)
    assert (before.credited, after.credited) == (None, "Gold")
    assert after.basis.foreseen_from == NOW


def test_what_a_rulebook_would_change_is_told_with_its_date(questions: Questions) -> None:
    written = Library().book("hubspot/points-2025").text
    lower = written.replace("effective: 2025-07-15", "effective: 2026-03-01").replace("hubspot/points-2025", "hubspot/points-next")
    lower = lower.replace("!assumed total >= 129.15", "!assumed total >= 60")
    impacts = list(questions.impact(load(lower), Moment()))
    assert [(each.partner, text(each.at)[:10], each.before, each.after) for each in impacts] == [("P-1", "2026-03-15", None, "Gold")]
    assert list(questions.impact(load(written), Moment())) == []
