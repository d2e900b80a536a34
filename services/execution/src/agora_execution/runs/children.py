"""Runs that a run calls: admitted inside its hold, bounded in depth, never in a circle."""

from typing import Any

from agora_contracts.envelope import utc_now
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.runs import ENDED, EstimateRun, RunError, StartRun
from agora_kit.database import Database
from sqlalchemy import text
from temporalio import activity

from agora_execution import agents
from agora_execution.runs.admission import Admission, Caller
from agora_execution.runs.model import TERMINATED, Ending, lacks_callers_room
from agora_execution.runs.recording import Recorder
from agora_execution.runs.tasks import ChildAdmitted, ChildCall

_REFUSALS = ("unavailable", "deadline_exceeded", "overloaded", "internal")
"""Problems that pass: the call is tried again, and not refused."""

_OF_MONEY = ("budget_exhausted", "insufficient_credit")


class ChildActivities:
    """The activities of calling agents, on the worker's connections."""

    def __init__(self, database: Database, admission: Admission, recorder: Recorder) -> None:
        self._database = database
        self._admission = admission
        self._recorder = recorder

    @property
    def all(self) -> list[Any]:
        """Every activity, to be registered with a worker."""
        return [self.admit_child, self.close_child]

    @activity.defn
    async def admit_child(self, call: ChildCall) -> ChildAdmitted:
        """Accept the run that a step calls, once, inside its caller's hold; or say why it cannot be."""
        try:
            return await self._admit(call)
        except AgoraError as error:
            if error.slug in _REFUSALS:
                raise
            faults = "; ".join(f"{fault.field}: {fault.detail}" for fault in error.problem.errors[:5])
            detail = f"{error} ({faults})" if faults else str(error)
            needed = await self._needed(call) if error.slug in _OF_MONEY else None
            return ChildAdmitted(
                run=call.run,
                package=call.call.package or "",
                refused=RunError(code=error.slug, detail=detail),
                needed=needed,
                missing=needed.amount if needed is not None and lacks_callers_room(error) else None,
            )

    @activity.defn
    async def close_child(self, run: str) -> str:
        """End a called run whose workflow was closed from outside; one that has ended stays as it ended."""
        await self._recorder.end(Ending(run=run, outcome="failed", at=utc_now(), error=TERMINATED))
        return run

    async def _needed(self, call: ChildCall) -> Money | None:
        """What a call would have been quoted at that was refused for want of money; None where it has no price now."""
        query = EstimateRun(
            tenant=call.parent.tenant,
            account=await self._account(call.parent.run),
            input=call.call.input,
            package=call.call.package,
            deployment=call.call.deployment,
        )
        try:
            return (await self._admission.estimate(query)).quote.amount
        except AgoraError as error:
            # It is refused either way: a price that cannot be had must not keep its caller waiting for ever.
            if error.slug in _REFUSALS:
                raise
            return None

    async def _account(self, run: str) -> str:
        async with self._database.system() as connection:
            account: str = (
                await connection.execute(text("SELECT account_id FROM runs WHERE id = :id"), {"id": run})
            ).scalar_one()
        return account

    async def _admit(self, call: ChildCall) -> ChildAdmitted:
        parent = call.parent
        async with self._database.system() as connection:
            row = (
                await connection.execute(
                    text("""
                        SELECT account_id, requested_by, finished_at, pause_requested_at, cancel_requested_at,
                            EXISTS (SELECT FROM runs c WHERE c.id = :child) AS known
                        FROM runs WHERE id = :id
                    """),
                    {"id": parent.run, "child": call.run},
                )
            ).one()
        if row.finished_at is not None:
            raise AgoraError("run_ended", "the run that calls has ended")
        if row.cancel_requested_at is not None and not row.known:
            raise AgoraError("run_ended", "the run that calls is to stop")
        if row.pause_requested_at is not None and not row.known:
            # What a paused run called before rests with it; nothing new begins.
            return ChildAdmitted(run=call.run, paused=True)
        command = StartRun(
            run_id=call.run,
            tenant=parent.tenant,
            account=row.account_id,
            # The same call of the same step is the same run, whatever asks for it again.
            fingerprint=call.run,
            requested_by=row.requested_by,
            input=call.call.input,
            package=call.call.package,
            deployment=call.call.deployment,
            max_cost=call.call.max_cost,
        )
        caller = Caller(
            run=parent.run,
            step=call.step,
            title=call.call.title,
            path=[*parent.path, parent.package],
            may_call=agents.get(parent.package).manifest.permissions.agents,
        )
        task, run = await self._admission.accept_called(command, caller)
        return ChildAdmitted(run=run.id, task=task, package=run.package, ended=run.status in ENDED)
