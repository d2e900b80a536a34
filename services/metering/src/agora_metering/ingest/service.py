"""Use cases of reported usage. One call is one transaction, opened and committed by the caller."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from agora_contracts.catalog import PriceVersionPublished
from agora_contracts.catalogue import EVENTS
from agora_contracts.deployments import DeploymentStarted
from agora_contracts.envelope import Envelope
from agora_contracts.usage import UsageRecorded
from agora_contracts.usage_ingest import IngestedEvent
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.ingest import model, store
from agora_metering.ingest.model import Arrival, MeterUse, Refusal, Report
from agora_metering.ingest.store import KnownDeployment
from agora_metering.refusals import store as refusals
from agora_metering.usage.model import Taken
from agora_metering.usage.service import take_in

type Outcome = Refusal | IngestedEvent


async def ingest(
    connection: AsyncConnection, arrivals: Sequence[Arrival], now: datetime
) -> list[IngestedEvent]:
    """Count what may be counted, once each, and keep the rest with its reason. Answers in the order of arrival."""
    outcomes = await count(connection, arrivals, now)
    await refusals.insert(connection, [one for one in outcomes if isinstance(one, Refusal)])
    return [answer(one) for one in outcomes]


async def count(connection: AsyncConnection, arrivals: Sequence[Arrival], now: datetime) -> list[Outcome]:
    """Count what may be counted, once each; say for the rest why not, without keeping it."""
    read = [model.read(arrival, now) for arrival in arrivals]
    reports = [one for one in read if isinstance(one, Report)]
    if not reports:
        return [one for one in read if isinstance(one, Refusal)]
    packages = await store.packages_of(
        connection, {(one.arrival.tenant, one.usage.deployment) for one in reports if one.usage.deployment}
    )
    uses = await store.meter_uses(connection, {(one.arrival.tenant, one.usage.meter) for one in reports})
    judged = [one if isinstance(one, Refusal) else _judged(one, uses, packages) for one in read]
    return await _taken(connection, judged, packages)


def _judged(
    report: Report, uses: dict[tuple[str, str], MeterUse], packages: dict[tuple[str, str], str]
) -> Report | Refusal:
    tenant, usage = report.arrival.tenant, report.usage
    package = packages.get((tenant, usage.deployment or ""))
    return model.judge(report, uses.get((tenant, usage.meter), MeterUse()), package) or report


async def _taken(
    connection: AsyncConnection, judged: Sequence[Report | Refusal], packages: dict[tuple[str, str], str]
) -> list[Outcome]:
    fit = [one for one in judged if isinstance(one, Report)]
    events = [_event(one, packages) for one in fit]
    results = iter(await take_in(connection, events) if events else ())
    outcomes: list[Outcome] = []
    for one in judged:
        if isinstance(one, Refusal):
            outcomes.append(one)
            continue
        taken = next(results)
        if taken is Taken.COLLISION:
            package = packages.get((one.arrival.tenant, one.usage.deployment or ""))
            # An event that does not say when it was is at each receipt at another time, and the same all the same.
            if one.timed or not await store.counted_alike(connection, one, package):
                outcomes.append(model.collision(one))
                continue
            taken = Taken.DUPLICATE
        result: Literal["accepted", "duplicate"] = "accepted" if taken is Taken.ACCEPTED else "duplicate"
        outcomes.append(IngestedEvent(id=one.id, source=one.source, result=result))
    return outcomes


def _event(report: Report, packages: dict[tuple[str, str], str]) -> Envelope[UsageRecorded]:
    tenant, usage = report.arrival.tenant, report.usage
    return Envelope(
        id=report.id,
        source=report.source,
        type=EVENTS[UsageRecorded].type,
        time=report.at,
        tenant=tenant,
        data=UsageRecorded(
            meter=usage.meter,
            quantity=usage.quantity,
            deployment=usage.deployment,
            package=packages.get((tenant, usage.deployment or "")),
            dimensions=usage.dimensions,
        ),
    )


def answer(outcome: Outcome) -> IngestedEvent:
    """What the sender is told."""
    if isinstance(outcome, IngestedEvent):
        return outcome
    return IngestedEvent(
        id=outcome.id,
        source=outcome.source,
        result="refused",
        reason=outcome.reason,
        detail=outcome.detail,
        refused=refusals.refusal_id(outcome),
    )


# --- what others tell ----------------------------------------------------------------------------


async def note_prices(connection: AsyncConnection, events: Sequence[Envelope[PriceVersionPublished]]) -> None:
    """Remember which meters published prices rate."""
    meters = {
        (price.meter, model.priced_by_run(price))
        for event in events
        for price in event.data.prices
        if price.meter is not None
    }
    if meters:
        await store.add_priced_meters(connection, meters)


async def note_deployments(
    connection: AsyncConnection, events: Sequence[Envelope[DeploymentStarted]]
) -> None:
    """Remember whose deployments are whose, and of which package."""
    await store.add_deployments(
        connection,
        [
            KnownDeployment(
                tenant=event.tenant,
                deployment=event.data.deployment,
                package=event.data.package,
                started_at=event.data.at,
            )
            for event in events
        ],
    )
