"""What steps ask of models, in whole runs: billed once, read by reference, waiting where money is short."""

import json
from decimal import Decimal

import pytest
from agora import Agent, Message, ModelBudgetSpent
from agora.suspension import BudgetRequest, Suspended
from agora_execution.models import store
from agora_execution.models.port import RunModels
from agora_execution.models.service import ModelCalls
from agora_kit.database import Database

from tests.support.llm_wire import Wire

from .asking import TENANT
from .calling import MAX_TOKENS, PROMPT, SPENT, WORST, a_run, money
from .conftest import Workers
from .driving import Platform
from .test_approvals import asked, decide


async def test_a_step_that_waits_for_a_person_pays_its_model_once(
    vendor: Wire, probe: Agent, service_alone: Platform, workers: Workers
) -> None:
    """
    A step asks a model, then a person, and is called again with the decision: the model's reply is the one that was
    paid, and it is the run's usage, once.
    """
    await service_alone.list_package("probe")
    await workers.start()
    run, approval = await asked(service_alone, do="ask_then_approve")
    await decide(service_alone, approval)
    ended = await service_alone.ended(run)

    assert ("succeeded", "Hello to you: True") == (ended.status, ended.output["text"])
    assert 1 == len(vendor.asked)
    used = {one.meter: one.quantity for one in ended.usage}
    assert (Decimal("0.000006"), 11) == (used["model.cost"], used["model.input_tokens"])
    assert (0, SPENT) == await money(service_alone.database, run)


async def test_an_image_goes_to_the_model_and_not_into_the_history(
    vendor: Wire, probe: Agent, service_alone: Platform, workers: Workers
) -> None:
    """
    A run's image is a file by its id: its bytes are read for the call, and stand in no history and no row.
    """
    await service_alone.list_package("probe")
    await workers.start()
    file = await service_alone.upload(b"\x89PNG and more", name="dot.png")
    ended = await service_alone.run({"text": "look", "do": "look", "file": file}, package="probe")

    assert ("succeeded", "Hello to you") == (ended.status, ended.output["text"])
    picture = "iVBORyBhbmQgbW9yZQ"
    assert picture in json.dumps(vendor.asked[0].body).replace("=", "")
    history = await service_alone.workflow(ended.id).fetch_history()
    assert picture not in history.to_json()


async def test_a_run_that_may_wait_asks_for_more_where_its_hold_is_short(
    wire: Wire, database: Database
) -> None:
    """
    Short of room for a call, the step is suspended with how much it needs; once the limit is raised it is called again
    and goes on. A run that may not wait, or has nothing for models at all, is refused.
    """
    calls = ModelCalls(database, wire.environment("openai"))
    access = await calls.access(TENANT)
    run = await a_run(database, WORST - 1)

    def attempt(number: int, *, may_wait: bool = True) -> RunModels:
        return RunModels(calls, run, TENANT, f"{run}/ask/1", number, access=access, may_wait=may_wait)

    with pytest.raises(Suspended) as suspended:
        await attempt(1).chat(PROMPT, max_tokens=MAX_TOKENS)
    assert isinstance(suspended.value.request, BudgetRequest)
    assert (WORST, WORST - 1) == (suspended.value.request.amount, suspended.value.number)
    async with database.system() as connection:
        await store.raise_limit(connection, run, suspended.value.request.amount)
    assert "Hello to you" == (await attempt(2).chat(PROMPT, max_tokens=MAX_TOKENS)).text

    long = [Message(role="user", content="word " * 10_000)]
    with pytest.raises(ModelBudgetSpent):
        await attempt(3, may_wait=False).chat(long, max_tokens=MAX_TOKENS)
