"""Spans of time: local hours, days and months, and which totals make them up exactly.

Totals are kept by UTC minute, hour and day. A local day in Berlin is made of whole UTC hours, one in Kolkata of hours
with minutes at both ends, a month of days with hours or minutes at both ends.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

type Grain = Literal["minute", "hour", "day"]

GRAINS: dict[Grain, timedelta] = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}
_MINUTE = GRAINS["minute"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A local hour, day or month that a row is about: from `start`, itself in, to `end`, itself out, in UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Totals of one grain over [start, end), which belong to the row labelled `label`."""

    grain: Grain
    start: datetime
    end: datetime
    label: datetime


def floor(moment: datetime, grain: Grain) -> datetime:
    """The start of the UTC minute, hour or day in which a moment lies."""
    return moment - (moment - _EPOCH) % GRAINS[grain]


def ceiling(moment: datetime, grain: Grain) -> datetime:
    """The moment itself if a UTC minute, hour or day starts with it, or the next start."""
    start = floor(moment, grain)
    return start if start == moment else start + GRAINS[grain]


def segments(
    start: datetime, end: datetime, label: datetime, grains: Sequence[Grain] = ("day", "hour", "minute")
) -> Iterator[Segment]:
    """The fewest totals that make up [start, end), which begins and ends with a minute, coarsest grain first."""
    if start >= end:
        return
    grain, *finer = grains
    first, last = ceiling(start, grain), floor(end, grain)
    if first >= last:
        yield from segments(start, end, label, finer)
        return
    yield Segment(grain=grain, start=first, end=last, label=label)
    if finer:
        yield from segments(start, first, label, finer)
        yield from segments(last, end, label, finer)


def local_days(start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[Bucket]:
    """The calendar days of a time zone that [start, end) touches: of 23, 24 or 25 hours, or none that was skipped."""
    day = start.astimezone(zone).date()
    yield from _dates(day, lambda day: day + timedelta(days=1), start, end, zone)


def local_months(start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[Bucket]:
    """The calendar months of a time zone that [start, end) touches."""
    first = start.astimezone(zone).date().replace(day=1)
    yield from _dates(first, lambda month: (month + timedelta(days=31)).replace(day=1), start, end, zone)


def _dates(
    first: date, following: Callable[[date], date], start: datetime, end: datetime, zone: ZoneInfo
) -> Iterator[Bucket]:
    while (begins := _midnight(first, zone)) < end:
        after = following(first)
        ends = _midnight(after, zone)
        # A date that a zone has skipped (Samoa, 2011-12-30) begins when the next one does.
        if begins < ends and ends > start:
            yield Bucket(start=begins, end=ends)
        first = after


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """When a date begins: its first midnight, or the moment to which a clock sprang over it."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def local_hours(start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[Bucket]:
    """The hours of a time zone's clock that [start, end) touches.

    One that the clock is set in is in two parts, each with its own offset: an hour that comes twice is two hours.
    """
    begins = _change(start - timedelta(minutes=start.astimezone(zone).minute), start, zone)
    begins = start - timedelta(minutes=start.astimezone(zone).minute) if begins is None else begins
    while begins < end:
        whole = begins + timedelta(minutes=60 - begins.astimezone(zone).minute)
        ends = _change(begins, whole, zone) or whole
        yield Bucket(start=begins, end=ends)
        begins = ends


def _change(start: datetime, end: datetime, zone: ZoneInfo) -> datetime | None:
    """When in (start, end], last, a zone's offset became another one; None when it did not."""
    if start.astimezone(zone).utcoffset() == end.astimezone(zone).utcoffset():
        return None
    moment = end
    while (moment - _MINUTE).astimezone(zone).utcoffset() == end.astimezone(zone).utcoffset():
        moment -= _MINUTE
    return moment
