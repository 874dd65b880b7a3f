"""Four years of a ledger, as its programmes would record them: a stream of commits in order of recorded time, never held whole.

Partners are of very unequal sizes: a few large ones as they are asked for, the others log-normal around a mean. They enrol over the years
and are told of as things happen, several partners in an insert: sales and credit notes, managed credit, work, certificates, clients that
come, go and move, people who move, losses, adjustments, overrides. LATE of all facts are told days to months after they were true, REVERSED
are taken back, MOVED are people and clients who go from partner to partner. Most partners are of HubSpot, some of Copernica and of
Microsoft's capability score.

The bytes are those of CloudEvents, written by hand since millions are made; the door judges every one all the same. The same shape and
seed give the same bytes.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from itertools import accumulate
from typing import NamedTuple

from ledger.instants import Instant, parse
from ledger.rules.library import shipped

BEGAN, DAYS = date(2022, 7, 1), 1461
BEGUN: Instant = parse(BEGAN.isoformat())
ENDED: Instant = parse((BEGAN + timedelta(DAYS)).isoformat())
LATE, REVERSED, MOVED = 0.03, 0.01, 0.01
LATE_DAYS = 3, 150
SPREAD = 1.3
"""Of the logarithms of the sizes: the partner in the middle has less than half of the mean."""

SMALLEST = 8
AT_FIRST = 8
"""About so many events tell who a partner is."""

INSERTS = (1, 1, 2, 3, 5, 8, 12, 20, 30, 40, 60)
REVERSIBLE_MAX = 20_000
DAY_SECONDS = 86_400
DATES = tuple((BEGAN + timedelta(day)).isoformat() for day in range(DAYS + 1000))
CLOCK = tuple(f"T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z" for second in range(DAY_SECONDS))

LINES = ("marketing", "sales", "service", "content", "operations", "commerce")
COUNTRIES = ("US", "US", "DE", "IN", "BR", "JP", "GB")
CURRENCIES = ("USD", "USD", "USD", "EUR", "GBP")
TIERS = ("Gold", "Platinum", "Diamond")
AREAS = ("data-ai", "infrastructure", "security", "modern-work")
ACTIVITIES = ("profile", "registered", "article", "fair", "link")
ACTIVITY_KINDS = ("activity.claimed.v1", "activity.confirmed.v1", "activity.confirmed.v1")
CRM, ACCOUNTS, ACADEMY, OFFICE = "crm/deals", "crm/accounts", "academy", "back-office"
HUBSPOT, COPERNICA, CAPABILITY = "hubspot", "copernica", "microsoft-capability"
PROGRAMMES = (CAPABILITY, COPERNICA, *[HUBSPOT] * 18)
CODES = {HUBSPOT: "solutions-partner", COPERNICA: "advanced"}

Batch = list[bytes]


class Shape(NamedTuple):
    """How many partners, of which mean size; the sizes of the large ones, which are among them and do not count to the mean."""

    partners: int
    events_per_partner: int
    large: tuple[int, ...] = ()

    @property
    def events(self) -> int:
        return (self.partners - len(self.large)) * self.events_per_partner + sum(self.large)


class _Partner:
    __slots__ = ("begun", "clients", "id", "overrides", "people", "programme")

    def __init__(self, id: str, programme: str) -> None:
        self.id, self.programme = id, programme
        self.begun = -1
        """The second since BEGAN in which it enrolled; none yet: -1."""
        self.people: list[str] = []
        self.clients: list[tuple[str, str, bool]] = []
        """Each with the person who looks after it, and whether it is exclusive."""
        self.overrides = 0


class Years:
    """One telling; `events` counts what was told so far."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self._dice, self._shape = random.Random(seed), shape
        self.events = self.late = self.reversed = self.moved = 0
        sizes = self._sizes()
        self._partners = [_Partner(f"P-{n:06}", HUBSPOT if n < len(shape.large) else PROGRAMMES[n % 20]) for n in range(shape.partners)]
        self._weights = list(accumulate(sizes))
        self._batch: Batch = []
        self._reversible: list[tuple[str, str, str]] = []
        book = [book for book in shipped() if book.programme == "microsoft-capability"][-1]
        self._codes = sorted({code for measure in book.measures.values() for code in measure.codes})
        said = self._said()
        self._kinds = {programme: [tell for _, tell in each] for programme, each in said.items()}
        self._shares = {programme: list(accumulate(share for share, _ in each)) for programme, each in said.items()}

    def commits(self) -> Iterator[tuple[Instant, Batch]]:
        """When each was recorded, and what."""
        dice, everyone = self._dice, range(self._shape.partners)
        newcomers: dict[int, list[int]] = defaultdict(list)
        for n in everyone:
            newcomers[int(DAYS * 0.85 * dice.random() ** 1.5)].append(n)
        for day in range(DAYS):
            due = [n for n in newcomers.pop(day, ()) if self._partners[n].begun < 0]
            more = (self._shape.events - self.events) // (DAYS - day) - AT_FIRST * len(due)
            drawn = due + dice.choices(everyone, cum_weights=self._weights, k=max(0, more))
            dice.shuffle(drawn)
            yield from self._day(day, drawn)

    def _day(self, day: int, drawn: list[int]) -> Iterator[tuple[Instant, Batch]]:
        sizes: list[int] = []
        first = 0
        while first < len(drawn):
            sizes.append(min(self._dice.choice(INSERTS), len(drawn) - first))
            first += sizes[-1]
        first = 0
        for n, size in enumerate(sizes, start=1):
            second = day * DAY_SECONDS + DAY_SECONDS * n // (len(sizes) + 1)
            for drew in drawn[first : first + size]:
                self._told(self._partners[drew], second)
            first += size
            batch, self._batch = self._batch, []
            yield BEGUN + second * 1_000_000, batch

    def _told(self, partner: _Partner, second: int) -> None:
        if partner.begun < 0:
            self._enrol(partner, second)
        elif self._dice.random() < REVERSED and self._reversible:
            self._reverse(second)
        else:
            (tell,) = self._dice.choices(self._kinds[partner.programme], cum_weights=self._shares[partner.programme])
            tell(partner, second)

    def _sizes(self) -> list[float]:
        large, rest = self._shape.large, self._shape.partners - len(self._shape.large)
        drawn = [self._dice.lognormvariate(0, SPREAD) for _ in range(rest)]
        each = self._shape.events_per_partner * rest / sum(drawn) if drawn else 0.0
        return [*large, *(max(SMALLEST, size * each) for size in drawn)]

    # Facts ------------------------------------------------------------------------------------------------------

    def _say(self, kind: str, partner: _Partner, second: int, data: str, source: str = CRM) -> str:
        """The id."""
        id = f"{self.events:08x}"
        self.events += 1
        day, rest = divmod(second, DAY_SECONDS)
        self._batch.append(
            f'{{"data":{{{data}}},"id":"{id}","source":"{source}","specversion":"1.0","subject":"{partner.id}",'
            f'"time":"{DATES[day]}{CLOCK[rest]}","type":"{kind}"}}'.encode()
        )
        return id

    def _fact(self, kind: str, partner: _Partner, second: int, data: str, source: str = CRM) -> None:
        """What happened just before it was recorded, or was told late; it may be taken back some time."""
        dice = self._dice
        at = second - int(3600 * dice.random())
        if dice.random() < LATE:
            at -= int(DAY_SECONDS * dice.uniform(*LATE_DAYS))
            self.late += 1
        id = self._say(kind, partner, max(partner.begun, at), data, source)
        if len(self._reversible) < REVERSIBLE_MAX:
            self._reversible.append((source, id, partner.id))
        elif dice.random() < 0.1:
            self._reversible[int(dice.random() * REVERSIBLE_MAX)] = source, id, partner.id

    def _reverse(self, second: int) -> None:
        found = self._reversible
        place = int(self._dice.random() * len(found))
        found[place], (source, id, of) = found[-1], found[place]
        found.pop()
        partner = self._partners[int(of[2:])]
        what = f'"author":"admin","reason":"entered in error","reverses":{{"id":"{id}","source":"{source}"}}'
        self._say("event.reversed.v1", partner, second, what, OFFICE)
        self.reversed += 1

    def _enrol(self, partner: _Partner, second: int) -> None:
        partner.begun = second
        country = self._dice.choice(COUNTRIES)
        self._say("partner.enrolled.v1", partner, second, f'"country":"{country}","programme":"{partner.programme}"', ACCOUNTS)
        self._link(partner, second)
        self._certify(partner, second)
        if partner.programme == HUBSPOT:
            self._assign(partner, second)

    def _link(self, partner: _Partner, second: int, person: str | None = None) -> str:
        person = person or f"H-{self.events:08x}"
        self._say("person.linked.v1", partner, second, f'"person":"{person}"', ACCOUNTS)
        partner.people.append(person)
        return person

    def _person(self, partner: _Partner, second: int) -> str:
        return self._dice.choice(partner.people) if partner.people else self._link(partner, second)

    def _certify(self, partner: _Partner, second: int) -> None:
        person = self._person(partner, second)
        code = CODES.get(partner.programme) or self._dice.choice(self._codes)
        until = DATES[second // DAY_SECONDS + self._dice.choice((395, 760))]
        self._fact("certification.earned.v1", partner, second, f'"code":"{code}","person":"{person}","valid_until":"{until}"', ACADEMY)

    def _assign(self, partner: _Partner, second: int, client: str | None = None) -> None:
        """A client with someone who has access, whose credit is managed."""
        person, exclusive = self._person(partner, second), self._dice.random() < 0.3
        client = client or f"C-{self.events:08x}"
        data = f'"client":"{client}","country":"{self._dice.choice(COUNTRIES)}","exclusive":{str(exclusive).lower()},"person":"{person}"'
        self._say("client.assigned.v1", partner, second, data, ACCOUNTS)
        self._say("client.user_added.v1", partner, second, f'"client":"{client}","person":"{person}"', ACCOUNTS)
        partner.clients.append((client, person, exclusive))
        self._managed(partner, second)
        self._worked(partner, second)

    def _client(self, partner: _Partner, second: int) -> tuple[str, str]:
        if not partner.clients:
            self._assign(partner, second)
        client, person, _ = partner.clients[int(self._dice.random() * len(partner.clients))]
        return client, person

    def _managed(self, partner: _Partner, second: int) -> None:
        client, _ = self._client(partner, second)
        data = f'"client":"{client}","currency":"{self._dice.choice(CURRENCIES)}","mrr":"{self._dice.randrange(100, 3000)}.00"'
        self._fact("points.managed.v1", partner, second, data)

    def _worked(self, partner: _Partner, second: int) -> None:
        client, person = self._client(partner, second)
        self._fact("client.worked_on.v1", partner, second, f'"client":"{client}","person":"{person}"', ACCOUNTS)

    def _sold(self, partner: _Partner, second: int) -> None:
        dice = self._dice
        client, _ = self._client(partner, second)
        amount = f"{'-' if dice.random() < 0.03 else ''}{dice.randrange(50, 2500)}.{dice.randrange(10, 99)}"
        deal = ',"deal_type":"assisted"' if dice.random() < 0.3 else ""
        data = f'"amount":"{amount}","client":"{client}","currency":"{dice.choice(CURRENCIES)}"{deal},"line":"{dice.choice(LINES)}"'
        self._fact("points.sold.v1", partner, second, data)

    def _used(self, partner: _Partner, second: int) -> None:
        client, _ = self._client(partner, second)
        self._fact(
            "metric.measured.v1", partner, second, f'"client":"{client}","metric":"apps_used","value":"{self._dice.randrange(1, 9)}"'
        )

    def _lost(self, partner: _Partner, second: int) -> None:
        client, _ = self._client(partner, second)
        self._say("points.lost.v1", partner, second, f'"client":"{client}","line":"{self._dice.choice(LINES)}"')

    def _release(self, partner: _Partner, second: int) -> None:
        if len(partner.clients) > 1:
            client, _, _ = partner.clients.pop(int(self._dice.random() * len(partner.clients)))
            self._say("client.released.v1", partner, second, f'"client":"{client}"', ACCOUNTS)
        else:
            self._assign(partner, second)

    def _adjust(self, partner: _Partner, second: int) -> None:
        until = DATES[second // DAY_SECONDS + 365]
        data = f'"measure":"sold","note":"a campaign","points":"{self._dice.randrange(-40, 90)}","until":"{until}"'
        self._fact("points.adjusted.v1", partner, second, data, OFFICE)

    def _override(self, partner: _Partner, second: int) -> None:
        partner.overrides += 1
        until = DATES[second // DAY_SECONDS + self._dice.randrange(10, 200)]
        grants = self._dice.choice((f'"tier":"{self._dice.choice(TIERS)}"', '"requirement":"certified"'))
        name = f"O-{partner.overrides}"
        data = f'"author":"admin","override":"{name}","reason":"a merger",{grants},"until":"{until}"'
        self._say("override.granted.v1", partner, max(partner.begun, second - 60), data, OFFICE)
        if self._dice.random() < 0.2:
            data = f'"author":"admin","override":"{name}","reason":"it was not one"'
            self._say("override.revoked.v1", partner, second, data, OFFICE)

    def _move(self, partner: _Partner, second: int) -> None:
        """A person or a client goes to another partner; an exclusive one need not be released."""
        (place,) = self._dice.choices(range(self._shape.partners), cum_weights=self._weights)
        other = self._partners[place]
        if other is partner or other.begun < 0 or other.programme != HUBSPOT:
            self._sold(partner, second)
            return
        self.moved += 1
        if self._dice.random() < 0.5 and len(partner.people) > 1:
            self._link(other, second, partner.people.pop(int(self._dice.random() * len(partner.people))))
        else:
            client, _ = self._client(partner, second)
            place = next(place for place, each in enumerate(partner.clients) if each[0] == client)
            if not partner.clients.pop(place)[2]:
                self._say("client.released.v1", partner, second, f'"client":"{client}"', ACCOUNTS)
            self._assign(other, second, client)

    def _measured(self, partner: _Partner, second: int) -> None:
        dice = self._dice
        if partner.programme == COPERNICA:
            data = f'"metric":"emails","value":"{dice.randrange(1000)}"'
        else:
            data = (
                f'"area":"{dice.choice(AREAS)}","client":"{partner.id} C{dice.randrange(5)}","metric":"consumption",'
                f'"service":"S{dice.randrange(7)}","value":"{dice.randrange(5000)}"'
            )
        self._fact("metric.measured.v1", partner, second, data)

    def _did(self, partner: _Partner, second: int) -> None:
        self._fact(self._dice.choice(ACTIVITY_KINDS), partner, second, f'"activity":"{self._dice.choice(ACTIVITIES)}"')

    def _said(self) -> dict[str, list[tuple[float, Callable[[_Partner, int], object]]]]:
        """What is told of partners of each programme, and how often. A client brings four events; some moves find no other partner."""
        return {
            HUBSPOT: [
                (58, self._sold), (12, self._worked), (9, self._managed), (7, self._used), (2, self._assign), (3, self._certify),
                (0.5, self._link), (140 * MOVED, self._move), (1, self._release), (1, self._lost), (0.5, self._adjust),
                (0.4, self._override),
            ],
            COPERNICA: [(70, self._measured), (15, self._did), (13, self._certify), (2, self._link)],
            CAPABILITY: [(60, self._measured), (35, self._certify), (5, self._link)],
        }  # fmt: skip
