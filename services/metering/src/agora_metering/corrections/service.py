"""Use cases of corrections. One call is one transaction, opened and committed by the caller."""

from datetime import datetime

from agora_contracts.ids import derived
from agora_contracts.problems import AgoraError
from agora_contracts.subjects import PLATFORM_TENANT
from agora_contracts.usage_ingest import CorrectUsage, UsageCorrected, UsageCorrection
from agora_kit.outbox import Event, emit
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.corrections import model, store
from agora_metering.corrections.model import Correction
from agora_metering.meters.store import definitions_of, start_build
from agora_metering.runs.service import close_again, lock_tenants_for_usage
from agora_metering.totals.store import lock_roller


async def correct(connection: AsyncConnection, command: CorrectUsage, now: datetime) -> UsageCorrection:
    """Book a correction: totals change by the difference, and the run's or the month's next revision tells of it.

    The same correction again is answered as it was booked.

    Raises:
        AgoraError: `invalid_input`; `forbidden` for what the tenant did not report itself; `not_found` where no such
            event is counted; `conflict` where the id is another correction's.
    """
    model.check(command)
    # As for usage: neither does a run of the tenant end nor a meter of its begin in the middle of this.
    await lock_tenants_for_usage(connection, {command.tenant, PLATFORM_TENANT})
    await store.lock_event(connection, command.tenant, command.corrects_source, command.corrects_id)
    if known := await store.find(connection, command.tenant, command.source, command.id):
        return _same(known, command)
    counted = await store.find_counted(
        connection, command.tenant, command.corrects_source, command.corrects_id
    )
    if counted is None:
        raise AgoraError(
            "not_found",
            f"no event {command.corrects_id[:80]!r} of the source {command.corrects_source[:80]!r} is counted",
        )
    correction = model.correction(command, counted, now)
    if not await store.insert(connection, correction):
        # Booked meanwhile, for another event.
        booked = await store.find(connection, command.tenant, command.source, command.id)
        assert booked is not None, "its id is taken"
        return _same(booked, command)
    if correction.changes_totals:
        await _change_totals(connection, correction)
    await emit(connection, [_event(correction)])
    return _shown(correction)


async def _change_totals(connection: AsyncConnection, correction: Correction) -> None:
    definitions = await definitions_of(connection, {correction.tenant})
    await store.change_sums(connection, correction, definitions)
    if ordered := store.by_order(definitions, correction.corrects.meter):
        await lock_roller(connection, wait=True)
        for definition in ordered:
            if owner := await store.building(connection, definition):
                # The snapshot that it is made from has the event as it counted before.
                await start_build(connection, owner, definition.key, "backfilling")
            else:
                await store.recount(connection, correction, definition)
    if correction.corrects.run is not None:
        await close_again(connection, (correction.tenant, correction.corrects.run))


def _same(known: UsageCorrection, command: CorrectUsage) -> UsageCorrection:
    quantity = known.quantity if command.quantity is None else command.quantity
    said = (command.corrects_source, command.corrects_id, command.kind, quantity, command.reason)
    if said != (known.corrects_source, known.corrects_id, known.kind, known.quantity, known.reason):
        raise AgoraError(
            "conflict",
            f"the correction {command.id[:80]!r} was booked with another content; give this one its own id",
        )
    return known


def _shown(correction: Correction) -> UsageCorrection:
    corrected = correction.corrects
    return UsageCorrection(
        id=correction.id,
        source=correction.source,
        corrects_id=corrected.id,
        corrects_source=corrected.source,
        kind=correction.kind,
        meter=corrected.meter,
        quantity=correction.quantity,
        difference=correction.difference,
        reason=correction.reason,
        at=correction.at,
        run=corrected.run,
        deployment=corrected.deployment,
    )


def _event(correction: Correction) -> Event:
    corrected = correction.corrects
    return Event(
        tenant=correction.tenant,
        entity=corrected.id,
        data=UsageCorrected(
            corrects_id=corrected.id,
            corrects_source=corrected.source,
            kind=correction.kind,
            meter=corrected.meter,
            quantity=correction.quantity,
            difference=correction.difference,
            reason=correction.reason,
            used_at=corrected.at,
            run=corrected.run,
            deployment=corrected.deployment,
            package=corrected.package,
        ),
        id=derived("evt", "UsageCorrected", correction.tenant, correction.source, correction.id),
        at=correction.at,
        sequence=correction.number,
    )
