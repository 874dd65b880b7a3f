"""The partner dashboard: what a partner sees of its clients, renewals, team and tier, at a moment. It writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ledger.errors import NotFound
from ledger.instants import DAY, Instant, parse
from ledger.rules.answers import ClientPoints, Lot, Standing
from ledger.rules.breakdown import ACTIVE, by_client, lots
from ledger.rules.facts import Fact
from ledger.rules.life import Life

DUE_WITHIN = 90 * DAY


@dataclass(frozen=True, slots=True)
class Renewal:
    """A renewal decision: who owns the communication, by when, the current and the renewal subscription."""

    client: str
    subscription: str
    decision_due_on: str
    renews_on: str
    owner: str
    manager: str | None
    line: str | None
    mrr: str | None
    currency: str | None
    due: bool


@dataclass(frozen=True, slots=True)
class Subscription:
    client: str
    subscription: str
    line: str | None
    edition: str | None
    mrr: str | None
    currency: str | None
    contact_tier: str | None
    email_tier: str | None
    apps: int | None
    since: Instant


@dataclass(frozen=True, slots=True)
class Client:
    """One row of the list of clients. `usage` is the number of apps that it uses, `engagement` its engagement index."""

    client: str
    association: str | None
    country: str | None
    products: tuple[str, ...]
    mrr: dict[str, Fraction]
    usage: str | None
    engagement: str | None
    managed: bool
    since: Instant


@dataclass(frozen=True, slots=True)
class ClientInFull:
    client: Client
    segment: str | None
    subscriptions: tuple[Subscription, ...]
    renewals: tuple[Renewal, ...]
    users: tuple[str, ...]
    usage: dict[str, str]
    points: ClientPoints | None


@dataclass(frozen=True, slots=True)
class Member:
    """A person of the partner with its certificates, or one of the programme's people with role and duties."""

    id: str
    role: str | None
    certificates: tuple[str, ...]
    duties: str | None
    since: Instant


@dataclass(frozen=True, slots=True)
class Team:
    people: tuple[Member, ...]
    contacts: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Month:
    """Points at the end of a month, or at the moment asked; foreseen where that lies ahead of it."""

    at: Instant
    values: dict[str, Fraction]
    foreseen: bool


@dataclass(frozen=True, slots=True)
class Dashboard:
    standing: Standing
    renewals_due: int
    renewals: tuple[Renewal, ...]
    clients: tuple[Client, ...]
    team: Team
    certified: bool
    median_tool_usage: Fraction | None
    months: tuple[Month, ...]


def dashboard(life: Life, answer: Standing, months: list[tuple[Instant, dict[str, Fraction], bool]]) -> Dashboard:
    at = answer.basis.as_of
    due = renewals(life, at)
    return Dashboard(
        answer, sum(renewal.due for renewal in due), tuple(due), tuple(clients(life, at)), team(life, at),
        answer.values.get("certified", Fraction(0)) > 0, answer.values.get("usage"), months_of(months),
    )  # fmt: skip


def months_of(months: list[tuple[Instant, dict[str, Fraction], bool]]) -> tuple[Month, ...]:
    return tuple(Month(*month) for month in months)


def ending(found: list[ClientPoints], until: Instant) -> list[Lot]:
    """The lots that count now and end by an instant, the next one first."""
    active = [lot for row in found for lot in row.lots if lot.state == ACTIVE and lot.end <= until]
    return sorted(active, key=lambda lot: (lot.end, lot.position))


def _here(life: Life, kind: str, at: Instant) -> list[Fact]:
    return [fact for fact in life.facts.of(kind) if fact.start <= at < fact.end]


def renewals(life: Life, at: Instant, client: str | None = None) -> list[Renewal]:
    """Renewals to come, the most urgent first; a decision is due when its day is at most 90 days away."""
    rows = []
    for fact in _here(life, "renewal", at):
        data = fact.data
        if client in (None, data.client) and parse(data.renews_on) >= at:
            due = at <= parse(data.decision_due_on) + DAY and parse(data.decision_due_on) <= at + DUE_WITHIN
            rows.append(
                Renewal(
                    data.client, data.subscription, data.decision_due_on, data.renews_on, data.owner, data.manager, data.line,
                    data.mrr, data.currency, due,
                )
            )  # fmt: skip
    return sorted(rows, key=lambda row: (row.decision_due_on, row.client))


def clients(life: Life, at: Instant) -> list[Client]:
    return [_client(life, fact, at) for fact in sorted(_here(life, "client", at), key=lambda fact: str(fact.key))]


def _client(life: Life, fact: Fact, at: Instant) -> Client:
    client = fact.data.client
    subscriptions = _subscriptions(life, client, at)
    mrr: dict[str, Fraction] = {}
    for subscription in subscriptions:
        if subscription.mrr is not None and subscription.currency is not None:
            mrr[subscription.currency] = mrr.get(subscription.currency, Fraction(0)) + Fraction(subscription.mrr)
    metrics = _metrics(life, client, at)
    managed = any(found.data.client == client for found in _here(life, "managed", at))
    first = min((other.start for other in life.facts.of("client") if other.key == fact.key), default=fact.start)
    return Client(
        client, fact.data.association, fact.data.country, tuple(sorted({s.line or "" for s in subscriptions})), mrr,
        metrics.get("apps_used"), metrics.get("engagement_index"), managed, first,
    )  # fmt: skip


def _subscriptions(life: Life, client: str, at: Instant) -> list[Subscription]:
    return [
        Subscription(
            client, d.subscription, d.line, d.edition, d.mrr, d.currency, d.contact_tier, d.email_tier, d.apps, fact.start
        )
        for fact in _here(life, "subscription", at)
        if (d := fact.data).client == client
    ]  # fmt: skip


def _metrics(life: Life, client: str, at: Instant) -> dict[str, str]:
    return {fact.data.metric: fact.data.value for fact in _here(life, "metric", at) if fact.data.client == client}


def client_in_full(life: Life, client: str, at: Instant) -> ClientInFull:
    """Everything of one client. Raises NotFound for a client that is not the partner's at the moment."""
    facts = [fact for fact in _here(life, "client", at) if fact.data.client == client]
    if not facts:
        raise NotFound(f"client {client!r} is not with the partner at that moment", hint="points clients lists them", code="unknown_client")
    points = [row for row in by_client(lots(life, at)) if row.client == client]
    users = [str(fact.key[1]) for fact in _here(life, "account_user", at) if fact.key[0] == client]
    return ClientInFull(
        _client(life, facts[-1], at), facts[-1].data.segment, tuple(_subscriptions(life, client, at)),
        tuple(renewals(life, at, client)), tuple(sorted(users)), _metrics(life, client, at), points[0] if points else None,
    )  # fmt: skip


def team(life: Life, at: Instant) -> Team:
    certificates = _here(life, "certificate", at)
    people = [
        Member(
            str(fact.key[0]), fact.data.role, tuple(sorted(c.data.code for c in certificates if c.data.person == fact.key[0])),
            None, fact.start,
        )
        for fact in _here(life, "link", at)
    ]  # fmt: skip
    contacts = [Member(f.data.contact, f.data.role, (), f.data.duties, f.start) for f in _here(life, "contact", at)]
    return Team(tuple(sorted(people, key=lambda m: m.id)), tuple(sorted(contacts, key=lambda m: (m.role or "", m.id))))
