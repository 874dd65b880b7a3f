"""Instants, spans and walls: what is parsed is written back, months are clipped, the wall clock keeps its time."""

from __future__ import annotations

import os
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ledger.instants import (
    BEGINNING,
    DAY,
    FOREVER,
    SECOND,
    Span,
    day_start,
    day_text,
    from_datetime,
    minus,
    parse,
    plus,
    text,
    to_datetime,
    wall,
)

MORE = int(os.environ.get("POINTS_LEDGER_TEST_EXAMPLES") or 0)
ZONES = ("UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia")
ANY = st.integers(BEGINNING, FOREVER - 1)
LIVED = st.integers(parse("1900-01-01"), parse("2200-01-01"))
ZONE = st.sampled_from(ZONES)

often = settings(max_examples=MORE or 300)


# Texts -------------------------------------------------------------------------------------------------------


@often
@given(ANY)
def test_what_is_written_is_parsed_back(at: int) -> None:
    assert parse(text(at)) == at
    assert text(at).endswith("Z") and ("." in text(at)) == (at % SECOND != 0)


@often
@given(ANY, ANY)
def test_instants_are_ordered_as_their_times(one: int, other: int) -> None:
    assert (one < other) == (to_datetime(one) < to_datetime(other))


@often
@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)), st.integers(-23 * 60 - 59, 23 * 60 + 59))
def test_an_offset_is_taken_off(naive: datetime, minutes: int) -> None:
    local = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert parse(local.isoformat()) == from_datetime(local) == parse(naive.isoformat() + "Z") - minutes * 60 * SECOND
    assert to_datetime(from_datetime(local)) == local


@often
@given(st.dates())
def test_a_day_is_its_first_instant(day: date) -> None:
    at = parse(day.isoformat())
    assert text(at) == f"{day.isoformat()}T00:00:00Z" and day_text(at) == day.isoformat() and at == day_start(day)
    assert day_text(at + 1) == text(at + 1)


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1969-12-31T23:59:59Z", -SECOND),
        ("2024-02-29", 1_709_164_800 * SECOND),
        ("2024-03-01T00:00+01:00", 1_709_247_600 * SECOND),
        ("2024-03-01T00:00:00-00:00", 1_709_251_200 * SECOND),
        ("0001-01-01", BEGINNING),
        ("9999-12-31T23:59:59.999999Z", FOREVER - 1),
    ],
)
def test_known_instants(written: str, means: int) -> None:
    assert parse(written) == means


NO_TIMES = [
    "", " ", "today", "2024", "2024-02", "2024-02-30", "2023-02-29", "2024-13-01", "2024-00-10", "24-02-01", "20240201", "2024-W05-1", "2024-032",
    "2024-02-01T10", "2024-02-01T10:00", "2024-02-01T10:00:00", "2024-02-01 10:00:00Z", "2024-02-01T10:00:00z", "2024-02-01T24:00:00Z",
    "2024-02-01T10:60:00Z", "2024-02-01T10:00:60Z", "2024-02-01T10:00:00.Z", "2024-02-01T10:00:00.1234567Z", "2024-02-01T10:00:00,5Z",
    "2024-02-01T10:00:00+1:00", "2024-02-01T10:00:00+0100", "2024-02-01T10:00:00+24:00", "2024-02-01Z", " 2024-02-01", "2024-02-01\n",
    "٢٠٢٤-٠٢-٠١", "0000-01-01", "forever",
]  # fmt: skip


@pytest.mark.parametrize("written", NO_TIMES)
def test_what_is_no_time_is_refused(written: str) -> None:
    with pytest.raises(ValueError):
        parse(written)


@often
@given(st.text(max_size=30))
def test_any_text_is_a_time_or_a_value_error(written: str) -> None:
    try:
        at = parse(written)
    except ValueError:
        return
    assert isinstance(at, int)


def test_forever_is_written_as_such() -> None:
    assert text(FOREVER) == day_text(FOREVER) == text(FOREVER + 1) == "forever"


# Spans -------------------------------------------------------------------------------------------------------

UNITS = {
    "year": (12, 0, 0),
    "month": (1, 0, 0),
    "week": (0, 7, 0),
    "day": (0, 1, 0),
    "hour": (0, 0, 3600),
    "minute": (0, 0, 60),
    "second": (0, 0, 1),
}


@given(st.integers(0, 10_000), st.sampled_from(sorted(UNITS)), st.sampled_from(("", "s")))
def test_a_span_is_so_many_of_its_unit(n: int, unit: str, plural: str) -> None:
    months, days, seconds = UNITS[unit]
    assert Span.parse(f"{n} {unit}{plural}") == Span(n * months, n * days, n * seconds * SECOND)


@given(st.integers(1, 10_000), st.sampled_from(("month", "day", "second")))
def test_a_span_of_one_unit_is_written_and_parsed_back(n: int, unit: str) -> None:
    span = Span.parse(f"{n} {unit}")
    assert Span.parse(str(span)) == span
    assert str(span) == f"{n} {unit}" + ("" if n == 1 else "s")


@pytest.mark.parametrize(
    "written", ["", "12", "months", "-1 day", "1.5 days", "1 fortnight", "1 month 3 days", "one day", "1  day", "١ day", "1 dayss"]
)
def test_what_is_no_span_is_refused(written: str) -> None:
    with pytest.raises(ValueError):
        Span.parse(written)


# Months ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "span", "end"),
    [
        ("2024-01-31", "1 month", "2024-02-29"),
        ("2023-01-31", "1 month", "2023-02-28"),
        ("2024-01-31", "2 months", "2024-03-31"),  # counted from the original day, not from the clipped one
        ("2024-02-29", "1 year", "2025-02-28"),
        ("2024-02-29", "4 years", "2028-02-29"),
        ("2024-03-31", "1 month", "2024-04-30"),
        ("2024-11-30", "3 months", "2025-02-28"),
        ("2024-12-15", "1 month", "2025-01-15"),
        ("2024-02-28", "2 days", "2024-03-01"),
        ("2024-02-28", "1 week", "2024-03-06"),
        ("2024-02-28", "25 hours", "2024-02-29T01:00:00Z"),
    ],
)
def test_known_ends(start: str, span: str, end: str) -> None:
    assert text(plus(parse(start), Span.parse(span))) == text(parse(end))


@often
@given(LIVED, st.integers(-1200, 1200), st.integers(-400, 400), st.integers(0, 10**12))
def test_months_then_days_then_microseconds(at: int, months: int, days: int, micros: int) -> None:
    """Against `dateutil`, which clips to the month's end as well."""
    expected = to_datetime(at) + relativedelta(months=months) + timedelta(days=days, microseconds=micros)
    assert plus(at, Span(months, days, micros)) == from_datetime(expected)


@often
@given(LIVED, st.integers(0, 600))
def test_the_day_of_the_month_stays_or_is_clipped(at: int, months: int) -> None:
    start, end = to_datetime(at), to_datetime(plus(at, Span(months)))
    assert (end.year * 12 + end.month) - (start.year * 12 + start.month) == months
    assert end.day == min(start.day, monthrange(end.year, end.month)[1])
    assert end.timetz() == start.timetz()


@often
@given(LIVED, LIVED, st.integers(0, 600), st.integers(0, 400))
def test_what_starts_earlier_does_not_end_later(one: int, other: int, months: int, days: int) -> None:
    span = Span(months, days)
    assert plus(min(one, other), span) <= plus(max(one, other), span)


@often
@given(LIVED, st.integers(0, 600), st.integers(0, 10_000))
def test_backwards(at: int, months: int, days: int) -> None:
    """Days come back exactly; months too, but for days that were clipped."""
    assert minus(plus(at, Span(days=days)), Span(days=days)) == at
    back = minus(plus(at, Span(months)), Span(months))
    assert at - 3 * DAY <= back <= at and (back == at or to_datetime(at).day > 28)


# Ends of the calendar ----------------------------------------------------------------------------------------

EDGES = st.one_of(
    ANY,
    st.integers(BEGINNING, BEGINNING + 2 * DAY),
    st.integers(FOREVER - 2 * DAY, FOREVER),
    st.sampled_from((BEGINNING, FOREVER - 1, FOREVER, FOREVER + DAY)),
)
SPANS = st.one_of(
    st.builds(Span, st.integers(0, 200_000), st.just(0), st.just(0)),
    st.builds(Span, st.just(0), st.integers(0, 10**12), st.just(0)),
    st.builds(Span, st.just(0), st.just(0), st.integers(0, 10**20)),
    st.builds(Span, st.integers(0, 2), st.integers(0, 3), st.integers(0, 2 * DAY)),
)


@often
@given(EDGES, SPANS, ZONE)
def test_no_end_is_outside_the_calendar(at: int, span: Span, zone: str) -> None:
    """Wherever one starts, and however far one goes; and nobody goes the wrong way, but for a wall clock's change."""
    later, earlier = plus(at, span, zone), minus(at, span, zone)
    assert BEGINNING <= earlier <= FOREVER and BEGINNING <= later <= FOREVER
    assert later >= min(at, FOREVER) - DAY and (earlier <= at + DAY)
    assert plus(FOREVER, span, zone) == minus(FOREVER, span, zone) == FOREVER


@often
@given(EDGES, SPANS)
def test_in_utc_only_what_lies_outside_is_cut(at: int, span: Span) -> None:
    assume(at < FOREVER and not span.months)
    length = span.days * DAY + span.micros
    assert plus(at, span) == min(at + length, FOREVER)
    assert minus(at, span) == max(at - length, BEGINNING)


@pytest.mark.parametrize(
    ("at", "span", "zone", "before", "after"),
    [
        ("0001-06-01", "1 year", "UTC", BEGINNING, "0002-06-01"),
        ("0001-01-31T12:00:00Z", "1 month", "Europe/London", BEGINNING, "0001-02-28T12:00:00Z"),
        ("0001-01-01", "1 second", "Asia/Kolkata", BEGINNING, "0001-01-01T00:00:01Z"),
        ("9999-12-31", "1 month", "UTC", "9999-11-30", FOREVER),
        ("9999-12-31T23:59:59Z", "1 second", "America/New_York", "9999-12-31T23:59:58Z", FOREVER),
        ("9999-06-15", "900000 weeks", "Pacific/Apia", BEGINNING, FOREVER),
        ("2024-06-15", "99999999999999999999 days", "Asia/Kolkata", BEGINNING, FOREVER),
        ("2024-06-15", "99999999999999999999 years", "Asia/Kolkata", BEGINNING, FOREVER),
        ("2024-06-15", "99999999999999999999 hours", "Asia/Kolkata", BEGINNING, FOREVER),
    ],
)
def test_known_ends_of_the_calendar(at: str, span: str, zone: str, before: int | str, after: int | str) -> None:
    expected = tuple(parse(each) if isinstance(each, str) else each for each in (before, after))
    assert (minus(parse(at), Span.parse(span), zone), plus(parse(at), Span.parse(span), zone)) == expected


@often
@given(st.integers(BEGINNING, FOREVER - 1) | st.integers(BEGINNING, BEGINNING + DAY) | st.integers(FOREVER - DAY, FOREVER - 1), ZONE)
def test_every_instant_has_a_wall_clock(at: int, zone: str) -> None:
    assert from_datetime(to_datetime(at, zone)) == at
    assert day_text(at, zone)
    assert to_datetime(BEGINNING - 1 - at % DAY) == to_datetime(BEGINNING)
    assert to_datetime(FOREVER + at % DAY) == to_datetime(FOREVER - 1)


@given(st.sampled_from((date.min, date.max, date.min + timedelta(1), date.max - timedelta(1))), ZONE)
def test_every_wall_is_an_instant_of_the_calendar(day: date, zone: str) -> None:
    at = day_start(day, zone)
    assert BEGINNING <= at <= FOREVER and abs(at - parse(day.isoformat())) <= DAY
    assert (wall(zone, 0, 12, 31), wall(zone, 10_000)) == (BEGINNING, FOREVER)


# Walls -------------------------------------------------------------------------------------------------------


@often
@given(LIVED, ZONE)
def test_nothing_added_is_nothing_moved(at: int, zone: str) -> None:
    assert plus(at, Span(), zone) == at


@often
@given(LIVED, st.integers(0, 60), st.integers(0, 60), ZONE)
def test_the_wall_clock_keeps_its_time(at: int, months: int, days: int, zone: str) -> None:
    """12 months and a day later it is the same time on the wall, wherever that time exists."""
    assume(months or days)
    start, end = to_datetime(at, zone), to_datetime(plus(at, Span(months, days), zone), zone)
    naive = start.replace(tzinfo=None, fold=0) + relativedelta(months=months) + timedelta(days=days)
    there = naive.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0) == naive
    if there:
        assert end.replace(tzinfo=None, fold=0) == naive and end.fold == 0, "of a doubled time the first"
    else:
        assert timedelta(0) < end.replace(tzinfo=None, fold=0) - naive <= timedelta(days=1), "a skipped time moves forward"


@pytest.mark.parametrize(
    ("at", "span", "zone", "end"),
    [
        ("2010-12-01T08:26:00Z", "12 months", "Europe/London", "2011-12-01T08:26:00Z"),
        ("2011-03-27T12:00:00Z", "12 months", "Europe/London", "2012-03-27T12:00:00Z"),
        ("2011-03-26T12:00:00Z", "12 months", "Europe/London", "2012-03-26T11:00:00Z"),  # from winter time into summer time
        ("2010-10-30T11:00:00Z", "12 months", "Europe/London", "2011-10-30T12:00:00Z"),  # and out of it
        ("2011-03-26T01:30:00Z", "1 day", "Europe/London", "2011-03-27T01:30:00Z"),  # 01:30 is skipped: 02:30 summer time
        ("2011-10-29T00:30:00Z", "1 day", "Europe/London", "2011-10-30T00:30:00Z"),  # 01:30 is doubled: the first
        ("2011-10-29T00:30:00Z", "24 hours", "Europe/London", "2011-10-30T00:30:00Z"),
        ("2011-03-26T12:00:00Z", "24 hours", "Europe/London", "2011-03-27T12:00:00Z"),  # hours are exact, days are the wall's
        ("2011-03-26T12:00:00Z", "1 day", "Europe/London", "2011-03-27T11:00:00Z"),
        ("2024-01-31T05:00:00Z", "1 month", "America/New_York", "2024-02-29T05:00:00Z"),
        ("2024-02-01T04:30:00Z", "1 month", "America/New_York", "2024-03-01T04:30:00Z"),  # 31 January there: clipped to 29 February
    ],
)
def test_known_walls(at: str, span: str, zone: str, end: str) -> None:
    assert text(plus(parse(at), Span.parse(span), zone)) == end


def test_skipped_and_doubled_walls() -> None:
    assert text(wall("Europe/London", 2011, 3, 27, 1, 30)) == "2011-03-27T01:30:00Z"
    assert text(wall("Europe/London", 2011, 10, 30, 1, 30)) == "2011-10-30T00:30:00Z"
    assert text(wall("UTC", 2024)) == "2024-01-01T00:00:00Z"
    assert text(day_start(date(2024, 7, 1), "Europe/London")) == "2024-06-30T23:00:00Z"
    assert day_text(parse("2024-06-30T23:00:00Z"), "Europe/London") == "2024-07-01"


@often
@given(st.dates(date(1900, 1, 1), date(2200, 1, 1)), ZONE)
def test_a_day_of_a_zone_begins_on_that_day(day: date, zone: str) -> None:
    at = day_start(day, zone)
    assume(zone != "Pacific/Apia" or day != date(2011, 12, 30))  # that day was skipped there
    assert to_datetime(at, zone).date() == day
