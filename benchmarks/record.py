"""How fast is the door? Three ways to make the same events durable, in one run, as ratios within a round.

door          CloudEvents as bytes in, validated, sealed, deduplicated for ever, 1,000 a transaction (`Intake.record_all`)
record        the same by `Intake.record`, which is given the next batch when it has answered the one before
executemany   the very rows that the door made, with plain sqlite3 into the same schema, the same transaction size and sync
save          `eventsourcing.Application.save` of 1,000 events at a time; the events are made before the clock starts

All write with WAL and synchronous=FULL. Two more lines tell where the door's time goes: decoding alone, and a second
delivery of everything (all duplicates).

    python benchmarks/record.py --events 50000 --rounds 7
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from ledger.events.envelope import decode
from ledger.intake import Accepted, Duplicate, Intake
from ledger.log import Log
from ledger.log_sqlite import LogDatastore, LogRecorder

BATCH = 1000
SECOND_OF_2024 = 1_704_067_200


def sales(count: int, partners: int, seed: int) -> list[bytes]:
    """CloudEvents as another system would write them: not canonical, ids at random."""
    dice = random.Random(seed)
    return [_sale(dice, partners) for _ in range(count)]


def _sale(dice: random.Random, partners: int) -> bytes:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(SECOND_OF_2024 + dice.randrange(31_536_000)))
    data = {
        "client": f"C-{dice.randrange(20_000)}",
        "line": dice.choice(("marketing-hub", "sales-hub", "service-hub")),
        "amount": f"{dice.randrange(1, 500_000) / 100:.2f}",
        "currency": dice.choice(("USD", "EUR", "GBP")),
        "deal_type": dice.choice(("sourced", "assisted")),
        "deal": f"D-{dice.randrange(10**9)}",
    }
    attributes = {
        "specversion": "1.0",
        "id": f"{dice.getrandbits(64):016x}",
        "source": "crm/deals",
        "type": "points.sold.v1",
        "subject": f"P-{dice.randrange(partners)}",
        "time": at,
        "data": data,
    }
    return json.dumps(attributes).encode()


def batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[at : at + BATCH] for at in range(0, len(items), BATCH))


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def door(path: Path, raw: Sequence[bytes], expected: type) -> float:
    with Log(path) as log:
        intake = Intake(log)

        def work() -> None:
            for receipts in intake.record_all(batches(raw)):
                assert all(type(receipt) is expected for receipt in receipts)

        return timed(work)


def one_by_one(path: Path, raw: Sequence[bytes]) -> float:
    """The same door, each batch answered before the next one is read."""
    with Log(path) as log:
        intake = Intake(log)
        return timed(lambda: [intake.record(batch) for batch in batches(raw)])


def executemany(path: Path, made_by_door: Path) -> float:
    """The rows that the door made, read back and written again with nothing in between."""
    with sqlite3.connect(made_by_door) as made:
        events = made.execute("SELECT rowid, originator_id, originator_version, topic, state FROM stored_events ORDER BY rowid").fetchall()
        receipts = made.execute("SELECT source, id, position, row_count FROM receipts ORDER BY position").fetchall()
    made.close()
    datastore = LogDatastore(str(path))
    LogRecorder(datastore).create_table()
    datastore.close()
    bare = sqlite3.connect(path, isolation_level=None)
    bare.execute("PRAGMA synchronous=FULL")
    pairs = list(zip(batches(events), batches(receipts), strict=True))

    def work() -> None:
        for some_events, some_receipts in pairs:
            bare.execute("BEGIN IMMEDIATE")
            bare.executemany("INSERT INTO receipts VALUES (?,?,?,?)", some_receipts)
            bare.executemany("INSERT INTO stored_events VALUES (?,?,?,?,?)", some_events)
            bare.execute("COMMIT")

    seconds = timed(work)
    bare.close()
    return seconds


class Partner(Aggregate):
    """What the library's own way needs to keep the same data."""

    @event("Sold")
    def sold(self, id: str, source: str, at: str, data: dict[str, str]) -> None:
        pass


def save(path: Path, raw: Sequence[bytes]) -> float:
    """The partners' events of each batch, made beforehand; only `save` is timed."""
    app: Application[Any] = Application(env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)})
    partners: dict[str, Partner] = {}
    seconds = 0.0
    for batch in batches(raw):
        touched: dict[str, Partner] = {}
        for one in map(json.loads, batch):
            partner = partners.get(one["subject"]) or partners.setdefault(one["subject"], Partner())
            partner.sold(one["id"], one["source"], one["time"], one["data"])
            touched[one["subject"]] = partner
        seconds += timed(lambda touched=touched: app.save(*touched.values()))  # type: ignore[misc]
    app.close()
    return seconds


def decoding(raw: Sequence[bytes]) -> float:
    return timed(lambda: [decode(one) for one in raw])


def measure(raw: Sequence[bytes]) -> dict[str, float]:
    """One round: seconds of each way, on fresh files in one directory."""
    with tempfile.TemporaryDirectory() as directory:
        where = Path(directory)
        return {
            "door": door(where / "door.db", raw, Accepted),
            "executemany": executemany(where / "bare.db", where / "door.db"),
            "record": one_by_one(where / "record.db", raw),
            "save": save(where / "save.db", raw),
            "decoding": decoding(raw),
            "duplicates": door(where / "door.db", raw, Duplicate),
        }


def report(rounds: Sequence[dict[str, float]], count: int) -> dict[str, Any]:
    rates = {name: round(count / median(r[name] for r in rounds)) for name in rounds[0]}
    return {
        "events": count,
        "rounds": len(rounds),
        "events_per_second": rates,
        "door_to_executemany": round(median(r["executemany"] / r["door"] for r in rounds), 3),
        "door_to_save": round(median(r["save"] / r["door"] for r in rounds), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--partners", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="JSON alone, without the table")
    options = parser.parse_args()
    raw = sales(options.events, options.partners, options.seed)
    measure(raw[: 5 * BATCH])  # imports and caches are warm before the first round
    found = report([measure(raw) for _ in range(options.rounds)], len(raw)) | {"seed": options.seed}
    if not options.json:
        for name, rate in found["events_per_second"].items():
            print(f"{name:>12} {rate:>9,} events/s", file=sys.stderr)
        print(f"door / executemany {found['door_to_executemany']}   (target 0.6)", file=sys.stderr)
        print(f"door / save        {found['door_to_save']}   (target 1.5)", file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
