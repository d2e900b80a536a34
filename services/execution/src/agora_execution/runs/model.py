"""The rules of a run: its states, what a step adds, how it ends. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from agora_contracts.billing import CALLERS_ROOM, Quantity
from agora_contracts.catalog import MODEL_COST_METER
from agora_contracts.money import MICRO, Money
from agora_contracts.problems import AgoraError
from agora_contracts.runs import ENDED, Deliverable, Outcome, Run, RunError

from agora_execution.memory.model import StepWrite

JOURNAL_TYPES = (
    "run.accepted",
    "run.started",
    "step.recorded",
    "approval.requested",
    "approval.decided",
    "run.waiting",
    "run.resumed",
    "run.finished",
    "run.charged",
)
"""Types of the entries in a run's journal, as the customer's stream shows them."""


STARTED_SEQ = 2
"""The place of `run.started` in a run's journal: acceptance is the first entry, and nothing comes between."""


class UsageItem(msgspec.Struct, frozen=True, kw_only=True):
    """One usage event of a step. `id` is made of step, place in the step and meter, so a retry repeats it."""

    id: str
    meter: str
    quantity: Decimal
    dimensions: dict[str, str] = {}


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that has been checked, priced and covered, ready to be accepted."""

    id: str
    tenant: str
    account: str
    fingerprint: str
    requested_by: str
    input: dict[str, Any]
    package: str
    version: str
    price_version: str
    basis: str
    quoted: int
    currency: str
    hold_epoch: int
    timeout_seconds: int
    model_cost: int
    accepted_at: datetime
    deployment: str | None = None
    config: dict[str, Any] = {}
    artifact: str | None = None
    max_cost: int | None = None
    parent_id: str | None = None
    parent_step: str | None = None
    title: str = ""
    call_path: list[str] = []
    origin_id: str | None = None
    origin_seq: int | None = None


class StepResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt at a logical step brought."""

    run: str
    step: str
    node: str
    title: str
    visit: int
    branch: str
    attempt: int
    started_at: datetime
    finished_at: datetime
    update: bytes
    usage: list[UsageItem]
    summary: str = ""
    memory: list[StepWrite] = []


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What came of recording a step.

    `state` is `recorded` for the attempt that counts, `known` for one that came second (then `update` is
    the first one's), and `ended` when the run was over: what it used is platform cost. `cancel_requested` says
    that no further step is wanted, `pause_requested` none for now. `outcome` is how the run ended, when it has.
    `model_cost_micros` is what the models of the run's recorded steps have cost.
    """

    state: str
    update: bytes = b""
    cancel_requested: bool = False
    pause_requested: bool = False
    outcome: str | None = None
    model_cost_micros: int = 0


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ends, whoever found out."""

    run: str
    outcome: Outcome
    at: datetime
    deliverable: Deliverable = "empty"
    delivered_units: int | None = None
    output: dict[str, Any] | None = None
    error: RunError | None = None


@dataclass(slots=True, kw_only=True)
class LockedRun:
    """What recording needs of a run's row while it is locked."""

    id: str
    tenant: str
    account: str
    status: str
    package: str
    version: str
    deployment: str | None
    next_seq: int
    steps: int
    usage_count: int
    usage: dict[str, Decimal]
    cancel_requested: bool = False
    pause_requested: bool = False
    charged: int | None = None
    charge_revision: int = 0
    refunded: int = 0
    refund_number: int = 0

    @property
    def cost(self) -> int | None:
        """What the run costs: its charge less its refunds; None until it is charged."""
        # A refund may arrive before the correction that made room for it.
        return None if self.charged is None else max(self.charged - self.refunded, 0)

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return self.status in ENDED

    @property
    def model_cost_micros(self) -> int:
        """What the models of the recorded steps have cost, in micro-units."""
        return int(self.usage.get(MODEL_COST_METER, Decimal(0)) * MICRO)

    def take_seq(self) -> int:
        """The next sequence number of this run's journal."""
        seq = self.next_seq
        self.next_seq += 1
        return seq

    def add_usage(self, items: Sequence[UsageItem]) -> None:
        """Count a step's usage."""
        self.usage_count += len(items)
        for item in items:
            self.usage[item.meter] = self.usage.get(item.meter, Decimal(0)) + item.quantity


def accepted_run(new: NewRun) -> Run:
    """A run that was accepted this moment, as its tenant sees it."""
    return Run(
        id=new.id,
        tenant=new.tenant,
        status="accepted",
        package=new.package,
        version=new.version,
        basis=new.basis,
        accepted_at=new.accepted_at,
        quoted=Money(amount=new.quoted, currency=new.currency),
        deployment=new.deployment,
        requested_by=new.requested_by,
    )


def lacks_callers_room(error: AgoraError) -> bool:
    """Whether billing refused a called run's hold because its caller has too little left for calls."""
    return error.slug == "budget_exhausted" and any(one.field == CALLERS_ROOM for one in error.problem.errors)


def step_id(run: str, node: str, visit: int, branch: str) -> str:
    """The id of a logical step: the same for every attempt at it."""
    return f"{run}/{node}/{visit}" + (f"/{branch}" if branch else "")


def usage_id(step: str, sequence: int, meter: str) -> str:
    """The id of a step's usage event: the same whichever attempt recorded it."""
    return f"{step}#{sequence}:{meter}"


CARRIED_NOT = "model."
"""Meters whose usage is not counted again with a step that is taken over from another run: it was paid to a vendor once."""


def carried_usage(step: str, recorded: Sequence[tuple[str, str, Decimal]]) -> list[UsageItem]:
    """The usage of a step that a run takes over, from the (id, meter, quantity) that the other run recorded."""
    return [
        UsageItem(id=f"{step}#{usage.rpartition('#')[2]}", meter=meter, quantity=quantity)
        for usage, meter, quantity in recorded
        if not meter.startswith(CARRIED_NOT)
    ]


def totals(usage: dict[str, Decimal]) -> list[Quantity]:
    """Usage by meter, in the meters' order."""
    return [Quantity(meter=meter, quantity=quantity) for meter, quantity in sorted(usage.items())]


OUTPUT_BYTES_MAX = 512 * 1024
"""The largest output as JSON: it is answered in one message."""

UPDATE_BYTES_MAX = 600_000
STATE_BYTES_MAX = 900_000
"""The largest update of a step, and state given to one, as JSON: Temporal keeps them in the run's history, whose
entries it bounds to 2 MB (a state goes with the run's input and configuration)."""

HOLD_LOST = RunError(
    code="hold_lost", detail="the credit set aside for this run had lapsed and there was not enough left"
)
_HOW = {
    "succeeded": "it succeeded",
    "failed": "it failed",
    "timed_out": "it timed out",
    "cancelled": "it was cancelled",
}


def over(status: str) -> AgoraError:
    """The refusal of what is asked of a run that has ended."""
    return AgoraError("run_ended", f"the run has ended: {_HOW.get(status, status)}")


RUN_ENDED = RunError(code="run_ended", detail="the run has ended")
TERMINATED = RunError(code="terminated", detail="an operator terminated the run")
TIMED_OUT = RunError(code="timed_out", detail="the run took longer than its limit")
CANCELLED = RunError(code="cancelled", detail="the run was cancelled")
INTERNAL = RunError(code="internal", detail="the run failed for a reason on our side; it has been logged")
