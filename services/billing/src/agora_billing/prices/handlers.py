"""What billing hears and answers about prices."""

from agora_contracts.billing import Quote, QuoteRun
from agora_contracts.catalog import PriceVersionPublished
from agora_kit.broker import Broker

from agora_billing.prices import service
from agora_billing.prices.service import Prices


def register(broker: Broker, prices: Prices) -> None:
    """Pin published prices, and answer QuoteRun."""
    # Pinning the same version again changes nothing, so no inbox is needed.
    broker.consume("prices", [PriceVersionPublished], service.pin, inbox=False)

    async def quoted(query: QuoteRun) -> Quote:
        return (await prices.quote(query))[1]

    broker.answer(QuoteRun, quoted)
