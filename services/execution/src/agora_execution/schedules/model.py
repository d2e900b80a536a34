"""When a schedule's time has come: start, wait or leave it; and when a schedule pauses itself. Pure rules."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from agora_contracts.ids import derived
from agora_contracts.problems import AgoraError, FieldError
from agora_contracts.runs import RunError
from agora_contracts.schedules import FireState, Overlap

_MACROS = ("@hourly", "@daily", "@weekly", "@monthly", "@yearly")
_CRON = re.compile(r"[^\s@=]+(?: +[^\s@=]+){4}")

GIVE_UP_SECONDS = 3600
"""How long a fire that the platform could not start is tried again."""

CATCH_UP_SECONDS = 600
"""How late a time of a cron expression still counts, when the platform was away."""

CATCH_UP_ONCE_SECONDS = 30 * 86_400
"""How late the only time of a schedule still counts."""

AT_YEAR_MAX = 2100
"""The last year in which Temporal's calendar has a schedule fire."""

Outcome = Literal["good", "bad", "open"]
"""What became of a fire: its run succeeded, it was refused or its run failed, or nobody can tell yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When a schedule fires: at every time of `cron` in `time_zone`, or once `at`."""

    cron: str | None
    at: datetime | None
    time_zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """How the fires before one stand: whether a run of them goes on, and whether one waits for that already."""

    unfinished: bool
    buffered: bool


def check_timing(timing: Timing, now: datetime) -> None:
    """Refuse a timing that cannot be read, or whose one moment is over.

    Raises:
        AgoraError: `invalid_input`; `schedule_never_fires`.
    """
    if (timing.cron is None) == (timing.at is None):
        raise AgoraError("invalid_input", "exactly one of cron and at is needed")
    if timing.cron is not None and timing.cron not in _MACROS and not _CRON.fullmatch(timing.cron):
        raise _invalid_cron(
            f"must have five fields (minute, hour, day of the month, month, day of the week), or be one of "
            f"{', '.join(_MACROS)}"
        )
    if timing.at is not None and timing.at.year > AT_YEAR_MAX:
        raise beyond_the_clock()
    if timing.at is not None and timing.at <= now:
        raise never_fires("/at", f"{timing.at.isoformat()} is over; name a moment to come")


def beyond_the_clock() -> AgoraError:
    """The refusal of a moment that no clock of schedules can hold."""
    detail = f"must be a moment to come, no later than the year {AT_YEAR_MAX}"
    return AgoraError(
        "invalid_input", f"the moment of `at` {detail}", errors=[FieldError(field="/at", detail=detail)]
    )


def _invalid_cron(detail: str) -> AgoraError:
    return AgoraError(
        "invalid_input", f"the cron expression {detail}", errors=[FieldError(field="/cron", detail=detail)]
    )


def unreadable(timing: Timing, reason: str) -> AgoraError:
    """The refusal of a timing that Temporal cannot read."""
    if timing.cron is None:
        return AgoraError("invalid_input", f"the schedule cannot be read: {reason}")
    return _invalid_cron(f"cannot be read: {reason}"[:500])


def never_fires(field: str, detail: str) -> AgoraError:
    """The refusal of a timing without any time to come."""
    return AgoraError("schedule_never_fires", detail, errors=[FieldError(field=field, detail=detail)])


def fire_id(schedule: str, scheduled_for: datetime) -> str:
    """The id of what comes of one time of a schedule: the same however often it is told."""
    return derived("fire", schedule, scheduled_for.isoformat())


def run_of(fire: str) -> str:
    """The run of a fire: the same for every try to start it."""
    return derived("run", fire)


def too_late(timing: Timing, scheduled_for: datetime, now: datetime) -> bool:
    """Whether a time is over for so long that nothing is started for it any more."""
    seconds = CATCH_UP_SECONDS if timing.cron is not None else CATCH_UP_ONCE_SECONDS
    return now - scheduled_for > timedelta(seconds=seconds)


def decide(overlap: Overlap, before: Before, *, manual: bool) -> FireState:
    """What to do at a time: start the run, let it wait for the one before, or leave it out."""
    if manual or overlap == "allow" or not (before.unfinished or before.buffered):
        return "starting"
    return "buffered" if overlap == "buffer_one" and not before.buffered else "skipped"


def failures_in_row(outcomes: Iterable[Outcome]) -> int:
    """How many fires went wrong since the last one that went well; the newest comes first, open ones do not count."""
    count = 0
    for outcome in outcomes:
        if outcome == "good":
            break
        count += outcome == "bad"
    return count


PAUSES = frozenset({"failures_in_a_row", "key_revoked", "key_expired"})
"""Codes of reasons for which a schedule pauses at a time that has come, which is refused for that alone."""

SKIPPED = RunError(code="overlap", detail="the run before was still going on")

LATE = RunError(
    code="late",
    detail=f"the platform was away; what is more than {CATCH_UP_SECONDS // 60} minutes late is left out",
)


def missed(at: datetime) -> RunError:
    """Why a schedule pauses itself whose only moment was noticed too late."""
    days = CATCH_UP_ONCE_SECONDS // 86_400
    return RunError(
        code="missed",
        detail=f"{at:%Y-%m-%dT%H:%M:%SZ} went by more than {days} days before it was noticed; give it another moment",
    )


def stopped(state: str, paused_for: RunError | None) -> RunError:
    """Why what was to be started is left out, of a schedule that was paused or deleted meanwhile."""
    return paused_for or RunError(code=state, detail=f"the schedule is {state}")


def too_many_failures(failures: int, last: RunError | None) -> RunError:
    """Why a schedule pauses itself that only fails."""
    told = f"; the last one: {last.detail}" if last is not None else ""
    return RunError(code="failures_in_a_row", detail=f"{failures} failures in a row{told}"[:1000])


def key_revoked(key: str) -> RunError:
    """Why a schedule pauses itself whose runs a key asks for that was revoked."""
    return RunError(
        code="key_revoked",
        detail=f"{key}, under which it runs, was revoked; resume it with another key, or delete it",
    )


def key_expired(key: str, at: datetime) -> RunError:
    """Why a schedule pauses itself whose runs a key asks for that is over."""
    return RunError(
        code="key_expired",
        detail=f"{key}, under which it runs, expired at {at:%Y-%m-%dT%H:%M:%SZ}; resume it with another key, or delete it",
    )


def deployment_ended(deployment: str) -> RunError:
    """Why a schedule pauses itself that has nothing to run on any more."""
    return RunError(
        code="deployment_ended",
        detail=f"{deployment} has ended; hire the package again and make a new schedule",
    )
