"""What agents keep, as the public API shows it."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from agora_contracts.memory import MemoryEntry, MemoryKind


class MemoryEntryShape(msgspec.Struct, frozen=True, kw_only=True):
    """Something that an agent keeps: a `value` under a `key`, or a `text` with its payload. `run` wrote it last."""

    id: str
    package: str
    kind: MemoryKind
    key: str | None
    value: Any
    text: str | None
    payload: dict[str, str]
    bytes: int
    run: str
    at: datetime


class MemoryPageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A page of what is kept, what was written last first: fewer than asked for where entries are large."""

    items: list[MemoryEntryShape]
    next_cursor: str | None = None


class MemoryDeletedShape(msgspec.Struct, frozen=True, kw_only=True):
    """How many entries were deleted."""

    deleted: int


def entry_shape(entry: MemoryEntry) -> MemoryEntryShape:
    """An entry for its tenant."""
    return MemoryEntryShape(
        id=entry.id,
        package=entry.package,
        kind=entry.kind,
        key=entry.key,
        value=entry.value,
        text=entry.text,
        payload=entry.payload,
        bytes=entry.bytes,
        run=entry.run,
        at=entry.at,
    )


# --- examples of the documentation ---------------------------------------------------------------

AN_ENTRY = MemoryEntryShape(
    id="mem_0190a5b07c3a7d4e8f00112233445566",
    package="ticket-resolver",
    kind="value",
    key="language",
    value="de",
    text=None,
    payload={},
    bytes=12,
    run="run_0190a5b07c3a7d4e8f00112233445566",
    at=datetime(2026, 1, 5, 9, 0, tzinfo=UTC),
)
A_PAGE = MemoryPageShape(items=[AN_ENTRY])
DELETED = MemoryDeletedShape(deleted=1)
