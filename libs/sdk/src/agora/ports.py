"""What a step may reach outside itself, as protocols: files, knowledge and models.

Alone they are folders and the author's own keys (`agora.files`, `agora.knowledge`, `agora.models`); on the
platform the execution worker puts its own behind the same calls.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from agora.messages import (
    Audio,
    Capability,
    Embedded,
    Image,
    Message,
    ModelReply,
    Models,
    OnText,
    Part,
    Policy,
    Text,
    ToolCall,
    ToolOffer,
)

__all__ = [
    "Audio",
    "Capability",
    "Embedded",
    "FileInfo",
    "Files",
    "Hit",
    "Image",
    "Knowledge",
    "Message",
    "ModelReply",
    "Models",
    "OnText",
    "Part",
    "Passage",
    "Policy",
    "Text",
    "ToolCall",
    "ToolOffer",
]


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
