"""Which models could answer a call, and in which order they are asked. Pure, but for the latencies that it is told.

Policies: `fixed` is the declared order; `cheapest` orders by the worst case of this very call, `fastest` by how long
models took of late (one that is not known yet is tried first), `best` by judgement (`QUALITY`). The order decides who
is asked first, and the rest is for failover.
"""

from collections.abc import Callable, Mapping, Sequence

from agora.errors import ModelUnavailable
from agora.messages import Capability, Message, Policy
from agora.models.vendors import VENDORS, candidates, require_configured, vendor_of

QUALITY: Mapping[str, int] = {
    "anthropic:claude-opus-4-5": 100,
    "anthropic:claude-sonnet-4-6": 96,
    "anthropic:claude-sonnet-4-5": 95,
    "google:gemini-2.5-pro": 92,
    "openai:o1": 90,
    "openai:gpt-4.1": 85,
    "anthropic:claude-haiku-4-5": 80,
    "openai:gpt-4o": 78,
    "google:gemini-2.5-flash": 76,
    "anthropic:claude-3-5-sonnet-20241022": 75,
    "groq:llama-3.3-70b-versatile": 65,
    "openai:gpt-4.1-mini": 64,
    "google:gemini-2.0-flash": 60,
    "openai:gpt-4o-mini": 55,
    "groq:llama-3.1-8b-instant": 35,
}
"""How models rank by public comparisons, 0 to 100; one that is not listed counts as 50. Only their order matters."""

_QUALITY_UNKNOWN = 50
_WEIGHT_OF_LATEST = 0.3
_LATENCIES_MAX = 10_000
"""Agents choose the names of models; beyond so many, the one that is known for longest is forgotten."""


class Latencies:
    """How long models took of late, in seconds: a moving average."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def took(self, model: str, seconds: float) -> None:
        """Note how long a call took."""
        known = self._seconds.get(model, seconds)
        self._seconds[model] = known + _WEIGHT_OF_LATEST * (seconds - known)
        if len(self._seconds) > _LATENCIES_MAX:
            self._seconds.pop(next(iter(self._seconds)))

    def of(self, model: str) -> float:
        """What is expected of a model; nothing, where it was never asked."""
        return self._seconds.get(model, 0.0)


def eligible(
    capability: Capability, model: str | Sequence[str] | None, environment: Mapping[str, str]
) -> list[str]:
    """The models that a call names, or those for its capability, in the declared order.

    Raises:
        ModelUnavailable: a named one is malformed or not configured, or none is configured at all.
    """
    if model is not None:
        named = [model] if isinstance(model, str) else list(dict.fromkeys(model))
        for one in named:
            require_configured(one, environment)
        found = named
    else:
        found = candidates(capability, environment)
    if not found:
        keys = ", ".join(vendor.key_name for vendor in VENDORS.values() if capability in vendor.models)
        raise ModelUnavailable(
            f"No model for {capability!r} is configured: set a vendor's key, one of {keys}."
        )
    return found


def taking(models: Sequence[str], messages: Sequence[Message]) -> list[str]:
    """Those of the models whose vendor takes all kinds of parts that the messages have.

    Raises:
        ModelUnavailable: none does.
    """
    kinds = {part.__struct_config__.tag for message in messages for part in message.parts}
    able = [model for model in models if kinds <= vendor_of(model).takes]
    if not able:
        raise ModelUnavailable(f"None of {', '.join(models)} takes {' and '.join(sorted(map(str, kinds)))}.")
    return able


def ordered(
    models: Sequence[str], policy: Policy, *, worst_case: Callable[[str], int], latencies: Latencies
) -> list[str]:
    """The models in the order in which the policy asks them; equals keep the declared order."""
    match policy:
        case "cheapest":
            return sorted(models, key=worst_case)
        case "fastest":
            return sorted(models, key=latencies.of)
        case "best":
            return sorted(models, key=lambda model: -QUALITY.get(model, _QUALITY_UNKNOWN))
        case "fixed":
            return list(models)
