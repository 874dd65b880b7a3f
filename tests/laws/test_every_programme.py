"""Laws 1, 2, 3, 6, 8, 9, 11 and 12 for the programmes that `test_laws` does not ask, and the order of recording for all."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.bus import InProcessBus
from consumers.project import Project
from consumers.relay import Relay, messages
from ledger.events.envelope import Sealed, event
from ledger.history import History
from ledger.instants import DAY, Instant
from ledger.intake import Accepted, Intake
from ledger.log import Log
from ledger.projections.questions import Moment
from ledger.projections.store import Store
from ledger.rules.breakdown import changes
from ledger.rules.library import Library
from ledger.rules.life import Force, Life
from ledger.rules.risk import loss, risk
from ledger.rules.standing import basis, why
from tests.laws.histories import PARTNER, examples, histories, placed, told
from tests.laws.programmes import HISTORIES
from tests.laws.test_laws import answer, asked, holds, moments

LIBRARY = Library()
ALL = tuple(HISTORIES)
OTHERS = tuple(name for name in ALL if name != "hubspot")
Law = Callable[[str, tuple[Force, ...], list[Sealed], Random], None]


def each(names: tuple[str, ...], n: int) -> Callable[[Law], Callable[[str], None]]:
    """A law over `n` histories of each of these programmes."""

    def made(law: Law) -> Callable[[str], None]:
        @pytest.mark.parametrize("name", names)
        def test(name: str) -> None:
            @examples(n)
            @given(HISTORIES[name], st.randoms(use_true_random=False))
            def holds_of(history: list[Sealed], dice: Random) -> None:
                if history:
                    law(name, LIBRARY.force(name), history, dice)

            holds_of()

        return test

    return made


def outcome(life: Life, at: Instant) -> list[object]:
    """Values, and of each award the tiers, what is lost and whether it is at risk; no event that says why."""
    found: list[object] = [life.values(at)]
    for own in life.ladders():
        lost, danger = loss(own, at), risk(own, at)
        found.append((own.award, own.tier(at), own.credited_tier(at), lost and (lost.at, lost.falls_to), danger and danger.since))
    return found


def tiers(life: Life, at: Instant) -> list[object]:
    return [life.values(at), [(own.award, own.tier(at), own.credited_tier(at)) for own in life.ladders()]]


def times(history: list[Sealed], dice: Random, n: int) -> list[Instant]:
    return moments(history, dice.randrange(1000), n)


@each(OTHERS, 10)
def test_1_replay_is_a_function(name: str, force: tuple[Force, ...], history: list[Sealed], dice: Random) -> None:
    for at in times(history, dice, 1):
        assert answer(Life(history, force), at) == answer(Life(list(history), Library().force(name)), at)


@each(ALL, 15)
def test_the_order_of_recording_decides_nothing(name: str, force: tuple[Force, ...], history: list[Sealed], dice: Random) -> None:
    """Late or early, in whatever order: of what has another time, the position says nothing. Of one time it is the order."""
    dealt = sorted(history, key=lambda sealed: (dice.random(), sealed.position))
    among: dict[Instant, list[Sealed]] = {}
    for sealed in sorted(history, key=lambda sealed: sealed.position):
        among.setdefault(sealed.event.effective_at, []).append(sealed)
    again = [among[sealed.event.effective_at].pop(0)._replace(position=n) for n, sealed in enumerate(dealt, start=1)]
    for at in times(history, dice, 2):
        assert tiers(Life(again, force), at) == tiers(Life(history, force), at), told(history)
    at_once = [sealed._replace(recorded_at=history[-1].recorded_at) for sealed in again]
    for at in times(history, dice, 1):
        if at >= history[-1].recorded_at:
            assert outcome(Life(at_once, force), at) == outcome(Life(history, force), at), told(history)


@each(OTHERS, 10)
def test_3_what_is_kept_changes_no_answer(name: str, force: tuple[Force, ...], history: list[Sealed], dice: Random) -> None:
    kept = asked(history)
    for at in times(history, dice, 2):
        moment = Moment(as_of=at, programme=name)
        assert kept.standing(PARTNER, moment) == kept.standing(PARTNER, moment) == asked(history).standing(PARTNER, moment)


@each(OTHERS, 15)
def test_6_an_event_and_its_reversal_equal_neither(name: str, force: tuple[Force, ...], history: list[Sealed], dice: Random) -> None:
    gone = {s.event.data.reverses.id for s in history if s.event.kind == "event.reversed.v1"}
    free = [s for s in history if s.event.kind != "event.reversed.v1" and s.event.id not in gone]
    if not free:
        return
    target, clock = dice.choice(free), history[-1].recorded_at + dice.choice((0, 3, 400)) * DAY
    reversal = event(
        "event.reversed.v1", subject=PARTNER, effective_at=clock, id="last", source="test", reason="typing error", author="admin",
        reverses={"source": target.event.source, "id": target.event.id},
    )  # fmt: skip
    both = [*history, placed(reversal, len(history) + 1, clock)]
    neither = [sealed for sealed in history if sealed is not target]
    for at in times(history, dice, 2):
        assert outcome(Life(both, force), at) == outcome(Life(neither, force), at), told(both)
        assert outcome(Life(both[:-1], force), at) == outcome(Life(history, force), at)


@each(OTHERS, 10)
def test_8_announcements_decide_nothing(name: str, force: tuple[Force, ...], history: list[Sealed], dice: Random) -> None:
    granted = [s for s in history if s.event.kind == "override.granted.v1"]
    more = [
        placed(event("override.lapsed.v1", subject=PARTNER, effective_at=s.event.effective_at + DAY, id=f"l{n}", override=s.event.data.override),
               len(history) + n, history[-1].recorded_at)
        for n, s in enumerate(granted, start=1)
    ]  # fmt: skip
    for at in times(history, dice, 2):
        assert outcome(Life([*history, *more], force), at) == outcome(Life(history, force), at)


@each(OTHERS, 12)
def test_9_what_was_known_stays_known(name: str, force: tuple[Force, ...], history: list[Sealed], dice: Random) -> None:
    known = dice.randrange(1, len(history) + 1)
    for at in times(history, dice, 1):
        then = asked(history[:known]).life(PARTNER, Moment(as_of=at, programme=name))
        now = asked(history).life(PARTNER, Moment(as_of=at, known_at=known, programme=name))
        assert answer(then, at) == answer(now, at), told(history)


@each(OTHERS, 8)
def test_11_a_reason_is_a_tree(name: str, force: tuple[Force, ...], history: list[Sealed], dice: Random) -> None:
    life = Life(history, force)
    for at in times(history, dice, 1):
        for own in life.ladders():
            told_why = why(own, basis(own, PARTNER, at, len(history)))
            for measure, reason in told_why.reasons.items():
                assert reason.value == told_why.standing.values[measure]
                holds(reason)
            for reason in told_why.requirements.values():
                holds(reason)


@examples(60)
@given(histories(), st.randoms(use_true_random=False))
def test_12_the_causes_of_a_difference_add_up_to_it(history: list[Sealed], dice: Random) -> None:
    """HubSpot is the programme whose score is made of lots."""
    if not history:
        return
    life = Life(history, LIBRARY.force("hubspot"))
    since, until = sorted(at + dice.choice((0, 1)) for at in times(history, dice, 2))
    found = changes(life, basis(life, PARTNER, until, len(history)), since, until + 1)
    for measure, before in found.before.items():
        steps = [step.delta for step in found.changes if step.measure == measure]
        assert before + sum(steps, Fraction(0)) == found.after[measure], f"{measure} {found.changes} {told(history)}"
    assert all(since <= step.at <= until for step in found.changes)


@each(OTHERS, 3)
def test_2_rebuilt_is_what_was_delivered(name: str, force: tuple[Force, ...], history: list[Sealed], dice: Random) -> None:
    """Every event delivered once or more, in any order, in pages of any size: the rows are those of a fresh rebuild."""
    with TemporaryDirectory() as directory, Log(f"{directory}/log.db") as log:
        clock, accepted = [0], 0
        intake = Intake(log, lambda: clock[0])
        for sealed in history:
            clock[0] = max(clock[0], sealed.recorded_at)
            accepted += sum(isinstance(receipt, Accepted) for receipt in intake.record([sealed.event.body]))
        delivered, fresh, bus = Store(f"{directory}/delivered.db"), Store(f"{directory}/fresh.db"), InProcessBus()
        project, relay = Project(bus, History(log), delivered), Relay(log, bus, 0)
        while relay.step(dice.randrange(1, 5)):
            project.step(dice.randrange(1, 5))
        every = messages(log, 0, 10_000)
        assert len(every) >= accepted > 0
        for _ in range(2):
            bus.publish(dice.sample(every, len(every)))
        while project.step(dice.randrange(1, 7)):
            pass
        Project(InProcessBus(), History(log), fresh).rebuild()
        assert delivered.dump() == fresh.dump()
        delivered.close()
        fresh.close()
