"""The steps of a run: read the ticket, search the knowledge base, decide and draft."""

import asyncio
from dataclasses import dataclass

import agora
import msgspec

from agora_ticket_resolver import (
    assist,
    cues,
    decision,
    embedding,
    language,
    priority,
    privacy,
    reply,
    sentiment,
    texts,
)
from agora_ticket_resolver.articles import Passage
from agora_ticket_resolver.decision import Decision, Facts, Rules
from agora_ticket_resolver.deployment import Prepared
from agora_ticket_resolver.evidence import Evidence
from agora_ticket_resolver.types import Citation, Config, Input, Output

CITED_MAX = 3
SECOND_SHARE = 0.85
"""A further passage is quoted if it answers at least this well, compared with the best."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What the ticket itself says."""

    text: str
    language: str
    sentiment: float
    category: str
    confidence: float
    category_scores: dict[str, float]
    priority: priority.Priority
    priority_scores: dict[str, float]
    priority_reasons: list[str]
    cues: list[str]
    flags: list[str]


@dataclass(kw_only=True)
class State:
    """A ticket on its way: what was read in it, then what was found for it."""

    input: Input
    reading: Reading | None = None
    evidence: list[Evidence] | None = None
    output: Output | None = None


@agora.step(title="Read the ticket")
async def read(state: State, context: agora.Context) -> dict[str, object]:
    """Language, category, sentiment and priority, from the ticket alone."""
    reading = await asyncio.to_thread(_read, state.input, context.config, context.prepared)
    context.progress(f"{reading.category}, priority {reading.priority}, language {reading.language}", 1.0)
    return {"reading": reading}


@agora.step(title="Search the knowledge base")
async def search(state: State, context: agora.Context) -> dict[str, object]:
    """The passages that answer the ticket, best first."""
    assert state.reading is not None, "read comes first"
    found = await asyncio.to_thread(_search, state.reading, context.prepared)
    context.progress(f"{len(found)} passages found" if found else "nothing found", 1.0)
    return {"evidence": found}


@agora.step(title="Decide and draft the reply", timeout_seconds=120)
async def resolve(state: State, context: agora.Context) -> dict[str, object]:
    """Resolve with cited passages, or hand over to a person with the reason."""
    assert state.reading is not None and state.evidence is not None, "read and search come first"
    reading, found = state.reading, state.evidence
    made = decision.decide(_facts(state.input, reading, found), _rules(context.config))
    quoted = _quoted(found, reading.text) if made.reason is None and not made.praise else []
    output = _output(state.input, reading, made, quoted)
    if quoted and context.models.available:
        context.progress("asking a model to word the answer", 0.5)
        output = await _assisted(output, reading, quoted, context.models)
    context.usage("tasks", 1)
    return {"output": output}


def _read(given: Input, config: Config, prepared: Prepared) -> Reading:
    text = texts.joined(given.subject, given.body)
    if not any(character.isalnum() for character in text):
        raise agora.InputRejected(
            "empty_ticket", "The ticket has no text: give a subject or a body.", "$.body"
        )
    plain, gives_orders = cues.without_orders(text)
    told = texts.without_greeting(plain if any(character.isalnum() for character in plain) else text)
    model = prepared.category.settings.model
    vectors = embedding.of_ticket(model, told)
    vector = vectors[0]
    mood = sentiment.of_ticket(vectors, model)
    seen = cues.find(told)
    category = prepared.category.classify(told, vector)
    learnt = prepared.priority.classify(told, vector).scores if prepared.priority else None
    rated = priority.rate(seen, mood, asks="?" in told, learnt=learnt, trust=prepared.priority_trust)
    flags = {
        "instructions_in_ticket": gives_orders,
        "unlike_known_tickets": category.foreign,
        "personal_data": bool(privacy.found(text)),
    }
    return Reading(
        text=told,
        language=_language(given, text, config),
        sentiment=mood,
        category=category.label,
        confidence=category.confidence,
        category_scores=_top(category.scores),
        priority=rated.level,
        priority_scores=rated.shares,
        priority_reasons=rated.reasons,
        cues=[cue.name for cue in seen],
        flags=[name for name, raised in flags.items() if raised],
    )


def _language(given: Input, text: str, config: Config) -> str:
    if given.language is not None:
        return given.language.lower()
    return language.detect(text, config.languages).code


def _top(scores: dict[str, float], most: int = 20) -> dict[str, float]:
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return dict(ranked[:most])


def _search(reading: Reading, prepared: Prepared) -> list[Evidence]:
    if prepared.index is None:
        return []
    vectors = embedding.of_ticket(prepared.index.model, reading.text)
    return prepared.index.search(reading.text, vectors, reading.language)


def _facts(given: Input, reading: Reading, found: list[Evidence]) -> Facts:
    return Facts(
        text=reading.text,
        category=reading.category,
        confidence=reading.confidence,
        priority=reading.priority,
        sentiment=reading.sentiment,
        cues=reading.cues,
        customer_id=given.customer_id,
        evidence=found[0].score if found else 0.0,
    )


def _rules(config: Config) -> Rules:
    given = config.escalation
    return Rules(
        categories=given.categories,
        customers=given.customers,
        phrases=given.phrases,
        confidence_min=given.min_confidence,
        evidence_min=given.min_evidence,
        sentiment_min=given.min_sentiment,
    )


def _quoted(found: list[Evidence], text: str) -> list[Evidence]:
    """The best passage and those of its article nearly as good; other articles only for a further question."""
    best = found[0]
    several = text.count("?") > 1
    return [
        one
        for one in found[:CITED_MAX]
        if one.score >= SECOND_SHARE * best.score and (several or one.passage.source == best.passage.source)
    ]


def _output(given: Input, reading: Reading, made: Decision, quoted: list[Evidence]) -> Output:
    pressing = reading.priority in ("high", "urgent")
    quotes = [one.passage for one in quoted]
    response = reply.draft(
        made,
        quotes,
        language=reading.language,
        article_language=quotes[0].language if quotes else reading.language,
        sentiment=reading.sentiment,
        pressing=pressing,
    )
    return Output(
        ticket_id=given.ticket_id,
        resolved=made.reason is None,
        response=response,
        category=reading.category,
        priority=reading.priority,
        sentiment=reading.sentiment,
        language=reading.language,
        confidence=reading.confidence,
        citations=[_citation(one.passage, one.score) for one in quoted],
        escalate=made.reason is not None,
        escalation_reason=made.reason,
        explanation=made.detail,
        category_scores=reading.category_scores,
        priority_scores=reading.priority_scores,
        priority_reasons=reading.priority_reasons,
        flags=msgspec.convert(reading.flags, Output.__annotations__["flags"]),
    )


def _citation(passage: Passage, score: float) -> Citation:
    return Citation(source=passage.source, locator=passage.locator, quote=passage.text.strip(), score=score)


async def _assisted(output: Output, reading: Reading, quoted: list[Evidence], models: agora.Models) -> Output:
    try:
        wording = await assist.word(models, reading.text, quoted, output.language)
    except agora.ModelUnavailable:
        return output
    if wording is None:
        return output
    return msgspec.structs.replace(
        output,
        mode="assisted",
        response=reply.worded(wording.answer, language=output.language, sentiment=output.sentiment),
        citations=[output.citations[number - 1] for number in wording.used],
    )
