"""The events: what each is called, who says it, who listens, on which stream."""

import msgspec

from agora_contracts import (
    approvals,
    billing,
    budgets,
    catalog,
    deployments,
    identity,
    live,
    metering,
    periods,
    prices,
    promotions,
    reconciliation,
    refunds,
    runs,
    schedules,
    spending,
    steering,
    usage,
    usage_ingest,
)
from agora_contracts.subjects import (
    BILLING_STREAM,
    CATALOG_STREAM,
    GATEWAY_STREAM,
    METERING_STREAM,
    RUNS_STREAM,
    USAGE_STREAM,
    Stream,
)

Struct = type[msgspec.Struct]

EXTERNAL_CONSUMERS = ("operators", "integrators")
"""Who listens to an event without being a service: people with their tools, and customers' own systems."""


class EventSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An event: its type name with version, subject path, producer, consumers and stream."""

    data: Struct
    type: str
    path: str
    producer: str
    consumers: tuple[str, ...]
    stream: Stream


def _event(
    data: Struct,
    path: str,
    producer: str,
    consumers: tuple[str, ...],
    stream: Stream,
    *,
    type_name: str | None = None,
) -> EventSpec:
    """An event of version 1, named after its entity and fact: `agora.run.finished.v1`."""
    return EventSpec(
        data=data,
        type=type_name or f"agora.{path.split('.', 1)[1]}.v1",
        path=path,
        producer=producer,
        consumers=consumers,
        stream=stream,
    )


EVENTS: dict[Struct, EventSpec] = {
    spec.data: spec
    for spec in (
        _event(
            catalog.PackagePublished,
            "catalog.package.published",
            "catalog",
            ("execution", "gateway"),
            CATALOG_STREAM,
        ),
        _event(
            catalog.ListingStateChanged,
            "catalog.package.state_changed",
            "catalog",
            ("execution", "gateway"),
            CATALOG_STREAM,
        ),
        _event(
            catalog.PriceVersionPublished,
            "catalog.price.published",
            "catalog",
            ("billing", "metering"),
            CATALOG_STREAM,
        ),
        _event(runs.RunAccepted, "execution.run.accepted", "execution", ("billing", "gateway"), RUNS_STREAM),
        _event(runs.RunStarted, "execution.run.started", "execution", ("gateway",), RUNS_STREAM),
        _event(runs.StepRecorded, "execution.step.recorded", "execution", ("gateway",), RUNS_STREAM),
        _event(runs.RunFinished, "execution.run.finished", "execution", ("metering", "gateway"), RUNS_STREAM),
        _event(
            approvals.ApprovalRequested,
            "execution.approval.requested",
            "execution",
            ("gateway", "integrators"),
            RUNS_STREAM,
        ),
        _event(
            approvals.ApprovalDecided,
            "execution.approval.decided",
            "execution",
            ("gateway", "integrators"),
            RUNS_STREAM,
        ),
        _event(steering.RunWaiting, "execution.run.waiting", "execution", ("gateway",), RUNS_STREAM),
        _event(steering.RunResumed, "execution.run.resumed", "execution", ("gateway",), RUNS_STREAM),
        _event(runs.RunCharged, "execution.run.charged", "execution", ("gateway",), RUNS_STREAM),
        _event(
            deployments.DeploymentStarted,
            "execution.deployment.started",
            "execution",
            ("metering", "billing", "integrators"),
            RUNS_STREAM,
        ),
        _event(
            deployments.DeploymentEnded,
            "execution.deployment.ended",
            "execution",
            ("metering", "billing", "integrators"),
            RUNS_STREAM,
        ),
        _event(
            identity.KeyRevoked,
            "gateway.key.revoked",
            "gateway",
            ("execution", "integrators"),
            GATEWAY_STREAM,
        ),
        _event(
            schedules.SchedulePaused,
            "execution.schedule.paused",
            "execution",
            ("integrators",),
            RUNS_STREAM,
        ),
        _event(
            usage.UsageRecorded,
            "usage.event.recorded",
            "execution",
            ("metering",),
            USAGE_STREAM,
            type_name="agora.usage.recorded.v1",
        ),
        _event(metering.RunUsageClosed, "metering.usage.closed", "metering", ("billing",), METERING_STREAM),
        _event(
            metering.UsageIncomplete, "metering.usage.incomplete", "metering", ("operators",), METERING_STREAM
        ),
        _event(
            reconciliation.ReconciliationFailed,
            "metering.reconciliation.failed",
            "metering",
            ("operators",),
            METERING_STREAM,
        ),
        _event(periods.PeriodTotal, "metering.period.total", "metering", ("billing",), METERING_STREAM),
        _event(
            prices.PriceChangeScheduled,
            "billing.price.change_scheduled",
            "billing",
            ("integrators",),
            BILLING_STREAM,
        ),
        _event(periods.PeriodCharged, "billing.period.charged", "billing", ("integrators",), BILLING_STREAM),
        _event(
            usage_ingest.UsageCorrected,
            "metering.usage.corrected",
            "metering",
            ("integrators",),
            METERING_STREAM,
        ),
        _event(billing.ChargeSettled, "billing.charge.settled", "billing", ("execution",), BILLING_STREAM),
        _event(billing.ChargeAdjusted, "billing.charge.adjusted", "billing", ("execution",), BILLING_STREAM),
        _event(refunds.ChargeRefunded, "billing.charge.refunded", "billing", ("execution",), BILLING_STREAM),
        _event(
            billing.CreditToppedUp, "billing.credit.topped_up", "billing", ("integrators",), BILLING_STREAM
        ),
        _event(
            spending.SpendingRoomGrew,
            "billing.spending.room_grew",
            "billing",
            ("execution", "integrators"),
            BILLING_STREAM,
        ),
        _event(
            promotions.PromotionGranted,
            "billing.promotion.granted",
            "billing",
            ("integrators",),
            BILLING_STREAM,
        ),
        _event(
            promotions.PromotionExpired,
            "billing.promotion.expired",
            "billing",
            ("integrators",),
            BILLING_STREAM,
        ),
        _event(
            budgets.BudgetThresholdReached,
            "billing.budget.threshold_reached",
            "billing",
            ("integrators",),
            BILLING_STREAM,
        ),
        _event(
            budgets.BudgetExhausted, "billing.budget.exhausted", "billing", ("integrators",), BILLING_STREAM
        ),
    )
}


LIVE_MESSAGES: tuple[Struct, ...] = (
    runs.RunProgress,
    live.TextDelta,
    live.TextSnapshot,
    live.ToolStarted,
    live.ToolFinished,
)
"""Sent by the worker over core NATS on `live_subject`; seen by who listens then, stored nowhere."""


def event_by_type(type_name: str) -> EventSpec:
    """Find an event by its type name.

    Raises:
        KeyError: no event has this name.
    """
    return _BY_TYPE[type_name]


_BY_TYPE = {spec.type: spec for spec in EVENTS.values()}
