"""People who move from partner to partner, through the door, and what their partners' competencies make of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.events.envelope import event
from ledger.history import History
from ledger.instants import day_text, parse, text
from ledger.intake import Accepted, Intake
from ledger.log import Log
from ledger.rules.library import Library
from ledger.rules.life import Life
from ledger.rules.risk import loss, risk
from tests.rules.written import book, life


class Programme:
    """A log with its door, and the competencies of the partners in it."""

    def __init__(self, path: Path) -> None:
        self.log = Log(path)
        self._made = 0

    def say(self, kind: str, subject: str | None, on: str, **data: str) -> None:
        self._made += 1
        made = event(f"{kind}.v1", subject=subject, effective_at=on, id=str(self._made), source="crm", **data)
        (receipt,) = Intake(self.log, lambda: parse("2020-06-01")).record([made])
        assert isinstance(receipt, Accepted), receipt

    def move(self, person: str, partner: str, on: str) -> None:
        self.say("person.linked", partner, on, person=person)

    def life(self, partner: str) -> Life:
        return Life(History(self.log).events(partner), Library().force("microsoft-competencies")).of("datacenter")

    def credited(self, partner: str, at: str) -> str | None:
        return self.life(partner).credited_tier(parse(at))

    def met(self, partner: str, at: str) -> str | None:
        return self.life(partner).tier(parse(at))


@pytest.fixture
def programme(tmp_path: Path) -> Iterator[Programme]:
    """A has exactly the two people that Silver needs, and B one; both have bought Silver, A on 1 September 2018."""
    there = Programme(tmp_path / "x.db")
    for person, partner in (("P1", "A"), ("P2", "A"), ("P3", "B")):
        there.say("certification.earned", None, "2018-08-01", person=person, code="DC-1")
        there.move(person, partner, "2018-08-01")
    there.say("membership.purchased", "A", "2018-09-01", level="Silver")
    there.say("membership.purchased", "B", "2018-09-01", level="Silver")
    yield there
    assert there.log.verify() is None
    there.log.close()


def test_in_one_act_one_partner_loses_and_another_gains(programme: Programme) -> None:
    """M-MOVE, through the door: the certificates go along."""
    programme.move("P2", "B", "2019-05-10")
    assert [programme.met("A", at) for at in ("2019-05-09T23:59:59.999999Z", "2019-05-10")] == ["Silver", None]
    assert [programme.credited("B", at) for at in ("2019-05-09T23:59:59.999999Z", "2019-05-10")] == [None, "Silver"]
    a = programme.life("A")
    found, lost = risk(a, parse("2019-06-01")), loss(a, parse("2019-06-01"))
    assert found is not None and day_text(found.since) == "2019-05-10"
    assert programme.credited("A", "2019-08-31") == "Silver" and lost is not None and day_text(lost.at) == "2019-09-01"


@pytest.mark.parametrize(
    ("on", "a", "b"),
    [
        ("2019-08-31T23:59:59.999999Z", None, "Silver"),
        ("2019-09-01", None, "Silver"),
        ("2019-09-01T00:00:00.000001Z", "Silver", None),
    ],
)
def test_a_move_on_the_anniversarys_day(programme: Programme, on: str, a: str | None, b: str | None) -> None:
    """The test is made at the instant of the anniversary: who has left by then is missing, and is there for the other."""
    programme.move("P2", "B", on)
    assert (programme.credited("A", "2019-09-01"), programme.credited("B", "2019-09-01")) == (a, b)
    assert programme.credited("B", "2019-09-02") == "Silver"


def test_there_and_back_in_the_same_second(programme: Programme) -> None:
    programme.move("P2", "B", "2019-09-01T00:00:00Z")
    programme.move("P2", "A", "2019-09-01T00:00:00Z")
    assert (programme.met("A", "2019-09-01"), programme.met("B", "2019-09-01")) == ("Silver", None)
    assert programme.credited("A", "2019-09-01") == "Silver" and programme.credited("B", "2020-01-01") is None


def test_there_and_back_within_one_second_is_seen_by_both(programme: Programme) -> None:
    programme.move("P2", "B", "2019-05-10T12:00:00.100000Z")
    programme.move("P2", "A", "2019-05-10T12:00:00.200000Z")
    instants = [f"2019-05-10T12:00:00.{micros}Z" for micros in ("099999", "100000", "199999", "200000")]
    assert [programme.met("A", at) for at in instants] == ["Silver", None, None, "Silver"]
    assert [programme.met("B", at) for at in instants] == [None, "Silver", "Silver", None]
    assert programme.credited("B", "2020-01-01") == "Silver", "what was met and bought is held for its year"
    assert risk(programme.life("A"), parse("2019-06-01")) is None


def test_back_before_the_anniversary_nothing_is_lost(programme: Programme) -> None:
    programme.move("P2", "B", "2019-05-10")
    programme.move("P2", "A", "2019-09-01")
    assert (programme.credited("A", "2019-09-01"), programme.met("B", "2019-09-01")) == ("Silver", None)
    assert programme.credited("A", "2019-09-30") == "Silver"


# -- the turn of summer time ---------------------------------------------------------------------------------------------

ZONED = """
book: z/one
programme: z
effective: 2018-01-01
language: 1
zone: Europe/Amsterdam
measures:
  people: {distinct: person, of: certificate, while: {any: [{of: link, by: person}, {of: leaver, by: person, to: day 10}]}}
  sent: {sum: value, of: metered, where: metric == 'emails', for: 1 month}
tiers: {Silver: [people >= 1], Gold: [sent >= 10]}
status: {membership: {renewal: 30 days, remind: [-15 days, 23 days], next: {2018-01-01: anniversary + 365 days}}}
overrides: {tier: performance, for: 3 months}
"""


@pytest.mark.parametrize(
    ("bought", "days"),
    [
        # 02:30 on the wall; on 29 March 2020 there is none, and it is 03:30, from which the reminders are counted
        ("2019-03-29T01:30:00Z", ["2020-03-14T02:30:00Z", "2020-03-29T01:30:00Z", "2020-04-21T01:30:00Z", "2020-04-29T01:30:00Z"]),
        # the first 02:30 of 27 October 2019, in summer time; a year later it is winter
        ("2019-10-27T00:30:00Z", ["2020-10-12T00:30:00Z", "2020-10-27T01:30:00Z", "2020-11-19T01:30:00Z", "2020-11-27T01:30:00Z"]),
        # 00:00 on the wall stays 00:00 on the wall, across both turns
        ("2019-03-01T23:00:00Z", ["2020-02-15T23:00:00Z", "2020-03-01T23:00:00Z", "2020-03-24T23:00:00Z", "2020-04-01T22:00:00Z"]),
    ],
)
def test_a_membership_is_counted_on_the_wall_clock_of_its_zone(bought: str, days: list[str]) -> None:
    held = life(ZONED, f"2018-02-01 person.linked person=A\n2018-02-01 certification.earned person=A code=C\n{bought} membership.purchased level=Silver")
    notices = held.walked(held.settled_at).notices
    lost = loss(held, parse(bought))
    assert lost is not None
    assert [text(day.at) for day in notices] == days[:3]
    assert text(lost.at) == days[3], "the window ends at the same hour on the wall"


@pytest.mark.parametrize(
    ("sent", "last"),
    [
        ("2019-03-30T23:30:00Z", "2019-04-29T22:30:00Z"),  # 00:30 of 31 March, to 00:30 of 30 April, clipped: the turn lies between
        ("2021-02-28T01:30:00Z", "2021-03-28T01:30:00Z"),  # 02:30, which 28 March has not: 03:30
        ("2019-09-27T00:30:00Z", "2019-10-27T00:30:00Z"),  # 02:30, which 27 October has twice: the first
    ],
)
def test_a_month_across_the_turn(sent: str, last: str) -> None:
    asked = life(ZONED, f"{sent} metric.measured metric=emails value=10")
    end = asked.performances[0].presents(asked.book(0).measures["sent"])[0].end
    assert [asked.tier(at) for at in (end - 1, end)] == ["Gold", None]
    assert text(end) == last


def test_the_emails_of_copernica_count_a_month_of_amsterdam() -> None:
    asked = Life(life(book(ZONED), "2019-03-30T23:30:00Z metric.measured metric=emails value=1501").events, Library().force("copernica"))
    assert asked.book(parse("2019-04-01")).zone == "Europe/Amsterdam"
    before, after = parse("2019-04-29T22:29:59Z"), parse("2019-04-29T22:30:00Z")
    assert asked.values(before) != asked.values(after)


def test_who_leaves_counts_to_the_tenth_on_the_wall() -> None:
    asked = life(
        ZONED, "2018-02-01 person.linked person=A\n2018-02-01 certification.earned person=A code=C\n2019-03-31T22:30:00Z person.left person=A"
    )
    assert [asked.tier(parse(at)) for at in ("2019-05-09T21:59:59Z", "2019-05-09T22:00:00Z")] == ["Silver", None], "it was April there"
