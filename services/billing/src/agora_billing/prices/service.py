"""Use cases of prices: pin what the catalogue publishes, and quote with it."""

from collections.abc import Iterable, Sequence

from agora_contracts.billing import PlaceHold, Quote, QuoteRun
from agora_contracts.catalog import PriceVersionPublished
from agora_contracts.envelope import Envelope, utc_now
from agora_contracts.problems import AgoraError
from agora_kit.database import Database
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.accounts.service import Clock
from agora_billing.periods import store as periods
from agora_billing.periods.model import opened
from agora_billing.prices import model, store
from agora_billing.prices.model import PriceVersion
from agora_billing.rating.usage import Usage

_REMEMBERED_MAX = 10_000


class Prices:
    """Pinned price versions. They never change, so a process may remember those it has read."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, PriceVersion] = {}

    async def pinned(self, price_version: str) -> PriceVersion:
        """Read one price version.

        Raises:
            AgoraError: `unavailable`, when it has not reached billing (yet).
        """
        known = self._known.get(price_version)
        if known is None:
            async with self._database.system() as connection:
                known = (await self.pinned_all(connection, [price_version])).get(price_version)
        if known is None:
            raise AgoraError(
                "unavailable",
                f"price version {price_version[:80]!r} is not known to billing yet; try again shortly",
                retry_after_seconds=1,
            )
        return known

    async def pinned_all(self, connection: AsyncConnection, ids: Iterable[str]) -> dict[str, PriceVersion]:
        """Read several price versions; unknown ones are left out."""
        wanted = set(ids)
        missing = wanted - self._known.keys()
        if missing:
            if len(self._known) > _REMEMBERED_MAX:
                self._known.clear()
                missing = wanted
            self._known.update({price.id: price for price in await store.read(connection, missing)})
        return {one: self._known[one] for one in wanted if one in self._known}

    async def of_periods(self, connection: AsyncConnection, ids: Iterable[str]) -> dict[str, PriceVersion]:
        """The price versions under which periods were opened."""
        known = await periods.read(connection, ids)
        return await self.pinned_all(connection, {one.price_version for one in known.values()})

    async def quote(self, request: QuoteRun | PlaceHold) -> Quote:
        """Price estimated quantities; nothing is set aside.

        Where the month is priced, at the worst price that is left of it after what is used by now.
        """
        price = await self.pinned(request.price_version)
        monthly = price.monthly(request.basis)
        before: dict[str, Usage] = {}
        if monthly and request.account is not None:
            empty = {
                meter: opened(
                    price,
                    offered,
                    meter,
                    tenant=request.tenant,
                    account=request.account,
                    deployment=request.deployment,
                    at=self._clock(),
                )
                for meter, offered in monthly.items()
            }
            async with self._database.system() as connection:
                known = await periods.read(connection, [one.id for one in empty.values()])
            before = {meter: known[one.id].used for meter, one in empty.items() if one.id in known}
        return model.quote(price, request.basis, request.estimates, before)


async def pin(connection: AsyncConnection, envelopes: Sequence[Envelope[PriceVersionPublished]]) -> None:
    """Pin the price versions that the catalogue published; the same one again changes nothing."""
    await store.insert(
        connection,
        [
            (
                PriceVersion(
                    id=envelope.data.price_version,
                    package=envelope.data.package,
                    version=envelope.data.version,
                    currency=envelope.data.currency,
                    prices=tuple(envelope.data.prices),
                    charges=envelope.data.charges,
                    model_cost_limit=envelope.data.model_cost_limit,
                    author=envelope.data.author,
                    author_share=None if envelope.data.author is None else envelope.data.author_share,
                ),
                envelope.time,
            )
            for envelope in envelopes
        ],
    )
