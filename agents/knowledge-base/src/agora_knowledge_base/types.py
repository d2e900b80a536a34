"""What a deployment configures, what a question brings, and what an answer is."""

from typing import Annotated, Literal

import agora
import msgspec
from msgspec import Meta

from agora_knowledge_base.terms import Language

FilterValue = str | list[str]
Filters = Annotated[
    dict[str, FilterValue],
    Meta(
        max_length=20,
        description="Only passages whose field equals the value, or one of the values, are searched. Fields: "
        "`source` (the file's name; `*` and `?` match many and one character), `type` (markdown, text, html, "
        "pdf, docx, csv, json, jsonl), front matter of Markdown, columns of rows. Letter case is ignored.",
    ),
]


class Config(agora.Config):
    """The documents that a deployment answers from."""

    folder: Annotated[
        agora.FileRef | None, Meta(description="A zip of documents, or, when run alone, a folder.")
    ] = None
    sources: Annotated[
        list[agora.FileRef],
        Meta(max_length=1000, description="Single files, zips, or, when run alone, folders."),
    ] = msgspec.field(default_factory=list)
    language: Annotated[Language, Meta(description="The language of documents and questions.")] = "en"
    chunk_words: Annotated[int, Meta(ge=40, le=400, description="About how many words a passage holds.")] = (
        120
    )
    answer_sentences: Annotated[
        int,
        Meta(ge=1, le=10, description="The most sentences or list items quoted for a part of a question."),
    ] = 3
    min_confidence: Annotated[
        float, Meta(ge=0, le=1, description="Below this confidence the answer is that it does not know.")
    ] = 0.5
    filters: Annotated[
        dict[str, FilterValue], Meta(max_length=20, description="Filters that every question is held to.")
    ] = msgspec.field(default_factory=dict)
    unreadable: Annotated[
        Literal["report", "reject"],
        Meta(
            description="What a damaged or encrypted file inside a folder or a zip does: `report` lists it in "
            "`unread` of each answer, `reject` refuses the deployment. A file named by itself is always refused."
        ),
    ] = "report"


class Input(agora.Input):
    """A question."""

    query: Annotated[str, Meta(min_length=1, max_length=2_000, description="The question, in one language.")]
    sources: Annotated[
        list[agora.FileRef],
        Meta(max_length=50, description="Files to search beside the deployment's, or without a deployment."),
    ] = msgspec.field(default_factory=list)
    top_k: Annotated[int, Meta(ge=1, le=50, description="The most citations, and the most passages.")] = 5
    filters: Filters = msgspec.field(default_factory=dict)


class Citation(msgspec.Struct, frozen=True, kw_only=True):
    """Where a statement of the answer stands. `quote` is in the source exactly so; `score` is 0 to 1."""

    source: str
    locator: str
    quote: str
    score: float


class FoundPassage(msgspec.Struct, frozen=True, kw_only=True):
    """A passage that search found, whether or not the answer uses it. `score` is 0 to 1."""

    source: str
    locator: str
    text: str
    score: float


class PartAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the question with its own answer."""

    question: str
    answered: bool
    answer: str
    confidence: float


class Unread(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is not among what was searched, and why."""

    source: str
    code: str
    detail: str
    place: str | None = None


class Output(agora.Output):
    """The answer with its evidence, or that the documents hold none."""

    answer: str
    answered: bool
    confidence: Annotated[float, Meta(ge=0, le=1)]
    citations: list[Citation] = msgspec.field(default_factory=list)
    parts: list[PartAnswer] = msgspec.field(default_factory=list)
    passages: list[FoundPassage] = msgspec.field(default_factory=list)
    unread: list[Unread] = msgspec.field(default_factory=list)
