"""Use case of package health: ask the agent, look at its recent runs, keep the answer half a minute."""

import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

from agora_contracts.execution import CheckPackageHealth as CheckPackageHealthQuery
from agora_contracts.execution import PackageHealth
from agora_kit.database import Database
from agora_kit.outbox import new_event_id
from sqlalchemy import text
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from agora_execution.health.workflows import AgentHealth, CheckPackageHealth, HealthTask
from agora_execution.models.service import ModelCalls
from agora_execution.packages.model import PackageVersion
from agora_execution.packages.service import Packages

_KEPT_SECONDS = 30.0
_RUNS_COUNTED = 100


class PackageHealths:
    """Answers for packages' health."""

    def __init__(
        self, database: Database, packages: Packages, client: Client, task_queue: str, models: ModelCalls
    ) -> None:
        self._database = database
        self._packages = packages
        self._client = client
        self._task_queue = task_queue
        self._models = models
        self._kept: dict[str, tuple[float, PackageHealth]] = {}

    async def check(self, query: CheckPackageHealthQuery) -> PackageHealth:
        """Whether a package can work now.

        Raises:
            AgoraError: `not_found`, when it is not listed.
        """
        package = await self._packages.find(query.package, query.version)
        key = f"{package.package} {package.version}"
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() - kept[0] < _KEPT_SECONDS:
            return kept[1]
        answer = await self._ask(package)
        last_success, rate = await self._recent(package.package)
        tools = answer.tools if answer else {"worker": False}
        schema_ok = answer is not None and (
            (answer.input_schema, answer.output_schema) == (package.schemas.input, package.schemas.output)
        )
        working = answer is not None and schema_ok and all(tools.values())
        health = PackageHealth(
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
        self._kept[key] = (time.monotonic(), health)
        return health

    async def _ask(self, package: PackageVersion) -> AgentHealth | None:
        if not package.first_party:
            return None
        try:
            return await self._client.execute_workflow(
                CheckPackageHealth.run,
                HealthTask(package=package.package),
                id=f"health-{package.package}-{new_event_id()}",
                task_queue=self._task_queue,
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
