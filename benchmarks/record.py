"""How fast is the door? Three ways to make the same events durable, in one run, as ratios within a round.

door          CloudEvents as bytes in, validated, sealed, deduplicated for ever, 1,000 a transaction (`Intake.record_all`)
record        the same by `Intake.record`, which is given the next batch when it has answered the one before
executemany   the very rows that the door made, with plain sqlite3 into the same schema, the same transaction size and sync;
              on PostgreSQL with plain psycopg, each table's rows as arrays in one statement (`unnest`), which is faster there
save          `eventsourcing.Application.save` of 1,000 events at a time; the events are made before the clock starts

All write with WAL and synchronous=FULL, or with --postgres to a server of its own, every commit forced to the disk. Two more lines
tell where the door's time goes: decoding alone, and a second delivery of everything (all duplicates).

    PYTHONPATH=. python benchmarks/record.py --events 50000 --rounds 7
    PYTHONPATH=. python benchmarks/record.py --events 50000 --rounds 7 --postgres
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from psycopg.conninfo import conninfo_to_dict

from benchmarks import servers
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


def door(path: Path | str, raw: Sequence[bytes], expected: type) -> float:
    with Log(path) as log:
        intake = Intake(log)

        def work() -> None:
            for receipts in intake.record_all(batches(raw)):
                assert all(type(receipt) is expected for receipt in receipts)

        return timed(work)


def one_by_one(path: Path | str, raw: Sequence[bytes]) -> float:
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


def unnest(url: str, made_by_door: str) -> float:
    """The same on PostgreSQL."""
    with closing(psycopg.connect(made_by_door)) as made:
        events = made.execute(f"SELECT {', '.join(COLUMNS)} FROM stored_events ORDER BY notification_id").fetchall()
        receipts = made.execute("SELECT source, id, position, row_count FROM receipts ORDER BY position").fetchall()
    Log(url).close()
    into_events = (
        f"INSERT INTO stored_events ({', '.join(COLUMNS)}) "
        "SELECT * FROM unnest(%b::bigint[], %b::text[], %b::bigint[], %b::text[], %b::bytea[])"
    )
    into_receipts = "INSERT INTO receipts SELECT * FROM unnest(%b::text[], %b::text[], %b::bigint[], %b::bigint[])"
    pairs = [
        ([list(column) for column in zip(*some_events, strict=True)], [list(column) for column in zip(*some_receipts, strict=True)])
        for some_events, some_receipts in zip(batches(events), batches(receipts), strict=True)
    ]
    with closing(psycopg.connect(url)) as bare:

        def work() -> None:
            for some_events, some_receipts in pairs:
                with bare.transaction():
                    bare.execute(into_receipts, some_receipts, prepare=True)
                    bare.execute(into_events, some_events, prepare=True)

        return timed(work)


COLUMNS = ("notification_id", "originator_id", "originator_version", "topic", "state")


class Partner(Aggregate):
    """What the library's own way needs to keep the same data."""

    @event("Sold")
    def sold(self, id: str, source: str, at: str, data: dict[str, str]) -> None:
        pass


def sqlite_env(path: Path) -> dict[str, str]:
    return {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)}


def postgres_env(url: str) -> dict[str, str]:
    found = conninfo_to_dict(url)
    names = ("dbname", "host", "port", "user", "password")
    return {"PERSISTENCE_MODULE": "eventsourcing.postgres", **{f"POSTGRES_{name.upper()}": str(found.get(name) or "") for name in names}}


def save(env: Mapping[str, str], raw: Sequence[bytes]) -> float:
    """The partners' events of each batch, made beforehand; only `save` is timed."""
    app: Application[Any] = Application(env=env)
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
            "save": save(sqlite_env(where / "save.db"), raw),
            "decoding": decoding(raw),
            "duplicates": door(where / "door.db", raw, Duplicate),
        }


def measure_on(server: str, raw: Sequence[bytes]) -> dict[str, float]:
    """The same on fresh databases of a PostgreSQL."""
    with ExitStack() as stack:
        by_door, bare, by_record, saved = (stack.enter_context(servers.database(server)) for _ in range(4))
        for url in (by_door, by_record):
            Log(url).close()
        return {
            "door": door(by_door, raw, Accepted),
            "unnest": unnest(bare, by_door),
            "record": one_by_one(by_record, raw),
            "save": save(postgres_env(saved), raw),
            "decoding": decoding(raw),
            "duplicates": door(by_door, raw, Duplicate),
        }


def report(rounds: Sequence[dict[str, float]], count: int) -> dict[str, Any]:
    rates = {name: round(count / median(r[name] for r in rounds)) for name in rounds[0]}
    bare = "unnest" if "unnest" in rates else "executemany"
    return {
        "events": count,
        "rounds": len(rounds),
        "events_per_second": rates,
        **{
            f"{ours}_to_{theirs}": round(median(r[theirs] / r[ours] for r in rounds), 3)
            for ours in ("door", "record") for theirs in (bare, "save")
        },
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--partners", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="JSON alone, without the table")
    parser.add_argument("--postgres", nargs="?", const="", metavar="URL", help="on PostgreSQL: one of its own, or that of a URL")
    options = parser.parse_args()
    raw = sales(options.events, options.partners, options.seed)
    with ExitStack() as stack:
        if options.postgres is None:
            once, targets = measure, {"door_to_executemany": 0.6, "door_to_save": 1.5}
        else:
            server = stack.enter_context(servers.postgres(options.postgres))
            once, targets = partial(measure_on, server), {"record_to_unnest": 0.333, "record_to_save": 2}
        once(raw[: 5 * BATCH])  # imports and caches are warm before the first round
        found = report([once(raw) for _ in range(options.rounds)], len(raw))
    found |= {"seed": options.seed, "machine": servers.machine()}
    if not options.json:
        for name, rate in found["events_per_second"].items():
            print(f"{name:>12} {rate:>9,} events/s", file=sys.stderr)
        for name in [name for name in found if "_to_" in name]:
            target = f"   (target {targets[name]})" if name in targets else ""
            print(f"{name.replace('_to_', ' / '):>20} {found[name]}{target}", file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
