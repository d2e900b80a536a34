"""Steps that do several things at once when one of them has to wait: nothing is paid twice, and the run does wait."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from agora import Agent, Context
from agora.steps import StepDefinition
from agora.suspension import BudgetRequest
from agora_execution.models import store
from agora_execution.models.port import RunModels
from agora_execution.models.service import ModelCalls
from agora_execution.runs.activities import called
from agora_execution.runs.failures import StepAsks
from agora_kit.database import Database

from tests.support.llm_wire import Reply, Wire

from .asking import TENANT
from .calling import MAX_TOKENS, PROMPT, SPENT, a_run, money, until
from .driving import Platform
from .test_approvals import decide, pending, waiting

DEAR = 100_000
"""So many tokens that their worst case is more than the run has."""


class Attempts:
    """Attempts at one step, as the platform makes them."""

    def __init__(self, database: Database, wire: Wire, run: str) -> None:
        self._calls = ModelCalls(database, wire.environment("openai"))
        self._run = run
        self._made = 0

    async def make(self, function: Callable[[Any, Context], Any], *, timeout_seconds: float = 60) -> Any:
        """Call the step once more."""
        self._made += 1
        access = await self._calls.access(TENANT)
        models = RunModels(
            self._calls, self._run, TENANT, f"{self._run}/work/1", self._made, access=access, may_wait=True
        )
        nothing: Any = None
        context = Context(
            run_id=self._run, step_id=f"{self._run}/work/1", attempt=self._made, config=None, prepared=None,
            files=nothing, knowledge=nothing, models=models,
        )  # fmt: skip
        models.report_to(context)
        definition = StepDefinition(function=function, title="Work", timeout_seconds=timeout_seconds)
        return await called(definition, None, context, 60)


@pytest.mark.parametrize("how", ["gather", "task_group", "held_back", "forgotten"])
async def test_a_call_at_hand_is_paid_once_when_another_has_to_wait(
    how: str, wire: Wire, database: Database
) -> None:
    """
    One call has no room while another is with the vendor. However the step makes them at once, the run waits, the
    other call is let through to its end, and its reply is there when the step is called again.
    """
    wire.answer = Reply(delay_seconds=0.5)
    run = await a_run(database, 10_000)
    attempts = Attempts(database, wire, run)

    async def work(_: Any, context: Context) -> list[str]:
        async def dear() -> Any:
            await wire.until_asked()
            return await context.models.chat(PROMPT, max_tokens=DEAR)

        cheap = context.models.chat(PROMPT, max_tokens=MAX_TOKENS)
        if how == "task_group":
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(cheap), group.create_task(dear())]
            return [task.result().text for task in tasks]
        found: Any = await asyncio.gather(cheap, dear(), return_exceptions=how in ("held_back", "forgotten"))
        if how == "forgotten":
            return [one.text for one in found]
        return [getattr(one, "text", "nothing") for one in found]

    with pytest.raises(StepAsks) as waits:
        await attempts.make(work)

    assert isinstance(waits.value.asked.request, BudgetRequest)
    assert (1, (0, SPENT)) == (len(wire.asked), await money(database, run))

    async with database.system() as connection:
        await store.raise_limit(connection, run, waits.value.asked.request.amount)
    assert ["Hello to you"] * 2 == await attempts.make(work)
    assert (2, (0, 2 * SPENT)) == (len(wire.asked), await money(database, run))


async def test_a_step_that_waits_begins_no_more_calls(wire: Wire, database: Database) -> None:
    """
    What a step does after it was told to wait is not paid: it will be done again.
    """
    attempts = Attempts(database, wire, await a_run(database, 10_000))

    async def work(_: Any, context: Context) -> None:
        await asyncio.gather(context.models.chat(PROMPT, max_tokens=DEAR), return_exceptions=True)
        await asyncio.gather(context.models.chat(PROMPT, max_tokens=MAX_TOKENS), return_exceptions=True)

    with pytest.raises(StepAsks):
        await attempts.make(work)

    assert [] == wire.asked


async def test_a_call_that_takes_too_long_is_not_cut_off_by_its_steps_waiting(
    wire: Wire, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The step does not wait for ever for calls at hand; they go on, and come to what they cost.
    """
    monkeypatch.setattr("agora_execution.runs.activities._SETTLING_SECONDS", 0.1)
    wire.answer = Reply(delay_seconds=1.5)
    run = await a_run(database, 10_000)
    attempts = Attempts(database, wire, run)

    async def work(_: Any, context: Context) -> None:
        async def dear() -> None:
            await wire.until_asked()
            await context.models.chat(PROMPT, max_tokens=DEAR)

        await asyncio.gather(context.models.chat(PROMPT, max_tokens=MAX_TOKENS), dear())

    with pytest.raises(StepAsks):
        await attempts.make(work, timeout_seconds=0.8)
    assert 0 < (await money(database, run))[0]

    async def over() -> bool:
        return await money(database, run) == (0, SPENT)

    await until(over)


async def test_a_run_waits_for_a_decision_that_its_step_holds_back(
    probe: Agent, probe_platform: Platform
) -> None:
    """
    An agent that gathers what it asks for together with errors gets no half answers: the run waits for people.
    """
    run = await probe_platform.start({"text": "hello", "do": "approve_held_back"}, package="probe")
    await waiting(probe_platform, run.id, "approval")
    await decide(probe_platform, (await pending(probe_platform, run.id)).id)

    assert "True" == (await probe_platform.ended(run.id)).output["text"]
