"""Budgets and promotional credit: what a tenant lets itself spend, and what it was given."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from agora_contracts.money import PublicMoney

from agora.client.transport import new_key, segment
from agora.client.types import Page

if TYPE_CHECKING:
    from agora.client.transport import Transport


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A budget in its current window: `spent`, `reserved` for runs that go on, and what is `left`."""

    id: str
    scope: str
    period: str
    kind: str
    limit: PublicMoney
    spent: PublicMoney
    reserved: PublicMoney
    left: PublicMoney
    window_start: datetime
    window_end: datetime | None = None
    target: str | None = None
    thresholds: list[int] = []
    name: str = ""


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """A grant of promotional credit: what is `remaining` of it, and until when."""

    id: str
    amount: PublicMoney
    remaining: PublicMoney
    spent: PublicMoney
    expired: PublicMoney
    state: str
    reason: str
    granted_at: datetime
    expires_at: datetime | None = None


class Budgets:
    """`client.budgets`."""

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    async def create(
        self,
        *,
        scope: str,
        period: str,
        limit: str,
        kind: str = "hard",
        target: str | None = None,
        thresholds: Sequence[int] = (80, 100),
        name: str = "",
        currency: str = "USD",
        idempotency_key: str | None = None,
    ) -> Budget:
        """Limit what is spent from now on.

        Args:
            scope: account, deployment, package, api_key or run.
            period: day, month (of UTC) or total.
            limit: a decimal, such as "50.00".
            kind: hard refuses what does not fit, soft only tells.
            target: which deployment, package, key or run; none for the account.
            thresholds: percentages of the limit at which what is spent is told.
        """
        body: dict[str, Any] = {
            "scope": scope,
            "period": period,
            "limit": PublicMoney(amount=limit, currency=currency),
            "kind": kind,
            "target": target,
            "thresholds": list(thresholds),
            "name": name,
        }
        headers = {"Idempotency-Key": idempotency_key or new_key()}
        return await self._transport.call(Budget, "POST", "/budgets", body=body, headers=headers)

    async def list(self) -> Page[Budget]:
        """All budgets."""
        return await self._transport.call(Page[Budget], "GET", "/budgets")

    async def get(self, budget: str) -> Budget:
        """One budget."""
        return await self._transport.call(Budget, "GET", f"/budgets/{segment(budget)}")

    async def change(
        self, budget: str, *, limit: str | None = None, kind: str | None = None, currency: str = "USD"
    ) -> Budget:
        """Change a budget's limit or kind from now on."""
        body: dict[str, Any] = {} if kind is None else {"kind": kind}
        if limit is not None:
            body["limit"] = PublicMoney(amount=limit, currency=currency)
        return await self._transport.call(Budget, "PATCH", f"/budgets/{segment(budget)}", body=body)

    async def delete(self, budget: str) -> Budget:
        """Delete a budget."""
        return await self._transport.call(Budget, "DELETE", f"/budgets/{segment(budget)}")

    async def promotions(self, *, cursor: str | None = None, limit: int = 50) -> Page[Promotion]:
        """A page of the promotional credit that was given, newest first."""
        query = {"cursor": cursor, "limit": limit}
        return await self._transport.call(Page[Promotion], "GET", "/account/promotions", query=query)
