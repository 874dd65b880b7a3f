"""When a fact counts, and how facts are put together: each primitive of the language against its plain definition on random facts.

The definitions ask of one instant after the other what is there then; nothing is swept, kept or shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from statistics import median
from typing import Any

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import given
from hypothesis import strategies as st

from ledger.events.envelope import Sealed
from ledger.instants import Instant, from_datetime, parse, to_datetime
from ledger.rules.life import Force, Life
from tests.laws.histories import examples
from tests.rules.written import book, life, sealed

NEVER = parse("9999-12-31")
DAYS = [
    parse(day)
    for day in (
        "2023-11-30", "2023-12-31", "2024-01-29", "2024-01-30", "2024-01-31", "2024-02-28", "2024-02-29", "2024-03-01", "2024-03-29",
        "2024-03-30", "2024-03-31", "2024-04-29", "2024-04-30", "2024-05-01", "2024-05-31", "2024-06-30", "2024-08-31", "2025-02-28",
    )
]  # fmt: skip
CLIENTS, LINES, PERSONS, CODES = ("C-1", "C-2"), ("crm", "cms"), ("A", "B"), ("D1", "D2")
COUNTRIES = ("NL", "IN", "BR")


def months(at: Instant, n: int) -> Instant:
    """So many months later on the calendar, by somebody else's arithmetic."""
    return at if at >= NEVER else from_datetime(to_datetime(at) + relativedelta(months=n))


INSTANTS = sorted({months(day, n) - before for day in DAYS for n in (0, 1, 2, 3) for before in (0, 1)})


@dataclass(eq=False)
class Seen:
    """A fact as the tests see it: what it is, from when until when, in which place."""

    kind: str
    start: Instant
    place: int
    end: Instant = NEVER
    data: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        return self.data.get(name)

    def here(self, at: Instant) -> bool:
        return self.start <= at < self.end


class World:
    """Random facts, with the events that state them."""

    def __init__(self) -> None:
        self.facts: list[Seen] = []
        self.events: list[Sealed] = []

    def say(self, kind: str, at: Instant, **data: Any) -> int:
        self.events.append(sealed(f"{kind}.v1", at, len(self.events) + 1, **data))
        return len(self.events)

    def add(self, kind: str, start: Instant, place: int, end: Instant = NEVER, **data: Any) -> None:
        self.facts.append(Seen(kind, start, place, end, data))

    def of(self, kind: str) -> list[Seen]:
        return sorted((fact for fact in self.facts if fact.kind == kind), key=lambda fact: (fact.start, fact.place))

    def level(self, kind: str, event: str, key: str, statements: list[tuple[Instant, dict[str, Any]]]) -> None:
        """Each statement holds until the next of its key; of two at one instant the later one counts."""
        by_key: dict[str, list[tuple[Instant, int, dict[str, Any]]]] = {}
        for at, data in statements:
            by_key.setdefault(data[key], []).append((at, self.say(event, at, **data), data))
        for stated in by_key.values():
            stated.sort(key=lambda row: row[:2])
            for (at, place, data), (end, _, _) in zip(stated, [*stated[1:], (NEVER, 0, {})], strict=True):
                self.add(kind, at, place, end, **data)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    world, day = World(), st.sampled_from(DAYS)
    client, person = st.sampled_from(CLIENTS), st.sampled_from(PERSONS)
    for at, line, amount, whose, lost, first, back in draw(
        st.lists(
            st.tuples(
                day, st.sampled_from(LINES), st.sampled_from(("100", "250.5", "0", "33.333333333", "-100", "-0.1")), client,
                st.one_of(st.none(), st.none(), day), st.one_of(st.none(), st.none(), day), st.integers(0, 3),
            ),
            max_size=7,
        )
    ):  # fmt: skip
        known = [fact for fact in world.facts if fact.kind == "sold"]
        credited = str(known[-back].place) if 0 < back <= len(known) else None
        data = {"client": whose, "line": line, "amount": amount, "currency": "USD", "credits": credited}
        stated = None if first is None else to_datetime(first).date().isoformat()
        place = world.say("points.sold", at, **data, line_first_sold_on=stated)
        end = NEVER
        if lost is not None and lost >= at:
            world.say("points.lost", lost, lot={"source": "test", "id": str(place)})
            end = lost
        world.add("sold", at, place, end, **{**data, "amount": Fraction(amount)}, first=first)
    for at, whose, who, what in draw(st.lists(st.tuples(day, client, person, st.sampled_from(("setup", "advice"))), max_size=5)):
        world.add(
            "worked",
            at,
            world.say("client.worked_on", at, client=whose, person=who, activity=what),
            client=whose,
            person=who,
            activity=what,
        )
    for who, days in zip(PERSONS, draw(st.tuples(*[st.lists(day, unique=True, max_size=4).map(sorted) for _ in PERSONS])), strict=True):
        for i, (at, end) in enumerate(zip(days, [*days[1:], NEVER], strict=False)):
            place = world.say("person.unlinked" if i % 2 else "person.linked", at, person=who)
            if not i % 2:
                world.add("link", at, place, end, person=who)
    for at, who, code, end in draw(
        st.lists(st.tuples(day, person, st.sampled_from(CODES), day), max_size=4, unique_by=lambda row: row[1:3])
    ):
        if at < end:
            valid = to_datetime(end).date().isoformat()
            world.add(
                "certificate",
                at,
                world.say("certification.earned", at, person=who, code=code, valid_until=valid),
                end,
                person=who,
                code=code,
            )
    mrr = st.sampled_from(("100", "40", "0.5"))
    world.level("managed", "points.managed", "client", [
        (at, {"client": whose, "mrr": much, "currency": "USD"}) for at, whose, much in draw(st.lists(st.tuples(day, client, mrr), max_size=5))
    ])  # fmt: skip
    world.level("client", "client.changed", "client", [
        (at, {"client": whose, "country": where}) for at, whose, where in draw(st.lists(st.tuples(day, client, st.sampled_from(COUNTRIES)), max_size=4))
    ])  # fmt: skip
    return world


# -- plain definitions -----------------------------------------------------------------------------------------------


def lasting(fact: Seen, at: Instant, *, after: int = 0, span: int | None = None) -> bool:
    """Present with a delay and a span, both counted from the fact's own date."""
    begin, end = months(fact.start, after), months(fact.end, after)
    return begin <= at < (end if span is None else min(end, months(fact.start, after + span)))


def linked(world: World, person: str, at: Instant) -> bool:
    return any(link.person == person and link.here(at) for link in world.of("link"))


def worked(world: World, client: str, at: Instant) -> bool:
    """Within a month of activity of a person who is linked at the instant asked."""
    return any(work.client == client and lasting(work, at, span=1) and linked(world, work.person, at) for work in world.of("worked"))


def taken(world: World, credit: Seen) -> Seen | None:
    """The sale that a negative one takes back: the one it names, else the latest of its line at or before it."""
    sales = [sale for sale in world.of("sold") if sale.amount > 0]
    named = [sale for sale in sales if str(sale.place) == credit.credits]
    before = [
        sale
        for sale in sales
        if (sale.client, sale.line) == (credit.client, credit.line) and (sale.start, sale.place) <= (credit.start, credit.place)
    ]
    return named[0] if named else before[-1] if before else None


def settled(world: World, sale: Seen, at: Instant) -> bool:
    other = taken(world, sale) if sale.amount < 0 else None
    if other is None:
        return lasting(sale, at, span=3)
    return sale.start <= at < min(sale.end, other.end, months(other.start, 3))


def first_sold(world: World, sale: Seen) -> Instant:
    """The date that the sale states, else that of the first sale of its line to the client."""
    of_line = [
        s
        for s in world.of("sold")
        if (s.client, s.line) == (sale.client, sale.line) and s.amount > 0 and (s.start, s.place) <= (sale.start, sale.place)
    ]
    return sale.first if sale.first is not None else of_line[0].start if of_line else sale.start


def last_sold(world: World, sale: Seen) -> Instant:
    of_client = [s for s in world.of("sold") if s.client == sale.client and s.amount > 0 and (s.start, s.place) <= (sale.start, sale.place)]
    return of_client[-1].start if of_client else sale.start


def country(world: World, client: str, at: Instant) -> str:
    """As last stated."""
    stated = [fact for fact in world.of("client") if fact.client == client and fact.start <= at]
    return str(stated[-1].country) if stated else ""


def rate(at: Instant) -> int:
    return 5 if at >= parse("2024-03-30") else 4 if at >= parse("2024-02-29") else 3


Plain = Callable[[World, Instant], Iterator[Seen]]


def _all(kind: str, test: Callable[[World, Seen, Instant], bool]) -> Plain:
    return lambda world, at: (fact for fact in world.of(kind) if test(world, fact, at))


RATE = "tables: {rate: {rows: {2024-01-01: {all: 3}, 2024-02-29: {all: 4}, 2024-03-30: {all: 5}}}}"
RATE_BY = RATE.replace("{rows:", "{on: origin, rows:")
GROWTH = "tables: {weight: {values: {default: 1, IN: 2, BR: 7/3}}}\nderive: {market: {value: country, of: client, by: client}}"
ACTIVE = "{of: worked, by: client, for: 1 month, while: {of: link, by: person}}"

PRESENCES: dict[str, tuple[str, Plain]] = {
    "of": ("of: sold", _all("sold", lambda world, fact, at: fact.here(at))),
    "of a level": ("of: managed", _all("managed", lambda world, fact, at: fact.here(at))),
    "where": (
        "of: sold, where: \"amount > 33.333333333 and line in ('crm', 'erp')\"",
        _all("sold", lambda world, fact, at: fact.here(at) and fact.amount > Fraction("33.333333333") and fact.line == "crm"),
    ),
    "where not": (
        "of: sold, where: \"not (amount < 0 or line == 'crm')\"",
        _all("sold", lambda world, fact, at: fact.here(at) and fact.amount >= 0 and fact.line != "crm"),
    ),
    "for": ("of: sold, for: 3 months", _all("sold", lambda world, fact, at: lasting(fact, at, span=3))),
    "after": ("of: sold, after: 1 month", _all("sold", lambda world, fact, at: lasting(fact, at, after=1))),
    "for and after": ("of: sold, for: 2 months, after: 1 month", _all("sold", lambda world, fact, at: lasting(fact, at, after=1, span=2))),
    "while": (
        "of: certificate, while: {of: link, by: person}",
        _all("certificate", lambda world, fact, at: fact.here(at) and linked(world, fact.person, at)),
    ),
    "while what is itself gated": (f"of: managed, while: {ACTIVE}", _all("managed", lambda world, fact, at: fact.here(at) and worked(world, fact.client, at))),
    "while of some": (
        "of: sold, while: {of: worked, by: client, where: \"activity == 'setup'\"}",
        _all("sold", lambda world, fact, at: fact.here(at) and any(w.client == fact.client and w.activity == "setup" and w.start <= at for w in world.of("worked"))),
    ),
    "while all of several": (
        f"of: sold, while: [{ACTIVE}, {{of: managed, by: client}}]",
        _all("sold", lambda world, fact, at: fact.here(at) and worked(world, fact.client, at) and any(m.client == fact.client and m.here(at) for m in world.of("managed"))),
    ),
    "any": (
        f"of: sold, while: {{any: [{ACTIVE}, {{of: managed, by: client, where: mrr >= 40}}]}}",
        _all("sold", lambda world, fact, at: fact.here(at) and (worked(world, fact.client, at) or any(m.client == fact.client and m.here(at) and Fraction(m.mrr) >= 40 for m in world.of("managed")))),
    ),
    "if": (
        f"of: sold, for: 3 months, if: {ACTIVE}",
        _all("sold", lambda world, fact, at: lasting(fact, at, span=3) and worked(world, fact.client, fact.start)),
    ),
    "if, asked where it enters": (
        f"of: sold, after: 1 month, if: {ACTIVE}",
        _all("sold", lambda world, fact, at: lasting(fact, at, after=1) and worked(world, fact.client, months(fact.start, 1))),
    ),
    "until": (
        "of: sold, for: 3 months, until: sale\nderive: {sale: {last: at, of: sold, by: [client, line], where: amount > 0, when: amount < 0, stated: credits}}",
        _all("sold", settled),
    ),
}  # fmt: skip


def rules(measure: str, more: str = "") -> str:
    return f"book: t/t\nprogramme: t\neffective: 2000-01-01\nlanguage: 1\nmeasures:\n  m: {{{measure}}}\nshow: [m]\nstatus: {{continuous: {{}}}}\n{more}"


def asked(of: Life, at: Instant) -> Fraction:
    return of.values(at)["m"]


def compare(of: Life, world: World, plain: Callable[[World, Instant], Fraction], since: Instant = INSTANTS[0]) -> None:
    for at in INSTANTS:
        if at >= since:
            assert asked(of, at) == plain(world, at), (to_datetime(at).isoformat(), world.facts)


@pytest.mark.parametrize("name", PRESENCES)
def test_presence(name: str) -> None:
    presence, plain = PRESENCES[name]
    measure, _, more = presence.partition("\n")
    counted = book(rules(f"count: all, {measure}", more))

    @examples(20)
    @given(worlds())
    def alike(world: World) -> None:
        compare(life(counted, world.events), world, lambda world, at: Fraction(len(list(plain(world, at)))))

    alike()


def _sum(world: World, at: Instant) -> Fraction:
    return sum((sale.amount for sale in world.of("sold") if lasting(sale, at, span=3)), Fraction(0))


def _median(world: World, at: Instant) -> Fraction:
    amounts = [sale.amount for sale in world.of("sold") if lasting(sale, at, span=3) and sale.amount in (0, 100)]
    return median(amounts) if amounts else Fraction(0)


def _weighed(world: World, weight: Callable[[World, Seen, Instant], Fraction | int]) -> Callable[[World, Instant], Fraction]:
    return lambda world, at: sum(
        (sale.amount * weight(world, sale, at) for sale in world.of("sold") if lasting(sale, at, span=3)), Fraction(0)
    )


_MARKET = {"IN": Fraction(2), "BR": Fraction(7, 3)}


def _managed(world: World, weight: Callable[[str, Instant], Fraction | int], at: Instant) -> Fraction:
    return sum((Fraction(fact.mrr) * weight(fact.client, at) for fact in world.of("managed") if fact.here(at)), Fraction(0))


MEASURES: dict[str, tuple[str, str, Callable[[World, Instant], Fraction]]] = {
    "sum": ("sum: amount, of: sold, for: 3 months", "", _sum),
    "sum of an expression": ("sum: 'max(0, amount) / 7', of: sold, for: 3 months", "", lambda world, at: sum((max(Fraction(0), s.amount) / 7 for s in world.of("sold") if lasting(s, at, span=3)), Fraction(0))),
    "median": ("median: amount, of: sold, for: 3 months, where: 'amount in (0, 100)'", "", _median),
    "distinct": ("distinct: person, of: certificate", "", lambda world, at: Fraction(len({c.person for c in world.of("certificate") if c.here(at)}))),
    "distinct of two": ("distinct: [client, line], of: sold, for: 3 months", "", lambda world, at: Fraction(len({(s.client, s.line) for s in world.of("sold") if lasting(s, at, span=3)}))),
    "each": (
        "each: person, of: certificate, while: {of: link, by: person}, is: {both: \"all('D1', 'D2')\"}",
        "",
        lambda world, at: Fraction(len([p for p in PERSONS if {c.code for c in world.of("certificate") if c.person == p and c.here(at) and linked(world, p, at)} == set(CODES)])),
    ),
    "times, by the fact's day": ("sum: amount, of: sold, for: 3 months, times: \"rate['all']\"", RATE, lambda world, at: _weighed(world, lambda w, sale, now: rate(sale.start))(world, at)),
    "on: now, by a dated row": ("sum: amount, of: sold, for: 3 months, on: now, times: \"rate['all']\"", RATE, lambda world, at: _weighed(world, lambda w, sale, now: rate(now))(world, at)),
    "on: now, by the last statement": (
        'sum: mrr, of: managed, on: now, times: "weight[market]"', GROWTH,
        lambda world, at: _managed(world, lambda client, now: _MARKET.get(country(world, client, now), Fraction(1)), at),
    ),
    "derive value": (
        'sum: amount, of: sold, for: 3 months, times: "weight[market]"', GROWTH,
        lambda world, at: _weighed(world, lambda w, sale, now: _MARKET.get(country(w, sale.client, sale.start), Fraction(1)))(world, at),
    ),
    "derive first, or as stated": (
        "sum: amount, of: sold, for: 3 months, times: \"rate['all']\"",
        f"{RATE_BY}\nderive: {{origin: {{first: at, of: sold, by: [client, line], where: amount > 0, stated: line_first_sold_on}}}}",
        lambda world, at: _weighed(world, lambda w, sale, now: rate(first_sold(w, sale)))(world, at),
    ),
    "derive last": (
        "sum: amount, of: sold, for: 3 months, times: \"rate['all']\"",
        f"{RATE_BY}\nderive: {{origin: {{last: at, of: sold, by: client, where: amount > 0}}}}",
        lambda world, at: _weighed(world, lambda w, sale, now: rate(last_sold(w, sale)))(world, at),
    ),
    "derived in a condition": (
        "count: all, of: sold, where: \"market == 'IN'\"", GROWTH.partition("\n")[2],
        lambda world, at: Fraction(len([s for s in world.of("sold") if s.here(at) and country(world, s.client, s.start) == "IN"])),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MEASURES)
def test_measure(name: str) -> None:
    measure, more, plain = MEASURES[name]
    rulebook = book(rules(measure, more).replace("show: [m]", "show: [m.both]" if name == "each" else "show: [m]"))

    @examples(20)
    @given(worlds())
    def alike(world: World) -> None:
        found = life(rulebook, world.events)
        for at in INSTANTS:
            values = found.values(at)
            assert values["m" if "m" in values else "m.both"] == plain(world, at), (to_datetime(at).isoformat(), world.facts)

    alike()


HELD = rules("count: all, of: worked, for: 2 months, hold: true")
ENDING = rules("count: all, of: worked, for: 2 months")


@examples(20)
@given(worlds(), st.sampled_from(DAYS))
def test_what_is_held_does_not_run_out_in_a_forecast(world: World, now: Instant) -> None:
    """Seen from `now`, what is there then stays; without a forecast, and without `hold`, it ends with its span."""
    seen = [event for event in world.events if event.event.effective_at <= now]
    works = [work for work in world.of("worked") if work.start <= now]
    ahead = Life(seen, [Force(book(HELD))], now)
    compare(
        ahead,
        world,
        lambda world, at: Fraction(len([w for w in works if w.start <= at and (at < months(w.start, 2) or now < months(w.start, 2))])),
    )
    for ends in (Life(seen, [Force(book(ENDING))], now), Life(seen, [Force(book(HELD))])):
        compare(ends, world, lambda world, at: Fraction(len([w for w in works if lasting(w, at, span=2)])))


GATED = rules("count: all, of: managed, while: {of: worked, by: client, for: 2 months, hold: true}")


@examples(20)
@given(worlds(), st.sampled_from(DAYS))
def test_a_gate_that_is_held_stays_open_in_a_forecast(world: World, now: Instant) -> None:
    seen = [event for event in world.events if event.event.effective_at <= now]
    works = [work for work in world.of("worked") if work.start <= now]
    levels = [level for level in world.of("managed") if level.start <= now]

    def there(at: Instant) -> Fraction:
        last = [level for level in levels if level.start <= at < (level.end if level.end <= now else NEVER)]
        open_for = {w.client for w in works if w.start <= at and (at < months(w.start, 2) or now < months(w.start, 2))}
        return Fraction(len([level for level in last if level.client in open_for]))

    compare(Life(seen, [Force(book(GATED))], now), world, lambda world, at: there(at))


def test_the_median_of_two_is_exact() -> None:
    sold = (
        "2024-01-01 points.sold client=C line=L amount=100 currency=USD\n2024-01-01 points.sold client=C line=L amount=250.5 currency=USD"
    )
    assert asked(life(rules("median: amount, of: sold"), sold), parse("2024-01-02")) == Fraction("175.25")


def test_day_and_night_are_counted_in_the_rulebooks_zone() -> None:
    """Three months in Amsterdam end at the same wall clock, an hour earlier in UTC once summer time is there."""
    amsterdam = rules("count: all, of: sold, for: 3 months", "zone: Europe/Amsterdam")
    found = life(amsterdam, "2024-01-31T23:00:00Z points.sold client=C line=L amount=1 currency=USD")
    assert [asked(found, parse(at)) for at in ("2024-04-30T21:59:59Z", "2024-04-30T22:00:00Z")] == [1, 0]


def test_what_was_reversed_was_never_there() -> None:
    sold = "2024-01-01 points.sold client=C line=L amount=5 currency=USD"
    plain = rules("sum: amount, of: sold")
    assert asked(life(plain, sold), parse("2024-01-02")) == 5
    events = life(plain, sold).events
    undone = sealed("event.reversed.v1", parse("2024-06-01"), 2, reverses={"source": "test", "id": "1"}, reason="r", author="a")
    assert asked(life(plain, [*events, undone]), parse("2024-01-02")) == 0
