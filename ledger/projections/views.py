"""The views for analysts: the read models under names that stay, with instants as times and a comment for each column.

They are the same on SQLite and on PostgreSQL. An instant is a `timestamptz` on PostgreSQL and a text in ISO 8601 (UTC, microseconds, `Z`)
on SQLite, so that texts compare as times do; no end is NULL. A view whose name ends in `_known` has both clocks.
"""

from __future__ import annotations

from typing import NamedTuple

from ledger.instants import FOREVER
from ledger.projections.clocks import ALWAYS

TIME, TEXT, WHOLE = "time", "text", "whole number"


class Column(NamedTuple):
    """`of`: an expression over the tables that a view reads."""

    name: str
    type: str
    of: str
    comment: str


class View(NamedTuple):
    """`order`: what tells its rows apart. `table`: of which rows in two clocks it is; empty for others."""

    name: str
    comment: str
    columns: tuple[Column, ...]
    source: str
    order: str
    table: str = ""
    where: str = ""

    @property
    def has_instants(self) -> bool:
        """Whether its rows hold from an instant until another."""
        return any(column.name == "since" for column in self.columns)

    def sql(self, *, postgres: bool) -> str:
        shown = ", ".join(f"{_instant(c.of, postgres) if c.type == TIME else c.of} AS {c.name}" for c in self.columns)
        return f"CREATE {'OR REPLACE ' if postgres else ''}VIEW {self.name} AS SELECT {shown} FROM {self._from(postgres, self.where)}"

    def select(self, *, postgres: bool) -> str:
        """The same rows with instants as the tables have them; a condition on `r` may follow."""
        return self.where_else(self.where, postgres=postgres)

    def where_else(self, where: str, *, postgres: bool) -> str:
        """The rows of other conditions, with instants as the tables have them."""
        return f"SELECT {', '.join(f'{column.of} AS {column.name}' for column in self.columns)} FROM {self._from(postgres, where)}"

    def _from(self, postgres: bool, where: str) -> str:
        found = f"{self.source} WHERE {where}" if where else self.source
        return found if postgres else found.replace("IS DISTINCT FROM", "IS NOT")

    def comments(self) -> list[str]:
        """Statements that write the comments into a PostgreSQL."""
        found = [f"COMMENT ON VIEW {self.name} IS {quoted(self.comment)}"]
        return found + [f"COMMENT ON COLUMN {self.name}.{column.name} IS {quoted(column.comment)}" for column in self.columns]


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _instant(micros: str, postgres: bool) -> str:
    if postgres:
        time = f"TIMESTAMPTZ 'epoch' + make_interval(secs => {micros} / 1000000) + ({micros} % 1000000) * INTERVAL '1 microsecond'"
    else:
        part = f"((({micros}) % 1000000 + 1000000) % 1000000)"
        time = f"strftime('%Y-%m-%dT%H:%M:%S', ({micros} - {part}) / 1000000, 'unixepoch') || printf('.%06dZ', {part})"
    return f"CASE WHEN {micros} < {FOREVER} THEN {time} END"


_PARTNER = Column("partner", TEXT, "r.partner", "the partner")
_PROGRAMME = Column("programme", TEXT, "r.programme", "the programme")
_TIMES = (
    Column("since", TIME, "r.since", "from when on, in effective time; the year 1: always"),
    Column("until", TIME, "r.until", "until when, not included; NULL: without an end"),
)
_KNOWN = (
    Column("known_from", WHOLE, "r.known_from", "the position from which on this was known"),
    Column("known_from_at", TIME, "f.recorded_at", "when that position was recorded"),
    Column("known_until", WHOLE, f"NULLIF(r.known_until, {ALWAYS})", "from which position on something else was known; NULL: it still is"),
    Column("known_until_at", TIME, "u.recorded_at", "when that position was recorded; NULL: it still is"),
)
_BOTH = (
    "{} AS r JOIN known AS f ON f.partner = r.partner AND f.position = r.known_from "
    "LEFT JOIN known AS u ON u.partner = r.partner AND u.position = r.known_until"
)


def _pair(name: str, comment: str, table: str, keys: int, *columns: Column) -> tuple[View, View]:
    """As known now, and in both clocks. `keys`: so many columns tell the rows of a partner apart, together with the clocks."""
    shown, told = (_PARTNER, *columns, *_TIMES), f"{comment}, as known at each position"
    order = ", ".join((*[column.of for column in (_PARTNER, *columns[:keys])], "r.since"))
    return (
        View(name, f"{comment}, as known now", shown, f"{table} AS r", order, table, f"r.known_until = {ALWAYS}"),
        View(f"{name}_known", told, (*shown, *_KNOWN), _BOTH.format(table), f"{order}, r.known_from", table),
    )


_POSITION = Column("position", WHOLE, "r.position", "the position of the event")
_AWARD = Column("award", TEXT, "r.award", "the award, where a rulebook has several ladders of tiers; empty elsewhere")
_EXACT = "exactly, a whole number or a fraction such as 225/14"
_EARLIEST = "CASE WHEN n.until < r.until AND n.until < k.until THEN n.until WHEN r.until < k.until THEN r.until ELSE k.until END"
_MICRO = "in millionths, rounded half to even: for sums"

VIEWS: tuple[View, ...] = (
    View(
        "partner_states",
        "every partner, and how far the read models have come",
        (
            _PARTNER,
            Column("version", WHOLE, "r.version", "the version of its last event"),
            Column("position", WHOLE, "r.position", "the position of its last event"),
            Column("parked", TEXT, "r.parked", "why its events cannot be applied; NULL: they can"),
        ),
        "partners AS r",
        "r.partner",
    ),
    *_pair(
        "tiers",
        "which tier a partner has when",
        "levels",
        2,
        _PROGRAMME,
        _AWARD,
        Column("performance", TEXT, "r.performance", "the tier whose requirements are met; NULL: none"),
        Column("credited", TEXT, "r.credited", "the tier that the partner has by the programme's policy and overrides; NULL: none"),
        Column("rulebook", TEXT, "r.book", "the rulebook in force; empty before the first fact"),
        Column("enrolled", WHOLE, "r.enrolled", "0: the partner had left the programme"),
        Column("cause", TEXT, "r.because", "what made the credited tier begin here; empty where it did not begin here"),
    ),
    *_pair(
        "points",
        "the lots: the points of one event in one measure, and when they count",
        "lots",
        3,
        _PROGRAMME,
        Column("measure", TEXT, "r.measure", "the measure of the rulebook"),
        _POSITION,
        Column("client", TEXT, "r.client", "the client; NULL where the event names none"),
        Column("points", TEXT, "r.exact", _EXACT),
        Column("micro_points", WHOLE, "r.micro", _MICRO),
        Column("came", TEXT, "r.came", "why they begin to count, or why they are worth something else from then on"),
        Column("went", TEXT, "r.went", "why they count no more; empty: without an end, or they go on at another worth"),
    ),
    *_pair(
        "numbers",
        "the number by which a rulebook ranks, where it is not the sum of lots",
        "scores",
        1,
        _PROGRAMME,
        Column("number", TEXT, "r.name", "its name in the rulebook"),
        Column("value", TEXT, "r.exact", _EXACT),
        Column("micro", WHOLE, "r.micro", _MICRO),
    ),
    *_pair(
        "monthly",
        "tiers and score at the beginning of each month (UTC), of rulebooks without awards; the last one holds for all months to come",
        "balances",
        1,
        _PROGRAMME,
        Column("performance", TEXT, "r.performance", "the tier whose requirements are met; NULL: none"),
        Column("credited", TEXT, "r.credited", "the credited tier; NULL: none"),
        Column("rulebook", TEXT, "r.book", "the rulebook in force; empty before the first fact"),
        Column("enrolled", WHOLE, "r.enrolled", "0: the partner had left the programme"),
        Column("number", TEXT, "r.name", "the number by which the rulebook ranks"),
        Column("value", TEXT, "r.exact", _EXACT),
        Column("micro", WHOLE, "r.micro", _MICRO),
    ),
    *_pair(
        "facts",
        "what lasts: enrolments, links, clients, certificates, managed credit, overrides",
        "intervals",
        3,
        Column("kind", TEXT, "r.kind", "what it is"),
        Column("key", TEXT, "r.key", "whom or what it concerns"),
        _POSITION,
        Column("detail", TEXT, "r.detail", "the role, state, line or tier"),
        Column("country", TEXT, "r.country", "the country of a partner or client"),
        Column("market", TEXT, "r.market", "the market of a partner, where the source states it"),
        Column("segment", TEXT, "r.segment", "the segment of a partner or client"),
        Column("ended_by", WHOLE, "r.ended_by", "the position of the event that ended it; NULL: none did"),
    ),
    View(
        "at_risk",
        "who is at risk or will lose a tier, as it was last judged: points at-risk brings it up to the moment",
        (
            _PARTNER,
            _PROGRAMME,
            _AWARD,
            Column("credited", TEXT, "r.credited", "the credited tier"),
            Column("performance", TEXT, "r.performance", "the performance tier"),
            Column("at_risk_since", TIME, "r.at_risk_since", "since when it is at risk by the programme's policy; NULL: it is not"),
            Column("why", TEXT, "r.why", "why it is at risk"),
            Column("tier_lost_at", TIME, "r.tier_lost_at", "when the tier is lost if nothing more happens; NULL: never"),
            Column("falls_to", TEXT, "r.falls_to", "to which tier it falls then; NULL: to none"),
            Column("requirement", TEXT, "r.requirement", "the requirement that fails first"),
            Column("missing", TEXT, "r.missing", "how much it is short of, exactly"),
            Column("parked", TEXT, "r.parked", "why the partner cannot be judged; NULL: it can"),
            Column("judged_at", TIME, "j.at", "the instant of which this is said"),
            Column("due", TIME, "j.due", "until when it holds by itself, not included"),
            Column("known", WHOLE, "j.known", "the last position that was known of the partner"),
        ),
        "endangered AS r JOIN judged AS j ON j.partner = r.partner JOIN partners AS p ON p.partner = r.partner AND p.known = j.known",
        "r.partner, r.programme, r.award",
    ),
    View(
        "knowledge",
        "the commits that concern a partner, and up to which instant the views with two clocks answer for what was known from there on",
        (
            _PARTNER,
            Column("position", WHOLE, "r.position", "the last position of the commit"),
            Column("recorded_at", TIME, "r.recorded_at", "when it was recorded"),
            Column(
                "answers_until",
                TIME,
                "r.until",
                "not included: for a later instant as known then, ask points standing; NULL: for every instant",
            ),
        ),
        "known AS r",
        "r.partner, r.position",
    ),
    View(
        "restatements",
        "past tiers that became others by what was recorded late or reversed",
        (
            _PARTNER,
            _PROGRAMME,
            _AWARD,
            Column("since", TIME, "CASE WHEN n.since > r.since THEN n.since ELSE r.since END", "from when on the tier is another"),
            Column("until", TIME, _EARLIEST, "until when, not included"),
            Column("performance_before", TEXT, "r.performance", "the performance tier as it was known before"),
            Column("performance_after", TEXT, "n.performance", "as it was known then"),
            Column("credited_before", TEXT, "r.credited", "the credited tier as it was known before"),
            Column("credited_after", TEXT, "n.credited", "as it was known then"),
            Column("position", WHOLE, "r.known_until", "the last position of the commit that restated it"),
            Column("position_before", WHOLE, "k.position", "the last position of the partner's commit before that"),
            Column("recorded_at", TIME, "u.recorded_at", "when it was recorded"),
        ),
        "levels AS r JOIN known AS u ON u.partner = r.partner AND u.position = r.known_until "
        "JOIN known AS k ON k.partner = r.partner AND k.position = "
        "(SELECT MAX(position) FROM known WHERE known.partner = r.partner AND known.position < r.known_until) "
        "JOIN levels AS n ON n.partner = r.partner AND n.programme = r.programme AND n.award = r.award "
        "AND n.known_from <= r.known_until AND n.known_until > r.known_until AND n.since < r.until AND n.until > r.since",
        "r.known_until, r.partner, r.programme, r.award, r.since, n.since",
        where=f"r.known_until <> {ALWAYS} AND n.since < k.until AND r.since < k.until "
        "AND (r.performance IS DISTINCT FROM n.performance OR r.credited IS DISTINCT FROM n.credited)",
    ),
)
RESTATEMENTS = VIEWS[-1]
