"""What rows say of many partners is what the engine says: tiers and where partners are, points gained and lost, overrides in force."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from consumers.bus import InProcessBus
from consumers.project import Project
from ledger.events.envelope import Sealed, event
from ledger.history import History
from ledger.instants import BEGINNING, DAY, FOREVER, parse
from ledger.intake import Accepted, Intake
from ledger.log import Log
from ledger.projections import endangered, movements, portfolio, tier_flows
from ledger.projections.partners import Filter, held_at, those, told_at
from ledger.projections.questions import Moment, Questions
from ledger.projections.store import Store
from ledger.rules import breakdown
from ledger.rules.breakdown import point_measures
from ledger.rules.library import Library
from ledger.rules.life import Life
from ledger.rules.standing import basis
from tests.laws.histories import told
from tests.laws.test_clocks import law
from tests.rules.written import life

PARTNERS = ("A", "B", "C")


def of(body: bytes, partner: str) -> bytes:
    """The same event of another partner, from a source of its own."""
    return body.replace(b'"source":"test"', b'"source":"%s"' % partner.encode()).replace(b'"subject":"P-1"', b'"subject":"%s"' % partner.encode())


@contextmanager
def asked(history: list[Sealed], dice: Random) -> Iterator[tuple[Questions, Questions]]:
    """The same ledger of some partners, asked by rows where they answer, and by the engine alone."""
    with TemporaryDirectory() as folder, Log(f"{folder}/ledger.db") as log:
        times = iter(range(1_900_000_000_000_000, 1_900_000_000_010_000))
        intake = Intake(log, lambda: next(times))
        copies = [of(s.event.body, partner) for s in history for partner in PARTNERS if dice.random() < 0.8]
        while copies:
            n = dice.choice((1, 1, 2, 5))
            intake.record(copies[:n])
            copies = copies[n:]
        log_history, store = History(log), Store(":memory:")
        Project(InProcessBus(), log_history, store).rebuild()
        yield (
            Questions(log_history, store, lambda: FOREVER - 1),
            Questions(log_history, store, lambda: FOREVER - 1, lambda: 0),
        )


def moments(history: list[Sealed], questions: Questions, dice: Random, n: int) -> Iterator[Moment]:
    edges, head = [s.event.effective_at for s in history], questions.history.head()
    for _ in range(n if head else 0):
        at = dice.choice(edges) + dice.choice((-1, 0, 30 * DAY, 400 * DAY))
        yield Moment(as_of=at, known_at=dice.choice((head, dice.randint(1, head))))


@law(10)
def test_tiers_and_places_from_rows_are_the_engine_s(name: str, history: list[Sealed], dice: Random) -> None:
    with asked(history, dice) as (rows, engine):
        for moment in moments(history, rows, dice, 4):
            at = rows.as_of(moment)
            found = held_at(rows, moment, at)
            assert found == held_at(engine, moment, at), (moment, told(history))
            assert not told_at(engine, moment, at)
            if moment.known_at == rows.history.head():
                parked = {each.partner for each in found if each.parked}
                assert told_at(rows, moment, at).keys() | parked >= {each.partner for each in found}
            for wanted in (Filter(country="DE"), Filter(market="growth"), Filter(tier="Gold")):
                assert {e.partner for e in those(found, wanted) if not e.parked} == {
                    e.partner for e in found if not e.parked and wanted.means(e.place) and wanted.tier in (None, e.credited)
                }


@law(8)
def test_flows_lead_from_the_tiers_before_to_those_after(name: str, history: list[Sealed], dice: Random) -> None:
    with asked(history, dice) as (rows, engine):
        for moment in moments(history, rows, dice, 2):
            ends = rows.as_of(moment), rows.as_of(moment) + dice.choice((1, 40 * DAY, 500 * DAY))
            found = tier_flows.moved(rows, moment, ends)
            assert found == tier_flows.moved(engine, moment, ends), (moment, told(history))
            for size in tier_flows.sizes(found, {}):
                assert size.before + size.came - size.went == size.after
            assert sum(len(flow.partners) for flow in tier_flows.flows(found)) == sum(not each.parked for each in found)


@law(12)
def test_movements_from_rows_are_the_engine_s_and_add_up(name: str, history: list[Sealed], dice: Random) -> None:
    """Row by row, with the causes that `changes` tells; and what is gained and lost is the difference of the two ends."""
    with asked(history, dice) as (rows, engine):
        for moment in moments(history, rows, dice, 3):
            ends = rows.as_of(moment), rows.as_of(moment) + dice.choice((1, 40 * DAY, 500 * DAY))
            found = movements.movements(rows, moment, ends)
            assert found == movements.movements(engine, moment, ends), (moment, told(history))
            for partner in PARTNERS:
                alone = movements.movements(rows, moment, ends, partner=partner)
                assert list(alone.steps) == [step for step in found.steps if step.partner == partner]
                if partner in found.parked:
                    continue
                for programme, measures in points(engine, partner, moment, ends).items():
                    for measure, (before, after) in measures.items():
                        own = [s for s in alone.steps if (s.programme, s.measure) == (programme, measure)]
                        assert sum(step.delta for step in own) == after - before, (measure, moment, ends, told(history))
                        (*balance,) = movements.balances(own, ())
                        assert sum(each.gained for each in balance) == sum(s.delta for s in own if s.delta > 0)
                        assert all(each.lost <= 0 <= each.gained for each in balance)


def points(engine: Questions, partner: str, moment: Moment, ends: tuple[int, int]) -> dict[str, dict[str, tuple[Fraction, Fraction]]]:
    """By programme and measure of points: at the one end and at the other."""
    found = {}
    for programme in sorted({held.programme for held in held_at(engine, moment, ends[1]) if held.partner == partner}):
        asked = replace(moment, programme=programme)
        before, after = (_values(engine, partner, replace(asked, as_of=at)) for at in ends)
        found[programme] = {name: (before.get(name, Fraction(0)), after.get(name, Fraction(0))) for name in before.keys() | after.keys()}
    return found


def _values(engine: Questions, partner: str, moment: Moment) -> dict[str, Fraction]:
    life, at = engine.life(partner, moment), engine.as_of(moment)
    values = life.values(at)
    return {measure.name: values[measure.name] for measure in point_measures(life.book(at))}


@law(10)
def test_overrides_from_rows_are_the_engine_s(name: str, history: list[Sealed], dice: Random) -> None:
    with asked(history, dice) as (rows, engine):
        for moment in moments(history, rows, dice, 4):
            found = portfolio.overrides(rows, moment)
            assert found == portfolio.overrides(engine, moment), (moment, told(history))
            until = rows.as_of(moment) + 30 * DAY
            assert portfolio.overrides(rows, moment, until) == [each for each in found if each.override.until <= until]


@law(8)
def test_what_was_judged_at_risk_holds_until_it_is_due(name: str, history: list[Sealed], dice: Random) -> None:
    """At any instant before, the engine says the same; and what was stored is what was said."""
    with asked(history, dice) as (questions, _):
        for moment in moments(history, questions, dice, 2):
            at = questions.as_of(moment)
            told_of = list(endangered.now(questions, at, lambda todo, at=at: [endangered.judged(questions, todo, at)]))
            for judged in endangered.judged(questions, PARTNERS, at):
                assert list(judged.found) == [each for each in told_of if each.partner == judged.partner], (at, told(history))
                later = dice.randrange(at, judged.due)
                (again,) = endangered.judged(questions, [judged.partner], later)
                assert again.found == judged.found, (at, later, judged.partner, told(history))
            one_by_one = questions.at_risk(Moment(as_of=at))
            assert [each for each in told_of if not each.parked] == [each for each in one_by_one if not each.parked], (at, told(history))
            assert not list(endangered.now(questions, at, _nobody)) or told_of


def test_awards_at_risk_are_told_in_one_order_whatever_the_order_of_the_rulebook() -> None:
    rules = """
book: t/one
programme: t
effective: 2018-01-01
language: 1
measures: {sold: {sum: amount, of: sold, for: 12 months}}
levels: [Silver]
awards: {zoned: {tiers: {Silver: [sold >= 1]}}, apt: {tiers: {Silver: [sold >= 1]}}}
status: {membership: {renewal: 30 days}}
"""
    at = parse("2026-02-01")
    asked_of = life(rules, "2026-01-01 membership.purchased level=Silver\n2026-01-01 points.sold client=C line=x amount=1 currency=EUR")
    found = endangered.judge("P-1", 1, at, [asked_of]).found
    assert [(each.award, each.credited) for each in found] == [("apt", "Silver"), ("zoned", "Silver")]


def _nobody(todo: Sequence[str]) -> list[list[endangered.Judged]]:
    assert not todo, "everybody was judged a moment ago"
    return []


def test_who_enrols_elsewhere_is_in_a_programme_from_what_only_that_one_reads(tmp_path: Path) -> None:
    """And not as of what was known before: an enrolment that names an unknown programme puts nobody into a known one."""
    elsewhere = event("partner.enrolled.v1", subject="A", effective_at="2017-11-20", id="1", source="test", programme="other")
    counted = event(
        "licences.counted.v1", subject="A", effective_at="2017-11-21", id="2", source="test",
        client="C-1", product="office", service="SPO", state="active", trial=False,
    )  # fmt: skip
    with Log(tmp_path / "ledger.db") as log:
        times = iter((1_900_000_000_000_000, 1_900_000_000_000_001))
        intake = Intake(log, lambda: next(times))
        for each in (elsewhere, counted):
            assert isinstance(intake.record([each.body])[0], Accepted)
        history, store = History(log), Store(":memory:")
        Project(InProcessBus(), history, store).rebuild()
        questions = Questions(history, store, lambda: FOREVER - 1)
        for at in (elsewhere.effective_at - 1, counted.effective_at):
            assert held_at(questions, Moment(as_of=at, known_at=1), at) == []
            assert [each.programme for each in held_at(questions, Moment(as_of=at, known_at=2), at)] == ["microsoft-licences"]


def test_a_first_sale_on_the_first_day_of_a_rulebook_is_a_step() -> None:
    (second, *_) = [force for force in Library().force("hubspot") if force.since > BEGINNING]
    body = event(
        "points.sold.v1", subject="P-1", effective_at=second.since, id="1", source="test",
        client="C-1", line="sales", amount="100.00", currency="USD",
    )  # fmt: skip
    life = Life([Sealed(1, "partner/P-1", 1, second.since, b"", b"", body)], Library().force("hubspot"))
    told_of = breakdown.changes(life, basis(life, "P-1", second.since, 1), second.since - DAY, second.since + DAY)
    (step,) = told_of.changes
    assert (step.at, step.cause) == (second.since, "sold")
    assert step.delta == told_of.after[step.measure] > told_of.before[step.measure] == 0
