"""Who leaves counts to a day of the next month, unless linked anew before; programmes that do not say so lose the person at once."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from ledger.events.envelope import Sealed, event
from ledger.instants import parse
from ledger.rules.book import load
from ledger.rules.life import Force, Life
from ledger.rules.yaml_nodes import RulebookProblems

BOOK = """
book: t/one
programme: t
effective: 2018-01-01
language: 1
measures:
  people:
    distinct: person
    of: certificate
    while: {any: [{of: link, by: person}, {of: leaver, by: person, to: day 10}]}
  linked: {distinct: person, of: certificate, while: {of: link, by: person}}
show: [people, linked]
status: {continuous: {}}
"""


def lives(*told: tuple[str, str]) -> Life:
    places = count(1)

    def sealed(kind: str, at: str, **data: Any) -> Sealed:
        n = next(places)
        return Sealed(n, "partner/P", n, parse(at), b"", b"", event(kind, subject="P", effective_at=at, id=str(n), source="t", **data))

    first = [sealed("person.linked.v1", "2018-01-01", person="A"), sealed("certification.earned.v1", "2018-01-02", person="A", code="C")]
    return Life([*first, *[sealed(kind, at, person="A") for kind, at in told]], [Force(load(BOOK))])


@pytest.mark.parametrize(
    ("told", "counted", "not_counted"),
    [
        ([("person.left.v1", "2018-05-20")], ["2018-05-20", "2018-06-09"], ["2018-06-10", "2018-07-01"]),
        ([("person.left.v1", "2018-12-31")], ["2019-01-09"], ["2019-01-10"]),
        ([("person.left.v1", "2018-05-01")], ["2018-06-09"], ["2018-06-10"]),
        ([("person.left.v1", "2018-05-20"), ("person.unlinked.v1", "2018-05-25")], ["2018-05-24"], ["2018-05-25", "2018-06-09"]),
        ([("person.left.v1", "2018-05-20"), ("person.linked.v1", "2018-06-05")], ["2018-06-04", "2018-06-05", "2018-12-01"], []),
        ([("person.unlinked.v1", "2018-05-20")], ["2018-05-19"], ["2018-05-20"]),
    ],
)  # fmt: skip
def test_a_leaver_counts_to_the_tenth_of_the_next_month(told: list[tuple[str, str]], counted: list[str], not_counted: list[str]) -> None:
    life = lives(*told)
    assert [day for day in [*counted, *not_counted] if life.values(parse(day))["people"]] == counted


def test_a_programme_that_says_nothing_of_leavers_loses_them_at_once() -> None:
    life = lives(("person.left.v1", "2018-05-20"))
    assert [life.values(parse(day))["linked"] for day in ("2018-05-19", "2018-05-20")] == [1, 0]


@pytest.mark.parametrize("written", ["to: 10", "to: day 29", "to: day 0", "to: day 10, for: 1 month"])
def test_a_day_that_is_none_is_refused_with_its_line(written: str) -> None:
    with pytest.raises(RulebookProblems) as found:
        load(BOOK.replace("to: day 10", written))
    assert [(problem.code, problem.line) for problem in found.value.problems] == [("bad_span", 10)]
