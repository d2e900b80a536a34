"""The vector store: passages of every tenant in one Qdrant shard that one process owns.

A collection is a scope `tenant/collection` in an indexed payload field, so that thousands of small collections
cost no more than their passages. Every call names its tenant; there is no call across tenants.
"""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import qdrant_edge as qdrant
from agora_contracts.knowledge import PassageHit, PassageIn

_NAMESPACE = uuid.UUID("0a9c1f7e-6d0e-5f0b-8a55-8a3f6f1f7b21")
_DIMENSIONS = 384
_VECTOR = "text"
_EXACT_BELOW = 20_000
"""Collections smaller than this are searched exactly: quick enough, and the same at every worker."""


class VectorStore:
    """Blocking calls on the shard; call them from one thread at a time.

    Args:
        folder: The shard's folder. No other process may open it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = qdrant.EdgeConfig(
            vectors={_VECTOR: qdrant.EdgeVectorParams(size=_DIMENSIONS, distance=qdrant.Distance.Cosine)}
        )
        shard_folder = folder / "passages"
        if (shard_folder / "segments").is_dir():
            self._shard = qdrant.EdgeShard.load(str(shard_folder))
        else:
            shard_folder.mkdir(exist_ok=True)
            self._shard = qdrant.EdgeShard.create(str(shard_folder), config)
            self._shard.update(
                qdrant.UpdateOperation.create_field_index("scope", qdrant.PayloadSchemaType.Keyword)
            )

    def upsert(
        self,
        tenant: str,
        collection: str,
        passages: Sequence[PassageIn],
        vectors: Sequence[Sequence[float]],
    ) -> int:
        """Add passages with their vectors; an id that is there is replaced. Returns the collection's size."""
        scope = _scope(tenant, collection)
        points = [
            qdrant.Point(
                _point_id(scope, passage.id),
                {_VECTOR: list(vector)},
                {"scope": scope, "id": passage.id, "payload": dict(passage.payload)},
            )
            for passage, vector in zip(passages, vectors, strict=True)
        ]
        self._shard.update(qdrant.UpdateOperation.upsert_points(points))
        self._shard.flush()
        return self.count(tenant, collection)

    def count(self, tenant: str, collection: str) -> int:
        """How many passages a collection holds."""
        return int(
            self._shard.count(qdrant.CountRequest(exact=True, filter=_filter(_scope(tenant, collection))))
        )

    def search(
        self, tenant: str, collection: str, vector: Sequence[float], limit: int, filters: Mapping[str, str]
    ) -> list[PassageHit]:
        """The nearest passages, best first; equal scores in the order of their ids."""
        exact = self.count(tenant, collection) < _EXACT_BELOW
        found = self._shard.search(
            qdrant.SearchRequest(
                query=qdrant.Query.Nearest(list(vector), using=_VECTOR),
                limit=limit,
                filter=_filter(_scope(tenant, collection), filters),
                params=qdrant.SearchParams(exact=exact),
                with_payload=True,
            )
        )
        hits = [_hit(point.payload or {}, point.score) for point in found]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))

    def forget(self, tenant: str, collection: str, ids: Sequence[str]) -> int:
        """Take passages out. Returns the collection's size."""
        scope = _scope(tenant, collection)
        self._shard.update(qdrant.UpdateOperation.delete_points([_point_id(scope, one) for one in ids]))
        self._shard.flush()
        return self.count(tenant, collection)

    def drop(self, tenant: str, collection: str) -> bool:
        """Forget a collection. Returns whether it held anything."""
        existed = self.count(tenant, collection) > 0
        if existed:
            self._shard.update(
                qdrant.UpdateOperation.delete_points_by_filter(_filter(_scope(tenant, collection)))
            )
            self._shard.flush()
        return existed

    def close(self) -> None:
        """Write everything and let the folder go."""
        self._shard.flush()
        self._shard.close()


def _scope(tenant: str, collection: str) -> str:
    return f"{tenant}/{collection}"


def _point_id(scope: str, passage: str) -> Any:
    return str(uuid.uuid5(_NAMESPACE, f"{scope}\x1f{passage}"))


def _filter(scope: str, filters: Mapping[str, str] | None = None) -> Any:
    conditions: list[Any] = [qdrant.FieldCondition(key="scope", match=qdrant.MatchValue(scope))]
    for name, value in (filters or {}).items():
        conditions.append(qdrant.FieldCondition(key=f'payload."{name}"', match=qdrant.MatchValue(value)))
    return qdrant.Filter(must=conditions)


def _hit(payload: Mapping[str, Any], score: float) -> PassageHit:
    return PassageHit(id=str(payload["id"]), score=float(score), payload=dict(payload["payload"]))
