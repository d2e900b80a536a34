"""Totals while meters are built: replicas that are late, definitions that change, months that are told meanwhile."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from agora_contracts.envelope import Envelope
from agora_contracts.metering import QueryUsage
from agora_contracts.meters import CreateMeter, DeleteMeter, RebuildMeter
from agora_contracts.periods import PeriodTotal
from agora_contracts.problems import AgoraError
from agora_kit.database import Database
from agora_metering.ingest.store import add_priced_meters
from agora_metering.meters import builds
from agora_metering.meters import service as meters
from agora_metering.periods.service import tell_changed
from agora_metering.queries.service import query_usage
from agora_metering.totals.service import roll
from agora_metering.usage.service import take_in
from sqlalchemy import text

DAY = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)


async def count(database: Database, *events: Envelope[Any]) -> None:
    """Take one batch in."""
    async with database.system() as connection:
        await take_in(connection, events)


async def define(database: Database, key: str, **more: Any) -> None:
    """Define a meter of the first tenant; its totals are not made yet."""
    async with database.system() as connection:
        await meters.create_meter(connection, CreateMeter(tenant="ten_1", key=key, unit="things", **more))


async def value(database: Database, meter: str, tenant: str = "ten_1") -> tuple[Decimal, int]:
    """What a meter says of the day, and of how many events."""
    async with database.transaction(tenant) as connection:
        query = QueryUsage(start=DAY[0], end=DAY[1], tenant=tenant, meter=meter, group_by=[])
        (row,) = (await query_usage(connection, query)).items
    return row.quantity, row.events


async def waiting(database: Database) -> int:
    """How many increments are not in the totals."""
    async with database.system() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM usage_deltas"))).scalar_one())


async def test_a_replica_that_is_late_leaves_a_finished_meter_alone(
    database: Database, messages: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A replica that listed a meter before another one built it does not begin again: were it to die in the middle, an
    active meter would have lost its totals for good.
    """
    await count(database, messages().usage("evt_1", 24, "api.calls"))
    await define(database, "measured", aggregation="sum", event="api.calls")
    async with database.system() as connection:
        (late,) = await builds.due(connection)
    await meters.build_due(database)

    async def dies(*_: Any) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(builds, "add_chunk", dies)
    assert not await meters.make_totals(database, late)
    assert (Decimal(24), 1) == await value(database, "measured")


async def test_definitions_that_change_hold_up_nobodys_totals(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    What was counted by one definition of a key and what by the next wait side by side, in the same minute, until the
    meter's build makes them one: other totals are moved meanwhile.
    """
    ours, theirs = messages(), messages("ten_2", "run_2")
    await count(database, ours.usage("evt_1", 5, "api.calls"))
    await define(database, "api.calls", aggregation="max")
    await count(database, ours.usage("evt_2", 3, "api.calls"), theirs.usage("evt_1", 7, "pages"))
    await roll(database)
    assert 0 == await waiting(database)
    assert (Decimal(7), 1) == await value(database, "pages", "ten_2")
    await meters.build_due(database)
    assert (Decimal(5), 2) == await value(database, "api.calls")

    async with database.system() as connection:
        await meters.delete_meter(connection, DeleteMeter(tenant="ten_1", key="api.calls"))
    await count(database, ours.usage("evt_3", 1, "api.calls"))
    await roll(database)
    await meters.build_due(database)
    await roll(database)
    assert (Decimal(9), 3) == await value(database, "api.calls")


async def test_a_month_is_told_whole_right_after_a_build(
    database: Database, messages: Callable[..., Any]
) -> None:
    """
    A meter whose totals were just made anew is told with all of them, though none was moved yet: billing would give
    the month back otherwise, and charge it again.
    """
    ours = messages()
    await count(database, ours.usage("evt_1", 24, "gb", run=None))
    await roll(database)
    async with database.system() as connection:
        await meters.rebuild_meter(connection, RebuildMeter(tenant="ten_1", key="gb"))
    await meters.build_due(database)
    async with database.system() as connection:
        assert 1 == await tell_changed(connection, seconds_between=0)
        payload = (await connection.execute(text("SELECT payload FROM outbox"))).scalar_one()

    told = msgspec.json.decode(payload, type=Envelope[PeriodTotal]).data
    assert (Decimal(24), 1) == (told.quantity, told.events)


async def test_nobody_defines_what_they_are_billed_by(database: Database) -> None:
    """
    A tenant's definition under the key of a meter with a price would make its months what the tenant likes; beside
    it, under another key, the same usage may be read.
    """
    async with database.system() as connection:
        await add_priced_meters(connection, {("stored", False)})
    with pytest.raises(AgoraError, match="choose another key") as refused:
        await define(database, "stored", aggregation="max", value="nothing")
    await define(database, "stored.most", aggregation="max", event="stored")

    assert "conflict" == refused.value.slug
