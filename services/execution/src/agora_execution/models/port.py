"""The models that a step may ask, behind the SDK's `Models` protocol; what it asks becomes its usage."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import msgspec
from agora import Context, Message, ModelBudgetSpent, ModelReply
from agora.messages import Capability, Embedded, OnText, Policy
from agora.models.attachments import ReadableFiles
from agora.suspension import BudgetRequest, Suspended
from agora_contracts.catalog import MODEL_COST_METER, OWN_KEY_METER
from agora_contracts.models import MODEL_CACHE_HITS_METER
from agora_contracts.money import MICRO

from agora_execution.models.access import Access
from agora_execution.models.model import CallPlace
from agora_execution.models.service import ModelCalls


class RunModels:
    """Models for one attempt at one step.

    Args:
        access: what the tenant's runs may call, as it was looked up when the attempt began.
        may_wait: whether the run may wait for more where its hold has no room.
    """

    def __init__(
        self,
        calls: ModelCalls,
        run: str,
        tenant: str,
        step: str,
        attempt: int,
        *,
        access: Access,
        may_wait: bool = False,
    ) -> None:
        self.run = run
        self.tenant = tenant
        self._calls = calls
        self._step = step
        self._attempt = attempt
        self._access = access
        self._may_wait = may_wait
        self._context: Context | None = None
        self._files: ReadableFiles | None = None
        self._made: Counter[str] = Counter()
        self._at_hand: set[asyncio.Task[Any]] = set()

    def report_to(self, context: Context) -> None:
        """Count what is asked from now on as usage of this attempt."""
        self._context = context

    def reading(self, files: ReadableFiles) -> "RunModels":
        """Read images and sound through these files."""
        self._files = files
        return self

    @property
    def available(self) -> bool:
        """Whether there is a vendor's key, of the platform or of the tenant."""
        return self._access.offers("fast")

    def place(self, digest: str) -> CallPlace:
        """Where the next call that asks this is made."""
        self._made[digest] += 1
        return CallPlace(
            run=self.run,
            tenant=self.tenant,
            step=self._step,
            attempt=self._attempt,
            digest=digest,
            number=self._made[digest],
        )

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        capability: Capability = "fast",
        model: str | Sequence[str] | None = None,
        policy: Policy | None = None,
        max_tokens: int,
        schema: type[msgspec.Struct] | None = None,
        tools: Sequence[Any] = (),
        on_text: OnText | None = None,
        cache: bool = False,
    ) -> ModelReply:
        """Ask a model within the run's hold; see `agora.ports.Models.chat`.

        Raises:
            Suspended: the hold has no room for it, and the run may wait for more.
        """
        with self._waiting():
            reply = await self._outlasting(
                self._calls.chat(
                    messages,
                    caller=self,
                    capability=capability,
                    model=model,
                    policy=policy,
                    max_tokens=max_tokens,
                    schema=schema,
                    tools=tools,
                    on_text=on_text,
                    cache=cache,
                    files=self._files,
                )
            )
        if reply.cached and self._context is not None:
            self._context.usage(MODEL_CACHE_HITS_METER, 1, model=reply.model)
        elif not reply.cached:
            self._count(reply, reply.output_tokens)
        return reply

    async def embed(self, texts: Sequence[str], *, model: str | None = None) -> Embedded:
        """Texts as vectors within the run's hold; see `agora.ports.Models.embed`."""
        with self._waiting():
            embedded = await self._outlasting(self._calls.embed(texts, caller=self, model=model))
        self._count(embedded, 0)
        return embedded

    async def settled(self, seconds: float) -> None:
        """Wait until the calls at hand are over, so that their replies are kept for the step's next call; at most so long.

        Those that take longer go on: cut off, each would cost its worst case.
        """
        if self._at_hand:
            await asyncio.wait(self._at_hand, timeout=seconds)

    async def _outlasting[R](self, call: Coroutine[Any, Any, R]) -> R:
        """Make a call that is not cut off with the step's other work where that ends because the step waits.

        Raises:
            Suspended: the step waits for an answer already; no more calls are begun.
        """
        if self._suspended is not None:
            call.close()
            raise self._suspended
        task = asyncio.create_task(call)
        self._at_hand.add(task)
        task.add_done_callback(self._over)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._suspended is None:
                task.cancel()
                await asyncio.wait([task])
            raise

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._at_hand.discard(task)
        if not task.cancelled():
            # Looked at, as whoever asked may be gone.
            task.exception()

    @property
    def _suspended(self) -> Suspended | None:
        return None if self._context is None else self._context.suspended

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Let the run wait for more where its hold has no room for a call, if it may."""
        try:
            yield
        except ModelBudgetSpent as spent:
            if not self._may_wait or not spent.limit:
                raise
            request = BudgetRequest(amount=max(spent.missing, spent.needed), reason=str(spent))
            # Each raise changes the limit, so every time that it is reached is a request of its own.
            if self._context is None:
                raise Suspended(request, spent.limit) from spent
            raise self._context.suspend(request, spent.limit) from spent

    def _count(self, reply: ModelReply | Embedded, output_tokens: int) -> None:
        if self._context is None or reply.cost is None:
            return
        meter = OWN_KEY_METER if reply.own_key else MODEL_COST_METER
        reconciled = "yes" if reply.reconciled else "no"
        cost = Decimal(reply.cost.amount) / MICRO
        self._context.usage(meter, cost, model=reply.model, reconciled=reconciled)
        self._context.usage("model.input_tokens", reply.input_tokens, model=reply.model)
        if output_tokens:
            self._context.usage("model.output_tokens", output_tokens, model=reply.model)
