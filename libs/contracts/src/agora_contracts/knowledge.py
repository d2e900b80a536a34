"""Messages of knowledge: passages embedded, indexed and searched; asked of the vectors process."""

from typing import Annotated

import msgspec
from msgspec import Meta


class PassageIn(msgspec.Struct, frozen=True, kw_only=True):
    """A passage to index: its id within the collection, its text, and what comes back with a hit."""

    id: str
    text: str
    payload: dict[str, str] = {}


class IndexPassages(msgspec.Struct, frozen=True, kw_only=True):
    """Embed and store passages in a tenant's collection; the same id again replaces it."""

    tenant: str
    collection: str
    passages: Annotated[list[PassageIn], Meta(max_length=256)]


class Indexed(msgspec.Struct, frozen=True, kw_only=True):
    """How many passages the collection holds now."""

    count: int


class SearchPassages(msgspec.Struct, frozen=True, kw_only=True):
    """Find the passages nearest in meaning; `filters` match payload fields exactly."""

    tenant: str
    collection: str
    query: Annotated[str, Meta(max_length=8000)]
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    filters: dict[str, str] = {}


class PassageHit(msgspec.Struct, frozen=True, kw_only=True):
    """A passage found; `score` is the cosine similarity."""

    id: str
    score: float
    payload: dict[str, str]


class PassageHits(msgspec.Struct, frozen=True, kw_only=True):
    """Hits, best first."""

    items: list[PassageHit]


class EmbedTexts(msgspec.Struct, frozen=True, kw_only=True):
    """Embed texts with the platform's model."""

    tenant: str
    texts: Annotated[list[str], Meta(max_length=256)]


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    """One unit vector per text, in order."""

    vectors: list[list[float]]


class DropCollection(msgspec.Struct, frozen=True, kw_only=True):
    """Forget a collection; forgetting it again changes nothing."""

    tenant: str
    collection: str


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """Whether there was something to forget."""

    existed: bool
