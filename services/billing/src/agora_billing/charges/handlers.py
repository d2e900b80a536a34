"""What billing hears and answers about charges."""

from agora_contracts.billing import GetReceipt
from agora_contracts.metering import RunUsageClosed
from agora_kit.broker import Broker

from agora_billing.charges.receipts import Receipts
from agora_billing.charges.service import Charges


def register(broker: Broker, charges: Charges, receipts: Receipts) -> None:
    """Settle ended runs, and answer GetReceipt."""
    broker.consume("usage-closed", [RunUsageClosed], charges.settle, inbox=True, batch_max=500)
    broker.answer(GetReceipt, receipts.read)
