"""The laws for every rulebook that ships: the engine against a slow reading of the rulebook's own text, instant by instant."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.events.envelope import Sealed
from ledger.instants import BEGINNING, DAY, SECOND, Instant, Span, parse, plus, text
from ledger.rules.library import Library
from ledger.rules.life import Life
from ledger.rules.risk import loss, risk
from tests.laws.histories import Step, examples, seal, told
from tests.laws.programmes import HISTORIES, at_once
from tests.oracle.language import BOOKS, programme
from tests.oracle.standing import Oracle

LIBRARY = Library()
PROGRAMMES = tuple(HISTORIES)
EXAMPLES = {"copernica": 40, "hubspot": 15, "microsoft-capability": 12, "microsoft-competencies": 15, "microsoft-licences": 40}
AHEAD = {"copernica": 20, "hubspot": 10, "microsoft-capability": 6, "microsoft-competencies": 8, "microsoft-licences": 20}


def test_there_are_histories_of_every_programme_that_ships() -> None:
    assert sorted(HISTORIES) == sorted(folder.name for folder in BOOKS.iterdir() if folder.is_dir() and list(folder.glob("*.yaml")))


def some(instants: set[Instant], dice: Random, n: int) -> list[Instant]:
    """A few of the instants, and of those just before them."""
    found = sorted(instants | {at - 1 for at in instants})
    return sorted(dice.sample(found, min(n, len(found))))


def differing(life: Life, oracle: Oracle, at: Instant) -> dict[str, object]:
    """What the two say of measures and numbers; the engine's own joins of roles are not in the text."""
    found, expected = life.values(at), oracle.values(at)
    names = [name for name in (*expected, *found) if name in expected or "_or_" not in name]
    return {name: (found.get(name), expected.get(name)) for name in names if found.get(name) != expected.get(name)}


def check_timeline(name: str, history: list[Sealed], dice: Random) -> None:
    life, oracle = Life(history, LIBRARY.force(name)), Oracle(history, programme(name))
    last = oracle.horizon()
    edges = {*oracle.edges(), *life.edges(BEGINNING, last)}
    for at in some(edges, dice, 30):
        different = differing(life, oracle, at)
        assert not different, f"{different} at {text(at)} of\n{told(history)}"
    for award in oracle.awards:
        own = life.of(award)
        turns = {*oracle.steps(last), *own.turns(BEGINNING, last)}
        for at in sorted(turns | {at - 1 for at in turns}):
            found, expected = (own.tier(at), own.credited_tier(at)), (oracle.performance(award, at), oracle.credited(award, at))
            assert found == expected, f"{award} at {text(at)} of\n{told(history)}"


@pytest.mark.parametrize("name", PROGRAMMES)
def test_4_the_timeline_equals_a_naive_reading_of_the_rulebook(name: str) -> None:
    @examples(EXAMPLES[name])
    @given(HISTORIES[name], st.randoms(use_true_random=False))
    def law(history: list[Sealed], dice: Random) -> None:
        check_timeline(name, history, dice)

    law()


def check_forecast(name: str, history: list[Sealed], dice: Random) -> None:
    """What lies ahead of a few instants: measures and tiers, the first loss with its cause, and risk with its beginning."""
    life, oracle = Life(history, LIBRARY.force(name)), Oracle(history, programme(name))
    for as_of in some({*oracle.edges(), *(each.recorded_at for each in oracle.events)}, dice, 3):
        where = f"as of {text(as_of)} of\n{told(history)}"
        ahead, expected = life.foresee(as_of), oracle.foresee(as_of)
        last = expected.horizon()
        for at in some({*expected.edges(), *ahead.edges(BEGINNING, last)}, dice, 6):
            different = differing(ahead, expected, at)
            assert not different, f"{different} at {text(at)} {where}"
        for award in oracle.awards:
            own, then = ahead.of(award), f"{award} {where}"
            turns = {*expected.steps(last), *own.turns(as_of, last)}
            steps = [(at, own.credited_tier(at)) for at in sorted(turns) if at >= as_of]
            assert steps == [(at, expected.credited(award, at)) for at, _ in steps], f"foreseen {then}"
            check_loss(life.of(award), oracle, award, as_of, then)
            found = risk(life.of(award), as_of)
            assert (found and found.since) == oracle.risk_since(award, as_of), f"at risk {then}"


def check_loss(life: Life, oracle: Oracle, award: str, as_of: Instant, where: str) -> None:
    found, expected = loss(life, as_of), oracle.lost(award, as_of)
    assert (found and (found.at, found.falls_to)) == expected, f"lost {where}"
    if found is None or expected is None:
        return
    began, ways = oracle.failed_first(award, as_of, found.at)
    if found.cause is None:
        assert not ways or not all(ways), f"{ways} {where}"
    else:
        assert found.cause.at == began and all(ways) and any(found.cause.requirement in way for way in ways), f"{found.cause} {ways} {where}"


@pytest.mark.parametrize("name", PROGRAMMES)
def test_5_loss_and_risk_equal_stepping_through_what_could_be_foreseen(name: str) -> None:
    @examples(AHEAD[name])
    @given(HISTORIES[name], st.randoms(use_true_random=False))
    def law(history: list[Sealed], dice: Random) -> None:
        check_forecast(name, history, dice)

    law()


MOVES = (("linked",), ("unlinked",), ("linked", "unlinked"), ("unlinked", "linked"), ("unlinked", "linked", "unlinked"), ("left", "linked"))


def member(day: str, *more: Step) -> list[Sealed]:
    """Two people make Silver, bought on a day."""
    steps = [("person.linked.v1", {"person": who}) for who in "AB"]
    steps += [("certification.earned.v1", {"person": who, "code": "AD-1"}) for who in "AB"]
    before = at_once("2017-07-01", *steps) + at_once(day, ("membership.purchased.v1", {"level": "Silver"}))
    return seal([*before, *more])


def check_about(history: list[Sealed], days: list[Instant], name: str = "microsoft-competencies") -> None:
    """All that is said of the instants before, at and after these days, as it was and as it was foreseen."""
    check_timeline(name, history, Random(0))
    award, oracle = "application-development", Oracle(history, programme(name))
    life = Life(history, LIBRARY.force(name)).of(award)
    assert life.credited_tier(min(days) - 2) == "Silver"
    for as_of in [day + step for day in days for step in (-1, 0, 1)]:
        where = f"as of {text(as_of)} of\n{told(history)}"
        check_loss(life, oracle, award, as_of, where)
        found = risk(life, as_of)
        assert (found and found.since) == oracle.risk_since(award, as_of), f"at risk {where}"


@pytest.mark.parametrize("moves", MOVES, ids="-".join)
@pytest.mark.parametrize(("bought", "anniversary"), [("2018-11-30", "2019-11-30"), ("2020-02-29", "2021-02-28")])
def test_links_moved_about_the_anniversary_and_in_the_same_second(bought: str, anniversary: str, moves: tuple[str, ...]) -> None:
    day = parse(anniversary)
    for at, lag in ((day - 1, 0), (day, 0), (day, -400 * DAY), (day + 1, 0)):
        moved = [Step(f"person.{move}.v1", at, lag, {"person": "A"}) for move in moves]
        check_about(member(bought, *moved), [day, at])


@pytest.mark.parametrize(
    ("since", "until", "bought"),
    [
        ("2018-11-30", "2019-02-28", "2018-02-28"), ("2019-11-30", "2020-02-29", "2018-11-30"), ("2020-02-29", "2020-05-29", "2019-02-28"),
        ("2018-08-31", "2018-11-30", "2017-11-30"),
    ],
)  # fmt: skip
def test_overrides_of_three_months_at_the_ends_of_months(since: str, until: str, bought: str) -> None:
    """Granted when one of the two has left; on the anniversary's day it has just begun, or has just ended, or both."""
    left = Step("person.left.v1", parse(since) - 40 * DAY, 0, {"person": "A"})
    granted = {"until": until, "reason": "exam", "author": "admin"}
    for target in ({"tier": "Silver"}, {"requirement": "people.application_exam"}, {"tier": "Silver", "award": "application-development"}):
        grant = Step("override.granted.v1", parse(since), 0, {**granted, **target})
        check_about(member(bought, left, grant), [parse(since), parse(until)])


@pytest.mark.parametrize("turn", ["2024-03-31", "2024-10-27"])
def test_the_turn_of_summer_time(turn: str) -> None:
    """Copernica counts in Amsterdam: what is measured a month before the turn, to the hours about it, counts until the same wall time."""
    for month in (0, -1, -12):
        for hour in range(-3, 5):
            at = plus(parse(turn), Span(months=month)) + hour * 3600 * SECOND
            linked = [("person.linked.v1", {"person": "A"}), ("certification.earned.v1", {"person": "A", "code": "advanced"})]
            counted = [("client.assigned.v1", {"client": "C-1"}), ("metric.measured.v1", {"metric": "emails", "value": "1501", "client": "C-1"})]
            steps = [Step(kind, at, 0, data) for kind, data in (*linked, *counted)] + at_once(turn, ("client.released.v1", {"client": "C-1"}))
            check_timeline("copernica", seal(steps), Random(hour))
