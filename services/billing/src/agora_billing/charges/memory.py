"""What equal usage came to before: rating is a pure function, and many runs use the same."""

import msgspec
from agora_contracts.billing import Quote
from agora_contracts.metering import RunUsageClosed

from agora_billing.charges import model
from agora_billing.charges.model import Funding, Owed
from agora_billing.holds.model import RunHold
from agora_billing.periods.model import Standing
from agora_billing.prices.model import PriceVersion

_REMEMBERED_MAX = 10_000

_encoder = msgspec.json.Encoder(decimal_format="string")


class Memory:
    """Remembers what was owed for inputs, and how it was explained, in one process."""

    def __init__(self) -> None:
        # What a key names by its address is kept beside the result, so that nothing else gets that address.
        self._owed: dict[tuple[object, ...], tuple[Quote, Owed]] = {}
        self._explained: dict[tuple[object, ...], tuple[Owed, str]] = {}

    def owed(
        self, price: PriceVersion, hold: RunHold, usage: RunUsageClosed, standings: dict[str, Standing]
    ) -> Owed:
        """As `model.owed`. What depends on how a month stands is not remembered."""
        if standings:
            return model.owed(price, hold, usage, standings)
        key = (
            price.id,
            hold.basis,
            hold.quoted,
            id(hold.quote),
            usage.outcome,
            usage.deliverable,
            usage.error_code,
            hold.models_more,
            _encoder.encode(usage.totals),
        )
        known = self._owed.get(key)
        if known is None:
            if len(self._owed) > _REMEMBERED_MAX:
                self._owed.clear()
            known = self._owed[key] = (hold.quote, model.owed(price, hold, usage, standings))
        return known[1]

    def explained(
        self,
        hold: RunHold,
        owed: Owed,
        funding: Funding,
        released: int,
        before: int | None,
        refunded: int,
        returns_to: str,
    ) -> str:
        """As `model.explain`. Corrections are not remembered."""
        if before is not None:
            return model.explain(hold, owed, funding, released, before, refunded, returns_to)
        key = (id(owed), id(hold.quote), hold.quoted, hold.currency, funding, released, returns_to)
        known = self._explained.get(key)
        if known is None:
            if len(self._explained) > _REMEMBERED_MAX:
                self._explained.clear()
            known = self._explained[key] = (
                owed,
                model.explain(hold, owed, funding, released, None, refunded, returns_to),
            )
        return known[1]
