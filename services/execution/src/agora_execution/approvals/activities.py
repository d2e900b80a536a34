"""What a waiting run's workflow does to the world: ask people, look whether they have decided, rest."""

from datetime import datetime
from typing import Any

from agora.suspension import ApprovalRequest, BudgetRequest, InputRequest
from agora_contracts.approvals import Approval
from agora_contracts.envelope import utc_now
from agora_contracts.problems import AgoraError
from agora_kit.database import Database
from temporalio import activity
from temporalio.exceptions import ApplicationError

from agora_execution.approvals.model import NewApproval, approval_id, budget_approval_id
from agora_execution.approvals.service import Approvals, answer_of
from agora_execution.runs import standing
from agora_execution.runs.model import RUN_ENDED
from agora_execution.runs.tasks import AskedPeople, Standing

BUDGET_SECONDS = 7 * 86_400
"""How long a run waits for more money before it goes on without."""

_BUDGET_ACTIONS = {
    "model.cost": "Set more aside for this run",
    "agents.cost": "Set more aside for the agents that this run calls",
}


class ApprovalActivities:
    """The activities of waiting, on the worker's connections."""

    def __init__(self, database: Database, approvals: Approvals) -> None:
        self._database = database
        self._approvals = approvals

    @property
    def all(self) -> list[Any]:
        """Every activity, to be registered with a worker."""
        return [self.ask_people, self.look_at_approval, self.rest]

    @activity.defn
    async def ask_people(self, asked: AskedPeople) -> Standing:
        """Open what a step asks for, once; where the run's own limit has room for more money, it is set aside at once."""
        try:
            approval = await self._approvals.open(_new(asked))
        except AgoraError as error:
            raise _ended(error) from error
        return _standing(await self._with_room(approval))

    @activity.defn
    async def look_at_approval(self, approval: str) -> Standing:
        """How it stands now; a deadline that is over decides, and so does room that there is by now."""
        return _standing(await self._with_room(await self._approvals.outcome(approval)))

    @activity.defn
    async def rest(self, run: str) -> bool:
        """Whether the run is to rest, as it then does, or goes on."""
        async with self._database.system() as connection:
            locked = await standing.lock(connection, run)
            if locked is None or locked.ended:
                raise _ended(AgoraError("run_ended", RUN_ENDED.detail))
            if locked.pause_requested:
                await standing.wait(connection, locked, "pause", utc_now())
                return True
            if locked.waiting_for == "pause":
                await standing.let_go(connection, locked, utc_now())
            return False

    async def _with_room(self, approval: Approval) -> Approval:
        """An approval of more money, given where the run's own limit has room for it and nobody has to be asked."""
        if approval.needed is None or approval.state != "pending":
            return approval
        async with self._database.system() as connection:
            run = await standing.lock(connection, approval.run)
        if run is None or run.max_cost is None:
            return approval
        return await self._approvals.find_room(approval.id)


def _new(asked: AskedPeople) -> NewApproval:
    request = asked.request
    common: dict[str, Any] = {"run": asked.run, "step": asked.step}
    match request:
        case ApprovalRequest():
            return NewApproval(
                id=approval_id(asked.step, asked.number),
                kind="approval",
                action=_storable(request.action),
                arguments=request.arguments,
                reason=_storable(request.reason),
                decider=request.decider,
                timeout_seconds=request.timeout_seconds,
                on_deadline=request.on_deadline,
                schema=request.schema,
                **common,
            )
        case InputRequest():
            return NewApproval(
                id=approval_id(asked.step, asked.number),
                kind="input",
                action=_storable(request.question),
                schema=request.schema,
                decider=request.decider,
                timeout_seconds=request.timeout_seconds,
                **common,
            )
        case BudgetRequest():
            return NewApproval(
                id=budget_approval_id(asked.step, asked.number, request.meter),
                kind="budget",
                action=_BUDGET_ACTIONS[request.meter],
                reason=request.reason,
                needed=request.amount,
                needed_for=request.meter,
                timeout_seconds=BUDGET_SECONDS,
                **common,
            )


def _storable(text: str) -> str:
    """A text, which may quote a document or a model, without what a database cannot store."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _standing(approval: Approval) -> Standing:
    try:
        answer = answer_of(approval)
    except AgoraError as error:
        raise _ended(error) from error
    return Standing(
        approval=approval.id,
        deadline=_seconds(approval.deadline),
        answer=answer,
        cost_micros=approval.cost_so_far.amount,
    )


def _seconds(at: datetime) -> float:
    return at.timestamp()


def _ended(error: AgoraError) -> ApplicationError:
    return ApplicationError(str(error), RUN_ENDED, type=RUN_ENDED.code, non_retryable=True)
