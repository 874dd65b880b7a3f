"""The demo: several years of some dozens of partners of an invented market, the same every time.

It is made of events alone and goes through the door like everything else; the door's clock is turned to the days of the story.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Protocol

from ledger.directory import Directory, Entry
from ledger.events.envelope import Event, Sealed, event
from ledger.instants import DAY, Instant, day_text, parse
from ledger.intake import Accepted, Intake
from ledger.log import Log

SEED = 20260630
FIRST = parse("2022-09-01")
TODAY = parse("2026-06-30")
SOURCE = "demo"
PARTNERS = 36
LATE = "sale-late"
"""The id of the sale that was told two months late."""
TOLD_LATE = "P-05"
"""Whose sale that is."""
AT_RISK = "P-28"
"""Who holds its tier today, and loses it by lots that are known to end."""

_LINES = ("marketing", "sales", "service", "content", "operations")
_COUNTRIES = ("US", "DE", "GB", "NL", "FR", "IN", "SG", "BR", "MX", "CA")
_CURRENCIES = {"DE": "EUR", "NL": "EUR", "FR": "EUR", "GB": "GBP", "SG": "SGD", "CA": "CAD"}

Story = tuple[Instant, Event]  # when it is recorded, what


class _Teller:
    """Tells one partner's story; every number comes from the seed."""

    def __init__(self, random: Random, number: int) -> None:
        self.random = random
        self.partner = f"P-{number:02}"
        self.size = random.choice((1, 1, 2, 2, 4, 8))
        self.begins = FIRST + random.randrange(0, 500) * DAY
        self.ends = TODAY - random.choice((0, 0, 0, 0, 200, 330)) * DAY
        self.person = f"H-{number:02}"
        self.told = 0

    def say(self, kind: str, at: Instant, *, late: int = 0, **data: object) -> Story:
        self.told += 1
        made = event(kind, subject=self.partner, effective_at=at, id=f"{self.partner}-{self.told:04}", source=SOURCE, **data)
        return max(at, FIRST) + late * DAY + 3_600_000_000, made

    def story(self) -> Iterator[Story]:
        country = self.random.choice(_COUNTRIES)
        yield self.say("partner.enrolled.v1", self.begins, programme="hubspot", country=country)
        yield self.say("contact.assigned.v1", self.begins, contact="K-1", role="channel_account_manager", duties="growth plan and reviews")
        yield self.say("contact.assigned.v1", self.begins, contact="K-2", role="channel_consultant", duties="onboarding and enablement")
        yield self.say("person.linked.v1", self.begins, person=self.person, role="consultant")
        yield from self._certificates()
        for n in range(1, 2 + self.size):
            yield from self._client(f"{self.partner}-C{n}", self.random.choice((country, self.random.choice(_COUNTRIES))))

    def _certificates(self) -> Iterator[Story]:
        at = self.begins
        while at < self.ends:
            until = day_text(at + 395 * DAY)
            yield self.say("certification.earned.v1", at, person=self.person, code="solutions-partner", valid_until=until)
            at += self.random.randrange(360, 392) * DAY

    def _client(self, client: str, country: str) -> Iterator[Story]:
        since = self.begins + self.random.randrange(0, 300) * DAY
        currency = _CURRENCIES.get(country, "USD")
        yield self.say("client.assigned.v1", since, client=client, country=country, person=self.person)
        yield self.say("client.user_added.v1", since, client=client, person=self.person)
        mrr, at, lines = 0, since, self.random.sample(_LINES, 3)
        while at < self.ends:
            line = self.random.choice(lines)
            added = self.random.randrange(4, 30) * 25 * self.size
            mrr += added
            deal = self.random.choice(("sourced", "sourced", "assisted"))
            yield self.say(
                "points.sold.v1", at, late=self.random.choice((0, 0, 0, 0, 0, 9)), client=client, line=line,
                amount=f"{added}.00", currency=currency, deal_type=deal,
            )  # fmt: skip
            yield from self._subscription(client, line, at, mrr, currency)
            if self.random.random() < 0.12:
                back = self.random.randrange(1, 4) * 25 * self.size
                mrr -= back
                soon = at + self.random.randrange(10, 90) * DAY
                yield self.say("points.sold.v1", soon, client=client, line=line, amount=f"-{back}.00", currency=currency, deal_type=deal)
            yield from self._work(client, at)
            at += self.random.randrange(70, 230) * DAY
        if self.random.random() < 0.15:
            yield self.say("client.released.v1", min(at, TODAY - 20 * DAY), client=client)

    def _subscription(self, client: str, line: str, at: Instant, mrr: int, currency: str) -> Iterator[Story]:
        subscription = f"{client}-{line}"
        yield self.say(
            "client.subscription_started.v1", at, client=client, subscription=subscription, line=line, edition="professional",
            mrr=f"{mrr}.00", currency=currency, apps=self.random.randrange(1, 9),
        )  # fmt: skip
        yield self.say("points.managed.v1", at, client=client, mrr=f"{mrr}.00", currency=currency)
        yield self.say("metric.measured.v1", at, metric="apps_used", value=str(self.random.randrange(1, 9)), client=client)
        yield self.say("metric.measured.v1", at, metric="engagement_index", value=str(self.random.randrange(20, 99)), client=client)
        renews = at + 365 * DAY
        yield self.say(
            "renewal.scheduled.v1", at, client=client, subscription=subscription, renews_on=day_text(renews),
            decision_due_on=day_text(renews - 30 * DAY), owner="partner", line=line, mrr=f"{mrr}.00", currency=currency,
        )  # fmt: skip

    def _work(self, client: str, at: Instant) -> Iterator[Story]:
        for _ in range(self.random.randrange(1, 4)):
            at += self.random.randrange(5, 80) * DAY
            if at < self.ends:
                yield self.say("client.worked_on.v1", at, client=client, person=self.person, activity="campaign")


def story() -> list[Story]:
    """Everything that happened, in the order in which it was recorded."""
    random = Random(SEED)
    told = [one for number in range(1, PARTNERS + 1) for one in _Teller(random, number).story() if one[1].effective_at < TODAY]
    told += _late()
    return sorted((one for one in told if one[0] < TODAY), key=lambda one: (one[0], one[1].effective_at, one[1].id))


def _late() -> list[Story]:
    """A sale of March that was recorded in May: it restates what was known in between."""
    at = parse("2026-03-10")
    sale = event(
        "points.sold.v1", subject=TOLD_LATE, effective_at=at, id=LATE, source=SOURCE, client=f"{TOLD_LATE}-C1", line="content",
        amount="9000.00", currency="USD",
    )  # fmt: skip
    return [(parse("2026-05-20T09:30:00Z"), sale)]


class Told(Protocol):
    """What is asked of a log here."""

    def events(self, partner: str) -> Sequence[Sealed]: ...


def is_whole(history: Told) -> bool:
    """Whether a ledger has the story up to its last event."""
    last = story()[-1][1]
    return any(sealed.event == last for sealed in history.events(str(last.subject)))


def late(history: Told) -> Sealed:
    """The sale that was told late."""
    return next(sealed for sealed in history.events(TOLD_LATE) if sealed.event.id == LATE)


def build(log: Log, directory: Directory) -> int:
    """Record the story, a month at a time; the door's clock shows the day on which each batch was recorded."""
    clock = [FIRST]
    intake = Intake(log, clock=lambda: clock[0])
    batch: list[Event] = []
    accepted = 0
    for recorded_at, made in story():
        if batch and recorded_at - clock[0] > DAY:
            accepted += _record(intake, batch)
        clock[0] = max(clock[0], recorded_at)
        batch.append(made)
    accepted += _record(intake, batch)
    _names(directory)
    return accepted


def _record(intake: Intake, batch: list[Event]) -> int:
    receipts = intake.record(batch)
    batch.clear()
    refused = [receipt for receipt in receipts if not isinstance(receipt, Accepted)]
    assert not refused, refused[0]
    return len(receipts)


_FIRST_NAMES = ("North", "Blue", "Clear", "Harbour", "Maple", "Silver", "River", "Stone", "Bright", "Open", "Green", "Summit")
_LAST_NAMES = ("Lantern", "Compass", "Bridge")


def _names(directory: Directory) -> None:
    names = [f"{first} {last}" for last in _LAST_NAMES for first in _FIRST_NAMES]
    entries = [Entry("partner", f"P-{n:02}", name, account=f"https://crm.example/p/{n}") for n, name in enumerate(names, start=1)]
    sold_to = sorted({made.data.client for _, made in story() if made.kind == "client.assigned.v1"})
    entries += [Entry("client", c, crm_record=f"https://crm.example/c/{c}", account=f"https://app.example/{c}") for c in sold_to]
    entries += [Entry("contact", "K-1", "Channel account manager", "cam@programme.example")]
    entries += [Entry("contact", "K-2", "Channel consultant", "consultant@programme.example")]
    directory.put(*entries)
