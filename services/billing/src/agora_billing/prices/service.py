"""Use cases of prices: pin what the catalogue publishes, and quote with it."""

import asyncio
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import pairwise

import msgspec
from agora_contracts.billing import PlaceHold, Quote, QuoteRun
from agora_contracts.catalog import PriceVersionPublished
from agora_contracts.envelope import Envelope, utc_now
from agora_contracts.ids import derived
from agora_contracts.prices import PriceChangeScheduled
from agora_contracts.problems import AgoraError
from agora_kit import deadlines
from agora_kit.database import Database
from agora_kit.outbox import Event, emit
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.accounts.service import Clock
from agora_billing.periods import store as periods
from agora_billing.periods.model import opened
from agora_billing.prices import book, model, store
from agora_billing.prices.book import Change
from agora_billing.prices.model import PriceVersion
from agora_billing.rating.usage import Usage
from agora_billing.rentals import store as rentals
from agora_billing.rentals.model import Rental

_REMEMBERED_MAX = 10_000
_BOOK_SECONDS = 1.0

_encoder = msgspec.json.Encoder(decimal_format="string")


class UnknownPrice(Exception):
    """A deployment whose price version has not reached billing yet: the event is handed back and comes again."""


class Prices:
    """Pinned price versions. They never change, so a process may remember those it has read."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, PriceVersion] = {}
        self._books: dict[str, tuple[float, list[PriceVersion]]] = {}
        self._reading: dict[str, asyncio.Task[list[PriceVersion]]] = {}
        self._hired: dict[str, datetime] = {}
        self._quoted: dict[tuple[str, str, bytes], Quote] = {}

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

    async def in_force(
        self, price_version: str, basis: str, deployment: str | None, at: datetime, *, fresh: bool = False
    ) -> PriceVersion:
        """What a run is rated by at a moment, that was asked for under the price version of its package or hire.

        The book is read once a second at most, unless asked `fresh`: a change reaches runs so much later.

        Raises:
            AgoraError: `unavailable`, when the price version has not reached billing (yet).
        """
        base = await self.pinned(price_version)
        revisions = await self._revisions(base.package, fresh=fresh)
        if not any(one.number > base.number for one in revisions):
            return base
        hired_at = None if deployment is None else await self._hired_at(deployment)
        if hired_at is None:
            return book.in_effect(revisions, base, basis, at)
        return book.in_force(revisions, base, basis, hired_at, at)

    async def _revisions(self, package: str, *, fresh: bool) -> list[PriceVersion]:
        if fresh:
            return await self._read_book(package)
        known = self._books.get(package)
        if known is not None and known[0] >= time.monotonic():
            return known[1]
        # A thousand callers at once wait for one reading, instead of reading a thousand times.
        reading = self._reading.get(package)
        if reading is None:
            reading = self._reading[package] = asyncio.create_task(
                self._read_book(package), context=deadlines.detached()
            )
            reading.add_done_callback(lambda done: self._has_read(package, done))
        return await asyncio.shield(reading)

    def _has_read(self, package: str, reading: asyncio.Task[list[PriceVersion]]) -> None:
        self._reading.pop(package, None)
        if not reading.cancelled():
            # Whoever waited has been told; that nobody waits any more is no fault to be logged.
            reading.exception()

    async def _read_book(self, package: str) -> list[PriceVersion]:
        until = time.monotonic() + _BOOK_SECONDS
        async with self._database.system() as connection:
            found = await store.revisions(connection, package)
        if len(self._books) > _REMEMBERED_MAX:
            self._books.clear()
        self._books[package] = (until, found)
        return found

    async def _hired_at(self, deployment: str) -> datetime | None:
        """When a deployment was hired; None when billing has not heard of it yet, as of one of this moment."""
        known = self._hired.get(deployment)
        if known is None:
            async with self._database.system() as connection:
                rental = (await rentals.read(connection, [deployment])).get(deployment)
            if rental is None:
                return None
            if len(self._hired) > _REMEMBERED_MAX:
                self._hired.clear()
            known = self._hired[deployment] = rental.started_at
        return known

    async def quote(self, request: QuoteRun | PlaceHold) -> tuple[PriceVersion, Quote]:
        """Price estimated quantities under the version in force; nothing is set aside.

        Where the month is priced, at the worst price that is left of it after what is used by now.
        """
        now = self._clock()
        price = await self.in_force(request.price_version, request.basis, request.deployment, now)
        before = await self._used(price, request, now)
        if before:
            return price, model.quote(price, request.basis, request.estimates, before)
        # Equal runs are asked for many times, and the same inputs always come to the same quote.
        key = (price.id, request.basis, _encoder.encode(request.estimates))
        quote = self._quoted.get(key)
        if quote is None:
            quote = model.quote(price, request.basis, request.estimates)
            if len(self._quoted) > _REMEMBERED_MAX:
                self._quoted.clear()
            self._quoted[key] = quote
        return price, quote

    async def _used(
        self, price: PriceVersion, request: QuoteRun | PlaceHold, now: datetime
    ) -> dict[str, Usage]:
        """What this month has used of the meters that are priced by the month."""
        monthly = price.monthly(request.basis)
        if not monthly or request.account is None:
            return {}
        empty = {
            meter: opened(
                price,
                offered,
                meter,
                tenant=request.tenant,
                account=request.account,
                deployment=request.deployment,
                at=now,
            )
            for meter, offered in monthly.items()
        }
        async with self._database.system() as connection:
            known = await periods.read(connection, [one.id for one in empty.values()])
        return {meter: known[one.id].used for meter, one in empty.items() if one.id in known}


async def pin(connection: AsyncConnection, envelopes: Sequence[Envelope[PriceVersionPublished]]) -> None:
    """Pin the price versions that the catalogue published, and tell standing deployments what changes for them.

    The same one again changes nothing.
    """
    published = {envelope.data.price_version: _pinned(envelope) for envelope in envelopes}
    known = {one.id for one in await store.read(connection, published)}
    new = [price for price in published.values() if price.id not in known]
    await store.insert(connection, new)
    for package in sorted({price.package for price in new if price.revises}):
        ids = {price.id for price in new}
        await tell_changes(connection, package, await rentals.standing(connection, package), ids)


async def tell_changes(
    connection: AsyncConnection, package: str, standing: Sequence[Rental], only: Collection[str] | None = None
) -> None:
    """Tell what price versions are to reach deployments of a package after they were hired.

    Args:
        only: these price versions.

    Raises:
        UnknownPrice: a deployment was hired under a price version that is not pinned.
    """
    revisions = await store.revisions(connection, package)
    bases = {
        one.id: one for one in await store.read(connection, {rental.price_version for rental in standing})
    }
    events: list[Event] = []
    for rental in standing:
        base = bases.get(rental.price_version)
        if base is None:
            raise UnknownPrice(f"billing knows no price version {rental.price_version} (yet)")
        changes = book.changes(revisions, base, rental.basis, rental.started_at)
        for before, after in pairwise(changes):
            if only is None or after.price.id in only:
                events.append(_scheduled(rental, before, after))
    await emit(connection, events)


def _scheduled(rental: Rental, before: Change, after: Change) -> Event:
    fact = PriceChangeScheduled(
        deployment=rental.deployment,
        account=rental.account,
        package=rental.package,
        before=before.price.id,
        to=after.price.id,
        at=after.at,
        rise=after.rise,
        published_at=after.price.published_at,
    )
    event_id = derived("evt", "price_change", rental.deployment, after.price.id)
    return Event(tenant=rental.tenant, entity=rental.deployment, data=fact, id=event_id)


def _pinned(envelope: Envelope[PriceVersionPublished]) -> PriceVersion:
    published = envelope.data
    return PriceVersion(
        id=published.price_version,
        package=published.package,
        version=published.version,
        currency=published.currency,
        prices=tuple(published.prices),
        charges=published.charges,
        model_cost_limit=published.model_cost_limit,
        author=published.author,
        author_share=None if published.author is None else published.author_share,
        number=published.number,
        revises=published.revises,
        published_at=envelope.time,
        effective_at=published.effective_at or envelope.time,
        notice_days=published.notice_days,
        own_key_fee=published.own_key_fee,
    )
