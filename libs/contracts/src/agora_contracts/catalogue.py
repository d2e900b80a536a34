"""The catalogue of messages as data: who says what, who listens, on which stream.

The AsyncAPI page, the JSON Schemas, NATS permissions and the contract gates are all made from these
tables. A message that is not listed here cannot be sent: the kit's broker and outbox look it up.
"""

import re

import msgspec

from agora_contracts import (
    approvals,
    billing,
    budgets,
    catalog,
    conversations,
    execution,
    exports,
    identity,
    ledger,
    live,
    memory,
    metering,
    meters,
    models,
    month_books,
    periods,
    platform,
    prices,
    promotions,
    reconciliation,
    refunds,
    rentals,
    schedules,
    spending,
    steering,
    swarms,
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
    command_subject,
)

Struct = type[msgspec.Struct]

SERVICES = ("catalog", "execution", "metering", "billing", "gateway")
PROCESSES = ("catalog", "execution", "worker", "vectors", "metering", "billing", "gateway")
"""Everything that answers `health`; worker and vectors belong to execution."""


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


class CommandSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A command or query: who answers it, who asks, what comes back, and how long the asker waits."""

    request: Struct
    reply: Struct
    service: str
    verb: str
    callers: tuple[str, ...]
    deadline_seconds: float

    @property
    def subject(self) -> str:
        """The subject on which it is answered."""
        return command_subject(self.service, self.verb)


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
        _event(
            execution.RunAccepted, "execution.run.accepted", "execution", ("billing", "gateway"), RUNS_STREAM
        ),
        _event(execution.RunStarted, "execution.run.started", "execution", ("gateway",), RUNS_STREAM),
        _event(execution.StepRecorded, "execution.step.recorded", "execution", ("gateway",), RUNS_STREAM),
        _event(
            execution.RunFinished, "execution.run.finished", "execution", ("metering", "gateway"), RUNS_STREAM
        ),
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
        _event(execution.RunCharged, "execution.run.charged", "execution", ("gateway",), RUNS_STREAM),
        _event(
            execution.DeploymentStarted,
            "execution.deployment.started",
            "execution",
            ("metering", "billing", "integrators"),
            RUNS_STREAM,
        ),
        _event(
            execution.DeploymentEnded,
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
            execution.UsageRecorded,
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


def _verb(request: Struct) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", request.__name__).lower()


def _command(
    request: Struct,
    reply: Struct,
    service: str,
    callers: tuple[str, ...] = ("gateway",),
    deadline_seconds: float = 5.0,
) -> CommandSpec:
    return CommandSpec(
        request=request,
        reply=reply,
        service=service,
        verb=_verb(request),
        callers=callers,
        deadline_seconds=deadline_seconds,
    )


def _each_once(specs: tuple[CommandSpec, ...]) -> dict[Struct, CommandSpec]:
    by_request = {spec.request: spec for spec in specs}
    if len(by_request) != len(specs):
        raise ValueError("a command stands in the catalogue twice")
    return by_request


COMMANDS: dict[Struct, CommandSpec] = _each_once(
    (
        _command(catalog.PublishPackage, catalog.PackageDetail, "catalog", deadline_seconds=15),
        _command(catalog.SetListingState, catalog.PackageDetail, "catalog"),
        _command(catalog.ListPackages, catalog.PackagePage, "catalog"),
        _command(catalog.GetPackage, catalog.PackageDetail, "catalog", ("gateway", "execution")),
        _command(catalog.PublishPrices, catalog.PriceBook, "catalog"),
        _command(catalog.ListPrices, catalog.PriceBook, "catalog"),
        _command(catalog.ListCategories, catalog.CategoryList, "catalog"),
        _command(execution.StartRun, execution.Run, "execution", deadline_seconds=15),
        _command(execution.GetRun, execution.Run, "execution", deadline_seconds=65),
        _command(execution.ListRuns, execution.RunPage, "execution"),
        _command(steering.PauseRun, execution.Run, "execution", deadline_seconds=10),
        _command(steering.ResumeRun, execution.Run, "execution", deadline_seconds=10),
        _command(steering.RerunRun, execution.Run, "execution", deadline_seconds=15),
        _command(steering.ListChildren, steering.ChildPage, "execution"),
        _command(approvals.GetApproval, approvals.Approval, "execution"),
        _command(approvals.ListApprovals, approvals.ApprovalPage, "execution"),
        _command(approvals.DecideApproval, approvals.Approval, "execution", deadline_seconds=15),
        _command(approvals.ListApprovalTrail, approvals.ApprovalTrail, "execution"),
        _command(execution.CancelRun, execution.Run, "execution", deadline_seconds=10),
        _command(execution.ListSteps, execution.StepList, "execution"),
        _command(execution.ListRunEvents, execution.RunEventList, "execution"),
        _command(swarms.ListFindings, swarms.FindingPage, "execution"),
        _command(execution.EstimateRun, execution.RunEstimate, "execution", deadline_seconds=10),
        _command(execution.ListRunUsage, execution.RunUsageIds, "execution", ("metering",)),
        _command(execution.ReplayRunUsage, execution.Replayed, "execution"),
        _command(execution.StartDeployment, execution.Deployment, "execution", deadline_seconds=15),
        _command(execution.GetDeployment, execution.Deployment, "execution"),
        _command(execution.ListDeployments, execution.DeploymentPage, "execution"),
        _command(execution.ChangeDeploymentConfig, execution.Deployment, "execution", deadline_seconds=15),
        _command(execution.EndDeployment, execution.Deployment, "execution"),
        _command(execution.RegisterFile, execution.File, "execution", ("gateway", "metering")),
        _command(execution.GetFile, execution.File, "execution"),
        _command(execution.ListFiles, execution.FilePage, "execution"),
        _command(execution.DeleteFile, execution.File, "execution", ("gateway", "metering")),
        _command(execution.CheckPackageHealth, execution.PackageHealth, "execution", deadline_seconds=20),
        _command(models.StoreProviderKey, models.ProviderKey, "execution"),
        _command(models.ListProviderKeys, models.ProviderKeyList, "execution"),
        _command(models.DeleteProviderKey, models.ProviderKey, "execution"),
        _command(models.RotateProviderKeys, models.KeyRotation, "execution", deadline_seconds=60),
        _command(models.SetModelPrice, models.ModelPriceEntry, "execution"),
        _command(models.ListModelPrices, models.ModelPriceList, "execution"),
        _command(models.ListModels, models.ModelOfferList, "execution"),
        _command(models.ListModelCalls, models.ModelCallPage, "execution"),
        _command(execution.IndexPassages, execution.Indexed, "vectors", ("worker", "execution"), 120),
        _command(execution.SearchPassages, execution.PassageHits, "vectors", ("worker",), 20),
        _command(execution.EmbedTexts, execution.Embeddings, "vectors", ("worker",), 60),
        _command(execution.DropCollection, execution.Dropped, "vectors", ("worker", "execution"), 20),
        _command(memory.ForgetPassages, memory.PassagesForgotten, "vectors", ("worker", "execution"), 20),
        _command(memory.ListMemory, memory.MemoryPage, "execution"),
        _command(memory.GetMemory, memory.MemoryEntry, "execution"),
        _command(memory.DeleteMemory, memory.MemoryDeleted, "execution"),
        _command(
            conversations.StartConversation, conversations.Conversation, "execution", deadline_seconds=10
        ),
        _command(conversations.GetConversation, conversations.Conversation, "execution"),
        _command(conversations.ListConversations, conversations.ConversationPage, "execution"),
        _command(conversations.DeleteConversation, conversations.Conversation, "execution"),
        _command(conversations.PostMessage, conversations.MessagePosted, "execution", deadline_seconds=15),
        _command(conversations.ListMessages, conversations.MessagePage, "execution"),
        _command(schedules.CreateSchedule, schedules.Schedule, "execution", deadline_seconds=15),
        _command(schedules.GetSchedule, schedules.Schedule, "execution"),
        _command(schedules.ListSchedules, schedules.SchedulePage, "execution"),
        _command(schedules.ChangeSchedule, schedules.Schedule, "execution", deadline_seconds=15),
        _command(schedules.PauseSchedule, schedules.Schedule, "execution", deadline_seconds=10),
        _command(schedules.ResumeSchedule, schedules.Schedule, "execution", deadline_seconds=10),
        _command(schedules.DeleteSchedule, schedules.Schedule, "execution", deadline_seconds=10),
        _command(schedules.TriggerSchedule, schedules.Fire, "execution", deadline_seconds=15),
        _command(schedules.FireSchedule, schedules.Fire, "execution", ("worker",), 30),
        _command(schedules.ListFires, schedules.FirePage, "execution"),
        _command(metering.QueryUsage, metering.UsageReport, "metering", deadline_seconds=10),
        _command(metering.GetRunTotals, metering.RunTotals, "metering"),
        _command(meters.CreateMeter, meters.Meter, "metering", deadline_seconds=15),
        _command(meters.ListMeters, meters.MeterList, "metering"),
        _command(meters.GetMeter, meters.Meter, "metering"),
        _command(meters.DeleteMeter, meters.Meter, "metering", deadline_seconds=15),
        _command(meters.RebuildMeter, meters.Meter, "metering", deadline_seconds=15),
        _command(reconciliation.Reconcile, reconciliation.Reconciliation, "metering", deadline_seconds=120),
        _command(
            reconciliation.ListRecordedUsage,
            reconciliation.RecordedUsagePage,
            "execution",
            ("metering",),
            15,
        ),
        _command(reconciliation.ListEndedRuns, reconciliation.EndedRunPage, "execution", ("metering",), 15),
        _command(
            reconciliation.DescribeCharges, reconciliation.ChargesDescribed, "billing", ("metering",), 15
        ),
        _command(month_books.DescribeMonths, month_books.MonthsDescribed, "billing", ("metering",), 15),
        _command(reconciliation.AuditBooks, reconciliation.BooksAudited, "billing", ("metering",), 60),
        _command(meters.CheckTotals, meters.TotalsCheck, "metering", deadline_seconds=60),
        _command(usage_ingest.IngestUsage, usage_ingest.IngestReport, "metering", deadline_seconds=15),
        _command(usage_ingest.ListRefusedUsage, usage_ingest.RefusedUsagePage, "metering"),
        _command(
            usage_ingest.ReplayRefusedUsage, usage_ingest.IngestedEvent, "metering", deadline_seconds=10
        ),
        _command(
            usage_ingest.ReplayAllRefusedUsage, usage_ingest.ReplayedUsage, "metering", deadline_seconds=30
        ),
        _command(usage_ingest.CorrectUsage, usage_ingest.UsageCorrection, "metering", deadline_seconds=10),
        _command(exports.RequestUsageExport, exports.UsageExport, "metering"),
        _command(exports.GetUsageExport, exports.UsageExport, "metering"),
        _command(exports.ListUsageExports, exports.UsageExportPage, "metering"),
        _command(exports.CancelUsageExport, exports.UsageExport, "metering"),
        _command(billing.OpenAccount, billing.Balance, "billing"),
        _command(billing.TopUp, billing.Balance, "billing"),
        _command(billing.GetBalance, billing.Balance, "billing"),
        _command(billing.QuoteRun, billing.Quote, "billing", ("execution", "worker")),
        _command(billing.PlaceHold, billing.Hold, "billing", ("execution", "worker")),
        _command(billing.ConfirmHold, billing.Hold, "billing", ("worker",)),
        _command(billing.IncreaseHold, billing.Hold, "billing", ("worker", "execution")),
        _command(billing.GetStatement, billing.Statement, "billing"),
        _command(billing.GetReceipt, billing.Receipt, "billing"),
        _command(billing.ListOpenHolds, billing.OpenHolds, "billing"),
        _command(rentals.CheckRental, rentals.RentalCheck, "billing", ("execution",)),
        _command(periods.ListPeriods, periods.PeriodPage, "billing"),
        _command(refunds.RefundRun, refunds.RefundResult, "billing"),
        _command(refunds.ListRefunds, refunds.RefundList, "billing"),
        _command(ledger.ReadLedger, ledger.LedgerPage, "billing", deadline_seconds=10),
        _command(billing.CloseAccount, billing.Balance, "billing"),
        _command(promotions.GrantPromotion, promotions.Promotion, "billing"),
        _command(promotions.ListPromotions, promotions.PromotionPage, "billing"),
        _command(budgets.CreateBudget, budgets.Budget, "billing"),
        _command(budgets.ChangeBudget, budgets.Budget, "billing"),
        _command(budgets.DeleteBudget, budgets.Budget, "billing"),
        _command(budgets.GetBudget, budgets.Budget, "billing"),
        _command(budgets.ListBudgets, budgets.BudgetList, "billing"),
    )
)

SHARED_COMMANDS: dict[Struct, Struct] = {
    platform.GetHealth: platform.Health,
    platform.ListDeadLetters: platform.DeadLetterPage,
    platform.ReplayDeadLetters: platform.ReplayReport,
}
"""Answered by every process that has something to say, on its own subject (`shared_subject`)."""

SHARED_VERBS: dict[Struct, str] = {
    platform.GetHealth: "health",
    platform.ListDeadLetters: "list_dead_letters",
    platform.ReplayDeadLetters: "replay_dead_letters",
}


LIVE_MESSAGES: tuple[Struct, ...] = (
    execution.RunProgress,
    live.TextDelta,
    live.TextSnapshot,
    live.ToolStarted,
    live.ToolFinished,
)
"""Sent by the worker over core NATS on `live_subject`; seen by who listens then, stored nowhere."""


def shared_subject(request: Struct, process: str) -> str:
    """The subject on which `process` answers a message that every process answers."""
    return command_subject(process, SHARED_VERBS[request])


def event_by_type(type_name: str) -> EventSpec:
    """Find an event by its type name.

    Raises:
        KeyError: no event has this name.
    """
    return _BY_TYPE[type_name]


_BY_TYPE = {spec.type: spec for spec in EVENTS.values()}
