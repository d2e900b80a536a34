"""Models of an agent that runs alone: the author's own keys, through langchain's packages.

The platform's LLM gateway uses the same calls, order and prices, and sets the worst case aside first.
"""

import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from agora.errors import ModelUnavailable
from agora.messages import Capability, Embedded, Message, ModelReply, OnText, Policy
from agora.models import asking, attachments, embedding, routing
from agora.models.asking import Question
from agora.models.attachments import ReadableFiles
from agora.models.clients import Clients
from agora.models.faults import VendorFault
from agora.models.offering import offers_of
from agora.models.pricing import (
    ModelPrice,
    UnknownModelPrice,
    cost_of,
    shipped_price,
    tokens_at_most,
    worst_case_cost,
)
from agora.models.vendors import candidates

__all__ = ["LocalModels", "UnknownModelPrice", "cost_of", "tokens_at_most", "worst_case_cost"]

TIMEOUT_SECONDS = 60.0


class LocalModels:
    """`agora.ports.Models` over whichever vendors the environment has keys for.

    Args:
        environment: Keys, addresses and overrides by name; the process's own by default.
        timeout_seconds: The most that one call may take.
        files: Where images and sound are read from.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        files: ReadableFiles | None = None,
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._timeout_seconds = timeout_seconds
        self._files = files
        self._clients = Clients()
        self._latencies = routing.Latencies()

    @property
    def available(self) -> bool:
        """Whether a vendor is configured. It is not asked whether it answers."""
        try:
            return bool(candidates("fast", self._environment))
        except ModelUnavailable:
            return False

    def reading(self, files: ReadableFiles) -> "LocalModels":
        """The same models, with the files of one run."""
        same = LocalModels(self._environment, timeout_seconds=self._timeout_seconds, files=files)
        same._clients, same._latencies = self._clients, self._latencies
        return same

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
        """Ask a model; see `agora.ports.Models.chat`. Alone nothing is cached, and nothing limits what is spent."""
        models = routing.taking(routing.eligible(capability, model, self._environment), messages)
        question = Question(
            messages=messages,
            max_tokens=max_tokens,
            schema=schema,
            offered=offers_of(tools),
            attachments=await attachments.read(messages, self._files),
        )
        ordered = routing.ordered(
            models,
            policy or "fixed",
            worst_case=lambda one: _worst(question, one),
            latencies=self._latencies,
        )

        async def ask(one: str) -> ModelReply:
            return await asking.ask(
                one,
                question,
                clients=self._clients,
                environment=self._environment,
                price=_price_if_known(one),
                timeout_seconds=self._timeout_seconds,
                on_text=on_text,
            )

        return asking.read(await self._first(ordered, ask), question)

    async def embed(self, texts: Sequence[str], *, model: str | None = None) -> Embedded:
        """Texts as vectors; see `agora.ports.Models.embed`."""
        models = routing.eligible("embed", model, self._environment)

        async def ask(one: str) -> Embedded:
            return await embedding.embed(
                one,
                texts,
                clients=self._clients,
                environment=self._environment,
                price=_price_if_known(one),
                timeout_seconds=self._timeout_seconds,
            )

        # Vectors of different models cannot be compared: there is no failover.
        return await self._first(models[:1], ask)

    async def _first[R](self, models: Sequence[str], ask: Callable[[str], Awaitable[R]]) -> R:
        """What the first model that answers says; each is asked once."""
        faults: list[VendorFault] = []
        for model in models:
            started = time.monotonic()
            try:
                answer = await ask(model)
            except VendorFault as fault:
                faults.append(fault)
                if fault.output_begun:
                    break
                continue
            self._latencies.took(model, time.monotonic() - started)
            return answer
        raise faults[0] if len(faults) == 1 else ModelUnavailable("; ".join(map(str, faults)))


def _worst(question: Question, model: str) -> int:
    price = _price_if_known(model)
    return 0 if price is None else question.worst_case(price).amount


def _price_if_known(model: str) -> ModelPrice | None:
    try:
        return shipped_price(model)
    except UnknownModelPrice:
        return None
