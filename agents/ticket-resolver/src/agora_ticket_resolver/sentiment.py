"""How a customer feels, from -1 (furious) to 1 (delighted), in any language that the embedding knows."""

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from agora_ticket_resolver.embedding import Model

WHOLE_SHARE = 0.6

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def score(vector: "NDArray[np.float32]", model: Model) -> float:
    """The sentiment of a text, given its embedding by `model`."""
    weights = _head(model)
    return round(max(-1.0, min(1.0, float(weights[:-1] @ vector + weights[-1]))), 4)


def of_ticket(vectors: "NDArray[np.float32]", model: Model) -> float:
    """The sentiment of a ticket, given `embedding.of_ticket`.

    A long ticket tells facts at length and its mood in one sentence, so the strongest counts beside the whole.
    """
    whole, *parts = (score(vector, model) for vector in vectors)
    if not parts:
        return whole
    strongest = max(parts, key=abs)
    return round(WHOLE_SHARE * whole + (1 - WHOLE_SHARE) * strongest, 4)


@cache
def _head(model: Model) -> "NDArray[np.float32]":
    import numpy as np

    with (
        resources.files(__package__).joinpath("data/heads.npz").open("rb") as handle,
        np.load(handle) as heads,
    ):
        weights: NDArray[np.float32] = heads[f"{model}.sentiment"]
    return weights
