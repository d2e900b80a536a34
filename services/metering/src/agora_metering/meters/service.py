"""Use cases of meters."""

import structlog
from agora_contracts import meters as contracts
from agora_contracts.problems import AgoraError
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.database import Database
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.meters import builds, model, store
from agora_metering.meters.builds import Build
from agora_metering.partitions.store import kept_since
from agora_metering.runs.service import lock_tenants_alone
from agora_metering.totals.store import lock_roller

log = structlog.get_logger()

# --- definitions: one call is one transaction, opened and committed by the caller ------------------


async def create_meter(connection: AsyncConnection, command: contracts.CreateMeter) -> contracts.Meter:
    """Define a meter; its totals follow. The same definition again is the same meter.

    Raises:
        AgoraError: `invalid_input` with the fields at fault; `conflict` when the key is taken by another definition;
            `quota_exceeded` with too many meters.
    """
    if faults := model.definition_faults(command):
        raise AgoraError("invalid_input", "the meter makes no sense", errors=faults)
    await store.lock_key(connection, command.key)
    found = await store.find(connection, command.tenant, command.key)
    if found is None:
        await _refuse_taken(connection, command)
        await store.insert(connection, command)
        found = await store.find(connection, command.tenant, command.key)
        assert found is not None
    elif found.state == "deleting":
        raise AgoraError("conflict", f"the meter {command.key} is being deleted; try again when it is gone")
    elif not model.is_same(found, command):
        raise AgoraError(
            "conflict",
            f"the meter {command.key} is defined otherwise; delete it first, or choose another key",
        )
    return found


async def _refuse_taken(connection: AsyncConnection, command: contracts.CreateMeter) -> None:
    if await store.is_taken(connection, command.tenant, command.key):
        raise AgoraError(
            "conflict", f"the key {command.key} is taken by the platform, or by a tenant; choose another key"
        )
    if command.tenant != PLATFORM_TENANT and await store.is_priced(connection, command.key):
        # Its totals are what billing rates: whoever defined them would name their own bill.
        raise AgoraError(
            "conflict",
            f"{command.key} is rated by a price; choose another key, with {command.key} as its `event`",
        )
    if await store.count(connection, command.tenant) >= contracts.METERS_MAX:
        raise AgoraError("quota_exceeded", f"there are {contracts.METERS_MAX} meters already; delete one")


async def list_meters(connection: AsyncConnection, query: contracts.ListMeters) -> contracts.MeterList:
    """A tenant's meters and the platform's, by key."""
    return contracts.MeterList(items=await store.visible_to(connection, query.tenant))


async def get_meter(connection: AsyncConnection, query: contracts.GetMeter) -> contracts.Meter:
    """One meter of a tenant's or of the platform's.

    Raises:
        AgoraError: `not_found`.
    """
    for meter in await store.visible_to(connection, query.tenant):
        if meter.key == query.key:
            return meter
    raise _unknown(query.key)


async def delete_meter(connection: AsyncConnection, command: contracts.DeleteMeter) -> contracts.Meter:
    """Take a definition away; what was recorded under its key is summed as it is.

    Raises:
        AgoraError: `not_found` when the tenant has no such meter of its own.
    """
    return await _start(connection, command.tenant, command.key, "deleting")


async def rebuild_meter(connection: AsyncConnection, command: contracts.RebuildMeter) -> contracts.Meter:
    """Make a meter's totals anew from the stored events, also those of a recorded meter without a definition.

    Raises:
        AgoraError: `conflict` for a tenant, when the meter is the platform's; and where totals are older than the stored
            events, which could not be made anew and would be forgotten.
    """
    await store.lock_key(connection, command.key)
    kept = await kept_since(connection)
    if kept is not None and await builds.has_totals_before(connection, command.tenant, command.key, kept):
        raise AgoraError(
            "conflict",
            f"events from before {kept} are not kept: a rebuild of {command.key} would forget its totals from then; "
            "correct the events that are wrong instead",
        )
    if await store.is_taken(connection, command.tenant, command.key):
        raise AgoraError(
            "conflict", f"the meter {command.key} is the platform's; name the tenant {PLATFORM_TENANT}"
        )
    meter = await store.find(connection, command.tenant, command.key)
    if meter is None:
        # Made as a definition is taken away: as what was recorded says, and then nothing is left of it.
        plain = contracts.CreateMeter(tenant=command.tenant, key=command.key, unit="unit", aggregation="sum")
        await store.insert(connection, plain)
        return await _start(connection, command.tenant, command.key, "deleting")
    return await _start(connection, command.tenant, command.key, "backfilling")


async def _start(
    connection: AsyncConnection, tenant: str, key: str, state: contracts.MeterState
) -> contracts.Meter:
    await store.lock_key(connection, key)
    meter = await store.find(connection, tenant, key)
    if meter is None:
        raise _unknown(key)
    if meter.state != "deleting":
        await store.start_build(connection, tenant, key, state)
        meter = await store.find(connection, tenant, key)
        assert meter is not None
    return meter


def _unknown(key: str) -> AgoraError:
    return AgoraError("not_found", f"there is no meter {key[:64]!r} of this tenant")


# --- their totals: several transactions -----------------------------------------------------------


async def build_due(database: Database) -> None:
    """Make the totals of all meters that want it, from the stored events; safe to be killed at any moment."""
    async with database.system() as connection:
        wanted = await builds.due(connection)
    for build in wanted:
        if build.written or await make_totals(database, build):
            async with database.system() as connection:
                await builds.finish(connection, build)


async def make_totals(database: Database, build: Build) -> bool:
    """Make a meter's totals; False when somebody else is at it or was. A crash leaves it to be begun again."""
    async with builds.snapshot_connection(database, build) as snapshot:
        if snapshot is None:
            return False
        async with database.system() as connection:
            # Another replica may have made them since this one looked: an active meter is not begun again.
            if build not in await builds.due(connection):
                return False
        async with database.system() as connection:
            # Most of what there is goes while usage still comes in; what came meanwhile goes with the snapshot.
            await lock_roller(connection, wait=True)
            await builds.clear(connection, build)
        async with database.system() as connection:
            await lock_tenants_alone(connection, [build.definition.tenant])
            await lock_roller(connection, wait=True)
            await builds.clear(connection, build)
            await builds.fix_snapshot(snapshot)
        pieces = await builds.chunks(snapshot)
        for number, (month, page) in enumerate(pieces):
            await builds.add_chunk(snapshot, build, month, page)
            async with database.system() as connection:
                await builds.note_progress(connection, build, (number + 1) * 100 // (len(pieces) + 1))
        await builds.note_written(snapshot, build)
        await snapshot.commit()
    log.info("meter built", tenant=build.definition.tenant, key=build.definition.key)
    return True
