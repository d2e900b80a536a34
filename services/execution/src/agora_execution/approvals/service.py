"""Use cases of approvals. The row is the truth; a run's workflow only looks at it again when it is told to.

Locks are taken in the order run, approval. A decision that needs more money asks billing before it is written: asked
again it is answered alike, so whoever dies between the two decides once more.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import jsonschema_rs
import structlog
from agora import Decision
from agora.suspension import BudgetDecided, InputGiven
from agora_contracts.approvals import (
    Approval,
    ApprovalDecided,
    ApprovalPage,
    ApprovalRequested,
    ApprovalTrail,
    DecideApproval,
    GetApproval,
    ListApprovals,
    ListApprovalTrail,
)
from agora_contracts.billing import IncreaseHold
from agora_contracts.envelope import Envelope, utc_now
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError, FieldError
from agora_kit import deadlines
from agora_kit.broker import Broker
from agora_kit.consumer import AfterCommit
from agora_kit.database import Database
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.approvals import model, store
from agora_execution.approvals.model import PLATFORM, NewApproval
from agora_execution.database import json_text
from agora_execution.models import store as models_store
from agora_execution.runs import standing
from agora_execution.runs.model import RUN_ENDED, lacks_callers_room
from agora_execution.runs.standing import StandingRun
from agora_execution.runs.starting import Starter

log = structlog.get_logger()


class Approvals:
    """Opens, shows and settles what runs ask people for."""

    def __init__(self, database: Database, broker: Broker, starter: Starter | None = None) -> None:
        self._database = database
        self._broker = broker
        self._starter = starter
        self._looking: set[asyncio.Task[None]] = set()

    # --- for people ------------------------------------------------------------------------------

    async def get(self, query: GetApproval) -> Approval:
        """One approval.

        Raises:
            AgoraError: `not_found`, also for another tenant's.
        """
        return await self._visible(query.approval, query.tenant)

    async def page(self, query: ListApprovals) -> ApprovalPage:
        """A tenant's approvals, or those that the operator decides."""
        async with self._database.system() as connection:
            return await store.page(connection, query)

    async def trail(self, query: ListApprovalTrail) -> ApprovalTrail:
        """A page of what happened to an approval.

        Raises:
            AgoraError: `not_found`; `invalid_cursor`.
        """
        await self._visible(query.approval, query.tenant)
        async with self._database.system() as connection:
            return await store.trail(connection, query)

    async def decide(self, command: DecideApproval) -> Approval:
        """Decide, and let the run go on.

        Raises:
            AgoraError: `not_found`, `forbidden`, `approval_decided`, `approval_expired`, `run_ended`, `invalid_input`;
                `insufficient_credit` or `budget_exhausted`, when what is to be set aside is not there.
        """
        approval = await self._visible(command.approval, command.tenant)
        try:
            model.check_decider(approval, command.tenant)
            wanted = model.decided(approval, command, utc_now())
            _check_value(approval, command)
        except AgoraError as error:
            await self._refused(approval, command, error)
            raise
        if wanted is not approval:
            if approval.needed is not None and command.approve:
                await self._increase_with_callers(approval)
            approval = await self._write(command)
        await self._wake(approval.run)
        return approval

    # --- for the run -----------------------------------------------------------------------------

    async def open(self, new: NewApproval) -> Approval:
        """Ask for something, once; the run waits from now on.

        Raises:
            AgoraError: `run_ended`, when nobody needs an answer any more.
        """
        async with self._database.system() as connection:
            run = await standing.lock(connection, new.run)
            if run is None or run.ended:
                raise AgoraError("run_ended", RUN_ENDED.detail)
            known = await store.find(connection, new.id)
            if known is not None:
                return known
            approval = _opened(new, run)
            await store.insert(connection, approval)
            await store.add_to_trail(connection, approval, approval.requested_at, "requested", approval.step)
            await standing.tell(
                connection,
                run,
                approval.requested_at,
                ("approval.requested", lambda seq: _requested(approval, seq)),
            )
            await standing.wait(connection, run, standing.WAITING_FOR[approval.kind], approval.requested_at)
            return approval

    async def outcome(self, approval_id: str) -> Approval:
        """How an approval stands now; a deadline that is over decides.

        Raises:
            AgoraError: `not_found`.
        """
        async with self._database.system() as connection:
            known = await _existing(connection, approval_id)
            if known.state != "pending" or known.deadline > utc_now():
                return known
            run, known = await _lock(connection, known)
            settled = model.expired(known, utc_now())
            if settled is not known:
                await _settle(connection, run, settled, "expired")
            return settled

    async def find_room(self, approval_id: str) -> Approval:
        """Set aside what a run waits for, if its own limit and the account have room for it by now."""
        approval = await self.outcome(approval_id)
        if approval.state != "pending" or approval.needed is None:
            return approval
        try:
            await self._increase(approval)
        except AgoraError as error:
            if error.slug in ("insufficient_credit", "budget_exhausted", "hold_closed", "not_found"):
                return approval
            raise
        command = DecideApproval(
            approval=approval.id, approve=True, decided_by=PLATFORM, comment="there is room now"
        )
        return await self._write(command)

    async def room_grew(self, connection: AsyncConnection, envelopes: Sequence[Envelope[Any]]) -> AfterCommit:
        """There is more to spend on some accounts: let runs that wait for it, and may take it, look for room."""
        accounts = sorted({envelope.data.account for envelope in envelopes})
        waiting = await store.waiting_for_room(connection, accounts)

        async def look() -> None:
            for approval in waiting:
                try:
                    settled = await self.find_room(approval)
                except Exception as error:
                    # The run looks again by itself, and so does the next event; the others must hear all the same.
                    log.warning("no room found yet", approval=approval, reason=repr(error))
                    continue
                if settled.state != "pending":
                    await self._wake(settled.run)

        def spawn() -> None:
            task = asyncio.get_running_loop().create_task(look(), context=deadlines.detached())
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)

        return spawn

    # --- inside ----------------------------------------------------------------------------------

    async def _visible(self, approval_id: str, tenant: str | None) -> Approval:
        async with self._database.system() as connection:
            found = await store.find(connection, approval_id)
        if found is None or tenant not in (None, found.tenant):
            raise AgoraError("not_found", f"no approval {approval_id}")
        return found

    async def _refused(self, approval: Approval, command: DecideApproval, error: AgoraError) -> None:
        async with self._database.system() as connection:
            await store.add_refused(
                connection, approval, utc_now(), command.decided_by, f"{error.slug}: {error}"
            )

    async def _increase_with_callers(self, approval: Approval) -> None:
        """Set aside what was approved: who approves lets the run's own limit grow, and what its callers set aside.

        A run that was called takes what it needs of its caller's part for calls; where that has too little left, the
        caller's grows first, and so on outwards. Each is asked under the approval's id, so that dying between two of
        them and deciding again sets nothing aside twice.
        """
        async with self._database.system() as connection:
            callers = await store.callers_of(connection, approval.run)
        line = [(approval.run, approval.needed_for), *((caller, "agents.cost") for caller in callers)]
        refused: AgoraError | None = None
        for depth in range(len(line)):
            try:
                for run, meter in reversed(line[: depth + 1]):
                    await self._increase(approval, run, meter, raise_limit=approval.needed)
            except AgoraError as error:
                if not lacks_callers_room(error):
                    raise
                refused = error
            else:
                return
        assert refused is not None
        raise refused

    async def _increase(
        self,
        approval: Approval,
        run: str | None = None,
        meter: str | None = None,
        raise_limit: Money | None = None,
    ) -> None:
        assert approval.needed is not None
        await self._broker.ask(
            IncreaseHold(
                run=run or approval.run,
                tenant=approval.tenant,
                by=approval.needed,
                request=approval.id,
                raise_limit=raise_limit,
                meter=meter or approval.needed_for,  # type: ignore[arg-type]
            )
        )

    async def _write(self, command: DecideApproval) -> Approval:
        async with self._database.system() as connection:
            run, found = await _lock(connection, await _existing(connection, command.approval))
            settled = model.decided(found, command, utc_now())
            if settled is not found:
                if run.ended:
                    raise AgoraError("run_ended", "the run has ended; there is nothing left to decide")
                await _settle(connection, run, settled, settled.state)
                if settled.needed_for == "model.cost" and settled.state == "approved":
                    assert settled.needed is not None
                    await models_store.raise_limit(connection, run.id, settled.needed.amount)
            return settled

    async def _wake(self, run: str) -> None:
        if self._starter is not None:
            await self._starter.wake(run)


def answer_of(approval: Approval) -> Decision | InputGiven | BudgetDecided | None:
    """What an approval tells the step that asked; None while it is pending.

    Raises:
        AgoraError: `run_ended`, when it was cancelled with its run.
    """
    if approval.state == "pending":
        return None
    if approval.state == "cancelled":
        raise AgoraError("run_ended", RUN_ENDED.detail)
    granted = model.is_granted(approval)
    if approval.kind == "budget":
        return BudgetDecided(raised=granted)
    if approval.kind == "input":
        return InputGiven(
            given=granted,
            value=approval.value,
            given_by=approval.decided_by,
            refused=approval.state == "rejected",
        )
    return Decision(
        approved=granted,
        arguments=model.arguments_of(approval),
        comment=approval.comment,
        decided_by=approval.decided_by,
        expired=approval.state == "expired",
    )


async def _existing(connection: AsyncConnection, approval: str) -> Approval:
    found = await store.find(connection, approval)
    if found is None:
        raise AgoraError("not_found", f"no approval {approval}")
    return found


async def _lock(connection: AsyncConnection, approval: Approval) -> tuple[StandingRun, Approval]:
    """Lock an approval's run, and read it again: somebody else may have decided meanwhile."""
    run = await standing.lock(connection, approval.run)
    if run is None:
        raise AgoraError("not_found", f"no approval {approval.id}")
    return run, await _existing(connection, approval.id)


async def _settle(connection: AsyncConnection, run: StandingRun, settled: Approval, what: str) -> None:
    at = settled.decided_at or utc_now()
    await store.save_decision(connection, settled)
    await store.add_to_trail(connection, settled, at, what, settled.decided_by, _told(settled))
    await standing.tell(
        connection,
        run,
        at,
        (
            "approval.decided",
            lambda seq: ApprovalDecided(
                run=settled.run,
                approval=settled.id,
                seq=seq,
                state=settled.state,
                decided_by=settled.decided_by,
                comment=settled.comment,
                at=at,
            ),
        ),
    )
    if run.waiting_for != "pause":
        await standing.let_go(connection, run, at)


def _told(settled: Approval) -> str:
    """What the trail says of a decision: its comment, and the arguments that it changed."""
    changed = settled.decided_arguments or {}
    new = {name: value for name, value in changed.items() if settled.arguments.get(name) != value}
    return f"{settled.comment}\nwith {json_text(new)}".strip() if new else settled.comment


def _opened(new: NewApproval, run: StandingRun) -> Approval:
    now = utc_now()
    return Approval(
        id=new.id,
        tenant=run.tenant,
        run=new.run,
        step=new.step,
        package=run.package,
        kind=new.kind,  # type: ignore[arg-type]
        action=new.action,
        arguments=new.arguments,
        reason=new.reason,
        decider=new.decider,  # type: ignore[arg-type]
        state="pending",
        requested_at=now,
        deadline=now + timedelta(seconds=new.timeout_seconds),
        on_deadline=new.on_deadline,  # type: ignore[arg-type]
        cost_so_far=Money(amount=run.model_spent, currency=run.currency),
        schema=new.schema,
        needed=None if new.needed is None else Money(amount=new.needed, currency=run.currency),
        needed_for=new.needed_for,  # type: ignore[arg-type]
    )


def _requested(approval: Approval, seq: int) -> ApprovalRequested:
    return ApprovalRequested(
        run=approval.run,
        approval=approval.id,
        seq=seq,
        step=approval.step,
        kind=approval.kind,
        action=approval.action,
        arguments=approval.arguments,
        reason=approval.reason,
        decider=approval.decider,
        deadline=approval.deadline,
        cost_so_far=approval.cost_so_far,
        needed=approval.needed,
        needed_for=approval.needed_for,
    )


def _check_value(approval: Approval, command: DecideApproval) -> None:
    """The value that was asked for, or the arguments as they were changed, must fit the schema, if there is one."""
    field = "value" if approval.kind == "input" else "arguments"
    changed = None if command.arguments is None else model.wanted_arguments(approval, command)
    given = command.value if approval.kind == "input" else changed
    if approval.schema is None or given is None:
        return
    validator = jsonschema_rs.validator_for(approval.schema)
    faults = [
        FieldError(field=f"/{field}/" + "/".join(map(str, error.instance_path)), detail=error.message[:500])
        for error in validator.iter_errors(given)
    ]
    if faults:
        wrong = "is not what was asked for" if field == "value" else "are not what the action takes"
        raise AgoraError("invalid_input", f"the {field} {wrong}; see errors", errors=faults[:20])
