"""Which sentence embeddings are there: multilingual where its wheel is installed, else the SDK's English ones."""

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from agora_ticket_resolver.multilingual import Matrix

Model = Literal["multilingual", "english"]


@cache
def available() -> Model:
    """The better of the models that this installation has."""
    from agora_ticket_resolver import multilingual

    try:
        multilingual.shared()
    except multilingual.ModelMissing:
        return "english"
    return "multilingual"


def embed(model: Model, texts: Sequence[str], *, passages: bool = False) -> "Matrix":
    """One row per text, of length 1, with the direction that all texts share taken out.

    Without that, vectors of the multilingual model lie in a narrow cone and every two texts look alike.
    """
    import numpy as np

    if model == "multilingual":
        from agora_ticket_resolver import multilingual

        vectors = multilingual.shared().embed(texts, passages=passages)
    else:
        from agora import embeddings

        vectors = embeddings.shared().embed(list(texts))
    centred = vectors - _centre(model)
    unit: Matrix = (centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)).astype(np.float32)
    return unit


@cache
def _centre(model: Model) -> "Matrix":
    """The mean of many sentences on many subjects; see training/README.md."""
    import numpy as np

    with resources.files(__package__).joinpath("data/heads.npz").open("rb") as handle, np.load(handle) as heads:
        centre: Matrix = heads[f"{model}.centre"]
    return centre
