"""What may be reported from outside, by whom, and how late: pure rules that name what to change."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from agora_contracts.catalog import MODEL_COST_METER, PER_UNIT_BASES, OfferedPrice
from agora_contracts.usage import QUANTITY_MAX, QUANTITY_STEP
from agora_contracts.usage_ingest import (
    EVENT_BYTES_MAX,
    REPORTED_TYPE,
    RefusalReason,
    ReportedUsage,
    UsageEvent,
)

BACK_MAX = timedelta(days=35)
"""How old usage may be when it is received."""

AHEAD_MAX = timedelta(hours=1)
"""How far the sender's clock may be ahead of ours."""

REPLAY_MAX = timedelta(days=58)
"""How old usage may be when a refused event is tried again. Deduplication is kept for 59 days at least, and nothing
was accepted before it happened: within this time no event can have been counted and forgotten."""

_RESERVED = ("model.", "agents.", "deployment.")
"""Meters of these names are measured by the platform itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One event as it came: for which tenant, from whom (by the credential), when, and its bytes."""

    tenant: str
    sender: str
    received_at: datetime
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A readable event. `source` is the one it is known under here; `timed` whether it said its time itself."""

    arrival: Arrival
    id: str
    source: str
    at: datetime
    timed: bool
    usage: ReportedUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An event that is not counted, and why."""

    arrival: Arrival
    id: str
    source: str
    reason: RefusalReason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterUse:
    """What is known of a meter: whether a definition reads it, and how published prices do."""

    defined: bool = False
    priced_by_run: bool = False
    priced_by_period: bool = False


class _Names(msgspec.Struct, frozen=True):
    """What an event is told apart by, as far as it can be read."""

    id: Any = ""
    source: Any = ""
    type: Any = ""
    data: Any = None


def known_source(sender: str, source: str) -> str:
    """Under which source a sender's events are known here: the credential's name, then what the event says."""
    return f"{sender}#{source}"


def priced_by_run(price: OfferedPrice) -> bool:
    """Whether a price rates what single runs recorded; otherwise it rates a period, or time."""
    return price.window == "run" and price.basis in PER_UNIT_BASES


# --- one event by itself -------------------------------------------------------------------------


def read(arrival: Arrival, now: datetime) -> Report | Refusal:
    """Read one event and judge what needs nothing but the event."""
    if len(arrival.payload) > EVENT_BYTES_MAX:
        return Refusal(
            arrival=arrival,
            id="",
            source=arrival.sender,
            reason="malformed",
            detail=f"the event has {len(arrival.payload)} bytes; at most {EVENT_BYTES_MAX} are taken",
        )
    try:
        names = msgspec.json.decode(arrival.payload, type=_Names)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        detail = f"the event is no JSON object that can be read: {error}"
        return Refusal(arrival=arrival, id="", source=arrival.sender, reason="malformed", detail=detail)

    def refusal(reason: RefusalReason, detail: str) -> Refusal:
        source = known_source(arrival.sender, _shown(names.source))
        return Refusal(arrival=arrival, id=_shown(names.id), source=source, reason=reason, detail=detail)

    if isinstance(names.type, str) and names.type and names.type != REPORTED_TYPE:
        return refusal(
            "unknown_type", f"type is {_shown(names.type)!r}; usage is reported as {REPORTED_TYPE!r}"
        )
    if isinstance(names.data, dict) and names.data.get("run") is not None:
        detail = "the usage of a run is recorded by the run itself; leave `run` out, and name the deployment"
        return refusal("run_usage", detail)
    try:
        event = msgspec.json.decode(arrival.payload, type=UsageEvent)
    except (msgspec.MsgspecError, RecursionError) as error:
        reason: RefusalReason = "invalid_quantity" if "`$.data.quantity`" in str(error) else "malformed"
        return refusal(reason, f"the event does not fit: {error}")
    if fault := _fault(event, arrival, now):
        return refusal(*fault)
    return Report(
        arrival=arrival,
        id=event.id,
        source=known_source(arrival.sender, event.source),
        at=(event.time or arrival.received_at).astimezone(UTC),
        timed=event.time is not None,
        usage=msgspec.structs.replace(event.data, quantity=event.data.quantity.normalize()),
    )


def _fault(event: UsageEvent, arrival: Arrival, now: datetime) -> tuple[RefusalReason, str] | None:
    usage = event.data
    texts = (event.id, event.source, usage.meter, usage.deployment or "", *usage.dimensions)
    if any("\0" in text for text in (*texts, *usage.dimensions.values())):
        return "malformed", "a text holds the character U+0000, which cannot be stored; leave it out"
    quantity = usage.quantity
    if not quantity.is_finite() or not 0 <= quantity <= QUANTITY_MAX or quantity % QUANTITY_STEP:
        # Without the number itself, which may have as many digits as the event has bytes.
        return "invalid_quantity", (
            f"quantity must be from 0 to {QUANTITY_MAX} in steps of {QUANTITY_STEP:f}, {_about(str(quantity))}; send a"
            ' decimal string such as "0.25" (what was counted too high is corrected, not reported negatively)'
        )
    return _time_fault(event.time or arrival.received_at, arrival.received_at, now)


def _time_fault(at: datetime, received_at: datetime, now: datetime) -> tuple[RefusalReason, str] | None:
    if received_at - at > BACK_MAX:
        return "too_old", f"time is more than {BACK_MAX.days} days before the event was received"
    if at - received_at > AHEAD_MAX:
        return "in_the_future", (
            f"time is more than {AHEAD_MAX.seconds // 3600} hour after the event was received; set the sender's clock"
        )
    if now - at > REPLAY_MAX:
        return "too_old", (
            f"the usage is more than {REPLAY_MAX.days} days ago: whether it was counted then is no longer known"
        )
    return None


def _shown(name: object) -> str:
    """A name that may be anything, as text that can be stored and shown."""
    return name[:200].replace("\0", "") if isinstance(name, str) else ""


def _about(number: str) -> str:
    return f"not {number}" if len(number) <= 40 else f"not {number[:40]}…"


# --- what the platform knows ---------------------------------------------------------------------


def judge(report: Report, meter: MeterUse, package: str | None) -> Refusal | None:
    """Judge what a readable event names. `package` is its deployment's, None where the tenant has no such deployment."""
    usage = report.usage
    only_runs = meter.priced_by_run and not meter.priced_by_period
    if usage.meter == MODEL_COST_METER or usage.meter.startswith(_RESERVED) or only_runs:
        return _refused(
            report,
            "run_usage",
            f"meter {usage.meter!r} is recorded by runs and by the platform only; report under a meter of your own",
        )
    if not (meter.defined or meter.priced_by_run or meter.priced_by_period):
        return _refused(
            report,
            "unknown_meter",
            f"no meter and no published price reads {usage.meter!r}; create a meter whose `event` it is, then replay",
        )
    if usage.deployment is not None and package is None:
        return _refused(
            report,
            "unknown_deployment",
            f"you have no deployment {usage.deployment!r}; if it was hired a moment ago, replay this event",
        )
    return None


def collision(report: Report) -> Refusal:
    """An event with the id of another one."""
    return _refused(
        report,
        "id_collision",
        f"another event of this source with the id {report.id!r} is counted, and stays so; give this one an id of its"
        " own and replay it, or correct the one that is counted",
    )


def _refused(report: Report, reason: RefusalReason, detail: str) -> Refusal:
    return Refusal(arrival=report.arrival, id=report.id, source=report.source, reason=reason, detail=detail)
