"""Spans of time, without a database: local hours, days and months, and the totals that make them up."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from agora_contracts.metering import QueryUsage
from agora_metering.queries import model, spans
from agora_metering.queries.spans import Bucket
from hypothesis import given
from hypothesis import strategies as st

ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/Havana", "Asia/Kolkata", "Asia/Kathmandu",
    "Australia/Lord_Howe", "Africa/Cairo", "Pacific/Apia", "Pacific/Chatham", "Africa/Casablanca",
]  # fmt: skip
MINUTES = st.integers(0, 40 * 366 * 24 * 60).map(
    lambda number: datetime(1985, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
)
SPANS = st.tuples(MINUTES, st.integers(1, 40 * 24 * 60)).map(
    lambda span: (span[0], span[0] + timedelta(minutes=span[1]))
)
HOUR = timedelta(hours=1)


def utc(*parts: int) -> datetime:
    """A moment in UTC."""
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


@given(span=SPANS)
def test_segments_cover_a_span_exactly(span: tuple[datetime, datetime]) -> None:
    """
    Days, hours and minutes lie side by side, fill the span and nothing else, and each begins and ends with its grain;
    there are at most two pieces of a grain.
    """
    start, end = span
    found = sorted(spans.segments(start, end, start), key=lambda one: one.start)

    assert [start, *(one.end for one in found)] == [*(one.start for one in found), end]
    for one in found:
        assert one.start == spans.floor(one.start, one.grain) and one.end == spans.floor(one.end, one.grain)
    grains = [one.grain for one in found]
    assert all(grains.count(grain) <= 2 for grain in grains)


@given(span=SPANS, zone=st.sampled_from(ZONES))
def test_local_days_and_months_follow_the_calendar(span: tuple[datetime, datetime], zone: str) -> None:
    """
    Days and months lie side by side around the span; each is all of one date or month of the zone's calendar.
    """
    start, end = span
    place = ZoneInfo(zone)
    for buckets, unit in (
        (list(spans.local_days(start, end, place)), lambda moment: moment.date()),
        (list(spans.local_months(start, end, place)), lambda moment: (moment.year, moment.month)),
    ):
        check_side_by_side(buckets, start, end)
        for one in buckets:
            first, last = one.start.astimezone(place), (one.end - timedelta(minutes=1)).astimezone(place)
            assert unit(first) == unit(last) != unit(one.end.astimezone(place))
            assert unit((one.start - timedelta(minutes=1)).astimezone(place)) != unit(first)


@given(span=st.tuples(MINUTES, st.integers(1, 3000)), zone=st.sampled_from(ZONES))
def test_local_hours_follow_the_clock(span: tuple[datetime, int], zone: str) -> None:
    """
    Hours lie side by side around the span; each lies in one hour of the clock with one offset, and is as long as it can
    be.
    """
    place = ZoneInfo(zone)
    start, end = span[0], span[0] + timedelta(minutes=span[1])
    buckets = list(spans.local_hours(start, end, place))

    check_side_by_side(buckets, start, end)
    for one in buckets:
        first, last = one.start.astimezone(place), (one.end - timedelta(minutes=1)).astimezone(place)
        assert (first.hour, first.utcoffset()) == (last.hour, last.utcoffset())
        after = one.end.astimezone(place)
        assert (after.hour, after.utcoffset()) != (first.hour, first.utcoffset())


def check_side_by_side(buckets: list[Bucket], start: datetime, end: datetime) -> None:
    """The buckets lie side by side, the first around `start`, the last around `end`."""
    assert buckets[0].start <= start < buckets[0].end
    assert buckets[-1].start < end <= buckets[-1].end
    assert all(one.end == other.start for one, other in pairwise(buckets))


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", utc(2026, 3, 29, 6), 23),
        ("Europe/Berlin", utc(2026, 10, 25, 6), 25),
        ("Europe/Berlin", utc(2026, 10, 26, 6), 24),
        ("Australia/Lord_Howe", utc(2026, 4, 5, 0), 24.5),
        ("Australia/Lord_Howe", utc(2026, 10, 4, 0), 23.5),
        ("Asia/Kolkata", utc(2028, 2, 29, 6), 24),
        ("Africa/Cairo", utc(2026, 4, 24, 6), 23),
    ],
)
def test_days_on_which_a_clock_is_set(zone: str, day: datetime, hours: float) -> None:
    """
    A day is as long as the clocks of its zone make it.
    """
    (found,) = spans.local_days(day, day + timedelta(minutes=1), ZoneInfo(zone))

    assert hours == (found.end - found.start) / HOUR


def test_an_hour_that_comes_twice_is_two() -> None:
    """
    In Berlin the hour from two comes twice in October; on Lord Howe, half of the one from one.
    """
    berlin = list(spans.local_hours(utc(2026, 10, 25, 0), utc(2026, 10, 25, 3), ZoneInfo("Europe/Berlin")))
    lord_howe = list(
        spans.local_hours(utc(2026, 4, 4, 14), utc(2026, 4, 4, 16), ZoneInfo("Australia/Lord_Howe"))
    )

    assert [2, 2, 3] == [one.start.astimezone(ZoneInfo("Europe/Berlin")).hour for one in berlin]
    assert [60, 30, 60] == [(one.end - one.start) / timedelta(minutes=1) for one in lord_howe]


def test_a_date_that_a_zone_skipped_has_no_row() -> None:
    """
    Samoa went from 29 to 31 December 2011.
    """
    place = ZoneInfo("Pacific/Apia")
    days = list(spans.local_days(utc(2011, 12, 29, 12), utc(2011, 12, 31, 12), place))

    assert [29, 31, 1] == [one.start.astimezone(place).day for one in days]


@pytest.mark.parametrize(
    ("zone", "group_by", "grains"),
    [
        ("UTC", "day", {"day"}),
        ("UTC", "month", {"day"}),
        ("Europe/Berlin", "day", {"hour"}),
        ("Europe/Berlin", "month", {"day", "hour"}),
        ("Europe/Berlin", "hour", {"hour"}),
        ("Asia/Kolkata", "day", {"hour", "minute"}),
        ("Asia/Kolkata", "hour", {"minute"}),
        ("Asia/Kolkata", "month", {"day", "hour", "minute"}),
    ],
)
def test_the_coarsest_totals_answer(zone: str, group_by: str, grains: set[str]) -> None:
    """
    A month is read from days, a local day from hours, and minutes only where the zone's hours are not UTC's.
    """
    place = ZoneInfo(zone)
    start, end = datetime(2026, 3, 1, tzinfo=place), datetime(2026, 4, 1, tzinfo=place)
    query = QueryUsage(tenant="ten_1", start=start, end=end, group_by=[group_by], time_zone=zone)  # type: ignore[list-item]

    assert grains == {one.grain for one in model.plan(query).segments}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../etc/passwd"}, "time_zone"),
        ({"group_by": ["minute"]}, "group_by"),
        ({"group_by": ["hour", "day"]}, "group_by"),
        (
            {
                "group_by": ["day"],
                "start": utc(1900, 1, 1),
                "end": utc(1900, 2, 1),
                "time_zone": "Asia/Kolkata",
            },
            "start",
        ),
    ],
)
def test_a_span_that_cannot_be_told_is_refused(changes: dict[str, object], field: str) -> None:
    """
    The refusal names the field.
    """
    query = {"tenant": "ten_1", "start": utc(2026, 3, 1), "end": utc(2026, 4, 1)} | changes

    assert [field] == [fault.field for fault in model.query_faults(QueryUsage(**query))]  # type: ignore[arg-type]
