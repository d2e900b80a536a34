"""Who answers a step that asks for something when an agent runs alone: nobody decides, and other agents run beside it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from agora.errors import AgentDefinitionError, RunFailed
from agora.suspension import (
    AgentCall,
    Answer,
    ApprovalRequest,
    BudgetRequest,
    CallRequest,
    CallResult,
    CallsEnded,
    Decision,
    InputGiven,
    InputRequest,
    Request,
)

NOBODY = "nobody decides while an agent runs alone"
DEPTH_MAX = 3
"""How deep agents may call each other, as on the platform."""

type RunAgent = Callable[[AgentCall], Awaitable[Any]]
"""Runs the agent of a call and returns what it gave (its `output`, and the `run`), or raises `RunFailed`."""
type Answers = Callable[[Request], Answer | None]
"""What a test or an author answers; None leaves the request to `unattended`."""


async def answer(request: Request, run_agent: RunAgent, answers: Answers | None = None) -> Answer:
    """Answer a request as `answers` does, else as if nobody were there; calls are carried out.

    Raises:
        AgentDefinitionError: the request is none that an agent may make.
    """
    given = answers(request) if answers is not None else None
    if given is not None:
        return given
    match request:
        case ApprovalRequest():
            return Decision(
                approved=request.on_deadline == "approve",
                arguments=request.arguments,
                comment=NOBODY,
                expired=True,
            )
        case InputRequest():
            return InputGiven(given=False)
        case CallRequest():
            return await _call_all(request, run_agent)
        case BudgetRequest():
            raise AgentDefinitionError("An agent cannot ask for a budget itself.")


async def _call_all(request: CallRequest, run_agent: RunAgent) -> CallsEnded:
    free = asyncio.Semaphore(request.concurrency)

    async def one(call: AgentCall) -> CallResult:
        async with free:
            return await _result(call, run_agent)

    return CallsEnded(results=await asyncio.gather(*(one(call) for call in request.calls)))


async def _result(call: AgentCall, run_agent: RunAgent) -> CallResult:
    package = call.package or ""
    try:
        done = await run_agent(call)
    except RunFailed as error:
        return CallResult(run="", package=package, outcome="failed", code=error.code, detail=error.detail)
    return CallResult(
        run=done.run,
        package=package,
        outcome="succeeded",
        deliverable=done.output.deliverable,
        output=_plain(done.output),
    )


def _plain(output: Any) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(output, str_keys=True)
    return plain
