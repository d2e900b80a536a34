"""What a customer configures and sends, and what a run delivers."""

from typing import Annotated, Literal

import agora
from agora import FileRef
from msgspec import Meta, Struct, field

from agora_ticket_resolver.decision import Reason

Share = Annotated[float, Meta(ge=0, le=1)]
LanguageCode = Annotated[str, Meta(pattern="^[a-zA-Z]{2}$", description="ISO 639-1, such as en.")]
Name = Annotated[str, Meta(min_length=1, max_length=200)]


class Example(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A past ticket and what was decided about it; `text`, or `subject` and `body`."""

    text: str = ""
    subject: str = ""
    body: str = ""
    category: str = ""
    priority: str = ""


class Category(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A category, with what is said of it: the more, the better it is told without examples."""

    name: Name
    description: Annotated[str, Meta(max_length=2_000)] = ""
    keywords: Annotated[list[str], Meta(max_length=200)] = field(default_factory=list)


class InlineArticle(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A short article of the knowledge base, given with the configuration itself."""

    id: Name
    body: Annotated[str, Meta(min_length=1, max_length=200_000)]
    title: Annotated[str, Meta(max_length=300)] = ""


class Escalation(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """When a ticket goes to a person whatever the knowledge base says."""

    categories: Annotated[list[str], Meta(description="Categories that always go to a person.")] = field(
        default_factory=list
    )
    customers: Annotated[list[str], Meta(description="customer_ids that always go to a person.")] = field(
        default_factory=list
    )
    phrases: Annotated[list[str], Meta(description="Words that always send a ticket to a person.")] = field(
        default_factory=list
    )
    min_confidence: Annotated[Share, Meta(description="Least confidence in the category.")] = 0.3
    min_evidence: Annotated[Share, Meta(description="Least score of the passage that answers.")] = 0.5
    min_sentiment: Annotated[
        float, Meta(ge=-1, le=1, description="At high priority, a mood below this goes to a person.")
    ] = -0.4


class Config(agora.Config):
    """A deployment: what its tickets are about, and what answers them. Everything is optional."""

    examples: Annotated[
        list[Example] | FileRef,
        Meta(description="Labelled tickets: inline, or a file of JSONL, JSON or CSV."),
    ] = field(default_factory=list)
    taxonomy: Annotated[
        list[str | Category],
        Meta(max_length=500, description="The categories, if there are no examples, or beside them."),
    ] = field(default_factory=list)
    knowledge: Annotated[
        list[FileRef | InlineArticle] | FileRef,
        Meta(description="Articles: files or a folder (.md .txt .html .json .jsonl), or inline."),
    ] = field(default_factory=list)
    escalation: Escalation = Escalation()
    languages: Annotated[
        list[LanguageCode],
        Meta(max_length=60, description="The languages that tickets come in, the usual one first."),
    ] = field(default_factory=list)


class Input(agora.Input):
    """One ticket."""

    subject: Annotated[str, Meta(max_length=2_000)] = ""
    body: Annotated[str, Meta(max_length=400_000)] = ""
    ticket_id: Annotated[str, Meta(max_length=200)] | None = None
    customer_id: Annotated[str, Meta(max_length=200)] | None = None
    language: LanguageCode | None = None


class Citation(Struct, kw_only=True, frozen=True):
    """Where a quotation stands. `quote` is in the source to the letter; `score` says how well it answers."""

    source: str
    locator: str
    quote: str
    score: Share


class Output(agora.Output):
    """What is decided about a ticket, and the reply to send."""

    ticket_id: str | None = None
    resolved: bool
    response: str
    category: str
    priority: Literal["low", "medium", "high", "urgent"]
    sentiment: Annotated[float, Meta(ge=-1, le=1)]
    language: str
    confidence: Annotated[Share, Meta(description="Probability that the category is right.")]
    citations: list[Citation]
    escalate: bool
    escalation_reason: Reason | None
    explanation: Annotated[str, Meta(description="Why it was resolved or handed over, for the operator.")]
    category_scores: dict[str, float]
    priority_scores: dict[str, float]
    priority_reasons: list[str]
    flags: Annotated[
        list[Literal["instructions_in_ticket", "unlike_known_tickets", "personal_data"]],
        Meta(description="What an operator should know of the ticket's text."),
    ]
