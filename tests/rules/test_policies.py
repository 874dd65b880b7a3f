"""How a tier is credited: membership, review, continuous. Worked examples, and a membership that is lived day by day."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.events.envelope import Sealed
from ledger.instants import DAY, SECOND, Instant, Span, day_text, parse, plus, text
from ledger.projections.competencies import membership
from ledger.rules.life import Life
from ledger.rules.lint import lint
from ledger.rules.risk import loss, risk
from ledger.rules.standing import basis, standing
from tests.laws.histories import examples
from tests.rules.written import book, life, sealed

MEASURES = """
measures:
  people: {distinct: person, of: certificate, while: {of: link, by: person}}
tiers:
  Silver: [people >= 1]
  Gold: [people >= 2]
"""

COMPETENCIES = (
    """
book: ms/competencies
programme: ms
effective: 2017-01-01
language: 1
status:
  membership:
    renewal: 30 days
    remind: [-15 days, 23 days]
    next: {2017-01-01: renewal + 365 days, 2018-07-24: anniversary + 365 days}
overrides: {tier: performance}
"""
    + MEASURES
)

REVIEWED = (
    """
book: rv/first
programme: rv
effective: 2020-01-01
language: 1
status: {review: {checkpoints: day 15, reviews: [01-15, 07-15], window: 6 checkpoints, hold: 6 months}}
"""
    + MEASURES
)

PEOPLE = """
2017-01-01 person.linked person=A
2017-01-01 person.linked person=B
"""
TWO = (
    PEOPLE
    + """
2018-01-01 certification.earned person=A code=D1
2018-01-01 certification.earned person=B code=D1
"""
)


def tier(of: Life, at: str) -> str | None:
    return of.credited_tier(parse(at))


def steps(of: Life, until: str = "2030-01-01") -> list[tuple[str, str | None, str]]:
    """The credited tiers with their days and causes."""
    return [(day_text(step.at), step.tier, step.cause) for step in of.walked(parse(until)).steps]


def notices(of: Life, until: str = "2030-01-01") -> list[str]:
    return [f"{day_text(day.at)} {day.what}" for day in of.walked(parse(until)).notices]


class TestMembership:
    def test_proficiency_without_purchase_credits_nothing(self) -> None:
        qualified = life(COMPETENCIES, TWO)
        assert qualified.tier(parse("2020-01-01")) == "Gold"
        assert steps(qualified) == []

    def test_a_purchase_has_no_effect_until_the_proficiency_is_there(self) -> None:
        early = life(
            COMPETENCIES, PEOPLE + "2018-03-01 membership.purchased level=Silver\n2018-05-20 certification.earned person=A code=D1"
        )
        assert steps(early) == [("2018-05-20", "Silver", "active"), ("2019-06-20", None, "not renewed")]
        assert notices(early)[1] == "2019-05-20 anniversary"

    def test_no_more_is_credited_than_was_bought_and_no_more_than_is_met(self) -> None:
        assert tier(life(COMPETENCIES, TWO + "2018-09-01 membership.purchased level=Silver"), "2018-09-01") == "Silver"
        one = PEOPLE + "2018-01-01 certification.earned person=A code=D1\n2018-09-01 membership.purchased level=Gold"
        assert tier(life(COMPETENCIES, one), "2018-09-01") == "Silver"
        later = life(COMPETENCIES, one + "\n2018-10-01 certification.earned person=B code=D1")
        assert steps(later, "2019-01-01")[-1] == ("2018-10-01", "Gold", "active")
        assert notices(later)[1] == "2019-09-01 anniversary"

    def test_within_the_year_the_level_stays_though_nothing_is_met(self) -> None:
        gone = life(
            COMPETENCIES,
            TWO + "2018-09-01 membership.purchased level=Gold\n2018-09-02 person.unlinked person=A\n2018-09-02 person.unlinked person=B",
        )
        assert gone.tier(parse("2018-09-02")) is None
        assert steps(gone) == [("2018-09-01", "Gold", "active"), ("2019-09-01", None, "anniversary failed")]

    @pytest.mark.parametrize(
        ("left", "after"),
        [("2019-08-31T23:59:59.999999Z", None), ("2019-09-01", None), ("2019-09-01T00:00:00.000001Z", "Silver")],
    )
    def test_the_anniversary_is_tested_once_at_its_instant(self, left: str, after: str | None) -> None:
        written = (
            PEOPLE
            + f"2018-01-01 certification.earned person=A code=D1\n2018-09-01 membership.purchased level=Silver\n{left} person.unlinked person=A"
        )
        assert tier(life(COMPETENCIES, written), "2019-09-01T00:00:00.000002Z") == after

    def test_what_enters_at_the_anniversary_counts(self) -> None:
        back = "2019-01-01 person.unlinked person=A\n2019-09-01 person.linked person=A"
        written = PEOPLE + f"2018-01-01 certification.earned person=A code=D1\n2018-09-01 membership.purchased level=Silver\n{back}"
        assert tier(life(COMPETENCIES, written), "2019-09-30") == "Silver"

    def test_a_level_that_fails_gives_way_to_the_lower_one_that_is_met(self) -> None:
        """ "Silver is evaluated by its own rule"."""
        fewer = life(
            COMPETENCIES,
            TWO + "2018-09-01 membership.purchased level=Gold\n2019-01-01 person.unlinked person=B\n2019-09-20 membership.renewed",
        )
        assert steps(fewer, "2020-01-01") == [("2018-09-01", "Gold", "active"), ("2019-09-01", "Silver", "anniversary failed")]

    def test_ren1_anniversary_window_and_reminders(self) -> None:
        """REN1: bought 2018-09-01; anniversary 2019-09-01, window from 2019-09-02 to 2019-10-01, reminders 2019-08-17 and 2019-09-24."""
        bought = life(COMPETENCIES, TWO + "2018-09-01 membership.purchased level=Gold")
        assert notices(bought) == [
            "2019-08-17 reminder before the anniversary",
            "2019-09-01 anniversary",
            "2019-09-24 reminder after the anniversary",
        ]
        assert steps(bought) == [("2018-09-01", "Gold", "active"), ("2019-10-02", None, "not renewed")]

    @pytest.mark.parametrize(
        ("renewed", "kept"),
        [
            ("2019-09-01", False),
            ("2019-09-01T23:59:59Z", False),
            ("2019-09-02", True),
            ("2019-10-01T23:59:59Z", True),
            ("2019-10-02", False),
            ("2019-10-02T00:00:01Z", False),
        ],
    )
    def test_a_renewal_counts_in_its_thirty_days_to_the_second(self, renewed: str, kept: bool) -> None:
        written = TWO + f"2018-09-01 membership.purchased level=Gold\n{renewed} membership.renewed"
        assert tier(life(COMPETENCIES, written), "2019-10-02") == ("Gold" if kept else None)

    def test_ren2_365_days_after_the_old_anniversary(self) -> None:
        """REN2: REN1 renewed on 2019-09-10: the next anniversary is 2020-08-31."""
        renewed = life(COMPETENCIES, TWO + "2018-09-01 membership.purchased level=Gold\n2019-09-10 membership.renewed")
        assert [line for line in notices(renewed) if line.endswith(" anniversary") and "reminder" not in line] == [
            "2019-09-01 anniversary",
            "2020-08-31 anniversary",
        ]
        assert steps(renewed)[-1] == ("2020-10-01", None, "not renewed")

    @pytest.mark.parametrize(("renewed", "following"), [("2018-07-23T23:59:59Z", "2019-07-23T23:59:59Z"), ("2018-07-24", "2019-07-10")])
    def test_the_day_of_the_renewal_picks_the_rule(self, renewed: str, following: str) -> None:
        """Until 23 Jul 2018: 365 days after the renewal; from 24 Jul 2018: 365 days after the old anniversary (2018-07-10)."""
        written = (
            PEOPLE
            + f"2017-02-01 certification.earned person=A code=D1\n2017-07-10 membership.purchased level=Silver\n{renewed} membership.renewed"
        )
        assert f"{day_text(parse(following))} anniversary" in notices(life(COMPETENCIES, written))

    def test_a_leap_day_has_its_anniversary_at_the_months_end(self) -> None:
        written = PEOPLE + "2019-02-01 certification.earned person=A code=D1\n2020-02-29 membership.purchased level=Silver"
        assert "2021-02-28 anniversary" in notices(life(COMPETENCIES, written))

    def test_where_nothing_is_met_there_is_nothing_to_renew(self) -> None:
        """Lapsed achievements block the renewal: who is proficient again buys anew, and has a new anniversary."""
        lost = (
            TWO
            + "2018-09-01 membership.purchased level=Silver\n2019-01-01 person.unlinked person=A\n2019-01-01 person.unlinked person=B\n2019-09-05 membership.renewed\n2019-09-10 person.linked person=A\n"
        )
        assert steps(life(COMPETENCIES, lost)) == [("2018-09-01", "Silver", "active"), ("2019-09-01", None, "anniversary failed")]
        anew = life(COMPETENCIES, lost + "2019-09-15 membership.purchased level=Silver")
        assert steps(anew, "2020-01-01")[-1] == ("2019-09-15", "Silver", "active")
        assert "2020-09-15 anniversary" in notices(anew)

    def test_after_a_year_that_was_not_renewed_only_a_new_purchase_helps(self) -> None:
        old = TWO + "2018-02-01 membership.purchased level=Silver\n2019-01-20 membership.purchased level=Silver\n"
        assert tier(life(COMPETENCIES, old), "2019-03-05") is None
        assert steps(life(COMPETENCIES, old + "2019-06-01 membership.purchased level=Gold"), "2019-07-01")[-1] == (
            "2019-06-01",
            "Gold",
            "active",
        )

    def test_what_is_bought_in_the_window_begins_when_it_has_closed(self) -> None:
        written = TWO + "2018-09-01 membership.purchased level=Silver\n2019-09-10 membership.purchased level=Silver"
        again = life(COMPETENCIES, written)
        assert steps(again, "2020-01-01") == [("2018-09-01", "Silver", "active")]
        assert "2020-10-02 anniversary" in notices(again)

    def test_an_upgrade_begins_a_new_year(self) -> None:
        upgraded = life(COMPETENCIES, TWO + "2018-09-01 membership.purchased level=Silver\n2019-03-01 membership.purchased level=Gold")
        assert steps(upgraded)[:2] == [("2018-09-01", "Silver", "active"), ("2019-03-01", "Gold", "active")]
        assert "2019-09-01 anniversary" not in notices(upgraded) and "2020-03-01 anniversary" in notices(upgraded)

    def test_an_upgrade_has_no_effect_until_its_proficiency_is_there(self) -> None:
        """Who buys Gold with Silver's people moves no anniversary by it."""
        one = (
            PEOPLE
            + "2018-01-01 certification.earned person=A code=D1\n2018-09-01 membership.purchased level=Silver\n2019-03-01 membership.purchased level=Gold\n"
        )
        assert "2019-09-01 anniversary" in notices(life(COMPETENCIES, one))
        grown = life(COMPETENCIES, one + "2019-05-01 certification.earned person=B code=D1")
        assert steps(grown, "2020-01-01")[-1] == ("2019-05-01", "Gold", "active")
        assert "2020-05-01 anniversary" in notices(grown) and "2019-09-01 anniversary" not in notices(grown)

    def test_an_upgrade_is_no_way_around_the_anniversary(self) -> None:
        """Lapsed achievements block the upgrade as well as the renewal."""
        lapsed = (
            TWO
            + "2018-09-01 membership.purchased level=Silver\n2019-08-01 person.unlinked person=A\n2019-08-01 person.unlinked person=B\n2019-08-30 membership.purchased level=Gold"
        )
        assert steps(life(COMPETENCIES, lapsed))[-1] == ("2019-09-01", None, "anniversary failed")

    def test_a_renewal_may_be_at_a_lower_level(self) -> None:
        lower = life(COMPETENCIES, TWO + "2018-09-01 membership.purchased level=Gold\n2019-09-10 membership.renewed level=Silver")
        assert steps(lower, "2020-01-01")[-1] == ("2019-09-10", "Silver", "renewed at a lower level")

    def test_nothing_is_gained_in_the_window_before_the_renewal_is_paid(self) -> None:
        grown = (
            PEOPLE
            + "2018-01-01 certification.earned person=A code=D1\n2018-09-01 membership.purchased level=Gold\n2019-09-05 certification.earned person=B code=D1\n"
        )
        assert tier(life(COMPETENCIES, grown), "2019-09-19") == "Silver"
        renewed = life(COMPETENCIES, grown + "2019-09-20 membership.renewed")
        assert tier(renewed, "2019-09-19") == "Silver", "what comes later changes nothing of what was"
        assert tier(renewed, "2019-09-20") == "Gold"

    def test_an_override_that_covers_the_anniversary_satisfies_it(self) -> None:
        written = (
            TWO
            + "2018-09-01 membership.purchased level=Gold\n2019-02-01 person.unlinked person=A\n2019-02-01 person.unlinked person=B\n2019-09-10 membership.renewed\n"
        )
        granted = "2019-07-15 override.granted override=O-1 tier=Gold until={} reason=exam author=admin"
        assert tier(life(COMPETENCIES, written + granted.format("2019-10-15")), "2020-06-01") == "Gold"
        assert tier(life(COMPETENCIES, written + granted.format("2019-09-01")), "2019-09-01") is None
        requirement = granted.replace("tier=Gold", "requirement=people")
        assert tier(life(COMPETENCIES, written + requirement.format("2019-10-15")), "2020-06-01") == "Gold"

    def test_what_an_override_meets_is_no_cause_of_a_year_that_is_not_renewed(self) -> None:
        granted = "2018-08-01 override.granted override=O-1 tier=Silver until=2020-12-31 reason=exam author=admin"
        lost = loss(life(COMPETENCIES, f"{PEOPLE}{granted}\n2018-09-01 membership.purchased level=Silver"), parse("2018-09-01"))
        assert lost is not None and (day_text(lost.at), lost.how, lost.cause) == ("2019-10-02", "not renewed", None)

    def test_m_ovr_three_months_clipped_to_the_months_end(self) -> None:
        """M-OVR: set on 31 Jan for 3 months: it holds until 30 Apr, then what the log says without it."""
        until = day_text(plus(parse("2019-01-31"), Span(months=3)))
        one = (
            PEOPLE
            + "2018-01-01 certification.earned person=A code=D1\n"
            + f"2019-01-31 override.granted override=O-1 tier=Gold until={until} reason=exam author=admin"
        )
        over = life(COMPETENCIES, one)
        assert [over.tier(parse(at)) for at in ("2019-01-30", "2019-01-31", "2019-04-29T23:59:59Z", "2019-04-30")] == [
            "Silver",
            "Gold",
            "Gold",
            "Silver",
        ]

    @pytest.mark.parametrize(
        ("granted", "ends"),
        [("2018-11-30", "2019-02-28"), ("2019-11-30", "2020-02-29"), ("2020-02-29", "2020-05-29"), ("2019-08-31", "2019-11-30")],
    )
    def test_three_months_are_calendar_months_clipped_to_the_months_end(self, granted: str, ends: str) -> None:
        assert day_text(plus(parse(granted), Span(months=3))) == ends
        written = (
            TWO
            + f"2018-09-01 membership.purchased level=Gold\n2018-09-02 person.unlinked person=A\n{granted} override.granted override=O-1 tier=Gold until={ends} reason=exam author=admin"
        )
        over = life(COMPETENCIES, written)
        first, after = parse(granted), parse(ends)
        assert [over.tier(at) for at in (first - 1, first, after - 1, after)] == ["Silver", "Gold", "Gold", "Silver"]

    def test_several_overrides_are_a_union_whatever_their_order(self) -> None:
        written = PEOPLE + "2018-01-01 certification.earned person=A code=D1\n"
        spans = [("2019-01-31", "2019-04-30"), ("2019-03-01", "2019-06-01"), ("2019-07-01", "2019-10-01")]
        lines = [
            f"{since} override.granted override=O-{since} tier=Gold until={until} reason=exam author=admin" for since, until in spans
        ]
        days = ("2019-01-30", "2019-01-31", "2019-04-30", "2019-05-31", "2019-06-01", "2019-07-01", "2019-10-01")
        expected = ["Silver", "Gold", "Gold", "Gold", "Silver", "Gold", "Silver"]
        for order in (lines, lines[::-1]):
            over = life(COMPETENCIES, written + "\n".join(order))
            assert [over.tier(parse(day)) for day in days] == expected
        revoked = life(COMPETENCIES, written + "\n".join(lines) + "\n2019-05-01 override.revoked override=O-2019-03-01 reason=error author=admin")
        assert [revoked.tier(parse(day)) for day in ("2019-04-30", "2019-05-01")] == ["Gold", "Silver"]

    def test_m_move_at_risk_from_the_move_and_silver_until_the_anniversary(self) -> None:
        """M-MOVE: exactly the people required; one associates with another partner on 10 May."""
        moved = life(
            COMPETENCIES,
            PEOPLE
            + "2018-01-01 certification.earned person=A code=D1\n2018-09-01 membership.purchased level=Silver\n2019-05-10 person.unlinked person=A",
        )
        assert risk(moved, parse("2019-05-09")) is None
        found = risk(moved, parse("2019-06-01"))
        assert found is not None and text(found.since) == "2019-05-10T00:00:00Z"
        lost = loss(moved, parse("2019-06-01"))
        assert tier(moved, "2019-08-31") == "Silver" and lost is not None and day_text(lost.at) == "2019-09-01"

    def test_what_is_bought_long_after_the_last_change_is_lost_too(self) -> None:
        written = "2017-01-01 person.linked person=A\n2017-01-01 certification.earned person=A code=D1\n"
        bought = life(COMPETENCIES, written + "2020-09-01 membership.purchased level=Silver")
        lost = loss(bought, parse("2020-09-01"))
        assert lost is not None and (day_text(lost.at), lost.how) == ("2021-10-02", "not renewed")
        renewed = life(COMPETENCIES, written + "2017-02-01 membership.purchased level=Silver\n2018-02-10 membership.renewed\n2019-02-15 membership.renewed")
        lost = loss(renewed, parse("2019-02-15"))
        assert lost is not None and day_text(lost.at) == "2020-03-12"

    def test_leaving_the_programme_ends_it_and_what_was_bought(self) -> None:
        left = (
            TWO
            + "2018-01-02 partner.enrolled programme=ms\n2018-09-01 membership.purchased level=Gold\n2019-01-01 partner.left programme=ms\n2019-02-01 partner.enrolled programme=ms\n"
        )
        assert steps(life(COMPETENCIES, left)) == [("2018-09-01", "Gold", "active"), ("2019-01-01", None, "left")]
        again = life(COMPETENCIES, left + "2019-03-01 membership.purchased level=Silver")
        assert steps(again, "2020-01-01")[-1] == ("2019-03-01", "Silver", "active")

    def test_who_leaves_at_the_instant_of_joining_has_left(self) -> None:
        written = TWO + "2018-02-01 partner.enrolled\n2018-02-01 partner.left\n2018-03-01 membership.purchased level=Gold"
        assert steps(life(COMPETENCIES, written)) == []

    def test_leaving_another_programme_does_not(self) -> None:
        written = (
            TWO
            + "2018-01-02 partner.enrolled programme=other\n2018-03-01 membership.purchased level=Gold\n2018-04-01 partner.left programme=other"
        )
        assert tier(life(COMPETENCIES, written), "2018-05-01") == "Gold"

    def test_what_another_policy_credited_is_not_bought(self) -> None:
        before = REVIEWED.replace("rv", "ms").replace("ms/first", "ms/before").replace("2020-01-01", "2015-01-01")
        books = [book(before), book(COMPETENCIES.replace("2017-01-01\nlanguage", "2018-06-01\nlanguage"))]
        assert steps(life(books, TWO)) == [("2018-01-15", "Gold", "raised"), ("2018-06-01", None, "carried over")]
        bought = life(books, TWO + "2018-05-01 membership.purchased level=Gold")
        assert [(day, held) for day, held, _ in steps(bought, "2019-01-01")] == [("2018-01-15", "Gold")]

    @pytest.mark.parametrize(("left", "kept"), [("2019-08-02", False), ("2019-08-02T00:00:00.000001Z", True), ("2019-08-20", True)])
    def test_with_a_test_window_once_in_it_is_enough(self, left: str, kept: bool) -> None:
        windowed = COMPETENCIES.replace("renewal: 30 days", "renewal: 30 days\n    test_window: 30 days")
        written = (
            PEOPLE
            + f"2018-01-01 certification.earned person=A code=D1\n2018-09-01 membership.purchased level=Silver\n{left} person.unlinked person=A"
        )
        assert tier(life(windowed, written), "2019-09-01") == ("Silver" if kept else None)

    def test_with_a_test_window_one_may_buy_after_it_was_met(self) -> None:
        windowed = COMPETENCIES.replace("renewal: 30 days", "renewal: 30 days\n    test_window: 30 days")
        written = (
            PEOPLE
            + "2018-01-01 certification.earned person=A code=D1\n2018-02-01 person.unlinked person=A\n{} membership.purchased level=Silver"
        )
        assert tier(life(windowed, written.format("2018-03-02")), "2018-03-02") == "Silver"
        assert tier(life(windowed, written.format("2018-03-04")), "2018-12-01") is None

    @pytest.mark.parametrize(
        ("met", "kept"), [("2024-02-29", False), ("2024-03-01", True), ("2024-08-31T23:59:59Z", True), ("2024-09-01", False)]
    )
    def test_with_test_months_any_instant_of_the_anniversarys_month_and_those_before(self, met: str, kept: bool) -> None:
        """WIN4: anniversary 2024-08-15: from 1 March to 31 August 2024. It is decided when the month is over."""
        months = COMPETENCIES.replace("renewal: 30 days", "renewal: 30 days\n    test_months: 6")
        written = "2023-01-01 certification.earned person=A code=D1\n2023-08-15 person.linked person=A\n2023-08-15 membership.purchased level=Silver\n2023-08-20 person.unlinked person=A\n"
        brief = plus(parse(met), Span(micros=SECOND // 2))
        held = life(months, written + f"{met} person.linked person=A\n{text(brief)} person.unlinked person=A")
        assert tier(held, "2024-08-31T23:59:59.999999Z") == "Silver"
        assert tier(held, "2024-09-01") == ("Silver" if kept else None)

    MONTHS = COMPETENCIES.replace("renewal: 30 days", "renewal: 30 days\n    test_months: 6")
    LEFT = "2023-01-01 certification.earned person=A code=D1\n2023-08-15 person.linked person=A\n2023-08-15 membership.purchased level=Silver\n2023-08-20 person.unlinked person=A\n"

    @pytest.mark.parametrize(
        ("more", "held"),
        [
            ("", [("2024-09-01", None)]),
            ("2024-08-25 person.linked person=A\n2024-08-26 person.unlinked person=A", [("2025-09-01", None)]),
            ("2024-08-20 membership.purchased level=Silver\n2024-10-01 person.linked person=A", [("2024-09-01", None), ("2024-10-01", "Silver")]),
        ],
    )
    def test_a_renewal_does_not_decide_a_test_before_its_month_is_over(self, more: str, held: list[tuple[str, str | None]]) -> None:
        of = life(self.MONTHS, self.LEFT + f"2024-08-17 membership.renewed\n{more}")
        assert [(day, tier) for day, tier, _ in steps(of, "2025-09-02")] == [("2023-08-15", "Silver"), *held]

    def test_between_the_renewal_and_the_decision_the_next_anniversary_is_the_one_that_was_paid_for(self) -> None:
        awards = self.MONTHS.replace("tiers:\n  Silver: [people >= 1]\n  Gold: [people >= 2]\n", "levels: [Silver]\nawards: {dev: {tiers: {Silver: [people >= 1]}}}\n")
        of = life(awards, self.LEFT + "2024-08-17 membership.renewed")
        (award,) = standing(of, basis(of, "P-1", parse("2024-08-20"), 9)).awards
        assert (award.credited, award.status, award.anniversary, award.at_risk) == ("Silver", "active", parse("2025-08-15"), True)
        bought = life(self.MONTHS, self.LEFT + "2024-08-17 membership.renewed\n2024-08-20 membership.purchased level=Silver")
        assert [each.effect for each in membership(bought, parse("2024-09-02")).purchases] == ["in effect", "no effect yet"]

    def test_a_lower_level_is_renewed_before_the_test_is_decided(self) -> None:
        gold = TWO + "2023-08-15 membership.purchased level=Gold\n2024-01-01 person.unlinked person=A\n2024-08-17 membership.renewed level=Silver\n"
        assert steps(life(self.MONTHS, gold), "2025-01-01")[1:] == [("2024-08-17", "Silver", "renewed at a lower level")]
        left = life(self.MONTHS, gold + "2024-01-01 person.unlinked person=B")
        assert [day for day, _, _ in steps(left, "2025-01-01")[1:]] == ["2024-08-17", "2024-09-01"]

    def test_at_risk_until_the_test_is_decided_and_by_the_next_one_after_the_renewal(self) -> None:
        of = life(self.MONTHS, self.LEFT)
        found = {day: risk(of, parse(day)) for day in ("2024-08-14", "2024-08-16", "2024-08-31", "2024-09-01")}
        assert {day: each and each.until_review and day_text(each.until_review) for day, each in found.items()} == {
            "2024-08-14": "2024-08-15", "2024-08-16": "2024-08-15", "2024-08-31": "2024-08-15", "2024-09-01": None,
        }  # fmt: skip
        met = "2024-07-01 override.granted override=O-1 tier=Silver until=2024-08-20 reason=exam author=admin\n2024-08-17 membership.renewed"
        after = risk(life(self.MONTHS, self.LEFT + met), parse("2024-08-18"))
        assert after is not None and after.until_review is not None and day_text(after.until_review) == "2025-08-15"


class TestMoved:
    """Anniversaries that are tested later, and one award that is tested on the day with points."""

    RULES = COMPETENCIES.replace(
        "renewal: 30 days",
        "renewal: 30 days\n    moved: [{from: 2019-09-01, until: 2019-10-01, by: 12 months, except: {ops: {people: 1}}}, {from: 2020-09-01, until: 2021-01-01, by: 6 months}]",
    ).replace(
        "tiers:\n  Silver: [people >= 1]\n  Gold: [people >= 2]\n",
        "levels: [Silver, Gold]\nawards:\n  dev: {tiers: {Silver: [people >= 1], Gold: [people >= 2]}}\n  ops: {tiers: {Silver: [people >= 2], Gold: [people >= 3]}}\n",
    )
    LEFT = TWO + "2018-09-10 membership.purchased level=Gold\n2019-01-01 person.unlinked person=A\n"

    def test_what_is_held_is_kept_and_tested_where_it_is_not_moved_any_more(self) -> None:
        paid = "2019-09-20 membership.renewed\n2020-09-20 membership.renewed\n2021-03-20 membership.renewed\n"
        dev = life(self.RULES, self.LEFT + paid).of("dev")
        assert steps(dev, "2022-01-01") == [("2018-09-10", "Gold", "active"), ("2021-03-10", "Silver", "anniversary failed")]
        assert [line for line in notices(dev, "2021-04-01") if "reminder" not in line] == [
            "2019-09-10 anniversary, tested on 2021-03-10", "2020-09-10 anniversary, tested on 2021-03-10", "2021-03-10 anniversary",
        ]  # fmt: skip

    def test_the_payment_is_due_all_the_same(self) -> None:
        assert steps(life(self.RULES, self.LEFT).of("dev"))[-1] == ("2019-10-11", None, "not renewed")
        early = self.LEFT + "2019-09-10 membership.renewed"
        assert steps(life(self.RULES, early).of("dev"))[-1] == ("2019-10-11", None, "not renewed")

    @pytest.mark.parametrize(("also", "kept"), [("", True), ("2019-09-10 person.unlinked person=B", False), ("2019-09-11 person.unlinked person=B", True)])
    def test_the_award_that_is_not_moved_is_tested_with_what_it_is_given(self, also: str, kept: bool) -> None:
        ops = life(self.RULES, self.LEFT + "2019-09-20 membership.renewed\n" + also).of("ops")
        assert (tier(ops, "2019-09-10"), tier(ops, "2019-09-30")) == (("Silver", "Silver") if kept else (None, None))
        assert ops.tier(parse("2019-09-10")) is None, "what is given is given for the test alone"

    def test_risk_looks_at_the_day_of_the_test_and_at_what_is_given(self) -> None:
        found = life(self.RULES, self.LEFT)
        dev, ops = (risk(found.of(award), parse("2019-02-01")) for award in ("dev", "ops"))
        assert dev is not None and dev.until_review is not None and day_text(dev.until_review) == "2021-03-10"
        assert ops is None
        gone = risk(life(self.RULES, self.LEFT + "2019-01-05 person.unlinked person=B").of("ops"), parse("2019-02-01"))
        assert gone is not None and gone.cause is not None and (gone.cause.value, gone.cause.missing) == (1, 1)

    @pytest.mark.parametrize(("bought", "tested"), [("2018-08-31", True), ("2018-09-01", False), ("2018-09-30T23:59:59Z", False), ("2018-10-01", True)])
    def test_the_days_are_half_open(self, bought: str, tested: bool) -> None:
        written = TWO + f"{bought} membership.purchased level=Gold\n2019-01-01 person.unlinked person=A\n2019-01-01 person.unlinked person=B"
        held = tier(life(self.RULES, written).of("dev"), bought.replace("2018", "2019"))
        assert held == (None if tested else "Gold")

    @pytest.mark.parametrize(
        ("old", "new", "code"),
        [
            ("from: 2020-09-01", "from: 2019-09-30", "rows_overlap"),
            ("until: 2019-10-01", "until: 2019-09-01", "rows_overlap"),
            ("from: 2019-09-01, ", "", "missing_key"),
            ("by: 6 months", "by: 0 months", "bad_span"),
            ("until: 2021-01-01", "until: 2021-02-30", "bad_date"),
            ("ops: {people: 1}", "opps: {people: 1}", "unknown_name"),
            ("ops: {people: 1}", "ops: {persons: 1}", "unknown_name"),
            ("ops: {people: 1}", "ops: {people: one}", "bad_number"),
            ("by: 6 months", "by: 6 months, for: all", "unknown_key"),
        ],
    )
    def test_what_cannot_be_moved_is_refused(self, old: str, new: str, code: str) -> None:
        assert code in [problem.code for problem in lint(self.RULES.replace(old, new))]

    def test_from_a_day_on_nothing_is_renewed(self) -> None:
        no_more = COMPETENCIES.replace("2018-07-24: anniversary + 365 days}", "2018-07-24: anniversary + 365 days, 2019-09-20: no renewal}")
        written = TWO + "2018-09-10 membership.purchased level=Gold\n{} membership.renewed"
        assert tier(life(no_more, written.format("2019-09-19T23:59:59Z")), "2019-12-01") == "Gold"
        assert tier(life(no_more, written.format("2019-09-20")), "2019-12-01") is None


class TestAwards:
    RULES = COMPETENCIES.replace(
        "tiers:\n  Silver: [people >= 1]\n  Gold: [people >= 2]\n",
        "levels: [Silver, Gold]\nawards:\n  dev: {tiers: {Silver: [people >= 1], Gold: [people >= 2]}}\n  ops: {tiers: {Silver: [people >= 2]}}\n",
    )

    def test_an_offer_for_one_award_is_for_that_one_and_the_years_are_shared(self) -> None:
        found = life(
            self.RULES, TWO + "2018-03-01 membership.purchased level=Gold offer=ops\n2018-06-01 membership.purchased level=Gold offer=dev"
        )
        assert steps(found.of("ops"), "2019-01-01") == [("2018-03-01", "Silver", "active")]
        assert steps(found.of("dev"), "2019-01-01") == [("2018-06-01", "Gold", "active")]
        assert steps(found.of("dev"))[-1] == steps(found.of("ops"))[-1] == ("2019-04-01", None, "not renewed")

    def test_an_offer_waits_for_the_proficiency_of_its_own_award(self) -> None:
        one = PEOPLE + "2018-01-01 certification.earned person=A code=D1\n2018-03-01 membership.purchased level=Silver offer=ops\n"
        assert steps(life(self.RULES, one).of("ops")) == steps(life(self.RULES, one).of("dev")) == []
        later = life(self.RULES, one + "2018-08-01 certification.earned person=B code=D1")
        assert steps(later.of("ops")) == [("2018-08-01", "Silver", "active"), ("2019-09-01", None, "not renewed")]

    def test_one_award_fails_and_the_other_is_renewed_and_the_first_is_gained_anew(self) -> None:
        written = (
            TWO
            + "2018-09-01 membership.purchased level=Gold\n2019-08-01 person.unlinked person=B\n2019-09-10 membership.renewed\n2019-11-01 person.linked person=B"
        )
        found = life(self.RULES, written)
        assert steps(found.of("ops"), "2020-01-01") == [
            ("2018-09-01", "Silver", "active"), ("2019-09-01", None, "anniversary failed"), ("2019-11-01", "Silver", "active"),
        ]  # fmt: skip
        assert [(day, tier) for day, tier, _ in steps(found.of("dev"), "2020-01-01")] == [
            ("2018-09-01", "Gold"),
            ("2019-09-01", "Silver"),
            ("2019-11-01", "Gold"),
        ]

    def test_what_was_offered_before_leaving_is_gone(self) -> None:
        stay = "2018-01-02 partner.enrolled\n2018-03-01 membership.purchased level=Gold offer=ops\n2018-06-01 partner.left\n2018-07-01 partner.enrolled\n"
        found = life(self.RULES, TWO + stay + "2018-08-01 membership.purchased level=Silver offer=dev")
        assert steps(found.of("ops")) == [("2018-03-01", "Silver", "active"), ("2018-06-01", None, "left")]
        assert steps(found.of("dev"), "2019-01-01") == [("2018-08-01", "Silver", "active")]


# -- a membership that is lived day by day ---------------------------------------------------------------------------

FIRST = parse("2017-06-01")
RANKS = (None, "Silver", "Gold")
SWITCH = parse("2018-07-24")
_TURNS = (0, 31, 364, 365, 366, 367, 394, 395, 396, 397, 398, 729, 730, 731, 732, 733, 761, 762, 763, 1095, 1096, 1128)
DAYS = st.one_of(st.integers(0, 1150), st.sampled_from(_TURNS))


@dataclass
class Happened:
    """What happened, by days since FIRST: links on and off, certificates, purchases, renewals, overrides, one absence."""

    links: dict[str, list[int]]
    certificates: dict[str, tuple[int, int]]
    purchases: list[tuple[int, str]]
    renewals: list[tuple[int, str | None]]
    overrides: list[tuple[int, int, str]]
    absence: tuple[int, int] | None

    def events(self) -> list[Sealed]:
        rows: list[tuple[int, str, dict[str, object]]] = [(0, "partner.enrolled.v1", {"programme": "ms"})]
        for person, days in self.links.items():
            rows += [(day, "person.unlinked.v1" if i % 2 else "person.linked.v1", {"person": person}) for i, day in enumerate(days)]
        for person, (day, until) in self.certificates.items():
            rows.append((day, "certification.earned.v1", {"person": person, "code": "D1", "valid_until": day_text(FIRST + until * DAY)}))
        rows += [(day, "membership.purchased.v1", {"level": level}) for day, level in self.purchases]
        rows += [(day, "membership.renewed.v1", {"level": level}) for day, level in self.renewals]
        for i, (day, until, level) in enumerate(self.overrides):
            granted = {"override": f"O-{i}", "tier": level, "until": day_text(FIRST + until * DAY), "reason": "r", "author": "a"}
            rows.append((day, "override.granted.v1", granted))
        for day, kind in zip(self.absence or (), ("partner.left.v1", "partner.enrolled.v1"), strict=False):
            rows.append((day, kind, {"programme": "ms"}))
        return [sealed(kind, FIRST + day * DAY, place, **data) for place, (day, kind, data) in enumerate(rows, start=1)]

    def met(self, day: int) -> int:
        """The rank of the performance tier: one person is Silver, two are Gold."""
        people = sum(
            sum(at <= day for at in self.links[person]) % 2 == 1 and begin <= day < end
            for person, (begin, end) in self.certificates.items()
        )
        lifted = [RANKS.index(level) for begin, end, level in self.overrides if begin <= day < end]
        return max([people, *lifted])


@dataclass
class Member:
    """The naive membership: it sees one day after the other, and nothing of what is to come."""

    credited: int = 0
    level: int = 0
    anniversary: Instant | None = None
    in_grace: bool = False
    waiting: list[tuple[Instant, int]] = field(default_factory=list)

    def live(self, today: Instant, met: int, bought: list[str], renewed: list[str | None]) -> None:
        self.waiting += [(today, RANKS.index(level)) for level in bought]
        if self.anniversary is not None:
            self._anniversary(self.anniversary, today, met, renewed)
        if self.anniversary is None and self.waiting and met:
            self._begin(today, self.waiting[-1][1])
            self.waiting = []
        higher = [level for _, level in self.waiting if level > self.level]
        if self.anniversary is not None and higher and met > self.level:
            self._begin(today, higher[-1])
        if self.anniversary is not None and not self.in_grace:
            self.credited = max(self.credited, min(self.level, met))

    def _begin(self, today: Instant, level: int) -> None:
        self.level, self.anniversary, self.in_grace = level, plus(today, Span(months=12)), False

    def _anniversary(self, anniversary: Instant, today: Instant, met: int, renewed: list[str | None]) -> None:
        if today == anniversary:
            self.credited, self.in_grace = min(self.credited, self.level, met), True
            if not met:
                self._end(anniversary)
        elif self.in_grace and today == anniversary + 31 * DAY:
            self._end(anniversary)
        elif self.in_grace and renewed:
            if renewed[0] is not None:
                self.level, self.waiting = RANKS.index(renewed[0]), []
            self.credited = min(self.credited, self.level)
            self.anniversary, self.in_grace = (today if today < SWITCH else anniversary) + 365 * DAY, False

    def _end(self, anniversary: Instant) -> None:
        self.credited, self.level, self.anniversary, self.in_grace = 0, 0, None, False
        self.waiting = [(at, level) for at, level in self.waiting if at >= anniversary]


def lived(happened: Happened, days: int) -> list[str | None]:
    """The credited tier of each day."""
    member, found = Member(), list[str | None]()
    left, back = happened.absence or (days, days)
    for day in range(days):
        bought = [level for at, level in happened.purchases if at == day]
        if day == left:
            member = Member()
        if left <= day < back:
            member.waiting += [(FIRST + day * DAY, RANKS.index(level)) for level in bought]
        else:
            member.live(FIRST + day * DAY, happened.met(day), bought, [level for at, level in happened.renewals if at == day])
        found.append(RANKS[member.credited])
    return found


@st.composite
def happenings(draw: st.DrawFn) -> Happened:
    toggles = st.lists(DAYS, unique=True, max_size=5).map(sorted)
    spans = st.tuples(DAYS, st.integers(1, 1200)).map(lambda pair: (pair[0], pair[0] + pair[1]))
    levels = st.sampled_from(("Silver", "Gold"))
    anchor = draw(st.integers(0, 40))
    renewals = st.tuples(
        st.one_of(st.integers(anchor + 360, anchor + 400), st.integers(anchor + 725, anchor + 770), DAYS),
        st.sampled_from((None, None, "Silver", "Gold")),
    )
    return Happened(
        links={person: [anchor, *[day for day in draw(toggles) if day > anchor]] for person in "AB"},
        certificates={person: draw(st.one_of(st.just((0, 1500)), spans)) for person in "AB"},
        purchases=[(anchor, draw(levels)), *draw(st.lists(st.tuples(DAYS, levels), max_size=3))],
        renewals=draw(st.lists(renewals, max_size=4, unique_by=lambda pair: pair[0])),
        overrides=draw(st.lists(st.tuples(spans, levels).map(lambda pair: (*pair[0], pair[1])), max_size=1)),
        absence=draw(st.one_of(st.none(), st.none(), spans)),
    )


_BOOK = book(COMPETENCIES)


@examples(200)
@given(happenings())
def test_a_membership_lived_day_by_day_is_the_same(happened: Happened) -> None:
    days = 1300
    naive, found = lived(happened, days), life(_BOOK, happened.events())
    whole = found.walked(FIRST + days * DAY)
    walked = [whole.tier_at(FIRST + day * DAY) for day in range(days)]
    differing = [(day, day_text(FIRST + day * DAY), naive[day], walked[day]) for day in range(days) if naive[day] != walked[day]]
    assert not differing, f"{differing[0]}: {happened}"


@examples(60)
@given(happenings(), DAYS)
def test_what_comes_later_changes_nothing_of_what_was(happened: Happened, day: int) -> None:
    at, events = FIRST + day * DAY, happened.events()
    then = [sealed for sealed in events if sealed.event.effective_at <= at]
    assert life(_BOOK, events).credited_tier(at) == life(_BOOK, then).credited_tier(at), happened


class TestReview:
    def reviewed(self, written: str, rules: str = REVIEWED) -> Life:
        linked = "2020-01-01 person.linked person=A\n2020-01-01 person.linked person=B\n"
        return life(rules, linked + written)

    def both(self, since: str, until: str) -> str:
        return "\n".join(f"{since} certification.earned person={who} code=D valid_until={until}" for who in "AB") + "\n"

    def test_a_checkpoint_raises_and_only_a_checkpoint(self) -> None:
        raised = self.reviewed(self.both("2020-02-16", "2025-01-01"))
        assert steps(raised, "2020-06-01") == [("2020-03-15", "Gold", "raised")]

    def test_what_is_there_between_checkpoints_is_never_seen(self) -> None:
        assert steps(self.reviewed(self.both("2020-02-16", "2020-03-15"))) == []
        assert steps(self.reviewed(self.both("2020-02-16", "2020-03-15T00:00:00.000001Z")), "2020-06-01") == [
            ("2020-03-15", "Gold", "raised")
        ]

    def test_what_was_gained_is_held_for_six_months_to_the_day(self) -> None:
        """Gained on 15 Feb, lost from 16 Feb: not dropped on 15 Jul (five months); on 15 Jan it is."""
        held = self.reviewed(self.both("2020-02-01", "2020-02-16"))
        assert steps(held, "2021-06-01") == [("2020-02-15", "Gold", "raised"), ("2021-01-15", None, "dropped")]
        assert [c.verdict for c in held.walked(parse("2021-02-01")).checkpoints if c.review] == ["kept", "dropped"]
        exact = self.reviewed(self.both("2020-01-10", "2020-01-16"))
        assert steps(exact, "2021-01-01") == [("2020-01-15", "Gold", "raised"), ("2020-07-15", None, "dropped")]

    def test_the_hold_protects_where_the_window_does_not(self) -> None:
        narrow = REVIEWED.replace("window: 6 checkpoints", "window: 2 checkpoints")
        held = self.reviewed(self.both("2020-02-01", "2020-02-16"), narrow)
        assert [c.verdict for c in held.walked(parse("2021-02-01")).checkpoints if c.review] == ["held", "dropped"]

    def test_met_at_one_checkpoint_of_the_window_keeps_it(self) -> None:
        for until, kept in (("2020-08-15", False), ("2020-08-15T00:00:00.000001Z", True)):
            found = self.reviewed(self.both("2020-01-02", until))
            assert tier(found, "2021-01-15") == ("Gold" if kept else None), until

    def test_else_it_drops_to_the_best_that_was_met_in_the_window(self) -> None:
        best = self.reviewed(
            self.both("2020-01-02", "2020-08-01") + "2020-10-10 certification.earned person=A code=E valid_until=2020-10-20"
        )
        assert steps(best, "2021-02-01")[-1] == ("2021-01-15", "Silver", "dropped")

    def test_without_the_required_a_review_credits_nothing_even_in_the_hold(self) -> None:
        required = REVIEWED.replace("hold: 6 months", "hold: 6 months, required: people")
        required = required.replace("Gold: [people >= 2]", "Gold: [people >= 1, certificates >= 4]").replace(
            "tiers:", "  certificates: {count: all, of: certificate}\ntiers:"
        )
        written = self.both("2020-02-01", "2020-07-15") + self.both("2020-02-01", "2020-07-15").replace("code=D", "code=E")
        lost = self.reviewed(written, required)
        assert steps(lost, "2020-08-01") == [("2020-02-15", "Gold", "raised"), ("2020-07-15", None, "a required condition is not met")]
        kept = self.reviewed(written + "2020-03-01 certification.earned person=A code=F", required)
        assert tier(kept, "2020-07-15") == "Gold", "Gold's other requirement is not the required one"

    @pytest.mark.parametrize(("carry", "after"), [("", None), (", carry: {Gold: Silver}", "Silver"), (", carry: {Gold: none}", None)])
    def test_the_tiers_of_the_book_before_are_carried(self, carry: str, after: str | None) -> None:
        second = REVIEWED.replace("rv/first", "rv/second").replace("effective: 2020-01-01", "effective: 2020-05-01")
        second = second.replace("  Gold: [people >= 2]\n", "").replace("hold: 6 months", f"hold: 6 months{carry}")
        found = life(
            [book(REVIEWED), book(second)],
            "2020-01-01 person.linked person=A\n2020-01-01 person.linked person=B\n" + self.both("2020-02-01", "2030-01-01"),
        )
        assert tier(found, "2020-04-30") == "Gold"
        assert tier(found, "2020-05-01") == after
        assert tier(found, "2020-05-15") == "Silver"

    def test_a_tier_that_both_books_know_stays_and_each_review_is_judged_by_its_own_book(self) -> None:
        harder = (
            REVIEWED.replace("rv/first", "rv/second")
            .replace("effective: 2020-01-01", "effective: 2020-05-01")
            .replace("people >= 2", "people >= 3")
        )
        found = life(
            [book(REVIEWED), book(harder)],
            "2020-01-01 person.linked person=A\n2020-01-01 person.linked person=B\n" + self.both("2020-01-02", "2030-01-01"),
        )
        assert tier(found, "2020-07-15") == "Gold", "met at the checkpoints of the first book"
        assert tier(found, "2021-01-15") == "Silver"

    def test_who_leaves_holds_nothing_and_begins_anew_on_return(self) -> None:
        stay = "2020-01-01 partner.enrolled programme=rv\n{} partner.left programme=rv\n2020-06-01 partner.enrolled programme=rv\n"
        written = stay.format("2020-03-20") + self.both("2020-02-01", "2030-01-01")
        assert steps(self.reviewed(written), "2020-12-01") == [
            ("2020-02-15", "Gold", "raised"), ("2020-03-20", None, "left"), ("2020-06-15", "Gold", "raised"),
        ]  # fmt: skip
        at_checkpoint = self.reviewed(stay.format("2020-02-15") + self.both("2020-02-01", "2030-01-01"))
        assert steps(at_checkpoint, "2020-12-01") == [("2020-06-15", "Gold", "raised")]


    def test_what_fails_already_fails_since_it_began_to(self) -> None:
        fallen = life(REVIEWED, TWO + "2020-05-10 person.unlinked person=B")
        found = risk(fallen, parse("2020-06-20"))
        assert found is not None and found.cause is not None
        assert (day_text(found.cause.at), found.cause.requirement, len(found.cause.lots)) == ("2020-05-10", "people", 1)

    def test_a_tier_that_is_held_for_longer_than_two_years_is_lost_too(self) -> None:
        lasting = REVIEWED.replace("hold: 6 months", "hold: 60 months")
        lost = loss(life(lasting, TWO + "2020-05-10 person.unlinked person=B"), parse("2020-06-20"))
        assert lost is not None and (day_text(lost.at), lost.how) == ("2023-01-15", "dropped")


class TestContinuous:
    RULES = REVIEWED.replace(
        "{review: {checkpoints: day 15, reviews: [01-15, 07-15], window: 6 checkpoints, hold: 6 months}}", "{continuous: {}}"
    )

    def test_the_credited_tier_is_the_performance_tier_at_every_instant(self) -> None:
        found = life(self.RULES, TWO + "2018-05-05T12:00:00Z person.unlinked person=A\n2018-06-01 person.unlinked person=B")
        assert steps(found) == [
            ("2018-01-01", "Gold", "performance"),
            ("2018-05-05T12:00:00Z", "Silver", "performance"),
            ("2018-06-01", None, "performance"),
        ]

    def test_who_leaves_holds_nothing_until_the_return(self) -> None:
        found = life(self.RULES, TWO + "2018-01-01 partner.enrolled\n2018-02-01 partner.left\n2018-03-01 partner.enrolled")
        assert steps(found) == [("2018-01-01", "Gold", "performance"), ("2018-02-01", None, "left"), ("2018-03-01", "Gold", "performance")]

    def test_from_a_review_to_continuous_at_the_border(self) -> None:
        books = [
            book(REVIEWED),
            book(self.RULES.replace("rv/first", "rv/second").replace("effective: 2020-01-01", "effective: 2020-05-01")),
        ]
        assert steps(life(books, TWO.replace("2018-01-01", "2020-04-20"))) == [("2020-05-01", "Gold", "performance")]
