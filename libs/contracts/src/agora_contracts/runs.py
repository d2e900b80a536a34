"""Messages of runs: how one is started, steered and read, its steps, its journal and its events."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from agora_contracts.billing import Quantity, Quote, QuoteLine
from agora_contracts.money import Money

RunStatus = Literal["accepted", "running", "waiting", "succeeded", "failed", "timed_out", "cancelled"]
WaitingFor = Literal["approval", "budget", "input", "pause", "slot"]
Outcome = Literal["succeeded", "failed", "timed_out", "cancelled"]
Deliverable = Literal["full", "partial", "empty"]
ENDED: frozenset[str] = frozenset({"succeeded", "failed", "timed_out", "cancelled"})
"""Run states that never change again."""


class StartRun(msgspec.Struct, frozen=True, kw_only=True):
    """Accept a run, exactly once per `run_id`. Exactly one of `package` and `deployment` is set.

    `fingerprint` is the hash of route, target and canonical body: the same id with another fingerprint
    conflicts. `wait_seconds` holds the answer back until the run has ended and is charged, at most so long.
    `max_cost` is the run's own hard budget: it is refused when it is quoted at more, and never charged more.
    """

    run_id: str
    tenant: str
    account: str
    fingerprint: str
    requested_by: str
    input: dict[str, Any]
    package: str | None = None
    version: str | None = None
    deployment: str | None = None
    wait_seconds: Annotated[int, Meta(ge=0, le=60)] = 0
    max_cost: Money | None = None


class RunError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run did not succeed: a stable code, what happened, and where in the input if known."""

    code: str
    detail: str
    place: str | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run as its tenant sees it. `cost` is set once the charge is settled."""

    id: str
    tenant: str
    status: RunStatus
    package: str
    version: str
    basis: str
    accepted_at: datetime
    quoted: Money
    deployment: str | None = None
    waiting_for: WaitingFor | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    output: dict[str, Any] | None = None
    deliverable: Deliverable | None = None
    error: RunError | None = None
    usage: list[Quantity] = []
    steps: int = 0
    cost: Money | None = None
    requested_by: str = ""


class GetRun(msgspec.Struct, frozen=True, kw_only=True):
    """Read one run; `wait_seconds` holds the answer back until the run has ended and is charged, at most so long."""

    run: str
    tenant: str
    wait_seconds: Annotated[int, Meta(ge=0, le=60)] = 0


class ListRuns(msgspec.Struct, frozen=True, kw_only=True):
    """List a tenant's runs, newest first."""

    tenant: str
    status: RunStatus | None = None
    package: str | None = None
    deployment: str | None = None
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of runs."""

    items: list[Run]
    next_cursor: str | None = None


class CancelRun(msgspec.Struct, frozen=True, kw_only=True):
    """Ask a run, and the runs that it called, to stop; an ended run conflicts with `run_ended`."""

    run: str
    tenant: str
    requested_by: str = ""


class ListSteps(msgspec.Struct, frozen=True, kw_only=True):
    """List the steps a run has taken, in order."""

    run: str
    tenant: str
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 200


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One logical step: a node, its n-th visit, its branch. `attempt` is the one that counted."""

    id: str
    node: str
    title: str
    visit: int
    branch: str
    seq: int
    attempt: int
    started_at: datetime
    finished_at: datetime
    usage: list[Quantity]
    summary: str = ""


class StepList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a run's steps so far; fewer than asked for where they are large."""

    items: list[Step]
    next_cursor: str | None = None


class ListRunEvents(msgspec.Struct, frozen=True, kw_only=True):
    """Read a run's journal after a sequence number."""

    run: str
    tenant: str
    after: int = 0
    limit: Annotated[int, Meta(ge=1, le=500)] = 200


class RunEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a run's journal; `seq` counts from 1 without gaps and is the SSE id."""

    seq: int
    type: str
    time: datetime
    data: dict[str, Any]


class RunEventList(msgspec.Struct, frozen=True, kw_only=True):
    """Entries in order, fewer than asked for where they are large; `more` when others come after them.

    `complete` when the run has ended, its charge is journalled, and nothing comes after these entries.
    """

    items: list[RunEvent]
    complete: bool
    more: bool = False


class EstimateRun(msgspec.Struct, frozen=True, kw_only=True):
    """Price a run before it: validates the input, estimates quantities, asks billing for the quote.

    `account` is who would pay, for prices that add up over a month.
    """

    tenant: str
    input: dict[str, Any]
    package: str | None = None
    version: str | None = None
    deployment: str | None = None
    account: str | None = None


class RunEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a run would cost at most, and the quantities it was computed from."""

    estimates: list[Quantity]
    quote: Quote


class RunAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """A run is accepted and its credit set aside; also the backup of `ConfirmHold`.

    `api_key`, `run_limit` and `parent` are those of its hold: who asked, its own limit, and the run that calls it.
    """

    run: str
    account: str
    package: str
    version: str
    price_version: str
    basis: str
    hold_epoch: int
    quoted: Money
    deployment: str | None = None
    seq: int = 1
    api_key: str | None = None
    run_limit: Money | None = None
    parent: str | None = None


class RunStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A worker has taken the run up and its hold is firm."""

    run: str
    seq: int


class StepRecorded(msgspec.Struct, frozen=True, kw_only=True):
    """A logical step's result and usage are recorded, once."""

    run: str
    step: str
    seq: int
    node: str
    title: str
    visit: int
    branch: str
    usage: list[Quantity]
    summary: str = ""


class RunFinished(msgspec.Struct, frozen=True, kw_only=True):
    """A run has ended; written once, however it ended. `usage_count` is how many usage events it recorded."""

    run: str
    outcome: Outcome
    deliverable: Deliverable
    usage_count: int
    at: datetime
    package: str
    version: str
    delivered_units: int | None = None
    deployment: str | None = None
    error: RunError | None = None
    seq: int = 0


class RunCharged(msgspec.Struct, frozen=True, kw_only=True):
    """The run's journal has taken up what billing settled, adjusted or refunded; the customer's stream shows it.

    `amount` is what the run costs now: its charge by the newest `revision` of its usage, `refunded` taken off.
    """

    run: str
    seq: int
    revision: int
    amount: Money
    lines: list[QuoteLine]
    refunded: Money = Money(amount=0)


class RunProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Live only, over core NATS: what a step says it is doing. Never stored."""

    run: str
    step: str
    node: str
    message: str
    fraction: float | None = None
