"""The guards: each code of refusal, the order of judgement, and what they let through."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ledger import guards
from ledger.events.envelope import Event, cloudevent, decode, event
from ledger.guards import Associations
from ledger.instants import parse
from ledger.intake import Intake, Refused
from ledger.log import Log

SALE = {"client": "C", "line": "hub", "amount": "10", "currency": "USD"}
GRANT = {"override": "O-1", "tier": "Gold", "until": "2024-09-01", "reason": "a fair", "author": "A-1"}


def make(kind: str, subject: str | None = "P", on: str = "2024-03-01", id: str = "1", **data: Any) -> Event:
    return event(f"{kind}.v1", subject=subject, effective_at=on, id=id, source="crm", **data)


def grant(id: str = "1", subject: str = "P", on: str = "2024-03-01", **changed: Any) -> Event:
    return make("override.granted", subject, on, id, **GRANT | changed)


def end(kind: str, id: str, on: str, override: str = "O-1", subject: str = "P") -> Event:
    reasons = {"reason": "it was a mistake", "author": "A-1"} if kind == "revoked" else {}
    return make(f"override.{kind}", subject, on, id, override=override, **reasons)


def reverse(of: str, id: str, subject: str | None = None, source: str = "crm") -> Event:
    return make("event.reversed", subject, "2024-05-01", id, reverses={"source": source, "id": of}, reason="a mistake", author="A-1")


def lost(lot: str, id: str = "lost", subject: str = "P") -> Event:
    return make("points.lost", subject, "2024-05-01", id, lot={"source": "crm", "id": lot})


def code(event: Event) -> str | None:
    refusal = guards.sane(event)
    assert refusal is None or (refusal.reason and refusal.hint and refusal.where)
    return None if refusal is None else refusal.code


ALONE: list[tuple[str | None, Event]] = [
    (None, make("points.sold", **SALE)),
    (None, make("points.sold", on="1990-01-01", **SALE)),
    ("effective_time_out_of_range", make("points.sold", on="1989-12-31T23:59:59.999999Z", **SALE)),
    (None, make("points.sold", on="2199-12-31T23:59:59.999999Z", **SALE)),
    ("effective_time_out_of_range", make("points.sold", on="2200-01-01", **SALE)),
    ("currency_unknown", make("points.sold", **SALE | {"currency": "ABC"})),
    ("currency_unknown", make("points.managed", client="C", mrr="5", currency="XXX")),
    ("currency_unknown", make("client.subscription_started", client="C", subscription="S", line="l", mrr="5", currency="ZZZ")),
    ("currency_unknown", make("client.subscription_changed", client="C", subscription="S", currency="ZZZ")),
    (None, make("client.subscription_changed", client="C", subscription="S", seats=5)),
    (None, make("points.managed", client="C", mrr="5", currency="USD", servicing_partners=2)),
    ("servicing_partners_below_one", make("points.managed", client="C", mrr="5", currency="USD", servicing_partners=0)),
    ("servicing_partners_below_one", make("points.managed", client="C", mrr="5", currency="USD", servicing_partners=-1)),
    ("subject_missing", make("points.sold", subject=None, **SALE)),
    ("subject_missing", make("person.linked", subject=None, person="X")),
    ("subject_missing", make("client.assigned", subject=None, client="C")),
    ("subject_missing", make("metric.measured", subject=None, metric="seats", value="1")),
    (None, make("metric.measured", subject=None, metric="seats", value="1", client="C")),
    (None, make("certification.earned", subject=None, person="X", code="basic")),
    (None, make("rulebook.published", None, book="b", programme="h", effective="2024-01-01", text="é", hash=sha256("é".encode()).hexdigest())),
    ("rulebook_hash_differs", make("rulebook.published", None, book="b", programme="h", effective="2024-01-01", text="e", hash="0" * 64)),
    (None, grant()),
    (None, grant(tier=None, requirement="sold")),
    (None, grant(tier=None, points="5", measure="sold")),
    ("override_target", grant(tier=None)),
    ("override_target", grant(requirement="sold")),
    ("override_target", grant(tier=None, measure="sold")),
    ("override_target", grant(tier=None, points="5")),
    ("override_target", grant(measure="sold")),
    ("override_unreasoned", grant(reason="  ")),
    ("override_unreasoned", grant(author=" ")),
    ("override_end_before_start", grant(until="2024-03-01")),
    ("override_end_before_start", grant(on="2024-03-01T00:00:00.000001Z", until="2024-03-01")),
    (None, grant(until="2024-03-01T00:00:01Z")),
    ("override_unreasoned", make("override.revoked", override="O-1", reason=" ", author="A-1")),
    ("loss_target", make("points.lost")),
    ("loss_target", make("points.lost", line="hub", reason="churn")),
    (None, make("points.lost", client="C")),
    (None, make("points.lost", client="C", line="hub")),
    (None, lost("s")),
]


@pytest.mark.parametrize(("expected", "made"), ALONE, ids=[f"{n} {e or 'fine'}" for n, (e, _) in enumerate(ALONE)])
def test_what_can_be_said_of_an_event_by_itself(expected: str | None, made: Event) -> None:
    assert code(made) == expected


def test_the_first_refusal_in_the_documented_order_is_the_answer() -> None:
    wrong = cloudevent(make("points.sold", subject=None, on="1980-01-01", **SALE | {"currency": "ABC"}))
    found = []
    for mended in ({"source": "ledger"}, {"source": "crm"}, {"subject": "P"}, {"time": "2024-01-01T00:00:00Z"}):
        wrong |= mended
        made = guards.sane(_decoded(wrong))
        assert made is not None
        found.append(made.code)
    assert found == ["source_reserved", "subject_missing", "effective_time_out_of_range", "currency_unknown"]


def _decoded(attributes: dict[str, Any]) -> Event:
    made = decode(attributes)
    assert isinstance(made, Event)
    return made


def test_every_currency_of_the_books_is_known_and_no_test_code() -> None:
    assert {"USD", "AUD", "COP", "EUR", "GBP", "SGD", "JPY", "ZAR", "CAD", "DEM", "HRK", "VED", "ZWG"} <= guards.CURRENCIES
    assert not {"XXX", "XTS", "BTC"} & guards.CURRENCIES
    assert all(len(code) == 3 and code.isupper() for code in guards.CURRENCIES)


class Door:
    """Some doors into one log, used in turn, of which only the codes matter."""

    def __init__(self, path: Path, doors: int, *, together: bool) -> None:
        self.logs = [Log(path) for _ in range(doors)]
        self._intakes = [Intake(log) for log in self.logs]
        self._together = together

    def codes(self, *events: Event) -> list[str]:
        batches = [events] if self._together else [(event,) for event in events]
        receipts = [r for n, batch in enumerate(batches) for r in self._intakes[n % len(self._intakes)].record(batch)]
        return [r.refusal.code if isinstance(r, Refused) else type(r).__name__.lower() for r in receipts]


@pytest.fixture(params=["one batch", "one by one", "another process each time"])
def door(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Door]:
    """What stands before an event is the same whether it came in this batch, in an earlier one, or through another door."""
    door = Door(tmp_path / "ledger.db", 3 if "another" in request.param else 1, together=request.param == "one batch")
    yield door
    assert door.logs[0].verify() is None
    for log in door.logs:
        log.close()


def test_a_reversal_names_what_exists_once(door: Door) -> None:
    sale = make("points.sold", id="s", **SALE)
    assert door.codes(reverse("s", "r0"), sale, reverse("s", "r1"), reverse("s", "r2"), reverse("r1", "r3"), reverse("r1", "r1")) == [
        "reversal_not_found",
        "accepted",
        "accepted",
        "reversed_before",
        "reversal_of_reversal",
        "id_reused",
    ]


def test_a_reversal_that_comes_twice_is_a_duplicate(door: Door) -> None:
    assert door.codes(make("points.sold", id="s", **SALE), reverse("s", "r"), reverse("s", "r")) == ["accepted", "accepted", "duplicate"]


def test_a_reversal_that_names_a_partner_names_the_right_one(door: Door) -> None:
    sale = make("points.sold", id="s", **SALE)
    assert door.codes(sale, reverse("s", "r1", "Q"), reverse("s", "r2", "P")) == ["accepted", "reversal_elsewhere", "accepted"]


def test_a_copy_is_reversed_with_its_cause(door: Door) -> None:
    assert door.codes(make("person.linked", id="l", person="X")) == ["accepted"]
    copy = door.logs[0].get(2).event
    assert door.codes(reverse(copy.id, "r", source="ledger")) == ["reversal_not_found"]


def test_an_override_is_granted_once_and_ended_once(door: Door) -> None:
    assert door.codes(
        end("revoked", "r0", "2024-04-01"),
        grant("g1"),
        grant("g2", on="2024-04-01"),
        grant("g3", subject="Q"),
        end("revoked", "r1", "2024-04-01"),
        end("revoked", "r2", "2024-04-02"),
        end("lapsed", "l1", "2024-09-01"),
    ) == ["override_not_found", "accepted", "override_exists", "accepted", "accepted", "override_ended", "override_ended"]


def test_an_override_lapses_when_it_is_over(door: Door) -> None:
    assert door.codes(
        grant("g"),
        end("lapsed", "l0", "2024-08-31"),
        end("lapsed", "l1", "2024-09-01"),
        end("lapsed", "l2", "2024-09-01"),
        end("revoked", "r0", "2024-09-01"),
        end("revoked", "r1", "2024-06-01"),
    ) == ["accepted", "override_not_over", "accepted", "override_ended", "override_ended", "accepted"]


def test_an_override_that_was_reversed_never_was(door: Door) -> None:
    assert door.codes(grant("g"), reverse("g", "r"), end("revoked", "e", "2024-04-01"), grant("h")) == [
        "accepted",
        "accepted",
        "override_not_found",
        "accepted",
    ]


def test_a_revocation_that_was_reversed_can_be_said_again(door: Door) -> None:
    assert door.codes(grant("g"), end("revoked", "e1", "2024-04-01"), reverse("e1", "r"), end("revoked", "e2", "2024-05-01")) == ["accepted"] * 4


def test_a_loss_names_a_lot_of_this_partner_that_stands(door: Door) -> None:
    assert door.codes(
        lost("s", "l0"),
        make("points.sold", id="s", **SALE),
        make("partner.changed", id="c", country="NL"),
        lost("c", "l1"),
        lost("s", "l2", subject="Q"),
        lost("s", "l3"),
        reverse("s", "r"),
        lost("s", "l4"),
        make("points.lost", id="all", client="C"),
    ) == ["lot_not_found", "accepted", "accepted", "lot_not_a_lot", "lot_elsewhere", "accepted", "accepted", "lot_reversed", "accepted"]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with Log(tmp_path / "associations.db") as log:
        yield log


class TestAssociations:
    """Three links in twelve months, thirty days apart, from 2021 on; a refusal names the next possible instant."""

    LIMITS = Associations(parse("2021-01-01"))

    def link(self, log: Log, at: str, partner: str, *, migrate: bool = False) -> str:
        told = {"recordedtime": "2022-06-01T00:00:00Z"} if migrate else {}
        made = event("person.linked.v1", subject=partner, effective_at=at, id=f"{at} {partner}", source="hr", person="H-1", **told)
        (receipt,) = Intake(log, lambda: parse("2022-07-01"), self.LIMITS).record([made], migrate=migrate)
        return f"{receipt.refusal.code} {receipt.refusal.hint}" if isinstance(receipt, Refused) else "taken"

    def test_a_link_rests_for_thirty_days(self, log: Log) -> None:
        found = [self.link(log, at, partner) for at, partner in (("2021-03-01", "A"), ("2021-03-30", "B"), ("2021-03-31", "B"))]
        assert found == ["taken", "association_too_soon possible from 2021-03-31T00:00:00Z", "taken"]

    def test_the_fourth_within_twelve_months_waits_for_the_first_to_be_a_year_old(self, log: Log) -> None:
        taken = [("2021-02-01", "A"), ("2021-04-01", "B"), ("2021-06-01", "A")]
        assert [self.link(log, *each) for each in taken] == ["taken"] * 3
        assert self.link(log, "2022-01-31", "C") == "associations_used_up possible from 2022-02-01T00:00:00Z"
        assert self.link(log, "2022-02-01", "C") == "taken"

    def test_the_same_partner_again_is_no_move_and_before_the_day_all_is_allowed(self, log: Log) -> None:
        for at, partner in (("2020-12-01", "A"), ("2020-12-02", "B"), ("2020-12-03", "A"), ("2020-12-04", "B"), ("2021-01-02", "B")):
            assert self.link(log, at, partner) == "taken"

    def test_the_date_that_is_named_is_one_at_which_it_is_taken(self, log: Log) -> None:
        """Both limits hold at once: the later one decides."""
        taken = [("2021-02-01", "A"), ("2021-12-20", "B"), ("2022-01-25", "A")]
        assert [self.link(log, *each) for each in taken] == ["taken"] * 3
        assert self.link(log, "2022-01-31", "B") == "associations_used_up possible from 2022-02-24T00:00:00Z"
        assert self.link(log, "2022-02-01", "B") == "association_too_soon possible from 2022-02-24T00:00:00Z"
        assert self.link(log, "2022-02-24", "B") == "taken"

    def test_the_same_link_said_again_uses_nothing_up(self, log: Log) -> None:
        again = [("2021-02-01", "A"), ("2021-02-02", "A"), ("2021-04-01", "A"), ("2021-05-01", "B"), ("2021-05-02", "B"), ("2021-06-01", "A")]
        assert [self.link(log, *each) for each in again] == ["taken"] * 6
        assert self.link(log, "2021-08-01", "B").startswith("associations_used_up possible from 2022-02-01")

    def test_who_unlinks_and_links_again_begins_another(self, log: Log) -> None:
        assert self.link(log, "2021-02-01", "A") == "taken"
        gone = event("person.unlinked.v1", subject="A", effective_at="2021-02-10", id="gone", source="hr", person="H-1")
        Intake(log, lambda: parse("2022-07-01"), self.LIMITS).record([gone])
        assert self.link(log, "2021-02-20", "A") == "association_too_soon possible from 2021-03-03T00:00:00Z"
        assert self.link(log, "2021-03-03", "A") == "taken"

    def test_a_migration_is_as_it_was(self, log: Log) -> None:
        assert [self.link(log, at, partner, migrate=True) for at, partner in (("2021-03-01", "A"), ("2021-03-02", "B"))] == ["taken"] * 2
