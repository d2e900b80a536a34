"""Messages of memory: what agents keep for a tenant from one run to the next, and the customer may read and delete."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

MemoryKind = Literal["value", "text"]

KEY_CHARACTERS_MAX = 200
VALUE_BYTES_MAX = 32 * 1024
"""The largest value as JSON, and the longest remembered text with its payload."""

ENTRIES_MAX = 5_000
BYTES_MAX = 10 * 1024 * 1024
"""What one agent may keep for one tenant."""


class MemoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Something that an agent keeps: a `value` under a key, or a `text` that it finds again by meaning.

    `run` wrote it last, at `at`; it is forgotten when it has not been written for the time of retention.
    """

    id: str
    package: str
    kind: MemoryKind
    bytes: int
    run: str
    at: datetime
    key: str | None = None
    value: Any = None
    text: str | None = None
    payload: dict[str, str] = {}


class ListMemory(msgspec.Struct, frozen=True, kw_only=True):
    """List what agents keep for a tenant, what was written last first."""

    tenant: str
    package: str | None = None
    kind: MemoryKind | None = None
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class MemoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of what is kept: fewer entries than asked for where they are large."""

    items: list[MemoryEntry]
    next_cursor: str | None = None


class GetMemory(msgspec.Struct, frozen=True, kw_only=True):
    """Read one entry."""

    entry: str
    tenant: str


class DeleteMemory(msgspec.Struct, frozen=True, kw_only=True):
    """Delete one entry, or everything that the agent of `package` keeps: exactly one is set."""

    tenant: str
    entry: str | None = None
    package: str | None = None


class MemoryDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """How many entries were deleted; the agent finds none of them any more."""

    count: int


class ForgetPassages(msgspec.Struct, frozen=True, kw_only=True):
    """Take passages out of a tenant's collection; unknown ones are no error."""

    tenant: str
    collection: str
    ids: Annotated[list[str], Meta(max_length=1000)]


class PassagesForgotten(msgspec.Struct, frozen=True, kw_only=True):
    """How many passages the collection has left."""

    left: int
