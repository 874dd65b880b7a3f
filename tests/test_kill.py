"""kill -9 at random moments of recording: nothing that was answered is lost, nothing is there twice.

A child process, forked from this one so that a hundred of them are cheap, records batches and writes down each receipt that it was
given. It is killed at a moment drawn from a printed seed (POINTS_TEST_SEED repeats it). Then the log is held against what was written down.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ledger.events.envelope import Event, Sealed, event
from ledger.instants import parse
from ledger.intake import Accepted, Duplicate, Input, Intake, Refused
from ledger.log import Log

NOON = parse("2024-06-01T12:00:00Z")
KILLS = 100
SECONDS_MAX = 120

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that can fork")


def seeded() -> random.Random:
    seed = int(os.environ.get("POINTS_TEST_SEED", random.randrange(10**6)))
    print(f"POINTS_TEST_SEED={seed}")
    return random.Random(seed)


def history(dice: random.Random, count: int) -> list[Input]:
    """Sales, links that move persons, certificates, reversals, repetitions and nonsense."""
    made: list[Input] = []
    for n in range(count):
        partner, person, on = f"P-{dice.randrange(6)}", f"X-{dice.randrange(3)}", f"2024-{dice.randrange(1, 13):02}-01"
        match dice.randrange(8):
            case 0:
                made.append(event("person.linked.v1", subject=partner, effective_at=on, id=str(n), person=person))
            case 1:
                made.append(event("certification.earned.v1", effective_at=on, id=str(n), person=person, code="basic"))
            case 2 if made and isinstance(target := dice.choice(made), Event):
                reverses = {"source": target.source, "id": target.id}
                made.append(event("event.reversed.v1", effective_at=on, id=str(n), reverses=reverses, reason="a mistake", author="A"))
            case 3 if made:
                made.append(dice.choice(made))
            case 4:
                made.append(b"nonsense")
            case _:
                data = {"client": "C", "line": "hub", "amount": str(n), "currency": "EUR"}
                made.append(event("points.sold.v1", subject=partner, effective_at=on, id=str(n), **data))
    return made


def batches(inputs: Sequence[Input], size: int) -> list[Sequence[Input]]:
    return [inputs[at : at + size] for at in range(0, len(inputs), size)]


def record(path: Path, inputs: Sequence[Input], size: int, tell: Callable[[str], object]) -> None:
    """What each child does: from the beginning, a batch at a time, telling each receipt once it has it."""
    with Log(path, lock_seconds=60) as log:
        intake = Intake(log, lambda: NOON)
        for batch in batches(inputs, size):
            receipts = intake.record(batch)
            tell("".join(json.dumps(line) + "\n" for line in zip(map(name, batch), map(position, receipts), strict=True)))


def name(event: Input) -> tuple[str, str] | None:
    return (event.source, event.id) if isinstance(event, Event) else None


def position(receipt: Accepted | Duplicate | Refused) -> int:
    match receipt:
        case Accepted(at, _) | Duplicate(at):
            return at
        case _:
            return 0


class Child:
    """A process that records, and the file descriptor on which it tells what it was answered."""

    def __init__(self, path: Path, inputs: Sequence[Input], size: int) -> None:
        self.heard, told = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                record(path, inputs, size, lambda lines: os.write(told, lines.encode()))
            finally:
                os._exit(0)
        os.close(told)

    def killed(self) -> bool:
        """Kill it, and whether it was still at work."""
        os.kill(self.pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]) == -signal.SIGKILL

    def receipts(self) -> list[tuple[list[str] | None, int]]:
        """Whole lines only: the last one may have been cut."""
        with os.fdopen(self.heard) as lines:
            return [tuple(json.loads(line)) for line in lines if line.endswith("\n")]


def holds(path: Path, receipts: Sequence[tuple[list[str] | None, int]]) -> None:
    """The log is whole, and every receipt that was told stands in it."""
    if not path.exists():
        assert not receipts
        return
    with Log(path) as log:
        assert log.verify() is None
        for about, at in receipts:
            if about is not None and at:
                filed = log.filed(*about)
                assert filed is not None and filed.position == at, f"{about} was told to be at {at}"


def whole(path: Path) -> list[Sealed]:
    with Log(path) as log:
        assert log.verify() is None
        return log.tail(0, 10**6)


def test_kill_while_recording(tmp_path: Path) -> None:
    """One writer: after any number of kills the log has the bytes of a run that nobody disturbed."""
    dice, kills, ledgers, started = seeded(), 0, 0, time.monotonic()
    while kills < KILLS and time.monotonic() - started < SECONDS_MAX:
        ledgers += 1
        path, inputs = tmp_path / f"{ledgers}.db", history(dice, 400)
        for _ in range(12):
            child = Child(path, inputs, dice.choice((1, 4, 16)))
            time.sleep(dice.random() * 0.1)
            kills += child.killed()
            holds(path, child.receipts())
        counts = complete(path, inputs)
        assert sum(counts.values()) == len(inputs)
        undisturbed = tmp_path / f"{ledgers} undisturbed.db"
        complete(undisturbed, inputs)
        assert whole(path) == whole(undisturbed)
    print(f"{kills} kills of {ledgers} ledgers in {time.monotonic() - started:.1f} s")
    assert kills >= KILLS


def complete(path: Path, inputs: Sequence[Input]) -> dict[str, int]:
    """Run to the end; how many were accepted, duplicate and refused."""
    counts: dict[str, int] = {"Accepted": 0, "Duplicate": 0, "Refused": 0}
    with Log(path) as log:
        for batch in batches(inputs, 50):
            for receipt in Intake(log, lambda: NOON).record(batch):
                counts[type(receipt).__name__] += 1
    return counts


def test_kill_one_of_two_who_record_the_same(tmp_path: Path) -> None:
    """Two at once, one killed: the other goes on, and each input is there once."""
    dice, kills, ledgers = seeded(), 0, 0
    while kills < KILLS // 5:
        ledgers += 1
        path, inputs = tmp_path / f"{ledgers}.db", history(dice, 300)
        with Log(path):
            pass
        for _ in range(4):
            one, other = Child(path, inputs, 3), Child(path, inputs, 5)
            time.sleep(dice.random() * 0.08)
            kills += one.killed()
            time.sleep(dice.random() * 0.03)
            kills += other.killed()
            holds(path, [*one.receipts(), *other.receipts()])
        complete(path, inputs)
        keys = [(sealed.event.source, sealed.event.id) for sealed in whole(path) if sealed.event.source != "ledger"]
        assert len(keys) == len(set(keys))
        assert complete(path, inputs)["Accepted"] == 0
    print(f"{kills} kills of {ledgers} ledgers")
