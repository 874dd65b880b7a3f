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
    name: str
    comment: str
    columns: tuple[Column, ...]
    source: str

    def sql(self, *, postgres: bool) -> str:
        shown = ", ".join(f"{_instant(c.of, postgres) if c.type == TIME else c.of} AS {c.name}" for c in self.columns)
        return f"CREATE VIEW {self.name} AS SELECT {shown} FROM {self._from(postgres)}"

    def select(self, *, postgres: bool) -> str:
        """The same rows with instants as the tables have them; a condition on `r` may follow."""
        return f"SELECT {', '.join(f'{column.of} AS {column.name}' for column in self.columns)} FROM {self._from(postgres)}"

    def _from(self, postgres: bool) -> str:
        return self.source if postgres else self.source.replace("IS DISTINCT FROM", "IS NOT")

    def comments(self) -> list[str]:
        """Statements that write the comments into a PostgreSQL."""
        found = [f"COMMENT ON VIEW {self.name} IS {_quoted(self.comment)}"]
        return found + [f"COMMENT ON COLUMN {self.name}.{column.name} IS {_quoted(column.comment)}" for column in self.columns]


def _quoted(text: str) -> str:
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


def _pair(name: str, comment: str, table: str, *columns: Column) -> tuple[View, View]:
    """As known now, and in both clocks."""
    return (
        View(name, f"{comment}, as known now", (_PARTNER, *columns, *_TIMES), f"{table} AS r WHERE r.known_until = {ALWAYS}"),
        View(f"{name}_known", f"{comment}, as known at each position", (_PARTNER, *columns, *_TIMES, *_KNOWN), _BOTH.format(table)),
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
    ),
    *_pair(
        "tiers",
        "which tier a partner has when",
        "levels",
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
        _PROGRAMME,
        Column("measure", TEXT, "r.measure", "the measure of the rulebook"),
        _POSITION,
        Column("client", TEXT, "r.client", "the client; NULL where the event names none"),
        Column("points", TEXT, "r.exact", _EXACT),
        Column("micro_points", WHOLE, "r.micro", _MICRO),
    ),
    *_pair(
        "numbers",
        "the number by which a rulebook ranks, where it is not the sum of lots",
        "scores",
        _PROGRAMME,
        Column("number", TEXT, "r.name", "its name in the rulebook"),
        Column("value", TEXT, "r.exact", _EXACT),
        Column("micro", WHOLE, "r.micro", _MICRO),
    ),
    *_pair(
        "facts",
        "what lasts: enrolments, links, clients, certificates, managed credit, overrides",
        "intervals",
        Column("kind", TEXT, "r.kind", "what it is"),
        Column("key", TEXT, "r.key", "whom or what it concerns"),
        _POSITION,
        Column("detail", TEXT, "r.detail", "the role, state, line or tier"),
        Column("ended_by", WHOLE, "r.ended_by", "the position of the event that ended it; NULL: none did"),
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
        "AND n.known_from <= r.known_until AND n.known_until > r.known_until AND n.since < r.until AND n.until > r.since "
        f"WHERE r.known_until < {ALWAYS} AND n.since < k.until AND r.since < k.until "
        "AND (r.performance IS DISTINCT FROM n.performance OR r.credited IS DISTINCT FROM n.credited)",
    ),
)
RESTATEMENTS = VIEWS[-1]
