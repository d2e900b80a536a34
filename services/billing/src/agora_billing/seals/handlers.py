"""What billing answers about seals."""

from agora_contracts.ledger import LedgerPage, ReadLedger
from agora_kit.broker import Broker
from agora_kit.database import Database

from agora_billing.seals import service


def register(broker: Broker, database: Database) -> None:
    """Answer ReadLedger."""

    async def read_ledger(query: ReadLedger) -> LedgerPage:
        async with database.transaction(query.tenant) as connection:
            return await service.read_ledger(connection, query)

    broker.answer(ReadLedger, read_ledger)
