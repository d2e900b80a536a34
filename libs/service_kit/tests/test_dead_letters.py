"""Dead letters of a running service: listed, replayed, refused again."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from agora_contracts.envelope import Envelope
from agora_contracts.metering import UsageIncomplete
from agora_contracts.platform import DeadLetterPage, ListDeadLetters, ReplayDeadLetters, ReplayReport
from agora_contracts.problems import AgoraError
from agora_contracts.subjects import event_subject
from agora_kit.broker import Broker
from agora_kit.database import Database
from agora_kit.outbox import Event, encode
from agora_kit.provision import DatabaseUrls
from agora_kit.service import Service
from agora_kit.settings import ServiceSettings
from nats.aio.client import Client
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

type Until = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


class Picky:
    """A handler that refuses some events until told otherwise, and counts what it applied."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.applied: list[str] = []

    async def apply(self, connection: AsyncConnection, envelopes: Sequence[Envelope[Any]]) -> Any:
        """Take every event but the refused ones."""
        for envelope in envelopes:
            if envelope.id in self.refused:
                raise AgoraError("not_found", f"cannot take {envelope.id}")
        return lambda: self.applied.extend(envelope.id for envelope in envelopes)


@pytest.fixture
def picky() -> Picky:
    """A handler that refuses `a` and `b`."""
    made = Picky()
    made.refused = {"a", "b"}
    return made


@pytest.fixture
async def asker(urls: DatabaseUrls, nats_url: str, picky: Picky) -> AsyncIterator[Broker]:
    """Asks a running service that consumes alarms."""
    settings = ServiceSettings(
        database_url=urls.app, database_system_url=urls.system, nats_url=nats_url, log_level="critical"
    )
    service = Service("billing", settings, package="agora_sample")
    service.broker.consume("alarms", [UsageIncomplete], picky.apply)
    await service.start()
    broker = Broker(nats_url, "gateway")
    await broker.start()
    yield broker
    await broker.stop()
    await service.stop()


async def publish(client: Client, name: str, *, tenant: str = "ten_1", subject_tenant: str = "ten_1") -> None:
    """Publish an alarm under the event id `name`."""
    data = UsageIncomplete(run="run_1", expected=1, counted=0, missing=[])
    _, _, payload = encode(Event(tenant=tenant, entity="run_1", data=data, id=name))
    subject = event_subject(subject_tenant, "metering.usage.incomplete")
    await client.jetstream().publish(subject, payload, headers={"Nats-Msg-Id": name})


async def page(asker: Broker, **query: Any) -> DeadLetterPage:
    """Ask for dead letters."""
    found: DeadLetterPage = await asker.ask_shared(ListDeadLetters(**query), "billing")
    return found


async def test_a_dead_letter_is_listed_and_replayed(
    asker: Broker, client: Client, picky: Picky, until: Until
):
    """
    Once its cause is mended a dead letter is accepted, once, and is marked; the other one is refused again.
    """
    await publish(client, "a")
    await publish(client, "b")

    async def both() -> bool:
        return len((await page(asker)).items) == 2

    await until(both)
    letters = {letter.message_id: letter for letter in (await page(asker)).items}
    assert "cannot take a" == letters["a"].reason
    assert "agora.evt.ten_1.metering.usage.incomplete" == letters["a"].subject
    assert '"id":"a"' in letters["a"].payload

    picky.refused = {"b"}
    report: ReplayReport = await asker.ask_shared(ReplayDeadLetters(), "billing")
    again: ReplayReport = await asker.ask_shared(ReplayDeadLetters(ids=[letters["a"].id]), "billing")

    assert ReplayReport(accepted=1, refused=[letters["b"].id]) == report
    assert ReplayReport(accepted=1, refused=[]) == again
    assert ["a"] == picky.applied
    after = {letter.message_id: letter.replayed_at for letter in (await page(asker)).items}
    assert after["a"] is not None
    assert after["b"] is None


async def test_a_replay_does_not_let_a_tenant_onto_anothers_subject(
    asker: Broker, client: Client, picky: Picky, until: Until
):
    """
    What was refused for its tenant stays refused.
    """
    picky.refused = set()
    await publish(client, "c", tenant="ten_2")

    async def listed() -> bool:
        return len((await page(asker)).items) == 1

    await until(listed)
    report: ReplayReport = await asker.ask_shared(ReplayDeadLetters(), "billing")

    assert 1 == len(report.refused)
    assert [] == picky.applied


async def test_dead_letters_come_in_pages(asker: Broker, database: Database):
    """
    A page ends where the next begins, newest first, and a cursor of somebody else is refused.
    """
    async with database.system() as connection:
        await connection.execute(
            text(
                "INSERT INTO dead_letters (consumer, subject, message_id, tenant_id, reason, payload)"
                " SELECT 'gone', 'agora.evt.ten_1.x.y', 'm' || n, 'ten_1', 'r', 'p' FROM generate_series(1, 5) n"
            )
        )
    first = await page(asker, limit=3)
    second = await page(asker, limit=3, cursor=first.next_cursor)

    assert ["m5", "m4", "m3"] == [letter.message_id for letter in first.items]
    assert ["m2", "m1"] == [letter.message_id for letter in second.items]
    assert second.next_cursor is None
    with pytest.raises(AgoraError) as refused:
        await page(asker, cursor="nonsense")
    assert "invalid_cursor" == refused.value.slug


async def test_a_dead_letter_of_a_consumer_that_is_gone_holds_no_other_up(
    asker: Broker, client: Client, database: Database, picky: Picky, until: Until
):
    """
    It is refused, and its reason says that nobody is there to take it; the one behind it is accepted and marked.
    """
    async with database.system() as connection:
        await connection.execute(
            text(
                "INSERT INTO dead_letters (consumer, subject, message_id, tenant_id, reason, payload)"
                " VALUES ('billing-gone', 'agora.evt.ten_1.x.y', 'm', 'ten_1', 'r', 'p')"
            )
        )
    await publish(client, "a")

    async def both() -> bool:
        return len((await page(asker)).items) == 2

    await until(both)
    picky.refused = set()
    report: ReplayReport = await asker.ask_shared(ReplayDeadLetters(), "billing")

    after = {letter.message_id: letter for letter in (await page(asker)).items}
    assert ReplayReport(accepted=1, refused=[after["m"].id]) == report
    assert ["a"] == picky.applied
    assert after["a"].replayed_at is not None
    assert ("there is no consumer billing-gone any more", None) == (after["m"].reason, after["m"].replayed_at)
