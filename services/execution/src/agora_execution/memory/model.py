"""What is kept of a step's writes, and under which names. Pure rules."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec
from agora_contracts.ids import derived

COLLECTION_PREFIX = "agora-memory:"
"""Begins the names of collections that hold memory, which no agent may name itself."""


class StepWrite(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt at a step wrote: a `value` (JSON text) under `key`, None to delete it; or a `text` of its id."""

    size_bytes: int
    key: str | None = None
    value: str | None = None
    id: str = ""
    text: str | None = None
    payload: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A write of a step that was recorded, with whom it belongs to."""

    tenant: str
    package: str
    run: str
    at: datetime
    written: StepWrite

    @property
    def id(self) -> str:
        """The id of the entry."""
        key = self.written.key
        return self.written.id if key is None else value_id(self.tenant, self.package, key)

    @property
    def deletes(self) -> bool:
        """Whether nothing is to be kept under the key."""
        return self.written.key is not None and self.written.value is None


def collection(package: str) -> str:
    """The collection of one agent's texts, in the tenant's own scope."""
    return COLLECTION_PREFIX + package


def value_id(tenant: str, package: str, key: str) -> str:
    """The id of the entry under a key."""
    return derived("mem", tenant, package, key)


def newest(writes: Iterable[Write]) -> list[Write]:
    """The last write of each entry, in the order of their ids: in which rows are locked."""
    last = {write.id: write for write in writes}
    return [last[entry] for entry in sorted(last)]
