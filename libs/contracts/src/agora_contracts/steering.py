"""Steering runs: pause and resume, what they wait for, the runs that they called, and runs that begin from others."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from agora_contracts.money import Money
from agora_contracts.runs import Outcome, RunStatus, WaitingFor


class PauseRun(msgspec.Struct, frozen=True, kw_only=True):
    """Let a run rest after the step at hand; its time does not go on. Pausing it again changes nothing."""

    run: str
    tenant: str
    requested_by: str = ""


class ResumeRun(msgspec.Struct, frozen=True, kw_only=True):
    """Let a paused run go on. Resuming one that is not paused changes nothing."""

    run: str
    tenant: str
    requested_by: str = ""


class RerunRun(msgspec.Struct, frozen=True, kw_only=True):
    """Run again from where another run of the tenant got to, as a run of its own, exactly once per `run_id`.

    The other run's recorded steps are taken over: all of them, or those before the step `before`. It goes on with the
    same input and configuration, and is quoted and charged as a run like any other; what models had cost in the steps
    that are taken over is not charged again.
    """

    run_id: str
    origin: str
    tenant: str
    account: str
    fingerprint: str
    requested_by: str
    before: str | None = None
    wait_seconds: Annotated[int, Meta(ge=0, le=60)] = 0
    max_cost: Money | None = None


class ListChildren(msgspec.Struct, frozen=True, kw_only=True):
    """List the runs that a run called, oldest first."""

    run: str
    tenant: str
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class ChildRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that another one called. `title` is what its caller named it; `waiting_for` what it waits for, if it does."""

    id: str
    parent: str
    step: str
    title: str
    package: str
    status: RunStatus
    accepted_at: datetime
    quoted: Money
    steps: int
    waiting_for: WaitingFor | None = None
    outcome: Outcome | None = None
    finished_at: datetime | None = None
    cost: Money | None = None


class ChildPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of children."""

    items: list[ChildRun]
    next_cursor: str | None = None


class RunWaiting(msgspec.Struct, frozen=True, kw_only=True):
    """A run does nothing until something happens: a decision, room in a budget, an input, its resumption."""

    run: str
    seq: int
    waiting_for: WaitingFor


class RunResumed(msgspec.Struct, frozen=True, kw_only=True):
    """A run goes on after it waited."""

    run: str
    seq: int
