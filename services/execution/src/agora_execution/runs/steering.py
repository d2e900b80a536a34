"""Use cases that steer runs under way: pause, resume, and the runs that a run called."""

from datetime import datetime

import msgspec
from agora_contracts.envelope import utc_now
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.runs import ENDED, Run
from agora_contracts.steering import ChildPage, ChildRun, ListChildren, PauseRun, ResumeRun
from agora_kit.cursor import decode_cursor, encode_cursor
from agora_kit.database import Database
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.runs import queries, standing
from agora_execution.runs.model import over
from agora_execution.runs.starting import Starter


class Steering:
    """Pauses and resumes runs, with everything that they called."""

    def __init__(self, database: Database, starter: Starter) -> None:
        self._database = database
        self._starter = starter

    async def pause(self, command: PauseRun) -> Run:
        """Let a run, and the runs that it called, rest after the step at hand.

        Raises:
            AgoraError: `not_found`; `run_ended`, when it is over already; `unavailable`, when it could not be told.
        """
        run = await self._unfinished(command.run, command.tenant)
        async with self._database.system() as connection:
            family = await standing.lock_family(connection, run.id)
            await connection.execute(
                text("""
                    UPDATE runs SET pause_requested_at = coalesce(pause_requested_at, now())
                    WHERE id = ANY(CAST(:ids AS text[])) AND finished_at IS NULL
                """),
                {"ids": family},
            )
        return await self._told(command.run, command.tenant, family)

    async def resume(self, command: ResumeRun) -> Run:
        """Let a paused run, and the runs that it called, go on.

        Raises:
            AgoraError: `not_found`; `run_ended`, when it is over already; `unavailable`, when it could not be told.
        """
        run = await self._unfinished(command.run, command.tenant)
        async with self._database.system() as connection:
            family = await standing.lock_family(connection, run.id)
            resumed = await connection.execute(
                text("""
                    UPDATE runs SET pause_requested_at = NULL WHERE id = ANY(CAST(:ids AS text[]))
                    RETURNING id, waiting_for
                """),
                {"ids": family},
            )
            for one in sorted(row.id for row in resumed if row.waiting_for == "pause"):
                locked = await standing.lock(connection, one)
                if locked is not None:
                    await standing.let_go(connection, locked, utc_now())
        return await self._told(command.run, command.tenant, family)

    async def children(self, query: ListChildren) -> ChildPage:
        """The runs that a run called, oldest first.

        Raises:
            AgoraError: `not_found`.
        """
        await self._read(query.run, query.tenant)
        async with self._database.transaction(query.tenant) as connection:
            return await _children(connection, query)

    async def _unfinished(self, run: str, tenant: str) -> Run:
        found = await self._read(run, tenant)
        if found.status in ENDED:
            raise over(found.status)
        return found

    async def _told(self, run: str, tenant: str, family: list[str]) -> Run:
        told = [await self._starter.wake(one) for one in family]
        if not all(told):
            raise AgoraError(
                "unavailable", "the run could not be told yet; ask again shortly", retry_after_seconds=2
            )
        return await self._read(run, tenant)

    async def _read(self, run: str, tenant: str) -> Run:
        async with self._database.transaction(tenant) as connection:
            found = await queries.run_with_fingerprint(connection, run)
        if found is None:
            raise AgoraError("not_found", f"no run {run}")
        return found[0]


async def _children(connection: AsyncConnection, query: ListChildren) -> ChildPage:
    after = decode_cursor(query.cursor, tuple[datetime, str]) if query.cursor else None
    rows = (
        await connection.execute(
            text("""
                SELECT id, parent_id, parent_step, title, package, status, waiting_for, accepted_at, finished_at, quoted,
                    currency, steps, cost
                FROM runs WHERE parent_id = :run AND tenant_id = :tenant
                    AND (CAST(:after_at AS timestamptz) IS NULL OR (accepted_at, id) > (:after_at, :after_id))
                ORDER BY accepted_at, id LIMIT :limit
            """),
            {
                "run": query.run,
                "tenant": query.tenant,
                "after_at": after[0] if after else None,
                "after_id": after[1] if after else "",
                "limit": query.limit + 1,
            },
        )
    ).all()
    shown = rows[: query.limit]
    items = [
        msgspec.convert(
            {
                "id": row.id,
                "parent": row.parent_id,
                "step": row.parent_step or "",
                "title": row.title,
                "package": row.package,
                "status": row.status,
                "waiting_for": row.waiting_for,
                "accepted_at": row.accepted_at,
                "finished_at": row.finished_at,
                "quoted": Money(amount=row.quoted, currency=row.currency),
                "steps": row.steps,
                "outcome": row.status if row.status in ENDED else None,
                "cost": None if row.cost is None else Money(amount=row.cost, currency=row.currency),
            },
            ChildRun,
        )
        for row in shown
    ]
    more = len(rows) > query.limit
    return ChildPage(
        items=items,
        next_cursor=encode_cursor(shown[-1].accepted_at.isoformat(), shown[-1].id) if more else None,
    )
