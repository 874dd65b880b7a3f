"""Teams of different people: what the engine counts against every way to give each role its people."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, combinations_with_replacement, permutations, product

from hypothesis import given
from hypothesis import strategies as st

from ledger.instants import DAY, parse
from ledger.rules.book import load
from ledger.rules.expressions import parse as expression
from ledger.rules.life import Force, Life
from ledger.rules.people import Teams
from tests.laws.histories import examples
from tests.rules.written import sealed

Person = frozenset[str]
"""The roles that one can take."""


def can_be_given(people: list[Person], asked: dict[str, int]) -> bool:
    """Whether some order of the people has the right ones for the first places, the next places, and so on."""
    places = [role for role, number in asked.items() for _ in range(number)]
    return any(all(role in one for role, one in zip(places, chosen, strict=True)) for chosen in permutations(people, len(places)))


class Counted:
    """A scope that knows of how many people any of some roles holds, which is all that a team may ask."""

    def __init__(self, people: list[Person]) -> None:
        self.people = people

    def value(self, name: str) -> Fraction:
        roles = frozenset(name.removeprefix("people.").split("_or_"))
        return Fraction(sum(bool(roles & one) for one in self.people))


def test_every_small_case_is_counted_right() -> None:
    """Three roles, one or two of each, and every choice of up to five people from the seven kinds that there are."""
    roles = ("a", "b", "c")
    kinds = [frozenset(kind) for size in (1, 2, 3) for kind in combinations(roles, size)]
    for numbers in product((1, 2), repeat=3):
        asked = dict(zip(roles, numbers, strict=True))
        written = ", ".join(f"{number}, {role}" for role, number in asked.items())
        team = expression(f"team(people, {written})", Teams(lambda group, chosen: f"{group}.{'_or_'.join(chosen)}"))
        for people in (list(some) for size in range(3, 6) for some in combinations_with_replacement(kinds, size)):
            assert team.evaluate(Counted(people)) == can_be_given(people, asked), (asked, people)  # type: ignore[arg-type]


CODES = ("A", "B", "C", "D")
FIRST = parse("2024-01-01")
ROLES = st.lists(st.tuples(st.integers(1, 3), st.sets(st.sampled_from(CODES), min_size=1)), min_size=1, max_size=4)
CHANGES = st.lists(st.tuples(st.integers(0, 6), st.sampled_from(CODES)), min_size=4, max_size=24)
BOOK = """
book: t/teams
programme: t
effective: 2024-01-01
language: 1
measures: {{people: {{each: person, of: certificate, is: {{{roles}}}}}}}
tiers: {{Met: ["team(people, {asked})"]}}
status: {{continuous: {{}}}}
"""


@examples(120)
@given(ROLES, CHANGES)
def test_a_team_is_there_exactly_when_it_can_be_put_together(roles: list[tuple[int, set[str]]], changes: list[tuple[int, str]]) -> None:
    """Up to seven people who pass and lose codes day by day, up to four roles that may want the same people."""
    named = {f"r{i}": (number, codes) for i, (number, codes) in enumerate(roles)}
    tests = ", ".join(f'''{role}: "any({", ".join(map(repr, sorted(codes)))})"''' for role, (_, codes) in named.items())
    book = load(BOOK.format(roles=tests, asked=", ".join(f"{number}, {role}" for role, (number, _) in named.items())))
    held: dict[int, set[str]] = {}
    events, expected = [], []
    for day, (who, code) in enumerate(changes):
        codes = held.setdefault(who, set())
        kind = "certification.expired.v1" if code in codes else "certification.earned.v1"
        codes.symmetric_difference_update({code})
        events.append(sealed(kind, FIRST + day * DAY, day + 1, person=f"P{who}", code=code))
        people = [frozenset(role for role, (_, wanted) in named.items() if wanted & theirs) for theirs in held.values()]
        expected.append("Met" if can_be_given([one for one in people if one], {role: number for role, (number, _) in named.items()}) else None)
    life = Life(events, [Force(book)])
    assert [life.tier(FIRST + day * DAY) for day in range(len(changes))] == expected
