"""Use cases of model calls: reserve, ask, settle. A run's calls can never cost more than its hold has for them.

Each call is a row with its step and attempt. A step's usage is billed from the attempt that is recorded; what
other attempts spent stands in their rows and is platform cost.
"""

import os
from collections.abc import Mapping, Sequence

import msgspec
import structlog
from agora import Message, ModelReply, ModelUnavailable
from agora.models import asking, tokens_at_most, worst_case_cost
from agora.models.vendors import choose
from agora.ports import Capability
from agora_kit.database import Database
from agora_kit.outbox import new_event_id

from agora_execution.models import store

log = structlog.get_logger()

TIMEOUT_SECONDS = 60.0


class OverBudget(ModelUnavailable):
    """What is set aside for the run's models (`limit`, micro-units) lacks `short` for the worst case of a call."""

    def __init__(self, limit: int, short: int) -> None:
        super().__init__("What is set aside for models does not cover the worst case of this call any more.")
        self.limit = limit
        self.short = short


class ModelCalls:
    """Asks vendors on behalf of runs, with the platform's keys."""

    def __init__(self, database: Database, environment: Mapping[str, str] | None = None) -> None:
        self._database = database
        self._environment = os.environ if environment is None else environment

    @property
    def configured(self) -> bool:
        """Whether a vendor's key is set at all."""
        try:
            return choose("fast", self._environment) is not None
        except ModelUnavailable:
            return False

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        run: str,
        tenant: str,
        step: str,
        attempt: int,
        capability: Capability,
        max_tokens: int,
        schema: type[msgspec.Struct] | None,
    ) -> ModelReply:
        """Ask a model once, within what the run's hold has left for models.

        Raises:
            OverBudget: no money left in the hold.
            ModelUnavailable: no key, no price for the model, or no usable answer.
                What the vendor may have charged is kept either way.
        """
        model = choose(capability, self._environment)
        if model is None:
            raise ModelUnavailable("No model is configured on this platform.")
        asked = messages if schema is None else asking.with_schema(messages, schema)
        worst = worst_case_cost(model, tokens_at_most(asked), max_tokens)
        call = new_event_id()
        async with self._database.system() as connection:
            reserved = await store.reserve(
                connection,
                call=call,
                run=run,
                tenant=tenant,
                step=step,
                attempt=attempt,
                model=model,
                amount=worst.amount,
            )
        if not reserved:
            async with self._database.system() as connection:
                limit, left = await store.room(connection, run)
            raise OverBudget(limit, max(worst.amount - left, worst.amount))
        try:
            reply = await asking.ask(
                model,
                asked,
                max_tokens=max_tokens,
                timeout_seconds=TIMEOUT_SECONDS,
                environment=self._environment,
            )
        except BaseException as error:
            # The vendor may have worked and charged: the worst case is what is known.
            async with self._database.system() as connection:
                await store.settle(
                    connection, call, spent=worst.amount, reconciled=False, failure=repr(error)[:500]
                )
            raise
        spent = worst.amount if reply.cost is None or not reply.reconciled else reply.cost.amount
        async with self._database.system() as connection:
            await store.settle(
                connection,
                call,
                spent=spent,
                input_tokens=reply.input_tokens,
                output_tokens=reply.output_tokens,
                reconciled=reply.reconciled,
            )
        if reply.cost is None:
            reply = msgspec.structs.replace(reply, cost=worst)
        if not reply.text:
            raise ModelUnavailable(f"{model} gave no text.")
        return reply if schema is None else asking.parsed(reply, schema)
