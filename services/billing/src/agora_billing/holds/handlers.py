"""What billing hears and answers about holds."""

from agora_contracts.billing import ConfirmHold, IncreaseHold, ListOpenHolds, PlaceHold
from agora_contracts.runs import RunAccepted
from agora_kit.broker import Broker

from agora_billing.holds.service import Holds


def register(broker: Broker, holds: Holds) -> None:
    """Answer PlaceHold, ConfirmHold, IncreaseHold and ListOpenHolds; hear of accepted runs."""
    broker.answer(PlaceHold, holds.place)
    broker.answer(ConfirmHold, holds.confirm)
    broker.answer(IncreaseHold, holds.increase)
    broker.answer(ListOpenHolds, holds.open_holds)
    # Confirming a confirmed hold changes nothing, so no inbox is needed.
    broker.consume("run-accepted", [RunAccepted], holds.accept, inbox=False)
