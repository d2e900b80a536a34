"""Examples of metering's messages."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from agora_contracts import metering
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
            )
        ],
        truncated=True,
    ),
    metering.RunTotals(run=story.RUN, closed=True, revision=1, expected=2, counted=2, totals=story.USAGE),
)
