"""What a step may reach outside itself, as protocols: files, knowledge and models.

Alone they are folders and the author's own keys (`agora.files`, `agora.knowledge`, `agora.models`); on the
platform the execution worker puts its own behind the same calls.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
from agora_contracts.money import Money

Capability = Literal["fast", "smart"]


class FileInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A file's name as its owner gave it, its size in bytes and its media type."""

    name: str
    size: int
    content_type: str


class Files(Protocol):
    """Files that came in with the input or the configuration, and files that the run delivers."""

    async def open(self, ref: str) -> Path:
        """A readable local copy of the file. Never write to it.

        Raises:
            InputRejected: there is no such file, or it may not be read.
        """
        ...

    async def save(self, content: Path | bytes, *, name: str, content_type: str) -> str:
        """Keep a file that the run delivers, and return its reference for the output.

        A retried step that saves the same name again replaces what the lost attempt had saved.
        """
        ...

    async def info(self, ref: str) -> FileInfo:
        """Name, size and media type, without fetching the content.

        Raises:
            InputRejected: there is no such file, or it may not be read.
        """
        ...


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of text to be found again by meaning. An id that is indexed again is replaced."""

    id: str
    text: str
    payload: dict[str, str] = {}


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A passage that was found. `score` is the cosine of the angle to the query, -1 to 1."""

    id: str
    score: float
    payload: dict[str, str]


class Knowledge(Protocol):
    """Search by meaning over passages (cosine over MiniLM embeddings), and the embeddings themselves."""

    async def index(self, collection: str, passages: Sequence[Passage]) -> None:
        """Add passages to a collection, which is made if need be; an id that exists is replaced."""
        ...

    async def search(
        self, collection: str, query: str, limit: int = 10, filters: Mapping[str, str] | None = None
    ) -> list[Hit]:
        """The nearest passages, best first; `filters` must equal the payload's values. Empty if unknown."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One unit vector of 384 numbers for each text, in order."""
        ...

    async def drop(self, collection: str) -> None:
        """Forget a collection. An unknown one is no error."""
        ...


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message to a model."""

    role: Literal["system", "user", "assistant"]
    content: str


class ModelReply(msgspec.Struct, frozen=True, kw_only=True):
    """What a model answered and what that took.

    `parsed` is an instance of the schema that was asked for, else None. `cost` is None where the model's
    price is unknown; `reconciled` is False where the vendor did not report its usage, which is never read
    as free: tokens and cost are then the worst case.
    """

    text: str
    parsed: Any = None
    input_tokens: int
    output_tokens: int
    model: str
    cost: Money | None
    reconciled: bool


class Models(Protocol):
    """Language models, where there are any. An agent works without them, less well."""

    @property
    def available(self) -> bool:
        """Whether a model can be asked at all."""
        ...

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        capability: Capability = "fast",
        max_tokens: int,
        schema: type[msgspec.Struct] | None = None,
    ) -> ModelReply:
        """Ask a model; with a `schema` the answer is checked against it and given as `parsed`.

        Raises:
            ModelUnavailable: none is configured, it failed or timed out, its answer did not fit the schema,
                or the run's budget for models is spent. Go on by deterministic means.
        """
        ...
