"""Whether the agent's tools work, each tried on a small document."""

import agora

from agora_knowledge_base import questions
from agora_knowledge_base.corpus import Corpus
from agora_knowledge_base.reading import read

_PAGE = b"# Returns\n\nGoods can be returned within 30 days.\n\n# Opening hours\n\nWe open at nine.\n"


async def health(context: agora.HealthContext) -> dict[str, bool]:
    """Each tool by name, and whether it works: reading, search by words, and search by meaning."""
    corpus = Corpus.build([read("returns.md", _PAGE)], collection="", language="en", words_max=120)
    wanted = questions.wanted(
        questions.Part(text="When can goods be returned?"),
        "en",
        knows=corpus.lexical.knows,
        corrected=corpus.lexical.corrected,
        idf=corpus.lexical.idf,
    )
    scores = corpus.lexical.scores(wanted.terms)
    return {
        "index_document": len(corpus.passages) == 2,
        "word_search": len(scores) == 2 and float(scores[0]) > float(scores[1]),
        "vector_search": await _meaning_works(context),
    }


async def _meaning_works(context: agora.HealthContext) -> bool:
    query, near, far = await context.knowledge.embed(["price of a ticket", "what it costs", "a blue whale"])
    return _dot(query, near) > _dot(query, far)


def _dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
