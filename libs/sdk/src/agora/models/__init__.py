"""Models of an agent that runs alone: the author's own keys, through langchain's packages.

The platform's LLM gateway uses the same calls and prices, and sets the worst case aside first.
"""

import os
from collections.abc import Mapping, Sequence

import msgspec

from agora.errors import ModelUnavailable
from agora.models import asking
from agora.models.pricing import UnknownModelPrice, cost_of, price_of, tokens_at_most, worst_case_cost
from agora.models.vendors import choose
from agora.ports import Capability, Message, ModelReply

__all__ = ["LocalModels", "UnknownModelPrice", "cost_of", "price_of", "tokens_at_most", "worst_case_cost"]

TIMEOUT_SECONDS = 60.0


class LocalModels:
    """`agora.ports.Models` over whichever vendors the environment has keys for.

    Args:
        environment: Keys, addresses and overrides by name; the process's own by default.
        timeout_seconds: The most that one call may take.
    """

    def __init__(
        self, environment: Mapping[str, str] | None = None, *, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._timeout_seconds = timeout_seconds

    @property
    def available(self) -> bool:
        """Whether a vendor is configured. It is not asked whether it answers."""
        try:
            return choose("fast", self._environment) is not None
        except ModelUnavailable:
            return False

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        capability: Capability = "fast",
        max_tokens: int,
        schema: type[msgspec.Struct] | None = None,
    ) -> ModelReply:
        """Ask a model once; see `agora.ports.Models.chat`."""
        model = choose(capability, self._environment)
        if model is None:
            raise ModelUnavailable("No model is configured: set a vendor's key, such as OPENAI_API_KEY.")
        reply = await asking.ask(
            model,
            messages if schema is None else asking.with_schema(messages, schema),
            max_tokens=max_tokens,
            timeout_seconds=self._timeout_seconds,
            environment=self._environment,
        )
        if not reply.text:
            raise ModelUnavailable(f"{model} gave no text.")
        return reply if schema is None else asking.parsed(reply, schema)
