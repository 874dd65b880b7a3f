"""Random histories of one HubSpot partner: clustered where rules turn, recorded early and late, reversed, overridden."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from ledger.events.envelope import Event, Sealed, event
from ledger.instants import DAY, SECOND, Instant, day_text, parse, text

PARTNER = "P-1"
ERAS = (2016, 2018, 2020, 2022, 2024)
BORDERS = ("2018-01-22", "2020-01-01", "2022-07-18", "2024-02-27", "2025-07-15")
CLIENTS, PERSONS, LINES = ("C-1", "C-2"), ("A", "B"), ("crm", "cms")
CURRENCIES = ("USD", "USD", "USD", "EUR", "GBP", "AUD", "COP", "SGD", "JPY", "ZAR", "CAD")
COUNTRIES = ("US", "IN", "MX", "DE", "SG")
AMOUNTS = ("2100", "1260", "3750", "6000", "10000", "2250", "1125", "65000", "0", "0.01", "2099.99", "120", "31250")
NEGATIVE = ("-2100", "-100", "-1000.5", "-6000", "-0.01", "-4000")


def examples(n: int) -> settings:
    """`n` examples, or as many as the environment asks for."""
    return settings(max_examples=int(os.environ.get("POINTS_LEDGER_TEST_EXAMPLES") or n))


def _days(era: int) -> list[Instant]:
    """The days of three years at which things turn: month ends, fifteenths, leap days, reviews, borders of books."""
    days = {f"{year}-{month:02}-{day:02}" for year in range(era, era + 3) for month in range(1, 13) for day in (1, 14, 15, 16, 28)}
    for year in range(era, era + 3):
        days |= {f"{year}-{end}" for end in ("01-31", "02-20", "03-31", "06-30", "08-31", "11-30", "12-31")}
        days |= {f"{year}-02-29"} if year % 4 == 0 else set()
        days |= {f"{year}-{review}" for review in ("01-15", "07-15")}
    for border in BORDERS:
        if era <= int(border[:4]) < era + 3:
            days |= {border, (date.fromisoformat(border) - timedelta(days=1)).isoformat()}
    return sorted(map(parse, days))


_DAYS = {era: _days(era) for era in ERAS}
_JITTERS = (0, 0, 0, 0, 1, -1, 12 * 3600 * SECOND)
_LAGS = (0, 0, 0, 0, 0, 0, 3 * DAY, 40 * DAY, 400 * DAY, -20 * DAY, -200 * DAY)


@dataclass(frozen=True)
class Step:
    """One event before it has its place: what, when, and how long after (or before) it is recorded."""

    kind: str
    at: Instant
    lag: int
    data: dict[str, Any]
    serial: int = 0
    of: int = 0

    @property
    def recorded(self) -> Instant:
        return self.at + self.lag


def _when(era: int) -> st.SearchStrategy[Instant]:
    return st.builds(lambda day, jitter: day + jitter, st.sampled_from(_DAYS[era]), st.sampled_from(_JITTERS))


def _step(era: int, kind: str, **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.builds(Step, st.just(kind), _when(era), st.sampled_from(_LAGS), st.fixed_dictionaries(parts))


def _maybe(*values: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from((None, None, *values))


def _later(era: int) -> st.SearchStrategy[str]:
    return st.builds(day_text, st.sampled_from(_DAYS[era][::3]))


def _any_step(era: int) -> st.SearchStrategy[Step]:
    client, person, line = (st.sampled_from(each) for each in (CLIENTS, PERSONS, LINES))
    currency, country = st.sampled_from(CURRENCIES), st.sampled_from(COUNTRIES)
    sale = {"client": client, "line": line, "currency": currency, "deal_type": st.sampled_from(("sourced", "sourced", "assisted"))}
    sale |= {"revenue": st.sampled_from(("subscription", "subscription", "subscription", "add_on", "payments"))}
    override = {"until": _later(era), "reason": st.just("agreed"), "author": st.just("admin")}
    sold = _step(
        era, "points.sold.v1", **sale, amount=st.sampled_from(AMOUNTS), with_deal=st.sampled_from((True, True, True, False)),
        line_first_sold_on=st.one_of(st.none(), st.none(), st.none(), _later(era)),
    )  # fmt: skip
    credit = _step(era, "points.sold.v1", **sale, amount=st.sampled_from(NEGATIVE), credits=st.sampled_from((None, None, "sale")))
    managed = _step(
        era, "points.managed.v1", client=client, mrr=st.sampled_from(AMOUNTS), currency=currency,
        servicing_partners=st.sampled_from((1, 1, 2, 3)),
    )  # fmt: skip
    earned = _step(
        era, "certification.earned.v1", person=person, code=st.sampled_from(("solutions-partner", "solutions-partner", "cms")),
        valid_until=st.one_of(st.none(), _later(era)),
    )  # fmt: skip
    return st.one_of(
        sold, sold, sold, credit, managed, earned,
        _step(era, "client.worked_on.v1", client=client, person=person),
        _step(era, "points.lost.v1", client=client, line=_maybe(*LINES), reason=st.just("churn")),
        _step(era, "points.lost.v1", lot=st.just("sale")),
        _step(era, "event.reversed.v1", reason=st.just("typing error"), author=st.just("admin")),
        _step(era, "person.linked.v1", person=person),
        _step(era, "person.unlinked.v1", person=person),
        _step(era, "certification.expired.v1", person=person, code=st.just("solutions-partner")),
        _step(era, "client.assigned.v1", client=client, person=_maybe(*PERSONS), country=_maybe(*COUNTRIES)),
        _step(era, "client.user_added.v1", client=client, person=person),
        _step(era, "client.user_removed.v1", client=client, person=person),
        _step(era, "client.released.v1", client=client, person=_maybe(*PERSONS)),
        _step(era, "client.changed.v1", client=client, country=country),
        _step(era, "partner.changed.v1", country=country),
        _step(era, "metric.measured.v1", metric=st.just("apps_used"), client=client, value=st.sampled_from(("2", "3", "4", "5", "8"))),
        _step(era, "override.granted.v1", **override, tier=st.sampled_from(("Silver", "Gold", "Platinum", "Diamond"))),
        _step(era, "override.granted.v1", **override, requirement=st.sampled_from(("certified", "sold", "total", "managed_mrr", "usage"))),
        _step(
            era, "override.granted.v1", **override, points=st.sampled_from(("63", "60.5", "-10", "200")),
            measure=st.sampled_from(("sold", "managed", "sold_mrr", "sourced")),
        ),
        _step(era, "override.revoked.v1", reason=st.just("no more"), author=st.just("admin")),
        _step(
            era, "points.adjusted.v1", measure=st.sampled_from(("sold", "managed", "sold_mrr")), points=st.sampled_from(("50", "-30.5")),
            until=st.one_of(st.none(), _later(era)),
        ),
    )  # fmt: skip


def _established(era: int, mrr: str) -> list[Step]:
    """A partner that has everything but points: linked, certified, at work for a client that uses five apps."""
    at = parse(f"{era}-01-02")
    plain: list[tuple[str, dict[str, Any]]] = [
        ("partner.enrolled.v1", {"programme": "hubspot", "country": "DE"}),
        ("person.linked.v1", {"person": "A"}),
        ("certification.earned.v1", {"person": "A", "code": "solutions-partner", "valid_until": f"{era + 2}-03-31"}),
        ("client.assigned.v1", {"client": "C-1", "person": "A", "country": "US"}),
        ("client.user_added.v1", {"client": "C-1", "person": "A"}),
        ("points.managed.v1", {"client": "C-1", "mrr": mrr, "currency": "USD"}),
        ("metric.measured.v1", {"metric": "apps_used", "client": "C-1", "value": "5"}),
    ]
    steps = [Step(kind, at, 0, data) for kind, data in plain]
    worked = {"client": "C-1", "person": "A"}
    return steps + [Step("client.worked_on.v1", at + n * 80 * DAY, 0, worked) for n in range(8)]


def _elite(era: int) -> list[Step]:
    """All that Elite asks beside points: a hundred certificates, an invitation, two retentions."""
    at = parse(f"{era}-01-03")
    steps = [Step("certification.earned.v1", at, 0, {"person": "A", "code": f"code-{n}"}) for n in range(99)]
    steps.append(Step("invitation.granted.v1", at, 0, {"tier": "Elite"}))
    steps.append(Step("metric.measured.v1", at, 0, {"metric": "customer_retention", "value": "85"}))
    return [*steps, Step("metric.measured.v1", at, 0, {"metric": "customer_dollar_retention", "value": "85.1"})]


@st.composite
def histories(draw: st.DrawFn, *, elite: bool = False, steps_max: int = 14) -> list[Sealed]:
    """Up to three years, in order of recording. Reversals, revocations and named lots point at what is already there."""
    era = draw(st.sampled_from(ERAS))
    steps = draw(st.lists(_any_step(era), min_size=1, max_size=steps_max))
    picks = draw(st.lists(st.integers(0, 50), min_size=len(steps), max_size=len(steps)))
    steps = [Step(step.kind, step.at, step.lag, step.data, of=pick) for step, pick in zip(steps, picks, strict=True)]
    if draw(st.sampled_from((True, True, True, False))):
        steps = _established(era, draw(st.sampled_from(("6500", "6000", "20000", "170000", "0")))) + steps
    if elite:
        amount = {"client": "C-1", "line": "crm", "amount": "65000", "currency": "USD"}
        steps = [*_elite(era), Step("points.sold.v1", parse(f"{era}-01-10"), 0, amount), *steps]
    return seal(steps)


def seal(steps: list[Step]) -> list[Sealed]:
    """Give each event its place; what refers to nothing is left out."""
    numbered = [Step(s.kind, s.at, s.lag, s.data, serial, s.of) for serial, s in enumerate(steps)]
    sealed: list[Sealed] = []
    reversed_ids: set[str] = set()
    sales = [step for step in numbered if step.kind == "points.sold.v1"]
    clock = 0
    for step in sorted(numbered, key=lambda step: (step.recorded, step.serial)):
        made = _made(step, sealed, sales, reversed_ids)
        if made is not None:
            clock = max(clock, step.recorded)
            sealed.append(placed(made, len(sealed) + 1, clock))
    return sealed


def placed(made: Event, position: int, recorded_at: Instant) -> Sealed:
    return Sealed(position, f"partner/{PARTNER}", position, recorded_at, b"", b"", made)


def _made(step: Step, before: list[Sealed], sales: list[Step], reversed_ids: set[str]) -> Event | None:
    data, at = dict(step.data), step.at
    if data.get("credits") or data.get("lot"):
        named = [sale for sale in sales if not str(sale.data["amount"]).startswith("-")]
        if not named:
            return None
        serial = str(named[step.of % len(named)].serial)
        data |= {"credits": serial} if data.get("credits") else {"lot": {"source": "test", "id": serial}}
    if step.kind == "event.reversed.v1":
        targets = [each for each in before if each.event.kind != step.kind and each.event.id not in reversed_ids]
        if not targets:
            return None
        target = targets[step.of % len(targets)]
        reversed_ids.add(target.event.id)
        data["reverses"] = {"source": target.event.source, "id": target.event.id}
    if step.kind == "override.granted.v1":
        data["override"] = f"O-{step.serial}"
    if step.kind == "override.revoked.v1":
        grants = [each for each in before if each.event.kind == "override.granted.v1"]
        if not grants:
            return None
        grant = grants[step.of % len(grants)].event
        data["override"], at = grant.data.override, max(at, grant.effective_at)
    return event(step.kind, subject=PARTNER, effective_at=at, id=str(step.serial), source="test", **data)


def told(history: list[Sealed]) -> str:
    """A history in the programme's language, for failures."""
    return "\n".join(
        f"{each.position:3} {text(each.event.effective_at)} recorded {text(each.recorded_at)} {each.event.kind} "
        + " ".join(f"{name}={value}" for name in each.event.data.__struct_fields__ if (value := getattr(each.event.data, name)) is not None)
        for each in history
    )  # fmt: skip
