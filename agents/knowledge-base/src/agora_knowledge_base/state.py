"""What travels between the steps of a run."""

from dataclasses import dataclass, field

import msgspec

from agora_knowledge_base.evidence import Statement
from agora_knowledge_base.questions import Part, Wanted
from agora_knowledge_base.retrieval import Candidate
from agora_knowledge_base.types import Input, Output, Unread


class PartFound(msgspec.Struct, frozen=True, kw_only=True):
    """What search found for one part of the question."""

    part: Part
    wanted: Wanted
    candidates: list[Candidate]


class PartEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """The statements for one part, and how sure it is that they answer it."""

    question: str
    statements: list[Statement]
    confidence: float


@dataclass(kw_only=True)
class State:
    """A question on its way to an answer."""

    input: Input
    output: Output | None = None
    found: list[PartFound] = field(default_factory=list)
    evidence: list[PartEvidence] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
