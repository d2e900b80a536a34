"""Points at which a test lets the process die, as a power cut would: `AGORA_FAILPOINTS=metering-usage:after_commit`.

A point is named by the work that reaches it and by where in it that is: the work is a consumer's durable, a
command's type, a sweep's name, or `relay`. `name:n` dies when it is reached for the n-th time, and several are
separated by commas. Without the variable nothing is counted and nothing is asked of the database.

| where | when |
|---|---|
| `before_commit`, `after_commit` | of a transaction that has written |
| `after_ack` | of the messages of a consumer, whose acks follow their commit at once |
| `before_publish`, `after_publish` | of the relay's batch; it is noted as published after that |
"""

import os
from contextvars import ContextVar

VARIABLE = "AGORA_FAILPOINTS"
EXIT_CODE = 86
"""How a process ends that the first of its points let die; the second has the next code, and so on."""

_work: ContextVar[str] = ContextVar("agora_failpoint_work", default="")
_armed: dict[str, int] = {}
_codes: dict[str, int] = {}


def arm(points: str) -> None:
    """Let this process die at these points; an empty text disarms all.

    Raises:
        ValueError: a point is not written as `work:where` or `work:where:n`.
    """
    _armed.clear()
    for place, point in enumerate(filter(None, points.split(","))):
        work, where, *rest = point.split(":")
        _armed[f"{work}:{where}"] = int(rest[0]) if rest else 1
        _codes[f"{work}:{where}"] = EXIT_CODE + place


def arm_from_environment() -> None:
    """Let this process die at the points of `AGORA_FAILPOINTS`, where it is set; every service does so as it begins.

    Raises:
        ValueError: a point is not written as `work:where` or `work:where:n`.
    """
    if points := os.environ.get(VARIABLE):
        arm(points)


def armed() -> bool:
    """Whether there is a point at which this process shall die."""
    return bool(_armed)


def enter(work: str) -> None:
    """Say what the current task is at, for the names of the points that it reaches."""
    if _armed:
        _work.set(work)


def reach(where: str) -> None:
    """Die here when it was asked for."""
    if _armed:
        _count(f"{_work.get()}:{where}")


def _count(name: str) -> None:
    left = _armed.get(name)
    if left is None:
        return
    if left == 1:
        # No clean-up of any kind: no rollback is sent, no connection is closed in order, nothing is flushed.
        os._exit(_codes[name])
    _armed[name] = left - 1
