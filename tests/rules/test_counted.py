"""What counts and what does not, and why: fact by fact, for any rulebook; what counts makes up the measure."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from ledger.errors import NotFound, Unpriced
from ledger.instants import parse
from ledger.rules import golden
from ledger.rules.answers import MeasureCount
from ledger.rules.book import Measure
from ledger.rules.counted import counted, counted_for
from ledger.rules.library import Library
from ledger.rules.life import Life
from ledger.rules.reasons import median
from ledger.rules.standing import ways
from ledger.rules.yaml_nodes import Node, Problems, compose
from tests.rules.written import history, life, sealed

RULES = """
book: t/one
programme: t
effective: 2018-01-01
language: 1
derive: {taken_back: {last: at, of: metered, where: metric == 'adds' and value > 0, by: client, when: metric == 'adds' and value < 0}}
measures:
  people:
    each: person
    of: certificate
    while: {any: [{of: link, by: person}, {of: leaver, by: person, to: day 10}]}
    is: {seller: "any('S')", dev: "n('D1', 'D2') >= 2", pre: "any('P')"}
  then: {each: person, of: certificate, while: {of: link, by: person}, as_at: [2018-06-01], is: {seller: "any('S')"}}
  revenue: {sum: value, of: metered, where: metric == 'revenue' and area == 'crm', for: 12 months}
  late: {sum: value, of: metered, where: metric == 'revenue', after: 1 month, for: 1 month}
  adds: {sum: value, of: metered, where: metric == 'adds', for: 12 months, until: taken_back}
  seats: {sum: value, of: metric, where: metric == 'seats', while: {of: client, by: client}}
  joined: {distinct: client, of: metered, where: metric == 'seats', if: {of: client, by: client}}
  paid: {count: all, of: licences, where: not trial}
tiers:
  Silver: [people.seller >= 2, people.dev >= 1, then.seller >= 1, "team(people, 1, seller, 1, pre)"]
  Gold: [revenue + late + adds + seats + joined + paid >= 10]
status: {continuous: {}}
"""

LINKED = "2018-01-01 person.linked person=A\n2018-01-01 person.linked person=B\n"


def told(written: str, name: str, at: str = "2018-07-01") -> list[tuple[str, str, str]]:
    """Each fact that does not count, with the code and the words why."""
    (measure,) = counted(life(RULES, written), parse(at), name).measures
    return [(row.key, row.code, row.because) for row in measure.rows if not row.counts]


@pytest.mark.parametrize(
    ("events", "name", "code", "because"),
    [
        ("2018-02-01 certification.earned person=A code=S valid_until=2018-05-01", "people.seller", "ended", "expired on 2018-05-01"),
        ("2018-02-01 certification.earned person=A code=S\n2018-06-01 certification.expired person=A code=S", "people.seller", "ended",
         "ended on 2018-06-01 by certification.expired.v1 (position 4)"),
        ("2018-02-01 certification.earned person=A code=X", "people.seller", "not_named", "X is not named"),
        ("2018-08-01 certification.earned person=A code=S", "people.seller", "not_yet", "begins on 2018-08-01"),
        ("2018-02-01 certification.earned person=A code=S\n2018-03-01 person.unlinked person=A", "people.seller", "not_beside",
         "link of A ended on 2018-03-01"),
        ("2018-02-01 certification.earned person=A code=S\n2018-05-20 person.left person=A", "people.seller", "not_beside",
         "leaver of A ended on 2018-06-10"),
        ("2018-02-01 certification.earned person=C code=S", "people.seller", "not_beside", "there is no link of C"),
        ("2018-02-01 certification.earned person=C code=S\n2018-09-01 person.linked person=C", "people.seller", "not_beside",
         "there is no link of C before 2018-09-01"),
        ("2018-02-01 certification.earned person=A code=D1", "people.dev", "not_enough", "needs n('D1', 'D2') >= 2; holds D1"),
        ("2018-06-02 certification.earned person=A code=S", "then.seller", "not_yet", "on 2018-06-01: begins on 2018-06-02"),
        ("2018-02-01 certification.earned person=A code=S valid_until=2018-05-01", "then.seller", "ended", "on 2018-06-01: expired on 2018-05-01"),
        ("2018-02-01 metric.measured metric=revenue value=5 area=erp", "revenue", "condition", "area == 'crm' does not hold: area is erp"),
        ("2018-02-01 metric.measured metric=revenue value=5", "revenue", "condition", "area == 'crm' does not hold: area is not stated"),
        ("2017-06-30 metric.measured metric=revenue value=5 area=crm", "revenue", "run_out", "counted until 2018-06-30, 12 months long"),
        ("2018-06-15 metric.measured metric=revenue value=5 area=crm", "late", "not_yet", "counts from 2018-07-15 on"),
        ("2018-02-01 metric.measured metric=seats value=5 client=C", "seats", "not_beside", "there is no client C"),
        ("2018-01-01 client.assigned client=C\n2018-02-01 metric.measured metric=seats value=5 client=C\n2018-06-01 client.released client=C",
         "seats", "not_beside", "client C ended on 2018-06-01"),
        ("2018-02-01 metric.measured metric=seats value=5 client=C\n2018-03-01 client.assigned client=C", "joined", "not_beside",
         "there was no client C when it began, on 2018-02-01"),
        ("2018-02-01 licences.counted client=C product=p sold=5 trial=true", "paid", "condition", "not trial does not hold: trial is true"),
    ],
)  # fmt: skip
def test_each_fact_that_does_not_count_says_why(events: str, name: str, code: str, because: str) -> None:
    found = [row for row in told(LINKED + events, name) if row[1] != "nothing_held"]
    assert [(row[1], row[2]) for row in found] == [(code, because)]


def test_a_level_that_was_stated_anew_and_the_same_again() -> None:
    client = "2018-01-01 client.assigned client=C\n"
    seats = client + "2018-02-01 metric.measured metric=seats value=5 client=C\n2018-03-01 metric.measured metric=seats value=7 client=C\n"
    assert told(seats, "seats") == [("C", "replaced", "stated anew on 2018-03-01 by position 3")]
    assert told(seats, "joined") == [("C", "counted_once", "the same is counted by position 2")]


def test_what_takes_back_ends_with_what_it_takes_back() -> None:
    adds = "{} metric.measured metric=adds value=1 client=C\n2018-02-01 metric.measured metric=adds value=-1 client=C"
    run_out = "counted until {}, 12 months long"
    assert told(adds.format("2017-05-01"), "adds") == [
        ("C", "run_out", run_out.format("2018-05-01")), ("C", "run_out", run_out.format("2018-05-01")),
    ]  # fmt: skip
    assert [row[2] for row in told(adds.format("2017-01-01"), "adds")] == [run_out.format("2018-01-01"), "what it takes back had left before"]


def test_what_was_reversed_is_told() -> None:
    undone = {"reverses": {"source": "test", "id": "3"}, "reason": "r", "author": "a"}
    events = [*history(LINKED + "2018-02-01 certification.earned person=A code=S"), sealed("event.reversed.v1", parse("2018-03-01"), 4, **undone)]
    (measure,) = counted(life(RULES, events), parse("2018-07-01"), "people.seller").measures
    assert (measure.value, [(row.position, row.code) for row in measure.rows if row.kind == "certificate"]) == (0, [(3, "reversed")])


def test_who_is_there_and_has_nothing_is_told_too() -> None:
    assert told(LINKED + "2018-02-01 certification.earned person=A code=S", "people.seller") == [("B", "nothing_held", "has no certificate")]
    assert told("2018-01-01 client.assigned client=C", "seats") == [("C", "nothing_held", "has no metric")]
    assert told(LINKED + "2018-02-01 person.unlinked person=B", "people.seller") == [("A", "nothing_held", "has no certificate")]


@pytest.mark.parametrize(
    ("held", "used"),
    [
        ("A:S,P", {"pre": ["A"]}),
        ("A:S,P B:P", {"pre": ["A"]}),
        ("A:S,P B:S", {"seller": ["A"]}),
        ("A:S B:P", {}),
    ],
)
def test_in_a_team_nobody_is_counted_twice(held: str, used: dict[str, list[str]]) -> None:
    lines = [LINKED]
    for who, _, codes in (each.partition(":") for each in held.split()):
        lines += [f"2018-02-01 certification.earned person={who} code={code}" for code in codes.split(",")]
    asked = life(RULES, "\n".join(lines))
    book = asked.book(parse("2018-07-01"))
    team = next(each for each in counted_for(asked, parse("2018-07-01"), ways(book, None)) if each.requirement.startswith("team"))
    assert [measure.measure for measure in team.measures] == ["people.seller", "people.pre"]
    found = {m.measure.partition(".")[2]: [row.key for row in m.rows if row.code == "used_elsewhere"] for m in team.measures}
    assert {role: people for role, people in found.items() if people} == used
    assert team.met == (len(held.split()) == 2)


def test_a_name_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(NotFound, match="'luck'"):
        counted(life(RULES, LINKED), parse("2018-07-01"), "luck")


# -- for every shipped rulebook and case -------------------------------------------------------------------------------

BOOKS = Path(golden.__file__).parent / "books"


def lives(file: Path) -> Iterator[tuple[Life, int]]:
    root = compose(file.read_text(), Problems(file.name))
    assert root is not None
    library = Library()
    for case in root.list("cases"):
        events = golden._events([*root.list("events"), *case.list("events")])
        asks: list[Node] = [node for node in (case.get("ask"), *[then.get("ask") for then in case.list("then")]) if node is not None]
        force = library.named(asks[0].text("rulebook")) if asks[0].get("rulebook") else library.force(root.text("programme"))
        asked = Life(events, force)
        for ask in asks[:1] + asks[1:][-1:]:
            yield asked, parse(ask.text("as_of"))


def made_up(measure: Measure, found: MeasureCount) -> Fraction:
    """The measure from the facts that count."""
    rows = [row for row in found.rows if row.counts]
    values = [row.value or Fraction(0) for row in rows]
    if measure.holds is not None:
        return Fraction(len({row.key for row in rows}))
    if measure.reached is not None:
        return Fraction(bool(rows))
    return {"sum": sum(values, Fraction(0)), "median": median(values)}.get(measure.aggregate, Fraction(len(rows)))


@pytest.mark.parametrize("file", sorted(BOOKS.glob("*/golden/*.yaml")), ids=lambda file: f"{file.parent.parent.name}/{file.stem}")
def test_what_counts_makes_up_the_measure_and_every_fact_is_told_once(file: Path) -> None:
    seen = 0
    for asked, at in lives(file):
        try:
            book = asked.book(at)
            counts = {name: counted(asked, at, name).measures[0] for name in book.measures}
        except Unpriced:
            continue
        for name, found in counts.items():
            measure = book.measures[name]
            assert made_up(measure, found) == found.value == asked.values(at)[name], (file, name, at)
            assert all(row.counts == (row.code == "counts") and (row.counts or row.because) for row in found.rows)
            if measure.reached is None:
                facts = asked.facts.of(measure.presence.of)
                positions = [row.position for row in found.rows]
                assert set(positions) >= {fact.event.position for fact in facts}, (file, name)
                seen += len(facts)
    assert seen
