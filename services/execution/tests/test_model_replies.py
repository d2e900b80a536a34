"""Replies that are kept: a step that is called again pays nothing twice, and equal calls may share an answer."""

import asyncio

import msgspec
import pytest
from agora import Message, ModelUnavailable, ToolOffer
from agora_execution.models.cache import ResponseCache
from agora_execution.models.service import ModelCalls
from agora_kit.database import Database

from tests.support.llm_wire import Reply, Wire

from .asking import OTHER_TENANT
from .calling import PROMPT, SPENT, Step, a_run, chat, execute, money, rows


class Pay(msgspec.Struct, frozen=True):
    """What a tool takes."""

    amount: int


PAY = ToolOffer(name="pay", description="Pay.", arguments=Pay)


@pytest.fixture
def calls(database: Database, wire: Wire) -> ModelCalls:
    """Calls of OpenAI, at the wire."""
    return ModelCalls(database, wire.environment("openai"))


async def test_a_step_that_is_called_again_gets_the_reply_that_was_paid(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    The next attempt, in another process, asks the same and gets the kept reply, with its cost: the vendor is asked and
    paid once.
    """
    run = await a_run(database, 10_000)
    step = Step(run)
    first = await chat(calls, step)
    again = await chat(ModelCalls(database, wire.environment("openai")), step.again())

    assert first == again
    assert (1, (0, SPENT)) == (len(wire.asked), await money(database, run))


async def test_a_kept_reply_is_streamed_again(calls: ModelCalls, wire: Wire, database: Database) -> None:
    """
    Whoever wants the text as it comes gets that of a kept reply, too.
    """
    run = await a_run(database, 10_000)
    step = Step(run)
    await chat(calls, step)
    pieces: list[str] = []
    await chat(calls, step.again(), on_text=pieces.append)

    assert (["Hello to you"], 1) == (pieces, len(wire.asked))


async def test_equal_calls_of_one_step_are_different_calls(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    A step that asks the same three times, at once, is answered three times, and the same three times when it is
    called again.
    """
    run = await a_run(database, 10_000)
    step = Step(run)
    await asyncio.gather(*(chat(calls, step) for _ in range(3)))
    again = step.again()
    await asyncio.gather(*(chat(calls, again) for _ in range(3)))
    assert 3 == len(wire.asked)

    await chat(calls, again)
    assert 4 == len(wire.asked)


async def test_another_question_is_asked(calls: ModelCalls, wire: Wire, database: Database) -> None:
    """
    What differs in anything that goes out is another call.
    """
    run = await a_run(database, 10_000)
    step = Step(run)
    await chat(calls, step)
    await chat(calls, step.again(), max_tokens=50)
    await chat(calls, step.again(), tools=[PAY])
    await calls.chat([*PROMPT, Message(role="user", content="more")], caller=step.again(), max_tokens=100)

    assert 4 == len(wire.asked)


async def test_a_kept_tool_call_is_typed_again(calls: ModelCalls, wire: Wire, database: Database) -> None:
    """
    A kept reply is read as a new one is: its tool calls are checked and typed.
    """
    wire.answer = Reply(pieces=("",), tool=("pay", '{"amount": 3}'))
    run = await a_run(database, 10_000)
    step = Step(run)
    for attempt in (step, step.again()):
        reply = await chat(calls, attempt, tools=[PAY])
        assert Pay(amount=3) == reply.tool_calls[0].arguments

    assert 1 == len(wire.asked)


async def test_a_call_that_failed_is_made_again(calls: ModelCalls, wire: Wire, database: Database) -> None:
    """
    Only replies are kept.
    """
    run = await a_run(database, 10_000)
    step = Step(run)
    wire.answer = Reply(unfinished=True)
    with pytest.raises(ModelUnavailable):
        await chat(calls, step)
    wire.answer = Reply()

    assert "Hello to you" == (await chat(calls, step.again())).text


async def test_replies_of_runs_long_over_are_dropped(calls: ModelCalls, database: Database) -> None:
    """
    What was said is dropped some time after the run's end; what was used and spent stays.
    """
    run = await a_run(database, 10_000)
    await chat(calls, run)
    await calls.sweep()
    assert [(True,)] == [
        tuple(row) for row in await rows(database, "SELECT reply IS NOT NULL FROM model_calls")
    ]

    await execute(database, "UPDATE runs SET finished_at = now() - interval '2 days'")
    await calls.sweep()
    [row] = await rows(database, "SELECT reply, spent FROM model_calls")
    assert (None, SPENT) == tuple(row)


async def test_calls_of_runs_long_over_are_deleted(calls: ModelCalls, database: Database) -> None:
    """
    The list of a run's calls goes after its time, but not while the run is under way.
    """
    over, running = await a_run(database, 10_000), await a_run(database, 10_000)
    for run in (over, running):
        await chat(calls, run)
    await execute(database, "UPDATE model_calls SET at = now() - interval '8 days'")
    await execute(database, "UPDATE runs SET finished_at = now() WHERE id = :run", run=over)
    await calls.expire(9)
    assert 2 == len(await rows(database, "SELECT id FROM model_calls"))
    await calls.expire(7)

    assert [(running,)] == [tuple(row) for row in await rows(database, "SELECT run_id FROM model_calls")]


# --- the cache -----------------------------------------------------------------------------------


async def test_an_equal_call_is_answered_from_the_cache(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    With the cache, an equal call of another step and run of the same tenant costs nothing and says so.
    """
    first = await chat(calls, await a_run(database, 10_000), cache=True)
    run = await a_run(database, 10_000)
    second = await chat(calls, run, cache=True)

    assert (False, True) == (first.cached, second.cached)
    assert (first.text, 0, 1) == (second.text, second.cost.amount, len(wire.asked))
    assert (0, 0) == await money(database, run)


async def test_the_cache_is_opt_in_and_of_one_tenant(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    Whoever does not ask for the cache, or is another tenant, is answered anew.
    """
    await chat(calls, await a_run(database, 10_000), cache=True)
    await chat(calls, await a_run(database, 10_000))
    run = await a_run(database, 10_000, tenant=OTHER_TENANT)
    other = await chat(calls, Step(run, tenant=OTHER_TENANT), cache=True)

    assert (False, 3) == (other.cached, len(wire.asked))


async def test_equal_calls_at_once_are_asked_once(calls: ModelCalls, wire: Wire, database: Database) -> None:
    """
    Of many equal calls at once, in two processes, one is made and the others get its answer.
    """
    wire.answer = Reply(delay_seconds=0.2)
    run = await a_run(database, 10_000)
    other = ModelCalls(database, wire.environment("openai"))
    replies = await asyncio.gather(
        *(chat(calls if number % 2 else other, run, cache=True) for number in range(40))
    )

    assert (1, 39) == (len(wire.asked), sum(reply.cached for reply in replies))
    assert (0, SPENT) == await money(database, run)


async def test_where_the_one_that_asks_fails_the_next_one_asks(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    A failure is no answer to keep: it is told to its own call, and the next asks itself.
    """
    run = await a_run(database, 100_000)
    wire.answer = lambda _: Reply(status=400) if len(wire.asked) < 2 else Reply()
    answers = await asyncio.gather(*(chat(calls, run, cache=True) for _ in range(5)), return_exceptions=True)

    assert 1 == sum(isinstance(one, ModelUnavailable) for one in answers)
    assert 2 == len(wire.asked)


async def test_an_answer_grows_too_old(wire: Wire, database: Database) -> None:
    """
    After its time an answer is asked for again, and the old one is deleted.
    """
    run = await a_run(database, 10_000)
    calls = ModelCalls(database, wire.environment("openai"), cache=ResponseCache(database, kept_seconds=0))
    for _ in range(2):
        await chat(calls, run, cache=True)
    assert 2 == len(wire.asked)

    await calls.sweep()
    assert [] == await rows(database, "SELECT * FROM model_cache")


async def test_an_answer_that_does_not_fit_is_not_kept(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    A reply outside its schema would be as wrong the next time.
    """
    run = await a_run(database, 10_000)
    wire.answer = Reply(pieces=("no JSON",))
    with pytest.raises(ModelUnavailable):
        await chat(calls, run, cache=True, schema=Pay)
    wire.answer = Reply(pieces=('{"amount": 1}',))

    assert Pay(amount=1) == (await chat(calls, run, cache=True, schema=Pay)).parsed


async def test_a_claim_of_a_process_that_died_lapses(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    Who asked and died keeps others waiting only until its claim lapses.
    """
    run = await a_run(database, 10_000)
    await chat(calls, run, cache=True)
    await execute(
        database,
        "UPDATE model_cache SET reply = NULL, expires_at = NULL, claimed_by = 'dead', "
        "claimed_until = now() + interval '0.3 seconds'",
    )

    assert not (await chat(calls, run, cache=True)).cached
    assert 2 == len(wire.asked)


async def test_a_hit_is_found_again_by_the_next_attempt(
    calls: ModelCalls, wire: Wire, database: Database
) -> None:
    """
    A step that was answered by the cache is answered the same when it is called again, whatever became of the cache.
    """
    await chat(calls, await a_run(database, 10_000), cache=True)
    step = Step(await a_run(database, 10_000))
    hit = await chat(calls, step, cache=True)
    await execute(database, "DELETE FROM model_cache")

    assert hit == await chat(calls, step.again(), cache=True)
    assert (True, 1) == (hit.cached, len(wire.asked))
