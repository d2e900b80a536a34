"""A run's events as its tenant sees them on the stream."""

from typing import Any, Literal

import msgspec
from agora_contracts import execution
from agora_contracts.billing import Quantity, QuoteLine
from agora_contracts.execution import Deliverable, Outcome, RunError
from agora_contracts.money import PublicMoney, to_public

EventType = Literal["run.accepted", "run.started", "step.recorded", "run.finished", "run.charged"]
LAST: EventType = "run.charged"
"""The event after which a stream ends."""


class AcceptedShape(msgspec.Struct, frozen=True, kw_only=True):
    """`run.accepted`: the run exists and its quote is set aside."""

    run: str
    package: str
    version: str
    basis: str
    quoted: PublicMoney
    deployment: str | None


class StartedShape(msgspec.Struct, frozen=True, kw_only=True):
    """`run.started`: a worker has taken it up."""

    run: str


class StepShape(msgspec.Struct, frozen=True, kw_only=True):
    """`step.recorded`: a step's result and usage are recorded."""

    run: str
    step: str
    node: str
    title: str
    visit: int
    branch: str
    usage: list[Quantity]
    summary: str


class FinishedShape(msgspec.Struct, frozen=True, kw_only=True):
    """`run.finished`: it has ended; the charge follows."""

    run: str
    status: Outcome
    deliverable: Deliverable
    error: RunError | None


class ChargedShape(msgspec.Struct, frozen=True, kw_only=True):
    """`run.charged`: what it costs now, `refunded` taken off.

    Revisions after the first are corrections; a refund tells of no lines.
    """

    run: str
    revision: int
    amount: PublicMoney
    lines: list[QuoteLine]
    refunded: PublicMoney


def _accepted(fact: execution.RunAccepted) -> AcceptedShape:
    return AcceptedShape(
        run=fact.run,
        package=fact.package,
        version=fact.version,
        basis=fact.basis,
        quoted=to_public(fact.quoted),
        deployment=fact.deployment,
    )


def _step(fact: execution.StepRecorded) -> StepShape:
    fields = msgspec.structs.asdict(fact)
    del fields["seq"]
    return StepShape(**fields)


def _finished(fact: execution.RunFinished) -> FinishedShape:
    return FinishedShape(run=fact.run, status=fact.outcome, deliverable=fact.deliverable, error=fact.error)


def _charged(fact: execution.RunCharged) -> ChargedShape:
    return ChargedShape(
        run=fact.run,
        revision=fact.revision,
        amount=to_public(fact.amount),
        lines=fact.lines,
        refunded=to_public(fact.refunded),
    )


_SHAPES: dict[str, tuple[type[msgspec.Struct], Any]] = {
    "run.accepted": (execution.RunAccepted, _accepted),
    "run.started": (execution.RunStarted, lambda fact: StartedShape(run=fact.run)),
    "step.recorded": (execution.StepRecorded, _step),
    "run.finished": (execution.RunFinished, _finished),
    "run.charged": (execution.RunCharged, _charged),
}
TYPES = frozenset(_SHAPES)
"""Every type of a run's durable events."""


def public_event(kind: str, data: dict[str, Any]) -> bytes:
    """The public form of an event of a known type, in JSON.

    Raises:
        KeyError: the type is none of `TYPES`.
    """
    fact_type, shape = _SHAPES[kind]
    return msgspec.json.encode(shape(msgspec.convert(data, fact_type, strict=False)))
