"""The receipt of a run: what was quoted, held, charged and given back, and why they differ."""

from typing import Literal

from agora_contracts.billing import ChargeDifference, GetReceipt, Receipt
from agora_contracts.calls import CallCharge
from agora_contracts.money import format_amount
from agora_kit.database import Database

from agora_billing.charges import model, store
from agora_billing.charges.differences import differences
from agora_billing.charges.store import Charge
from agora_billing.holds import store as holds
from agora_billing.holds.model import RunHold
from agora_billing.holds.service import no_run
from agora_billing.prices.service import Prices
from agora_billing.refunds import store as refunds


class Receipts:
    """Shows what became of runs' money."""

    def __init__(self, database: Database, prices: Prices) -> None:
        self._database = database
        self._prices = prices

    async def read(self, query: GetReceipt) -> Receipt:
        """Read a run's receipt.

        Raises:
            AgoraError: `not_found`.
        """
        async with self._database.transaction(query.tenant) as connection:
            hold = (await holds.read(connection, [query.run])).get(query.run)
            if hold is None:
                raise no_run(query.run)
            called = await holds.called_by(connection, hold.run)
            charges = await store.latest(connection, [hold.run, *(one.run for one in called)])
            charge = charges.get(hold.run)
            given_back = await refunds.of_run(connection, hold.run) if charge else []
        calls = [_call(one, charges.get(one.run)) for one in called]
        return Receipt(
            run=hold.run,
            state=_state(hold, charge),
            price_version=hold.price_version,
            basis=hold.basis,
            currency=hold.currency,
            quoted=hold.quoted,
            held=hold.amount + hold.calls_taken,
            charged=charge.amount if charge else 0,
            released=charge.released if charge else 0,
            revision=charge.revision if charge else 0,
            lines=charge.lines if charge else [],
            quote_lines=hold.quote.lines,
            explanation=charge.explanation if charge else _waiting(hold),
            settled_at=charge.at if charge else None,
            refunded=charge.refunded.total if charge else 0,
            refunds=[one.reply() for one in given_back],
            differences=await self._differences(hold, charge) if charge else [],
            parent=hold.parent,
            calls=calls,
            calls_charged=sum(one.charged - one.refunded for one in calls),
        )

    async def _differences(self, hold: RunHold, charge: Charge) -> list[ChargeDifference]:
        # Rated again from what is stored with the charge: reasons need not be stored as well.
        price = await self._prices.pinned(hold.price_version)
        return differences(hold, model.owed(price, hold, charge.inputs.usage, charge.inputs.windows))


def _state(hold: RunHold, charge: Charge | None) -> Literal["held", "settled", "lapsed"]:
    if charge is not None:
        return "settled"
    return "lapsed" if hold.state == "lapsed" else "held"


def _call(hold: RunHold, charge: Charge | None) -> CallCharge:
    return CallCharge(
        run=hold.run,
        package=hold.package,
        state=_state(hold, charge),
        held=hold.amount + hold.calls_taken,
        charged=charge.amount if charge else 0,
        refunded=charge.refunded.total if charge else 0,
    )


def _waiting(hold: RunHold) -> str:
    quoted = f"{format_amount(hold.quoted)} {hold.currency}"
    if hold.state == "lapsed":
        return f"{quoted} were set aside and given back: the run was not confirmed in time."
    return f"{quoted} are set aside until the run has ended and its usage is complete."
