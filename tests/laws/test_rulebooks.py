"""The laws for every rulebook that ships: the engine against a slow reading of the rulebook's own text, instant by instant."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.events.envelope import Sealed
from ledger.instants import BEGINNING, Instant, text
from ledger.rules.library import Library
from ledger.rules.life import Life
from tests.laws.histories import examples, told
from tests.laws.programmes import HISTORIES
from tests.oracle.language import BOOKS, programme
from tests.oracle.standing import Oracle

LIBRARY = Library()
PROGRAMMES = tuple(HISTORIES)
EXAMPLES = {"copernica": 40, "hubspot": 15, "microsoft-competencies": 25, "microsoft-licences": 40}


def test_there_are_histories_of_every_programme_that_ships() -> None:
    assert sorted(HISTORIES) == sorted(folder.name for folder in BOOKS.iterdir() if folder.is_dir() and list(folder.glob("*.yaml")))


def some(instants: set[Instant], dice: Random, n: int) -> list[Instant]:
    """A few of the instants, and of those just before them."""
    found = sorted(instants | {at - 1 for at in instants})
    return sorted(dice.sample(found, min(n, len(found))))


def same_values(life: Life, oracle: Oracle, at: Instant, where: str) -> None:
    found, expected = life.values(at), oracle.values(at)
    assert {name: found.get(name) for name in expected} == expected, where
    assert all("_or_" in name for name in found.keys() - expected.keys()), "the engine's own joins of roles are not in the text"


def check_timeline(name: str, history: list[Sealed], dice: Random) -> None:
    life, oracle = Life(history, LIBRARY.force(name)), Oracle(history, programme(name))
    last = oracle.horizon()
    edges = {*oracle.edges(), *life.edges(BEGINNING, last)}
    for at in some(edges, dice, 30):
        where = f"at {text(at)} of\n{told(history)}"
        same_values(life, oracle, at, where)
    for award in oracle.awards:
        own = life.of(award)
        turns = {*oracle.steps(last), *own.turns(BEGINNING, last)}
        for at in sorted(turns | {at - 1 for at in turns}):
            where = f"{award} at {text(at)} of\n{told(history)}"
            assert own.tier(at) == oracle.performance(award, at), f"performance {where}"
            assert own.credited_tier(at) == oracle.credited(award, at), f"credited {where}"


@pytest.mark.parametrize("name", PROGRAMMES)
def test_4_the_timeline_equals_a_naive_reading_of_the_rulebook(name: str) -> None:
    @examples(EXAMPLES[name])
    @given(HISTORIES[name], st.randoms(use_true_random=False))
    def law(history: list[Sealed], dice: Random) -> None:
        check_timeline(name, history, dice)

    law()
