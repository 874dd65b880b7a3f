"""Instants and calendar arithmetic.

An instant is an int: microseconds since 1970-01-01T00:00Z. Calendar arithmetic is done on the wall clock of a zone: months
are counted from the original date and clipped to the month's end; wall times that a time change skips move forward, doubled ones
mean the first. The calendar has the years 1 to 9999: what would lie before is BEGINNING, what would lie after is FOREVER.
It reads no clock.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

Instant = int

SECOND = 1_000_000
DAY = 86_400 * SECOND
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FOREVER: Instant = 253_402_300_800 * SECOND  # the first instant of the year 10000
BEGINNING: Instant = -62_135_596_800 * SECOND  # the first instant of the year 1

_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d))?", re.ASCII)
_SPAN = re.compile(r"(\d+) (year|month|week|day|hour|minute|second)s?", re.ASCII)


class Span(NamedTuple):
    """A length of time: calendar months, then calendar days, then exact microseconds."""

    months: int = 0
    days: int = 0
    micros: int = 0

    @classmethod
    def parse(cls, text: str) -> Span:
        """'12 months', '1 year', '90 days' (of 24 hours in UTC zones; calendar days elsewhere), '30 minutes'."""
        match = _SPAN.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not a span of time such as '12 months' or '90 days'")
        return _spans(int(match[1]), match[2])

    def __str__(self) -> str:
        parts = [(self.months, "month"), (self.days, "day"), (self.micros // SECOND, "second")]
        return " ".join(f"{n} {unit}{'' if n == 1 else 's'}" for n, unit in parts if n) or "0 days"


def _spans(n: int, unit: str) -> Span:
    match unit:
        case "year":
            return Span(months=12 * n)
        case "month":
            return Span(months=n)
        case "week":
            return Span(days=7 * n)
        case "day":
            return Span(days=n)
        case "hour":
            return Span(micros=3600 * n * SECOND)
        case "minute":
            return Span(micros=60 * n * SECOND)
        case _:
            return Span(micros=n * SECOND)


def parse(text: str) -> Instant:
    """RFC 3339 with an offset, or a bare day, which is its 00:00 UTC. Raises ValueError."""
    if _TIME.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a time such as 2024-03-01T00:00:00Z or a day such as 2024-03-01")
    when = datetime.fromisoformat(text)
    return from_datetime(when if when.tzinfo else when.replace(tzinfo=UTC))


def from_datetime(when: datetime) -> Instant:
    """The instant of an aware datetime, exactly."""
    delta = when - EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds


def to_datetime(at: Instant, zone: str = "UTC") -> datetime:
    """The wall clock of a zone at an instant; that of UTC in the hours in which the zone's is in the year 0 or 10000.

    Before the calendar it is its first instant, after it its last.
    """
    when = EPOCH + timedelta(microseconds=min(max(at, BEGINNING), FOREVER - 1))
    try:
        return when if zone == "UTC" else when.astimezone(zone_of(zone))
    except OverflowError:
        return when


def text(at: Instant) -> str:
    """The canonical form: RFC 3339 in UTC, with microseconds only where there are any."""
    if at >= FOREVER:
        return "forever"
    return to_datetime(at).isoformat().replace("+00:00", "Z")


def day_text(at: Instant, zone: str = "UTC") -> str:
    """The day alone where the instant is 00:00 of the zone, else the whole time."""
    if at >= FOREVER:
        return "forever"
    wall = to_datetime(at, zone)
    return wall.date().isoformat() if (wall.hour, wall.minute, wall.second, wall.microsecond) == (0, 0, 0, 0) else text(at)


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def wall(zone: str, year: int, month: int = 1, day: int = 1, hour: int = 0, minute: int = 0) -> Instant:
    """The instant of a wall time in a zone; of a year that the calendar lacks, the end of the calendar on that side."""
    if not 1 <= year <= 9999:
        return _end(year)
    return _from_wall(datetime(year, month, day, hour, minute), zone)


def _from_wall(naive: datetime, zone: str) -> Instant:
    """Skipped wall times move forward by the gap, doubled ones mean the first (fold=0 does both)."""
    try:
        return from_datetime(naive.replace(tzinfo=UTC if zone == "UTC" else zone_of(zone), fold=0).astimezone(UTC))
    except OverflowError:
        return _end(-1 if naive.year == 1 else 1)


def _end(direction: int) -> Instant:
    """The end of the calendar that lies in a direction."""
    return FOREVER if direction > 0 else BEGINNING


def _within(at: Instant) -> Instant:
    return min(max(at, BEGINNING), FOREVER)


@lru_cache(maxsize=65_536)
def plus(at: Instant, span: Span, zone: str = "UTC") -> Instant:
    """`at` + `span` on the zone's wall clock, clipped to the month's end; never before BEGINNING, nor beyond FOREVER, which stays."""
    if at >= FOREVER:
        return FOREVER
    at = max(at, BEGINNING)
    if not span.months and (not span.days or zone == "UTC"):
        return _within(at + span.days * DAY + span.micros)
    if zone == "UTC" and not span.days:
        return _plus_months(at, span)
    return _plus_wall(to_datetime(at, zone).replace(tzinfo=None), span, zone)


def _plus_months(at: Instant, span: Span) -> Instant:
    """In UTC: the day is moved, the time of the day stays."""
    days, time = divmod(at, DAY)
    day = date.fromordinal(_EPOCH_DAY + days)
    year, month = divmod(day.year * 12 + day.month - 1 + span.months, 12)
    if not 1 <= year <= 9999:
        return _end(span.months)
    moved = date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
    return _within((moved.toordinal() - _EPOCH_DAY) * DAY + time + span.micros)


_EPOCH_DAY = EPOCH.toordinal()


def _plus_wall(naive: datetime, span: Span, zone: str) -> Instant:
    year, month = divmod(naive.year * 12 + naive.month - 1 + span.months, 12)
    if not 1 <= year <= 9999:
        return _end(span.months)
    day = min(naive.day, monthrange(year, month + 1)[1])
    try:
        moved = naive.replace(year=year, month=month + 1, day=day) + timedelta(days=span.days)
    except OverflowError:
        return _end(span.days)
    return _within(_from_wall(moved, zone) + span.micros)


def minus(at: Instant, span: Span, zone: str = "UTC") -> Instant:
    """`at` - `span` on the zone's wall clock, within the calendar as `plus` is."""
    return plus(at, Span(-span.months, -span.days, -span.micros), zone)


def day_start(day: date, zone: str = "UTC") -> Instant:
    return wall(zone, day.year, day.month, day.day)
