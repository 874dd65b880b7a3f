"""Random histories of one partner of each programme whose rulebooks ship: clustered where its rules turn, recorded early and late."""

from __future__ import annotations

import re
from random import Random
from typing import Any
from zlib import crc32

from hypothesis import strategies as st

from ledger.events.envelope import Sealed
from ledger.instants import DAY, SECOND, Instant, day_text, parse
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
)


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


def _member(seed: int, era: Era) -> list[Step]:
    """Of another seed for all other steps: some people who hold the codes of some competencies, some amounts, a purchase, and payments about the anniversaries."""
    dice, name = Random(seed), "microsoft-competencies"
    day = era.days[0] + dice.choice((0, 1, 60)) * DAY
    persons, level, codes = "ABCD"[: dice.randrange(1, 5)], dice.choice(("Silver", "Gold", "Gold")), _codes(name)
    steps = [Step("partner.enrolled.v1", day, 0, {"programme": name, "market": dice.choice((None, "developing"))})]
    steps += [Step("person.linked.v1", day, 0, {"person": person}) for person in persons]
    for code in [code for group in dice.sample(sorted(codes), 5) for code in codes[group]]:
        held = [person for person in persons if dice.random() < 0.8]
        steps += [Step("certification.earned.v1", day, 0, {"person": person, "code": code}) for person in held]
    for metric, area, service in dice.choices(_asked(name), k=dice.randrange(8)):
        measured = {"metric": metric, "area": area, "service": service, "value": dice.choice(_BARS), "client": dice.choice((None, "C-1", "C-2"))}
        steps += [Step("metric.measured.v1", dice.choice(era.days), 0, measured)]
    steps.append(Step("membership.purchased.v1", day, 0, {"level": level}))
    paid = dice.sample((364, 365, 366, 367, 370, 395, 396, 730, 731, 735, 750, 761), dice.randrange(4))
    return steps + [Step("membership.renewed.v1", day + days * DAY, 0, {"level": dice.choice((None, None, "Silver", "Gold"))}) for days in paid]


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


HISTORIES: dict[str, Strategy[list[Sealed]]] = {
    "copernica": copernica(),
    "hubspot": hubspot.histories(steps_max=10),
    "microsoft-competencies": competencies(),
    "microsoft-licences": licences(),
}
"""By programme; a programme that ships and is not here fails the tests."""
