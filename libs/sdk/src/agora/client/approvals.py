"""Approvals of a customer: what runs wait for people to decide."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from agora_contracts.money import PublicMoney

from agora.client.transport import segment
from agora.client.types import Page

if TYPE_CHECKING:
    from agora.client.transport import Transport


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """Something a run waits for people to decide, or waited for."""

    id: str
    run: str
    step: str
    package: str
    kind: str
    action: str
    arguments: dict[str, Any]
    reason: str
    decider: str
    state: str
    requested_at: datetime
    deadline: datetime
    on_deadline: str
    cost_so_far: PublicMoney
    schema: dict[str, Any] | None = None
    needed: PublicMoney | None = None
    needed_for: Literal["model.cost", "agents.cost"] | None = None
    value: Any = None
    decided_at: datetime | None = None
    decided_by: str = ""
    comment: str = ""
    decided_arguments: dict[str, Any] | None = None


class Approvals:
    """`client.approvals`."""

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    async def list(
        self, *, state: str | None = None, run: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Approval]:
        """A page of approvals, newest first."""
        query = {"state": state, "run": run, "cursor": cursor, "limit": limit}
        return await self._transport.call(Page[Approval], "GET", "/approvals", query=query)

    async def get(self, approval: str) -> Approval:
        """One approval."""
        return await self._transport.call(Approval, "GET", f"/approvals/{segment(approval)}")

    async def decide(
        self,
        approval: str,
        decision: Literal["approve", "reject"],
        *,
        arguments: dict[str, Any] | None = None,
        value: Any = None,
        comment: str = "",
    ) -> Approval:
        """Decide, and let the run go on. The same decision again is answered alike.

        Raises:
            ApiError: `approval_decided`, `approval_expired`, `forbidden`, or what else speaks against it.
        """
        body: dict[str, Any] = {"decision": decision, "comment": comment}
        if arguments is not None:
            body["arguments"] = arguments
        if value is not None:
            body["value"] = value
        path = f"/approvals/{segment(approval)}/decide"
        return await self._transport.call(Approval, "POST", path, body=body)
