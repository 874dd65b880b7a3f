"""Achievements: quick wins, places, nominees and awards, on Copernica's rulebook and on one that is none of a known programme."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from ledger.errors import NotFound
from ledger.events.envelope import Event, event
from ledger.history import History
from ledger.instants import parse, text
from ledger.intake import Accepted, Intake
from ledger.log import Log
from ledger.projections import achievements as asked
from ledger.projections.questions import Moment, Questions
from ledger.projections.store import Store
from ledger.rules.library import Library
from ledger.rules.life import Life
from tests.rules import written

JUNE = parse("2014-06-01")

C1 = """
2014-01-10 activity.confirmed activity=registered
2014-02-10 activity.confirmed activity=article
2014-01-15 client.assigned client=A
2014-01-16 client.assigned client=B
2014-05-20 metric.measured metric=emails value=1600
"""
C2 = """
2014-01-10 activity.confirmed activity=profile
2014-01-11 person.linked person=P
2014-01-12 certification.earned person=P code=advanced
2014-01-15 client.assigned client=A
2014-01-15 client.assigned client=B
2014-01-15 client.assigned client=C
2014-05-20 metric.measured metric=emails value=1600
"""


def copernica(history: str) -> Life:
    return Life(written.history(history), Library().force("copernica"))


def wins(life: Life) -> dict[str, Fraction]:
    return {win.measure: win.brings for win in asked.quick_wins(life, JUNE)}


def test_c1_open_quick_wins() -> None:
    """One more account brings what is left of its 20 points."""
    life = copernica(C1)
    assert wins(life) == {"certified": 20, "profile": 10, "fair": 10, "accounts": Fraction(20, 3), "link": 5}
    found = {each.measure: each for each in asked.achievements(life, JUNE)}
    assert (found["accounts"].value, found["accounts"].bar, found["accounts"].missing) == (2, 3, 1)
    assert [each.measure for each in found.values() if each.reached] == ["registered", "emails", "article"]


def test_c2_certified_users_are_a_quick_win() -> None:
    life = copernica(C2)
    assert wins(life)["certified"] == 20
    found = {each.measure: each for each in asked.achievements(life, JUNE)}
    assert [each.measure for each in found.values() if each.reached] == ["profile", "accounts", "emails"]
    assert (found["certified"].value, found["certified"].bar, found["certified"].missing) == (1, 2, 1)


def test_what_weighs_nothing_is_listed_and_no_quick_win() -> None:
    life = copernica(C1)
    listed = {each.measure for each in asked.achievements(life, JUNE)}
    assert {"seminar", "review"} <= listed and not {"seminar", "review"} & wins(life).keys()


def test_the_bar_of_more_than_1500_is_1501() -> None:
    life = copernica("2014-05-20 metric.measured metric=emails value=1500")
    emails = next(win for win in asked.quick_wins(life, JUNE) if win.measure == "emails")
    assert (emails.bar, emails.missing, emails.brings) == (1501, 1, 15)


def test_a_quick_win_brings_no_more_than_the_cap_leaves() -> None:
    life = copernica(C2 + "2014-05-01 points.adjusted measure=granted points=48")
    assert (life.values(JUNE)["score"], wins(life)["certified"]) == (93, 7)


@pytest.mark.parametrize(
    "measure, fact",
    [
        ("profile", "activity.confirmed activity=profile"),
        ("link", "activity.confirmed activity=link"),
        ("accounts", "client.assigned client=C"),
    ],
)
def test_a_quick_win_brings_what_was_said(measure: str, fact: str) -> None:
    before = copernica(C1)
    after = copernica(C1 + f"2014-05-30 {fact}")
    assert after.values(JUNE)["score"] - before.values(JUNE)["score"] == wins(before)[measure]


def test_any_rulebook_with_conditions_has_achievements() -> None:
    """Nothing is known of the programme but what its rulebook says."""
    book = """
book: acme/badges
programme: acme
effective: 2020-01-01
language: 1
measures:
  sales: {count: all, of: sold}
  staff: {distinct: person, of: link}
numbers:
  seller: sales >= 2
  staffed: staff > 0
  rich: sales * 2 >= 10
  total: 3 * seller + sales + 2 * staffed
status: {continuous: {}}
"""
    life = written.life(book, "2020-02-01 points.sold client=C line=a amount=1 currency=EUR")
    at = parse("2020-03-01")
    assert [(win.name, win.bar, win.brings) for win in asked.quick_wins(life, at, "total")] == [("seller", 2, 4), ("staffed", 1, 2)]
    with pytest.raises(NotFound, match="has no number 'score'"):
        asked.achievements(life, at, "score")


def test_shared_places_and_names_within_them() -> None:
    scored = {"P-1": Fraction(5), "P-2": Fraction(9), "P-3": Fraction(5), "P-4": Fraction(0), "P-5": Fraction(1)}
    places = asked.ranking(scored, {"P-1": "zeta", "P-3": "Alpha"})
    assert [(each.place, each.partner, each.name) for each in places] == [
        (1, "P-2", "P-2"), (2, "P-3", "Alpha"), (2, "P-1", "zeta"), (4, "P-5", "P-5"), (5, "P-4", "P-4"),
    ]  # fmt: skip


def test_nominees_with_all_those_on_the_tenth_place() -> None:
    scored = {f"P-{n:02}": Fraction(100 - n) for n in range(9)} | {f"T-{n}": Fraction(50) for n in range(3)} | {"L": Fraction(49)}
    found = asked.nominees(scored)
    assert [each.place for each in found] == [*range(1, 10), 10, 10, 10]
    assert [each.partner for each in found[9:]] == ["T-0", "T-1", "T-2"]


def test_a_shared_ninth_place_leaves_no_tenth() -> None:
    scored = {f"P-{n:02}": Fraction(100 - n) for n in range(8)} | {"A": Fraction(9), "B": Fraction(9), "C": Fraction(8)}
    assert [each.place for each in asked.nominees(scored)] == [*range(1, 9), 9, 9]


def test_nobody_is_nominated_for_nothing() -> None:
    assert asked.nominees({"A": Fraction(0), "B": Fraction(1)}) == [asked.Place(1, "B", "B", Fraction(1))]
    assert asked.nominees({}) == []


def test_the_instant_of_the_nomination() -> None:
    """30 June ends in Amsterdam two hours before it ends in UTC."""
    at = asked.second_quarter_end(2014, "Europe/Amsterdam")
    assert text(at) == "2014-06-30T21:59:59.999999Z"
    late = copernica("2014-06-30T22:00:00Z activity.confirmed activity=profile")
    in_time = copernica("2014-06-30T21:59:59Z activity.confirmed activity=profile")
    assert asked.scores([("L", late), ("T", in_time)], at) == {"L": 0, "T": 10}


def test_who_has_left_is_not_ranked() -> None:
    enrolled = "2014-01-01 partner.enrolled programme=copernica\n2014-01-10 activity.confirmed activity=profile\n"
    lives = [("gone", copernica(enrolled + "2014-05-01 partner.left")), ("here", copernica(enrolled))]
    assert asked.scores(lives, JUNE) == {"here": 10}
    assert asked.scores(lives, parse("2014-04-30")) == {"gone": 10, "here": 10}
    back = copernica(enrolled + "2014-05-01 partner.left\n2014-05-20 partner.enrolled programme=copernica")
    assert asked.scores([("back", back)], JUNE) == {"back": 10}


def test_awards_by_year() -> None:
    """2012 Redhotminute, 2013 ISM eCompany."""
    hot = copernica("2012-09-20 award.won award=partner-of-the-year year=2012")
    ism = copernica(
        "2012-07-01 award.nominated award=partner-of-the-year year=2012\n2013-07-01 award.nominated award=partner-of-the-year year=2013\n"
        "2013-07-02 award.nominated award=partner-of-the-year year=2013\n2013-09-20 award.won award=partner-of-the-year year=2013"
    )
    lives, names = [("R", hot), ("I", ism)], {"R": "Redhotminute", "I": "ISM eCompany"}
    found = asked.awards(lives, parse("2014-01-01"), names)
    assert {year: [(each.name, each.what) for each in honours] for year, honours in found.items()} == {
        2012: [("Redhotminute", "won"), ("ISM eCompany", "nominated")],
        2013: [("ISM eCompany", "won"), ("ISM eCompany", "nominated")],
    }
    assert [each.what for each in asked.awards(lives, parse("2013-08-01"), names)[2013]] == ["nominated"]


def said(kind: str, at: str, id: str, subject: str, **data: object) -> Event:
    return event(kind, subject=subject, effective_at=at, id=id, source="crm", **data)


def test_a_customer_moves_in_one_act_that_changes_both_partners(tmp_path: Path) -> None:
    """One event is recorded, at the partner that gains; the one that loses is told, at the same instant."""
    now = parse("2014-06-01")
    with Log(tmp_path / "ledger.db") as log:
        events = [
            *[said("client.assigned.v1", "2014-01-01", f"1{client}", "P-1", client=client, exclusive=True) for client in "ABC"],
            *[said("client.assigned.v1", "2014-01-01", f"2{client}", "P-2", client=client, exclusive=True) for client in "DE"],
            said("client.assigned.v1", "2014-03-01T12:00:00Z", "move", "P-2", client="B", exclusive=True),
        ]
        for each in events:
            assert all(isinstance(receipt, Accepted) for receipt in Intake(log, lambda: now).record([each]))
        store = Store(tmp_path / "read.db")
        questions = Questions(History(log), store, lambda: now)
        scored = {}
        for at in ("2014-03-01T11:59:59.999999Z", "2014-03-01T12:00:00Z"):
            moment = Moment(programme="copernica", as_of=parse(at))
            lives = [(partner, questions.life(partner, moment)) for partner in ("P-1", "P-2")]
            scored[at] = asked.scores(lives, parse(at))
        assert list(scored.values()) == [{"P-1": 20, "P-2": Fraction(40, 3)}, {"P-1": Fraction(40, 3), "P-2": 20}]
        store.close()
