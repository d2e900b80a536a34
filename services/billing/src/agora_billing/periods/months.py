"""Calendar months in UTC."""

from datetime import UTC, datetime, timedelta


def month_of(at: datetime) -> datetime:
    """When the calendar month of a moment starts, in UTC."""
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def month_after(start: datetime) -> datetime:
    """The first moment of the month after the one that starts at `start`."""
    # Any day of the next month, whatever the length of this one.
    return (start + timedelta(days=32)).replace(day=1)
