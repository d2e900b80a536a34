"""langchain's clients of vendors, each made once for a model, key and address, and then kept."""

import asyncio
import importlib
import importlib.util
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agora.models.faults import VendorFault
from agora.models.vendors import Vendor, vendor_of

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel

_KEPT_MAX = 256

_FIXED_TEMPERATURE = ("o1", "o3", "o4", "gpt-5")
"""Reasoning models that refuse a temperature."""


class Clients:
    """The clients of one process. Making one takes tens of milliseconds, and the first of a vendor a second."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()

    async def chat(
        self, model: str, *, max_tokens: int, timeout_seconds: float, environment: Mapping[str, str]
    ) -> "BaseChatModel":
        """A chat model, which never tries again by itself: a retry costs, and is not its own to decide.

        Raises:
            VendorFault: the vendor is not configured or not installed, or its package refuses the settings.
        """
        vendor = vendor_of(model)
        known = (model, max_tokens, timeout_seconds, *_access(vendor, environment))
        client: BaseChatModel = await self._get(
            known, vendor.class_name, lambda: _chat_arguments(model, max_tokens, timeout_seconds, environment)
        )
        return client

    async def embeddings(
        self, model: str, *, timeout_seconds: float, environment: Mapping[str, str]
    ) -> "Embeddings":
        """A model of vectors.

        Raises:
            VendorFault: as for `chat`, or the vendor has no vectors.
        """
        vendor = vendor_of(model)
        if vendor.embedding_class is None:
            raise VendorFault(model, "refused", "cannot embed: its vendor has no models for that")
        known = (model, "embed", timeout_seconds, *_access(vendor, environment))
        client: Embeddings = await self._get(
            known, vendor.embedding_class, lambda: _embedding_arguments(model, timeout_seconds, environment)
        )
        return client

    async def _get(self, known: tuple[Any, ...], class_name: str, arguments: Any) -> Any:
        kept = self._kept.get(known)
        if kept is None:
            # In a thread: the first one imports the vendor's package.
            kept = await asyncio.to_thread(_make, known[0], class_name, arguments)
            self._kept[known] = kept
            while len(self._kept) > _KEPT_MAX:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(known)
        return kept


def _access(vendor: Vendor, environment: Mapping[str, str]) -> tuple[str | None, str | None]:
    return environment.get(vendor.key_name), environment.get(vendor.url_name)


def _make(model: str, class_name: str, arguments: Any) -> Any:
    vendor = vendor_of(model)
    if importlib.util.find_spec(vendor.package) is None:
        raise VendorFault(model, "refused", "needs the extra: install `agora[models]`")
    made: type[Any] = getattr(importlib.import_module(vendor.package), class_name)
    try:
        return made(**arguments())
    except (TypeError, ValueError) as error:
        # Never the error's text: pydantic's quotes what it was given, and that includes the key.
        raise VendorFault(model, "refused", f"cannot be set up: {type(error).__name__}") from None


def _chat_arguments(
    model: str, max_tokens: int, timeout_seconds: float, environment: Mapping[str, str]
) -> dict[str, Any]:
    vendor = vendor_of(model)
    arguments = _common_arguments(model, environment) | {vendor.limit_name: max_tokens}
    if not arguments["model"].startswith(_FIXED_TEMPERATURE):
        arguments["temperature"] = 0
    if vendor.name == "ollama":
        arguments["client_kwargs"] = {"timeout": timeout_seconds}
    else:
        # Google's package counts attempts, the others count retries.
        arguments |= {"timeout": timeout_seconds, "max_retries": 1 if vendor.name == "google" else 0}
    if vendor.class_name == "ChatOpenAI":
        # Left off by default where the address is not OpenAI's own; and never their newer API, which others lack.
        arguments |= {"stream_usage": True, "use_responses_api": False}
    return arguments


def _embedding_arguments(
    model: str, timeout_seconds: float, environment: Mapping[str, str]
) -> dict[str, Any]:
    vendor = vendor_of(model)
    arguments = _common_arguments(model, environment)
    match vendor.embedding_class:
        case "OpenAIEmbeddings":
            # Checking lengths would fetch a tokeniser from the internet.
            arguments |= {"timeout": timeout_seconds, "max_retries": 0, "check_embedding_ctx_length": False}
        case "OllamaEmbeddings":
            arguments["client_kwargs"] = {"timeout": timeout_seconds}
    return arguments


def _common_arguments(model: str, environment: Mapping[str, str]) -> dict[str, Any]:
    vendor = vendor_of(model)
    arguments: dict[str, Any] = {"model": model.partition(":")[2]}
    if vendor.key_argument is not None:
        key = environment.get(vendor.key_name)
        if not key:
            raise VendorFault(model, "key", f"needs {vendor.key_name} to be set")
        arguments[vendor.key_argument] = key
    if address := environment.get(vendor.url_name):
        arguments["base_url"] = address if "://" in address else f"http://{address}"
    return arguments
