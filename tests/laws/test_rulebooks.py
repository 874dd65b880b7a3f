"""The laws for every rulebook that ships: the engine against a slow reading of the rulebook's own text, instant by instant."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.events.envelope import Sealed
from ledger.instants import BEGINNING, Instant, text
from ledger.rules.library import Library
from ledger.rules.life import Life
from ledger.rules.risk import loss, risk
from tests.laws.histories import examples, told
from tests.laws.programmes import HISTORIES
from tests.oracle.language import BOOKS, programme
from tests.oracle.standing import Oracle

LIBRARY = Library()
PROGRAMMES = tuple(HISTORIES)
EXAMPLES = {"copernica": 40, "hubspot": 15, "microsoft-capability": 15, "microsoft-competencies": 25, "microsoft-licences": 40}
AHEAD = {"copernica": 20, "hubspot": 10, "microsoft-capability": 8, "microsoft-competencies": 15, "microsoft-licences": 20}


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
