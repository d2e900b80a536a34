"""Memory: what an agent keeps for one customer from one run to the next.

What a step writes counts once the step has succeeded, and never before: an attempt that fails leaves nothing, and
the next one finds what the first one found. Alone it is kept in a folder, on the platform in the tenant's own rows,
of which each agent sees those that it wrote itself.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from agora_contracts.ids import derived
from agora_contracts.memory import BYTES_MAX, ENTRIES_MAX, KEY_CHARACTERS_MAX, VALUE_BYTES_MAX

from agora.errors import AgentDefinitionError, InputRejected, PermissionNotGranted

RECALLED_MAX = 50


class Recollection(msgspec.Struct, frozen=True, kw_only=True):
    """A remembered text that was found. `score` is the cosine of the angle to the query, -1 to 1."""

    id: str
    text: str
    score: float
    payload: dict[str, str]


class Memory(Protocol):
    """What the agent keeps for this customer: values under keys, and texts that are found again by meaning.

    Where two runs write the same key at once, the step that is recorded last wins.
    """

    async def get(self, key: str, default: Any = None) -> Any:
        """The value under a key, of plain JSON types; `default` where there is none.

        What this step has written itself is seen at once.
        """
        ...

    async def set(self, key: str, value: Any) -> None:
        """Keep a value (anything with a JSON form) under a key, in place of what was there.

        Raises:
            InputRejected: `memory_full`, when the customer has to delete some of what is kept first.
            AgentDefinitionError: the key or the value is too large, or the value has no JSON form.
        """
        ...

    async def delete(self, key: str) -> None:
        """Keep nothing under a key. An unknown one is no error."""
        ...

    async def remember(self, text: str, payload: Mapping[str, str] | None = None) -> str:
        """Keep a text, to be found by meaning once this step has succeeded. Returns its id.

        Raises:
            InputRejected: `memory_full`, when the customer has to delete some of what is kept first.
            AgentDefinitionError: the text is empty or too large.
        """
        ...

    async def recall(
        self, query: str, limit: int = 5, filters: Mapping[str, str] | None = None
    ) -> list[Recollection]:
        """The remembered texts nearest to a query, best first; `filters` must equal the payload's values."""
        ...


class MemoryWrite(msgspec.Struct, frozen=True, kw_only=True):
    """One write of a step: a `value` (JSON) under `key`, none where the key is deleted; or a `text` with its id."""

    id: str = ""
    key: str | None = None
    value: bytes | None = None
    text: str | None = None
    payload: dict[str, str] = {}

    @property
    def size_bytes(self) -> int:
        """What it takes up of the agent's memory."""
        if self.key is not None:
            return 0 if self.value is None else len(self.key.encode()) + len(self.value)
        return len((self.text or "").encode()) + len(msgspec.json.encode(self.payload))


class MemoryInUse(msgspec.Struct, frozen=True, kw_only=True):
    """How much an agent keeps for a customer."""

    entries: int
    bytes: int


class MemorySource(Protocol):
    """Where memory is kept, as it was when the step began."""

    async def read(self, key: str) -> bytes | None:
        """The value under a key as JSON; None where there is none."""
        ...

    async def search(self, query: str, limit: int, filters: Mapping[str, str]) -> list[Recollection]:
        """The nearest texts, best first."""
        ...

    async def in_use(self) -> MemoryInUse:
        """How much is kept."""
        ...


class StepMemory:
    """The memory of one attempt at a step: what it writes stays here until the step is recorded.

    Args:
        source: what is kept already.
        step: the step's id, from which the ids of its texts come: every attempt gives the same ones.
    """

    def __init__(self, source: MemorySource, step: str) -> None:
        self._source = source
        self._step = step
        self._values: dict[str, MemoryWrite] = {}
        self._texts: list[MemoryWrite] = []
        self._found: dict[str, bytes | None] = {}
        self._in_use: MemoryInUse | None = None

    @property
    def writes(self) -> list[MemoryWrite]:
        """What is to be kept when the step has succeeded."""
        return [*self._values.values(), *self._texts]

    async def get(self, key: str, default: Any = None) -> Any:
        """See `Memory.get`."""
        _check_key(key)
        written = self._values.get(key)
        value = await self._read(key) if written is None else written.value
        return default if value is None else msgspec.json.decode(value)

    async def set(self, key: str, value: Any) -> None:
        """See `Memory.set`."""
        _check_key(key)
        try:
            encoded = msgspec.json.encode(value)
        except (TypeError, ValueError) as error:
            raise AgentDefinitionError(f"the value under {key!r} has no JSON form: {error}") from error
        write = MemoryWrite(key=key, value=encoded)
        _check_size(f"the value under {key!r}", write)
        await self._require_room(write)
        self._values[key] = write

    async def delete(self, key: str) -> None:
        """See `Memory.delete`."""
        _check_key(key)
        self._values[key] = MemoryWrite(key=key)

    async def remember(self, text: str, payload: Mapping[str, str] | None = None) -> str:
        """See `Memory.remember`."""
        if not text.strip():
            raise AgentDefinitionError("a text to remember must not be empty")
        number = str(len(self._texts))
        write = MemoryWrite(id=derived("mem", self._step, number), text=text, payload=dict(payload or {}))
        _check_size("a text to remember", write)
        await self._require_room(write)
        self._texts.append(write)
        return write.id

    async def recall(
        self, query: str, limit: int = 5, filters: Mapping[str, str] | None = None
    ) -> list[Recollection]:
        """See `Memory.recall`."""
        if not query.strip() or limit < 1:
            return []
        return await self._source.search(query, min(limit, RECALLED_MAX), filters or {})

    async def _read(self, key: str) -> bytes | None:
        if key not in self._found:
            self._found[key] = await self._source.read(key)
        return self._found[key]

    async def _require_room(self, write: MemoryWrite) -> None:
        if self._in_use is None:
            self._in_use = await self._source.in_use()
        pending = {one.key or one.id: one for one in self.writes} | {write.key or write.id: write}
        entries, size = self._in_use.entries, self._in_use.bytes
        for one in pending.values():
            before = None if one.key is None else await self._read(one.key)
            kept = one.value is not None or one.text is not None
            entries += kept - (before is not None)
            size += one.size_bytes
            if one.key is not None and before is not None:
                size -= MemoryWrite(key=one.key, value=before).size_bytes
        if entries > ENTRIES_MAX or size > BYTES_MAX:
            raise InputRejected(
                "memory_full",
                f"What the agent keeps for you is full: at most {ENTRIES_MAX} entries and {BYTES_MAX} bytes. "
                "Delete some of it.",
            )


class NoMemory:
    """Memory for an agent that did not ask for it."""

    async def get(self, key: str, default: Any = None) -> Any:
        """Refuses."""
        raise _not_granted()

    async def set(self, key: str, value: Any) -> None:
        """Refuses."""
        raise _not_granted()

    async def delete(self, key: str) -> None:
        """Refuses."""
        raise _not_granted()

    async def remember(self, text: str, payload: Mapping[str, str] | None = None) -> str:
        """Refuses."""
        raise _not_granted()

    async def recall(
        self, query: str, limit: int = 5, filters: Mapping[str, str] | None = None
    ) -> list[Recollection]:
        """Refuses."""
        raise _not_granted()


def writes_of(memory: Memory) -> list[MemoryWrite]:
    """What a step has written into the memory of its context."""
    return memory.writes if isinstance(memory, StepMemory) else []


def _not_granted() -> PermissionNotGranted:
    return PermissionNotGranted(
        "The agent's manifest does not ask for memory: set `memory = true` under [permissions]."
    )


def _check_key(key: str) -> None:
    if not key or len(key) > KEY_CHARACTERS_MAX or "\0" in key:
        raise AgentDefinitionError(
            f"a key of memory has 1 to {KEY_CHARACTERS_MAX} characters and no U+0000, not {key[:50]!r}"
        )


def _check_size(what: str, write: MemoryWrite) -> None:
    if write.size_bytes > VALUE_BYTES_MAX:
        raise AgentDefinitionError(
            f"{what} is larger than {VALUE_BYTES_MAX} bytes; keep large things in files"
        )
