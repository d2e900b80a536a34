"""What a run's workflow waits for beside its steps: people, room in its budget, its resumption, other agents' runs.

The rows are the truth and this only looks at them: when a signal says that something changed, at a deadline, and now
and then in case a signal was lost. Time spent here is none of the run's own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any

from agora.suspension import (
    ApprovalRequest,
    BudgetDecided,
    BudgetRequest,
    CallRequest,
    InputRequest,
)
from agora_contracts.ids import derived
from temporalio import workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ChildWorkflowError, WorkflowAlreadyStartedError

from agora_execution.queues import class_queue
from agora_execution.runs import describing
from agora_execution.runs.describing import Order
from agora_execution.runs.showing import Shown
from agora_execution.runs.tasks import (
    Asked,
    AskedPeople,
    ChildAdmitted,
    ChildCall,
    ChildEnded,
    ChildrenEnded,
    RunTask,
    Standing,
    StepAnswer,
)

WAIT_SECONDS_MAX = 60 * 86_400
"""The longest that all of a run's waiting may take before Temporal closes its workflow."""

_LOOK_SECONDS_FIRST, _LOOK_SECONDS_MAX = 60.0, 3600.0
_KINDS: dict[type, str] = {ApprovalRequest: "approval", InputRequest: "input", BudgetRequest: "budget"}
_PATIENT = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=5))
_ACT = timedelta(seconds=30)
_SUMMARIES = {
    "rest": "Look whether the run is paused",
    "ask_people": "Ask people",
    "look_at_approval": "Look whether it is decided",
    "admit_child": "Admit the run that is called",
    "close_child": "End a called run that was closed from outside",
}
_BUDGETS_OF_A_STEP = 100
"""How often a step's calls may run out of room and be let go on, at most."""


class Waiting:
    """The waiting of one run."""

    def __init__(self, run: str, shown: Shown) -> None:
        self._run = run
        self._shown = shown
        self._for: list[str] = []
        self._resting = asyncio.Lock()
        self._refused_meters: set[str] = set()
        self._changes = 0
        self._seen = 0
        self._active = 0
        self._since = 0.0
        self._waited_seconds = 0.0

    @property
    def waited_seconds(self) -> float:
        """How long the run has waited so far."""
        return self._waited_seconds + (workflow.time() - self._since if self._active else 0.0)

    def changed(self) -> None:
        """Something that the run may wait for has changed."""
        self._changes += 1

    async def rest(self, *, asked: bool) -> None:
        """Rest for as long as the run is paused; `asked` when a step's record says that it is to be."""

        async def resumed() -> bool | None:
            self._seen = self._changes
            return None if await _act("rest", self._run, bool) else True

        # One looks and rests, and whoever else comes by rests with it.
        async with self._resting:
            if not asked and self._seen == self._changes:
                return
            if await self._timed(resumed) is None:
                with self._showing("pause", "Is paused until somebody resumes it."):
                    await self._until(resumed)

    async def answer(self, task: RunTask, step: str, asked: Asked) -> StepAnswer | BudgetDecided:
        """The answer to what a step asks for, whenever it comes."""
        request = asked.request
        if isinstance(request, CallRequest):
            called: ChildrenEnded = await self._timed(
                lambda: self._call_all(task, step, asked.number, request)
            )
            return called
        return await self._decided(AskedPeople(run=task.run, step=step, number=asked.number, request=request))

    async def _call_all(self, task: RunTask, step: str, number: int, request: CallRequest) -> ChildrenEnded:
        """Have agents called, and those that the run's hold had no room for again, once there is more."""
        calls = [
            ChildCall(
                run=derived("run", step, str(number), str(index)),
                parent=task,
                step=step,
                call=call,
                index=index,
            )
            for index, call in enumerate(request.calls)
        ]
        ended = dict(zip(map(_index, calls), await self._call_each(calls, request.concurrency), strict=True))
        for again in range(_BUDGETS_OF_A_STEP):
            short = [call for call in calls if ended[call.index].missing is not None]
            if not short or task.over_budget != "pause" or self.is_refused("agents.cost"):
                break
            needed = sum(ended[call.index].missing or 0 for call in short)
            more = BudgetRequest(amount=needed, reason=_reason(short, ended), meter="agents.cost")
            people = AskedPeople(
                run=task.run, step=step, number=number * _BUDGETS_OF_A_STEP + again, request=more
            )
            decided = await self._decided(people)
            if not isinstance(decided, BudgetDecided) or not decided.raised:
                break
            ended |= zip(map(_index, short), await self._call_each(short, request.concurrency), strict=True)
        return ChildrenEnded(children=[ended[call.index] for call in calls])

    async def _decided(self, people: AskedPeople) -> StepAnswer | BudgetDecided:
        """What people decide, whenever they do."""
        request = people.request
        opened: Standing = await _act("ask_people", people, Standing)

        async def settled() -> Any:
            standing: Standing = await _act("look_at_approval", opened.approval, Standing)
            return standing.answer

        self._shown.cost(opened.cost_micros)
        answer: StepAnswer | BudgetDecided | None = opened.answer
        if answer is None:
            link = f"`/api/v1/approvals/{opened.approval}`"
            with self._showing(_KINDS[type(request)], f"Waits for people: {link}"):
                answer = await self._until(settled, opened.deadline)
        assert answer is not None
        if isinstance(request, BudgetRequest) and isinstance(answer, BudgetDecided) and not answer.raised:
            self._refused_meters.add(request.meter)
        return answer

    def is_refused(self, meter: str) -> bool:
        """Whether people have said that this run gets no more money for a meter: they are not asked again."""
        return meter in self._refused_meters

    async def _call_each(self, calls: Sequence[ChildCall], concurrency: int) -> list[ChildEnded]:
        free = asyncio.Semaphore(concurrency)

        async def one(call: ChildCall) -> ChildEnded:
            async with free:
                return await self._call(call)

        calling = [asyncio.ensure_future(one(call)) for call in calls]
        try:
            return list(await asyncio.gather(*calling))
        except Exception:
            # When one fails for good, the others are none of anybody's business any more.
            for left in calling:
                left.cancel()
            raise

    async def _call(self, call: ChildCall) -> ChildEnded:
        """Run an agent as a child of this workflow, from its admission to its end; not while this run is paused."""
        await self.rest(asked=False)
        admitted: ChildAdmitted = await _act("admit_child", call, ChildAdmitted)
        while admitted.paused:
            await self.rest(asked=True)
            admitted = await _act("admit_child", call, ChildAdmitted)
        return await _follow_child(call, admitted)

    @contextmanager
    def _showing(self, kind: str, now: str) -> Iterator[None]:
        """Let operators see what the run waits for; of several things the one that came last."""
        self._for.append(kind)
        self._shown.show(status=f"waiting_{kind}", now=now)
        yield
        # Not where the waiting was cut off: a cancelled run is about to end, and an evicted workflow must do nothing.
        self._for.remove(kind)
        still = f"waiting_{self._for[-1]}" if self._for else "running"
        self._shown.show(status=still, now="Waits." if self._for else "")

    async def _until(self, look: Callable[[], Awaitable[Any]], deadline: float | None = None) -> Any:
        return await self._timed(lambda: self._looking(look, deadline))

    async def _looking(self, look: Callable[[], Awaitable[Any]], deadline: float | None) -> Any:
        pause = _LOOK_SECONDS_FIRST
        while True:
            # Before looking: a change that comes meanwhile is looked at as well.
            seen = self._changes
            found = await look()
            if found is not None:
                return found
            seconds = pause
            if deadline is not None:
                seconds = min(pause, max(deadline - workflow.time(), 0) + 1)
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    partial(self._has_changed, seen), timeout=timedelta(seconds=seconds)
                )
            pause = min(2 * pause, _LOOK_SECONDS_MAX)

    def _has_changed(self, seen: int) -> bool:
        return self._changes != seen

    async def _timed(self, work: Callable[[], Awaitable[Any]]) -> Any:
        if not self._active:
            self._since = workflow.time()
        self._active += 1
        try:
            result = await work()
        except GeneratorExit:
            # The workflow leaves this worker's memory, outside of its own time.
            raise
        except BaseException:
            self._waits_no_more()
            raise
        self._waits_no_more()
        return result

    def _waits_no_more(self) -> None:
        self._active -= 1
        if not self._active:
            self._waited_seconds += workflow.time() - self._since


def _index(call: ChildCall) -> int:
    return call.index


def _reason(short: Sequence[ChildCall], ended: Mapping[int, ChildEnded]) -> str:
    first = ended[short[0].index].refused
    several = f"{len(short)} calls of other agents have no room: " if len(short) > 1 else ""
    return f"{several}{first.detail if first else ''}"


async def _follow_child(call: ChildCall, admitted: ChildAdmitted) -> ChildEnded:
    if admitted.refused is not None:
        return ChildEnded(
            run="",
            package=admitted.package,
            refused=admitted.refused,
            needed=admitted.needed,
            missing=admitted.missing,
        )
    assert admitted.task is not None
    child = admitted.task
    if not admitted.ended:
        try:
            await workflow.execute_child_workflow(
                "AgentRun",
                child,
                id=child.run,
                result_type=str,
                execution_timeout=timedelta(seconds=child.timeout_seconds + WAIT_SECONDS_MAX),
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
                task_queue=class_queue(workflow.info().task_queue, child.package_class),
                static_summary=describing.summary(child, call.parent.run, call.call.title),
                static_details=describing.details(child, Order(parent=call.parent.run)),
                search_attributes=describing.attributes(child, call.parent.run),
            )
        except (ChildWorkflowError, WorkflowAlreadyStartedError) as error:
            workflow.logger.warning("a called run's workflow was closed", exc_info=error)
            await _act("close_child", child.run, str)
    return ChildEnded(run=child.run, package=child.package)


async def _act(name: str, argument: Any, result: type) -> Any:
    return await workflow.execute_local_activity(
        name,
        argument,
        result_type=result,
        start_to_close_timeout=_ACT,
        retry_policy=_PATIENT,
        summary=_SUMMARIES[name],
    )
