"""Dates as people write them: 2024-03-01, 2024-03, 2024-Q1, 2024, today, now, yesterday, -30d, +3m, or a full RFC 3339 time.

As a moment, a day, month, quarter or year is its last microsecond. As a period it is [first 00:00, next 00:00). As a start it
is its first 00:00. It reads no clock: `now` is passed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ledger.errors import LedgerError
from ledger.instants import FOREVER, Instant, Span, minus, parse, plus, to_datetime, wall

_DAY = re.compile(r"(?!0000)(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_MONTH = re.compile(r"(?!0000)(\d{4})-(\d\d)", re.ASCII)
_QUARTER = re.compile(r"(?!0000)(\d{4})-?[Qq]([1-4])", re.ASCII)
_YEAR = re.compile(r"(?!0000)\d{4}", re.ASCII)
_AGO = re.compile(r"([+-])(\d{1,5})([hdwmy])", re.ASCII)


class DateError(LedgerError):
    """A text that is no date, moment or period."""

    code = "bad_date"
    exit_code = 2


def moment(written: str, now: Instant, zone: str = "UTC") -> Instant:
    """The instant that a person means by a moment."""
    since, until = _range(written.strip(), now, zone)
    if since >= FOREVER:
        raise DateError(f"{written!r} is after the year 9999", hint="name an earlier moment")
    return until - 1 if until > since else since


def start(written: str, now: Instant, zone: str = "UTC") -> Instant:
    """The first instant of what is written."""
    return _range(written.strip(), now, zone)[0]


def ahead(written: str, at: Instant, zone: str = "UTC") -> Instant:
    """A time from `at` on (90d, +3m), or the first instant of a date."""
    return start(f"+{written}" if _AGO.fullmatch(f"+{written}") else written, at, zone)


def period(written: str, now: Instant, zone: str = "UTC") -> tuple[Instant, Instant]:
    """[since, until): a day, month, quarter or year, or two of them as `2024-01..2024-03` (the last one included)."""
    first, dots, last = written.partition("..")
    begin = _range(first.strip(), now, zone)
    end = _range(last.strip(), now, zone) if dots else begin
    since, until = begin[0], max(end[1], end[0])
    if since >= until:
        raise DateError(f"{written!r} is no period", hint="such as 2024, 2024-Q1, 2024-03, 2024-03-01 or 2024-01..2024-03")
    return since, until


def _range(written: str, now: Instant, zone: str) -> tuple[Instant, Instant]:
    """[first, next) of a day or longer; an instant is an empty range."""
    try:
        if written == "now":
            return now, now
        if written in ("today", "yesterday"):
            day = to_datetime(now, zone)
            begin = wall(zone, day.year, day.month, day.day)
            begin = begin if written == "today" else minus(begin, Span(days=1), zone)
            return begin, plus(begin, Span(days=1), zone)
        if found := _AGO.fullmatch(written):
            at = _shifted(now, found[1], int(found[2]), found[3], zone)
            return at, at
        for pattern, make in _FORMS:
            if found := pattern.fullmatch(written):
                return make(found, zone)
        at = parse(written)
        return at, at
    except (ValueError, OverflowError):
        raise DateError(
            f"{written!r} is no date", hint="such as 2024-03-01, 2024-03, 2024-Q1, 2024, today, -30d or 2024-03-01T12:00:00Z"
        ) from None


_UNITS = {"h": "hour", "d": "day", "w": "week", "m": "month", "y": "year"}


def _shifted(now: Instant, sign: str, n: int, unit: str, zone: str) -> Instant:
    span = Span.parse(f"{n} {_UNITS[unit]}")
    return plus(now, span, zone) if sign == "+" else minus(now, span, zone)


def _day(found: re.Match[str], zone: str) -> tuple[Instant, Instant]:
    begin = wall(zone, int(found[1]), int(found[2]), int(found[3]))
    return begin, plus(begin, Span(days=1), zone)


def _month(found: re.Match[str], zone: str) -> tuple[Instant, Instant]:
    begin = wall(zone, int(found[1]), int(found[2]))
    return begin, plus(begin, Span(months=1), zone)


def _quarter(found: re.Match[str], zone: str) -> tuple[Instant, Instant]:
    begin = wall(zone, int(found[1]), 3 * int(found[2]) - 2)
    return begin, plus(begin, Span(months=3), zone)


def _year(found: re.Match[str], zone: str) -> tuple[Instant, Instant]:
    begin = wall(zone, int(found[0]))
    return begin, plus(begin, Span(months=12), zone)


_FORMS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], str], tuple[Instant, Instant]]], ...] = (
    (_DAY, _day),
    (_MONTH, _month),
    (_QUARTER, _quarter),
    (_YEAR, _year),
)
