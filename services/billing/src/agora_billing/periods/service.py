"""Use cases of periods: take up what was used outside of runs, and list what months have come to."""

from collections.abc import Sequence
from copy import replace
from datetime import datetime

from agora_contracts import periods as contracts
from agora_contracts.catalog import OfferedPrice
from agora_contracts.envelope import Envelope
from agora_contracts.periods import ListPeriods, PeriodPage, PeriodPosting, PeriodTotal
from agora_contracts.problems import AgoraError
from agora_kit.cursor import decode_cursor, encode_cursor
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.accounts import store as accounts
from agora_billing.accounts.service import Clock, no_account
from agora_billing.periods import booking, model, store
from agora_billing.periods.model import Period
from agora_billing.prices.service import Prices
from agora_billing.promotions import service as promotions
from agora_billing.rating.model import rate
from agora_billing.rating.usage import PLACES_MAX, QUANTITY_MAX, Usage
from agora_billing.rentals import store as rentals
from agora_billing.rentals.model import Rental

_END_OF_TIME = datetime.fromisoformat("9999-01-01T00:00:00+00:00")


class UnknownDeployment(Exception):
    """Usage of a deployment whose start has not reached billing yet: the event is handed back and comes again."""


class Periods:
    """Charges what deployments use outside of runs."""

    def __init__(self, prices: Prices, clock: Clock) -> None:
        self._prices = prices
        self._clock = clock

    async def take_up(self, connection: AsyncConnection, envelopes: Sequence[Envelope[PeriodTotal]]) -> None:
        """Charge months by their newest total; an older revision changes nothing.

        A meter without a price under the deployment's basis costs nothing.

        Raises:
            UnknownDeployment: billing has not heard of one of the deployments.
            AgoraError: `malformed_request` for a quantity that cannot be rated.
        """
        now = self._clock()
        known = await rentals.read(connection, {one.data.deployment for one in envelopes})
        for envelope in envelopes:
            _require_known(envelope, known)
        newest = _newest(envelopes)
        locked = await accounts.lock(connection, {known[one.deployment].account for one in newest})
        await promotions.expire_due(connection, locked, now)
        changed: dict[str, Period] = {}
        for total in newest:
            _require_plain(total)
            period = await self._reported(connection, known[total.deployment], total)
            if period is not None:
                changed[period.id] = period
        await store.save(connection, list(changed.values()))
        prices = await self._prices.of_periods(connection, changed)
        await booking.book(connection, changed, prices, now)

    async def _reported(
        self, connection: AsyncConnection, rental: Rental, total: PeriodTotal
    ) -> Period | None:
        """The period with its total; None when it has a newer one, or the meter has no price.

        A month that has a total stays under its price version, whatever the book says since.
        """
        period = await store.reported(connection, rental.deployment, total.meter, total.period_start)
        if period is None:
            at = max(total.period_start, rental.started_at)
            price = await self._prices.in_force(
                rental.price_version, rental.basis, rental.deployment, at, fresh=True
            )
            offered = price.prices_of(rental.basis).get(total.meter)
            if offered is None:
                return None
            empty = model.opened(
                price,
                offered,
                total.meter,
                tenant=rental.tenant,
                account=rental.account,
                deployment=rental.deployment,
                at=total.period_start,
            )
            period = (await store.read(connection, [empty.id])).get(empty.id, empty)
        if period.revision >= total.revision:
            return None
        return replace(period, reported=Usage(total.quantity, total.events), revision=total.revision)


def _require_known(envelope: Envelope[PeriodTotal], known: dict[str, Rental]) -> None:
    rental = known.get(envelope.data.deployment)
    if rental is None or rental.tenant != envelope.tenant:
        raise UnknownDeployment(
            f"billing knows no deployment {envelope.data.deployment} of {envelope.tenant} (yet)"
        )


def _newest(envelopes: Sequence[Envelope[PeriodTotal]]) -> list[PeriodTotal]:
    found: dict[tuple[str, str, datetime], PeriodTotal] = {}
    for total in (one.data for one in envelopes):
        key = (total.deployment, total.meter, total.period_start)
        if key not in found or found[key].revision < total.revision:
            found[key] = total
    return list(found.values())


def _require_plain(total: PeriodTotal) -> None:
    exponent = total.quantity.as_tuple().exponent
    plain = isinstance(exponent, int) and -PLACES_MAX <= exponent <= PLACES_MAX
    if not plain or not 0 <= total.quantity <= QUANTITY_MAX or total.events < 0:
        raise AgoraError(
            "malformed_request",
            f"{total.meter} of {total.deployment}: a total must be from 0 to 10^12 with at most {PLACES_MAX} "
            f"decimal places, not {str(total.quantity)[:40]}",
        )


# --- reading -------------------------------------------------------------------------------------


async def listed(connection: AsyncConnection, prices: Prices, query: ListPeriods) -> PeriodPage:
    """List what months have come to, the newest first.

    Raises:
        AgoraError: `not_found` for the account, `invalid_cursor`.
    """
    before = decode_cursor(query.cursor, tuple[datetime, str]) if query.cursor else (_END_OF_TIME, "")
    account = await accounts.read(connection, query.account)
    if account is None or account.tenant != query.tenant:
        raise no_account(query.account)
    found = await store.page(connection, account.id, query.deployment, before, query.limit + 1)
    shown = found[: query.limit]
    postings: dict[str, list[PeriodPosting]] = {}
    for row in await store.charges(connection, [one.id for one in shown]):
        one = PeriodPosting(number=row.number, at=row.at, amount=row.amount, explanation=row.explanation)
        postings.setdefault(row.period_id, []).append(one)
    # Not through this connection: price versions are the platform's, which a tenant's does not see.
    pinned = {one: await prices.pinned(one) for one in {one.price_version for one in shown}}
    cursor = None
    if len(found) > query.limit:
        cursor = encode_cursor(shown[-1].starts_at.isoformat(), shown[-1].id)
    return PeriodPage(
        items=[
            _shown(one, pinned[one.price_version].of_meter(one.basis, one.meter), postings.get(one.id, []))
            for one in shown
        ],
        next_cursor=cursor,
    )


def _shown(period: Period, offered: OfferedPrice, postings: list[PeriodPosting]) -> contracts.Period:
    return contracts.Period(
        id=period.id,
        account=period.account,
        package=period.package,
        basis=period.basis,
        meter=period.meter,
        currency=period.currency,
        period_start=period.starts_at,
        period_end=period.ends_at,
        price_version=period.price_version,
        by_runs=period.by_runs.quantity,
        reported=period.reported.quantity,
        runs=period.runs,
        lines=rate(offered, period.used),
        amount=period.posted,
        by_runs_amount=period.by_runs_amount,
        postings=postings,
        deployment=period.deployment,
    )
