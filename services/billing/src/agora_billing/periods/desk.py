"""The periods that runs of one transaction are charged in."""

from collections.abc import Container, Iterable
from copy import replace
from decimal import Decimal

from agora_contracts.billing import QuoteLine
from agora_contracts.catalog import OfferedPrice
from agora_contracts.money import MICRO
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.holds.model import RunHold
from agora_billing.periods import model, store
from agora_billing.periods.model import Period, Share, Standing
from agora_billing.prices.model import PriceVersion
from agora_billing.rating.exact import EXACT
from agora_billing.rating.model import total


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

    def __init__(
        self,
        periods: dict[str, Period],
        shares: dict[tuple[str, str], Share],
        paid: dict[str, int],
        payers: dict[str, list[str]],
    ) -> None:
        self.payers = payers
        """Runs and periods whose spending of grants is that of a month, by each run of it that may fall."""
        self._periods = periods
        self._paid = paid
        self._shares = shares
        self._offers: dict[str, OfferedPrice] = {}
        self._changed: set[str] = set()
        self._changed_shares: dict[tuple[str, str], tuple[str, Share]] = {}

    @classmethod
    async def read(
        cls,
        connection: AsyncConnection,
        holds: Iterable[RunHold],
        prices: dict[str, PriceVersion],
        charged: Container[str],
    ) -> "PeriodDesk":
        """Read what these runs count in; asks nothing where no price goes by the month.

        Args:
            charged: the runs that have a charge already, which may fall.
        """
        counting: list[RunHold] = []
        wanted: dict[str, Period] = {}
        falling: dict[str, list[str]] = {}
        for hold in holds:
            price = prices[hold.price_version]
            for meter, offered in price.monthly(hold.basis).items():
                empty = period_of(price, offered, meter, hold)
                wanted[empty.id] = empty
                counting.append(hold)
                if hold.run in charged:
                    falling.setdefault(hold.run, []).append(empty.id)
        if not wanted:
            return cls({}, {}, {}, {})
        known = await store.read(connection, wanted)
        months = sorted({one for some in falling.values() for one in some})
        found = {one: await store.paid(connection, one) for one in months}
        paid = {one: funding.total for one, (funding, _) in found.items()}
        payers = {
            run: sorted({payer for one in some for payer in (one, *found[one][1])})
            for run, some in falling.items()
        }
        shares = await store.shares(connection, {hold.run for hold in counting})
        return cls(wanted | known, shares, paid, payers)

    def standings(
        self, price: PriceVersion, hold: RunHold, lines: Iterable[QuoteLine], charged: int
    ) -> dict[str, Standing]:
        """How the periods stand that a run counts in, by meter.

        Args:
            lines: those of the run's charge until now.
            charged: what that charge is, in micro-units.
        """
        found: dict[str, Standing] = {}
        for meter, offered in price.monthly(hold.basis).items():
            period = self._periods[period_of(price, offered, meter, hold).id]
            share = self._shares.get((period.id, hold.run), Share())
            self._offers[period.id] = offered
            own = [one for one in lines if one.meter == meter]
            standing = period.standing(offered, share, own)
            if own and period.id in self._paid:
                comes_to = total(own)
                # The rest of the charge may fall as well, and is in what was paid for the month, too.
                least = comes_to - max(self._paid[period.id] - (charged - comes_to), 0)
                if least > 0:
                    standing = replace(standing, least=EXACT.divide(Decimal(least), Decimal(MICRO)))
            found[meter] = standing
        return found

    def paid(self, periods: Iterable[str], difference: int) -> None:
        """Note that runs of these periods were charged more, or less, by `difference` micro-units."""
        for one in periods:
            if one in self._paid:
                self._paid[one] += difference

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
