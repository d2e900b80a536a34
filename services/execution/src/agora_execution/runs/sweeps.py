"""The sweep over unfinished runs: whatever died between two of a run's acts is put right here.

An accepted run without a workflow is started; a closed workflow whose run has not ended ends it (an
operator's Terminate, Temporal's own timeout); a cancellation that did not arrive is sent again, and so is the word that
something was decided; a run that no worker brings to its end in time is ended; a run whose version of workers is gone is
handed over to the current one.
"""

import structlog
from agora_contracts.envelope import utc_now
from agora_kit.database import Database
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError

from agora_execution.runs import queries
from agora_execution.runs.model import CANCELLED, INTERNAL, TERMINATED, TIMED_OUT, Ending
from agora_execution.runs.queries import Unfinished
from agora_execution.runs.recording import Recorder
from agora_execution.runs.starting import Starter

log = structlog.get_logger()

_QUIET_SECONDS = 5.0
_BATCH = 200

_ENDINGS = {
    WorkflowExecutionStatus.TERMINATED: ("failed", TERMINATED),
    WorkflowExecutionStatus.TIMED_OUT: ("timed_out", TIMED_OUT),
    WorkflowExecutionStatus.CANCELED: ("cancelled", CANCELLED),
    WorkflowExecutionStatus.FAILED: ("failed", INTERNAL),
    WorkflowExecutionStatus.COMPLETED: ("failed", INTERNAL),
}


class RunSweep:
    """Looks after runs that have been quiet for a while."""

    def __init__(
        self,
        database: Database,
        recorder: Recorder,
        starter: Starter,
        *,
        quiet_seconds: float = _QUIET_SECONDS,
    ) -> None:
        self._database = database
        self._recorder = recorder
        self._starter = starter
        self._quiet_seconds = quiet_seconds

    async def sweep(self) -> int:
        """Look at quiet runs once. Returns how many were looked at.

        Raises:
            RPCError: Temporal does not answer; the next sweep goes on.
        """
        async with self._database.system() as connection:
            quiet = await queries.unfinished(connection, self._quiet_seconds, _BATCH)
        for run in quiet:
            try:
                await self._look_after(run)
            except RPCError:
                raise
            except Exception as error:
                # One that cannot be helped must not keep the others from being looked after.
                log.exception("a run could not be looked after", run=run.id, error=repr(error))
        return len(quiet)

    async def _look_after(self, run: Unfinished) -> None:
        standing = await self._starter.look(run.id)
        if standing is None:
            await self._without_workflow(run)
        elif standing.status in _ENDINGS:
            outcome, error = _ENDINGS[standing.status]
            if await self._recorder.end(Ending(run=run.id, outcome=outcome, at=utc_now(), error=error)):  # type: ignore[arg-type]
                log.warning(
                    "ended a run whose workflow was closed", run=run.id, workflow=standing.status.name
                )
        else:
            await self._starter.keep_served(run.id, standing)
            await self._with_workflow(run)

    async def _without_workflow(self, run: Unfinished) -> None:
        if run.cancel_requested or run.orphaned:
            # Nothing runs; a workflow that is being started this moment finds the run ended.
            await self._recorder.end(Ending(run=run.id, outcome="cancelled", at=utc_now(), error=CANCELLED))
        else:
            log.info("starting a run's workflow", run=run.id)
            await self._starter.start_again(run.id)

    async def _with_workflow(self, run: Unfinished) -> None:
        if run.cancel_requested or run.orphaned:
            await self._starter.cancel(run.id)
        elif run.overdue:
            # No worker has come back to it: the row ends first, so that the workflow's end is never taken for another.
            await self._recorder.end(Ending(run=run.id, outcome="timed_out", at=utc_now(), error=TIMED_OUT))
            await self._starter.terminate(run.id, TIMED_OUT.detail)
        elif run.decided:
            await self._starter.wake(run.id)
