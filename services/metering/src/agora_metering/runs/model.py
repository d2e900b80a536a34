"""When a run's usage is complete: what it said at its end it had used, against what was counted."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from agora_contracts.billing import Quantity
from agora_contracts.runs import Deliverable, Outcome


class Completeness(Enum):
    """What the count of a run's usage says."""

    MISSING = "missing"
    """Fewer events than the run said: wait, and raise the alarm after the deadline."""
    COMPLETE = "complete"
    """Exactly what it said, and not told yet: close it, with the next revision."""
    TOLD = "told"
    """Exactly what it said, and closed at that."""
    SURPLUS = "surplus"
    """More than it said: usage after the end is never billed, so it must not get in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRun:
    """An ended run.

    `expected` is how many usage events it said it had recorded; `closed_count` how many there were when it
    was last closed, under `revision` (None and 0 before).
    """

    tenant: str
    run: str
    expected: int
    outcome: Outcome
    deliverable: Deliverable
    finished_at: datetime
    delivered_units: int | None = None
    error_code: str | None = None
    closed_count: int | None = None
    revision: int = 0
    alarm: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What was counted for a run: how many events, and the sum of each meter."""

    events: int
    totals: tuple[Quantity, ...]


NOTHING = Counted(events=0, totals=())


def completeness(run: EndedRun, counted: int) -> Completeness:
    """Compare a run's count with what it said."""
    if counted < run.expected:
        return Completeness.MISSING
    if counted > run.expected:
        return Completeness.SURPLUS
    return Completeness.TOLD if run.closed_count == run.expected else Completeness.COMPLETE


def alarm_text(counted: int, missing: list[str]) -> str:
    """What an alarm says, for telling whether anything has changed since the last one."""
    return f"{counted}:{','.join(sorted(missing))}"
