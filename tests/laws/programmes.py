"""Random histories of one partner of each programme whose rulebooks ship: clustered where its rules turn, recorded early and late."""

from __future__ import annotations

import re
from random import Random
from typing import Any
from zlib import crc32

from hypothesis import strategies as st

from ledger.events.envelope import Sealed
from ledger.instants import DAY, SECOND, Instant, Span, day_text, minus, parse, plus
from tests.laws import histories as hubspot
from tests.laws.histories import Step, seal
from tests.oracle.language import programme

Strategy = st.SearchStrategy
_LAGS = (0, 0, 0, 0, 0, 0, 3 * DAY, 40 * DAY, 400 * DAY, -20 * DAY, -200 * DAY)
_JITTERS = (0, 0, 0, 0, 1, -1, 12 * 3600 * SECOND)


class Era:
    """A time that begins on a day: events fall on days that are a few steps after it, or on the days that are named."""

    def __init__(self, begin: str, days: list[int], *named: str) -> None:
        self.days = sorted({*(parse(begin) + day * DAY for day in days), *map(parse, named)})
        self.when: Strategy[Instant] = st.builds(lambda day, jitter: day + jitter, st.sampled_from(self.days), st.sampled_from(_JITTERS))
        self.later: Strategy[str | None] = st.one_of(st.none(), st.builds(day_text, st.sampled_from(self.days)))

    def step(self, kind: str, **parts: Any) -> Strategy[Step]:
        data = {name: part if isinstance(part, Strategy) else st.just(part) for name, part in parts.items()}
        return st.builds(Step, st.just(kind), self.when, st.sampled_from(_LAGS), st.fixed_dictionaries(data))

    def decisions(self, programme: str, tiers: tuple[str, ...], requirements: tuple[str, ...], **points: tuple[str, ...]) -> list[Strategy[Step]]:
        """What any programme knows: reversals, overrides and their end, joining and leaving."""
        granted: dict[str, Any] = {"until": st.builds(day_text, st.sampled_from(self.days)), "reason": "agreed", "author": "admin"}
        named = st.sampled_from((programme, programme, None, "other"))
        found = [
            self.step("event.reversed.v1", reason="typing error", author="admin"),
            self.step("override.revoked.v1", reason="no more", author="admin"),
            self.step("partner.enrolled.v1", programme=named),
            self.step("partner.left.v1", programme=named),
        ]
        if tiers:
            found.append(self.step("override.granted.v1", **granted, tier=st.sampled_from(tiers), programme=named))
        if requirements:
            found.append(self.step("override.granted.v1", **granted, requirement=st.sampled_from(requirements)))
        for measure, amounts in points.items():
            amount = st.sampled_from(amounts)
            found.append(self.step("override.granted.v1", **granted, measure=measure, points=amount, programme=named))
            found.append(self.step("points.adjusted.v1", measure=measure, points=amount, until=self.later))
        return found


def _drawn(draw: st.DrawFn, steps: Strategy[Step], steps_max: int) -> list[Step]:
    found = draw(st.lists(steps, min_size=3, max_size=steps_max))
    picks = draw(st.lists(st.integers(0, 50), min_size=len(found), max_size=len(found)))
    return [Step(step.kind, step.at, step.lag, step.data, of=pick) for step, pick in zip(found, picks, strict=True)]


def at_once(day: str, *events: tuple[str, dict[str, Any]]) -> list[Step]:
    return [Step(kind, parse(day), 0, data) for kind, data in events]


# -- Copernica ---------------------------------------------------------------------------------------------------------

_COPERNICA = Era("2024-01-30", [0, 1, 2, 28, 29, 30, 31, 60, 61, 62, 63, 90, 365], "2024-03-31T00:00:00+01:00", "2024-03-31", "2024-10-27")
_ACTIVITIES = ("profile", "registered", "article", "fair", "link", "seminar", "review")


def _copernica(era: Era) -> Strategy[Step]:
    client, person = st.sampled_from(("C-1", "C-2", "C-3", "C-4")), st.sampled_from("ABC")
    activity = st.sampled_from(_ACTIVITIES)
    emails = st.sampled_from(("1500", "1500.5", "800", "701", "0"))
    verbs = [era.step(f"activity.{verb}.v1", activity=activity) for verb in ("claimed", "confirmed", "confirmed", "rejected", "withdrawn")]
    return st.one_of(
        *verbs,
        era.step("client.assigned.v1", client=client),
        era.step("client.assigned.v1", client=client),
        era.step("client.changed.v1", client=client, country=st.sampled_from(("NL", "BE"))),
        era.step("client.released.v1", client=client),
        era.step("client.released.v1", client=client, person=person),
        era.step("metric.measured.v1", metric="emails", value=emails, client=st.one_of(st.none(), client)),
        era.step("metric.measured.v1", metric="emails", value=emails, client=st.one_of(st.none(), client)),
        era.step("metric.measured.v1", metric="clicks", value=emails),
        *_people(era, "ABC", ("advanced", "advanced", "basic")),
        *era.decisions("copernica", (), (), granted=("5", "-2.5", "100"), emails=("1501",)),
    )


def _people(era: Era, persons: str, codes: tuple[str, ...]) -> list[Strategy[Step]]:
    person, code = st.sampled_from(persons), st.sampled_from(codes)
    earned = era.step("certification.earned.v1", person=person, code=code, valid_until=era.later)
    return [
        earned,
        earned,
        era.step("certification.expired.v1", person=person, code=code),
        era.step("person.linked.v1", person=person),
        era.step("person.linked.v1", person=person),
        era.step("person.unlinked.v1", person=person),
        era.step("person.left.v1", person=person),
    ]


# -- Microsoft licences -------------------------------------------------------------------------------------------------

_LICENCES = (
    Era("2017-11-20", [0, 1, 24, 25, 26, 27, 28, 29, 30, 31, 52, 53, 54, 60], "2017-12-14", "2017-12-15", "2018-01-12"),
    Era("2020-10-20", [0, 1, 27, 28, 29, 30, 31, 55, 56, 57], "2020-11-17", "2020-12-15"),
    Era("2022-10-10", [0, 1, 28, 29, 30, 31, 32, 58, 60, 61], "2022-11-09", "2022-11-08", "2022-12-09"),
)


def _licences(era: Era) -> Strategy[Step]:
    seats = st.sampled_from((None, 0, 1, 10, 25, 40, 100))
    service = st.sampled_from(("SPO", "EXO", "ODB", "D365", "dynamics365", None))
    client = st.sampled_from(("C-1", "C-2"))
    counted = era.step(
        "licences.counted.v1", client=client, product=st.sampled_from(("office", "crm")), service=service, assigned=seats, sold=seats,
        active=seats, reassigned=seats, state=st.sampled_from(("active", "active", "grace", "disabled")), trial=st.sampled_from((False, False, True)),
        subscription=st.sampled_from((None, "S-1", "S-2")),
    )  # fmt: skip
    metric = era.step(
        "metric.measured.v1", metric=st.sampled_from(("total_users", "active_users", "active_users", "support_calls", "how_to_questions")),
        value=st.sampled_from(("0", "5", "50", "99.5", "210")), client=client, service=service,
    )  # fmt: skip
    more = era.decisions("microsoft-licences", (), (), active=("20",), sold=("-10", "50"))
    return st.one_of(counted, counted, counted, metric, *more)


# -- Microsoft competencies -----------------------------------------------------------------------------------------------



def _codes(name: str) -> dict[str, list[str]]:
    """The codes that a programme's rulebooks list, by what they have in common before the hyphen."""
    found: dict[str, list[str]] = {}
    for code in sorted({code for rules in programme(name) for codes in rules.spec.get("lists", {}).values() for code in codes}):
        found.setdefault(code.partition("-")[0], []).append(code)
    return found


def _asked(name: str) -> list[tuple[str, str, str | None]]:
    """The metrics that a programme's rulebooks ask for, by metric, area and service."""
    wheres = [spec.get("where", "") for rules in programme(name) for spec in rules.presences()]
    found = {tuple(dict(re.findall(r"(metric|area|service) == '([^']*)'", where)).get(name) for name in ("metric", "area", "service")) for where in wheres}
    return sorted({(metric, area, service) for metric, area, service in found if metric and area}, key=str)


_TURNS = [0, 1, 9, 10, 30, 31, 59, 120, 334, 364, 365, 366, 367, 380, 394, 395, 396, 397, 425, 730, 731, 732, 760, 761, 762, 763, 764]
_COMPETENCIES = (
    Era("2017-05-01", _TURNS, "2017-06-05", "2017-06-06", "2017-07-17", "2017-07-18", "2017-09-15", "2017-12-14", "2017-12-15"),
    Era("2020-10-01", _TURNS, "2021-03-31", "2021-04-01", "2022-10-02", "2022-10-03", "2022-09-30"),
    Era("2016-07-24", _TURNS, "2018-07-23", "2018-07-24"),
    Era("2019-03-10", [*_TURNS, 1096, 1097, 1100, 1110, 1126, 1127, 1128], "2019-12-31", "2020-10-01", "2021-03-31", "2021-04-01", "2022-04-09"),
    Era("2021-09-01", [0, 1, 31, 120, 200, 300, 364, 365, 366, 394, 395, 396, 397], "2022-09-30", "2022-10-01", "2022-10-02"),
)
_SCORED = (
    ("cloud-business-applications", "customer-engagement", "CE"), ("cloud-business-applications", "finance-and-operations", "FO"),
    ("small-and-midmarket-cloud-solutions", "smb", "SB"),
)  # fmt: skip


_BARS = ("1", "-1", "5", "15", "50", "120", "250", "320", "1000", "2000", "4000", "15000", "30000", "75000", "100000", "150000", "300000", "-20000")


def _metrics(era: Era, name: str) -> Strategy[Step]:
    """Amounts on both sides of the bars."""
    areas = [{"metric": metric, "area": area, "service": service} for metric, area, service in _asked(name)]
    values, clients = st.sampled_from(_BARS), st.sampled_from((None, "C-1", "C-2", "C-3"))
    data = st.builds(lambda area, value, client: {**area, "value": value, "client": client}, st.sampled_from(areas), values, clients)
    return st.builds(Step, st.just("metric.measured.v1"), era.when, st.sampled_from(_LAGS), data)


def _competencies(era: Era) -> Strategy[Step]:
    client, market = st.sampled_from(("C-1", "C-2")), st.sampled_from(("developed", "developing"))
    level = st.sampled_from(("Silver", "Gold"))
    offer = st.sampled_from((None, None, "cloud-crm", "application-development", "action-pack"))
    codes = tuple(code for codes in _codes("microsoft-competencies").values() for code in codes)
    people, metric = st.one_of(_people(era, "ABCD", codes)), _metrics(era, "microsoft-competencies")
    members = st.one_of(
        era.step("membership.purchased.v1", level=level, offer=offer), era.step("membership.renewed.v1", level=st.one_of(st.none(), level))
    )
    return st.one_of(
        members, members, metric, metric, people, people,
        st.one_of(
            era.step("partner.changed.v1", market=market), era.step("client.assigned.v1", client=client, segment=st.one_of(st.none(), market)),
            era.step("client.changed.v1", client=client, segment=market), era.step("client.released.v1", client=client),
        ),
        st.one_of(
            *era.decisions(
                "microsoft-competencies", ("Silver", "Gold"), ("people.application_exam", "engagement_score", "team(people, 1, crm_both, 1, crm_functional)"),
                engagement_revenue=("300000",), relief=("15",),
            )
        ),
    )  # fmt: skip


def _scored(dice: Random, era: Era) -> list[Step]:
    """About what the score of a competency asks for: revenue, customers, consultants and more of them, developers, deployments, growth of users."""
    (area, service, code), days = dice.choice(_SCORED), [day for day in era.days if day >= parse("2020-09-30")]
    first, later = sorted(dice.sample(days, 2))
    before, crowd = first - dice.choice((365, 366, 330)) * DAY, dice.choice((5, 7, 7, 10, 10, 27))
    early = parse(dice.choice(("2019-12-31", "2020-04-10", "2020-10-01"))) if crowd == 27 else before
    of = {"area": area, "service": service}
    figures = [
        (before, "active_users", "C-6", "150"), (first, "active_users", "C-6", dice.choice(("187", "188", "300"))),
        (first, "active_users", "C-5", dice.choice(("250", "150", "149", "5"))), (first, "revenue", None, dice.choice(("150000", "30000", "300000"))),
        (first, "customer_adds", "C-7", dice.choice(("5", "10", "1"))), (first, "paid_seats", "C-5", "5"),
        (later, "paid_seats", "C-5", dice.choice(("0", "6"))), (later, "customer_adds", "C-7", "-1"),
    ]  # fmt: skip
    steps = [Step("client.assigned.v1", before, 0, {"client": "C-5", "segment": dice.choice(("developing", "developing", None, "developed"))})]
    steps += [Step("metric.measured.v1", at, 0, {**of, "metric": what, "client": who, "value": much}) for at, what, who, much in figures]
    for n in range(crowd):
        come, held = (early if n < 0.7 * crowd or crowd == 27 else first), [f"{code}-F1", *([f"{code}-D1"] if n < 5 else [])]
        steps.append(Step("person.linked.v1", come, 0, {"person": f"S{n}"}))
        steps += [Step("certification.earned.v1", come, 0, {"person": f"S{n}", "code": each}) for each in held]
    gone = dice.choice((0, 0, 1, 4))
    return steps + [Step("person.unlinked.v1", later, 0, {"person": f"S{n}"}) for n in range(gone)]


def _member(seed: int, era: Era) -> list[Step]:
    """Of another seed for all other steps: some people who hold the codes of some competencies, for a time, some amounts, a purchase, and payments
    about the anniversaries."""
    dice, name = Random(seed), "microsoft-competencies"
    day = era.days[0] + dice.choice((0, 1, 60)) * DAY
    persons, level, codes = "ABCD"[: dice.randrange(1, 5)], dice.choice(("Silver", "Gold", "Gold")), _codes(name)
    steps = [Step("partner.enrolled.v1", day, 0, {"programme": name, "market": dice.choice((None, "developing", "developing"))})]
    steps += [Step("person.linked.v1", day, 0, {"person": person}) for person in persons]
    for group in dice.sample(sorted(codes), 5):
        until = dice.choice((None, None, None, *[day_text(day + days * DAY) for days in (200, 364, 365, 500, 800)]))
        for code in codes[group]:
            held = [person for person in persons if dice.random() < 0.8]
            steps += [Step("certification.earned.v1", day, 0, {"person": person, "code": code, "valid_until": until}) for person in held]
    gone = [person for person in persons if dice.random() < 0.2]
    steps += [Step(dice.choice(("person.left.v1", "person.unlinked.v1")), dice.choice(era.days[3:]), 0, {"person": person}) for person in gone]
    steps += _scored(dice, era) if era.days[-1] > parse("2021-04-01") and dice.random() < 0.7 else []
    for metric, area, service in dice.choices(_asked(name), k=dice.randrange(8)):
        measured = {"metric": metric, "area": area, "service": service, "value": dice.choice(_BARS), "client": dice.choice((None, "C-1", "C-2"))}
        steps += [Step("metric.measured.v1", dice.choice(era.days), 0, measured)]
    steps.append(Step("membership.purchased.v1", day, 0, {"level": level}))
    paid = dice.sample((364, 365, 366, 367, 370, 395, 396, 730, 731, 735, 750, 761, 1097, 1110), dice.randrange(5))
    return steps + [Step("membership.renewed.v1", day + days * DAY, 0, {"level": dice.choice((None, None, "Silver", "Gold"))}) for days in paid]


# -- Microsoft capability score ----------------------------------------------------------------------------------------------

_YEARS = [0, 1, 14, 30, 31, 59, 61, 120, 184, 300, 330, 334, 335, 364, 365, 366, 367, 380, 395, 396, 397, 420, 425, 700, 729, 730, 731, 760, 761, 790]
_CAPABILITY = (
    Era("2022-10-01", _YEARS, "2022-10-03", "2023-09-18", "2023-09-19", "2023-11-02"),
    Era("2022-12-31", _YEARS, "2023-12-01", "2023-09-19", "2023-08-20"),
    Era("2024-02-29", _YEARS, "2025-03-01", "2025-02-28"),
    Era("2025-01-31", _YEARS, "2025-03-01", "2026-01-01", "2025-12-31"),
)
_SKILLS = {
    "data-ai": "DA", "digital-app-innovation": "DI", "infrastructure": "IN", "modern-work": "MW", "security": "SE", "business-applications": "BA",
}  # fmt: skip
_FIGURES = ("0", "-1", "250", "499.99", "500", "1000", "1000.5", "1500", "5000.01", "10000", "25000", "50000", "4", "25", "301", "300", "12")


def _month(dice: Random, area: str, n: int) -> list[dict[str, Any]]:
    """What is measured of an area in a month in which it may come to 70 points, for so many customers."""
    clients = [f"C-{place}" for place in range(1, n + 1)]
    match area:
        case "modern-work":
            seats, service = dice.choice(("301", "301", "320", "300", "12")), dice.choice(("cpor", "cpor", "cpor", "dpor", "csp"))
            users = [{"metric": "active_users", "service": service, "value": dice.choice(("1000", "1000", "4000", "500", "2000", "700"))}]
            both = (("seats", seats), ("active_seats", dice.choice(("130", "121", "120"))))
            each = {"service": service, "workload": "teams"}
            return users + [{**each, "client": client, "metric": metric, "value": value} for client in clients for metric, value in both]
        case "security":
            seats = dice.choice(("25", "25", "301", "300", "24"))
            both = (("seats", seats), ("active_seats", dice.choice(("4", "46", "3"))))
            users = [{"metric": "protected_users", "value": dice.choice(("2500", "2500", "1000", "625"))}]
            return users + [{"client": client, "metric": metric, "value": value} for client in clients for metric, value in both]
        case "business-applications":
            both = (("consumption", dice.choice(("1500", "5000.01", "250", "1499.99"))), ("consumption_value", dice.choice(("16000", "10000", "5000"))))
            return [{"client": client, "workload": "sales", "metric": metric, "value": value} for client in clients for metric, value in both]
    value = dice.choice(("1000", "1000", "999.99", "1500", "500"))
    return [{"client": client, "service": f"s-{client[-1]}", "metric": "consumption", "value": value} for client in clients]


def _before(dice: Random, area: str) -> list[dict[str, Any]]:
    """The base, a year before."""
    match area:
        case "modern-work":
            return []
        case "security":
            return [{"client": "Z", "metric": "consumption", "value": dice.choice(("100", "12000"))}]
        case "business-applications":
            return [{"client": "Z", "workload": "sales", "metric": "consumption_value", "value": dice.choice(("50000", "25000", "49999"))}]
    return [{"client": "Z", "service": "s-9", "metric": "consumption", "value": dice.choice(("1000", "1000", "1200", "999"))}]


def _measured(dice: Random, area: str, day: Instant) -> list[Step]:
    """A month of figures, dated within it, or with the month that they are of some days after it; sometimes those of the year before, too."""
    n = dice.choice((3, 4, 5, 6, 7) if area in ("security", "modern-work") else (2, 3, 4, 5))
    late = dice.choice((0, 0, 0, 20))

    def steps(figures: list[dict[str, Any]], day: Instant) -> list[Step]:
        month = {"month": day_text(day)[:7]} if late else {}
        return [Step("metric.measured.v1", day + late * DAY, 0, {"area": area, **month, **each}) for each in figures]

    return steps(_before(dice, area), minus(day, Span(months=12))) + steps(_month(dice, area, n), day)


def _skilled(dice: Random, area: str, day: Instant) -> list[Step]:
    """Some people who mostly hold all codes of an area."""
    codes = _codes("microsoft-capability")[_SKILLS[area]]
    valid = dice.choice((None, None, None, day_text(day + 366 * DAY), day_text(day + 700 * DAY)))
    steps = []
    for person in "ABCDEFGH"[: dice.choice((3, 4, 5, 6, 6))]:
        steps.append(Step("person.linked.v1", day, 0, {"person": person}))
        for group in sorted({code[:-1] for code in codes}):
            if dice.random() < 0.9:
                held = {"person": person, "code": dice.choice([code for code in codes if code[:-1] == group]), "valid_until": valid}
                steps.append(Step("certification.earned.v1", day, 0, held))
    return steps


def _designated(seed: int, era: Era) -> list[Step]:
    """Of another seed: skills and good months of one or two areas, a purchase, payments about the anniversaries."""
    dice, name = Random(seed), "microsoft-capability"
    areas, day = dice.sample(sorted(_SKILLS), dice.choice((1, 1, 2))), era.days[0] + dice.choice((0, 1, 20)) * DAY
    steps = [Step("partner.enrolled.v1", day, 0, {"programme": name})]
    for area in areas:
        steps += _skilled(dice, area, day)
        for months in sorted({0, *dice.sample((1, 7, 10, 11, 12, 13, 22, 23), dice.randrange(4))}):
            steps += _measured(dice, area, plus(day, Span(months=months)))
    steps += [Step("client.assigned.v1", day, 0, {"client": f"C-{n}", "segment": "smb"}) for n in range(1, dice.choice((1, 5, 6)))]
    bought = day + dice.choice((30, 32, 45, 60, 100)) * DAY
    offer = dice.choice((None, None, areas[0], areas[-1]))
    steps.append(Step("membership.purchased.v1", bought, 0, {"level": "Designated", "offer": offer}))
    paid = dice.sample((364, 365, 366, 367, 370, 390, 395, 396, 731, 735, 750, 761), dice.randrange(5))
    return steps + [Step("membership.renewed.v1", bought + days * DAY, 0, {}) for days in paid]


def _capability(era: Era) -> Strategy[Step]:
    asked, codes = _asked("microsoft-capability"), _codes("microsoft-capability")
    client, area = st.sampled_from(("C-1", "C-2", "C-3", "Z")), st.sampled_from(sorted(_SKILLS))
    service, value = st.sampled_from(("s-1", "s-2", "virtual-machines")), st.sampled_from(_FIGURES)

    def figure(asked: tuple[str, str, str | None], service: str, value: str, client: str, month: str | None) -> dict[str, Any]:
        metric, area, of = asked
        return {"metric": metric, "area": area, "service": of or service, "workload": "teams", "value": value, "client": client, "month": month}

    months = st.one_of(st.none(), st.none(), st.builds(lambda day: day_text(day)[:7], st.sampled_from(era.days)))
    data = st.builds(figure, st.sampled_from(asked), service, value, client, months)
    metric = st.builds(Step, st.just("metric.measured.v1"), era.when, st.sampled_from(_LAGS), data)
    offer, level = st.one_of(st.none(), area), st.just("Designated")
    members = st.one_of(era.step("membership.purchased.v1", level=level, offer=offer), era.step("membership.renewed.v1"))
    segment = st.sampled_from((None, "smb", "enterprise"))
    clients = st.one_of(
        era.step("client.assigned.v1", client=client, segment=segment), era.step("client.changed.v1", client=client, segment=segment),
        era.step("client.released.v1", client=client),
    )  # fmt: skip
    every = tuple(code for group in codes.values() for code in group)
    needs = ("security_score", "data_ai_adds", "data_ai_growth", "modern_work_enterprise_score", "modern_work_smb_growth", "business_applications_score")
    decided = era.decisions("microsoft-capability", ("Designated",), needs, data_ai_consumption=("2000",), security_users=("2500", "-10"))
    return st.one_of(metric, metric, st.one_of(_people(era, "ABC", every)), members, clients, st.one_of(decided))


# -- all of them ------------------------------------------------------------------------------------------------------------

@st.composite
def copernica(draw: st.DrawFn, steps_max: int = 14) -> list[Sealed]:
    names = draw(st.lists(st.sampled_from(_ACTIVITIES), unique=True, max_size=7))
    confirmed = [("activity.confirmed.v1", {"activity": name}) for name in names]
    people = [("person.linked.v1", {"person": who}) for who in "AB"]
    held = [("certification.earned.v1", {"person": who, "code": "advanced"}) for who in "AB"]
    before = at_once("2024-01-30", *confirmed, *(people + held if draw(st.booleans()) else people))
    return seal([*before, *_drawn(draw, _copernica(_COPERNICA), steps_max)])


@st.composite
def licences(draw: st.DrawFn, steps_max: int = 14) -> list[Sealed]:
    return seal(_drawn(draw, _licences(draw(st.sampled_from(_LICENCES))), steps_max))


@st.composite
def competencies(draw: st.DrawFn, steps_max: int = 12) -> list[Sealed]:
    era = draw(st.sampled_from(_COMPETENCIES))
    steps = _drawn(draw, _competencies(era), steps_max)
    before = _member(crc32(repr(steps).encode()), era) if draw(st.sampled_from((True, True, True, False))) else []
    return seal([*before, *steps])


@st.composite
def capability(draw: st.DrawFn, steps_max: int = 10) -> list[Sealed]:
    era = draw(st.sampled_from(_CAPABILITY))
    steps = _drawn(draw, _capability(era), steps_max)
    before = _designated(crc32(repr(steps).encode()), era) if draw(st.sampled_from((True, True, True, True, False))) else []
    return seal([*before, *steps])


HISTORIES: dict[str, Strategy[list[Sealed]]] = {
    "copernica": copernica(),
    "hubspot": hubspot.histories(steps_max=10),
    "microsoft-capability": capability(),
    "microsoft-competencies": competencies(),
    "microsoft-licences": licences(),
}
"""By programme; a programme that ships and is not here fails the tests."""
