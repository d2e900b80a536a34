"""What a run's workflow and its activities hand each other. Recorded in histories: fields are only added."""

from typing import Any

import msgspec
from agora.suspension import (
    AgentCall,
    ApprovalRequest,
    BudgetDecided,
    BudgetRequest,
    Decision,
    InputGiven,
    InputRequest,
    Request,
)
from agora_contracts.money import Money
from agora_contracts.runs import RunError


class RunTask(msgspec.Struct, frozen=True, kw_only=True):
    """What a run's workflow is started with.

    `path` are the packages that called it, outermost first. The steps that the run `origin` recorded before its entry
    `origin_seq` are taken over.
    """

    run: str
    tenant: str
    package: str
    version: str
    input: dict[str, Any]
    timeout_seconds: int
    config: dict[str, Any] = {}
    artifact: str | None = None
    deployment: str | None = None
    path: list[str] = []
    over_budget: str = "baseline"
    package_class: str = "standard"
    origin: str | None = None
    origin_seq: int = 0


class ChildEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A run that was called and has ended, or why there was none.

    `needed` is what it would have been quoted at, where it was refused for want of money; `missing` are the micro-units
    of that, where it is its caller that has too little left for calls.
    """

    run: str
    package: str = ""
    refused: RunError | None = None
    needed: Money | None = None
    missing: int | None = None


class ChildrenEnded(msgspec.Struct, frozen=True, kw_only=True, tag="children"):
    """The runs that answer a step's calls, in the order of the calls; what they delivered stands in their rows."""

    children: list[ChildEnded]


type StepAnswer = Decision | InputGiven | ChildrenEnded


class StepTask(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a logical step. `first` when no step of the run has come back yet: it confirms the hold.

    `deadline` is when the run's time is up, in seconds since 1970. `state` is what the node gets; where the step
    opens the run, it comes of the run's input. `answers` are those to what the step asked for before. With
    `budget_refused` it is not asked again whether its models may cost more.
    """

    task: RunTask
    step: str
    node: str
    visit: int
    branch: str
    deadline: float
    state: msgspec.Raw = msgspec.Raw(b"null")
    first: bool = False
    answers: list[StepAnswer] = []
    budget_refused: bool = False


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a step asks for, as the how-many-th of its requests, from 0."""

    request: Request
    number: int


class StepReturn(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an attempt: the step's update, or what it asks for first. `paused`: the run is to rest after it.

    `cost_micros` is what the run's models have cost by then, where it is known.
    """

    update: msgspec.Raw = msgspec.Raw(b"null")
    asked: Asked | None = None
    paused: bool = False
    cost_micros: int = 0


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run's first step: `outcome`, how the run ended with it, or the step's update if it was `taken`,
    or what it asks for.

    Neither, when the graph failed before the step: then the workflow meets the same failure. `cost_micros` is what the
    run's models have cost by then.
    """

    outcome: str | None = None
    taken: bool = False
    update: msgspec.Raw = msgspec.Raw(b"null")
    asked: Asked | None = None
    paused: bool = False
    cost_micros: int = 0


class RunEnding(msgspec.Struct, frozen=True, kw_only=True):
    """The ending as the workflow knows it; the activity adds the time."""

    run: str
    outcome: str
    deliverable: str = "empty"
    delivered_units: int | None = None
    output: dict[str, Any] | None = None
    error: RunError | None = None


class AskedPeople(msgspec.Struct, frozen=True, kw_only=True):
    """Something that people are to decide."""

    run: str
    step: str
    number: int
    request: ApprovalRequest | InputRequest | BudgetRequest


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How something that people decide stands: until when they may (seconds since 1970), and the answer if there is one.

    `cost_micros` is what the run has cost so far.
    """

    approval: str
    deadline: float
    answer: Decision | InputGiven | BudgetDecided | None = None
    cost_micros: int = 0


class ChildCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of an agent by a step of a run; `run` is the id of the run to be."""

    run: str
    parent: RunTask
    step: str
    call: AgentCall
    index: int


class ChildAdmitted(msgspec.Struct, frozen=True, kw_only=True):
    """The accepted child's task, or why it was refused. `ended`: it is over already. `paused`: not before its caller,
    which is paused, goes on.

    `needed` and `missing` are those of `ChildEnded`.
    """

    run: str
    task: RunTask | None = None
    refused: RunError | None = None
    package: str = ""
    ended: bool = False
    needed: Money | None = None
    missing: int | None = None
    paused: bool = False
