"""How much time of a rental falls into each calendar month (UTC).

By the hour, active time is counted in hundredths of an hour (36 seconds), so that it is a finite decimal; one that is
begun counts, once per calendar month. By the month, each month of the rental counts 1 when it begins, in the calendar
month in which it begins: on the day of the month on which the rental began, or the last one where there is no such
day (31 January, 28 or 29 February, 31 March). Nothing is prorated.
"""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from agora_contracts.periods import RENTAL_METERS

_HUNDREDTH = timedelta(seconds=36)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rental:
    """A deployment that is billed for its time."""

    deployment: str
    tenant: str
    basis: str
    started_at: datetime
    ended_at: datetime | None

    @property
    def meter(self) -> str:
        """What its time is counted under."""
        return RENTAL_METERS[self.basis]


def months(rental: Rental, now: datetime) -> dict[datetime, Decimal]:
    """What each calendar month has of a rental until now, by its beginning; months without anything are left out.

    A rental whose beginning lies ahead, by a clock that is fast, has nothing yet.
    """
    start = rental.started_at.astimezone(UTC)
    end = now if rental.ended_at is None else min(rental.ended_at, now)
    return dict(_months_begun(start, end) if rental.basis == "month" else _hours(start, end.astimezone(UTC)))


def _hours(start: datetime, end: datetime) -> Iterator[tuple[datetime, Decimal]]:
    month = _month_of(start)
    while month < end:
        following = _months_later(month, 1)
        active = min(end, following) - max(start, month)
        if active > timedelta():
            # Division of times by times rounds towards the floor: of the negative, that is up.
            yield month, Decimal(-(-active // _HUNDREDTH)).scaleb(-2)
        month = following


def _months_begun(start: datetime, end: datetime) -> Iterator[tuple[datetime, Decimal]]:
    number = 0
    while (begins := _months_later(start, number)) < end or (number == 0 and begins == end):
        yield _month_of(begins), Decimal(1)
        number += 1


def _month_of(at: datetime) -> datetime:
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _months_later(at: datetime, number: int) -> datetime:
    year, month = divmod(at.year * 12 + at.month - 1 + number, 12)
    return at.replace(year=year, month=month + 1, day=min(at.day, monthrange(year, month + 1)[1]))


def month_after(start: datetime) -> datetime:
    """The beginning of the calendar month after the one that begins at `start`."""
    return _months_later(start.astimezone(UTC), 1)
