"""What billing hears and answers about charges."""

from agora_contracts.billing import GetReceipt, Receipt
from agora_contracts.metering import RunUsageClosed
from agora_kit.broker import Broker
from agora_kit.database import Database

from agora_billing.charges import service
from agora_billing.charges.service import Charges


def register(broker: Broker, database: Database, charges: Charges) -> None:
    """Settle ended runs, and answer GetReceipt."""

    async def receipt(query: GetReceipt) -> Receipt:
        async with database.transaction(query.tenant) as connection:
            return await service.receipt(connection, query)

    broker.consume("usage-closed", [RunUsageClosed], charges.settle, inbox=True, batch_max=500)
    broker.answer(GetReceipt, receipt)
