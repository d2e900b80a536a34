"""The rules of approvals: who may decide, until when, and what a decision means. Pure."""

from datetime import datetime
from typing import Any

import msgspec
from agora_contracts.approvals import Approval, DecideApproval
from agora_contracts.ids import derived
from agora_contracts.problems import AgoraError, FieldError

from agora_execution.packages.model import null_characters

PLATFORM = "platform"
"""Who decided where nobody did: the deadline, or room that was found."""

VALUE_BYTES_MAX = 256 * 1024
"""The largest input, and the largest arguments, that a person may give."""


class NewApproval(msgspec.Struct, frozen=True, kw_only=True):
    """An approval as a step asks for it; what belongs to its run is added while the run is locked."""

    id: str
    run: str
    step: str
    kind: str
    action: str
    timeout_seconds: int
    arguments: dict[str, Any] = {}
    reason: str = ""
    decider: str = "customer"
    on_deadline: str = "reject"
    schema: dict[str, Any] | None = None
    needed: int | None = None
    needed_for: str | None = None


def approval_id(step: str, number: int) -> str:
    """The id of the n-th thing that a step asks for: the same whichever attempt asks."""
    return derived("apr", f"{step}#{number}")


def budget_approval_id(step: str, number: int, meter: str) -> str:
    """The id of a step's request for more money: of what its models have spent so far, or of its n-th for calls.

    A step may run out of money more than once.
    """
    return approval_id(f"{step}{'$' if meter == 'model.cost' else '&'}", number)


def check_decider(approval: Approval, tenant: str | None) -> None:
    """Refuse whoever may not decide; without a tenant it is the operator.

    Raises:
        AgoraError: `not_found` for another tenant, `forbidden` for a role that does not decide this.
    """
    if tenant is not None and tenant != approval.tenant:
        raise AgoraError("not_found", f"no approval {approval.id}")
    if approval.decider == "operator" and tenant is not None:
        raise AgoraError("forbidden", "the platform's operator decides this; your decision was not taken")
    if approval.decider == "customer" and tenant is None:
        raise AgoraError("forbidden", "the customer decides this; your decision was not taken")


def decided(approval: Approval, command: DecideApproval, now: datetime) -> Approval:
    """The approval after a decision; unchanged, when just that was decided before.

    Raises:
        AgoraError: `approval_decided`, `approval_expired`, `run_ended`; `invalid_input` for arguments or a value that
            do not go with it.
    """
    state = "approved" if command.approve else "rejected"
    if approval.state in ("approved", "rejected"):
        if approval.state == state and _gives_the_same(approval, command):
            return approval
        raise AgoraError(
            "approval_decided", f"this was {approval.state} by {approval.decided_by} and stays so"
        )
    if approval.state == "cancelled":
        raise AgoraError("run_ended", "the run has ended; there is nothing left to decide")
    if approval.state == "expired" or approval.deadline <= now:
        raise AgoraError(
            "approval_expired", f"the time to decide was over at {approval.deadline:%Y-%m-%dT%H:%M:%SZ}"
        )
    _check_given(approval, command)
    return msgspec.structs.replace(
        approval,
        state=state,
        decided_arguments=_changed(approval, command),
        value=command.value,
        decided_at=now,
        decided_by=command.decided_by,
        comment=command.comment,
    )


def expired(approval: Approval, now: datetime) -> Approval:
    """The approval after its deadline, if that is over and nobody has decided."""
    if approval.state != "pending" or approval.deadline > now:
        return approval
    return msgspec.structs.replace(approval, state="expired", decided_at=now, decided_by=PLATFORM)


def is_granted(approval: Approval) -> bool:
    """Whether what was asked for may be done."""
    if approval.state == "expired":
        return approval.kind == "approval" and approval.on_deadline == "approve"
    return approval.state == "approved"


def arguments_of(approval: Approval) -> dict[str, Any]:
    """With which arguments what was approved is to be done."""
    return approval.arguments if approval.decided_arguments is None else approval.decided_arguments


def wanted_arguments(approval: Approval, command: DecideApproval) -> dict[str, Any]:
    """The arguments as a decision would have them: those that it leaves out stay as they were asked for."""
    return approval.arguments | (command.arguments or {})


def _changed(approval: Approval, command: DecideApproval) -> dict[str, Any] | None:
    wanted = wanted_arguments(approval, command)
    return None if wanted == approval.arguments else wanted


def _gives_the_same(approval: Approval, command: DecideApproval) -> bool:
    return wanted_arguments(approval, command) == arguments_of(approval) and command.value == approval.value


def _check_given(approval: Approval, command: DecideApproval) -> None:
    for name, given in (("arguments", command.arguments), ("value", command.value)):
        for place in null_characters(given):
            raise _refused(
                f"{name}{place.rstrip('/')}", "the character U+0000 cannot be stored; leave it out"
            )
    if command.arguments is not None:
        if approval.kind != "approval":
            raise _refused("arguments", "only an approval of an action has arguments to change")
        if not command.approve:
            raise _refused("arguments", "what is rejected is not done with any; leave them out, or approve")
        unknown = sorted(set(command.arguments) - set(approval.arguments))
        if unknown:
            raise _refused(f"arguments.{unknown[0]}", "the action has no such argument")
        if len(msgspec.json.encode(command.arguments)) > VALUE_BYTES_MAX:
            raise _refused("arguments", f"larger than {VALUE_BYTES_MAX} bytes")
    if command.value is not None and approval.kind != "input":
        raise _refused("value", "nothing was asked for that has a value")
    if approval.kind == "input" and command.approve and command.value is None:
        raise _refused("value", "what was asked for is missing")
    if command.value is not None and len(msgspec.json.encode(command.value)) > VALUE_BYTES_MAX:
        raise _refused("value", f"larger than {VALUE_BYTES_MAX} bytes")


def _refused(field: str, detail: str) -> AgoraError:
    return AgoraError(
        "invalid_input",
        "the decision does not fit what was asked",
        errors=[FieldError(field=field, detail=detail)],
    )
