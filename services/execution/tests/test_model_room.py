"""Room in a run's hold: who need not wait for it, and what becomes of a reservation whose call is never made."""

import asyncio

import pytest
from agora_execution.models.cache import ResponseCache
from agora_execution.models.service import ModelCalls
from agora_kit.database import Database
from sqlalchemy import text
from structlog.testing import capture_logs

from tests.support.llm_wire import Asked, Reply, Wire

from .calling import SPENT, WORST, Step, a_run, chat, money, rows, until


@pytest.fixture
def calls(database: Database, wire: Wire) -> ModelCalls:
    """Calls of OpenAI, at the wire, that have all the time they need."""
    return ModelCalls(database, wire.environment("openai"), timeout_seconds=600, wait_seconds=600)


async def test_a_reply_that_is_paid_is_not_waited_for(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    While one call takes all the room and another waits for it, a step that is called again gets at once what it
    paid, and so does one whose answer is in the cache: neither needs room.
    """
    run = await a_run(database, 2 * SPENT + WORST)
    step = Step(run)
    paid = await chat(calls, step)
    cached = await chat(calls, run, cache=True)
    wire.answer = Reply(hangs=True)
    others = [asyncio.create_task(chat(calls, run)) for _ in range(2)]
    await until(lambda: calls.waiting(run))

    async with asyncio.timeout(20):
        assert paid == await chat(calls, step.again())
        assert cached.text == (await chat(calls, run, cache=True)).text
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def test_what_costs_nothing_fits_where_there_is_less_than_nothing(
    calls: ModelCalls, database: Database
) -> None:
    """
    A hold that a vendor overdrew has no room for what costs, but for what costs it nothing.
    """
    run = await a_run(database, 10_000)
    await chat(calls, run, cache=True)
    async with database.system() as connection:
        await connection.execute(
            text("UPDATE runs SET model_spent = model_cost + 5 WHERE id = :run"), {"run": run}
        )

    assert (await chat(calls, run, cache=True)).cached


async def test_a_call_that_is_cut_off_while_it_reserves_spends_nothing(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    Its reservation may be on its way when the step is cancelled; once it is written it is given back.
    """
    run = await a_run(database, 10_000)
    async with database.system() as connection:
        await connection.execute(text("SELECT 1 FROM runs WHERE id = :run FOR UPDATE"), {"run": run})
        asking = asyncio.create_task(chat(calls, run))
        await until(lambda: rows(database, "SELECT 1 FROM pg_locks WHERE NOT granted"))
        asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    [call] = await rows(database, "SELECT reserved, spent, cost FROM model_calls")
    assert ((WORST, 0, 0), (0, 0), []) == (tuple(call), await money(database, run), wire.asked)


async def test_a_call_that_is_cut_off_while_it_waits_lets_the_others_go_on(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    Cut off in the queue it leaves nothing behind: the next one gets the room.
    """
    wire.answer = Reply(hangs=True)
    run = await a_run(database, 2 * WORST - 1)
    first = asyncio.create_task(chat(calls, run))
    await wire.until_asked()
    second, third = (asyncio.create_task(chat(calls, run)) for _ in range(2))
    await until(lambda: calls.waiting(run) == 2)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    wire.answer = Reply()
    # The first is taken at its worst case; what is left is one unit too little for another.
    first.cancel()
    found = await asyncio.gather(first, third, return_exceptions=True)

    assert "ModelBudgetSpent" == type(found[1]).__name__
    assert (0, WORST) == await money(database, run)


async def test_a_call_that_costs_more_than_its_worst_case_raises_an_alarm(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    It is booked as it is, and whoever operates the platform is told: the bound or the price is wrong.
    """
    wire.answer = Reply(usage=(1_000_000, 7))
    run = await a_run(database, 10_000)
    with capture_logs() as logged:
        reply = await chat(calls, run)

    assert (0, reply.cost.amount) == await money(database, run)
    [alarm] = [one for one in logged if one["log_level"] == "error"]
    assert (WORST, reply.cost.amount) == (alarm["worst_micros"], alarm["cost_micros"])


async def test_the_one_who_asks_keeps_its_claim(wire: Wire, database: Database) -> None:
    """
    A call that takes longer than a claim holds is still the only one: its claim is renewed.
    """

    def slow_at_first(_: Asked) -> Reply:
        return Reply(delay_seconds=1.5) if len(wire.asked) == 1 else Reply()

    wire.answer = slow_at_first
    run = await a_run(database, 10_000)
    first, second = (
        ModelCalls(database, wire.environment("openai"), cache=ResponseCache(database, claim_seconds=0.5))
        for _ in range(2)
    )
    asking = asyncio.create_task(chat(first, run, cache=True))
    await wire.until_asked()

    assert (await chat(second, run, cache=True)).cached
    assert (False, 1) == ((await asking).cached, len(wire.asked))
