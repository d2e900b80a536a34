"""LLM vendors behind langchain's own packages: which are configured, and a client for each."""

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agora.errors import ModelUnavailable
from agora.ports import Capability

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """How one vendor is configured and called.

    `key_name` is the environment variable that switches it on, `url_name` the one that moves its address.
    `limit_name` and `key_argument` are what its langchain class calls the output limit and the key.
    """

    name: str
    package: str
    class_name: str
    key_name: str
    url_name: str
    key_argument: str | None
    limit_name: str
    fast: str
    smart: str

    def model_for(self, capability: Capability) -> str:
        """This vendor's model for a capability, as `vendor:model`."""
        return f"{self.name}:{self.fast if capability == 'fast' else self.smart}"


VENDORS: dict[str, Vendor] = {
    vendor.name: vendor
    for vendor in (
        Vendor(
            name="openai",
            package="langchain_openai",
            class_name="ChatOpenAI",
            key_name="OPENAI_API_KEY",
            url_name="OPENAI_BASE_URL",
            key_argument="api_key",
            limit_name="max_tokens",
            fast="gpt-4o-mini",
            smart="gpt-4o",
        ),
        Vendor(
            name="anthropic",
            package="langchain_anthropic",
            class_name="ChatAnthropic",
            key_name="ANTHROPIC_API_KEY",
            url_name="ANTHROPIC_BASE_URL",
            key_argument="api_key",
            limit_name="max_tokens",
            fast="claude-haiku-4-5",
            smart="claude-sonnet-4-5",
        ),
        Vendor(
            name="google",
            package="langchain_google_genai",
            class_name="ChatGoogleGenerativeAI",
            key_name="GOOGLE_API_KEY",
            url_name="GOOGLE_BASE_URL",
            key_argument="google_api_key",
            limit_name="max_output_tokens",
            fast="gemini-2.0-flash",
            smart="gemini-2.5-pro",
        ),
        Vendor(
            name="groq",
            package="langchain_groq",
            class_name="ChatGroq",
            key_name="GROQ_API_KEY",
            url_name="GROQ_BASE_URL",
            key_argument="api_key",
            limit_name="max_tokens",
            fast="llama-3.1-8b-instant",
            smart="llama-3.3-70b-versatile",
        ),
        Vendor(
            name="ollama",
            package="langchain_ollama",
            class_name="ChatOllama",
            key_name="OLLAMA_HOST",
            url_name="OLLAMA_HOST",
            key_argument=None,
            limit_name="num_predict",
            fast="llama3",
            smart="llama3",
        ),
    )
}
"""In order of preference, where several are configured and none is asked for."""

_FIXED_TEMPERATURE = ("o1", "o3", "o4", "gpt-5")
"""Reasoning models that refuse a temperature."""


def choose(capability: Capability, environment: Mapping[str, str]) -> str | None:
    """The model for a capability, as `vendor:model`; None where no vendor is configured.

    AGORA_MODEL_FAST and AGORA_MODEL_SMART, if set, decide; else the first vendor with a key.

    Raises:
        ModelUnavailable: the override names no vendor that is known and configured.
    """
    if chosen := environment.get(f"AGORA_MODEL_{capability.upper()}"):
        vendor = VENDORS.get(chosen.partition(":")[0])
        if vendor is None or not chosen.partition(":")[2]:
            known = ", ".join(VENDORS)
            raise ModelUnavailable(f"{chosen!r} is not `vendor:model` with a vendor of: {known}.")
        if not environment.get(vendor.key_name):
            raise ModelUnavailable(f"{chosen!r} needs {vendor.key_name} to be set.")
        return chosen
    for vendor in VENDORS.values():
        if environment.get(vendor.key_name):
            return vendor.model_for(capability)
    return None


def client(
    model: str, *, max_tokens: int, timeout_seconds: float, environment: Mapping[str, str]
) -> "BaseChatModel":
    """A langchain chat model, which never tries again by itself: a retry costs, and is the step's to decide.

    Raises:
        ModelUnavailable: the vendor's package is not installed, or refuses the settings.
    """
    vendor = VENDORS[model.partition(":")[0]]
    if importlib.util.find_spec(vendor.package) is None:
        raise ModelUnavailable(f"{model} needs the extra: install `agora[models]`.")
    made: type[Any] = getattr(importlib.import_module(vendor.package), vendor.class_name)
    arguments: dict[str, Any] = {
        "model": model.partition(":")[2],
        vendor.limit_name: max_tokens,
    }
    if not arguments["model"].startswith(_FIXED_TEMPERATURE):
        arguments["temperature"] = 0
    if vendor.key_argument is not None:
        arguments[vendor.key_argument] = environment[vendor.key_name]
    if vendor.name == "ollama":
        arguments["client_kwargs"] = {"timeout": timeout_seconds}
    else:
        arguments |= {"timeout": timeout_seconds, "max_retries": _no_retries(vendor)}
    if address := environment.get(vendor.url_name):
        arguments["base_url"] = address if "://" in address else f"http://{address}"
    try:
        built: BaseChatModel = made(**arguments)
    except (TypeError, ValueError) as error:
        raise ModelUnavailable(f"{model} cannot be set up: {error}") from error
    return built


def _no_retries(vendor: Vendor) -> int:
    # Google's package counts attempts, the others count retries.
    return 1 if vendor.name == "google" else 0
