"""Search by meaning through the knowledge port, with a bounded memory of what was embedded before."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from agora_knowledge_base.corpus import Corpus
from agora_knowledge_base.retrieval import Nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    type Vector = NDArray[np.float32]

REMEMBERED_MAX = 20_000
"""Vectors of 384 float32: 30 MB."""

RERANKED_MAX = 300
"""Passages of files sent with a question that are compared by meaning: the best by words."""


class Embeds(Protocol):
    """The part of the knowledge port that is used here."""

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A unit vector for each text."""
        ...


_remembered: "OrderedDict[str, Vector]" = OrderedDict()


async def vectors(embeds: Embeds, texts: Sequence[str]) -> list["Vector"]:
    """A unit vector for each text; one that was asked for lately is not computed again."""
    import numpy as np

    held = {text: _remembered[text] for text in texts if text in _remembered}
    missing = [text for text in dict.fromkeys(texts) if text not in held]
    if missing:
        fresh = np.asarray(await embeds.embed(missing), dtype=np.float32)
        held.update(zip(missing, fresh, strict=True))
    for text in texts:
        _remembered[text] = held[text]
        _remembered.move_to_end(text)
    while len(_remembered) > REMEMBERED_MAX:
        _remembered.popitem(last=False)
    return [held[text] for text in texts]


async def similarities(embeds: Embeds, query: str, texts: Sequence[str]) -> list[float]:
    """The cosine of each text to the query."""
    import numpy as np

    if not texts:
        return []
    rows = np.stack(await vectors(embeds, [query, *texts]))
    similar: list[float] = (rows[1:] @ rows[0]).tolist()
    return similar


def nearest_among(corpus: Corpus, rows: Sequence[int], embeds: Embeds) -> Nearest:
    """Search by meaning over chosen rows of a corpus that has no collection of its own."""

    async def nearest(query: str, limit: int) -> dict[int, float]:
        scores = await similarities(embeds, query, [corpus.passages[row].searched for row in rows])
        ranked = sorted(zip(rows, scores, strict=True), key=lambda pair: (-pair[1], pair[0]))
        return dict(ranked[:limit])

    return nearest
