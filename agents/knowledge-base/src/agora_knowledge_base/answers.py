"""The answer: chosen sentences with their citations, or that the sources hold none."""

from collections.abc import Sequence

from agora_knowledge_base.evidence import Statement
from agora_knowledge_base.passages import Unit, joined, locator
from agora_knowledge_base.state import PartEvidence, PartFound
from agora_knowledge_base.types import Citation, FoundPassage, Input, Output, PartAnswer, Unread

UNKNOWN = "I don't know: the sources hold no answer to this."
UNKNOWN_PART = "I don't know about this part: {question}"
UNREAD_MAX = 100


def compose(
    asked: Input,
    found: Sequence[PartFound],
    evidence: Sequence[PartEvidence],
    unread: list[Unread],
    min_confidence: float,
) -> Output:
    """The output without a model: sentences of the sources, as they stand there."""
    known = [part for part in evidence if part.statements and part.confidence >= min_confidence]
    citations = citations_of(known, asked.top_k)
    passages = passages_of(found, asked.top_k)
    if not known:
        return Output(
            deliverable="empty",
            answer=UNKNOWN,
            answered=False,
            confidence=max((part.confidence for part in evidence), default=0.0),
            parts=parts_of(evidence, min_confidence),
            passages=passages,
            unread=unread,
        )
    whole = len(known) == len(evidence)
    return Output(
        deliverable="full" if whole else "partial",
        answer=_text(evidence, min_confidence),
        answered=True,
        confidence=min(part.confidence for part in known),
        citations=citations,
        parts=parts_of(evidence, min_confidence),
        passages=passages,
        unread=unread,
    )


def parts_of(evidence: Sequence[PartEvidence], min_confidence: float) -> list[PartAnswer]:
    """Each part with its own answer; none for a question of one part, which is the answer itself."""
    if len(evidence) < 2:
        return []
    return [
        PartAnswer(
            question=part.question,
            answered=bool(part.statements) and part.confidence >= min_confidence,
            answer=_of_part(part) if part.confidence >= min_confidence and part.statements else UNKNOWN,
            confidence=part.confidence,
        )
        for part in evidence
    ]


def citations_of(known: Sequence[PartEvidence], most: int) -> list[Citation]:
    """A citation for each statement, in the order of the parts, first one of each part, then the others."""
    depth = max((len(part.statements) for part in known), default=0)
    ordered = [
        part.statements[level] for level in range(depth) for part in known if level < len(part.statements)
    ]
    citations: dict[tuple[str, str], Citation] = {}
    for statement in ordered:
        for citation in _cited(statement):
            citations.setdefault((citation.source, citation.quote), citation)
    return list(citations.values())[:most]


def passages_of(found: Sequence[PartFound], most: int) -> list[FoundPassage]:
    """What search found, best first, each passage once."""
    best: dict[str, FoundPassage] = {}
    for candidate in sorted((one for part in found for one in part.candidates), key=lambda one: -one.score):
        passage = candidate.passage
        best.setdefault(
            passage.locator,
            FoundPassage(
                source=passage.source,
                locator=passage.locator,
                text=passage.body,
                score=round(min(max(candidate.score, 0.0), 1.0), 4),
            ),
        )
    return list(best.values())[:most]


def _cited(statement: Statement) -> list[Citation]:
    """One citation for each stretch of the source."""
    return [
        Citation(
            source=statement.source,
            locator=locator(statement.source, statement.headings, place),
            quote=quote,
            score=statement.score,
        )
        for quote, place in joined(statement.units)
    ]


def _text(evidence: Sequence[PartEvidence], min_confidence: float) -> str:
    written: list[str] = []
    for part in evidence:
        known = part.statements and part.confidence >= min_confidence
        text = _of_part(part) if known else UNKNOWN_PART.format(question=part.question)
        if text not in written:
            written.append(text)
    return "\n\n".join(written)


def _of_part(part: PartEvidence) -> str:
    """Statements in the order of their weight; items of a list and code stand on lines of their own."""
    text = ""
    for statement in part.statements:
        for unit in statement.units:
            line = _line(unit, len(statement.units) > 1)
            apart = "\n" if unit.kind != "text" and len(statement.units) > 1 else " "
            text += (apart if text else "") + line
    return text


def _line(unit: Unit, in_list: bool) -> str:
    return f"- {unit.text}" if in_list and unit.kind == "item" else unit.text
