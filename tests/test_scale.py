"""The histories that the read side is measured with: what they promise."""

import json
from collections import Counter
from itertools import chain, pairwise
from pathlib import Path

import pytest

from benchmarks.scale import Shape, fill, inserted, sizes, smaller
from benchmarks.years import BEGUN, ENDED, LATE, MOVED, REVERSED, Years
from ledger.instants import DAY, parse
from ledger.intake import Accepted, Intake
from ledger.log import Log

SHAPE = Shape(40, 60, (600,))


def test_the_door_takes_every_event_and_the_log_is_whole(tmp_path: Path) -> None:
    told, _ = fill(tmp_path / "ledger.db", SHAPE, seed=1)
    with Log(tmp_path / "ledger.db") as log:
        assert log.verify() is None
        kinds = Counter(sealed.event.kind for sealed in log.tail(0, 10_000))
        assert len(log.insert_ends(0, 10_000)) > told.events / 60
        rows = list(inserted(log))
        assert [row.position for row, _ in rows] == list(range(1, log.head() + 1))
        assert sorted({end for _, end in rows}) == log.insert_ends(0, 10_000)
        assert max(Counter(row.stream for row, _ in rows).items(), key=lambda found: found[1])[0] == "partner/P-000000"
    assert kinds.keys() >= {
        "points.sold.v1", "points.managed.v1", "points.lost.v1", "certification.earned.v1", "person.linked.v1", "person.unlinked.v1",
        "client.assigned.v1", "client.released.v1", "event.reversed.v1", "override.granted.v1", "activity.confirmed.v1",
    }  # fmt: skip


def test_many_inserts_to_a_transaction_make_the_log_that_one_to_a_transaction_makes(tmp_path: Path) -> None:
    fill(tmp_path / "many.db", SHAPE, seed=2)
    now = BEGUN
    with Log(tmp_path / "one.db", synchronous="OFF") as one, Log(tmp_path / "many.db") as many:
        intake = Intake(one, lambda: now)
        for at, batch in Years(SHAPE, 2).commits():
            now = at
            assert all(isinstance(receipt, Accepted) for receipt in intake.record(batch))
        assert one.stored(0, 10_000) == many.stored(0, 10_000)
        assert one.insert_ends(0, 10_000) == many.insert_ends(0, 10_000)


def test_the_same_seed_tells_the_same_and_another_one_something_else() -> None:
    first, again, other = (list(Years(SHAPE, seed).commits()) for seed in (3, 3, 4))
    assert first == again != other


def test_commits_come_in_order_of_time_and_the_shares_are_about_what_they_are_said_to_be() -> None:
    years = Years(Shape(200, 100), 5)
    commits = list(years.commits())
    assert years.events == pytest.approx(20_000, rel=0.05)
    assert all(one < other for (one, _), (other, _) in pairwise(commits))
    assert BEGUN < commits[0][0] < commits[-1][0] < ENDED
    ages = [at - parse(json.loads(each)["time"]) for at, batch in commits for each in batch]
    assert min(ages) >= 0
    late = sum(age > DAY for age in ages) / len(ages)
    for found, said in ((late, LATE), (years.reversed / years.events, REVERSED), (years.moved / years.events, MOVED)):
        assert 0.6 * said < found < 1.4 * said
    sold = Counter(json.loads(each)["subject"] for each in chain.from_iterable(batch for _, batch in commits))
    ordered = sorted(sold.values())
    assert ordered[len(ordered) // 2] < 70 < 300 < ordered[-1], "a few have most"


def test_smaller_ledgers_have_the_large_partners_that_fit() -> None:
    whole = Shape(100_000, 100, sizes("10000x5,200000"))
    found = smaller(whole, [10_000, 100_000, 1_000_000, 50_000_000])
    assert [shape.large for shape in found] == [(), (10_000,) * 5, (10_000,) * 5 + (200_000,)]
    assert [shape.events for shape in found] == [10_000, 100_000, 1_000_000]
