"""The steps of a run: search, weigh, answer. Each is thin; the skill is in the modules they call."""

from collections.abc import Sequence
from functools import partial

import agora

from agora_knowledge_base import (
    answers,
    assisted,
    confidence,
    evidence,
    meaning,
    one_shot,
    questions,
    retrieval,
)
from agora_knowledge_base.corpus import Corpus
from agora_knowledge_base.questions import Part
from agora_knowledge_base.retrieval import Candidate, Nearest
from agora_knowledge_base.state import PartEvidence, PartFound, State
from agora_knowledge_base.types import Unread

LOOKED_AT_MIN = 8
"""So many passages are looked at for sentences, however few are asked for."""


@agora.step(title="Search the sources", timeout_seconds=180)
async def search(state: State, context: agora.Context) -> dict[str, object]:
    """Find passages for each part of the question, in the deployment's documents and in the files sent."""
    corpora = [corpus for corpus in (context.prepared,) if corpus is not None and corpus.passages]
    if state.input.sources:
        context.progress(f"Reading {len(state.input.sources)} files")
        corpora.append(await one_shot.corpus(state.input.sources, context.config, context.files))
    if not corpora:
        raise agora.InputRejected(
            "nothing_to_search", "There is nothing to search: configure `sources`, or send some.", "$.sources"
        )
    found = []
    for part in questions.parts(state.input.query, context.config.language):
        context.progress(f"Searching: {part.text[:80]}")
        found.append(await _search_part(part, corpora, state, context))
    faults = [fault for corpus in corpora for fault in corpus.facts.faults]
    unread = [
        Unread(source=fault.name, code=fault.code, detail=fault.detail, place=fault.place) for fault in faults
    ]
    return {"found": found, "unread": unread[: answers.UNREAD_MAX]}


async def _search_part(
    part: Part, corpora: Sequence[Corpus], state: State, context: agora.Context
) -> PartFound:
    limit = max(state.input.top_k, LOOKED_AT_MIN)
    candidates: list[Candidate] = []
    for corpus in corpora:
        wanted = _wanted(part, corpus)
        # Both must hold: what a question asks for never widens what its deployment allows.
        filters = [state.input.filters, context.config.filters if corpus is context.prepared else {}]
        allowed = corpus.allowed(*filters)
        candidates += await retrieval.find(
            corpus,
            part.whole,
            wanted,
            _nearest(corpus, wanted, allowed, context),
            limit=limit,
            allowed=allowed,
        )
    candidates.sort(key=lambda candidate: -candidate.score)
    return PartFound(part=part, wanted=_wanted(part, *corpora), candidates=candidates[:limit])


def _wanted(part: Part, *corpora: Corpus) -> questions.Wanted:
    return questions.wanted(
        part,
        corpora[0].facts.language,
        knows=lambda term: any(corpus.lexical.knows(term) for corpus in corpora),
        corrected=lambda word: next(filter(None, (c.lexical.corrected(word) for c in corpora)), None),
        idf=lambda term: min(corpus.lexical.idf(term) for corpus in corpora),
    )


def _nearest(
    corpus: Corpus, wanted: questions.Wanted, allowed: set[int] | None, context: agora.Context
) -> Nearest:
    """How to search a corpus by meaning: in its collection, or in memory where few rows are left of it."""
    if corpus.facts.collection and allowed is None:
        return partial(_in_collection, corpus, context.knowledge)
    rows = list(range(len(corpus.passages))) if allowed is None else sorted(allowed)
    if len(rows) > meaning.RERANKED_MAX:
        scores = corpus.lexical.scores(wanted.terms)
        rows = sorted(rows, key=lambda row: (-scores[row], row))[: meaning.RERANKED_MAX]
    return meaning.nearest_among(corpus, rows, context.knowledge)


async def _in_collection(
    corpus: Corpus, knowledge: agora.Knowledge, query: str, limit: int
) -> dict[int, float]:
    hits = await knowledge.search(corpus.facts.collection, query, limit)
    return {corpus.rows[hit.id]: hit.score for hit in hits if hit.id in corpus.rows}


@agora.step(title="Weigh the evidence")
async def weigh(state: State, context: agora.Context) -> dict[str, object]:
    """Choose the sentences that answer, and say how sure it is that they do."""
    context.progress("Comparing sentences with the question")
    similarity = partial(meaning.similarities, context.knowledge)
    weighed = []
    for found in state.found:
        statements, signals = await evidence.weigh(
            found.part.whole,
            found.wanted,
            found.candidates,
            similarity,
            language=context.config.language,
            most=context.config.answer_sentences,
        )
        weighed.append(
            PartEvidence(question=found.part.text, statements=statements, confidence=confidence.of(signals))
        )
    return {"evidence": weighed}


@agora.step(title="Write the answer with its citations", timeout_seconds=120)
async def answer(state: State, context: agora.Context) -> dict[str, object]:
    """Put the answer together, worded by a model where there is one and its wording stands the checks."""
    output = answers.compose(
        state.input, state.found, state.evidence, state.unread, context.config.min_confidence
    )
    if context.models.available:
        context.progress("Wording the answer")
        output = await assisted.worded(output, state, context.models, context.config.min_confidence)
    if output.deliverable != "empty":
        context.usage("queries", 1)
    return {"output": output}
