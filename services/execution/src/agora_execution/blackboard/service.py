"""Use cases of the blackboard: post, read, show to customers, forget."""

from collections.abc import Sequence
from typing import Any

import msgspec
from agora.blackboard import ROOT_MAX, Posted, check_post, full
from agora_contracts.problems import AgoraError
from agora_contracts.swarms import Finding, FindingPage, ListFindings
from agora_kit.database import Database
from sqlalchemy import Row

from agora_execution.blackboard import store
from agora_execution.patience import patiently

_FORGET_BATCH = 5_000


class Blackboards:
    """The blackboards of all root runs."""

    def __init__(self, database: Database, *, retention_days: int) -> None:
        self._database = database
        self._retention_days = retention_days

    async def page(self, query: ListFindings) -> FindingPage:
        """What customers may see under a topic.

        Raises:
            AgoraError: `not_found`, also for another tenant's run; `invalid_cursor`.
        """
        async with self._database.transaction(query.tenant) as connection:
            boards = await store.boards_of(connection, query.run)
            if not boards:
                raise AgoraError("not_found", f"no run {query.run}")
            return await store.page(connection, query, boards)

    async def forget(self) -> None:
        """Delete what is past its time, in batches."""
        gone = _FORGET_BATCH
        while gone == _FORGET_BATCH:
            async with self._database.system() as connection:
                gone = await store.forget(connection, self._retention_days, _FORGET_BATCH)


class RunBlackboard:
    """The blackboard as a step of a run has it, behind the SDK's protocol."""

    def __init__(self, database: Database, tenant: str, run: str, step: str) -> None:
        self._database = database
        self._tenant = tenant
        self._run = run
        self._step = step

    async def post(self, topic: str, findings: Sequence[Finding]) -> None:
        """Post findings in the place of what the step had under the topic.

        Raises:
            InputRejected: `blackboard_full`, `finding_too_large` or `invalid_topic`.
        """
        check_post(topic, findings)
        await patiently(self._post, topic, findings)

    async def _post(self, topic: str, findings: Sequence[Finding]) -> None:
        async with self._database.transaction(self._tenant) as connection:
            boards = await store.boards_of(connection, self._run)
            fits = await store.replace(
                connection,
                tenant=self._tenant,
                root=boards[0] if boards else self._run,
                run=self._run,
                step=self._step,
                topic=topic,
                posted=findings,
                room=ROOT_MAX,
            )
            if not fits:
                raise full()

    async def read(self, topic: str, *, runs: Sequence[str] | None = None) -> list[Posted]:
        """All findings under a topic, of these runs or of all."""
        rows = await patiently(self._rows, topic, runs)
        board_of: dict[str, str] = {}
        posted = []
        for row in rows:
            finding = msgspec.convert(row.body, Finding)
            # What was found again stands in the place of what the run before had found.
            if board_of.setdefault(finding.id, row.root_id) == row.root_id:
                posted.append(Posted(run=row.run_id, step=row.step_id, topic=topic, finding=finding))
        return posted

    async def _rows(self, topic: str, runs: Sequence[str] | None) -> list[Row[Any]]:
        async with self._database.transaction(self._tenant) as connection:
            boards = await store.boards_of(connection, self._run)
            return await store.read(connection, boards, topic, runs)
