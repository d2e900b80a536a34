"""Use cases of deployments: start, read, change, end, and what a run needs of one."""

from datetime import timedelta
from typing import Any

import structlog
from agora_contracts.deployments import (
    ChangeDeploymentConfig,
    Deployment,
    DeploymentEnded,
    DeploymentPage,
    DeploymentStarted,
    EndDeployment,
    GetDeployment,
    ListDeployments,
    StartDeployment,
)
from agora_contracts.envelope import utc_now
from agora_contracts.periods import RENTAL_METERS
from agora_contracts.problems import AgoraError, FieldError
from agora_contracts.rentals import CheckRental
from agora_kit.broker import Broker
from agora_kit.database import Database
from agora_kit.outbox import Event, emit
from temporalio.client import Client
from temporalio.common import (
    AutoUpgradeVersioningOverride,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from agora_execution.deployments import store
from agora_execution.deployments.model import Target, require_usable
from agora_execution.deployments.store import DeploymentRow
from agora_execution.deployments.workflows import PrepareDeployment, PrepareTask, prepare_workflow_id
from agora_execution.files.service import Files
from agora_execution.packages.model import PackageVersion, require_basis, require_executable
from agora_execution.packages.service import Packages
from agora_execution.queues import queue_name
from agora_execution.runs import describing

log = structlog.get_logger()


class Deployments:
    """Hires packages and keeps their configuration prepared."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        packages: Packages,
        files: Files,
        client: Client,
        queues: str,
    ) -> None:
        self._database = database
        self._broker = broker
        self._packages = packages
        self._files = files
        self._client = client
        self._queues = queues

    async def start(self, command: StartDeployment) -> Deployment:
        """Hire a package: pins version, basis and price, and begins to prepare its configuration.

        Raises:
            AgoraError: `not_found`, `not_executable`, `invalid_price`, `invalid_config`, `idempotency_conflict`;
                for a hire by the hour or month also what billing says: `insufficient_credit`, `unavailable`.
                Nothing is stored then.
        """
        async with self._database.transaction(command.tenant) as connection:
            known = await store.read(connection, command.deployment_id)
        if known is not None:
            return _same(command, known).public
        package = await self._packages.find(command.package, command.version)
        require_executable(package)
        require_basis(package, command.basis)
        await self._check_config(package, command.tenant, command.config)
        if command.basis in RENTAL_METERS:
            check = CheckRental(
                tenant=command.tenant,
                account=command.account,
                price_version=package.price_version,
                basis=command.basis,
            )
            await self._broker.ask(check)
        async with self._database.transaction(command.tenant) as connection:
            fresh = await store.insert(connection, command, package)
            row = await store.read(connection, command.deployment_id)
            if row is None:
                raise AgoraError("idempotency_conflict", "this id belongs to another deployment")
            _same(command, row)
            if fresh:
                await emit(connection, [_started(row)])
        await self._prepare(row)
        return row.public

    async def get(self, query: GetDeployment) -> Deployment:
        """One deployment.

        Raises:
            AgoraError: `not_found`, also for another tenant's.
        """
        return (await self._read(query.tenant, query.deployment)).public

    async def page(self, query: ListDeployments) -> DeploymentPage:
        """A tenant's deployments, newest first."""
        async with self._database.transaction(query.tenant) as connection:
            return await store.page(connection, query)

    async def change_config(self, command: ChangeDeploymentConfig) -> Deployment:
        """Replace the configuration: runs use the old one until the new one is prepared.

        Raises:
            AgoraError: `not_found`, `conflict` when it has ended, `invalid_config`.
        """
        row = await self._read(command.tenant, command.deployment)
        package = await self._packages.find(row.public.package, row.public.version)
        await self._check_config(package, command.tenant, command.config)
        async with self._database.transaction(command.tenant) as connection:
            locked = await store.read(connection, command.deployment, lock=True)
            if locked is None or locked.public.status == "terminated":
                raise AgoraError("conflict", "the deployment has ended; start another one")
            if locked.wanted_config != command.config:
                await store.change_config(connection, command.deployment, command.config)
            row = await store.read(connection, command.deployment) or locked
        await self._prepare(row)
        return row.public

    async def end(self, command: EndDeployment) -> Deployment:
        """End a rental; ending it again changes nothing.

        Raises:
            AgoraError: `not_found`.
        """
        async with self._database.transaction(command.tenant) as connection:
            row = await store.read(connection, command.deployment, lock=True)
            if row is None:
                raise AgoraError("not_found", f"no deployment {command.deployment}")
            if row.public.status == "terminated":
                return row.public
            await store.end(connection, command.deployment)
            ended = DeploymentEnded(deployment=command.deployment, account=row.account, at=utc_now())
            await emit(connection, [Event(tenant=command.tenant, entity=command.deployment, data=ended)])
        return await self.get(GetDeployment(deployment=command.deployment, tenant=command.tenant))

    async def target(self, tenant: str, deployment: str) -> Target:
        """What a run on this deployment runs on.

        Raises:
            AgoraError: `not_found`; `not_executable`, while it is prepared, when that failed, or it ended.
        """
        row = await self._read(tenant, deployment)
        public = row.public
        require_usable(deployment, public.status, public.error.detail if public.error else None)
        package = await self._packages.find(public.package, public.version)
        require_executable(package)
        return Target(
            package=package,
            basis=public.basis,
            price_version=public.price_version,
            config=row.config_in_use,
            artifact=row.artifact,
        )

    async def sweep(self) -> None:
        """Begin again what was to be prepared and is not."""
        async with self._database.system() as connection:
            waiting = await store.unprepared(connection, 10.0, 50)
            rows = [await store.read(connection, deployment) for deployment, _ in waiting]
        for row in rows:
            if row is not None:
                await self._prepare(row)

    async def _read(self, tenant: str, deployment: str) -> DeploymentRow:
        async with self._database.transaction(tenant) as connection:
            row = await store.read(connection, deployment)
        if row is None:
            raise AgoraError("not_found", f"no deployment {deployment}")
        return row

    async def _check_config(self, package: PackageVersion, tenant: str, config: dict[str, Any]) -> None:
        self._packages.check(package, "config", config)
        missing = await self._files.missing(tenant, package.schemas.config, config)
        if missing:
            raise AgoraError(
                "invalid_config",
                "the configuration names files that are not there; upload them first",
                errors=[FieldError(field=ref, detail="no such file") for ref in missing],
            )

    async def _prepare(self, row: DeploymentRow) -> None:
        public = row.public
        if row.prepared_revision >= public.config_revision or public.status == "terminated":
            return
        task = PrepareTask(deployment=public.id, tenant=public.tenant, revision=public.config_revision)
        package = await self._packages.known(public.package, public.version)
        served_as = "standard" if package is None else package.manifest.limits.served_as
        try:
            await self._client.start_workflow(
                PrepareDeployment.run,
                task,
                id=prepare_workflow_id(task.deployment, task.revision),
                task_queue=queue_name(self._queues, served_as),
                execution_timeout=timedelta(hours=2),
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary=f"Prepare {public.package} {public.version} as {public.id} for {public.tenant}",
                static_details=(
                    f"Configuration {public.config_revision} of deployment `{public.id}`:"
                    f" `/api/v1/deployments/{public.id}`. Runs use the one before until it is prepared."
                ),
                search_attributes=TypedSearchAttributes(
                    [
                        SearchAttributePair(describing.TENANT, public.tenant),
                        SearchAttributePair(describing.PACKAGE, public.package),
                    ]
                ),
                priority=describing.priority(public.tenant),
                # One activity, nothing to replay that could differ: any version may go on with it.
                versioning_override=AutoUpgradeVersioningOverride(),
                rpc_timeout=timedelta(seconds=3),
            )
        except WorkflowAlreadyStartedError:
            return
        except (RPCError, RuntimeError) as error:
            log.warning("preparation not started, the sweep will", deployment=public.id, error=repr(error))


def _same(command: StartDeployment, known: DeploymentRow) -> DeploymentRow:
    if known.fingerprint != command.fingerprint:
        raise AgoraError(
            "idempotency_conflict", "this Idempotency-Key was used for another request; use a new key"
        )
    return known


def _started(row: DeploymentRow) -> Event:
    public = row.public
    return Event(
        tenant=public.tenant,
        entity=public.id,
        data=DeploymentStarted(
            deployment=public.id,
            account=row.account,
            package=public.package,
            version=public.version,
            price_version=public.price_version,
            basis=public.basis,
            at=public.started_at,
        ),
    )
