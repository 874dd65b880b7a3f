"""Where one rulebook ends and another begins, and where a table's row changes under a requirement."""

from __future__ import annotations

from itertools import count
from typing import Any

from ledger.events.envelope import Sealed, event
from ledger.instants import parse, text
from ledger.rules.book import Book, load
from ledger.rules.life import Life, in_force
from ledger.rules.risk import loss
from ledger.rules.standing import basis, standing, timeline


def book(year: int, *, measures: str = "people: {distinct: person, of: link}", more: str = "") -> Book:
    head = f"book: t/{year}\nprogramme: t\neffective: {year}-01-01\nlanguage: 1\nmeasures:"
    body = f"\n  {measures}\n" if measures else " {}\n"
    return load(f"{head}{body}status: {{continuous: {{}}}}\n{more}\n")


def told(*events: tuple[str, str, dict[str, Any]]) -> list[Sealed]:
    places = count(1)

    def sealed(kind: str, at: str, data: dict[str, Any]) -> Sealed:
        n = next(places)
        return Sealed(n, "partner/P", n, parse(at), b"", b"", event(kind, subject="P", effective_at=at, id=str(n), source="t", **data))

    return [sealed(kind, at, data) for kind, at, data in events]


LINKED = ("person.linked.v1", "2021-05-01", {"person": "A"})
GRANTED = ("override.granted.v1", "2021-05-01", {"override": "O", "tier": "Gold", "until": "2023-01-01", "reason": "r", "author": "a"})
TIERS = "tiers: {Silver: [people >= 1], Gold: [people >= 2]}\n"


def test_a_rulebook_that_measures_nothing_ends_a_programme() -> None:
    life = Life(told(LINKED), in_force([book(2021, more="tiers: {Silver: [people >= 1]}"), book(2022, measures="")]))
    assert [life.tier(parse(day)) for day in ("2021-06-01", "2022-01-01", "2023-01-01")] == ["Silver", None, None]


def test_before_its_first_fact_a_partner_is_judged_by_the_rulebook_of_the_day() -> None:
    life = Life(told(LINKED), in_force([book(year, more=TIERS) for year in (2018, 2019, 2020, 2021)]))
    answer = standing(life, basis(life, "P", parse("2019-06-01"), 1))
    assert (answer.basis.book, answer.values, answer.performance) == ("t/2019", {"people": 0}, None)
    stretches = [(text(each.start)[:10], each.book) for each in timeline(life, parse("2018-06-01"), parse("2022-01-01"))]
    assert stretches == [
        ("2018-06-01", "t/2018"), ("2019-01-01", "t/2019"), ("2020-01-01", "t/2020"), ("2021-01-01", "t/2021"), ("2021-05-01", "t/2021"),
    ]  # fmt: skip


def test_what_was_never_met_fails_since_the_first_fact_and_not_before_it() -> None:
    tiers = "tiers: {Gold: [people >= 1, certificates >= 1]}"
    measures = "people: {distinct: person, of: link}\n  certificates: {count: all, of: certificate}"
    life = Life(told(LINKED, GRANTED), in_force([book(year, measures=measures, more=tiers) for year in (2020, 2021, 2022)]))
    lost = loss(life, parse("2021-06-01"))
    assert lost is not None and lost.cause is not None
    assert (text(lost.at)[:10], text(lost.cause.at)[:10], lost.cause.requirement) == ("2023-01-01", "2021-05-01", "certificates")


def test_what_counts_nowhere_is_a_first_fact_too() -> None:
    early = ("partner.changed.v1", "2021-02-01", {"country": "DE"})
    life = Life(told(early, GRANTED), in_force([book(2021, more=TIERS)]))
    lost = loss(life, parse("2021-06-01"))
    assert lost is not None and lost.cause is not None
    assert (text(lost.at)[:10], text(lost.cause.at)[:10], lost.cause.requirement) == ("2023-01-01", "2021-02-01", "people")


def test_an_override_acts_as_the_rulebook_in_force_says() -> None:
    """On performance in 2021, where it is met and credited; on what is credited in 2022, where the performance is its own."""
    books = [book(2021, more=f"{TIERS}overrides: {{tier: performance}}"), book(2022, more=f"{TIERS}overrides: {{tier: credited}}")]
    life = Life(told(LINKED, GRANTED), in_force(books))
    found = {day: (life.tier(parse(day)), life.credited_tier(parse(day))) for day in ("2021-06-01", "2022-06-01", "2023-06-01")}
    assert found == {"2021-06-01": ("Gold", "Gold"), "2022-06-01": ("Silver", "Gold"), "2023-06-01": ("Silver", "Silver")}


def test_an_override_on_performance_is_not_lifted_where_the_next_rulebook_would() -> None:
    purchase = "status: {membership: {}}"
    member = load(book(2021, more=f"{TIERS}overrides: {{tier: performance}}").text.replace("status: {continuous: {}}", purchase))
    life = Life(told(LINKED, GRANTED), in_force([member, book(2022, more=TIERS)]))
    assert [life.credited_tier(parse(day)) for day in ("2021-06-01", "2022-06-01")] == [None, "Gold"]


def test_a_row_that_a_requirement_reads_through_a_number_is_a_border() -> None:
    more = "tables: {bar: {rows: {2021-01-01: {all: 1}, 2021-09-01: {all: 2}}}}\nnumbers: {needed: \"bar['all']\"}\ntiers: {Silver: [people >= needed]}"
    life = Life(told(LINKED), in_force([book(2021, more=more)]))
    assert [life.tier(parse(day)) for day in ("2021-08-31", "2021-09-01")] == ["Silver", None]


def test_an_award_is_started_when_something_of_what_it_asks_for_is_there() -> None:
    more = "levels: [Silver]\nawards: {work: {tiers: {Silver: [people >= 2]}}, rest: {tiers: {Silver: [others >= 1]}}}"
    two = book(2021, measures="people: {distinct: person, of: link}\n  others: {distinct: client, of: client}", more=more)
    life = Life(told(LINKED), in_force([two]))
    at = parse("2021-06-01")
    awards = standing(life, basis(life, "P", at, 1), ahead=False).awards
    assert {award.award: award.status for award in awards} == {"work": "started", "rest": "none"}
