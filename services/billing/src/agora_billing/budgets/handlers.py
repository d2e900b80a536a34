"""What billing answers about budgets."""

from agora_contracts.budgets import (
    Budget,
    BudgetList,
    ChangeBudget,
    CreateBudget,
    DeleteBudget,
    GetBudget,
    ListBudgets,
)
from agora_kit.broker import Broker
from agora_kit.database import Database

from agora_billing.accounts.service import Clock
from agora_billing.budgets import service


def register(broker: Broker, database: Database, clock: Clock) -> None:
    """Answer CreateBudget, ChangeBudget, DeleteBudget, GetBudget and ListBudgets."""

    async def create(command: CreateBudget) -> Budget:
        async with database.transaction(command.tenant) as connection:
            return await service.create(connection, command, clock())

    async def change(command: ChangeBudget) -> Budget:
        async with database.transaction(command.tenant) as connection:
            return await service.change(connection, command, clock())

    async def delete(command: DeleteBudget) -> Budget:
        async with database.transaction(command.tenant) as connection:
            return await service.delete(connection, command, clock())

    async def read(query: GetBudget) -> Budget:
        async with database.transaction(query.tenant) as connection:
            return await service.read(connection, query, clock())

    async def listed(query: ListBudgets) -> BudgetList:
        async with database.transaction(query.tenant) as connection:
            return await service.listed(connection, query, clock())

    broker.answer(CreateBudget, create)
    broker.answer(ChangeBudget, change)
    broker.answer(DeleteBudget, delete)
    broker.answer(GetBudget, read)
    broker.answer(ListBudgets, listed)
