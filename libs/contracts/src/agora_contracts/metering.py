"""Messages of metering: usage queries, totals, alarms."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agora_contracts.billing import Quantity
from agora_contracts.runs import Deliverable, Outcome

GroupBy = Literal["meter", "package", "deployment", "minute", "hour", "day", "month"]


class QueryUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Total a tenant's usage over [start, end), each cut to its minute (the end up), filtered and grouped.

    Minutes, hours, days and months are those of `time_zone`, an IANA name. `dimensions` are names of dimensions to
    group by, after `group_by`; `where` keeps what has these values. Both only know what the meters in question declare.
    """

    tenant: str
    start: datetime
    end: datetime
    meter: str | None = None
    package: str | None = None
    deployment: str | None = None
    group_by: list[GroupBy] = msgspec.field(default_factory=lambda: ["meter"])
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    time_zone: Annotated[str, Meta(min_length=1, max_length=64)] = "UTC"
    dimensions: Annotated[list[str], Meta(max_length=8)] = []
    where: Annotated[dict[str, str], Meta(max_length=8)] = {}
    cursor: str | None = None


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """One group's total; fields that were not grouped by are null.

    `quantity` is the meter's own aggregation (a sum where no meter is defined). `time` is the group's first moment, in
    the time zone asked for.
    """

    quantity: Decimal
    events: int
    meter: str | None = None
    package: str | None = None
    deployment: str | None = None
    time: datetime | None = None
    dimensions: dict[str, str | None] = {}


class UsageReport(msgspec.Struct, frozen=True, kw_only=True):
    """Rows in the order of their groups; `truncated` when the limit cut them, and then `next_cursor` goes on.

    `incomplete` names meters whose back-fill is not done.
    """

    items: list[UsageRow]
    truncated: bool = False
    next_cursor: str | None = None
    incomplete: list[str] = []


class GetRunTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Read what metering has counted for a run."""

    run: str
    tenant: str


class RunTotals(msgspec.Struct, frozen=True, kw_only=True):
    """A run's usage as counted. `closed` when the count is what `RunFinished` said."""

    run: str
    closed: bool
    revision: int
    expected: int | None
    counted: int
    totals: list[Quantity]


class RunUsageClosed(msgspec.Struct, frozen=True, kw_only=True):
    """A run's usage is complete (revision 1) or was corrected (later ones); billing rates this.

    Carries what `RunFinished` said of outcome and deliverable, so that billing need not join two streams.
    """

    run: str
    revision: int
    totals: list[Quantity]
    outcome: Outcome
    deliverable: Deliverable
    finished_at: datetime
    delivered_units: int | None = None
    error_code: str | None = None


class UsageIncomplete(msgspec.Struct, frozen=True, kw_only=True):
    """Alarm: a run's usage did not become complete by the deadline; names what is missing."""

    run: str
    expected: int
    counted: int
    missing: list[str]
