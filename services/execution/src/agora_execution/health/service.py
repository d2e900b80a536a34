"""Use case of package health: ask the agent, look at its recent runs, keep the answer half a minute."""

import asyncio
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

from agora_contracts.package_health import CheckPackageHealth as CheckPackageHealthQuery
from agora_contracts.package_health import PackageHealth
from agora_kit.database import Database
from sqlalchemy import text
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import (
    AutoUpgradeVersioningOverride,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError

from agora_execution.health.workflows import (
    AgentHealth,
    CheckPackageHealth,
    HealthTask,
    health_workflow_id,
)
from agora_execution.models.service import ModelCalls
from agora_execution.packages.model import PackageVersion
from agora_execution.packages.service import Packages
from agora_execution.queues import queue_name

_KEPT_SECONDS = 30.0
_RUNS_COUNTED = 100


class PackageHealths:
    """Answers for packages' health."""

    def __init__(
        self, database: Database, packages: Packages, client: Client, queues: str, models: ModelCalls
    ) -> None:
        self._database = database
        self._packages = packages
        self._client = client
        self._queues = queues
        self._models = models
        self._kept: dict[str, tuple[float, PackageHealth]] = {}
        self._asking: dict[str, asyncio.Task[PackageHealth]] = {}

    async def check(self, query: CheckPackageHealthQuery) -> PackageHealth:
        """Whether a package can work now. Whoever asks while it is being found out gets the same answer.

        Raises:
            AgoraError: `not_found`, when it is not listed.
        """
        package = await self._packages.find(query.package, query.version)
        key = f"{package.package} {package.version}"
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() - kept[0] < _KEPT_SECONDS:
            return kept[1]
        asking = self._asking.get(key)
        if asking is None:
            asking = asyncio.create_task(self._find_out(package), name=f"health of {key}")
            self._asking[key] = asking
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        # Shielded: one who gives up must not take the answer from the others.
        health = await asyncio.shield(asking)
        self._kept[key] = (time.monotonic(), health)
        return health

    async def _find_out(self, package: PackageVersion) -> PackageHealth:
        answer = await self._ask(package)
        last_success, rate = await self._recent(package.package)
        tools = answer.tools if answer else {"worker": False}
        schema_ok = answer is not None and (
            (answer.input_schema, answer.output_schema) == (package.schemas.input, package.schemas.output)
        )
        working = answer is not None and schema_ok and all(tools.values())
        return PackageHealth(
            package=package.package,
            version=package.version,
            status="healthy"
            if working
            else ("degraded" if answer is not None and schema_ok else "unhealthy"),
            schema_ok=schema_ok,
            tools=tools,
            model_reachable=self._models.configured,
            last_success_at=last_success,
            success_rate=rate,
        )

    async def _ask(self, package: PackageVersion) -> AgentHealth | None:
        if not package.first_party:
            return None
        try:
            return await self._client.execute_workflow(
                CheckPackageHealth.run,
                HealthTask(package=package.package),
                # One at a time, also of several replicas: who comes second waits for the one that runs.
                id=health_workflow_id(package.package, package.version),
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                versioning_override=AutoUpgradeVersioningOverride(),
                static_summary=f"Health of {package.package} {package.version}",
                task_queue=queue_name(self._queues, package.manifest.limits.served_as),
                execution_timeout=timedelta(seconds=18),
                rpc_timeout=timedelta(seconds=18),
            )
        except (WorkflowFailureError, RPCError, RuntimeError):
            return None

    async def _recent(self, package: str) -> tuple[Any, Decimal | None]:
        async with self._database.system() as connection:
            row = (
                await connection.execute(
                    text("""
                        SELECT max(finished_at) FILTER (WHERE status = 'succeeded') AS last_success,
                            count(*) FILTER (WHERE status = 'succeeded') AS succeeded, count(*) AS ended
                        FROM (SELECT status, finished_at FROM runs WHERE package = :package AND finished_at IS NOT NULL
                              AND status <> 'cancelled' ORDER BY finished_at DESC LIMIT :limit) recent
                    """),
                    {"package": package, "limit": _RUNS_COUNTED},
                )
            ).one()
        rate = None if not row.ended else (Decimal(row.succeeded) / row.ended).quantize(Decimal("0.0001"))
        return row.last_success, rate
