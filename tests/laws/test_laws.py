"""Laws 1, 2, 3, 6, 7, 8, 9 and 11, each as a property over random histories. Laws 4 and 5 are held by the oracle, 10 by the door's tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.bus import InProcessBus
from consumers.project import Project
from consumers.relay import Relay, messages
from ledger.events.envelope import Event, Sealed, event
from ledger.history import History
from ledger.instants import DAY, Instant
from ledger.intake import Accepted, Intake
from ledger.log import Log
from ledger.projections.questions import Moment, Questions
from ledger.projections.store import Store
from ledger.rules.breakdown import lots, point_measures
from ledger.rules.expressions import OPERATIONS
from ledger.rules.library import Library
from ledger.rules.life import Life
from ledger.rules.reasons import Reason, median
from ledger.rules.standing import basis, standing, why
from tests.laws.histories import PARTNER, examples, histories, placed, told

LIBRARY = Library()
FORCE = LIBRARY.force("hubspot")


def moments(history: Sequence[Sealed], pick: int, n: int = 4) -> list[Instant]:
    """A few instants of a history: at events, just before them, and long after."""
    dice = Random(pick)
    edges = [sealed.event.effective_at for sealed in history]
    return [dice.choice(edges) + dice.choice((-1, 0, 0, 40 * DAY, 365 * DAY, 700 * DAY)) for _ in range(n)] if edges else []


def answer(life: Life, at: Instant) -> dict[str, object]:
    return asdict(standing(life, basis(life, PARTNER, at, 0)))


def outcome(life: Life, at: Instant) -> dict[str, object]:
    """What a standing says, without the events that say why."""
    return {"values": life.values(at), "performance": life.tier(at), "credited": life.credited_tier(at)}


@examples(30)
@given(histories(), st.integers(0, 999))
def test_1_replay_is_a_function(history: list[Sealed], pick: int) -> None:
    for at in moments(history, pick, 2):
        assert answer(Life(history, FORCE), at) == answer(Life(list(history), LIBRARY.force("hubspot")), at)


class Known:
    """A history as the questions read it, without a log."""

    def __init__(self, events: Sequence[Sealed]) -> None:
        self._events = events

    def head(self) -> int:
        return len(self._events)

    def position_at(self, recorded_at: Instant) -> int:
        return sum(sealed.recorded_at <= recorded_at for sealed in self._events)

    def partners(self) -> list[str]:
        return [PARTNER]

    def events(self, partner: str, until: int | None = None) -> Sequence[Sealed]:
        return [sealed for sealed in self._events if until is None or sealed.position <= until]

    def published(self, until: int | None = None) -> Sequence[Sealed]:
        return []


def asked(history: Sequence[Sealed]) -> Questions:
    return Questions(Known(history), Store(":memory:"), lambda: max((s.recorded_at for s in history), default=0) + 1000 * DAY)


@examples(25)
@given(histories(), st.integers(0, 999))
def test_3_what_is_kept_changes_no_answer(history: list[Sealed], pick: int) -> None:
    kept = asked(history)
    for at in moments(history, pick, 3):
        moment = Moment(as_of=at, programme="hubspot")
        assert kept.standing(PARTNER, moment) == kept.standing(PARTNER, moment) == asked(history).standing(PARTNER, moment)


@examples(40)
@given(histories(), st.integers(0, 999), st.integers(0, 99), st.sampled_from((0, 3, 400)))
def test_6_an_event_and_its_reversal_equal_neither(history: list[Sealed], pick: int, which: int, later: int) -> None:
    """Any event that stands may be the one: taken out, or reversed at the end, the standing is the same; before, it still shows."""
    gone = {s.event.data.reverses.id for s in history if s.event.kind == "event.reversed.v1"}
    free = [s for s in history if s.event.kind != "event.reversed.v1" and s.event.id not in gone]
    if not free:
        return
    target = free[which % len(free)]
    clock = history[-1].recorded_at + later * DAY
    reversal = event(
        "event.reversed.v1", subject=PARTNER, effective_at=clock, id="last", source="test", reason="typing error", author="admin",
        reverses={"source": target.event.source, "id": target.event.id},
    )  # fmt: skip
    both = [*history, placed(reversal, len(history) + 1, clock)]
    neither = [sealed for sealed in history if sealed is not target]
    for at in moments(history, pick):
        assert outcome(Life(both, FORCE), at) == outcome(Life(neither, FORCE), at), told(both)
        assert outcome(Life(both[:-1], FORCE), at) == outcome(Life(history, FORCE), at)


@examples(60)
@given(histories(), st.integers(0, 999), st.sampled_from(("points-2022", "points-2024", "points-2025", "mrr-2018", "mrr-2020")))
def test_7_lots_add_up(history: list[Sealed], pick: int, book: str) -> None:
    """What is active is the measure; and every lot that was awarded is in exactly one state, whenever one asks."""
    life = Life(history, LIBRARY.named(f"hubspot/{book}"))
    for measure in point_measures(life.book(0)):
        if measure.on_now:
            continue  # worth something else from day to day
        awarded = set()
        for at in moments(history, pick):
            found = [lot for lot in lots(life, at) if lot.measure == measure.name]
            assert {lot.state for lot in found} <= {"active", "pending", "expired", "lost", "reversed"}
            assert sum((lot.value for lot in found if lot.state == "active"), Fraction(0)) == life.values(at)[measure.name]
            awarded.add(sum((lot.value for lot in found), Fraction(0)))
        assert len(awarded) <= 1, told(history)


def announcements(history: Sequence[Sealed]) -> list[Event]:
    """The announcement of every lot and override, on the day after it began and a year later."""
    made = []
    for sealed in history:
        data, at = sealed.event.data, sealed.event.effective_at
        if sealed.event.kind == "override.granted.v1":
            made.append(event("override.lapsed.v1", subject=PARTNER, effective_at=at + DAY, id=f"l{sealed.position}", override=data.override))
        if sealed.event.kind == "points.sold.v1":
            lot = {"source": sealed.event.source, "id": sealed.event.id}
            for n, after in enumerate((DAY, 365 * DAY)):
                more = {"measure": "sold", "lots": [lot]}
                made.append(event("points.expired.v1", subject=PARTNER, effective_at=at + after, id=f"e{n}-{sealed.position}", **more))
    return made


@examples(30)
@given(histories(), st.integers(0, 999))
def test_8_announcements_decide_nothing(history: list[Sealed], pick: int) -> None:
    clock = history[-1].recorded_at if history else 0
    more = [placed(made, len(history) + n, clock) for n, made in enumerate(announcements(history), start=1)]
    for at in moments(history, pick):
        assert outcome(Life([*history, *more], FORCE), at) == outcome(Life(history, FORCE), at)


@examples(40)
@given(histories(), st.integers(0, 999), st.integers(0, 99))
def test_9_what_was_known_stays_known(history: list[Sealed], pick: int, cut: int) -> None:
    """The answer for a past position is the one that was given when that position was the last."""
    if not history:
        return
    known = 1 + cut % len(history)
    for at in moments(history, pick, 2):
        then = asked(history[:known]).life(PARTNER, Moment(as_of=at, programme="hubspot"))
        now = asked(history).life(PARTNER, Moment(as_of=at, known_at=known, programme="hubspot"))
        assert answer(then, at) == answer(now, at), told(history)


def holds(reason: Reason) -> None:
    """Each node's operation on its children gives its value."""
    values = [child.value for child in reason.children]
    for child in reason.children:
        holds(child)
    match reason.op:
        case "constant" | "row" | "override":
            return
        case "fact":
            assert reason.position is not None or reason.value == "" or not reason.children, reason
        case "key":
            return
        case "number" | "as":
            assert [reason.value] == values, reason
        case "sum":
            assert reason.value == sum(values, Fraction(0)), reason  # type: ignore[arg-type]
        case "count":
            assert reason.value == len(values), reason
        case "distinct":
            assert reason.value == len(set(values)), reason
        case "median":
            assert reason.value == median(values), reason  # type: ignore[arg-type]
        case op:
            assert reason.value == OPERATIONS[op](*values), reason


@examples(25)
@given(histories(), st.integers(0, 999), st.sampled_from(("in force", "points-2022", "points-2025", "mrr-2018")))
def test_11_a_reason_is_a_tree(history: list[Sealed], pick: int, book: str) -> None:
    life = Life(history, FORCE if book == "in force" else LIBRARY.named(f"hubspot/{book}"))
    for at in moments(history, pick, 2):
        told_why = why(life, basis(life, PARTNER, at, len(history)))
        for name, reason in told_why.reasons.items():
            assert reason.value == told_why.standing.values[name]
            holds(reason)
        for reason in told_why.requirements.values():
            holds(reason)


@examples(12)
@given(histories(steps_max=10), st.randoms(use_true_random=False))
def test_2_delivering_again_changes_nothing(history: list[Sealed], dice: Random) -> None:
    """Every event delivered once or more, in any order, in pages of any size: the rows are those of a fresh rebuild."""
    with TemporaryDirectory() as directory, Log(f"{directory}/log.db") as log:
        clock = [0]
        intake = Intake(log, lambda: clock[0])
        for sealed in history:
            clock[0] = max(clock[0], sealed.recorded_at)
            intake.record([sealed.event.body])
        delivered, fresh = Store(f"{directory}/delivered.db"), Store(f"{directory}/fresh.db")
        bus = InProcessBus()
        project = Project(bus, History(log), delivered)
        relay = Relay(log, bus, 0)
        while relay.step(dice.randrange(1, 5)):
            project.step(dice.randrange(1, 5))
        every = messages(log, 0, 10_000)
        for _ in range(2):
            bus.publish(dice.sample(every, len(every)))
        while project.step(dice.randrange(1, 7)):
            pass
        Project(InProcessBus(), History(log), fresh).rebuild()
        assert delivered.dump() == fresh.dump()
        delivered.close()
        fresh.close()


def test_the_door_takes_such_histories() -> None:
    """Else the law about delivering would be one about empty ledgers."""
    made = event("partner.enrolled.v1", subject=PARTNER, effective_at="2016-01-01", id="1", programme="hubspot")
    with TemporaryDirectory() as directory, Log(f"{directory}/log.db") as log:
        (receipt,) = Intake(log, lambda: made.effective_at).record([made.body])
        if not isinstance(receipt, Accepted):
            pytest.fail(str(receipt))
