"""People in the loop: what a run asks them for, and what they decided."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from agora_contracts.money import Money

ApprovalKind = Literal["approval", "input", "budget"]
ApprovalState = Literal["pending", "approved", "rejected", "expired", "cancelled"]
DeciderRole = Literal["customer", "operator"]
NeededFor = Literal["model.cost", "agents.cost"]
"""What more money is for: a run's models, or the agents that it calls."""

COMMENT_LENGTH_MAX = 2000


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """Something a run waits for people to decide.

    `approval`: whether `action` may be done with `arguments`, which may be changed to others that fit `schema`, if there
    is one. `input`: something only a person knows, which must fit `schema`. `budget`: whether the run may have `needed` more set aside for `needed_for`. `decider` says who may decide, until `deadline`;
    then `on_deadline` is the decision. Who approves may change arguments: `decided_arguments` are those with which it is
    done, where they are others than were asked for. `cost_so_far` is what the run's models have cost when it was asked.
    """

    id: str
    tenant: str
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
    cost_so_far: Money
    schema: dict[str, Any] | None = None
    needed: Money | None = None
    needed_for: NeededFor | None = None
    value: Any = None
    decided_at: datetime | None = None
    decided_by: str = ""
    comment: str = ""
    decided_arguments: dict[str, Any] | None = None


class GetApproval(msgspec.Struct, frozen=True, kw_only=True):
    """Read one approval. Without a tenant it is the operator who asks."""

    approval: str
    tenant: str | None = None


class ListApprovals(msgspec.Struct, frozen=True, kw_only=True):
    """List approvals, newest first: a tenant's, or those that wait for the operator."""

    tenant: str | None = None
    run: str | None = None
    state: ApprovalState | None = None
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class ApprovalPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of approvals."""

    items: list[Approval]
    next_cursor: str | None = None


class DecideApproval(msgspec.Struct, frozen=True, kw_only=True):
    """Decide. The same decision again is answered alike, another one conflicts with `approval_decided`.

    `arguments` replace those of these names that were asked for, `value` is the input asked for. Without a tenant it is the operator who decides.
    """

    approval: str
    approve: bool
    decided_by: str
    tenant: str | None = None
    arguments: dict[str, Any] | None = None
    value: Any = None
    comment: Annotated[str, Meta(max_length=COMMENT_LENGTH_MAX)] = ""


class ListApprovalTrail(msgspec.Struct, frozen=True, kw_only=True):
    """Read what happened to an approval, in order."""

    approval: str
    tenant: str | None = None
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 200


class TrailEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened: requested, decided, refused (a wrong role, too late, decided otherwise), expired."""

    at: datetime
    what: Literal["requested", "approved", "rejected", "refused", "expired", "cancelled"]
    who: str
    detail: str


class ApprovalTrail(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the trail, in order; nothing is ever taken out of it.

    `refused` counts all decisions that were refused, of which the first hundred have an entry each.
    """

    items: list[TrailEntry]
    refused: int = 0
    next_cursor: str | None = None


class ApprovalRequested(msgspec.Struct, frozen=True, kw_only=True):
    """A run waits for a decision."""

    run: str
    approval: str
    seq: int
    step: str
    kind: ApprovalKind
    action: str
    arguments: dict[str, Any]
    reason: str
    decider: DeciderRole
    deadline: datetime
    cost_so_far: Money
    needed: Money | None = None
    needed_for: NeededFor | None = None


class ApprovalDecided(msgspec.Struct, frozen=True, kw_only=True):
    """It was decided, by somebody or by its deadline."""

    run: str
    approval: str
    seq: int
    state: ApprovalState
    decided_by: str
    comment: str
    at: datetime
