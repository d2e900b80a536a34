"""The models that a step may ask, behind the SDK's `Models` protocol; what it asks becomes its usage."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec
from agora import Context, Message, ModelReply
from agora.ports import Capability
from agora.suspension import BudgetRequest, Suspended
from agora_contracts.catalog import MODEL_COST_METER
from agora_contracts.money import MICRO

from agora_execution.models.service import ModelCalls, OverBudget


class RunModels:
    """Models for one attempt at one step."""

    def __init__(
        self,
        calls: ModelCalls,
        run: str,
        tenant: str,
        step: str,
        attempt: int,
        *,
        may_wait: bool = False,
    ) -> None:
        self._calls = calls
        self._run = run
        self._tenant = tenant
        self._step = step
        self._attempt = attempt
        self._may_wait = may_wait
        self._context: Context | None = None

    def report_to(self, context: Context) -> None:
        """Count what is asked from now on as usage of this attempt."""
        self._context = context

    @property
    def available(self) -> bool:
        """Whether a vendor's key is set."""
        return self._calls.configured

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        capability: Capability = "fast",
        max_tokens: int,
        schema: type[msgspec.Struct] | None = None,
    ) -> ModelReply:
        """Ask a model within the run's hold; see `agora.ports.Models.chat`.

        Raises:
            Suspended: the hold has no room for it, and the run may wait for more.
        """
        try:
            reply = await self._calls.chat(
                messages,
                run=self._run,
                tenant=self._tenant,
                step=self._step,
                attempt=self._attempt,
                capability=capability,
                max_tokens=max_tokens,
                schema=schema,
            )
        except OverBudget as over:
            if not self._may_wait or not over.limit:
                raise
            # Each raise changes the limit, so every time that it is reached is a request of its own.
            raise Suspended(BudgetRequest(amount=over.short, reason=str(over)), over.limit) from over
        if self._context is not None and reply.cost is not None:
            reconciled = "yes" if reply.reconciled else "no"
            cost = Decimal(reply.cost.amount) / MICRO
            self._context.usage(MODEL_COST_METER, cost, model=reply.model, reconciled=reconciled)
            self._context.usage("model.input_tokens", reply.input_tokens, model=reply.model)
            self._context.usage("model.output_tokens", reply.output_tokens, model=reply.model)
        return reply
