"""Which sentence embeddings are there: multilingual where its wheel is installed, else the SDK's English ones."""

from collections.abc import Sequence
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from agora_ticket_resolver.texts import sentences

if TYPE_CHECKING:
    from agora.embeddings import MiniLM
    from numpy.typing import NDArray

    from agora_ticket_resolver.multilingual import Matrix, MultilingualE5

Model = Literal["multilingual", "english"]

SENTENCES_MAX = 3
SENTENCE_WORDS_MIN = 4
LONG_WORDS = 14


@cache
def available() -> Model:
    """The better of the models that this installation has."""
    from agora_ticket_resolver import multilingual

    try:
        multilingual.shared()
    except multilingual.ModelMissing:
        return "english"
    return "multilingual"


def embed(model: Model, texts: Sequence[str]) -> "Matrix":
    """One row per text, of length 1, with the direction that all texts share taken out.

    Without that, vectors of the multilingual model lie in a narrow cone and every two texts look alike.
    """
    return unit(embed_raw(model, texts) - centre(model))


@lru_cache(maxsize=256)
def of_ticket(model: Model, text: str) -> "Matrix":
    """The vector of a whole ticket and, of a long one, then of its longest sentences: it asks in one of them.

    Kept, because two steps need it and usually run in one process; never write into it.
    """
    parts: list[str] = []
    if len(text.split()) > LONG_WORDS:
        whole = [part for part in sentences(text) if len(part.split()) >= SENTENCE_WORDS_MIN]
        parts = sorted(whole, key=len, reverse=True)[:SENTENCES_MAX]
    return embed(model, [text, *parts])


def embed_raw(model: Model, texts: Sequence[str]) -> "Matrix":
    """One row per text, of length 1, as the model gives it."""
    if model == "multilingual":
        from agora_ticket_resolver import multilingual

        found: MultilingualE5 | MiniLM = multilingual.shared()
    else:
        from agora import embeddings

        found = embeddings.shared()
    return found.embed(list(texts))


def unit(vectors: "NDArray[Any]") -> "Matrix":
    """The rows scaled to length 1."""
    import numpy as np

    scaled = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    rows: Matrix = scaled.astype(np.float32)
    return rows


@cache
def centre(model: Model) -> "Matrix":
    """The mean of many sentences on many subjects; see training/README.md."""
    import numpy as np

    with (
        resources.files(__package__).joinpath("data/heads.npz").open("rb") as handle,
        np.load(handle) as heads,
    ):
        found: Matrix = heads[f"{model}.centre"]
    return found
