"""Members by their sums, whole months, what is asked when a fact enters, and the same a year later: against plain definitions."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import given
from hypothesis import strategies as st

from ledger.events.envelope import Sealed
from ledger.instants import Instant, from_datetime, parse, to_datetime
from ledger.rules.life import Force, Life
from ledger.rules.lint import lint
from ledger.rules.standing import basis, why
from tests.laws.histories import examples
from tests.laws.test_laws import holds
from tests.rules.written import book, life, sealed

SUMS = """book: t/sums
programme: t
effective: 2020-01-01
language: 1
measures:
  spent: {sum: value, of: metered, where: metric == 'spent', for: 1 calendar month}
  spent_then: {like: spent, after: 12 months}
  quarter: {sum: value, of: metered, where: metric == 'spent', for: 3 calendar months, after: 1 month}
  buyers:
    each: [client, workload]
    sums:
      last: {sum: value, of: metered, where: metric == 'spent', for: 1 calendar month}
      before: {sum: value, of: metered, where: metric == 'spent', for: 1 calendar month, after: 1 month}
      seats: {sum: value, of: metric, where: metric == 'seats'}
    is:
      large: last >= 100 or before >= 100
      dense: seats > 0 and last >= 0.5 * seats
      even: last == before and last != 0
  buyers_then: {like: buyers, after: 12 months}
  won: {count: all, of: metric, where: metric == 'seats' and value > 0, joined: client, for: 2 months}
  large_when_bought: {count: all, of: purchase, if: most >= 1, for: 2 months}
numbers:
  most: "1 if buyers.large > 1 or spent >= 300 else 0"
tiers:
  Low: [buyers.large >= 1]
  High: [buyers.large - buyers_then.large >= 1, buyers.dense + quarter + spent - spent_then + buyers_then.dense + large_when_bought + won >= 1, buyers.even + buyers_then.even >= 0]
status: {continuous: {}}
"""

DAYS = [parse(day) for day in ("2022-12-31", "2023-01-01", "2023-01-31", "2023-02-01", "2023-02-28", "2023-03-31", "2023-12-31", "2024-01-01", "2024-01-15", "2024-02-29")]  # fmt: skip
MONTHS = ("2022-12", "2023-01", "2023-02", "2024-01")


@dataclass(frozen=True)
class Said:
    metric: str
    at: Instant
    place: int
    client: str
    workload: str
    value: Fraction
    month: str | None

    @property
    def key(self) -> tuple[str, str]:
        return self.client, self.workload


Told = tuple[list[Said], list[Instant], list[Sealed]]


@st.composite
def histories(draw: st.DrawFn) -> Told:
    said, events = [], list[Sealed]()
    for at, metric, client, workload, value, month in draw(
        st.lists(
            st.tuples(
                st.sampled_from(DAYS), st.sampled_from(("spent", "seats")), st.sampled_from("AB"), st.sampled_from("xy"),
                st.sampled_from(("50", "100", "99.99", "0.01", "-20", "300")), st.one_of(st.none(), st.none(), st.sampled_from(MONTHS)),
            ),
            max_size=9,
        )
    ):  # fmt: skip
        place = len(events) + 1
        said.append(Said(metric, at, place, client, workload, Fraction(value), month))
        events.append(sealed("metric.measured.v1", at, place, metric=metric, client=client, workload=workload, value=value, month=month))
    bought = draw(st.lists(st.sampled_from(DAYS), max_size=2))
    for at in bought:
        events.append(sealed("membership.purchased.v1", at, len(events) + 1, level="High"))
    return said, bought, events


def later(at: Instant, n: int) -> Instant:
    return from_datetime(to_datetime(at) + relativedelta(months=n))


def in_months(one: Said, at: Instant, *, months: int = 1, after: int = 0) -> bool:
    """The fact's own month is one of the full months before `at`, so many months back; before it was true it did not count."""
    own = parse(f"{one.month}-01") if one.month else from_datetime(to_datetime(one.at).replace(day=1))
    this = from_datetime(to_datetime(at).replace(day=1, hour=0, minute=0, second=0, microsecond=0))
    return any(later(own, n + after) == this for n in range(1, months + 1)) and one.at <= at


class Plain:
    """What the rulebook says, asked of one instant."""

    def __init__(self, told: Told) -> None:
        self.said, self.bought, _ = told

    def total(self, at: Instant, key: tuple[str, str] | None = None, *, months: int = 1, after: int = 0) -> Fraction:
        mine = [one for one in self.said if one.metric == "spent" and key in (None, one.key)]
        return sum((one.value for one in mine if in_months(one, at, months=months, after=after)), Fraction(0))

    def seats(self, at: Instant, key: tuple[str, str], after: int) -> Fraction:
        stated = [one for one in self.said if one.metric == "seats" and one.key == key and later(one.at, after) <= at]
        return max(stated, key=lambda one: (one.at, one.place)).value if stated else Fraction(0)

    def members(self, role: str, at: Instant, after: int = 0) -> int:
        found = 0
        for key in {one.key for one in self.said}:
            last, before = self.total(at, key, after=after), self.total(at, key, after=after + 1)
            seats = self.seats(at, key, after)
            found += {"large": last >= 100 or before >= 100, "dense": 0 < seats <= 2 * last, "even": last == before != 0}[role]
        return found

    def there(self, at: Instant, client: str) -> bool:
        keys = {one.key for one in self.said if one.client == client}
        return any(self.seats(at, key, 0) > 0 for key in keys)

    def won(self, at: Instant) -> int:
        """Clients that have seats, since at most two months without a break."""
        found = 0
        for client in {one.client for one in self.said}:
            turns = sorted({one.at for one in self.said if one.at <= at}, reverse=True)
            begun = None
            for turn in turns if self.there(at, client) else ():
                if not self.there(turn, client):
                    break
                begun = turn
            found += begun is not None and at < later(begun, 2)
        return found

    def most(self, at: Instant) -> bool:
        return self.members("large", at) > 1 or self.total(at) >= 300

    def values(self, at: Instant) -> dict[str, Fraction]:
        found: dict[str, Fraction | int] = {
            "spent": self.total(at), "spent_then": self.total(at, after=12), "quarter": self.total(at, months=3, after=1),
            "large_when_bought": sum(day <= at < later(day, 2) and self.most(day) for day in self.bought), "most": int(self.most(at)),
            "won": self.won(at),
        }  # fmt: skip
        for role in ("large", "dense", "even"):
            found |= {f"buyers.{role}": self.members(role, at), f"buyers_then.{role}": self.members(role, at, 12)}
        return {name: Fraction(value) for name, value in found.items()}


ASKED = sorted({later(day, n) + more for day in DAYS for n in (0, 1, 2, 12, 13) for more in (-1, 0)})


@given(histories())
@examples(100)
def test_sums_of_members_and_whole_months_are_what_they_say(told: Told) -> None:
    lived = Life(told[2], [Force(book(SUMS))])
    plain = Plain(told)
    for at in ASKED:
        assert lived.values(at) == plain.values(at), to_datetime(at)


@given(histories(), st.sampled_from(ASKED))
@examples(60)
def test_a_reason_counts_member_after_member(told: Told, at: Instant) -> None:
    lived = life(SUMS, told[2])
    found = why(lived, basis(lived, "P-1", at, len(told[2])))
    for name, reason in found.reasons.items():
        holds(reason)
        assert reason.value == lived.values(at)[name]


@given(histories(), st.sampled_from(ASKED))
@examples(60)
def test_what_lies_ahead_is_the_same_the_short_way(told: Told, at: Instant) -> None:
    lived = life(SUMS, told[2])
    short, long = lived.ahead(at), lived.foresee(at)
    judged = list(book(SUMS).measures)
    for later_on in [each for each in ASKED if each >= at]:
        assert {n: short.values(later_on)[n] for n in judged} == {n: long.values(later_on)[n] for n in judged}


HELD = SUMS.replace("calendar month}", "calendar month, hold: true}").replace("after: 1 month}", "after: 1 month, hold: true}")


@given(histories(), st.sampled_from(ASKED))
@examples(60)
def test_held_figures_stay_as_they_are_foreseen(told: Told, at: Instant) -> None:
    """Neither what leaves later nor what would enter by its month or a year later changes them."""
    events = [sealed for sealed in told[2] if sealed.event.effective_at <= at]
    lived, ahead = life(HELD, events), life(HELD, events, now=at)
    now = lived.values(at)
    for later_on in [each for each in ASKED if each >= at]:
        found = ahead.values(later_on)
        assert {n: found[n] for n in ("spent", "spent_then", "buyers.large")} == {
            n: now[n] for n in ("spent", "spent_then", "buyers.large")
        }


MISTAKES = [
    ("last >= 100 or before >= 100", "last >= 100 or after >= 100", "bad_predicate"),
    ("last >= 100 or before >= 100", "last >= 0", "bad_predicate"),
    ("last >= 100 or before >= 100", "last + before", "bad_predicate"),
    ("last >= 100 or before >= 100", "last >=", "bad_expression"),
    ("      large:", "      is:", "bad_name"),
    ("      last: {sum", "      in: {sum", "bad_name"),
    ("      seats: {sum: value, of: metric,", "      seats: {of: metric,", "bad_aggregate"),
    ("sum: value, of: metric,", "sum: worth, of: metric,", "unknown_name"),
    ("of: metric, where: metric == 'seats'}", "of: metrics, where: metric == 'seats'}", "unknown_fact"),
    ("where: metric == 'seats'}", "where: colour == 'seats'}", "unknown_name"),
    ("each: [client, workload]", "each: [client, colour]", "unknown_name"),
    ("    each: [client, workload]\n", "    each: [client, workload]\n    for: 1 month\n", "unknown_key"),
    ("{like: buyers, after", "{like: sellers, after", "unknown_name"),
    ("{like: buyers, after: 12 months}", "{like: buyers}", "missing_key"),
    ("{like: buyers, after: 12 months}", "{like: buyers, after: 0 days}", "bad_span"),
    ("{like: buyers, after: 12 months}", "{like: buyers, after: 12 months, for: 1 month}", "unknown_key"),
    ("spent_then: {like", "most: {like", "name_twice"),
    ("if: most >= 1", "if: most", "not_a_condition"),
    ("if: most >= 1", "if: several >= 1", "unknown_name"),
    ("if: most >= 1", "if: large_when_bought >= 1", "cycle"),
    ("if: most >= 1", "while: most >= 1", "not_a_map"),
    ("most: \"1 if buyers.large > 1", "most: \"1 if large_when_bought > 1", "cycle"),
    ("joined: client", "joined: colour", "unknown_name"),
    ("for: 3 calendar months", "for: 0 calendar months", "bad_span"),
    ("for: 3 calendar months", "for: 9999 calendar months", "bad_span"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "code"), MISTAKES)
def test_a_mistake_is_told(old: str, new: str, code: str) -> None:
    assert lint(SUMS) == []
    assert old in SUMS
    assert code in [problem.code for problem in lint(SUMS.replace(old, new))]


def test_sums_and_conditions_are_both_needed() -> None:
    bare = SUMS.replace("    is:\n      large", "    was:\n      large")
    assert {"missing_key", "unknown_key"} <= {problem.code for problem in lint(bare)}
