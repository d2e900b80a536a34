"""What billing hears and answers about deployments."""

from agora_contracts.deployments import DeploymentEnded, DeploymentStarted
from agora_contracts.rentals import CheckRental, RentalCheck
from agora_kit.broker import Broker
from agora_kit.database import Database

from agora_billing.accounts.service import Clock
from agora_billing.prices.service import Prices
from agora_billing.rentals import service


def register(broker: Broker, database: Database, prices: Prices, clock: Clock) -> None:
    """Keep the deployments that start and end, and answer CheckRental."""

    async def check(command: CheckRental) -> RentalCheck:
        async with database.transaction(command.tenant) as connection:
            return await service.check(connection, prices, command, clock())

    # What is known stays as it is, so no inbox is needed.
    broker.consume("deployments", [DeploymentStarted, DeploymentEnded], service.take_up, inbox=False)
    broker.answer(CheckRental, check)
