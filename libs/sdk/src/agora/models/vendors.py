"""LLM vendors behind langchain's own packages: how each is configured, and its model for each capability."""

from collections.abc import Mapping
from dataclasses import dataclass

from agora.errors import ModelUnavailable
from agora.messages import Capability


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """How one vendor is configured and called.

    `key_name` is the environment variable that switches it on, `url_name` the one that moves its address.
    `limit_name` and `key_argument` are what its langchain class calls the output limit and the key.
    `embedding_class` is langchain's class for its vectors, if it has any. `models` are what it offers for each
    capability.
    """

    name: str
    package: str
    class_name: str
    key_name: str
    url_name: str
    key_argument: str | None
    limit_name: str
    models: Mapping[Capability, str]
    embedding_class: str | None = None
    takes: frozenset[str] = frozenset({"text", "image"})

    def model_for(self, capability: Capability) -> str | None:
        """This vendor's model for a capability, as `vendor:model`."""
        model = self.models.get(capability)
        return None if model is None else f"{self.name}:{model}"


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
            models={
                "fast": "gpt-4o-mini",
                "smart": "gpt-4o",
                "vision": "gpt-4o",
                "embed": "text-embedding-3-small",
            },
            embedding_class="OpenAIEmbeddings",
            takes=frozenset({"text", "image", "audio"}),
        ),
        Vendor(
            name="anthropic",
            package="langchain_anthropic",
            class_name="ChatAnthropic",
            key_name="ANTHROPIC_API_KEY",
            url_name="ANTHROPIC_BASE_URL",
            key_argument="api_key",
            limit_name="max_tokens",
            models={
                "fast": "claude-haiku-4-5",
                "smart": "claude-sonnet-4-6",
                "vision": "claude-sonnet-4-6",
            },
        ),
        Vendor(
            name="google",
            package="langchain_google_genai",
            class_name="ChatGoogleGenerativeAI",
            key_name="GOOGLE_API_KEY",
            url_name="GOOGLE_BASE_URL",
            key_argument="google_api_key",
            limit_name="max_output_tokens",
            models={
                "fast": "gemini-2.0-flash",
                "smart": "gemini-2.5-pro",
                "vision": "gemini-2.5-flash",
                "embed": "gemini-embedding-001",
            },
            embedding_class="GoogleGenerativeAIEmbeddings",
            takes=frozenset({"text", "image", "audio"}),
        ),
        Vendor(
            name="groq",
            package="langchain_groq",
            class_name="ChatGroq",
            key_name="GROQ_API_KEY",
            url_name="GROQ_BASE_URL",
            key_argument="api_key",
            limit_name="max_tokens",
            models={"fast": "llama-3.1-8b-instant", "smart": "llama-3.3-70b-versatile"},
        ),
        Vendor(
            name="ollama",
            package="langchain_ollama",
            class_name="ChatOllama",
            key_name="OLLAMA_HOST",
            url_name="OLLAMA_HOST",
            key_argument=None,
            limit_name="num_predict",
            models={"fast": "llama3", "smart": "llama3", "vision": "llava", "embed": "nomic-embed-text"},
            embedding_class="OllamaEmbeddings",
        ),
        # Anything that speaks as OpenAI does: vLLM, LM Studio, OpenRouter, Azure's compatible endpoint, a proxy.
        # Which models it has is not known here: they are asked for by name, or by AGORA_MODEL_FAST and the like.
        Vendor(
            name="compatible",
            package="langchain_openai",
            class_name="ChatOpenAI",
            key_name="OPENAI_COMPATIBLE_API_KEY",
            url_name="OPENAI_COMPATIBLE_BASE_URL",
            key_argument="api_key",
            limit_name="max_tokens",
            models={},
            embedding_class="OpenAIEmbeddings",
            takes=frozenset({"text", "image", "audio"}),
        ),
    )
}
"""In order of preference, where several are configured and none is asked for."""


def vendor_of(model: str) -> Vendor:
    """The vendor of a model that is named as `vendor:model`.

    Raises:
        ModelUnavailable: the name is not of that form, or the vendor is unknown.
    """
    name, _, rest = model.partition(":")
    vendor = VENDORS.get(name)
    if vendor is None or not rest:
        raise ModelUnavailable(f"{model!r} is not `vendor:model` with a vendor of: {', '.join(VENDORS)}.")
    return vendor


def is_configured(vendor: Vendor, environment: Mapping[str, str]) -> bool:
    """Whether the vendor's key is there, and for an endpoint of one's own also its address."""
    return bool(environment.get(vendor.key_name)) and (
        vendor.name != "compatible" or bool(environment.get(vendor.url_name))
    )


def require_configured(model: str, environment: Mapping[str, str]) -> None:
    """Raise `ModelUnavailable` unless `vendor:model` is well named and its vendor is configured."""
    vendor = vendor_of(model)
    if not is_configured(vendor, environment):
        needed = (
            vendor.key_name if vendor.name != "compatible" else f"{vendor.key_name} and {vendor.url_name}"
        )
        raise ModelUnavailable(f"{model!r} needs {needed} to be set.")


def choose(capability: Capability, environment: Mapping[str, str]) -> str | None:
    """The model that is asked first for a capability, as `vendor:model`; None where no vendor is configured.

    Raises:
        ModelUnavailable: the override names no vendor that is known and configured.
    """
    return next(iter(candidates(capability, environment)), None)


def candidates(capability: Capability, environment: Mapping[str, str]) -> list[str]:
    """The models for a capability, as `vendor:model`, in the declared order; empty where no vendor is configured.

    AGORA_MODEL_FAST, AGORA_MODEL_SMART, AGORA_MODEL_VISION and AGORA_MODEL_EMBED, if set, decide: one name, or
    several with commas between, where each is asked when the one before has failed. Else each vendor that has a key
    offers its own.

    Raises:
        ModelUnavailable: an override names no vendor that is known and configured.
    """
    if chosen := environment.get(f"AGORA_MODEL_{capability.upper()}"):
        named = [name.strip() for name in chosen.split(",") if name.strip()]
        for model in named:
            require_configured(model, environment)
        return named
    offered = [
        vendor.model_for(capability) for vendor in VENDORS.values() if is_configured(vendor, environment)
    ]
    return [model for model in offered if model is not None]
