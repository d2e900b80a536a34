"""What a worker is given and what it delivers."""

from typing import Annotated, Any, Literal

import agora
import msgspec
from agora.blackboard import Finding
from msgspec import Meta

type Role = Literal["researcher", "analyst", "engineer", "reviewer", "executor", "validator"]
type Lens = Literal["evidence", "rule", "reproduction", "completeness", "consistency"]

ITEMS_MAX = 200
NAME_MAX = 300


class Item(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing to work on: a file, with the name that people know it by, or an answer to a question."""

    id: Annotated[str, Meta(min_length=1, max_length=100)]
    file: agora.FileRef | None = None
    name: Annotated[str, Meta(max_length=NAME_MAX)] = ""


class Input(agora.Input):
    """A role and what to do it on."""

    role: Annotated[Role, Meta(description="What this worker does with its items.")]
    items: Annotated[list[Item], Meta(max_length=ITEMS_MAX, description="Files to work on, or answers.")] = (
        msgspec.field(default_factory=list)
    )
    lens: Annotated[
        Lens, Meta(description="What a reviewer looks at: evidence, rule or reproduction; of answers others.")
    ] = "evidence"
    runs: (
        Annotated[
            list[Annotated[str, Meta(max_length=100)]],
            Meta(max_length=1_000, description="Whose findings to read from the blackboard; all without it."),
        ]
        | None
    ) = None
    agree: Annotated[int, Meta(ge=1, le=9, description="How many votes confirm a finding.")] = 1
    deliver: Annotated[
        Literal["output", "blackboard"],
        Meta(description="Where findings go: into the output, or to the blackboard of the run that called."),
    ] = "output"
    parameters: Annotated[dict[str, Any], Meta(description="More that a role may take.")] = msgspec.field(
        default_factory=dict
    )


class Unread(msgspec.Struct, frozen=True, kw_only=True):
    """An item that could not be worked on, and why."""

    item: str
    code: str
    detail: str


class Output(agora.Output):
    """What the worker found: how much by severity, and the findings themselves where they are wanted here."""

    role: Role
    summary: str
    findings: list[Finding] = msgspec.field(default_factory=list)
    found: int = 0
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    items_done: int = 0
    unread: list[Unread] = msgspec.field(default_factory=list)
