"""HubSpot's six rulebooks as plain Python, from the fact sheet: thresholds, rates, currency rows, growth markets.

It shares nothing with the YAML books but the names of measures and tiers.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ledger.instants import Instant, parse

LATIN_AMERICA = "AR BO BR CL CO CR CU DO EC GT HN MX NI PA PE PY SV UY VE"
NORTH_ASIA = "CN MN KR"
SOUTH_EAST_ASIA = "BD BN KH HK ID LA MY MV MM NP PK PH LK SG TW TH TL VN"
GROWTH = frozenset(f"IN {LATIN_AMERICA} {NORTH_ASIA} {SOUTH_EAST_ASIA}".split())

SWITCH = parse("2025-07-15")
_UNTIL_2025 = "USD 100 AUD 105 COP 300300 EUR 75 GBP 62.50 SGD 140 JPY 12000 ZAR 1545 CAD 130"
_FROM_2025 = "USD 100 AUD 154 COP 408000 EUR 88 GBP 74 SGD 129 JPY 14400 ZAR 1768 CAD 130"


def _row(text: str) -> dict[str, Fraction]:
    words = text.split()
    return {currency: Fraction(amount) for currency, amount in zip(words[::2], words[1::2], strict=True)}


OLD_ROW, NEW_ROW = _row(_UNTIL_2025), _row(_FROM_2025)
NEW_RATES = parse("2024-02-27")


@dataclass(frozen=True)
class Rules:
    """One book. `needs` are the tiers from the lowest, each with its requirements as (name, relation, line)."""

    name: str
    since: Instant
    points: bool
    needs: tuple[tuple[str, tuple[tuple[str, str, Fraction], ...]], ...]
    sourced_rate: Fraction = Fraction(0)
    switches_currency: bool = False
    local_market: bool = False
    deals_only_from: Instant | None = None

    @property
    def sold(self) -> str:
        return "sold" if self.points else "sold_mrr"

    @property
    def managed(self) -> str:
        return "managed" if self.points else "managed_mrr"

    @property
    def tiers(self) -> tuple[str, ...]:
        return tuple(tier for tier, _ in self.needs)

    def rank(self, tier: str | None) -> int:
        return self.tiers.index(tier) + 1 if tier in self.tiers else 0

    def needs_of(self, tier: str) -> tuple[tuple[str, str, Fraction], ...]:
        return dict(self.needs)[tier]

    def rate(self, deal_type: str, origin: Instant, growth: bool) -> Fraction:
        """Points per US$100 sold: three, or five for sourced lines first sold since the book that says so; double in growth markets."""
        assert deal_type in ("sourced", "assisted"), deal_type
        base = self.sourced_rate if deal_type == "sourced" and origin >= NEW_RATES else Fraction(3)
        return base * (2 if growth else 1)

    def row(self, at: Instant) -> dict[str, Fraction]:
        return NEW_ROW if self.switches_currency and at >= SWITCH else OLD_ROW


_ELITE = (("invited", ">=", 1), ("retention", ">=", 85), ("dollar_retention", ">", 85), ("certifications", ">=", 100))


def _need(rows: list[tuple[str, str, object]]) -> tuple[tuple[str, str, Fraction], ...]:
    return tuple((name, relation, Fraction(str(line))) for name, relation, line in rows)


def _mrr(usage: int, table: dict[str, tuple[int, int]]) -> tuple[tuple[str, tuple[tuple[str, str, Fraction], ...]], ...]:
    found = []
    for tier, (sold, managed) in table.items():
        rows: list[tuple[str, str, object]] = [("certified", ">=", 1), ("usage", ">=", usage)]
        rows += [("sold_mrr", ">=", sold), ("managed_mrr", ">=", managed)]
        found.append((tier, _need([*rows, *(_ELITE if tier == "Elite" else ())])))
    return tuple(found)


def _points(minimum: str, table: dict[str, tuple[str, str]]) -> tuple[tuple[str, tuple[tuple[str, str, Fraction], ...]], ...]:
    found = []
    for tier, (least, total) in table.items():
        rows: list[tuple[str, str, object]] = [("certified", ">=", 1), (minimum, ">=", least), ("total", ">=", total)]
        found.append((tier, _need([*rows, *(_ELITE if tier == "Elite" else ())])))
    return tuple(found)


_HIGH = {"Platinum": (3750, 20000), "Diamond": (10000, 50000)}
_2018 = {"Silver": (1125, 1125), "Gold": (2100, 6000), **_HIGH}
_TOTALS = {"Gold": ("63", "123"), "Platinum": ("112.5", "312.5"), "Diamond": ("300", "800"), "Elite": ("1950", "3650")}
_TOTALS_2025 = {"Gold": ("63", "129.15"), "Platinum": ("112.5", "328.125"), "Diamond": ("300", "840"), "Elite": ("1950", "3832.5")}
_THREE, _FIVE = Fraction(3), Fraction(5)

ALL = (
    Rules("mrr-2016", parse("2016-01-01"), False, _mrr(5, {"Silver": (625, 3500), "Gold": (1125, 6500), **_HIGH})),
    Rules("mrr-2018", parse("2018-01-22"), False, _mrr(3, _2018)),
    Rules("mrr-2020", parse("2020-01-01"), False, _mrr(3, {**_2018, "Elite": (65000, 170000)}), local_market=True),
    Rules("points-2022", parse("2022-07-18"), True, _points("sold", _TOTALS), _THREE),
    Rules("points-2024", NEW_RATES, True, _points("sold", _TOTALS), _FIVE),
    Rules(
        "points-2025", SWITCH, True, _points("sourced", _TOTALS_2025), _FIVE, switches_currency=True, deals_only_from=SWITCH,
    ),
)  # fmt: skip


def in_force(rules: tuple[Rules, ...], at: Instant) -> Rules:
    """The last book that has begun; the first covers all earlier dates too."""
    return [each for each in rules if each is rules[0] or each.since <= at][-1]
