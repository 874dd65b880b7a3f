"""Customer adds with claw-back, through the door: who is associated at the first add has the credit, a lost customer takes it back from all
of them in that month, and its return credits those who are associated then."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from ledger.events.envelope import Event, event
from ledger.history import History
from ledger.instants import parse
from ledger.intake import Accepted, Intake
from ledger.log import Log
from ledger.projections.questions import Moment, Questions
from ledger.projections.store import Store

SERVICES = {
    "engagement_won": ("cloud-business-applications", "customer-engagement"),
    "finance_won": ("cloud-business-applications", "finance-and-operations"),
    "smb_won": ("small-and-midmarket-cloud-solutions", "smb"),
}


def of(partner: str, kind: str, at: str, **data: str) -> Event:
    return event(f"{kind}.v1", subject=partner, effective_at=at, id=f"{partner} {kind} {at} {data}", source="s", **data)


def seats(at: str, value: str, area: str, service: str) -> Event:
    data = {"metric": "paid_seats", "client": "C", "value": value, "area": area, "service": service}
    return event("metric.measured.v1", effective_at=at, id=f"seats {at} {service}", source="s", **data)


@pytest.mark.parametrize("number", SERVICES)
def test_a_credit_is_taken_back_from_all_and_given_to_those_of_the_day(tmp_path: Path, number: str) -> None:
    area, service = SERVICES[number]
    said = [of(partner, "partner.enrolled", "2021-01-01", programme="microsoft-competencies") for partner in ("P-1", "P-2", "P-3")]
    said += [of(partner, "client.assigned", "2021-02-01", client="C") for partner in ("P-1", "P-2")]
    said += [seats(day, "20", area, service) for day in ("2021-05-01", "2021-06-01", "2021-07-01")]
    said += [seats("2021-08-01", "0", area, service)]
    said += [of("P-2", "client.released", "2021-09-01", client="C"), of("P-3", "client.assigned", "2021-09-15", client="C")]
    said += [seats(day, "15", area, service) for day in ("2021-10-01", "2021-11-01")]
    with Log(tmp_path / "ledger.db") as log:
        receipts = Intake(log).record(said)
        assert all(isinstance(receipt, Accepted) for receipt in receipts), receipts
        questions = Questions(History(log), Store(tmp_path / "read.db"), lambda: parse("2022-01-15"))

        def credits(at: str) -> list[Fraction]:
            return [questions.life(p, Moment(as_of=parse(at))).values(parse(at))[number] for p in ("P-1", "P-2", "P-3")]

        assert credits("2021-04-30") == [0, 0, 0]
        assert credits("2021-05-01") == credits("2021-07-31") == [1, 1, 0]
        assert credits("2021-08-01") == credits("2021-09-30") == [0, 0, 0]
        assert credits("2021-10-01") == credits("2021-12-31") == [1, 0, 1]
