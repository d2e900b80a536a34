"""The broker on a real NATS server: commands answered, refused, timed out and retried."""

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
import pytest
from agora_contracts.billing import Balance, GetBalance
from agora_contracts.catalogue import COMMANDS
from agora_contracts.platform import GetHealth, Health
from agora_contracts.problems import AgoraError
from agora_contracts.usage_ingest import ReplayAllRefusedUsage, ReplayedUsage
from agora_kit import deadlines
from agora_kit.broker import Broker
from agora_kit.health import HealthReport

A_BALANCE = Balance(account="acc_1", currency="USD", credit=5, held=2, available=3, receivable=0)


@pytest.fixture
async def asker(nats_url: str) -> AsyncIterator[Broker]:
    """A broker that only asks."""
    broker = Broker(nats_url, "gateway")
    await broker.start()
    yield broker
    await broker.stop()


async def test_a_command_is_answered(nats_url: str, asker: Broker):
    """
    What the handler returns arrives decoded at the asker.
    """
    billing = Broker(nats_url, "billing")

    async def balance(_: GetBalance) -> Balance:
        return A_BALANCE

    billing.answer(GetBalance, balance)
    await billing.start()
    try:
        answer = await asker.ask(GetBalance(account="acc_1", tenant="ten_1"))
    finally:
        await billing.stop()

    assert answer == A_BALANCE


async def test_a_refusal_arrives_as_the_same_error(nats_url: str, asker: Broker):
    """
    An AgoraError raised by the handler is raised at the asker with slug, detail and fields.
    """
    billing = Broker(nats_url, "billing")

    async def balance(_: GetBalance) -> Balance:
        raise AgoraError("not_found", "no account acc_1")

    billing.answer(GetBalance, balance)
    await billing.start()
    try:
        with pytest.raises(AgoraError, match="no account acc_1") as refused:
            await asker.ask(GetBalance(account="acc_1", tenant="ten_1"))
    finally:
        await billing.stop()

    assert refused.value.slug == "not_found"


async def test_requests_are_answered_side_by_side(nats_url: str, asker: Broker):
    """
    A slow answer does not hold the next ones back.
    """
    billing = Broker(nats_url, "billing")
    together = asyncio.Barrier(20)

    async def balance(_: GetBalance) -> Balance:
        await together.wait()
        return A_BALANCE

    billing.answer(GetBalance, balance)
    await billing.start()
    try:
        asks = (asker.ask(GetBalance(account="acc_1", tenant="ten_1")) for _ in range(20))
        answers = await asyncio.wait_for(asyncio.gather(*asks), 10)
    finally:
        await billing.stop()

    assert answers == [A_BALANCE] * 20


async def test_a_request_waits_for_a_service_that_restarts(nats_url: str, asker: Broker):
    """
    Nobody there to answer is not an error before the deadline: the request is sent again.
    """
    billing = Broker(nats_url, "billing")

    async def balance(_: GetBalance) -> Balance:
        return A_BALANCE

    billing.answer(GetBalance, balance)
    asking = asyncio.create_task(asker.ask(GetBalance(account="acc_1", tenant="ten_1")))
    await asyncio.sleep(0.3)
    await billing.start()
    try:
        answer = await asking
    finally:
        await billing.stop()

    assert answer == A_BALANCE


async def test_nobody_answers_until_the_deadline(asker: Broker):
    """
    Without anybody to answer the asker is told so after the deadline, with when to try again.
    """
    started = time.monotonic()
    with pytest.raises(AgoraError) as refused:
        await asker.ask(GetBalance(account="acc_1", tenant="ten_1"), deadline_seconds=0.3)

    assert refused.value.slug == "unavailable"
    assert refused.value.problem.retry_after_seconds is not None
    assert time.monotonic() - started >= 0.3


async def test_what_an_answer_asks_takes_no_longer_than_its_own_asker_waits(nats_url: str, asker: Broker):
    """
    The deadline of a request binds what is asked while it is answered, so the reason arrives in time; once the time
    is up, `require_time_left` stops what the asker was told would not come about.
    """
    billing = Broker(nats_url, "billing")
    stopped: list[str] = []

    async def balance(_: GetBalance) -> Balance:
        try:
            await billing.ask_shared(GetHealth(), "nobody", deadline_seconds=30)
        except AgoraError as error:
            try:
                deadlines.require_time_left()
            except AgoraError as late:
                stopped.append(late.slug)
            raise AgoraError("unavailable", "nobody is away") from error
        raise AssertionError("nobody answers")

    billing.answer(GetBalance, balance)
    await billing.start()
    try:
        with pytest.raises(AgoraError, match="nobody is away"):
            await asker.ask(GetBalance(account="acc_1", tenant="ten_1"), deadline_seconds=1)
    finally:
        await billing.stop()

    assert ["unavailable"] == stopped


async def test_unreadable_bytes_are_refused(nats_url: str, asker: Broker):
    """
    A body that is not the command gets a problem, and the handler never sees it.
    """
    billing = Broker(nats_url, "billing")

    async def balance(_: GetBalance) -> Balance:
        raise AssertionError("the handler must not be called")

    billing.answer(GetBalance, balance)
    await billing.start()
    try:
        reply = await asker.client.request("agora.cmd.billing.get_balance", b'{"account": 1}', timeout=5)
    finally:
        await billing.stop()

    assert b"malformed_request" in reply.data


async def test_a_command_that_nobody_waits_for_is_not_carried_out(nats_url: str, asker: Broker):
    """
    An acknowledgement of JetStream goes where the publisher says, and reads like a command that needs no fields: so an
    integrator, who may publish on one subject only, could have everything replayed. It has nobody to answer to.
    """
    metering = Broker(nats_url, "metering")
    carried_out: list[ReplayAllRefusedUsage] = []

    async def replay(command: ReplayAllRefusedUsage) -> ReplayedUsage:
        carried_out.append(command)
        return ReplayedUsage(accepted=0, duplicates=0)

    metering.answer(ReplayAllRefusedUsage, replay)
    await metering.start()
    try:
        subject = COMMANDS[ReplayAllRefusedUsage].subject
        await asker.client.publish(subject, b'{"stream":"INGEST","seq":7}')
        asked = ReplayAllRefusedUsage(tenant="ten_1")
        await asker.ask(asked)
    finally:
        await metering.stop()

    assert [asked] == carried_out


async def test_what_goes_wrong_inside_is_not_the_askers_fault(nats_url: str, asker: Broker):
    """
    A handler that cannot read something of its own is `internal`; only the request itself can be malformed.
    """
    billing = Broker(nats_url, "billing")

    async def balance(_: GetBalance) -> Balance:
        return msgspec.json.decode(b'{"account": 1}', type=Balance)

    billing.answer(GetBalance, balance)
    await billing.start()
    try:
        with pytest.raises(AgoraError) as refused:
            await asker.ask(GetBalance(account="acc_1", tenant="ten_1"))
    finally:
        await billing.stop()

    assert "internal" == refused.value.slug


async def test_what_does_not_fit_into_a_message_is_told_at_once(nats_url: str, asker: Broker):
    """
    Neither a request nor an answer above NATS's limit makes the asker wait for its deadline.
    """
    billing = Broker(nats_url, "billing")

    async def balance(_: GetBalance) -> Balance:
        return msgspec.structs.replace(A_BALANCE, account="x" * 2_000_000)

    billing.answer(GetBalance, balance)
    await billing.start()
    try:
        async with asyncio.timeout(20):
            with pytest.raises(AgoraError) as answered:
                await asker.ask(GetBalance(account="acc_1", tenant="ten_1"), deadline_seconds=60)
            with pytest.raises(AgoraError) as asked:
                await asker.ask(GetBalance(account="x" * 2_000_000, tenant="ten_1"), deadline_seconds=60)
    finally:
        await billing.stop()

    assert ("internal", "payload_too_large") == (answered.value.slug, asked.value.slug)


async def test_health_names_the_dependency_that_fails(nats_url: str, asker: Broker):
    """
    A failing check turns a ready process into a degraded one and says which.
    """
    report = HealthReport("billing")
    report.status = "ready"

    async def broken() -> None:
        raise ConnectionError("no route")

    report.add("database", broken)
    billing = Broker(nats_url, "billing")
    billing.answer_shared(GetHealth, report.report)
    await billing.start()
    try:
        health = await asker.ask_shared(GetHealth(), "billing")
    finally:
        await billing.stop()

    assert Health(service="billing", status="degraded", checks={"database": "no route"}) == health


async def test_a_check_that_is_given_up_leaves_the_connection_alive(nats_url: str, asker: Broker):
    """
    When nobody waits for the server's answer to a check any more, that answer does no harm.
    """
    billing = Broker(nats_url, "billing")

    async def balance(_: GetBalance) -> Balance:
        return A_BALANCE

    billing.answer(GetBalance, balance)
    await billing.start()
    try:
        for _ in range(3):
            check = asyncio.create_task(asker.check())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            check.cancel()
            with pytest.raises(asyncio.CancelledError):
                await check
        with pytest.raises(TimeoutError):
            await asker.round_trip(0)
        answer = await asker.ask(GetBalance(account="acc_1", tenant="ten_1"))
    finally:
        await billing.stop()

    assert A_BALANCE == answer
