"""What every log keeps, whatever database it is on. A backend joins with a subclass that says how one is opened."""

from __future__ import annotations

import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.errors import NotFound
from ledger.events.envelope import event
from ledger.instants import BEGINNING, Instant
from ledger.log import GENESIS, Entry, Filed, Log, seal
from ledger.log_database import Taken

NOON: Instant = 1_700_000_000_000_000


def claim(partner: str, id: str, *, rows: int = 1, source: str = "crm") -> Entry:
    """An input of one row: a claim in a partner's stream."""
    made = event("activity.claimed.v1", subject=partner, effective_at="2024-03-01", id=id, source=source, activity="article")
    return (f"partner/{partner}", made.kind, made.body, source, id, rows)


def copied(partner: str, id: str) -> Entry:
    """A derived row of the input before it."""
    stream, kind, body, *_ = claim(partner, id, source="ledger")
    return (stream, kind, body, "", "", 0)


class LogContract(ABC):
    """One contract for every backend."""

    @abstractmethod
    def open_log(self, where: Path | str) -> Log:
        """A log at a place: made the first time, opened again after that."""

    @pytest.fixture
    def where(self, tmp_path: Path) -> Path | str:
        return tmp_path / "ledger.db"

    @pytest.fixture
    def log(self, where: Path | str) -> Iterator[Log]:
        log = self.open_log(where)
        yield log
        log.close()

    def test_an_empty_log(self, log: Log) -> None:
        assert log.head() == 0
        assert log.tail() == []
        assert log.streams() == []
        assert log.history("partner/P-1") == []
        assert log.position_at(NOON) == 0
        assert log.filed("crm", "1") is None
        assert log.verify() is None
        with pytest.raises(NotFound):
            log.get(1)
        with pytest.raises(NotFound):
            log.recorded_at(1)

    def test_positions_and_versions_have_no_gaps(self, log: Log) -> None:
        assert log.append([claim("P-1", "1"), claim("P-2", "2"), claim("P-1", "3")], recorded_at=NOON) == range(1, 4)
        assert log.append([claim("P-2", "4")], recorded_at=NOON + 5) == range(4, 5)
        assert [(s.position, s.stream, s.version) for s in log.tail()] == [
            (1, "partner/P-1", 1),
            (2, "partner/P-2", 1),
            (3, "partner/P-1", 2),
            (4, "partner/P-2", 2),
        ]
        assert log.head() == 4
        assert log.streams() == ["partner/P-1", "partner/P-2"]
        assert log.verify() is None

    def test_appending_nothing_changes_nothing(self, log: Log) -> None:
        assert list(log.append([], recorded_at=NOON)) == []
        assert (log.head(), log.position_at(NOON)) == (0, 0)

    def test_an_event_comes_back_as_it_was(self, log: Log) -> None:
        entry = claim("P-1", "1")
        log.append([entry], recorded_at=NOON)
        found = log.get(1)
        assert found.event.body == entry[2]
        assert (found.recorded_at, found.previous) == (NOON, GENESIS)
        assert found.hash == seal(GENESIS, "partner/P-1", 1, NOON, entry[2])

    def test_each_hash_covers_the_one_before_it_in_its_stream(self, log: Log) -> None:
        log.append([claim("P-1", "1"), claim("P-2", "2"), claim("P-1", "3")], recorded_at=NOON)
        first, other, second = log.tail()
        assert other.previous == GENESIS
        assert second.previous == first.hash
        assert second.hash == seal(first.hash, "partner/P-1", 2, NOON, second.event.body)

    def test_tail_pages(self, log: Log) -> None:
        log.append([claim("P-1", str(n)) for n in range(10)], recorded_at=NOON)
        assert [s.position for s in log.tail(3, 4)] == [4, 5, 6, 7]
        assert [s.position for s in log.tail(9, 4)] == [10]
        assert log.tail(10, 4) == []

    def test_history_of_a_stream_up_to_a_position_after_a_version_and_by_kind(self, log: Log) -> None:
        log.append([claim("P-1", "1"), claim("P-2", "2"), claim("P-1", "3"), claim("P-1", "4")], recorded_at=NOON)
        assert [s.position for s in log.history("partner/P-1")] == [1, 3, 4]
        assert [s.position for s in log.history("partner/P-1", until_position=3)] == [1, 3]
        assert [s.position for s in log.history("partner/P-1", after_version=1)] == [3, 4]
        assert [s.position for s in log.history("partner/P-1", kinds=["activity.claimed.v1"])] == [1, 3, 4]
        assert log.history("partner/P-1", kinds=["points.sold.v1"]) == []
        assert log.history("partner/P") == []

    def test_streams_by_prefix(self, log: Log) -> None:
        log.append([claim("P-2", "1"), claim("P-1", "2"), ("person/X", *claim("X", "3")[1:])], recorded_at=NOON)
        assert log.streams("partner/") == ["partner/P-1", "partner/P-2"]
        assert log.streams() == ["partner/P-1", "partner/P-2", "person/X"]

    def test_sizes_by_prefix(self, log: Log) -> None:
        log.append([claim("P-2", "1"), claim("P-1", "2"), ("person/X", *claim("X", "3")[1:]), claim("P-2", "4")], recorded_at=NOON)
        assert log.sizes("partner/") == {"partner/P-1": 1, "partner/P-2": 2}
        assert log.sizes() == {"partner/P-1": 1, "partner/P-2": 2, "person/X": 1}

    def test_an_id_is_taken_for_ever_and_nothing_of_the_batch_is_written(self, where: Path | str) -> None:
        log = self.open_log(where)
        log.append([claim("P-1", "1")], recorded_at=NOON)
        log.close()
        again = self.open_log(where)
        with pytest.raises(Taken):
            again.append([claim("P-1", "2"), claim("P-1", "3"), claim("P-9", "1")], recorded_at=NOON)
        assert again.head() == 1
        assert again.filed("crm", "2") is None
        assert again.verify() is None
        again.close()

    def test_after_a_taken_id_the_writing_goes_on(self, log: Log) -> None:
        log.append([claim("P-1", "1")], recorded_at=NOON)
        with log.writing() as writing:
            with pytest.raises(Taken):
                writing.append([claim("P-1", "2"), claim("P-1", "1")], recorded_at=NOON)
            assert writing.append([claim("P-1", "2")], recorded_at=NOON) == range(2, 3)
        assert [s.event.id for s in log.tail()] == ["1", "2"]
        assert log.verify() is None

    @pytest.mark.parametrize("place", [0, 124, 125, 126, 299])
    def test_a_taken_id_deep_in_a_batch_leaves_no_receipt(self, log: Log, place: int) -> None:
        log.append([claim("P-1", "taken")], recorded_at=NOON)
        batch = [claim("P-1", str(n)) for n in range(300)]
        with log.writing() as writing:
            with pytest.raises(Taken):
                writing.append([*batch[:place], claim("P-2", "taken"), *batch[place:]], recorded_at=NOON)
            assert all(writing.filed("crm", str(n)) is None for n in range(300))
            assert writing.append(batch, recorded_at=NOON) == range(2, 302)
        assert [s.event.id for s in log.tail()] == ["taken", *map(str, range(300))]
        assert log.verify() is None

    def test_receipts_count_the_rows_of_an_input(self, log: Log) -> None:
        log.append([claim("P-1", "1", rows=3), copied("P-2", "a"), copied("P-3", "b"), claim("P-1", "2")], recorded_at=NOON)
        assert log.filed("crm", "1") == Filed(1, 3)
        assert log.filed("crm", "2") == Filed(4, 1)
        assert log.filed("ledger", "a") is None
        assert log.verify() is None

    def test_the_same_id_of_another_source_is_another_input(self, log: Log) -> None:
        log.append([claim("P-1", "1"), claim("P-1", "1", source="erp")], recorded_at=NOON)
        assert log.filed("erp", "1") == Filed(2, 1)

    def test_what_was_known_when(self, log: Log) -> None:
        log.append([claim("P-1", "1"), claim("P-1", "2")], recorded_at=NOON)
        log.append([claim("P-1", "3")], recorded_at=NOON)
        log.append([claim("P-1", "4")], recorded_at=NOON + 10)
        assert [log.position_at(NOON + at) for at in (-1, 0, 9, 10, 99)] == [0, 3, 3, 4, 4]
        assert [log.recorded_at(position) for position in (1, 3, 4)] == [NOON, NOON, NOON + 10]

    def test_recorded_time_never_runs_backwards(self, log: Log) -> None:
        log.append([claim("P-1", "1")], recorded_at=NOON)
        with pytest.raises(AssertionError):
            log.append([claim("P-1", "2")], recorded_at=NOON - 1)
        assert log.head() == 1

    def test_the_writer_knows_the_last_position_and_time(self, log: Log) -> None:
        with log.writing() as writing:
            assert (writing.head, writing.recorded_at) == (0, BEGINNING)
            writing.append([claim("P-1", "1")], recorded_at=NOON)
            assert (writing.head, writing.recorded_at, writing.version("partner/P-1")) == (1, NOON, 1)
            assert writing.version("partner/P-2") == 0
            found = writing.filed("crm", "1")
            assert found is not None and found[1] == claim("P-1", "1")[2]

    def test_an_error_leaves_nothing_behind(self, log: Log) -> None:
        log.append([claim("P-1", "1")], recorded_at=NOON)
        with pytest.raises(ZeroDivisionError), log.writing() as writing:
            writing.append([claim("P-1", "2")], recorded_at=NOON)
            raise ZeroDivisionError
        assert log.head() == 1
        log.append([claim("P-1", "2")], recorded_at=NOON)
        assert [s.version for s in log.tail()] == [1, 2]
        assert log.verify() is None

    def test_two_writers_that_take_turns(self, where: Path | str) -> None:
        one, other = self.open_log(where), self.open_log(where)
        for n in range(6):
            (one, other)[n % 2].append([claim("P-1", str(n)), claim(f"P-{n}", f"{n}'")], recorded_at=NOON + n)
        assert one.tail() == other.tail()
        assert one.verify() is None
        one.close()
        other.close()

    def test_the_order_of_positions_is_the_order_of_commits(self, where: Path | str) -> None:
        """Four writers at once; a reader that follows the tail never misses a row that comes later."""
        logs = [self.open_log(where) for _ in range(2)]
        work = [threading.Thread(target=_write, args=(logs[n % 2], n)) for n in range(4)]
        reader, seen = self.open_log(where), 0
        for thread in work:
            thread.start()
        while seen < 4 * 25 * 3:
            page = reader.tail(seen, 50)
            assert [s.position for s in page] == list(range(seen + 1, seen + 1 + len(page)))
            seen += len(page)
        for thread in work:
            thread.join()
        assert reader.verify() is None
        for log in (*logs, reader):
            log.close()

    def test_random_batches_make_a_whole_log(self, log: Log) -> None:
        seed = random.randrange(10**6)
        print(f"seed {seed}")
        dice, made = random.Random(seed), 0
        for batch in range(20):
            entries = [claim(f"P-{dice.randrange(5)}", str(made + n)) for n in range(dice.randrange(1, 40))]
            made += len(entries)
            log.append(entries, recorded_at=NOON + batch // 2)
        assert log.head() == made
        assert sum(len(log.history(stream)) for stream in log.streams()) == made
        assert log.verify() is None


def _write(log: Log, writer: int) -> None:
    for n in range(25):
        log.append([claim(f"P-{writer}", f"{writer} {n} {m}") for m in range(3)], recorded_at=NOON)
