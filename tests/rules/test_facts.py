"""What events make of a partner's facts, where it is not plain: leaving one programme of several, claims of what is confirmed."""

from __future__ import annotations

import pytest

from ledger.instants import parse
from tests.rules.written import life

ALL = "2024-01-01 partner.enrolled\n2024-01-01 person.linked person=H\n"
BOOK = """
book: {programme}/one
programme: {programme}
effective: 2020-01-01
language: 1
measures:
  done: {{count: all, of: activity, where: "state == 'confirmed'"}}
  linked: {{count: all, of: link}}
show: [done]
tiers:
  Some: [linked >= 1]
status: {{continuous: {{}}}}
"""


def tier(programme: str, history: str, at: str) -> str | None:
    return life(BOOK.format(programme=programme), history).credited_tier(parse(at))


def test_who_is_in_all_programmes_may_leave_one() -> None:
    history = ALL + "2024-03-01 partner.left programme=one\n"
    assert [tier(programme, history, "2024-04-01") for programme in ("one", "two")] == [None, "Some"]
    assert life(BOOK.format(programme="one"), history).left(parse("2024-04-01"))
    assert not life(BOOK.format(programme="two"), history).left(parse("2024-04-01"))
    assert tier("one", history, "2024-02-01") == "Some"


def test_who_left_one_of_all_programmes_may_come_back() -> None:
    history = ALL + "2024-03-01 partner.left programme=one\n2024-05-01 partner.enrolled programme=one\n"
    assert [tier("one", history, at) for at in ("2024-04-01", "2024-06-01")] == [None, "Some"]


def test_who_leaves_without_a_name_leaves_all() -> None:
    history = ALL + "2024-03-01 partner.left\n"
    assert [tier(programme, history, "2024-04-01") for programme in ("one", "two")] == [None, None]


@pytest.mark.parametrize(
    ("told", "done"),
    [
        ("claimed confirmed", 1),
        ("claimed confirmed claimed", 1),
        ("claimed confirmed claimed rejected", 1),
        ("claimed confirmed claimed confirmed", 1),
        ("claimed confirmed claimed rejected rejected", 0),
        ("claimed confirmed claimed withdrawn", 0),
        ("claimed confirmed rejected", 0),
        ("claimed confirmed withdrawn claimed", 0),
        ("claimed rejected claimed confirmed", 1),
        ("claimed confirmed claimed confirmed rejected", 0),
    ],
)
def test_a_claim_of_what_is_confirmed_leaves_it_confirmed(told: str, done: int) -> None:
    history = "".join(f"2024-01-{day:02} activity.{state} activity=fair\n" for day, state in enumerate(told.split(), start=1))
    assert life(BOOK.format(programme="one"), history).values(parse("2024-02-01"))["done"] == done
