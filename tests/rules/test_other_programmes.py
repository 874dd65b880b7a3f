"""The cores of four more programmes in the language as it is: the worked examples of their fact sheets that it can say.

Each is a small rulebook with cases, written as an author of rulebooks would write them. Thresholds and lists are shortened.
"""

from __future__ import annotations

import pytest

from ledger.rules import golden
from ledger.rules.book import Book
from ledger.rules.library import Library
from tests.rules.written import book


def examined(cases: str, *books: Book) -> None:
    outcome = golden.run(cases, "cases.yaml", Library(books=books))
    assert outcome.expectations > 0
    assert not outcome.mismatches, "\n".join(map(str, outcome.mismatches))


def people(codes: str, *, since: str = "2023-01-01") -> str:
    """`A:DA1 B:DA1,DA3` as linked people with their certificates."""
    lines = []
    for who, _, held in (each.partition(":") for each in codes.split()):
        lines.append(f"      - {{kind: person.linked.v1, at: {since}, person: {who}}}")
        lines += [f"      - {{kind: certification.earned.v1, at: {since}, person: {who}, code: {code}}}" for code in held.split(",")]
    return "\n".join(lines)


# -- Microsoft competencies ------------------------------------------------------------------------------------------

COMPETENCIES = """
book: ms/competencies
programme: ms
effective: 2017-07-18
language: 1
lists: {applications: [E480, E483, E486], technical: [T1, T2, T3], functional: [F1, F2]}
measures:
  people:
    each: person
    of: certificate
    while: {of: link, by: person}
    is:
      dev: n('D1', 'D2') >= 2
      dev_more: n('D1', 'D2', 'D3') >= 3
      app: any(applications)
      sell: all('S1', 'S2')
      advise: any('P1')
      tech: n(technical) >= 2
      both: n(technical) >= 2 and any(functional)
  revenue: {sum: value, of: metered, where: metric == 'revenue', for: 12 months, hold: true}
  developing: {count: all, of: partner, where: market == 'developing'}
numbers:
  bar: 0.5 if developing >= 1 else 1
levels: [Silver, Gold]
awards:
  DevOps: {tiers: {Silver: [people.dev >= 2, people.dev_more >= 1], Gold: [people.dev >= 4, people.dev_more >= 2]}}
  Application Development: {tiers: {Silver: [people.app >= 2], Gold: [people.app >= 4]}}
  Cloud CRM:
    options:
      reseller:
        Silver: [revenue >= 100000 * bar, "team(people, 1, sell, 1, advise)"]
        Gold: [revenue >= 300000 * bar, "team(people, 2, sell, 2, advise)"]
  Cloud Business Applications:
    options:
      the same people: {Silver: [people.both >= 5]}
      technical people alone: {Silver: [people.tech >= 7]}
status:
  membership: {renewal: 30 days, remind: [-15 days, 23 days], next: {2017-07-18: renewal + 365 days, 2018-07-24: anniversary + 365 days}}
overrides: {tier: performance}
"""


def competency(award: str, events: str, performance: str) -> str:
    ask = f"{{as_of: 2023-06-01, award: {award}}}"
    return f"programme: ms\ncases:\n  - case: one\n    events:\n{events}\n    ask: {ask}\n    expect: {{performance: {performance}}}\n"


@pytest.mark.parametrize(
    ("award", "held", "performance"),
    [
        ("DevOps", "A:D1,D2 B:D1,D2", "none"),
        ("DevOps", "A:D1,D2,D3 B:D1,D2", "Silver"),
        ("DevOps", "A:D1,D2 B:D1,D2 C:D3", "none"),
        ("DevOps", "A:D1,D2,D3 B:D1,D2,D3 C:D1,D2 D:D1,D2", "Gold"),
        ("Application Development", "A:E480 B:E486", "Silver"),
        ("Application Development", "A:E480,E483 B:T1", "none"),
        ("Cloud Business Applications", "A:T1,T2,F1 B:T1,T3,F1 C:T2,T3,F2 D:T1,T2,F2 E:T1,T2,F1,F2", "Silver"),
        ("Cloud Business Applications", "A:T1,T2 B:T1,T3,F1 C:T2,T3,F2 D:T1,T2,F2 E:T1,T2,F1 F:F1", "none"),
    ],
)
def test_the_same_people(award: str, held: str, performance: str) -> None:
    examined(competency(award, people(held), performance), book(COMPETENCIES))


@pytest.mark.parametrize(
    ("held", "revenue", "market", "performance"),
    [
        ("A:S1,S2,P1", 100_000, "developed", "none"),
        ("A:S1,S2 B:P1", 100_000, "developed", "Silver"),
        ("A:S1,S2,P1 B:P1", 100_000, "developed", "Silver"),
        ("A:S1,S2,P1 B:S1", 100_000, "developed", "none"),
        ("A:S1,S2 B:P1", 99_999, "developed", "none"),
        ("A:S1,S2 B:P1", 50_000, "developing", "Silver"),
        ("A:S1,S2,P1 B:S1,S2,P1 C:P1 D:P1", 150_000, "developing", "Gold"),
        ("A:S1,S2,P1 B:S1,S2,P1 C:P1", 150_000, "developing", "Silver"),
    ],
)
def test_the_other_people_and_a_developing_market(held: str, revenue: int, market: str, performance: str) -> None:
    events = f"""{people(held)}
      - {{kind: partner.enrolled.v1, at: 2022-01-01, programme: ms, market: {market}}}
      - {{kind: metric.measured.v1, at: 2023-05-31, metric: revenue, value: "{revenue}"}}"""
    examined(competency("Cloud CRM", events, performance), book(COMPETENCIES))


def test_each_award_by_its_own_rule_one_membership_for_all() -> None:
    examined(
        f"""programme: ms
cases:
  - case: two awards share the year; one of them fails at its anniversary
    events:
{people("A:D1,D2,D3,E480 B:D1,D2,E480", since="2018-01-01")}
      - {{kind: membership.purchased.v1, at: 2018-09-01, level: Silver}}
      - {{kind: person.left.v1, at: 2019-03-01, person: B}}
      - {{kind: person.linked.v1, at: 2019-03-01, person: C}}
      - {{kind: certification.earned.v1, at: 2019-03-01, person: C, code: E483}}
      - {{kind: membership.renewed.v1, at: 2019-09-10}}
    ask: {{as_of: 2019-08-31}}
    expect:
      awards:
        DevOps: {{credited: Silver, performance: none, status: active, anniversary: 2019-09-01}}
        Application Development: {{credited: Silver, performance: Silver, status: active}}
        Cloud CRM: {{credited: none, status: started}}
    then:
      - ask: {{as_of: 2019-09-05}}
        expect: {{awards: {{DevOps: {{credited: none}}, Application Development: {{credited: Silver, status: in grace}}}}}}
      - ask: {{as_of: 2019-09-10}}
        expect: {{awards: {{Application Development: {{credited: Silver, status: active, anniversary: 2020-08-31}}}}}}
""",
        book(
            COMPETENCIES.replace(
                "Cloud CRM:\n    options:\n      reseller:\n        Silver: [",
                "Cloud CRM:\n    options:\n      reseller:\n        Silver: [people.app >= 1, ",
            )
        ),
    )


SCORED = """
book: ms/score
programme: ms
effective: 2021-04-01
language: 1
tables: {line: {values: {revenue: 300000, adds: 10, consultants: 15}}}
measures:
  revenue: {sum: value, of: metered, where: metric == 'revenue', for: 12 months, hold: true}
  adds: {sum: value, of: metered, where: metric == 'adds', for: 12 months, hold: true}
  users: {sum: value, of: metric, where: metric == 'users', hold: true}
  users_then: {sum: value, of: metric, where: metric == 'users', after: 12 months}
  people: {each: person, of: certificate, is: {functional: "any('F1', 'F2')"}}
numbers:
  revenue_points: 10 * max(0, min(1, revenue / line['revenue']))
  add_points: 10 * max(0, min(1, adds / line['adds']))
  consultant_points: 15 * min(1, people.functional / line['consultants'])
  growth_points: "25 * max(0, min(1, 4 * (users - users_then) / users_then)) if users_then >= 250 else 0"
  score: revenue_points + add_points + consultant_points + growth_points
tiers: {Silver: [score >= 20], Gold: [score >= 30]}
status: {membership: {renewal: 30 days}}
"""


def test_pci1_partial_points_are_linear() -> None:
    events = people("A:F1 B:F2 C:F1,F2", since="2021-05-01")
    examined(
        f"""programme: ms
cases:
  - case: PCI1
    events:
{events}
      - {{kind: metric.measured.v1, at: 2021-05-31, metric: revenue, value: "150000"}}
      - {{kind: metric.measured.v1, at: 2021-05-31, metric: adds, value: "-3"}}
      - {{kind: metric.measured.v1, at: 2021-05-31, metric: users, value: "250"}}
      - {{kind: metric.measured.v1, at: 2022-05-31, metric: users, value: "300"}}
    ask: {{as_of: 2021-06-01}}
    expect: {{revenue_points: 5, add_points: 0, consultant_points: 3, growth_points: 0, score: 8, performance: none}}
    then:
      - {{ask: {{as_of: 2022-05-30}}, expect: {{users_then: 0, revenue_points: 5}}}}
      - {{ask: {{as_of: 2022-05-31}}, expect: {{users: 300, users_then: 250, growth_points: 20, revenue_points: 0}}}}
""",
        book(SCORED),
    )


# -- Microsoft capability score ----------------------------------------------------------------------------------------

CAPABILITY = """
book: ms/capability
programme: msc
effective: 2022-10-03
language: 1
tables:
  gate: {rows: {2022-10-03: {security: 1}, 2023-12-01: {security: 2}}}
measures:
  da: {each: person, of: certificate, while: {of: link, by: person}, is: {s1: "any('DA1')", s2: "any('DA2')", s3: "any('DA3')"}}
  sec: {each: person, of: certificate, while: {of: link, by: person}, is: {s1: "any('SC1')", s2: "any('SC2')", s3: "any('SC3')"}}
  inf: {each: person, of: certificate, while: {of: link, by: person}, is: {s1: "any('IN1')", s2: "any('IN2')"}}
  cpor: {sum: value, of: metric, where: metric == 'cpor_users', hold: true}
  dpor: {sum: value, of: metric, where: metric == 'dpor_users', hold: true}
  buyers: {distinct: client, of: metered, where: metric == 'consumption' and value >= 1000, for: 2 months, hold: true}
  buyers_then: {distinct: client, of: metered, where: metric == 'consumption' and value >= 1000, for: 2 months, after: 12 months}
  spend: {sum: value, of: metered, where: metric == 'consumption', for: 1 month, hold: true}
  spend_then: {sum: value, of: metered, where: metric == 'consumption', for: 1 month, after: 12 months}
  services: {distinct: service, of: metered, where: metric == 'consumption' and value > 0, for: 12 months}
numbers:
  da_skill: min(40, 4 * da.s3) if da.s1 >= 2 and da.s2 >= 2 else 0
  da_skill_smb: min(40, (4 if da.s1 >= 1 else 0) + (4 + 4 * da.s3 if da.s1 >= 1 and da.s2 >= 1 else 0))
  sec_skill: "min(40, 40 / 6 * sec.s3) if sec.s1 >= gate['security'] and sec.s2 >= gate['security'] else 0"
  inf_skill_smb: min(20, 4 + 4 * inf.s2 if inf.s1 >= 1 else 0)
  mw_usage: min(30, 30 * max(cpor / 1000, dpor / 4000))
  da_adds: max(0, min(30, 10 * (buyers - buyers_then)))
  da_growth: max(0, min(20, 100 * (spend - spend_then) / spend_then)) if spend_then > 0 else 0
  da_deployments: min(10, 2 * services)
  da_score: da_skill + da_adds + da_growth + da_deployments
levels: [Designated]
awards:
  Data and AI: {tiers: {Designated: [da_score >= 70, "min(da_skill, da_adds, da_growth, da_deployments) > 0"]}}
  Modern Work: {tiers: {Designated: [mw_usage >= 15]}}
  Security: {tiers: {Designated: [sec_skill > 0]}}
  Infrastructure: {tiers: {Designated: [inf_skill_smb > 4]}}
  Data and AI SMB: {tiers: {Designated: [da_skill_smb > 4]}}
status:
  membership: {renewal: 30 days, test_months: 6, next: {2022-10-03: renewal + 365 days}}
"""


@pytest.mark.parametrize(
    ("example", "held", "at", "expected"),
    [
        ("DA1", "A:DA1 B:DA1 C:DA2 D:DA2 E:DA3 F:DA3 G:DA3", "2023-06-01", "da_skill: 12"),
        ("DA3", "A:DA1,DA3 B:DA1,DA3", "2023-06-01", "da_skill: 0"),
        ("DA3, then", "A:DA1,DA3 B:DA1,DA3 C:DA2 D:DA2", "2023-06-01", "da_skill: 8"),
        ("SEC1", "A:SC1 B:SC2 C:SC3", "2023-11-30", "sec_skill: 20/3"),
        ("SEC1, a day later", "A:SC1 B:SC2 C:SC3", "2023-12-01", "sec_skill: 0"),
        ("SEC26E1", "A:SC1 B:SC1 C:SC2 D:SC2 E:SC3 F:SC3 G:SC3", "2026-02-01", "sec_skill: 20"),
        ("DA26S1", "A:DA1 B:DA1 C:DA3 D:DA3", "2026-02-01", "da_skill_smb: 4"),
        ("IN26S1", "A:IN1 B:IN1 C:IN2 D:IN2", "2026-02-01", "inf_skill_smb: 12"),
    ],
)
def test_skilling_by_gates(example: str, held: str, at: str, expected: str) -> None:
    cases = f"programme: msc\ncases:\n  - case: {example!r}\n    events:\n{people(held)}\n    ask: {{as_of: {at}}}\n    expect: {{{expected}}}\n"
    examined(cases, book(CAPABILITY))


def measured(metric: str, at: str, value: str, **more: str) -> str:
    fields = "".join(f", {name}: {what}" for name, what in more.items())
    return f'      - {{kind: metric.measured.v1, at: {at}, metric: {metric}, value: "{value}"{fields}}}'


def test_mw1_the_better_of_two() -> None:
    events = "\n".join([measured("dpor_users", "2023-01-31", "2000"), measured("cpor_users", "2023-01-31", "1500")])
    examined(
        f"programme: msc\ncases:\n  - case: MW1\n    events:\n{events}\n    ask: {{as_of: 2023-06-01}}\n    expect: {{mw_usage: 30}}\n",
        book(CAPABILITY),
    )


def test_net_customers_growth_and_deployments_against_a_year_ago() -> None:
    rows = [
        measured("consumption", "2023-04-30", "1000", client="C-1", service="sql"), measured("consumption", "2023-04-30", "999", client="C-2", service="sql"),
        measured("consumption", "2024-04-30", "1199", client="C-1", service="sql"), measured("consumption", "2024-04-30", "1000", client="C-2", service="ml"),
        measured("consumption", "2024-03-31", "1000", client="C-3", service="lake"),
    ]  # fmt: skip
    examined(
        "programme: msc\ncases:\n  - case: a year ago\n    events:\n"
        + "\n".join(rows)
        + "\n    ask: {as_of: 2024-05-01}\n    expect: {buyers: 3, buyers_then: 1, da_adds: 20, spend: 2199, spend_then: 1999, da_growth: 20000/1999, da_deployments: 6}\n",
        book(CAPABILITY),
    )


def test_ann1_all_designations_share_the_anniversary_of_the_first() -> None:
    rows = [
        measured("cpor_users", "2022-10-31", "1000"), people("A:SC1 B:SC2 C:SC3 D:IN1 E:IN2", since="2022-11-01"),
        "      - {kind: membership.purchased.v1, at: 2022-11-10, level: Designated, offer: Modern Work}".replace("Modern Work", "mw"),
        "      - {kind: membership.purchased.v1, at: 2023-01-10, level: Designated, offer: inf}",
        "      - {kind: membership.purchased.v1, at: 2023-02-10, level: Designated, offer: sec}",
    ]  # fmt: skip
    named = CAPABILITY.replace("  Modern Work:", "  mw:").replace("  Security:", "  sec:").replace("  Infrastructure:", "  inf:")
    examined(
        "programme: msc\ncases:\n  - case: ANN1\n    events:\n" + "\n".join(rows)
        + """
    ask: {as_of: 2023-02-09}
    expect: {awards: {mw: {credited: Designated, anniversary: 2023-11-10}, inf: {credited: Designated, anniversary: 2023-11-10}, sec: {credited: none, status: qualified}}}
    then:
      - {ask: {as_of: 2023-02-10}, expect: {awards: {sec: {credited: Designated, anniversary: 2023-11-10}}}}
""",
        book(named),
    )  # fmt: skip


@pytest.mark.parametrize(("gone", "credited"), [("2024-02-29", "none"), ("2024-03-01", "none"), ("2024-03-01T00:00:01Z", "Designated")])
def test_win3_not_enrolled_any_day_of_this_month_and_five_before(gone: str, credited: str) -> None:
    """WIN3: looked at on 2024-08-15, the window is 1 March to 15 August 2024."""
    rows = [
        people("A:SC1 B:SC1 C:SC2 D:SC2 E:SC3"), f'      - {{kind: person.left.v1, at: "{gone}", person: E}}',
        "      - {kind: membership.purchased.v1, at: 2024-08-15, level: Designated}",
    ]  # fmt: skip
    cases = (
        "programme: msc\ncases:\n  - case: WIN3\n    events:\n"
        + "\n".join(rows)
        + f"\n    ask: {{as_of: 2024-08-15, award: Security}}\n    expect: {{credited: {credited}}}\n"
    )
    examined(cases, book(CAPABILITY))


# -- licence analytics -------------------------------------------------------------------------------------------------

LICENCES = """
book: ms/licences
programme: licences
effective: 2020-11-17
language: 1
measures:
  sold: {sum: sold, of: licences, where: state == 'active' and not trial, unit: licences}
  assigned: {sum: assigned, of: licences, where: state == 'active' and not trial, unit: licences}
  active: {sum: active, of: licences, unit: licences}
  active_in_grace: {sum: active, of: licences, where: state != 'active', unit: licences}
  active_in_trial: {sum: active, of: licences, where: trial, unit: licences}
numbers:
  deployment: 100 * assigned / sold if sold > 0 else 0
  usage: 100 * active / sold if sold > 0 else 0
show: [deployment, usage, active_in_grace, active_in_trial]
status: {continuous: {}}
"""


def test_licences_of_a_portfolio() -> None:
    examined(
        """programme: licences
cases:
  - case: LIC-B, two subscriptions for one SKU, one of them in grace
    events:
      - {kind: licences.counted.v1, at: 2022-01-01, client: C-1, product: O365, subscription: S-1, sold: 10, active: 10}
      - {kind: licences.counted.v1, at: 2022-01-01, client: C-1, product: O365, subscription: S-2, sold: 10, active: 2, state: grace}
    ask: {as_of: 2022-01-02}
    expect: {usage: 120, active_in_grace: 2}
  - case: LIC-C, a trial is active and not sold
    events:
      - {kind: licences.counted.v1, at: 2022-01-01, client: C-1, product: O365, subscription: S-1, sold: 5, active: 5}
      - {kind: licences.counted.v1, at: 2022-01-01, client: C-1, product: O365, subscription: S-2, sold: 3, active: 3, trial: true}
    ask: {as_of: 2022-01-02}
    expect: {usage: 160, active_in_trial: 3}
  - case: LIC-P, weighted by seats
    events:
      - {kind: licences.counted.v1, at: 2022-01-01, client: A, product: O365, sold: 100, assigned: 10}
      - {kind: licences.counted.v1, at: 2022-01-01, client: B, product: O365, sold: 10, assigned: 9}
      - {kind: licences.counted.v1, at: 2022-02-01, client: B, product: O365, sold: 10, assigned: 10}
    ask: {as_of: 2022-01-02}
    expect: {deployment: 190/11}
    then: [{ask: {as_of: 2022-02-01}, expect: {deployment: 200/11}}]
""",
        book(LICENCES),
    )


# -- Copernica ---------------------------------------------------------------------------------------------------------

COPERNICA = """
book: copernica/achievements
programme: copernica
effective: 2012-01-01
language: 1
zone: Europe/Amsterdam
tables:
  weight: {values: {profile: !assumed 10, registered: !assumed 10, article: !assumed 10, fair: !assumed 10, link: !assumed 5, default: 0}}
measures:
  done: {sum: 1, of: activity, where: state == 'confirmed', times: "weight[activity]"}
  staff: {distinct: person, of: certificate, where: code == 'advanced', while: {of: link, by: person}}
  accounts: {distinct: client, of: client}
  emails: {sum: value, of: metered, where: metric == 'emails', for: 1 month, hold: true}
numbers:
  certified_users: !assumed 20 if staff >= 2 else 0
  active_accounts: !assumed 20 * min(1, accounts / 3)
  sent: !assumed 15 if emails > 1500 else 0
  score: min(100, done + certified_users + active_accounts + sent)
show: [score, sent, certified_users, active_accounts]
status: {continuous: {}}
"""


def test_achievements() -> None:
    examined(
        """programme: copernica
cases:
  - case: C1
    events:
      - {kind: activity.confirmed.v1, at: 2013-01-01, activity: registered}
      - {kind: activity.confirmed.v1, at: 2013-02-01, activity: article}
      - {kind: activity.claimed.v1, at: 2013-02-01, activity: fair}
      - {kind: client.assigned.v1, at: 2013-02-01, client: C-1}
      - {kind: client.assigned.v1, at: 2013-02-01, client: C-2}
      - {kind: metric.measured.v1, at: 2013-05-20, metric: emails, value: "1600"}
      - {kind: activity.confirmed.v1, at: 2013-06-25, activity: fair}
      - {kind: client.released.v1, at: 2013-06-26, client: C-2}
      - {kind: activity.withdrawn.v1, at: 2013-06-27, activity: article}
    ask: {as_of: 2013-06-01}
    expect: {score: 145/3, done: 20, sent: 15, certified_users: 0, active_accounts: 40/3}
    then:
      - {ask: {as_of: "2013-06-19T23:59:59Z"}, expect: {sent: 15}}
      - {ask: {as_of: 2013-06-20}, expect: {sent: 0, score: 100/3}}
      - {ask: {as_of: 2013-06-25}, expect: {done: 30}}
      - {ask: {as_of: 2013-06-26}, expect: {active_accounts: 20/3}}
      - {ask: {as_of: 2013-06-27}, expect: {done: 20}}
  - case: C2
    events:
      - {kind: activity.confirmed.v1, at: 2014-01-01, activity: profile}
      - {kind: activity.claimed.v1, at: 2014-01-01, activity: registered}
      - {kind: activity.rejected.v1, at: 2014-01-02, activity: registered}
      - {kind: person.linked.v1, at: 2014-01-01, person: A}
      - {kind: certification.earned.v1, at: 2014-01-01, person: A, code: advanced}
      - {kind: client.assigned.v1, at: 2014-01-01, client: C-1}
      - {kind: client.assigned.v1, at: 2014-01-01, client: C-2}
      - {kind: client.assigned.v1, at: 2014-01-01, client: C-3}
      - {kind: metric.measured.v1, at: 2014-05-20, metric: emails, value: "1600"}
    ask: {as_of: 2014-06-01}
    expect: {score: 45, staff: 1}
""",
        book(COPERNICA),
    )
