"""What the manifest does not ask for, a step does not get: ports that refuse with the reason."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol, runtime_checkable

import msgspec
from agora_contracts.catalog import Permissions

from agora.errors import ModelUnavailable, PermissionNotGranted
from agora.ports import (
    Capability,
    Embedded,
    FileInfo,
    Files,
    Hit,
    Knowledge,
    Message,
    ModelReply,
    Models,
    OnText,
    Passage,
    Policy,
)

_NONE = "No model is configured for this run."


class _NoFiles:
    """Files for an agent that did not ask for them."""

    async def open(self, ref: str) -> Path:
        _refuse("files")

    async def save(self, content: Path | bytes, *, name: str, content_type: str) -> str:
        _refuse("files")

    async def info(self, ref: str) -> FileInfo:
        _refuse("files")


class _NoKnowledge:
    """Knowledge for an agent that did not ask for it."""

    async def index(self, collection: str, passages: Sequence[Passage]) -> None:
        _refuse("knowledge")

    async def search(
        self, collection: str, query: str, limit: int = 10, filters: Mapping[str, str] | None = None
    ) -> list[Hit]:
        _refuse("knowledge")

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        _refuse("knowledge")

    async def drop(self, collection: str) -> None:
        _refuse("knowledge")


class NoModels:
    """No model can be asked: none is configured, or the agent did not ask for models."""

    available = False

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
        """Never answers.

        Raises:
            ModelUnavailable: always.
        """
        raise ModelUnavailable(_NONE)

    async def embed(self, texts: Sequence[str], *, model: str | None = None) -> Embedded:
        """Never answers.

        Raises:
            ModelUnavailable: always.
        """
        raise ModelUnavailable(_NONE)


@runtime_checkable
class _ReadsFiles(Protocol):
    """Models that take images and sound by reference."""

    def reading(self, files: Files) -> Models:
        """The same models, reading through these files."""
        ...


def granted(
    permissions: Permissions, files: Files, knowledge: Knowledge, models: Models
) -> tuple[Files, Knowledge, Models]:
    """The given ports, each replaced by one that refuses where the manifest does not ask for it.

    Models read images and sound through the files that are granted.
    """
    reachable = files if permissions.files else _NoFiles()
    if not permissions.models:
        models = NoModels()
    elif isinstance(models, _ReadsFiles):
        models = models.reading(reachable)
    return reachable, knowledge if permissions.knowledge else _NoKnowledge(), models


def _refuse(port: str) -> NoReturn:
    raise PermissionNotGranted(
        f"The agent's manifest does not ask for {port}: set `{port} = true` under [permissions]."
    )
