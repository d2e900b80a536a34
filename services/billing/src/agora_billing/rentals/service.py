"""Use cases of rentals: know the deployments and what they were hired for."""

from collections.abc import Sequence
from datetime import datetime

from agora_contracts.deployments import DeploymentEnded, DeploymentStarted
from agora_contracts.envelope import Envelope
from agora_contracts.money import Money, format_amount
from agora_contracts.periods import RENTAL_METERS
from agora_contracts.problems import AgoraError
from agora_contracts.rentals import CheckRental, RentalCheck
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.accounts import store as accounts
from agora_billing.accounts.service import no_account
from agora_billing.prices import service as prices
from agora_billing.prices.service import Prices
from agora_billing.rating.exact import ONE, to_micro
from agora_billing.rating.model import amount
from agora_billing.rating.usage import Usage
from agora_billing.rentals import store
from agora_billing.rentals.model import Rental


class UnknownDeployment(Exception):
    """The end of a deployment whose start has not reached billing yet: the event is handed back and comes again."""


async def take_up(
    connection: AsyncConnection, envelopes: Sequence[Envelope[DeploymentStarted] | Envelope[DeploymentEnded]]
) -> None:
    """Keep deployments as they start, tell what prices are to change for them, and note when they end.

    Raises:
        UnknownDeployment: one has ended of which billing has not heard.
    """
    started = [
        Rental(
            deployment=one.data.deployment,
            tenant=one.tenant,
            account=one.data.account,
            package=one.data.package,
            version=one.data.version,
            price_version=one.data.price_version,
            basis=one.data.basis,
            started_at=one.data.at,
        )
        for one in envelopes
        if isinstance(one.data, DeploymentStarted)
    ]
    ended = [
        (one.data.deployment, one.tenant, one.data.at)
        for one in envelopes
        if isinstance(one.data, DeploymentEnded)
    ]
    already = await store.read(connection, [one.deployment for one in started])
    await store.insert(connection, started)
    new = [one for one in started if one.deployment not in already]
    for package in sorted({one.package for one in new}):
        await prices.tell_changes(connection, package, [one for one in new if one.package == package])
    known = await store.read(connection, [deployment for deployment, _, _ in ended])
    for deployment, tenant, _ in ended:
        if deployment not in known:
            raise UnknownDeployment(f"billing knows no deployment {deployment} of {tenant} (yet)")
    await store.end(connection, ended)


async def check(
    connection: AsyncConnection, book: Prices, command: CheckRental, now: datetime
) -> RentalCheck:
    """Say what the first hour or month of a hire costs, if the account can pay it.

    Raises:
        AgoraError: `insufficient_credit`, `account_closed`, `currency_mismatch`; `not_found` for the account;
            `invalid_price` when the package is not offered so; `unavailable` for a price version that has not
            reached billing yet.
    """
    price = await book.in_force(command.price_version, command.basis, None, now)
    offered = price.prices_of(command.basis).get(RENTAL_METERS.get(command.basis, ""))
    if offered is None:
        raise AgoraError("invalid_price", f"{price.package} cannot be hired by {command.basis[:40]}")
    account = await accounts.read(connection, command.account)
    if account is None or account.tenant != command.tenant:
        raise no_account(command.account)
    account.require_open()
    if account.currency != price.currency:
        raise AgoraError(
            "currency_mismatch", f"the price is in {price.currency}, the account in {account.currency}"
        )
    first = to_micro(amount(offered, Usage(ONE, 1)))
    if first > account.available:
        raise AgoraError(
            "insufficient_credit",
            f"the first {command.basis} costs {format_amount(first)} {price.currency} and "
            f"{format_amount(max(account.available, 0))} are available; top the account up",
        )
    return RentalCheck(price_version=price.id, amount=Money(amount=first, currency=price.currency))
