"""A larger ledger out of one that was loaded: the same years so many times over, side by side, insert by insert.

Each copy has partners, people, clients and sources of its own; the large partners are there once. It adds the ledger to the directory
of `benchmarks/scale.py`, whose stages then take it for the whole one.

    PYTHONPATH=. python benchmarks/copies.py --keep DIR --of 2 --times 10
"""

from __future__ import annotations

import argparse
import json
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import closing
from pathlib import Path
from typing import Any

from ledger.log import Entry, Log

IN_ONE_TRANSACTION = 1_000_000
CACHE_KIB = 6_000_000
"""So that what is written at random is in memory until the transaction ends."""
NAMES = re.compile(rb'"(?=[PHC]-[0-9a-f]{6}|crm/|academy|back-office)')
"""Where a name begins that each copy has for itself; a cause begins with the name of a source."""

Insert = tuple[int, list[tuple[str, str, bytes, str, str, int]]]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--keep", type=Path, required=True)
    options.add_argument("--of", type=int, required=True, help="the number of the ledger in the directory")
    options.add_argument("--times", type=int, default=10)
    asked = options.parse_args()
    loaded = json.loads((asked.keep / "loaded.json").read_text())
    partners, mean, sizes = loaded["shapes"][asked.of]
    large = {f"partner/P-{n:06}" for n in range(len(sizes))}
    path = asked.keep / str(len(loaded["shapes"])) / "ledger.db"
    path.parent.mkdir(exist_ok=True)
    for old in path.parent.iterdir():
        old.unlink()
    sqlite3.connect = _with_cache
    started = time.perf_counter()
    with closing(sqlite3.connect(asked.keep / str(asked.of) / "ledger.db")) as source, Log(path, synchronous="OFF") as log:
        told = inserts(source)
        going = True
        while going:
            going = False
            with log.writing() as writing:
                first = writing.head
                for recorded_at, entries in told:
                    for n in range(asked.times):
                        copied = entries if n == 0 else without(entries, large)
                        writing.append([renamed(entry, n) for entry in copied], recorded_at=recorded_at)
                    if writing.head - first >= IN_ONE_TRANSACTION:
                        going = True
                        break
        head = log.head()
    seconds = time.perf_counter() - started
    loaded["shapes"].append([(partners - len(sizes)) * asked.times + len(sizes), mean, sizes])
    (asked.keep / "loaded.json").write_text(json.dumps(loaded))
    size, many = path.stat().st_size / 2**20, loaded["shapes"][-1][0]
    print(f"{head:,} rows of {many:,} partners in {seconds:.0f} s, {head / seconds:,.0f} rows/s, {size:,.0f} MiB")


_connect = sqlite3.connect


def _with_cache(*args: Any, **options: Any) -> sqlite3.Connection:
    connection = _connect(*args, **options)
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return connection


def inserts(source: sqlite3.Connection) -> Iterator[Insert]:
    """What was recorded at once, with when."""
    ends = source.execute("SELECT position, recorded_at FROM inserts ORDER BY position")
    receipts = source.execute("SELECT source, id, position, row_count FROM receipts ORDER BY position")
    rows = source.execute("SELECT rowid, originator_id, topic, state FROM stored_events ORDER BY rowid")
    receipt = next(receipts, None)
    for end, recorded_at in ends:
        entries: list[Entry] = []
        for position, stream, kind, state in rows:
            name, id, count = "", "", 0
            if receipt is not None and receipt[2] == position:
                name, id, _, count = receipt
                receipt = next(receipts, None)
            entries.append((stream, kind, state[72:], name, id, count))
            if position == end:
                break
        yield recorded_at, entries


def without(entries: Sequence[Entry], streams: Set[str]) -> list[Entry]:
    """What was said of some partners left out, with all that it brought."""
    kept: list[Entry] = []
    first = 0
    while first < len(entries):
        last = first + entries[first][5]
        if not any(entry[0] in streams for entry in entries[first:last]):
            kept += entries[first:last]
        first = last
    return kept


def renamed(entry: Entry, n: int) -> Entry:
    stream, kind, body, source, id, count = entry
    of, _, name = stream.partition("/")
    return f"{of}/{n}{name}", kind, NAMES.sub(b'"%d' % n, body), f"{n}{source}" if source else "", id, count


if __name__ == "__main__":
    main()
