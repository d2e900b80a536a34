"""Use cases of models' prices."""

import msgspec
from agora.models.pricing import DatedPrice, ModelPrice, PriceBook, price_table, shipped_prices
from agora_contracts.models import (
    ListModelPrices,
    ModelPriceEntry,
    ModelPriceList,
    SetModelPrice,
    TokenPrices,
)
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.database import Database

from agora_execution.model_prices import store


class ModelPrices:
    """Keeps what models cost. A call is priced by what holds at its time; a price once met is never changed by it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def set(self, command: SetModelPrice) -> ModelPriceEntry:
        """Set a price from a moment on."""
        async with self._database.transaction(PLATFORM_TENANT) as connection:
            await store.save(connection, command.model, command.effective_at, command.prices)
        return ModelPriceEntry(model=command.model, prices=command.prices, effective_at=command.effective_at)

    async def list_all(self, _: ListModelPrices) -> ModelPriceList:
        """All prices, by model, those that came with the platform first."""
        shipped = [
            ModelPriceEntry(model=model, prices=token_prices(price))
            for model, price in price_table().models.items()
        ]
        entries = [*shipped, *await self._all()]
        # Sorting is stable: a model's own order stays.
        return ModelPriceList(items=sorted(entries, key=lambda one: one.model))

    async def book(self) -> PriceBook:
        """All prices, to look up what holds at a moment."""
        stored = [
            DatedPrice(model=one.model, effective_at=one.effective_at, price=model_price(one.prices))
            for one in await self._all()
            if one.effective_at is not None
        ]
        return PriceBook([*shipped_prices(), *stored])

    async def _all(self) -> list[ModelPriceEntry]:
        async with self._database.system() as connection:
            return await store.all_prices(connection)


def model_price(prices: TokenPrices) -> ModelPrice:
    """The same as the SDK has it."""
    return ModelPrice(**msgspec.structs.asdict(prices))


def token_prices(price: ModelPrice) -> TokenPrices:
    """The same as contracts have it."""
    return TokenPrices(**msgspec.structs.asdict(price))
