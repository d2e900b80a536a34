"""What billing answers about the ledger."""

from agora_contracts.billing import GetStatement, Statement
from agora_kit.broker import Broker
from agora_kit.database import Database

from agora_billing.ledger import service


def register(broker: Broker, database: Database) -> None:
    """Answer GetStatement."""

    async def statement(query: GetStatement) -> Statement:
        async with database.transaction(query.tenant) as connection:
            return await service.statement(connection, query)

    broker.answer(GetStatement, statement)
