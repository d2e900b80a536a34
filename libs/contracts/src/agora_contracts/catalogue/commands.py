"""The commands and queries: who answers each, who may ask, and for how long."""

import re

import msgspec

from agora_contracts import (
    approvals,
    billing,
    budgets,
    catalog,
    conversations,
    deployments,
    exports,
    files,
    knowledge,
    ledger,
    memory,
    metering,
    meters,
    models,
    month_books,
    package_health,
    periods,
    platform,
    promotions,
    reconciliation,
    refunds,
    rentals,
    runs,
    schedules,
    steering,
    swarms,
    usage,
    usage_ingest,
)
from agora_contracts.subjects import command_subject

Struct = type[msgspec.Struct]

SERVICES = ("catalog", "execution", "metering", "billing", "gateway")
PROCESSES = ("catalog", "execution", "worker", "vectors", "metering", "billing", "gateway")
"""Everything that answers `health`; worker and vectors belong to execution."""


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
        _command(runs.StartRun, runs.Run, "execution", deadline_seconds=15),
        _command(runs.GetRun, runs.Run, "execution", deadline_seconds=65),
        _command(runs.ListRuns, runs.RunPage, "execution"),
        _command(steering.PauseRun, runs.Run, "execution", deadline_seconds=10),
        _command(steering.ResumeRun, runs.Run, "execution", deadline_seconds=10),
        _command(steering.RerunRun, runs.Run, "execution", deadline_seconds=15),
        _command(steering.ListChildren, steering.ChildPage, "execution"),
        _command(approvals.GetApproval, approvals.Approval, "execution"),
        _command(approvals.ListApprovals, approvals.ApprovalPage, "execution"),
        _command(approvals.DecideApproval, approvals.Approval, "execution", deadline_seconds=15),
        _command(approvals.ListApprovalTrail, approvals.ApprovalTrail, "execution"),
        _command(runs.CancelRun, runs.Run, "execution", deadline_seconds=10),
        _command(runs.ListSteps, runs.StepList, "execution"),
        _command(runs.ListRunEvents, runs.RunEventList, "execution"),
        _command(swarms.ListFindings, swarms.FindingPage, "execution"),
        _command(runs.EstimateRun, runs.RunEstimate, "execution", deadline_seconds=10),
        _command(usage.ListRunUsage, usage.RunUsageIds, "execution", ("metering",)),
        _command(usage.ReplayRunUsage, usage.Replayed, "execution"),
        _command(deployments.StartDeployment, deployments.Deployment, "execution", deadline_seconds=15),
        _command(deployments.GetDeployment, deployments.Deployment, "execution"),
        _command(deployments.ListDeployments, deployments.DeploymentPage, "execution"),
        _command(
            deployments.ChangeDeploymentConfig, deployments.Deployment, "execution", deadline_seconds=15
        ),
        _command(deployments.EndDeployment, deployments.Deployment, "execution"),
        _command(files.RegisterFile, files.File, "execution", ("gateway", "metering")),
        _command(files.GetFile, files.File, "execution"),
        _command(files.ListFiles, files.FilePage, "execution"),
        _command(files.DeleteFile, files.File, "execution", ("gateway", "metering")),
        _command(
            package_health.CheckPackageHealth, package_health.PackageHealth, "execution", deadline_seconds=20
        ),
        _command(models.StoreProviderKey, models.ProviderKey, "execution"),
        _command(models.ListProviderKeys, models.ProviderKeyList, "execution"),
        _command(models.DeleteProviderKey, models.ProviderKey, "execution"),
        _command(models.RotateProviderKeys, models.KeyRotation, "execution", deadline_seconds=60),
        _command(models.SetModelPrice, models.ModelPriceEntry, "execution"),
        _command(models.ListModelPrices, models.ModelPriceList, "execution"),
        _command(models.ListModels, models.ModelOfferList, "execution"),
        _command(models.ListModelCalls, models.ModelCallPage, "execution"),
        _command(knowledge.IndexPassages, knowledge.Indexed, "vectors", ("worker", "execution"), 120),
        _command(knowledge.SearchPassages, knowledge.PassageHits, "vectors", ("worker",), 20),
        _command(knowledge.EmbedTexts, knowledge.Embeddings, "vectors", ("worker",), 60),
        _command(knowledge.DropCollection, knowledge.Dropped, "vectors", ("worker", "execution"), 20),
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


def shared_subject(request: Struct, process: str) -> str:
    """The subject on which `process` answers a message that every process answers."""
    return command_subject(process, SHARED_VERBS[request])
