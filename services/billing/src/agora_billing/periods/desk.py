"""The periods that runs of one transaction are charged in."""

from collections.abc import Iterable

from agora_contracts.billing import QuoteLine
from agora_contracts.catalog import OfferedPrice
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.holds.model import RunHold
from agora_billing.periods import model, store
from agora_billing.periods.model import Period, Share, Standing
from agora_billing.prices.model import PriceVersion


def period_of(price: PriceVersion, offered: OfferedPrice, meter: str, hold: RunHold) -> Period:
    """The period that a run counts in, empty: that of the month in which its hold was placed."""
    return model.opened(
        price,
        offered,
        meter,
        tenant=hold.tenant,
        account=hold.account,
        deployment=hold.deployment,
        at=hold.placed_at,
    )


class PeriodDesk:
    """Periods of accounts that this transaction has locked, and what becomes of them."""

    def __init__(self, periods: dict[str, Period], shares: dict[tuple[str, str], Share]) -> None:
        self._periods = periods
        self._shares = shares
        self._offers: dict[str, OfferedPrice] = {}
        self._changed: set[str] = set()
        self._changed_shares: dict[tuple[str, str], tuple[str, Share]] = {}

    @classmethod
    async def read(
        cls, connection: AsyncConnection, holds: Iterable[RunHold], prices: dict[str, PriceVersion]
    ) -> "PeriodDesk":
        """Read what these runs count in; asks nothing where no price goes by the month."""
        counting: list[RunHold] = []
        wanted: dict[str, Period] = {}
        for hold in holds:
            price = prices[hold.price_version]
            for meter, offered in price.monthly(hold.basis).items():
                empty = period_of(price, offered, meter, hold)
                wanted[empty.id] = empty
                counting.append(hold)
        if not wanted:
            return cls({}, {})
        known = await store.read(connection, wanted)
        return cls(wanted | known, await store.shares(connection, {hold.run for hold in counting}))

    def standings(
        self, price: PriceVersion, hold: RunHold, lines: Iterable[QuoteLine]
    ) -> dict[str, Standing]:
        """How the periods stand that a run counts in, by meter.

        Args:
            lines: those of the run's charge until now.
        """
        found: dict[str, Standing] = {}
        for meter, offered in price.monthly(hold.basis).items():
            period = self._periods[period_of(price, offered, meter, hold).id]
            share = self._shares.get((period.id, hold.run), Share())
            self._offers[period.id] = offered
            found[meter] = period.standing(offered, share, [one for one in lines if one.meter == meter])
        return found

    def count(self, hold: RunHold, period: str, share: Share) -> None:
        """Count what of a period is a run's, instead of what was before."""
        key = (period, hold.run)
        self._periods[period] = self._periods[period].count(self._shares.get(key), share)
        self._shares[key] = share
        self._changed.add(period)
        self._changed_shares[key] = (hold.tenant, share)

    def open_ends(self) -> list[str]:
        """The changed periods that are not charged what they come to."""
        return [
            one
            for one in self._changed
            if model.owed(self._offers[one], self._periods[one]) != self._periods[one].posted
        ]

    async def save(self, connection: AsyncConnection) -> None:
        """Write what changed."""
        await store.save(connection, [self._periods[one] for one in sorted(self._changed)])
        await store.save_shares(connection, self._changed_shares)
