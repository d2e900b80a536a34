"""Approvals as the public API shows them."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from agora_contracts.approvals import (
    COMMENT_LENGTH_MAX,
    Approval,
    ApprovalKind,
    ApprovalPage,
    ApprovalState,
    ApprovalTrail,
    DeciderRole,
    NeededFor,
    TrailEntry,
)
from agora_contracts.money import PublicMoney, to_public
from msgspec import Meta


class DecisionBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decision.

    `arguments` replace those of these names that were asked for, `value` is the input that was asked for, `comment` is kept and told
    to the agent.
    """

    decision: Literal["approve", "reject"]
    arguments: dict[str, Any] | None = None
    value: Any = None
    comment: Annotated[str, Meta(max_length=COMMENT_LENGTH_MAX)] = ""


class ApprovalShape(msgspec.Struct, frozen=True, kw_only=True):
    """Something a run waits for people to decide, or waited for.

    `kind` says what: whether `action` may be done with `arguments` (`approval`), something that fits `schema` (`input`),
    or whether `needed` may be set aside on top (`budget`), for the run's models or for the agents that it calls
    (`needed_for`). After `deadline`, `on_deadline` is the decision. `decided_arguments` are those with
    which it is done, where whoever approved changed any; `schema` is that of the value, or of a tool's arguments.
    """

    id: str
    run: str
    step: str
    package: str
    kind: ApprovalKind
    action: str
    arguments: dict[str, Any]
    reason: str
    decider: DeciderRole
    state: ApprovalState
    requested_at: datetime
    deadline: datetime
    on_deadline: Literal["reject", "approve"]
    cost_so_far: PublicMoney
    schema: dict[str, Any] | None
    needed: PublicMoney | None
    needed_for: NeededFor | None
    value: Any
    decided_at: datetime | None
    decided_by: str
    comment: str
    decided_arguments: dict[str, Any] | None


class ApprovalPageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A page of approvals, newest first."""

    items: list[ApprovalShape]
    next_cursor: str | None


def approval_shape(approval: Approval) -> ApprovalShape:
    """An approval in public form."""
    return ApprovalShape(
        id=approval.id,
        run=approval.run,
        step=approval.step,
        package=approval.package,
        kind=approval.kind,
        action=approval.action,
        arguments=approval.arguments,
        reason=approval.reason,
        decider=approval.decider,
        state=approval.state,
        requested_at=approval.requested_at,
        deadline=approval.deadline,
        on_deadline=approval.on_deadline,
        cost_so_far=to_public(approval.cost_so_far),
        schema=approval.schema,
        needed=None if approval.needed is None else to_public(approval.needed),
        needed_for=approval.needed_for,
        value=approval.value,
        decided_at=approval.decided_at,
        decided_by=approval.decided_by,
        comment=approval.comment,
        decided_arguments=approval.decided_arguments,
    )


def approval_page_shape(page: ApprovalPage) -> ApprovalPageShape:
    """A page in public form."""
    return ApprovalPageShape(items=[approval_shape(one) for one in page.items], next_cursor=page.next_cursor)


AN_APPROVAL = ApprovalShape(
    id="apr_0190a5b07c3a7d4e8f00112233445566",
    run="run_0190a5b07c3a7d4e8f00112233445566",
    step="run_0190a5b07c3a7d4e8f00112233445566/pay/1",
    package="invoice-payer",
    kind="approval",
    action="Pay the invoice",
    arguments={"invoice": "2026-114", "amount": "99.50"},
    reason="The amount is above what may be paid without asking.",
    decider="customer",
    state="pending",
    requested_at=datetime(2026, 1, 15, 9, 30, tzinfo=UTC),
    deadline=datetime(2026, 1, 22, 9, 30, tzinfo=UTC),
    on_deadline="reject",
    cost_so_far=PublicMoney(amount="0.012000"),
    schema=None,
    needed=None,
    needed_for=None,
    value=None,
    decided_at=None,
    decided_by="",
    comment="",
    decided_arguments=None,
)
A_DECISION = DecisionBody(decision="approve", comment="Checked with the supplier.")
AN_APPROVAL_PAGE = ApprovalPageShape(items=[AN_APPROVAL], next_cursor=None)
A_TRAIL = ApprovalTrail(
    items=[
        TrailEntry(
            at=datetime(2026, 1, 15, 9, 30, tzinfo=UTC), what="requested", who=AN_APPROVAL.step, detail=""
        )
    ]
)
