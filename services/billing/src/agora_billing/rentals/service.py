"""Use cases of rentals: know the deployments and what they were hired for."""

from collections.abc import Sequence

from agora_contracts.envelope import Envelope
from agora_contracts.execution import DeploymentEnded, DeploymentStarted
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.prices import service as prices
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
