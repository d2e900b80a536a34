"""What billing answers about accounts."""

from agora_contracts.billing import Balance, CloseAccount, GetBalance, OpenAccount, TopUp
from agora_kit.broker import Broker
from agora_kit.database import Database

from agora_billing.accounts import service
from agora_billing.accounts.service import Clock


def register(broker: Broker, database: Database, clock: Clock) -> None:
    """Answer OpenAccount, TopUp, GetBalance and CloseAccount."""

    async def open_account(command: OpenAccount) -> Balance:
        async with database.transaction(command.tenant) as connection:
            return await service.open_account(connection, command, clock())

    async def top_up(command: TopUp) -> Balance:
        async with database.transaction(command.tenant) as connection:
            return await service.top_up(connection, command, clock())

    async def read_balance(query: GetBalance) -> Balance:
        async with database.transaction(query.tenant) as connection:
            return await service.read_balance(connection, query)

    async def close_account(command: CloseAccount) -> Balance:
        async with database.transaction(command.tenant) as connection:
            return await service.close_account(connection, command, clock())

    broker.answer(OpenAccount, open_account)
    broker.answer(TopUp, top_up)
    broker.answer(GetBalance, read_balance)
    broker.answer(CloseAccount, close_account)
