"""Use cases of the vectors process: embed, index, search, forget. One at a time, in a thread of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from agora import embeddings
from agora_contracts.knowledge import (
    DropCollection,
    Dropped,
    Embeddings,
    EmbedTexts,
    Indexed,
    IndexPassages,
    PassageHits,
    SearchPassages,
)
from agora_contracts.memory import ForgetPassages, PassagesForgotten

from agora_execution.knowledge.vectors import VectorStore


class Knowledge:
    """Answers for the vectors; the model is loaded on first use."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        # One thread: the shard is not to be written from two, and the model uses every core by itself.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vectors")

    async def index(self, command: IndexPassages) -> Indexed:
        """Embed and store passages."""

        def work() -> Indexed:
            vectors = embeddings.shared().embed([passage.text for passage in command.passages])
            count = self._store.upsert(command.tenant, command.collection, command.passages, vectors.tolist())
            return Indexed(count=count)

        return await self._do(work)

    async def search(self, query: SearchPassages) -> PassageHits:
        """Find passages by meaning."""

        def work() -> PassageHits:
            vector = embeddings.shared().embed([query.query])[0].tolist()
            hits = self._store.search(query.tenant, query.collection, vector, query.limit, query.filters)
            return PassageHits(items=hits)

        return await self._do(work)

    async def embed(self, command: EmbedTexts) -> Embeddings:
        """Embed texts."""
        return await self._do(lambda: Embeddings(vectors=embeddings.shared().embed(command.texts).tolist()))

    async def drop(self, command: DropCollection) -> Dropped:
        """Forget a collection."""
        return await self._do(lambda: Dropped(existed=self._store.drop(command.tenant, command.collection)))

    async def forget(self, command: ForgetPassages) -> PassagesForgotten:
        """Take passages out."""

        def work() -> PassagesForgotten:
            return PassagesForgotten(left=self._store.forget(command.tenant, command.collection, command.ids))

        return await self._do(work)

    async def close(self) -> None:
        """Finish what is at hand and close the shard."""
        await self._do(self._store.close)
        self._thread.shutdown()

    async def _do[R](self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
