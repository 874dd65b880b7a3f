"""Histories to measure with: HubSpot partners, each with people, clients, managed credit, work and sales over three years."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ledger.instants import parse
from ledger.intake import Accepted, Intake
from ledger.log import Log

DAY_SECONDS = 86_400
SINCE = 1_656_633_600  # 2022-07-01
DAYS = 1_095
LINES = ("marketing", "sales", "service", "content", "operations", "commerce")
COUNTRIES = ("US", "DE", "IN", "BR", "JP", "GB")


def partner_story(dice: random.Random, partner: str, events: int) -> list[dict[str, Any]]:
    """`events` CloudEvents of one partner in order of effective time: about two thirds are sales."""
    told: list[tuple[int, dict[str, Any]]] = []

    def say(day: float, kind: str, **data: Any) -> None:
        second = SINCE + int(day * DAY_SECONDS)
        told.append((second, {"type": kind, "data": data}))

    say(0, "partner.enrolled.v1", programme="hubspot", country=dice.choice(COUNTRIES))
    people = [f"{partner}-H{n}" for n in range(2)]
    clients = [f"{partner}-C{n}" for n in range(max(3, events // 30))]
    for person in people:
        say(dice.uniform(0, 9), "person.linked.v1", person=person)
        for earned in (10, 400, 800):
            say(earned + dice.uniform(0, 9), "certification.earned.v1", person=person, code="solutions-partner", valid_until="2025-06-30")
    for client in clients:
        begun = dice.uniform(10, 300)
        say(begun, "client.assigned.v1", client=client, country=dice.choice(COUNTRIES), person=people[0])
        say(begun, "client.user_added.v1", client=client, person=people[0])
        say(begun, "points.managed.v1", client=client, mrr=f"{dice.randrange(200, 2000)}.00", currency="USD", servicing_partners=1)
        for _ in range(4):
            say(dice.uniform(begun, DAYS), "client.worked_on.v1", client=client, person=people[0])
        say(dice.uniform(begun, DAYS), "metric.measured.v1", metric="apps_used", value=str(dice.randrange(1, 9)), client=client)
    while len(told) < events:
        amount = f"{dice.randrange(100, 300_000) / 100:.2f}"
        more = {"deal_type": "assisted"} if dice.random() < 0.3 else {}
        client, line = dice.choice(clients), dice.choice(LINES)
        say(dice.uniform(20, DAYS), "points.sold.v1", client=client, line=line, amount=amount, currency="USD", **more)
    told.sort(key=lambda one: one[0])
    return [
        {
            "specversion": "1.0", "id": f"{partner}-{n}", "source": "crm/deals", "subject": partner,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second)), **event,
        }
        for n, (second, event) in enumerate(told[:events])
    ]  # fmt: skip


def build(path: Path, partners: int, events_each: int, seed: int) -> int:
    """A ledger of so many partners, recorded a partner at a time, after all of it has happened."""
    dice = random.Random(seed)
    now = parse("2025-07-01")
    with Log(path) as log:
        intake = Intake(log, lambda: now)
        for receipts in intake.record_all(_batches(dice, partners, events_each)):
            assert all(isinstance(receipt, Accepted) for receipt in receipts), receipts
        return log.head()


def _batches(dice: random.Random, partners: int, events_each: int) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for n in range(partners):
        batch += [json.dumps(one).encode() for one in partner_story(dice, f"P-{n:05}", events_each)]
        if len(batch) >= 1000:
            yield batch
            batch = []
    if batch:
        yield batch
