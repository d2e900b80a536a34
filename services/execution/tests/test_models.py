"""Model calls: the worst case is reserved inside the run's own hold before a call, and settled after it."""

import asyncio
from decimal import Decimal

import pytest
from agora import Agent, ModelBudgetSpent, ModelUnavailable
from agora.models.breaker import FAILURES_MAX
from agora_contracts.usage import UsageRecorded
from agora_execution.models.model import RETRIES_MAX
from agora_execution.models.service import ModelCalls
from agora_kit.database import Database

from tests.support.llm_wire import Asked, Reply, Wire

from .calling import MODEL, SPENT, WORST, Step, a_run, chat, execute, money, rows
from .conftest import Workers
from .driving import Platform


@pytest.fixture
def calls(database: Database, wire: Wire) -> ModelCalls:
    """Calls of OpenAI, at the wire, that have all the time they need."""
    return ModelCalls(database, wire.environment("openai"), timeout_seconds=600, wait_seconds=600)


async def test_a_call_is_reserved_and_settled(calls: ModelCalls, database: Database) -> None:
    """
    After the call nothing is reserved any more, and what was spent is what the vendor's usage costs.
    """
    run = await a_run(database, 10_000)
    reply = await chat(calls, run)

    assert ("Hello to you", SPENT) == (reply.text, reply.cost.amount)
    assert (0, SPENT) == await money(database, run)
    [call] = await rows(database, "SELECT reserved, spent, cost, input_tokens, reconciled FROM model_calls")
    assert (WORST, SPENT, SPENT, 11, True) == tuple(call)


async def test_calls_at_once_never_spend_more_than_the_hold_has(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    Fifty calls at once with room for five worst cases, which is what they cost: the vendor is asked five times.
    """
    wire.answer = Reply(usage=None)
    run = await a_run(database, 5 * WORST)
    answers = await asyncio.gather(*(chat(calls, run) for _ in range(50)), return_exceptions=True)

    refused = [one for one in answers if isinstance(one, ModelBudgetSpent)]
    assert (5, 45) == (len(wire.asked), len(refused))
    # No usage was reported, so each is taken at its worst case: the hold is spent to the last unit.
    assert (0, 5 * WORST) == await money(database, run)


async def test_of_a_thousand_calls_at_once_none_is_refused_while_there_is_room(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    A thousand calls on one run, whose worst cases together are many times what it has, but which all fit by what
    they cost in the end: each waits its turn, none is refused, and the hold is never passed.
    """
    count = 1000
    run = await a_run(database, count * SPENT + WORST)
    answers = await asyncio.gather(*(chat(calls, run) for _ in range(count)), return_exceptions=True)

    assert set() == {repr(one) for one in answers if isinstance(one, BaseException)}
    assert (0, count * SPENT) == await money(database, run)
    # Never more at once than whose worst cases fit.
    assert wire.at_once_most <= (count * SPENT + WORST) // WORST


async def test_of_a_thousand_calls_at_once_exactly_those_fit_that_the_hold_pays(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    With money for a hundred of a thousand calls, by two processes: calls go on until the next one's worst case does
    not fit, and not one unit more is spent than is there.
    """
    run = await a_run(database, 100 * SPENT + WORST)
    other = ModelCalls(database, wire.environment("openai"), timeout_seconds=600, wait_seconds=600)
    answers = await asyncio.gather(
        *(chat(calls if number % 2 else other, run) for number in range(1000)), return_exceptions=True
    )

    succeeded = [one for one in answers if not isinstance(one, BaseException)]
    assert 101 == len(succeeded) == len(wire.asked)
    refused = [one for one in answers if isinstance(one, BaseException)]
    assert set() == {repr(one) for one in refused if not isinstance(one, ModelBudgetSpent)}
    assert (0, 101 * SPENT) == await money(database, run)


async def test_a_call_without_room_in_the_hold_is_refused(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    One unit less than the worst case is too little, and what is missing is told; a run whose listing allows no models
    has none at all.
    """
    for model_cost, missing in ((WORST - 1, 1), (0, WORST)):
        run = await a_run(database, model_cost)
        with pytest.raises(ModelBudgetSpent, match="worst case") as refused:
            await chat(calls, run)
        assert missing == refused.value.missing
        assert (0, 0) == await money(database, run)
    assert [] == wire.asked


@pytest.mark.parametrize(
    ("reply", "spent"),
    [
        (Reply(status=400), 0),
        (Reply(status=401), 0),
        (Reply(garbage=b"<html>"), WORST),
        (Reply(unfinished=True), WORST),
        (Reply(hangs=True), WORST),
    ],
)
async def test_what_a_failed_call_may_have_cost_is_kept(
    reply: Reply, spent: int, wire: Wire, database: Database
) -> None:
    """
    What a vendor refuses by its status costs nothing. Where it may have worked, the worst case counts as spent: it is
    what is known. Nothing stays reserved, and why it failed is kept.
    """
    wire.answer = reply
    run = await a_run(database, 10_000)
    calls = ModelCalls(database, wire.environment("openai"), timeout_seconds=0.3)
    with pytest.raises(ModelUnavailable):
        await chat(calls, run)

    assert (0, spent) == await money(database, run)
    [call] = await rows(database, "SELECT spent, reconciled, failure FROM model_calls")
    assert (spent, False) == (call.spent, call.reconciled)
    assert call.failure.startswith(MODEL)


async def test_a_call_that_is_cut_off_is_taken_at_its_worst_case(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    A step that is cancelled in the middle of a call leaves nothing reserved.
    """
    wire.answer = Reply(hangs=True)
    run = await a_run(database, 10_000)
    asking = asyncio.create_task(chat(calls, run))
    await wire.until_asked()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    assert (0, WORST) == await money(database, run)


async def test_a_database_that_goes_away_meanwhile_loses_no_reply(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    Connections that are cut while the vendor works are opened again: the reply is given, settled and kept.
    """
    wire.answer = Reply(delay_seconds=0.5)
    run = await a_run(database, 10_000)
    asking = asyncio.create_task(chat(calls, run))
    await wire.until_asked()
    await execute(
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND usename = current_user AND pid <> pg_backend_pid()",
    )

    assert "Hello to you" == (await asking).text
    assert (0, SPENT) == await money(database, run)


async def test_what_a_process_left_behind_is_settled(calls: ModelCalls, database: Database) -> None:
    """
    A worker that died in the middle of a call leaves a reservation, which is settled at its worst case; once.
    """
    run = await a_run(database, 10_000)
    await chat(calls, run)
    await execute(
        database,
        "UPDATE model_calls SET spent = NULL, reply = NULL, at = now() - interval '10 minutes'",
    )
    await execute(database, "UPDATE runs SET model_spent = 0, model_reserved = :worst", worst=WORST)
    for _ in range(2):
        await calls.sweep()

    assert (0, WORST) == await money(database, run)


async def test_after_the_runs_end_no_call_is_made(calls: ModelCalls, wire: Wire, database: Database) -> None:
    """
    A late step of a run that is over cannot spend its hold.
    """
    run = await a_run(database, 10_000)
    await execute(database, "UPDATE runs SET status = 'failed', finished_at = now() WHERE id = :run", run=run)
    with pytest.raises(ModelUnavailable, match="ended"):
        await chat(calls, run)

    assert [] == wire.asked


async def test_another_model_takes_over_and_reserves_anew(wire: Wire, database: Database) -> None:
    """
    Where a model fails the next one is asked, with a reservation of its own; the customer pays for the one that
    answered.
    """

    def answer(asked: Asked) -> Reply:
        return Reply(status=503) if asked.vendor == "openai" else Reply()

    wire.answer = answer
    run = await a_run(database, 10_000)
    calls = ModelCalls(database, wire.environment("openai", "groq"))
    reply = await chat(calls, run)

    assert "groq:llama-3.1-8b-instant" == reply.model
    assert (0, reply.cost.amount) == await money(database, run)
    tried = await rows(
        database, "SELECT model, spent, failure IS NULL AS answered FROM model_calls ORDER BY at"
    )
    assert [(MODEL, 0, False), ("groq:llama-3.1-8b-instant", reply.cost.amount, True)] == [
        tuple(one) for one in tried
    ]


async def test_a_model_that_is_too_dear_for_the_hold_leaves_its_turn_to_another(
    wire: Wire, database: Database
) -> None:
    """
    The best model's worst case does not fit, a lesser one's does: that one answers.
    """
    run = await a_run(database, WORST)
    calls = ModelCalls(database, wire.environment("openai", "anthropic"))
    reply = await chat(calls, run, policy="best")

    assert MODEL == reply.model


async def test_a_fault_that_passes_is_tried_again(calls: ModelCalls, wire: Wire, database: Database) -> None:
    """
    A model that is down for a moment, with no other to ask, is asked again.
    """

    def answer(_: Asked) -> Reply:
        return Reply(status=503) if len(wire.asked) < 3 else Reply()

    wire.answer = answer
    run = await a_run(database, 10_000)

    assert "Hello to you" == (await chat(calls, run)).text
    [row] = await rows(database, "SELECT model_retries FROM runs WHERE id = :run", run=run)
    assert (3, 2) == (len(wire.asked), row.model_retries)


async def test_all_calls_of_a_run_share_one_budget_of_retries(wire: Wire, database: Database) -> None:
    """
    Once a run has tried again so often, its calls fail at their first fault, in every process.
    """
    wire.answer = Reply(status=503)
    run = await a_run(database, 10_000)
    await execute(
        database, "UPDATE runs SET model_retries = :most WHERE id = :run", most=RETRIES_MAX - 1, run=run
    )
    for asked_in_all in (2, 3):
        calls = ModelCalls(database, wire.environment("openai"))
        with pytest.raises(ModelUnavailable, match="tried again"):
            await chat(calls, run)
        assert asked_in_all == len(wire.asked)


async def test_a_model_that_keeps_failing_is_left_alone(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    After failures in a row nobody asks the model for a while, and calls are told so at once.
    """
    wire.answer = Reply(garbage=b"<html>")
    run = await a_run(database, 100 * WORST)
    for _ in range(FAILURES_MAX):
        with pytest.raises(ModelUnavailable):
            await chat(calls, run)
    with pytest.raises(ModelUnavailable, match="left alone"):
        await chat(calls, run)

    assert FAILURES_MAX == len(wire.asked)


async def test_a_pause_that_a_vendor_asks_for_is_waited_by_all_calls(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    Told once that it is asked too often, the vendor is left alone for the seconds that it names, also by calls that
    come meanwhile; then all are answered. A pause that is too long is told.
    """
    wire.answer = lambda _: Reply(status=429, retry_after="1") if len(wire.asked) < 2 else Reply()
    run = await a_run(database, 10_000)
    first = asyncio.create_task(chat(calls, run))
    await wire.until_asked()
    await asyncio.sleep(0.3)
    others = await asyncio.gather(*(chat(calls, run) for _ in range(3)))

    assert {"Hello to you"} == {one.text for one in (await first, *others)}
    assert 5 == len(wire.asked)
    wire.answer = Reply(status=429, retry_after="60")
    with pytest.raises(ModelUnavailable, match="429"):
        await chat(calls, run)
    with pytest.raises(ModelUnavailable, match="wants a pause of"):
        await chat(calls, run)


async def test_a_model_without_a_price_is_not_asked(wire: Wire, database: Database) -> None:
    """
    What a call may cost must be known beforehand: the refusal says where to set the price.
    """
    run = await a_run(database, 10_000)
    calls = ModelCalls(database, wire.environment("openai"))
    with pytest.raises(ModelUnavailable, match="model-prices"):
        await chat(calls, run, model="openai:not-priced")
    with pytest.raises(ModelUnavailable, match="ANTHROPIC_API_KEY"):
        await chat(calls, run, model="anthropic:claude-haiku-4-5")
    with pytest.raises(ModelUnavailable, match="vendor:model"):
        await chat(calls, run, model="gpt-4o")

    assert [] == wire.asked


async def test_text_is_given_as_it_comes(calls: ModelCalls, wire: Wire, database: Database) -> None:
    """
    A streamed call is reserved and settled as any other, with the usage that comes at the stream's end.
    """
    run = await a_run(database, 10_000)
    pieces: list[str] = []
    reply = await chat(calls, run, on_text=pieces.append)

    assert ["Hello", " to you"] == [piece for piece in pieces if piece]
    assert (True, (0, SPENT)) == (reply.reconciled, await money(database, run))


async def test_texts_are_embedded_within_the_hold(calls: ModelCalls, wire: Wire, database: Database) -> None:
    """
    Vectors are reserved, settled and refused as replies are.
    """
    run = await a_run(database, 10)
    embedded = await calls.embed(["one", "two"], caller=Step(run))

    assert (2, 11) == (len(embedded.vectors), embedded.input_tokens)
    assert (0, embedded.cost.amount if embedded.cost else -1) == await money(database, run)
    with pytest.raises(ModelBudgetSpent):
        await calls.embed(["long " * 1000], caller=Step(run))


async def test_an_agents_model_calls_are_its_runs_usage(
    vendor: Wire, probe: Agent, service_alone: Platform, workers: Workers
) -> None:
    """
    What a step asked of a model is held beforehand, and metered with cost and tokens.
    """
    await service_alone.list_package("probe")
    await workers.start()
    run = await service_alone.run({"text": "hello", "do": "ask"}, package="probe")

    assert ("succeeded", "Hello to you") == (run.status, run.output["text"])
    used = {one.meter: one.quantity for one in run.usage}
    assert Decimal("0.000006") == used["model.cost"]
    assert (11, 7) == (used["model.input_tokens"], used["model.output_tokens"])
    [placed] = service_alone.billing.placed
    assert [("tasks", Decimal(1)), ("model.cost", Decimal("0.01"))] == [
        (one.meter, one.quantity) for one in placed.estimates
    ]
    assert run.quoted.amount == 20_000
    dimensions = [
        e.data.dimensions for e in await service_alone.events(UsageRecorded) if e.data.meter == "model.cost"
    ]
    assert [{"model": MODEL, "reconciled": "yes"}] == dimensions


async def test_without_a_key_an_agent_works_without_models(probe_platform: Platform) -> None:
    """
    No vendor is configured: nothing is held for models, and the agent is told so.
    """
    run = await probe_platform.run({"text": "hello", "do": "ask"}, package="probe")

    assert "succeeded" == run.status
    assert run.output["text"].startswith("no model:")
    [placed] = probe_platform.billing.placed
    assert ["tasks"] == [one.meter for one in placed.estimates]
