"""Deployment and usage by group, on the rulebooks of Microsoft's licences."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from ledger.errors import NotFound
from ledger.events.envelope import Event, event
from ledger.history import History
from ledger.instants import Instant, parse, text
from ledger.intake import Accepted, Intake
from ledger.log import Log
from ledger.projections import licences as asked
from ledger.projections.licences import Row, Share
from ledger.projections.questions import Moment, Questions
from ledger.projections.store import Store
from ledger.rules.book import load
from ledger.rules.library import Library
from ledger.rules.life import Force, Life
from tests.rules import written

MARCH = parse("2018-03-01")

LIC_B = """
2018-03-01 licences.counted client=A product=E3 service=O365 subscription=S-1 sold=10 active=8
2018-03-01 licences.counted client=A product=E3 service=O365 subscription=S-2 sold=10 active=4 state=grace
"""
LIC_C = """
2018-03-01 licences.counted client=A product=E3 service=O365 subscription=S-1 sold=5 active=5
2018-03-01 licences.counted client=A product=E3 service=O365 subscription=S-2 sold=3 active=3 trial=true
"""
LIC_P = """
2018-03-01 licences.counted client=A product=E3 service=O365 assigned=10 sold=100
2018-03-01 licences.counted client=B product=E3 service=O365 assigned=9 sold=10
"""


def life(history: str) -> Life:
    return Life(written.history(history), Library().force("microsoft-licences"))


def causes(row: Row) -> list[str]:
    return [cause.name.removeprefix("cause_") for cause in row.causes]


def advice(row: Row) -> list[str]:
    return [each.name.removeprefix("advice_") for each in row.advice]


def only(history: str, at: Instant = MARCH) -> Row:
    (row,) = asked.rows(life(history), at)
    return row


def test_lic_b_a_second_subscription_in_grace() -> None:
    row = only(LIC_B)
    assert (row.key, row.usage, row.deployment) == (("A", "E3", "O365", ""), Share(Fraction(12), Fraction(10), Fraction(120)), None)
    assert [cause.words for cause in row.causes] == ["a second subscription, in grace, disabled or deprovisioned, registers activity too"]


def test_lic_c_a_trial() -> None:
    row = only(LIC_C)
    assert row.usage == Share(Fraction(8), Fraction(5), Fraction(160))
    assert causes(row) == ["trial"]


def test_lic_p_the_portfolio_is_weighted_by_seats() -> None:
    row = asked.portfolio(life(LIC_P), MARCH)
    assert row.deployment is not None and row.usage is None
    assert row.deployment.part / row.deployment.whole == Fraction(19, 110)
    assert row.deployment.percent == Fraction(1900, 110)
    by_client = asked.rows(life(LIC_P), MARCH, ("client",))
    assert [(row.key, row.deployment and row.deployment.percent) for row in by_client] == [(("A",), 10), (("B",), 90)]
    assert asked.rows(life(LIC_P), MARCH, ()) == [row]


def test_all_causes_or_none() -> None:
    row = only("2018-03-01 licences.counted client=A product=E3 sold=5 active=10 reassigned=1" + LIC_C.replace("service=O365 ", ""))
    assert causes(row) == ["passed_on", "trial"]
    assert causes(only("2018-03-01 licences.counted client=A product=E3 sold=10 active=11")) == ["unexplained"]
    assert causes(only("2018-03-01 licences.counted client=A product=E3 sold=10 active=10 reassigned=1")) == []


def test_a_group_names_the_causes_of_its_positions() -> None:
    """Yammer is used far beyond its licences; all workloads together are at 105 %."""
    row = asked.portfolio(life("""
        2018-03-01 licences.counted client=A product=E3 workload=Yammer sold=10 active=30
        2018-03-01 licences.counted client=A product=E3 workload=EXO sold=90 active=75
    """), MARCH)  # fmt: skip
    assert row.usage is not None and row.usage.percent == 105
    assert causes(row) == ["far_beyond"]


def test_a_trial_of_another_product_explains_the_portfolio() -> None:
    """The trial has no entitlements of its own, and its activity adds to that of the portfolio."""
    history = """
        2018-03-01 licences.counted client=A product=E3 sold=5 active=5
        2018-03-01 licences.counted client=A product=E5 sold=3 active=3 trial=true
    """
    assert [row.usage and row.usage.bucket for row in asked.rows(life(history), MARCH)] == ["[80,100]", asked.NO_ENTITLEMENTS]
    assert causes(asked.portfolio(life(history), MARCH)) == ["trial"]


def test_what_the_source_does_not_state_is_no_zero() -> None:
    """Deployment is stated by product, usage by workload: neither dilutes the other."""
    found = life("""
        2018-03-01 licences.counted client=A product=E3 service=O365 assigned=90 sold=100
        2018-03-01 licences.counted client=A product=E3 service=O365 workload=EXO sold=100 active=80
        2018-03-01 licences.counted client=A product=E3 service=O365 workload=Teams sold=100 active=40
    """)
    row = asked.portfolio(found, MARCH)
    assert row.deployment == Share(Fraction(90), Fraction(100), Fraction(90))
    assert row.usage == Share(Fraction(120), Fraction(200), Fraction(60))
    workloads = {row.key[3]: (row.deployment is None, row.usage and row.usage.percent) for row in asked.rows(found, MARCH)}
    assert workloads == {"": (False, None), "EXO": (True, 80), "Teams": (True, 40)}


def test_onedrive_counts_together_with_sharepoint() -> None:
    row = only("""
        2018-03-01 licences.counted client=A product=E3 workload=OneDrive sold=10 active=2
        2018-03-01 licences.counted client=A product=E3 workload=SharePoint sold=10 active=8
    """)
    assert (row.key, row.usage) == (("A", "E3", "", "SharePoint"), Share(Fraction(10), Fraction(20), Fraction(50)))


def test_users_and_licences_side_by_side() -> None:
    """Client A's source counts users, that of client B does not: each part is what its own source says."""
    found = life("""
        2021-03-01 licences.counted client=A product=E3 service=O365 sold=10 active=1
        2021-03-01 metric.measured metric=total_users value=8 client=A area=E3 service=O365
        2021-03-01 metric.measured metric=active_users value=6 client=A area=E3 service=O365
        2021-03-01 licences.counted client=B product=E3 service=O365 sold=12 active=4
    """)
    at = parse("2021-03-01")
    assert [row.usage and row.usage.percent for row in asked.rows(found, at)] == [75, Fraction(100, 3)]
    assert asked.portfolio(found, at).usage == Share(Fraction(10), Fraction(20), Fraction(50))


@pytest.mark.parametrize(
    "percent, name",
    [(0, "[0,20)"), (Fraction(1999, 100), "[0,20)"), (20, "[20,40)"), (40, "[40,60)"), (60, "[60,80)"), (80, "[80,100]"), (100, "[80,100]"),
     (Fraction(10001, 100), "above 100"), (None, "no entitlements")],
)  # fmt: skip
def test_buckets_of_twenty(percent: int | Fraction | None, name: str) -> None:
    assert asked.bucket(None if percent is None else Fraction(percent)) == name


def test_clients_in_buckets() -> None:
    found = life(
        LIC_P + LIC_B.replace("client=A", "client=C") + "2018-03-01 licences.counted client=D product=E3 assigned=1 sold=1 trial=true"
    )
    deployed, used = asked.buckets(found, MARCH), asked.buckets(found, MARCH, "usage")
    assert {name: clients for name, clients in deployed.items() if clients} == {
        "[0,20)": ["A"],
        "[80,100]": ["B"],
        "no entitlements": ["D"],
    }
    assert {name: clients for name, clients in used.items() if clients} == {"above 100": ["C"]}
    with pytest.raises(NotFound, match="no report of licences"):
        asked.buckets(found, MARCH, "sales")


def test_own_licences_are_those_of_the_clients_subscriptions() -> None:
    found = life("""
        2018-01-01 client.subscription_started client=A subscription=S-1 line=E3 mrr=10 currency=EUR
        2018-03-01 licences.counted client=A product=E3 subscription=S-1 assigned=5 sold=10
        2018-03-01 licences.counted client=A product=E3 subscription=T-9 assigned=1 sold=30
        2018-03-10 client.subscription_ended client=A subscription=S-1
    """)
    shown = {scope: asked.portfolio(found, MARCH, scope=scope).deployment for scope in (asked.ALL, asked.OWN)}
    assert shown == {"all": Share(Fraction(6), Fraction(40), Fraction(15)), "own": Share(Fraction(5), Fraction(10), Fraction(50))}
    assert asked.rows(found, parse("2018-03-10"), scope=asked.OWN) == []


def test_a_shared_client_through_the_door(tmp_path: Path) -> None:
    """What is counted at the client goes to each of its partners; one's own is what comes through the subscriptions that one stated."""

    def said(kind: str, id: str, subject: str | None, **data: object) -> Event:
        return event(kind, subject=subject, effective_at="2018-03-01", id=id, source="crm", **data)

    now = parse("2018-04-01")
    with Log(tmp_path / "ledger.db") as log:
        events = []
        for partner, sold in (("P-1", 10), ("P-2", 30)):
            of: dict[str, object] = {"client": "A", "subscription": f"S-{partner}"}
            events += [
                said("client.assigned.v1", f"{partner}-1", partner, client="A"),
                said("client.subscription_started.v1", f"{partner}-2", partner, **of, line="E3", mrr="10", currency="EUR"),
                said("licences.counted.v1", f"{partner}-3", None, **of, product="E3", assigned=5, sold=sold),
            ]
        assert all(isinstance(receipt, Accepted) for receipt in Intake(log, lambda: now).record(events))
        store = Store(tmp_path / "read.db")
        questions = Questions(History(log), store, lambda: now)
        for partner, own in (("P-1", 10), ("P-2", 30)):
            found = questions.life(partner, Moment(programme="microsoft-licences"))
            total, ours = asked.portfolio(found, MARCH).deployment, asked.portfolio(found, MARCH, scope=asked.OWN).deployment
            assert total is not None and ours is not None
            assert (total.whole, ours.whole) == (40, own)
        store.close()


def test_a_client_that_has_gone_is_not_shown() -> None:
    found = life(LIC_P + "2018-01-01 client.assigned client=A\n2018-03-05 client.released client=A")
    assert [row.key for row in asked.rows(found, parse("2018-03-04"), ("client",))] == [("A",), ("B",)]
    assert [row.key for row in asked.rows(found, parse("2018-03-05"), ("client",))] == [("B",)]


def test_as_of_and_the_latest_count() -> None:
    found = life("""
        2018-03-01 licences.counted client=A product=E3 sold=10 active=8
        2018-03-05 licences.counted client=A product=E3 sold=10 active=9
    """)
    used = [asked.portfolio(found, parse(day)).usage for day in ("2018-02-28", "2018-03-04", "2018-03-05", "2018-04-02")]
    assert [share and share.percent for share in used] == [None, 80, 90, 0]
    assert asked.processed_at(found, parse("2018-03-04")) == MARCH
    assert asked.processed_at(found, parse("2020-01-01")) == parse("2018-03-05")
    assert asked.processed_at(found, parse("2018-02-01")) is None


def test_a_reversed_count_was_never_there() -> None:
    reversal = written.sealed(
        "event.reversed.v1", parse("2018-03-02"), 2, reverses={"source": "test", "id": "1"}, reason="wrong", author="me"
    )
    events = [*written.history("2018-03-01 licences.counted client=A product=E3 sold=10 active=8"), reversal]
    assert asked.rows(Life(events, Library().force("microsoft-licences")), MARCH) == []


def test_advice_stands_beside_the_numbers() -> None:
    row = only("2018-03-01 licences.counted client=A product=E3 sold=100 assigned=39 active=39")
    assert [each.words for each in row.advice] == ["customers do not see the benefit: case studies, user stories, blogs and videos"]
    assert advice(only("2018-03-01 licences.counted client=A product=E3 sold=10 assigned=9 active=9")) == ["upsell"]
    assert advice(only("2018-03-01 licences.counted client=A product=E3 sold=10 assigned=9")) == []
    (client,) = asked.rows(life("""
        2018-03-01 licences.counted client=A product=E3 sold=10 assigned=5 active=5
        2018-03-01 metric.measured metric=support_calls value=1 client=A
    """), MARCH, ("client",))  # fmt: skip
    assert advice(client) == ["training"]


def test_the_export_of_deployment() -> None:
    found = life(
        "2018-03-01 licences.counted client=A product=E3 service=O365 assigned=1 sold=3 channel=CSP\n2018-03-01 licences.counted client=B product=E3 assigned=1 sold=3 trial=true"
    )
    exported = list(asked.export(found, MARCH, names={"A": "Contoso", "O365": "Office 365"}))
    assert tuple(exported[0]) == asked.DEPLOYMENT_COLUMNS
    assert exported[0] == {
        "customerId": "A", "customerName": "Contoso", "productName": "E3", "serviceCode": "O365", "serviceName": "Office 365",
        "channel": "CSP", "licensesDeployed": 1, "licensesSold": 3, "deploymentPercent": Fraction(100, 3),
        "processedDateTime": text(MARCH),
    }  # fmt: skip
    assert (exported[1]["customerId"], exported[1]["licensesSold"], exported[1]["deploymentPercent"]) == ("B", 0, None)
    assert list(asked.export(found, MARCH, "usage")) == []


def test_the_export_of_usage_has_one_row_per_product_and_workload() -> None:
    found = life("""
        2018-03-01 licences.counted client=A product=E3 service=O365 workload=EXO sold=10 active=8 channel=CSP
        2018-03-01 licences.counted client=A product=E3 service=O365 workload=Teams sold=10 active=12 channel=CSP subscription=S-1
        2018-03-01 licences.counted client=A product=E3 service=O365 workload=Teams sold=10 active=1 channel=EA subscription=S-2
    """)
    exported = list(asked.export(found, MARCH, "usage"))
    assert tuple(exported[0]) == asked.USAGE_COLUMNS
    assert [(row["workloadCode"], row["licensesActive"], row["licensesQualified"], row["usagePercent"], row["channel"]) for row in exported] == [
        ("EXO", 8, 10, 80, "CSP"), ("Teams", 13, 20, 65, "CSP, EA"),
    ]  # fmt: skip


def test_a_position_is_the_rulebook_over_its_own_facts() -> None:
    """Of one client, product, service and workload it says what the rulebook says of a partner that has nothing else."""
    whole = life(LIC_B + LIC_C.replace("client=A", "client=B"))
    for position, history in zip(asked.positions(whole, MARCH), (LIC_B, LIC_C), strict=True):
        assert position.values == life(history).values(MARCH)


def test_other_rulebooks_are_not_about_licences() -> None:
    found = Life(written.history(LIC_P), Library().force("hubspot"))
    with pytest.raises(NotFound, match="no rulebook about licences"):
        asked.rows(found, MARCH)
    with pytest.raises(NotFound, match="no rulebook about licences"):
        asked.portfolio(found, MARCH)


def test_unknown_fields_and_scopes() -> None:
    with pytest.raises(NotFound, match="'colour' is no field of licences"):
        asked.rows(life(LIC_P), MARCH, ("colour",))
    with pytest.raises(NotFound, match="'theirs' is no scope of licences"):
        asked.rows(life(LIC_P), MARCH, scope="theirs")


def test_nothing_is_known_of_the_programme_but_its_rulebook() -> None:
    """Another rulebook with the same names, without words, causes or positions."""
    book = load("""
book: acme/seats
programme: acme
effective: 2018-01-01
language: 1
measures:
  sold: {sum: sold, of: licences}
  assigned: {sum: assigned, of: licences}
  used: {sum: active, of: licences}
numbers:
  entitled: sold / 2
  deployment: 100 * assigned / sold if sold > 0 else 0
  usage: 100 * used / entitled if entitled > 0 else 0
status: {continuous: {}}
""")
    (row,) = asked.rows(Life(written.history(LIC_B), [Force(book)]), MARCH)
    assert (row.usage, row.causes, row.advice) == (Share(Fraction(12), Fraction(10), Fraction(120)), (), ())
