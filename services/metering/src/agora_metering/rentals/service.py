"""Use cases of rentals: know them, and tell what their months have come to."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from agora_contracts.deployments import DeploymentEnded, DeploymentStarted
from agora_contracts.envelope import Envelope
from agora_contracts.ids import derived
from agora_contracts.periods import RENTAL_METERS, PeriodTotal
from agora_kit.outbox import Event, emit
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.rentals import model, store
from agora_metering.rentals.model import Rental
from agora_metering.rentals.store import Told

COUNT_LIMIT = 200
"""The most rentals that are counted in one transaction."""


async def take_up(
    connection: AsyncConnection, envelopes: Sequence[Envelope[DeploymentStarted] | Envelope[DeploymentEnded]]
) -> None:
    """Keep the deployments that are hired for their time, and note when they end."""
    started = [
        Rental(
            deployment=one.data.deployment,
            tenant=one.tenant,
            basis=one.data.basis,
            started_at=one.data.at,
            ended_at=None,
        )
        for one in envelopes
        if isinstance(one.data, DeploymentStarted) and one.data.basis in RENTAL_METERS
    ]
    await store.insert(connection, started)
    await store.end(
        connection,
        [
            (one.data.deployment, one.tenant, one.data.at)
            for one in envelopes
            if isinstance(one.data, DeploymentEnded)
        ],
    )


async def count(connection: AsyncConnection, now: datetime, *, seconds_between: float) -> int:
    """Tell the months of rentals that changed since they were told. Returns how many rentals were counted."""
    before = now - timedelta(seconds=seconds_between)
    counted = await store.claim(connection, now, before, COUNT_LIMIT)
    known = await store.told(connection, [one.deployment for one in counted]) if counted else {}
    changed: list[Told] = []
    events: list[Event] = []
    for rental in counted:
        months = model.months(rental, now)
        if rental.ended_at is not None:
            # Its end was heard of late: what was told of months that it did not reach is taken back.
            beyond = (month for deployment, month in known if deployment == rental.deployment)
            months = dict.fromkeys(beyond, Decimal(0)) | months
        for month, quantity in months.items():
            was = known.get((rental.deployment, month))
            # Never less than before: a clock that went back takes nothing back.
            if was is not None and quantity <= was.quantity and rental.ended_at is None:
                continue
            if was is not None and quantity == was.quantity:
                continue
            one = Told(
                deployment=rental.deployment,
                tenant=rental.tenant,
                period_start=month,
                quantity=quantity,
                revision=was.revision + 1 if was else 1,
            )
            changed.append(one)
            events.append(_told(rental, one))
    await store.save(connection, changed)
    await emit(connection, events)
    return len(counted)


def _told(rental: Rental, month: Told) -> Event:
    fact = PeriodTotal(
        deployment=rental.deployment,
        meter=rental.meter,
        period_start=month.period_start,
        period_end=model.month_after(month.period_start),
        revision=month.revision,
        quantity=month.quantity,
        events=1 if month.quantity else 0,
    )
    event_id = derived(
        "evt", "rental", rental.deployment, month.period_start.isoformat(), str(month.revision)
    )
    return Event(
        tenant=rental.tenant, entity=rental.deployment, data=fact, id=event_id, sequence=month.revision
    )
