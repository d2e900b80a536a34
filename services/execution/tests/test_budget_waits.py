"""Runs whose models would cost more than is set aside: they wait, and go on when there is more, or without a model."""

from decimal import Decimal
from typing import Any

import pytest
from agora import Agent
from agora_contracts.catalog import Limits
from agora_contracts.envelope import utc_now
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.spending import SpendingRoomGrew

from tests.support.llm_wire import Wire

from .asking import ACCOUNT, TENANT
from .conftest import Workers
from .driving import Platform
from .test_approvals import decide, pending, waiting

ASKS = {"text": "hello", "do": "ask"}
LIMIT = Limits(timeout_seconds=60, model_cost=Decimal("0.00005"), over_budget="pause")
"""Less than the worst case of one call."""


@pytest.fixture
async def poor(vendor: Wire, probe: Agent, service_alone: Platform, workers: Workers) -> Platform:
    """Execution with a model, whose price the probe's limit does not cover."""
    await service_alone.list_package("probe", limits=LIMIT)
    await workers.start()
    return service_alone


async def test_a_run_waits_for_a_budget_and_goes_on_when_it_is_raised(poor: Platform, vendor: Wire) -> None:
    """
    The approval says how much is needed; approved, it is set aside and the model is asked, once.
    """
    run = await poor.start(ASKS, package="probe")
    await waiting(poor, run.id, "budget")
    approval = await pending(poor, run.id)
    assert [] == vendor.asked
    await decide(poor, approval.id)
    ended = await poor.ended(run.id)

    assert ("budget", True) == (approval.kind, approval.needed.amount > 0)
    [increase] = poor.billing.increased.values()
    assert (approval.needed, approval.needed) == (increase.by, increase.raise_limit)
    assert ("succeeded", "Hello to you", 1) == (ended.status, ended.output["text"], len(vendor.asked))


async def test_a_budget_that_is_not_raised_lets_the_run_go_on_without(poor: Platform, vendor: Wire) -> None:
    """
    Rejected, the step is told that there is no model; it never kills the run.
    """
    run = await poor.start(ASKS, package="probe")
    await waiting(poor, run.id, "budget")
    await decide(poor, (await pending(poor, run.id)).id, approve=False)
    ended = await poor.ended(run.id)

    assert ("succeeded", []) == (ended.status, vendor.asked)
    assert ended.output["text"].startswith("no model:")


async def test_an_account_without_credit_cannot_approve(poor: Platform) -> None:
    """
    What billing refuses is the decider's problem; the approval stays open, and so does the run.
    """
    poor.billing.refuse_increases = AgoraError("insufficient_credit", "there is too little credit")
    run = await poor.start(ASKS, package="probe")
    await waiting(poor, run.id, "budget")
    approval = await pending(poor, run.id)
    with pytest.raises(AgoraError) as caught:
        await decide(poor, approval.id)
    still = await pending(poor, run.id)
    poor.billing.refuse_increases = None
    await decide(poor, approval.id)

    assert ("insufficient_credit", approval.id) == (caught.value.slug, still.id)
    assert "succeeded" == (await poor.ended(run.id)).status


async def test_a_run_with_room_in_its_own_limit_takes_it(poor: Platform, vendor: Wire) -> None:
    """
    A customer who let the run cost more than it was quoted at is not asked again.
    """
    ended = await poor.run(ASKS, package="probe", max_cost=Money(amount=1_000_000))

    assert ("succeeded", "Hello to you") == (ended.status, ended.output["text"])
    [increase] = poor.billing.increased.values()
    assert increase.raise_limit is None


async def test_more_credit_wakes_a_run_that_waits_for_it(poor: Platform) -> None:
    """
    A top-up is enough: nobody has to decide anything.
    """
    poor.billing.refuse_increases = AgoraError("insufficient_credit", "there is too little credit")
    run = await poor.start(ASKS, package="probe", max_cost=Money(amount=1_000_000))
    await waiting(poor, run.id, "budget")
    grew = SpendingRoomGrew(account=ACCOUNT, cause="top_up", at=utc_now())
    await poor.publish(TENANT, grew, entity=ACCOUNT)
    poor.billing.refuse_increases = None

    async def woken() -> Any:
        await poor.publish(TENANT, grew, entity=ACCOUNT)
        return (await poor.get(run.id)).finished_at

    await poor.until(woken)
    assert "Hello to you" == (await poor.get(run.id)).output["text"]
