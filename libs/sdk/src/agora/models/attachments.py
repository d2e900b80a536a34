"""Images and sound for a model: read when the call is made, so that no state or history ever holds their bytes."""

import asyncio
import base64
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agora.errors import ModelUnavailable
from agora.messages import Audio, Image, Message

BYTES_MAX = 20 * 1024 * 1024
"""The largest file that is sent to a model, and the most of all files of a call."""

_KINDS: dict[type, str] = {Image: "image/", Audio: "audio/"}


class FileInfo(Protocol):
    """What is known of a file."""

    @property
    def name(self) -> str:
        """As its owner gave it."""
        ...

    @property
    def size(self) -> int:
        """In bytes."""
        ...

    @property
    def content_type(self) -> str:
        """Its media type."""
        ...


class ReadableFiles(Protocol):
    """The part of `agora.ports.Files` that is needed."""

    async def open(self, ref: str) -> Path:
        """A readable local copy of the file."""
        ...

    async def info(self, ref: str) -> FileInfo:
        """Name, size and media type."""
        ...


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file as vendors take it."""

    content_type: str
    size: int
    base64: str


async def read(messages: Sequence[Message], files: ReadableFiles | None) -> Mapping[str, Attachment]:
    """What the messages refer to, by reference.

    Raises:
        ModelUnavailable: a file is no image or sound, or they are too large together, or there are no files here.
        InputRejected: there is no such file.
        PermissionNotGranted: the agent may not read files.
    """
    found: dict[str, Attachment] = {}
    total = 0
    for message in messages:
        if isinstance(message.content, str):
            continue
        for part in message.content:
            if not isinstance(part, Image | Audio) or part.file in found:
                continue
            if files is None:
                raise ModelUnavailable("A message refers to a file, and there are no files here.")
            info = await files.info(part.file)
            content_type = _content_type(info)
            if not content_type.startswith(_KINDS[type(part)]):
                wanted = "an image" if isinstance(part, Image) else "sound"
                raise ModelUnavailable(f"The file {part.file!r} is {content_type}, which is not {wanted}.")
            total += info.size
            if total > BYTES_MAX:
                raise ModelUnavailable(
                    f"The files of a call may have {BYTES_MAX:,} bytes together; {part.file!r} is beyond that."
                )
            path = await files.open(part.file)
            found[part.file] = await asyncio.to_thread(_read, path, content_type, info.size)
    return found


def sizes(attachments: Mapping[str, Attachment]) -> dict[str, int]:
    """The size in bytes of each."""
    return {ref: one.size for ref, one in attachments.items()}


def _content_type(info: FileInfo) -> str:
    """The media type; where the file came without one, what its name suggests."""
    if info.content_type != "application/octet-stream":
        return info.content_type
    return mimetypes.guess_type(info.name)[0] or info.content_type


def _read(path: Path, content_type: str, size: int) -> Attachment:
    return Attachment(content_type, size, base64.b64encode(path.read_bytes()).decode())
