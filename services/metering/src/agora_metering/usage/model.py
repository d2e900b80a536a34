"""The rules of usage: what a query may ask, and how it is grouped."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agora_contracts.metering import GroupBy, QueryUsage
from agora_contracts.problems import FieldError

_TIMES: tuple[GroupBy, ...] = ("hour", "day")
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """What a report's rows are grouped by, in the order of its columns."""

    keys: Sequence[GroupBy]

    @property
    def time(self) -> GroupBy | None:
        """Whether rows are by hour or by day, if either."""
        return next((key for key in self.keys if key in _TIMES), None)


def query_faults(query: QueryUsage) -> list[FieldError]:
    """Everything wrong with a query that its types cannot say, each with its field; empty when sound."""
    faults = []
    for field, moment in (("start", query.start), ("end", query.end)):
        if moment.tzinfo is None:
            detail = "needs a time zone, such as 2026-01-31T00:00:00Z"
            faults.append(FieldError(field=field, detail=detail))
    if not faults and query.start >= query.end:
        faults.append(FieldError(field="end", detail="must be later than start"))
    if set(_TIMES) <= set(query.group_by):
        detail = "a row has one time: group by hour or by day, not by both"
        faults.append(FieldError(field="group_by", detail=detail))
    return faults


def grouping(query: QueryUsage) -> Grouping:
    """What the query groups by, each key once, in the order in which it was asked for."""
    return Grouping(keys=tuple(dict.fromkeys(query.group_by)))


def first_hour(moment: datetime) -> datetime:
    """The hour in which a moment lies."""
    return moment.replace(minute=0, second=0, microsecond=0)


def hour_after(moment: datetime) -> datetime:
    """The end of the last hour that a range up to `moment`, itself left out, touches.

    Raises:
        OverflowError: beyond the year 9999.
    """
    hour = first_hour(moment)
    return hour if hour == moment else hour + _HOUR
