"""How fast are events decoded? Ways of reading the same sales, in one run, as ratios within a round.

floor    `msgspec.json.decode` of the same bytes into plain dicts: nothing is checked, nothing is written
decode   bytes of another system to an event: checked whole, with its canonical bytes
read     the ledger's own canonical bytes to an event, trusted
judge    the pydantic catalogue's verdict on the same bytes, which `decode` asks for only where it is in doubt
pydantic the catalogue's validation alone, without canonical bytes or event

Events are decoded in batches of 1,000, each kept until it is whole, as the door does; the garbage collector is on.

    python benchmarks/decode.py --events 20000 --rounds 9
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import msgspec
from record import BATCH, sales

from ledger.events.catalogue import EVENTS
from ledger.events.envelope import Event, decode, judge, read

SALE = EVENTS["points.sold.v1"].model_validate_json


def microseconds(way: Callable[[bytes], object], items: Sequence[bytes]) -> float:
    """Per event."""
    batches = [items[at : at + BATCH] for at in range(0, len(items), BATCH)]
    gc.collect()
    started = time.perf_counter()
    for batch in batches:
        [way(item) for item in batch]
    return (time.perf_counter() - started) / len(items) * 1_000_000


def measure(raw: Sequence[bytes], bodies: Sequence[bytes]) -> dict[str, float]:
    """One round."""
    return {
        "floor": microseconds(msgspec.json.decode, raw),
        "decode": microseconds(decode, raw),
        "read": microseconds(read, bodies),
        "judge": microseconds(judge, raw),
        "pydantic": microseconds(SALE, raw),
    }


def report(rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    return {
        "microseconds": {way: round(median(found[way] for found in rounds), 2) for way in rounds[0]},
        "decode_to_floor": round(median(found["decode"] / found["floor"] for found in rounds), 2),
        "read_to_floor": round(median(found["read"] / found["floor"] for found in rounds), 2),
        "judge_to_decode": round(median(found["judge"] / found["decode"] for found in rounds), 2),
        "pydantic_to_decode": round(median(found["pydantic"] / found["decode"] for found in rounds), 2),
    }


def canonical(raw: bytes) -> bytes:
    event = decode(raw)
    assert isinstance(event, Event), event
    assert judge(raw) == read(event.body) == event
    return event.body


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    raw = sales(options.events, 1000, options.seed)
    bodies = [canonical(one) for one in raw]  # all ways are warm, and say the same
    found = report([measure(raw, bodies) for _ in range(options.rounds)])
    for way, spent in found["microseconds"].items():
        print(f"{way:>9} {spent:>6.2f} microseconds an event", file=sys.stderr)
    print(json.dumps(found | {"events": options.events, "rounds": options.rounds, "seed": options.seed}))


if __name__ == "__main__":
    main()
