"""The rules of months: which one is accepted into, which are kept."""

from datetime import date, datetime

RETENTION_MONTHS_MIN = 4
"""What is kept at least: the months in which a duplicate is looked for, and the one that begins."""


def month_of(moment: datetime) -> date:
    """The first day of a moment's month; the moment is in UTC."""
    return date(moment.year, moment.month, 1)


def month_after(month: date, months: int = 1) -> date:
    """The first day of the month so many months later; earlier when negative."""
    number = month.year * 12 + month.month - 1 + months
    return date(number // 12, number % 12 + 1, 1)


def first_kept(current: date, retention_months: int) -> date:
    """The first month of which everything is kept; `retention_months` whole months before the current one are."""
    return month_after(current, -retention_months)
