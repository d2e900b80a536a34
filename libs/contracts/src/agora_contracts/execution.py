"""Messages of execution: deployments, runs, steps, files, usage."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from agora_contracts.billing import Quantity, Quote, QuoteLine
from agora_contracts.money import Money

RunStatus = Literal["accepted", "running", "waiting", "succeeded", "failed", "timed_out", "cancelled"]
WaitingFor = Literal["approval", "budget", "input", "pause", "slot"]
Outcome = Literal["succeeded", "failed", "timed_out", "cancelled"]
Deliverable = Literal["full", "partial", "empty"]
DeploymentStatus = Literal["pending", "active", "failed", "terminated"]

QUANTITY_MAX = Decimal(1_000_000_000_000_000)
QUANTITY_STEP = Decimal("0.000000000001")
"""The largest quantity of a usage event, and the finest difference between two."""

_ZERO = Decimal(0)

ENDED: frozenset[str] = frozenset({"succeeded", "failed", "timed_out", "cancelled"})
"""Run states that never change again."""


# --- runs: commands and what they answer ---------------------------------------------------------


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
    """Ask a run to stop; an ended run conflicts with `run_ended`."""

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


class ListRunUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Metering asks which usage event ids a run has recorded."""

    run: str
    tenant: str


class RunUsageIds(msgspec.Struct, frozen=True, kw_only=True):
    """Every usage event id of a run."""

    run: str
    ids: list[str]


class ReplayRunUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Operator: publish a run's usage events and its end again from the outbox."""

    run: str


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages were put back on their way."""

    count: int


# --- deployments ---------------------------------------------------------------------------------


class StartDeployment(msgspec.Struct, frozen=True, kw_only=True):
    """Hire a package: pins its version, price and basis, and prepares its config. Once per id."""

    deployment_id: str
    tenant: str
    account: str
    fingerprint: str
    package: str
    basis: str
    name: Annotated[str, Meta(max_length=120)] = ""
    version: str | None = None
    config: dict[str, Any] = {}
    requested_by: str = ""


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """A rental. `pending` while its config is prepared; `failed` says why in `error`."""

    id: str
    tenant: str
    name: str
    status: DeploymentStatus
    package: str
    version: str
    basis: str
    price_version: str
    config: dict[str, Any]
    config_revision: int
    started_at: datetime
    ended_at: datetime | None = None
    error: RunError | None = None


class GetDeployment(msgspec.Struct, frozen=True, kw_only=True):
    """Read one deployment."""

    deployment: str
    tenant: str


class ListDeployments(msgspec.Struct, frozen=True, kw_only=True):
    """List a tenant's deployments, newest first."""

    tenant: str
    status: DeploymentStatus | None = None
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class DeploymentPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of deployments."""

    items: list[Deployment]
    next_cursor: str | None = None


class ChangeDeploymentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Replace a deployment's config. It takes effect once prepared; until then runs use the old one."""

    deployment: str
    tenant: str
    config: dict[str, Any]


class EndDeployment(msgspec.Struct, frozen=True, kw_only=True):
    """End a rental; running runs finish, new ones are refused. Ending it again changes nothing."""

    deployment: str
    tenant: str


# --- files ---------------------------------------------------------------------------------------


class RegisterFile(msgspec.Struct, frozen=True, kw_only=True):
    """Record a file whose bytes lie in the object store under `<tenant>/<file>`; refused over quota."""

    file: str
    tenant: str
    name: Annotated[str, Meta(min_length=1, max_length=255)]
    size: Annotated[int, Meta(ge=0)]
    sha256: str
    content_type: Annotated[str, Meta(max_length=200)] = "application/octet-stream"


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a tenant. `run` is set on what a run produced."""

    id: str
    tenant: str
    name: str
    size: int
    sha256: str
    content_type: str
    created_at: datetime
    expires_at: datetime | None = None
    run: str | None = None


class GetFile(msgspec.Struct, frozen=True, kw_only=True):
    """Read a file's record."""

    file: str
    tenant: str


class ListFiles(msgspec.Struct, frozen=True, kw_only=True):
    """List a tenant's files, newest first."""

    tenant: str
    run: str | None = None
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class FilePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of files, and the tenant's quota in bytes."""

    items: list[File]
    used_bytes: int
    quota_bytes: int
    next_cursor: str | None = None


class DeleteFile(msgspec.Struct, frozen=True, kw_only=True):
    """Delete a file; deleting it again changes nothing."""

    file: str
    tenant: str


# --- package health ------------------------------------------------------------------------------


class CheckPackageHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Exercise a package's tools and schemas; the answer is cached for half a minute."""

    package: str
    version: str | None = None


class PackageHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a package can work now. `success_rate` is over its last 100 ended runs, all tenants."""

    package: str
    version: str
    status: Literal["healthy", "degraded", "unhealthy"]
    schema_ok: bool
    tools: dict[str, bool]
    model_reachable: bool
    last_success_at: datetime | None = None
    success_rate: Decimal | None = None


# --- knowledge (asked of the vectors process) ----------------------------------------------------


class PassageIn(msgspec.Struct, frozen=True, kw_only=True):
    """A passage to index: its id within the collection, its text, and what comes back with a hit."""

    id: str
    text: str
    payload: dict[str, str] = {}


class IndexPassages(msgspec.Struct, frozen=True, kw_only=True):
    """Embed and store passages in a tenant's collection; the same id again replaces it."""

    tenant: str
    collection: str
    passages: Annotated[list[PassageIn], Meta(max_length=256)]


class Indexed(msgspec.Struct, frozen=True, kw_only=True):
    """How many passages the collection holds now."""

    count: int


class SearchPassages(msgspec.Struct, frozen=True, kw_only=True):
    """Find the passages nearest in meaning; `filters` match payload fields exactly."""

    tenant: str
    collection: str
    query: Annotated[str, Meta(max_length=8000)]
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    filters: dict[str, str] = {}


class PassageHit(msgspec.Struct, frozen=True, kw_only=True):
    """A passage found; `score` is the cosine similarity."""

    id: str
    score: float
    payload: dict[str, str]


class PassageHits(msgspec.Struct, frozen=True, kw_only=True):
    """Hits, best first."""

    items: list[PassageHit]


class EmbedTexts(msgspec.Struct, frozen=True, kw_only=True):
    """Embed texts with the platform's model."""

    tenant: str
    texts: Annotated[list[str], Meta(max_length=256)]


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    """One unit vector per text, in order."""

    vectors: list[list[float]]


class DropCollection(msgspec.Struct, frozen=True, kw_only=True):
    """Forget a collection; forgetting it again changes nothing."""

    tenant: str
    collection: str


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """Whether there was something to forget."""

    existed: bool


# --- events --------------------------------------------------------------------------------------


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


class UsageRecorded(msgspec.Struct, frozen=True, kw_only=True):
    """A quantity was used. Its id, source and time are the envelope's.

    Raises:
        ValueError: the quantity is negative, not finite, above `QUANTITY_MAX`, or finer than it may be.
    """

    meter: Annotated[str, Meta(min_length=1, max_length=64)]
    quantity: Decimal
    run: str | None = None
    deployment: str | None = None
    package: str | None = None
    step: str | None = None
    dimensions: dict[str, str] = {}

    def __post_init__(self) -> None:
        # msgspec does not bound Decimal, and this runs for every event: comparisons, no conversions.
        quantity = self.quantity
        if not quantity.is_finite() or not _ZERO <= quantity <= QUANTITY_MAX or quantity % QUANTITY_STEP:
            raise ValueError(
                f"quantity must be from 0 to {QUANTITY_MAX} in steps of {QUANTITY_STEP:f}, not {quantity}"
            )


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


class DeploymentStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A rental has begun."""

    deployment: str
    account: str
    package: str
    version: str
    price_version: str
    basis: str
    at: datetime


class DeploymentEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A rental has ended."""

    deployment: str
    account: str
    at: datetime


class RunProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Live only, over core NATS: what a step says it is doing. Never stored."""

    run: str
    step: str
    node: str
    message: str
    fraction: float | None = None
