"""The rules of queries: what may be asked, and which totals answer it."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agora_contracts.metering import GroupBy, QueryUsage
from agora_contracts.meters import Meter
from agora_contracts.problems import FieldError

from agora_metering.queries import spans
from agora_metering.queries.spans import Bucket, Grain, Segment

TIMES: tuple[GroupBy, ...] = ("minute", "hour", "day", "month")

LOCAL_TIMES_SINCE = datetime(1980, 1, 1, tzinfo=UTC)
"""Before it some clocks were not set by whole minutes."""
_UNTIL = datetime(9999, 12, 1, tzinfo=UTC)

_LONGEST: dict[GroupBy, timedelta] = {
    "minute": timedelta(days=7),
    "hour": timedelta(days=366),
    "day": timedelta(days=3660),
    "month": timedelta(days=36_600),
}
"""The longest span that is told by minute, hour, day and month."""

_BUCKETS: dict[GroupBy, Callable[[datetime, datetime, ZoneInfo], Iterator[Bucket]]] = {
    "hour": spans.local_hours,
    "day": spans.local_days,
    "month": spans.local_months,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which totals answer a query.

    Either `aligned` is a UTC grain, and each of its minutes, hours or days is a row; or rows are those of `buckets`,
    by the label of their segments; or, with neither, time makes no rows.
    """

    start: datetime
    end: datetime
    segments: Sequence[Segment]
    aligned: Grain | None = None
    buckets: Sequence[Bucket] = ()


def time_of(query: QueryUsage) -> GroupBy | None:
    """By which time rows are grouped, if by any."""
    return next((key for key in query.group_by if key in TIMES), None)


def query_faults(query: QueryUsage) -> list[FieldError]:
    """Everything wrong with a query that its types cannot say, each with its field; empty when sound."""
    faults = list(_range_faults(query))
    times = set(query.group_by) & set(TIMES)
    if len(times) > 1:
        detail = f"a row has one time: group by one of {', '.join(TIMES)}"
        faults.append(FieldError(field="group_by", detail=detail))
    try:
        zone = ZoneInfo(query.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        detail = "is no time zone of the IANA database; name one such as Europe/Berlin"
        return [*faults, FieldError(field="time_zone", detail=detail)]
    if faults or not times:
        return faults
    (time,) = times
    if query.end - query.start > _LONGEST[time]:
        detail = (
            f"by {time} at most {_LONGEST[time].days} days are told: ask for less, or group by a longer time"
        )
        faults.append(FieldError(field="group_by", detail=detail))
    if query.start < LOCAL_TIMES_SINCE and zone.key != "UTC":
        detail = "is before 1980, which is told in UTC only"
        faults.append(FieldError(field="start", detail=detail))
    return faults


def _range_faults(query: QueryUsage) -> Iterator[FieldError]:
    for field, moment in (("start", query.start), ("end", query.end)):
        if moment.tzinfo is None:
            yield FieldError(field=field, detail="needs a time zone, such as 2026-01-31T00:00:00Z")
            return
    if query.start >= query.end:
        yield FieldError(field="end", detail="must be later than start")
    if query.end > _UNTIL:
        yield FieldError(field="end", detail="must lie before the end of the year 9999")


def meter_faults(query: QueryUsage, meters: Collection[Meter]) -> list[FieldError]:
    """What the meters that a query is about cannot answer."""
    if query.meter is not None:
        meters = [one for one in meters if one.key == query.meter]
    elif "meter" not in query.group_by:
        mixed = [one.key for one in meters if one.aggregation not in ("sum", "count")]
        if mixed:
            detail = (
                f"totals of {mixed[0]} and of other meters cannot be added up: group by meter, or name one"
            )
            return [FieldError(field="group_by", detail=detail)]
    declared = {name for one in meters for name in one.dimensions}
    asked = [("dimensions", name) for name in query.dimensions] + [("where", name) for name in query.where]
    return [
        FieldError(field=field, detail=f"no meter in question declares the dimension {name[:64]!r}")
        for field, name in asked
        if name not in declared
    ]


def kept_faults(plan: Plan, kept_since: date | None) -> list[FieldError]:
    """Whether a plan needs totals by minute that are not kept any more."""
    if kept_since is None:
        return []
    kept = datetime(kept_since.year, kept_since.month, 1, tzinfo=UTC)
    if all(one.start >= kept for one in plan.segments if one.grain == "minute"):
        return []
    detail = f"minutes before {kept_since} are not kept: ask for whole hours, in a time zone that has them"
    return [FieldError(field="start", detail=detail)]


def plan(query: QueryUsage) -> Plan:
    """Which totals answer a sound query: its range, widened to whole minutes, by its time."""
    start = spans.floor(query.start.astimezone(UTC), "minute")
    end = spans.ceiling(query.end.astimezone(UTC), "minute")
    time = time_of(query)
    if time is None:
        return Plan(start=start, end=end, segments=list(spans.segments(start, end, start)))
    if time == "minute":
        return _aligned(start, end, "minute")
    zone = ZoneInfo(query.time_zone)
    if zone.key == "UTC" and time != "month":
        return _aligned(start, end, "hour" if time == "hour" else "day")
    buckets = list(_BUCKETS[time](start, end, zone))
    if time == "hour" and all(
        one.end - one.start == spans.GRAINS["hour"] and spans.floor(one.start, "hour") == one.start
        for one in buckets
    ):
        return _aligned(start, end, "hour")
    found = [
        segment
        for one in buckets
        for segment in spans.segments(max(one.start, start), min(one.end, end), one.start)
    ]
    return Plan(start=start, end=end, segments=found, buckets=buckets)


def _aligned(start: datetime, end: datetime, grain: Grain) -> Plan:
    grains: dict[Grain, Sequence[Grain]] = {
        "minute": ("minute",),
        "hour": ("hour", "minute"),
        "day": ("day", "hour", "minute"),
    }
    return Plan(
        start=start, end=end, segments=list(spans.segments(start, end, start, grains[grain])), aligned=grain
    )
