"""Examples of metering's messages."""

from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec

from agora_contracts import metering, meters, periods
from agora_contracts.examples import story

HOUR = datetime(2026, 3, 2, 9, tzinfo=UTC)

EXAMPLES: tuple[msgspec.Struct, ...] = (
    metering.RunUsageClosed(
        run=story.RUN,
        revision=1,
        totals=story.USAGE,
        outcome="succeeded",
        deliverable="full",
        finished_at=story.FINISHED_AT,
        delivered_units=1840,
    ),
    metering.RunUsageClosed(
        run=story.RUN,
        revision=1,
        totals=[],
        outcome="failed",
        deliverable="empty",
        finished_at=story.FINISHED_AT,
        error_code="unreadable_file",
    ),
    metering.UsageIncomplete(run=story.RUN, expected=2, counted=1, missing=[f"{story.STEP}2/model.cost"]),
    metering.QueryUsage(
        tenant=story.TENANT,
        start=HOUR,
        end=HOUR.replace(hour=11),
        meter="jobs",
        package=story.PACKAGE,
        deployment=story.DEPLOYMENT,
        group_by=["meter", "package", "deployment", "hour"],
        limit=500,
        time_zone="Europe/Berlin",
        dimensions=["model"],
        where={"region": "eu"},
        cursor=story.CURSOR,
    ),
    metering.GetRunTotals(run=story.RUN, tenant=story.TENANT),
    metering.UsageReport(
        items=[
            metering.UsageRow(
                quantity=Decimal(12),
                events=12,
                meter="jobs",
                package=story.PACKAGE,
                deployment=story.DEPLOYMENT,
                time=HOUR,
                dimensions={"model": "small"},
            )
        ],
        truncated=True,
        next_cursor=story.CURSOR,
        incomplete=["active-users"],
    ),
    metering.RunTotals(run=story.RUN, closed=True, revision=1, expected=2, counted=2, totals=story.USAGE),
    meters.CreateMeter(
        tenant=story.TENANT,
        key="active-users",
        unit="users",
        aggregation="unique_count",
        description="Who called the API",
        event="api.calls",
        value="user",
        dimensions=["region"],
    ),
    meters.Meter(
        tenant=story.TENANT,
        key="active-users",
        unit="users",
        aggregation="unique_count",
        event="api.calls",
        state="backfilling",
        created_at=HOUR,
        description="Who called the API",
        value="user",
        dimensions=["region"],
        progress_percent=40,
    ),
    meters.ListMeters(tenant=story.TENANT),
    meters.MeterList(
        items=[
            meters.Meter(
                tenant="platform",
                key="api.calls",
                unit="calls",
                aggregation="count",
                event="api.calls",
                state="active",
                created_at=HOUR,
                progress_percent=100,
            )
        ]
    ),
    meters.GetMeter(tenant=story.TENANT, key="active-users"),
    meters.DeleteMeter(tenant=story.TENANT, key="active-users"),
    meters.RebuildMeter(tenant=story.TENANT, key="active-users"),
    meters.CheckTotals(day=date(2026, 3, 2), tenant=story.TENANT, limit=10),
    meters.TotalsCheck(
        day=date(2026, 3, 2),
        checked=48,
        differences=[
            meters.TotalDifference(
                tenant=story.TENANT,
                meter="jobs",
                package=story.PACKAGE,
                deployment=None,
                start=HOUR,
                grain="hour",
                kept=Decimal(11),
                kept_events=11,
                recomputed=Decimal(12),
                recomputed_events=12,
            )
        ],
    ),
    periods.PeriodTotal(
        deployment=story.DEPLOYMENT,
        meter="storage.gb",
        period_start=datetime(2026, 3, 1, tzinfo=UTC),
        period_end=datetime(2026, 4, 1, tzinfo=UTC),
        revision=3,
        quantity=Decimal("12.5"),
        events=744,
    ),
)
