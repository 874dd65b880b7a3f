"""Law 4 and law 5: the engine against the oracle, instant by instant, for the books in force and for each book named."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.events.envelope import Sealed
from ledger.instants import BEGINNING, Instant, text
from ledger.rules.compiled import compiled
from ledger.rules.library import Library
from ledger.rules.life import Force, Life
from ledger.rules.risk import loss, risk
from ledger.rules.standing import timeline
from tests.laws.histories import examples, histories, told
from tests.oracle.hubspot import Oracle
from tests.oracle.programme import ALL, Rules

LIBRARY = Library()
NAMES = tuple(rules.name for rules in ALL)
CHOICES = ("in force", "in force", "in force", *NAMES)


def chosen(book: str) -> tuple[tuple[Force, ...], tuple[Rules, ...]]:
    """The books of the engine and those of the oracle."""
    if book == "in force":
        return LIBRARY.force("hubspot"), ALL
    return LIBRARY.named(f"hubspot/{book}"), tuple(rules for rules in ALL if rules.name == book)


def instants_of(oracle: Oracle, life: Life) -> list[Instant]:
    """Every edge of either side, just before it and just after."""
    last = oracle.horizon()
    edges = {*oracle.candidates(last), *life.edges(BEGINNING, last)}
    first = min((each.event.effective_at for each in oracle.known), default=0)
    return sorted({at + step for at in edges for step in (-1, 0, 1) if first - 2 <= at})


def compare(life: Life, oracle: Oracle, at: Instant, history: list[Sealed]) -> None:
    where = f"at {text(at)} of\n{told(history)}"
    values, expected = life.values(at), oracle.values(at)
    for name, value in expected.items():
        if name in values:
            assert values[name] == value, f"{name} {where}"
    assert life.tier(at) == oracle.performance(at), f"performance {where}"
    assert life.credited_tier(at) == oracle.credited(at), f"credited {where}"


@examples(60)
@given(histories(), st.sampled_from(CHOICES))
def test_standing_equals_the_oracle_at_every_edge(history: list[Sealed], book: str) -> None:
    force, rules = chosen(book)
    life, oracle = Life(history, force), Oracle(history, rules)
    for at in instants_of(oracle, life):
        compare(life, oracle, at, history)


@examples(6)
@given(histories(elite=True, steps_max=6), st.sampled_from(("in force", "mrr-2020", "points-2022", "points-2025")))
def test_elite_equals_the_oracle_at_every_edge(history: list[Sealed], book: str) -> None:
    force, rules = chosen(book)
    life, oracle = Life(history, force), Oracle(history, rules)
    for at in oracle.candidates(oracle.horizon()):
        compare(life, oracle, at, history)


@examples(30)
@given(histories(), st.sampled_from(CHOICES), st.integers(0, 1000))
def test_forecast_equals_the_oracle_on_what_could_be_foreseen(history: list[Sealed], book: str, pick: int) -> None:
    force, rules = chosen(book)
    oracle = Oracle(history, rules)
    candidates = oracle.candidates(oracle.horizon())
    as_of = candidates[pick % len(candidates)]
    life, ahead = Life(history, force).foresee(as_of), oracle.foresee(as_of)
    for at in instants_of(oracle, life):
        compare(life, ahead, at, history)


@examples(60)
@given(histories(), st.sampled_from(CHOICES), st.lists(st.integers(0, 1000), min_size=3, max_size=3), st.booleans())
def test_the_short_way_ahead_equals_the_long_one(history: list[Sealed], book: str, picks: list[int], late: bool) -> None:
    """`ahead` takes the forecast on from what is known; `foresee` makes it from the beginning."""
    if late:  # nothing is recorded before it happens
        history = [sealed._replace(recorded_at=max(sealed.recorded_at, sealed.event.effective_at)) for sealed in history]
    force, _ = chosen(book)
    life = Life(history, force)
    edges = sorted({at + step for at in life.edges(BEGINNING, life.settled_at) for step in (-1, 0, 1)})
    for as_of in {edges[pick % len(edges)] for pick in picks} if edges else set():
        short, long = life.ahead(as_of), life.foresee(as_of)
        last = max(short.settled_at, long.settled_at)
        for at in sorted({as_of, *short.edges(as_of, last), *long.edges(as_of, last)}):
            where = f"at {text(at)} as of {text(as_of)} of\n{told(history)}"
            assert short.tier(at) == long.tier(at), where
            assert short.credited_tier(at) == long.credited_tier(at), where
            scope, expected = short.scope(at), long.scope(at)
            assert short.book(at) is long.book(at), where
            for name in compiled(long.book(at)).judged:
                assert scope.number(name) == expected.number(name), f"{name} {where}"


@examples(40)
@given(histories(), st.sampled_from(CHOICES))
def test_timeline_is_consecutive_covers_and_equals_the_oracle(history: list[Sealed], book: str) -> None:
    force, rules = chosen(book)
    life, oracle = Life(history, force), Oracle(history, rules)
    since, until = min(each.event.effective_at for each in history) - 5, oracle.horizon()
    intervals = timeline(life, since, until)
    assert intervals[0].start == since and intervals[-1].end == until
    assert all(a.end == b.start for a, b in itertools.pairwise(intervals))
    assert all(each.start < each.end for each in intervals)
    for at in [at for at in oracle.candidates(until - 1) if at >= since]:
        within = next(each for each in intervals if each.start <= at < each.end)
        found = (within.performance, within.credited)
        assert found == (oracle.performance(at), oracle.credited(at)), f"at {text(at)} of\n{told(history)}"


@examples(50)
@given(histories(steps_max=10), st.sampled_from(CHOICES), st.lists(st.integers(0, 1000), min_size=4, max_size=4))
def test_loss_is_the_first_fall_that_could_be_foreseen(history: list[Sealed], book: str, picks: list[int]) -> None:
    force, rules = chosen(book)
    life, oracle = Life(history, force), Oracle(history, rules)
    candidates = oracle.candidates(oracle.horizon())
    for as_of in {candidates[pick % len(candidates)] for pick in picks}:
        where = f"as of {text(as_of)} of\n{told(history)}"
        found, expected = loss(life, as_of), oracle.lost(as_of)
        assert (found and (found.at, found.falls_to)) == expected, where
        if found is None or expected is None:
            continue
        first = oracle.failed_first(as_of, found.at)
        assert (found.cause.requirement in first) if found.cause else not first, f"{found.cause} but {first} {where}"


@examples(25)
@given(histories(steps_max=8), st.sampled_from(CHOICES), st.lists(st.integers(0, 1000), min_size=3, max_size=3))
def test_risk_equals_the_oracle(history: list[Sealed], book: str, picks: list[int]) -> None:
    force, rules = chosen(book)
    life, oracle = Life(history, force), Oracle(history, rules)
    candidates = oracle.candidates(oracle.horizon())
    for as_of in {candidates[pick % len(candidates)] for pick in picks}:
        found = risk(life, as_of)
        assert (found.since if found else None) == oracle.risk_since(as_of), f"as of {text(as_of)} of\n{told(history)}"


@pytest.mark.parametrize("name", NAMES)
def test_the_oracle_knows_the_same_books(name: str) -> None:
    """Tiers, order and requirement names agree; the numbers are compared by the histories."""
    book, rules = LIBRARY.book(f"hubspot/{name}"), next(each for each in ALL if each.name == name)
    assert [tier.name for tier in book.tiers] == list(rules.tiers)
    for tier in book.tiers:
        assert {need.name for need in tier.needs} == {need[0] for need in rules.needs_of(tier.name)}
    assert book.effective == rules.since or rules is ALL[0]
