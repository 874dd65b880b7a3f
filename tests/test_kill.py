"""kill -9 in the middle of `record` and `rebuild`: nothing is lost, nothing is there twice, and the next command makes it whole.

The commands run in children forked from this process, so that a kill costs some hundredths of a second. Most children die by their own hand at
a *numbered effect*: each statement to a database and each fifty steps within one are counted, by the stage that the command is
in, and the n-th of a stage is the last. So a kill strikes where it is meant to. Others are killed from outside at a moment that nobody chose,
which also strikes within a commit. Everything is drawn from a printed seed (POINTS_TEST_SEED repeats it).
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import random
import signal
import sqlite3
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import delete

from cli import main
from consumers.bus import InProcessBus
from consumers.project import Project
from ledger.audit import audit
from ledger.events.envelope import Event, event
from ledger.history import History
from ledger.instants import parse
from ledger.intake import Accepted, Duplicate, Input, Intake, Refused
from ledger.log import Log
from ledger.projections.store import PROGRESS, TABLES, Store
from ledger.rules import book as books
from ledger.rules.library import Library

RECORDS, REBUILDS, BY_TIME, TOLD, PAIRED = 112, 60, 40, 30, 20
"""How many die: recording and rebuilding at a numbered effect, doing either at any time, telling receipts, one beside another."""

LINES, BATCH = 60, 12
NOON = parse("2024-06-01T12:00:00Z")
BOOK = """\
book: hubspot/points-2030
programme: hubspot
effective: 2030-01-01
language: 1
measures:
  sold: {of: sold, count: all, unit: points}
tiers:
  Gold: [sold >= 1]
status: {continuous: {}}
"""

OPENING, LOG, LOG_COMMIT, BETWEEN, ROWS, ROWS_COMMIT, AFTER = STAGES = (
    "opening", "in the log", "before its commit", "between the commits", "in the rows", "before their commit", "after",
)  # fmt: skip
"""Where a command can be: each is told by the statements that it sends, and by nothing that it says of itself."""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that can fork")


def seeded() -> random.Random:
    seed = int(os.environ.get("POINTS_TEST_SEED", random.randrange(10**6)))
    print(f"POINTS_TEST_SEED={seed}")
    return random.Random(seed)


# What is recorded --------------------------------------------------------------------------------------------


def history(dice: random.Random, count: int) -> list[Input]:
    """Sales and their losses, links that move persons, certificates, overrides, a rulebook, reversals, repetitions, nonsense."""
    made: list[Input] = []
    for n in range(count):
        partner, person, on = f"P-{dice.randrange(6)}", f"X-{dice.randrange(3)}", f"2024-{dice.randrange(1, 13):02}-01"
        match dice.randrange(10):
            case 0:
                made.append(event("person.linked.v1", subject=partner, effective_at=on, id=str(n), person=person))
            case 1:
                made.append(event("certification.earned.v1", effective_at=on, id=str(n), person=person, code="solutions-partner"))
            case 2 if made and isinstance(target := dice.choice(made), Event):
                reverses = {"source": target.source, "id": target.id}
                made.append(event("event.reversed.v1", effective_at=on, id=str(n), reverses=reverses, reason="a mistake", author="A"))
            case 3 if made:
                made.append(dice.choice(made))
            case 4:
                made.append(b"nonsense")
            case 5:
                granted = {"override": f"O-{n}", "tier": "Gold", "until": "2025-06-01", "reason": "a fair", "author": "A"}
                made.append(event("override.granted.v1", subject=partner, effective_at=on, id=str(n), **granted))
            case 6:
                made.append(event("points.lost.v1", subject=partner, effective_at=on, id=str(n), client="C", line="hub"))
            case _:
                data = {"client": "C", "line": "hub", "amount": str(100 * n + 7), "currency": "EUR", "deal_type": "sourced"}
                made.append(event("points.sold.v1", subject=partner, effective_at=on, id=str(n), **data))
    made[dice.randrange(count)] = published()
    return made


def published() -> Event:
    """A rulebook: with it the rows of every partner are made anew."""
    book = books.load(BOOK)
    data = {"book": book.name, "programme": book.programme, "effective": "2030-01-01", "hash": book.hash, "text": BOOK, "author": "A"}
    return event("rulebook.published.v1", effective_at=NOON, id="book", **data)


def name(event: Input) -> tuple[str, str] | None:
    return (event.source, event.id) if isinstance(event, Event) else None


class Case:
    """One ledger, the lines to be recorded in it, and what a run that nobody disturbs makes of them."""

    def __init__(self, folder: Path, dice: random.Random) -> None:
        folder.mkdir()
        self.inputs, self._ledgers = history(dice, LINES), 0
        self.file, self.folder = folder / "lines.jsonl", folder
        self.file.write_bytes(b"\n".join(line.body if isinstance(line, Event) else line for line in self.inputs))
        self.record, self.rebuild = ("record", str(self.file), "-o", "jsonl"), ("rebuild",)
        self.path = undisturbed = self.another()
        self.receipts = receipts(points(undisturbed, *self.record))
        self.log = entries(undisturbed)
        with closing(sqlite3.connect(undisturbed)) as connection:
            self.ends = {0, *(end for (end,) in connection.execute("SELECT position FROM inserts"))}

    def another(self) -> Path:
        """Where there is no ledger yet."""
        self._ledgers += 1
        return self.folder / f"{self._ledgers}.db"


def points(path: Path, *words: str) -> Result:
    """A command as it is typed."""
    environment = {"POINTS_LEDGER_BATCH_SIZE": str(BATCH)}
    return CliRunner().invoke(main, ["--ledger", str(path), *words], env=environment, catch_exceptions=False)


def receipts(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def entries(path: Path) -> list[tuple[str, int, bytes]]:
    """The log without its recorded times, which are those of the clock."""
    with Log(path) as log:
        return [(sealed.stream, sealed.version, sealed.event.body) for sealed in log.tail(0, 10**6)]


# How one dies ------------------------------------------------------------------------------------------------


class Effects:
    """Counts what this process does to its databases and says on a board where it is; dies at the effect that it is told."""

    STEPS = 50

    def __init__(self, board: Board, death: tuple[str, int] | None) -> None:
        self._board = board
        self._death = death
        self._stage = OPENING
        self._beside = False

    def connect(self, database: Any, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        made: sqlite3.Connection = CONNECT(database, *args, **kwargs)
        rows = str(database).endswith(".read.db")
        made.set_trace_callback(lambda statement: self.statement(statement[:40], rows=rows))
        made.set_progress_handler(self.effect, self.STEPS)
        return made

    def statement(self, begins: str, *, rows: bool) -> None:
        """A statement that is about to run. Making the tables, with what the recorder tracks of that, belongs to the opening; of a rebuild
        the commit is that which drops its own table, and puts the others in their place."""
        self._stage = {LOG_COMMIT: BETWEEN, ROWS_COMMIT: AFTER}.get(self._stage, self._stage)
        match begins.split():
            case ["INSERT", "INTO", "tracking" | "read_models", *_]:
                pass
            case ["INSERT", "INTO", "rebuilding", *_] | ["UPDATE", "rebuilding", *_]:
                self._stage, self._beside = ROWS, True
            case ["DROP", "TABLE", "rebuilding", *_]:
                self._beside = False
            case ["INSERT" | "DELETE" | "UPDATE", *_]:
                self._stage = ROWS if rows else LOG
            case ["COMMIT", *_] if self._stage in (LOG, ROWS) and not self._beside:
                self._stage = ROWS_COMMIT if rows else LOG_COMMIT
        self.effect()

    def effect(self) -> None:
        done = self._board.count(self._stage)
        if (self._stage, done) == self._death:
            os.kill(os.getpid(), signal.SIGKILL)


CONNECT = sqlite3.connect


class Board:
    """Memory that a child shares with its parent: the stage that it is in, and how many effects each had. It outlives the child."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, mmap.PAGESIZE)

    def count(self, stage: str) -> int:
        at = STAGES.index(stage)
        done = self._counted(at) + 1
        struct.pack_into("q", self._shared, 8 * (at + 1), done)
        self._shared[0] = at
        return done

    def _counted(self, at: int) -> int:
        return int(struct.unpack_from("q", self._shared, 8 * (at + 1))[0])

    @property
    def stage(self) -> str:
        return STAGES[self._shared[0]]

    @property
    def counts(self) -> dict[str, int]:
        return {stage: self._counted(at) for at, stage in enumerate(STAGES) if self._counted(at)}


class Child:
    """A forked process that does something, and can be killed."""

    def __init__(self, work: Callable[[], int]) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            gc.disable()  # it would copy the memory that is shared with the parent
            try:
                code = work()
            finally:
                os._exit(code)

    def killed(self) -> bool:
        """Kill it, and whether it was still at work."""
        os.kill(self.pid, signal.SIGKILL)
        return self.died()

    def died(self) -> bool:
        """Wait for its end, and whether that was a kill."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        assert code in (0, 1, -signal.SIGKILL), f"it ended with {code}"
        return code == -signal.SIGKILL


def running(path: Path, words: Sequence[str], board: Board, death: tuple[str, int] | None = None) -> Child:
    """A child that runs a command under count."""

    def work() -> int:
        effects = Effects(board, death)
        sqlite3.connect = sqlite3.dbapi2.connect = effects.connect  # type: ignore[attr-defined]
        code = points(path, *words).exit_code
        effects.statement("END", rows=False)
        return code

    return Child(work)


def counted(path: Path, words: Sequence[str]) -> dict[str, int]:
    """How many effects each stage of a command has, when it is not killed."""
    board = Board()
    assert not running(path, words, board).died()
    return board.counts


def killed_at(path: Path, words: Sequence[str], stage: str, n: int) -> bool:
    """Whether the command came so far, and died there."""
    board = Board()
    if not running(path, words, board, (stage, n)).died():
        return False
    assert board.stage == stage
    return True


def killed_within(path: Path, words: Sequence[str], seconds: float) -> str | None:
    """Killed from outside: the stage in which it was, or None where it was done before."""
    board = Board()
    child = running(path, words, board)
    time.sleep(seconds)
    return board.stage if child.killed() else None


# What must hold ----------------------------------------------------------------------------------------------


def not_half(case: Case) -> tuple[int, int]:
    """Right after a kill: whole batches in the log, and rows that are true as of some position. Returns head and that position."""
    if not case.path.exists():
        return 0, 0
    log = entries(case.path)
    assert log == case.log[: len(log)], "what was recorded is the beginning of what is recorded undisturbed"
    assert len(log) in case.ends, f"{len(log)} is within a batch, of {sorted(case.ends)}"
    with opened(case.path) as (log_, store):
        assert [found for found in audit(log_, store) if found.code != "rows_behind"] == []
        return log_.head(), store.position()


def whole(case: Case, dice: random.Random) -> None:
    """Any command makes the rows whole; recording again makes the log whole; every line is accounted for, once."""
    if case.path.exists():
        code = points(case.path, *dice.choice((case.record, case.rebuild, ("ranking",), ("verify",)))).exit_code
        assert code in (0, 1) or (code == 3 and not entries(case.path)), "where nothing was made there is no ledger to ask"
        with opened(case.path) as (log, store):
            assert list(audit(log, store)) == []
    found = receipts(points(case.path, *case.record))
    kinds, before = (Counter(receipt["receipt"] for receipt in each) for each in (found, case.receipts))
    assert kinds["accepted"] + kinds["duplicate"] + kinds["refused"] == LINES == len(found)
    assert kinds["refused"] == before["refused"]
    assert [receipt["position"] for receipt in found] == [receipt["position"] for receipt in case.receipts]
    assert entries(case.path) == case.log
    rows_are_those_of_a_rebuild(case.path)


def rows_are_those_of_a_rebuild(path: Path) -> None:
    """The log verifies; the read models have reached its end, and are row by row what a fresh making gives."""
    with opened(path) as (log, store):
        assert list(audit(log, store)) == []
        if log.head():  # before that nothing is marked
            assert store.dump() == fresh(log)


def fresh(log: Log) -> dict[str, list[tuple[Any, ...]]]:
    with closing(Store(":memory:")) as store:
        Project(InProcessBus(), History(log), store).rebuild()
        return store.dump()


@contextmanager
def opened(path: Path) -> Iterator[tuple[Log, Store]]:
    with Log(path) as log, closing(Store(path.with_suffix(".read.db"))) as store:
        yield log, store


# The kills ---------------------------------------------------------------------------------------------------


def test_record_killed_at_a_numbered_effect(tmp_path: Path) -> None:
    """A kill at each stage of a new ledger in turn, and perhaps others at any stage of what that left; then a look; then whole."""
    dice, struck, stages, started, ledgers = seeded(), Counter[str](), cycle(STAGES), time.monotonic(), 0
    while struck.total() < RECORDS:
        case = Case(tmp_path / str(ledgers), dice)
        counts = counted(case.another(), case.record)
        assert set(counts) == set(STAGES)
        for _ in range(2 * len(STAGES)):
            ledgers, case.path = ledgers + 1, case.another()
            for stage in (next(stages), *dice.choices(STAGES, k=dice.randrange(3))):
                if not killed_at(case.path, case.record, stage, dice.randint(1, counts[stage])):
                    break  # what was left to do had fewer effects, and is done
                struck[stage] += 1
            if dice.random() < 0.5:  # to look is to open it, and that mends
                not_half(case)
            whole(case, dice)
    tell("recording", struck, ledgers, started)
    assert all(struck[stage] >= RECORDS // (2 * len(STAGES)) for stage in STAGES), struck


def test_the_stage_of_a_kill_is_what_is_found_on_the_disk(tmp_path: Path) -> None:
    """On a new ledger: nothing is in the log before its first commit, and the rows lag behind it until theirs."""
    dice, found = seeded(), {}
    case = Case(tmp_path / "case", dice)
    for stage in STAGES:
        case.path = case.another()
        assert killed_at(case.path, case.record, stage, 1)
        head, position = not_half(case)
        found[stage] = (min(head, 1), head - position > 0)
        whole(case, dice)
    assert found == {
        OPENING: (0, False),
        LOG: (0, False),
        LOG_COMMIT: (0, False),
        BETWEEN: (1, True),
        ROWS: (1, True),
        ROWS_COMMIT: (1, True),
        AFTER: (1, False),
    }


@pytest.mark.parametrize("rows", ["whole", "behind", "deleted", "spoilt"])
def test_rebuild_killed_at_a_numbered_effect(tmp_path: Path, rows: str) -> None:
    """Until the commit readers see what was there before, all of it; after it what the log makes."""
    dice, struck, started = seeded(), Counter[str](), time.monotonic()
    case = Case(tmp_path / "case", dice)
    counts = {stage: n for stage, n in counted(case.path, case.rebuild).items() if stage != OPENING}
    stages = cycle([ROWS, ROWS, ROWS, *counts])
    while struck.total() < REBUILDS // 4:
        prepared(case, rows)
        before = dump(case.path)
        for _ in range(dice.randrange(1, 3)):
            stage = next(stages)
            if not killed_at(case.path, case.rebuild, stage, dice.randint(1, counts[stage])):
                break  # what an earlier one had left to do had fewer effects, and is done
            struck[stage] += 1
            if stage == AFTER:
                rows_are_those_of_a_rebuild(case.path)
                before = dump(case.path)
            assert dump(case.path) == before
        command = dice.choice((case.rebuild, ("ranking",), ("verify",))) if rows != "spoilt" else case.rebuild
        assert points(case.path, *command).exit_code == 0
        rows_are_those_of_a_rebuild(case.path)
        assert entries(case.path) == case.log, "rebuilding writes nothing in the log"
    tell(f"rebuilding rows that are {rows}", struck, 1, started)
    assert struck[ROWS] >= REBUILDS // 8 and struck[ROWS_COMMIT] and struck[AFTER], struck


def prepared(case: Case, rows: str) -> None:
    """A ledger with everything recorded, whose rows are in some state."""
    points(case.path, *case.record)
    assert points(case.path, "rebuild").exit_code == 0
    read = case.path.with_suffix(".read.db")
    match rows:
        case "deleted":
            read.unlink()
        case "behind":
            with opened(case.path) as (log, store), store.writing() as connection:
                for table in (*TABLES, PROGRESS):
                    connection.execute(delete(table))
                history = History(log)
                half, library = history.ends(log.head() // 2), Library(history.published())
                for partner in history.partners():
                    if events := history.events(partner, half):
                        store.apply(connection, partner, events, library, history.ends, half)
                store.mark(connection, half)
        case "spoilt":
            with closing(sqlite3.connect(read)) as connection, connection:
                connection.execute("UPDATE lots SET exact = '51'")
                connection.execute("DELETE FROM levels")


def dump(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(Store(path.with_suffix(".read.db"))) as store:
        return store.dump()


def test_killed_at_any_time(tmp_path: Path) -> None:
    """Killed from outside, within the time that the command takes: also in the midst of a commit, where nothing can be counted."""
    dice, struck, started, ledgers = seeded(), Counter[str](), time.monotonic(), 0
    case = Case(tmp_path / "case", dice)
    seconds = duration(case)
    while struck.total() < BY_TIME:
        ledgers, case.path = ledgers + 1, case.another()
        for words in (case.record, case.record, case.rebuild):
            command = words if case.path.exists() else case.record
            if stage := killed_within(case.path, command, dice.random() * seconds):
                struck[stage] += 1
            not_half(case)
        whole(case, dice)
    tell("at any time", struck, ledgers, started)
    assert len(struck) >= 3, struck


def duration(case: Case) -> float:
    started = time.monotonic()
    assert not running(case.another(), case.record, Board()).died()
    return time.monotonic() - started


def tell(what: str, struck: Counter[str], cases: int, started: float) -> None:
    where = ", ".join(f"{struck[stage]} {stage}" for stage in STAGES if struck[stage])
    print(f"{struck.total()} kills of {cases} ledgers {what} in {time.monotonic() - started:.1f} s: {where}")


# What was told -----------------------------------------------------------------------------------------------


class Recording(Child):
    """A process that records a batch at a time, and tells each receipt once it has it."""

    def __init__(self, path: Path, inputs: Sequence[Input], size: int) -> None:
        heard, told = os.pipe()

        def work() -> int:
            with Log(path, lock_seconds=60) as log:
                intake = Intake(log, lambda: NOON)
                for batch in batches(inputs, size):
                    answers = zip(map(name, batch), map(position, intake.record(batch)), strict=True)
                    os.write(told, "".join(json.dumps(answer) + "\n" for answer in answers).encode())
            return 0

        super().__init__(work)
        os.close(told)
        self._heard = heard

    def receipts(self) -> list[tuple[list[str] | None, int]]:
        """Whole lines only: the last one may have been cut."""
        with os.fdopen(self._heard) as lines:
            return [tuple(json.loads(line)) for line in lines if line.endswith("\n")]


def batches(inputs: Sequence[Input], size: int) -> list[Sequence[Input]]:
    return [inputs[at : at + size] for at in range(0, len(inputs), size)]


def position(receipt: Accepted | Duplicate | Refused) -> int:
    match receipt:
        case Accepted(at, _) | Duplicate(at):
            return at
        case _:
            return 0


def holds(path: Path, told: Sequence[tuple[list[str] | None, int]]) -> None:
    """The log is whole, and every receipt that was told stands in it."""
    if not path.exists():
        assert not told
        return
    with Log(path) as log:
        assert log.verify() is None
        for about, at in told:
            if about is not None and at:
                filed = log.filed(*about)
                assert filed is not None and filed.position == at, f"{about} was told to be at {at}"


def test_what_was_told_stands(tmp_path: Path) -> None:
    """A receipt that was given before the kill is in the log after it; and the log ends with the bytes of a run that nobody disturbed."""
    dice, kills, ledgers = seeded(), 0, 0
    while kills < TOLD:
        ledgers += 1
        path, undisturbed, inputs = tmp_path / f"{ledgers}.db", tmp_path / f"{ledgers} undisturbed.db", history(dice, 200)
        for _ in range(8):
            child = Recording(path, inputs, dice.choice((1, 4, 16)))
            time.sleep(dice.random() * 0.06)
            kills += child.killed()
            holds(path, child.receipts())
        assert complete(path, inputs).total() == complete(undisturbed, inputs).total() == len(inputs)
        with Log(path) as log, Log(undisturbed) as other:
            assert log.tail(0, 10**6) == other.tail(0, 10**6)
            assert log.verify() is None
    print(f"{kills} kills of {ledgers} ledgers")


def complete(path: Path, inputs: Sequence[Input]) -> Counter[str]:
    """Run to the end; how many were accepted, duplicate and refused."""
    with Log(path) as log:
        intake = Intake(log, lambda: NOON)
        return Counter(type(receipt).__name__ for batch in batches(inputs, 50) for receipt in intake.record(batch))


def test_kill_one_of_two_who_record_the_same(tmp_path: Path) -> None:
    """Two at once, one killed: the other goes on, and each input is there once."""
    dice, kills, ledgers = seeded(), 0, 0
    while kills < PAIRED:
        ledgers += 1
        path, inputs = tmp_path / f"{ledgers}.db", history(dice, 200)
        Log(path).close()
        for _ in range(4):
            one, other = Recording(path, inputs, 3), Recording(path, inputs, 5)
            time.sleep(dice.random() * 0.08)
            kills += one.killed()
            time.sleep(dice.random() * 0.03)
            kills += other.killed()
            holds(path, [*one.receipts(), *other.receipts()])
        complete(path, inputs)
        with Log(path) as log:
            keys = [(sealed.event.source, sealed.event.id) for sealed in log.tail(0, 10**6) if sealed.event.source != "ledger"]
        assert len(keys) == len(set(keys))
        assert complete(path, inputs)["Accepted"] == 0
    print(f"{kills} kills of {ledgers} ledgers")
