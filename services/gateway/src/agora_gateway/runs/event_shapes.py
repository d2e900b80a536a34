"""A run's events as its tenant sees them on the stream."""

from datetime import datetime
from typing import Any, Literal

import msgspec
from agora_contracts import approvals, runs, steering
from agora_contracts.approvals import ApprovalKind, ApprovalState, DeciderRole, NeededFor
from agora_contracts.billing import Quantity, QuoteLine
from agora_contracts.money import PublicMoney, to_public
from agora_contracts.runs import Deliverable, Outcome, RunError

EventType = Literal[
    "run.accepted",
    "run.started",
    "step.recorded",
    "approval.requested",
    "approval.decided",
    "run.waiting",
    "run.resumed",
    "run.finished",
    "run.charged",
]
LAST: EventType = "run.charged"
"""The event after which a stream ends."""


class AcceptedShape(msgspec.Struct, frozen=True, kw_only=True):
    """`run.accepted`: the run exists and its quote is set aside."""

    run: str
    package: str
    version: str
    basis: str
    quoted: PublicMoney
    deployment: str | None


class StartedShape(msgspec.Struct, frozen=True, kw_only=True):
    """`run.started`: a worker has taken it up."""

    run: str


class StepShape(msgspec.Struct, frozen=True, kw_only=True):
    """`step.recorded`: a step's result and usage are recorded."""

    run: str
    step: str
    node: str
    title: str
    visit: int
    branch: str
    usage: list[Quantity]
    summary: str


class ApprovalRequestedShape(msgspec.Struct, frozen=True, kw_only=True):
    """`approval.requested`: somebody is to decide; `POST /approvals/{approval}/decide`."""

    run: str
    approval: str
    step: str
    kind: ApprovalKind
    action: str
    arguments: dict[str, Any]
    reason: str
    decider: DeciderRole
    deadline: datetime
    cost_so_far: PublicMoney
    needed: PublicMoney | None
    needed_for: NeededFor | None


class ApprovalDecidedShape(msgspec.Struct, frozen=True, kw_only=True):
    """`approval.decided`: by somebody, or by its deadline."""

    run: str
    approval: str
    state: ApprovalState
    decided_by: str
    comment: str


class WaitingShape(msgspec.Struct, frozen=True, kw_only=True):
    """`run.waiting`: it does nothing until something happens."""

    run: str
    waiting_for: runs.WaitingFor


class ResumedShape(msgspec.Struct, frozen=True, kw_only=True):
    """`run.resumed`: it goes on."""

    run: str


class FinishedShape(msgspec.Struct, frozen=True, kw_only=True):
    """`run.finished`: it has ended; the charge follows."""

    run: str
    status: Outcome
    deliverable: Deliverable
    error: RunError | None


class ChargedShape(msgspec.Struct, frozen=True, kw_only=True):
    """`run.charged`: what it costs now, `refunded` taken off.

    Revisions after the first are corrections; a refund tells of no lines.
    """

    run: str
    revision: int
    amount: PublicMoney
    lines: list[QuoteLine]
    refunded: PublicMoney


def _accepted(fact: runs.RunAccepted) -> AcceptedShape:
    return AcceptedShape(
        run=fact.run,
        package=fact.package,
        version=fact.version,
        basis=fact.basis,
        quoted=to_public(fact.quoted),
        deployment=fact.deployment,
    )


def _step(fact: runs.StepRecorded) -> StepShape:
    fields = msgspec.structs.asdict(fact)
    del fields["seq"]
    return StepShape(**fields)


def _requested(fact: approvals.ApprovalRequested) -> ApprovalRequestedShape:
    return ApprovalRequestedShape(
        run=fact.run,
        approval=fact.approval,
        step=fact.step,
        kind=fact.kind,
        action=fact.action,
        arguments=fact.arguments,
        reason=fact.reason,
        decider=fact.decider,
        deadline=fact.deadline,
        cost_so_far=to_public(fact.cost_so_far),
        needed=None if fact.needed is None else to_public(fact.needed),
        needed_for=fact.needed_for,
    )


def _decided(fact: approvals.ApprovalDecided) -> ApprovalDecidedShape:
    return ApprovalDecidedShape(
        run=fact.run,
        approval=fact.approval,
        state=fact.state,
        decided_by=fact.decided_by,
        comment=fact.comment,
    )


def _finished(fact: runs.RunFinished) -> FinishedShape:
    return FinishedShape(run=fact.run, status=fact.outcome, deliverable=fact.deliverable, error=fact.error)


def _charged(fact: runs.RunCharged) -> ChargedShape:
    return ChargedShape(
        run=fact.run,
        revision=fact.revision,
        amount=to_public(fact.amount),
        lines=fact.lines,
        refunded=to_public(fact.refunded),
    )


_SHAPES: dict[str, tuple[type[msgspec.Struct], Any]] = {
    "run.accepted": (runs.RunAccepted, _accepted),
    "run.started": (runs.RunStarted, lambda fact: StartedShape(run=fact.run)),
    "step.recorded": (runs.StepRecorded, _step),
    "approval.requested": (approvals.ApprovalRequested, _requested),
    "approval.decided": (approvals.ApprovalDecided, _decided),
    "run.waiting": (
        steering.RunWaiting,
        lambda fact: WaitingShape(run=fact.run, waiting_for=fact.waiting_for),
    ),
    "run.resumed": (steering.RunResumed, lambda fact: ResumedShape(run=fact.run)),
    "run.finished": (runs.RunFinished, _finished),
    "run.charged": (runs.RunCharged, _charged),
}


def public_event(kind: str, data: dict[str, Any]) -> bytes:
    """The public form of an event, in JSON. Of a type that is newer than this process only the run is told."""
    known = _SHAPES.get(kind)
    if known is None:
        return msgspec.json.encode({"run": data.get("run")})
    fact_type, shape = known
    return msgspec.json.encode(shape(msgspec.convert(data, fact_type, strict=False)))
