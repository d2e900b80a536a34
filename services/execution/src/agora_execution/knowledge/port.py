"""Knowledge of one tenant behind the SDK's `Knowledge` protocol, asked of the vectors process over NATS."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from agora import AgentDefinitionError, Hit, Passage
from agora_contracts.knowledge import DropCollection, EmbedTexts, IndexPassages, PassageIn, SearchPassages
from agora_kit.broker import Broker

from agora_execution.memory.model import COLLECTION_PREFIX

_BATCH = 64
"""Passages in one message: below NATS's megabyte even when each is long."""

_BATCH_BYTES = 400_000


class TenantKnowledge:
    """Collections of one tenant; never another's."""

    def __init__(self, broker: Broker, tenant: str) -> None:
        self._broker = broker
        self._tenant = tenant

    async def index(self, collection: str, passages: Sequence[Passage]) -> None:
        """Add passages, in batches that fit a message."""
        _require_own(collection)
        items = [PassageIn(id=one.id, text=one.text, payload=one.payload) for one in passages]
        for batch in _batches(items, lambda one: len(msgspec.json.encode(one))):
            await self._broker.ask(IndexPassages(tenant=self._tenant, collection=collection, passages=batch))

    async def search(
        self, collection: str, query: str, limit: int = 10, filters: Mapping[str, str] | None = None
    ) -> list[Hit]:
        """The nearest passages, best first."""
        _require_own(collection)
        found = await self._broker.ask(
            SearchPassages(
                tenant=self._tenant,
                collection=collection,
                query=query[:8000],
                limit=min(limit, 100),
                filters=dict(filters or {}),
            )
        )
        return [Hit(id=hit.id, score=hit.score, payload=hit.payload) for hit in found.items]

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One unit vector per text, in order."""
        vectors: list[list[float]] = []
        for batch in _batches(texts, lambda text: len(text.encode())):
            answer = await self._broker.ask(EmbedTexts(tenant=self._tenant, texts=batch))
            vectors.extend(answer.vectors)
        return vectors

    async def drop(self, collection: str) -> None:
        """Forget a collection."""
        _require_own(collection)
        await self._broker.ask(DropCollection(tenant=self._tenant, collection=collection))


def _require_own(collection: str) -> None:
    # Memory lies in the same store, each agent's in a collection of its own.
    if collection.startswith(COLLECTION_PREFIX):
        raise AgentDefinitionError(f"a collection's name must not begin with {COLLECTION_PREFIX!r}")


def _batches[Item](items: Sequence[Item], bytes_of: Callable[[Item], int]) -> Iterator[list[Item]]:
    """The items in their order, as many together as fit a message."""
    batch: list[Item] = []
    size = 0
    for item in items:
        bytes_of_item = bytes_of(item)
        if batch and (len(batch) >= _BATCH or size + bytes_of_item > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += bytes_of_item
    if batch:
        yield batch
