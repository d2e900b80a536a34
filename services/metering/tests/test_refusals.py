"""What was refused: listed, corrected, replayed once, forgotten after its time."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from agora_contracts.meters import CreateMeter
from agora_contracts.problems import AgoraError
from agora_contracts.usage_ingest import (
    IngestedEvent,
    ListRefusedUsage,
    RefusedUsagePage,
    ReplayAllRefusedUsage,
    ReplayedUsage,
    ReplayRefusedUsage,
)
from agora_kit.database import Database
from agora_metering.ingest.model import Arrival
from agora_metering.ingest.service import ingest
from agora_metering.meters import store as meters
from agora_metering.refusals import service as refusals
from sqlalchemy import text

NOW = datetime(2026, 3, 20, 12, 0, tzinfo=UTC)


def event(id: str = "e1", meter: str = "rain", quantity: Any = "1.5", **more: Any) -> bytes:
    """An event in bytes."""
    whole = {
        "specversion": "1.0",
        "id": id,
        "source": "/station/7",
        "type": "agora.usage.recorded.v1",
        "time": "2026-03-20T11:59:00Z",
        "data": {"meter": meter, "quantity": quantity},
    }
    return json.dumps(whole | more).encode()


async def send(database: Database, *payloads: bytes, tenant: str = "ten_1") -> list[IngestedEvent]:
    """Report events, in one request."""
    arrivals = [Arrival(tenant=tenant, sender="key:key_1", received_at=NOW, payload=one) for one in payloads]
    async with database.system() as connection:
        return await ingest(connection, arrivals, NOW)


async def define(database: Database, event: str = "rain", tenant: str = "ten_1") -> None:
    """Define a meter that reads these events."""
    async with database.system() as connection:
        await meters.insert(connection, CreateMeter(tenant=tenant, key=event, unit="mm", aggregation="sum"))


async def listed(database: Database, **query: Any) -> RefusedUsagePage:
    """A page of the tenant's refused usage, as its own role; of all tenants with `tenant=None`."""
    asked = ListRefusedUsage(**({"tenant": "ten_1"} | query))
    opened = database.system() if asked.tenant is None else database.transaction(asked.tenant)
    async with opened as connection:
        return await refusals.list_refused(connection, asked)


async def replay(database: Database, id: str, *, now: datetime = NOW, **command: Any) -> IngestedEvent:
    """Replay one."""
    async with database.system() as connection:
        asked = ReplayRefusedUsage(**({"id": id, "tenant": "ten_1"} | command))
        return await refusals.replay_one(connection, asked, now)


async def replay_all(database: Database, **command: Any) -> ReplayedUsage:
    """Replay what waits."""
    async with database.system() as connection:
        asked = ReplayAllRefusedUsage(**({"tenant": "ten_1"} | command))
        return await refusals.replay_all(connection, asked, NOW)


async def counted(database: Database) -> dict[str, Decimal]:
    """What is stored, by the event's id."""
    async with database.system() as connection:
        rows = await connection.execute(text("SELECT id, quantity FROM usage_events"))
        return {row.id: row.quantity for row in rows}


async def test_a_refused_event_is_replayed_once_the_cause_is_mended(database: Database) -> None:
    """
    Replayed too early it is refused again, with the reason; after the meter is there it counts, once, however often
    and by however many it is replayed at once, and the list shows it no more unless asked for.
    """
    (first,) = await send(database, event())
    assert first.refused is not None
    early = await replay(database, first.refused)
    await define(database)
    answers = await asyncio.gather(*(replay(database, first.refused) for _ in range(5)))

    assert ("refused", "unknown_meter", first.refused) == (early.result, early.reason, early.refused)
    assert ["accepted", *["duplicate"] * 4] == sorted(one.result for one in answers)
    assert {"e1": Decimal("1.5")} == await counted(database)
    assert [] == (await listed(database)).items
    (shown,) = (await listed(database, replayed=True)).items
    assert shown.replayed_at is not None


async def test_a_corrected_event_counts_instead(database: Database) -> None:
    """
    What was wrong in it is corrected and replayed; a correction that is wrong again leaves it waiting, and what came
    is kept as it came.
    """
    await define(database)
    sent = event(quantity=-4)
    (first,) = await send(database, sent)
    assert first.refused is not None
    wrong = await replay(database, first.refused, corrected=event(quantity="4,0").decode())
    right = await replay(database, first.refused, corrected=event(quantity="4.0").decode())

    assert ("invalid_quantity", first.refused) == (wrong.reason, wrong.refused)
    assert ("accepted", {"e1": Decimal(4)}) == (right.result, await counted(database))
    (shown,) = (await listed(database, replayed=True)).items
    assert sent.decode() == shown.payload


async def test_a_collision_is_replayed_under_an_id_of_its_own(database: Database) -> None:
    """
    As it came it collides for ever; with an id of its own it counts beside the first.
    """
    await define(database)
    await send(database, event())
    (second,) = await send(database, event(quantity=7))
    assert second.refused is not None
    again = await replay(database, second.refused)
    right = await replay(database, second.refused, corrected=event("e2", quantity=7).decode())

    assert ("id_collision", "accepted") == (again.reason, right.result)
    assert {"e1": Decimal("1.5"), "e2": Decimal(7)} == await counted(database)


async def test_a_replay_of_what_was_sent_again_meanwhile_counts_nothing(database: Database) -> None:
    """
    The sender has sent it once more after the meter was there: the replay finds it counted.
    """
    (first,) = await send(database, event())
    assert first.refused is not None
    await define(database)
    await send(database, event())

    assert "duplicate" == (await replay(database, first.refused)).result
    assert {"e1": Decimal("1.5")} == await counted(database)


async def test_a_replay_is_judged_by_its_receipt_and_not_for_ever(database: Database) -> None:
    """
    An event that came in time may be replayed later than it could come anew; beyond what deduplication remembers it
    is refused, corrected or not.
    """
    sent = [event("e1", time="2026-02-14T00:00:00Z"), event("e2", time="2026-02-14T00:00:00Z")]
    first, second = [one.refused or "" for one in await send(database, *sent)]
    await define(database)
    in_time = await replay(database, first, now=datetime(2026, 4, 12, 23, 0, tzinfo=UTC))
    late = [
        await replay(database, second, now=datetime(2026, 4, 13, 1, 0, tzinfo=UTC)),
        await replay(
            database,
            second,
            now=datetime(2026, 4, 13, 1, 0, tzinfo=UTC),
            corrected=event("e3", time="2026-04-13T00:00:00Z").decode(),
        ),
    ]

    assert "accepted" == in_time.result
    assert ["too_old", "in_the_future"] == [one.reason for one in late]
    assert ["e1"] == list(await counted(database))


async def test_all_of_a_reason_are_replayed(database: Database) -> None:
    """
    Events of one reason are tried, oldest first; others wait, other tenants' are left alone.
    """
    await define(database)
    await send(
        database, *(event(f"e{number}", meter="snow") for number in range(4)), event("bad", quantity=-1)
    )
    await send(database, event("e0", meter="snow"), tenant="ten_2")
    await define(database, "snow")
    await define(database, "snow", "ten_2")
    done = await replay_all(database, reason="unknown_meter")
    again = await replay_all(database)

    assert (4, 0, [], None) == (done.accepted, done.duplicates, done.refused, done.next_after)
    (bad,) = (await listed(database)).items
    assert (0, [bad.id]) == (again.accepted, again.refused)
    assert 2 == len((await listed(database, tenant=None)).items)
    assert 1 == (await replay_all(database, tenant=None, reason="unknown_meter")).accepted


async def test_replaying_goes_on_where_it_stopped(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What is refused again does not keep those behind it from their turn.
    """
    monkeypatch.setattr(refusals, "REPLAY_BATCH", 2)
    for number in range(5):
        await send(database, event(f"e{number}", meter="snow" if number < 3 else "rain"))
    await define(database)
    reports = [await replay_all(database)]
    while reports[-1].next_after is not None:
        reports.append(await replay_all(database, after=reports[-1].next_after))

    assert [(0, 2), (1, 1), (1, 0)] == [(one.accepted, len(one.refused)) for one in reports]


async def test_two_replays_of_all_at_once_share_the_work(database: Database) -> None:
    """
    Nothing counts twice, and both end.
    """
    await send(database, *(event(f"e{number}") for number in range(30)))
    await define(database)
    reports = await asyncio.gather(*(replay_all(database) for _ in range(3)))

    assert 30 == sum(one.accepted for one in reports) == len(await counted(database))
    assert [] == (await listed(database)).items


async def test_the_list_is_read_page_by_page(database: Database) -> None:
    """
    Newest first, by reason, without gap or repetition; a page never grows beyond what a message holds.
    """
    large = [event(f"e{number}", meter="snow", subject="x" * 60_000) for number in range(20)]
    for one in (*large, event("odd", quantity=-1)):
        await send(database, one)
    seen: list[str] = []
    cursor = None
    pages = 0
    while True:
        page = await listed(database, reason="unknown_meter", cursor=cursor, limit=15)
        seen += [item.event_id for item in page.items]
        pages += 1
        if (cursor := page.next_cursor) is None:
            break

    assert [f"e{number}" for number in reversed(range(20))] == seen
    assert 2 == pages
    with pytest.raises(AgoraError) as refused:
        await listed(database, cursor="nonsense")
    assert "invalid_cursor" == refused.value.slug


async def test_a_tenant_sees_and_replays_its_own_only(database: Database) -> None:
    """
    Another tenant's refused event does not exist, in the list and for a replay.
    """
    (theirs,) = await send(database, event(), tenant="ten_2")
    assert theirs.refused is not None
    with pytest.raises(AgoraError) as refused:
        await replay(database, theirs.refused)

    assert "not_found" == refused.value.slug
    assert [] == (await listed(database)).items
    assert "refused" == (await replay(database, theirs.refused, tenant=None)).result


async def test_what_was_refused_long_ago_is_forgotten(database: Database) -> None:
    """
    The list is no archive: after its retention a refused event goes, others stay.
    """
    await send(database, event("old"), event("new"))
    async with database.system() as connection:
        await connection.execute(
            text(
                "UPDATE refused_usage SET refused_at = now() - CAST(:age AS interval) WHERE event_id = 'old'"
            ),
            {"age": timedelta(days=91)},
        )
    await refusals.expire(database, 90)

    assert ["new"] == [item.event_id for item in (await listed(database)).items]
