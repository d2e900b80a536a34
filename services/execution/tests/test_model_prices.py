"""Prices of models as data: the operator sets them, and a call costs what holds at its time."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest
from agora import ModelUnavailable
from agora_contracts.envelope import utc_now
from agora_contracts.models import ListModelCalls, ListModelPrices, ListModels, SetModelPrice, TokenPrices
from agora_contracts.problems import AgoraError
from agora_execution.model_prices.service import ModelPrices
from agora_execution.models.queries import ModelQueries
from agora_execution.models.service import ModelCalls
from agora_kit.database import Database

from tests.support.llm_wire import Reply, Wire

from .asking import OTHER_TENANT, TENANT
from .calling import MODEL, SPENT, a_run, chat, money

DEAR = TokenPrices(input=Decimal(1_000), output=Decimal(1_000))


async def test_a_call_costs_what_holds_at_its_time(wire: Wire, database: Database) -> None:
    """
    A price that is announced changes nothing yet; one that has begun is what a call reserves and costs.
    """
    prices = ModelPrices(database)
    run = await a_run(database, 10_000_000)
    await prices.set(SetModelPrice(model=MODEL, prices=DEAR, effective_at=utc_now() + timedelta(days=1)))
    calls = ModelCalls(database, wire.environment("openai"))
    assert SPENT == (await chat(calls, run)).cost.amount

    await prices.set(SetModelPrice(model=MODEL, prices=DEAR, effective_at=utc_now()))
    reply = await chat(ModelCalls(database, wire.environment("openai")), run)
    assert 18_000 == reply.cost.amount
    assert (0, SPENT + 18_000) == await money(database, run)


async def test_an_unknown_model_can_be_called_once_it_has_a_price(wire: Wire, database: Database) -> None:
    """
    A model that came with no price is refused until the operator sets one; setting it again replaces it.
    """
    run = await a_run(database, 10_000_000)
    with pytest.raises(ModelUnavailable, match="model-prices"):
        await chat(ModelCalls(database, wire.environment("openai")), run, model="openai:brand-new")
    at = utc_now()
    prices = ModelPrices(database)
    for one in (DEAR, TokenPrices(input=Decimal(10), output=Decimal(10))):
        await prices.set(SetModelPrice(model="openai:brand-new", prices=one, effective_at=at))
    reply = await chat(ModelCalls(database, wire.environment("openai")), run, model="openai:brand-new")

    assert 180 == reply.cost.amount
    listed = (await prices.list_all(ListModelPrices())).items
    assert [Decimal(10)] == [one.prices.input for one in listed if one.model == "openai:brand-new"]
    assert [None] == [one.effective_at for one in listed if one.model == MODEL]


@pytest.mark.parametrize("wrong", [{"input": "-1"}, {"output": "NaN"}, {"input": "1e9"}, {"surprise": 1}])
def test_a_price_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    """
    Prices are numbers from zero, and nothing else is taken.
    """
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"input": "1", "output": "1"} | wrong, TokenPrices)


async def test_models_are_offered_with_what_they_cost_now(wire: Wire, database: Database) -> None:
    """
    What can be asked is listed with its capabilities and price; what has no price is listed without.
    """
    environment = wire.environment("openai") | {"AGORA_MODEL_SMART": "openai:brand-new"}
    queries = ModelQueries(database, ModelCalls(database, environment))
    offers = {one.model: one for one in (await queries.offers(ListModels(tenant=TENANT))).items}

    mini = offers[MODEL]
    assert (["fast"], "platform") == (mini.capabilities, mini.key)
    assert mini.prices is not None and Decimal("0.15") == mini.prices.input
    assert offers["openai:brand-new"].prices is None


async def test_a_runs_calls_are_listed_with_what_became_of_them(wire: Wire, database: Database) -> None:
    """
    Each try is shown, failed and unreconciled ones as such, page by page, to its own tenant.
    """
    calls = ModelCalls(database, wire.environment("openai"))
    queries = ModelQueries(database, calls)
    run = await a_run(database, 10_000)
    await chat(calls, run)
    wire.answer = Reply(status=400)
    with pytest.raises(ModelUnavailable):
        await chat(calls, run)
    wire.answer = Reply(usage=None)
    await chat(calls, run)
    first = await queries.calls(ListModelCalls(run=run, tenant=TENANT, limit=2))
    rest = await queries.calls(ListModelCalls(run=run, tenant=TENANT, limit=2, cursor=first.next_cursor))

    assert [("answered", True), ("failed", False), ("answered", False)] == [
        (one.state, one.reconciled) for one in (*first.items, *rest.items)
    ]
    assert "400" in (first.items[1].failure or "")
    assert rest.next_cursor is None
    with pytest.raises(AgoraError, match="no run"):
        await queries.calls(ListModelCalls(run=run, tenant=OTHER_TENANT))


def test_what_came_with_the_platform_holds_from_the_beginning() -> None:
    """
    Prices that are shipped have no date of their own to wait for.
    """
    from agora.models.pricing import PriceBook, shipped_prices

    assert PriceBook(shipped_prices()).find(MODEL, datetime(2000, 1, 1, tzinfo=UTC)) is not None
