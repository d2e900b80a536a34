"""What a swarm is given and what it delivers."""

from typing import Annotated, Any, Literal

import agora
import msgspec
from agora.blackboard import Evidence, Severity
from msgspec import Meta

type Role = Literal["coordinator", "researcher", "analyst", "engineer", "reviewer", "executor", "validator"]
type Phase = Literal["research", "engineering", "review", "synthesis"]

AGENTS_MIN, AGENTS_MAX = 3, 200
CLAIMS_MAX = 300
"""The most claims in the output; all of them stand in the report's files, under their ids."""

REASON_MAX = 200
"""The characters of a reason in the plan: one that stays within a run's state, for thousands of items too."""

Target = Annotated[str, Meta(min_length=1, max_length=100)]


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file, with its path in the folder it came from: what people know it by."""

    file: agora.FileRef
    path: Annotated[str, Meta(max_length=300)] = ""


class Audit(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="audit", tag_field="kind"
):
    """Audit configuration files."""

    files: Annotated[list[Source], Meta(min_length=1, max_length=2_000)]


class Questions(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="questions", tag_field="kind"
):
    """Answer questions, each with one run of a package or of a deployment that takes and answers questions.

    The names say where in that agent's input the question goes, and where in its output the answer, whether there is
    one, and the passages are.
    """

    questions: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=2_000)]], Meta(min_length=1, max_length=1_000)
    ]
    package: Target | None = None
    deployment: Target | None = None
    input: dict[str, Any] = {}
    question_field: Annotated[str, Meta(max_length=60)] = "query"
    answer_field: Annotated[str, Meta(max_length=60)] = "answer"
    answered_field: Annotated[str, Meta(max_length=60)] = "answered"
    citations_field: Annotated[str, Meta(max_length=60)] = "citations"


class Map(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="map", tag_field="kind"):
    """Run a package or a deployment on every one of a list of inputs.

    `weights` say how long each takes beside the others, where that is known: the longest are begun first.
    """

    inputs: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=1_000)]
    package: Target | None = None
    deployment: Target | None = None
    weights: Annotated[list[Annotated[float, Meta(ge=0)]], Meta(max_length=1_000)] = []


class Input(agora.Input):
    """A goal, and the bounds within which it is pursued."""

    goal: Audit | Questions | Map
    agents_max: Annotated[
        int, Meta(ge=AGENTS_MIN, le=AGENTS_MAX, description="The most agents, those of revisions included.")
    ] = AGENTS_MAX
    concurrency: Annotated[int, Meta(ge=1, le=100, description="How many agents work at once.")] = 10
    budget: (
        Annotated[
            str,
            Meta(
                pattern=r"^[0-9]{1,5}(\.[0-9]{1,6})?$",
                description="The most USD that all agents together may cost; each gets its share.",
            ),
        ]
        | None
    ) = None
    agree: Annotated[int, Meta(ge=1, le=3, description="How many of three reviewers confirm a finding.")] = 2
    remedies: Annotated[bool, Meta(description="Whether remedies are tried on copies and delivered.")] = True


class GivenUp(msgspec.Struct, frozen=True, kw_only=True):
    """An item that was not worked on, or not to its end, and why."""

    item: str
    name: str = ""
    reason: str
    code: str = ""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A statement that stands, with where it is from: the run that found it, who confirmed it, and the evidence."""

    id: str
    statement: str
    severity: Severity
    rule: str
    about: str
    remedy: str
    found_by: str
    confirmed_by: list[str]
    evidence: list[Evidence]
    also_in: list[str] = []
    remedy_works: bool = False


class Disputed(msgspec.Struct, frozen=True, kw_only=True):
    """A finding on which the reviewers disagree, or that they reject, with their reasons."""

    id: str
    statement: str
    about: str
    verdict: str
    reasons: list[str]


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence of the synthesis, and the claims that it rests on: the worst of them where there are many.

    A claim that is not among the output's stands under its id in the report's files.
    """

    text: str
    claims: list[str]
    claims_in_all: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, the run that gave it, and what reviewers made of it."""

    question: str
    answered: bool
    answer: str
    run: str
    verdict: str
    evidence: list[Evidence]
    reasons: list[str] = []


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one input. `output` is left out where it is large: it stands in its run."""

    index: int
    run: str
    outcome: str
    deliverable: str
    output: dict[str, Any] | None = None
    code: str = ""
    detail: str = ""


class PhaseReport(msgspec.Struct, frozen=True, kw_only=True):
    """How many agents worked in a phase, in which role, and how many of them failed."""

    phase: Phase
    role: Role
    agents: int
    failed: int


class Output(agora.Output):
    """What the swarm found, with the provenance of every claim."""

    kind: Literal["audit", "questions", "map"]
    summary: str
    agents: int
    revisions: int
    statements: list[Statement] = msgspec.field(default_factory=list)
    claims: list[Claim] = msgspec.field(default_factory=list)
    claims_in_all: int = 0
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    disputed: list[Disputed] = msgspec.field(default_factory=list)
    disputed_in_all: int = 0
    answers: list[Answer] = msgspec.field(default_factory=list)
    results: list[Result] = msgspec.field(default_factory=list)
    given_up: list[GivenUp] = msgspec.field(default_factory=list)
    given_up_in_all: int = 0
    phases: list[PhaseReport] = msgspec.field(default_factory=list)
    report: agora.FileRef | None = None
    sarif: agora.FileRef | None = None
    changes: agora.FileRef | None = None
