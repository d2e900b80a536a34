"""What a step gets beside the state: who it is, what it may reach, and where it reports."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import msgspec

from agora import tool_arguments
from agora.blackboard import Blackboard, LocalBlackboard
from agora.conversation import Conversation, GivenConversation
from agora.errors import AgentDefinitionError, InputRejected, PermissionNotGranted
from agora.live import ANSWER, OnText, TextWritten, ignore_text
from agora.memory import Memory, NoMemory
from agora.ports import Files, Knowledge, Models
from agora.suspension import (
    ANSWERS,
    CALLS_MAX,
    TIMEOUT_SECONDS_MAX,
    WEEK_SECONDS,
    AgentCall,
    Answer,
    ApprovalRequest,
    CallRequest,
    CallResult,
    CallsEnded,
    Decider,
    Decision,
    InputGiven,
    InputRequest,
    Request,
    Suspended,
)
from agora.tools import Tool

QUANTITY_MAX = Decimal(10) ** 15
QUANTITY_PLACES_MAX = 9


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Something countable that a step did. `quantity` is in the meter's own unit."""

    meter: str
    quantity: Decimal
    dimensions: dict[str, str] = {}


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A live note for whoever watches; it is not kept. `fraction` is the part done, 0 to 1, if known."""

    message: str
    fraction: float | None = None


class ToolUse(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that begins (`result` and `error` are None) or ended; `call` is the same in both. Live, and not kept."""

    call: int
    tool: str
    title: str
    arguments: dict[str, Any]
    result: Any = None
    error: str | None = None
    ended: bool = False


def _ignore_progress(progress: Progress) -> None:
    """Nobody watches."""


def _ignore_tools(use: ToolUse) -> None:
    """Nobody watches."""


@dataclass(slots=True, kw_only=True)
class Context:
    """A step's surroundings during one attempt.

    `step_id` is the same for every attempt; `attempt` counts from 1. `prepared` is what the agent's `load`
    made, shared by all runs of a process: read it only. `recorded` is the usage of this attempt; it counts
    only if the attempt succeeds, and so does what it writes into `memory`. `answers` are those to what the step asked
    for when it was called before; `callable_agents` which packages the manifest lets it call; `blackboard` is that of
    the root run.
    """

    run_id: str
    step_id: str
    attempt: int
    config: Any
    prepared: Any
    files: Files
    knowledge: Knowledge
    models: Models
    memory: Memory = field(default_factory=NoMemory)
    conversation: Conversation = field(default_factory=GivenConversation)
    on_progress: Callable[[Progress], None] = _ignore_progress
    on_tool: Callable[[ToolUse], None] = _ignore_tools
    on_text: OnText = ignore_text
    recorded: list[Usage] = field(default_factory=list)
    answers: Sequence[Answer] = ()
    callable_agents: Sequence[str] = ()
    blackboard: Blackboard = field(default_factory=LocalBlackboard)
    suspended: Suspended | None = None
    """What this attempt waits for, once it has asked for something that has no answer yet: the first of several.

    Kept here as an agent may hold the exception itself back, such as by `asyncio.gather(..., return_exceptions=True)`:
    whatever the step does with it, this attempt is over."""
    _asked: Iterator[int] = field(default_factory=itertools.count)
    _used: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def mode(self) -> Literal["baseline", "assisted"]:
        """ "assisted" where a model can be asked, else "baseline"."""
        return "assisted" if self.models.available else "baseline"

    def usage(self, meter: str, quantity: int | Decimal | str, **dimensions: str) -> None:
        """Record that `quantity` units of `meter` were used. Never a float: it would bill a rounding error.

        Raises:
            TypeError: the quantity is a float or a bool, or a dimension is not a string.
            ValueError: it is no number, negative, too large, or finer than nine decimal places.
        """
        if not meter:
            raise ValueError("A usage needs the name of its meter.")
        for name, value in dimensions.items():
            if not isinstance(value, str):
                raise TypeError(f"The dimension {name!r} of meter {meter!r} must be a string, not {value!r}.")
        self.recorded.append(Usage(meter=meter, quantity=_exact(meter, quantity), dimensions=dimensions))

    def progress(self, message: str, fraction: float | None = None) -> None:
        """Tell whoever watches how far this step is. Live only; it never fails the step."""
        bounded = None if fraction is None else min(max(float(fraction), 0.0), 1.0)
        self.on_progress(Progress(message=message, fraction=bounded))

    def write(self, text: str, stream: str = ANSWER) -> None:
        """Show a piece of text, such as a model's next words, to whoever watches. Live only; it never fails the step.

        What counts is the output. A step that is tried again begins its texts anew.
        """
        if text:
            self.on_text(TextWritten(text=text, stream=stream))

    # --- what may take days (see agora.suspension) -----------------------------------------------

    async def approve(
        self,
        action: str,
        *,
        arguments: dict[str, Any] | None = None,
        reason: str = "",
        decider: Decider = "customer",
        timeout_seconds: int = WEEK_SECONDS,
        on_deadline: Literal["reject", "approve"] = "reject",
    ) -> Decision:
        """Let a person decide on something before it is done. The step is called again with the decision.

        Raises:
            AgentDefinitionError: an empty action, or a deadline beyond thirty days.
        """
        if not action.strip():
            raise AgentDefinitionError("An approval needs to say what is to be approved.")
        request = ApprovalRequest(
            action=action,
            arguments=arguments or {},
            reason=reason,
            decider=decider,
            timeout_seconds=_deadline(timeout_seconds),
            on_deadline=on_deadline,
        )
        decision: Decision = self._answer_to(request)
        return decision

    async def ask[Wanted](
        self,
        question: str,
        wanted: type[Wanted],
        *,
        decider: Decider = "customer",
        timeout_seconds: int = WEEK_SECONDS,
    ) -> Wanted:
        """Ask a person for something of the given type. The step is called again with the answer.

        Raises:
            InputRejected: nobody answered in time (`input_missing`), or somebody would not (`input_refused`).
        """
        request = InputRequest(
            question=question,
            schema=msgspec.json.schema(wanted),
            decider=decider,
            timeout_seconds=_deadline(timeout_seconds),
        )
        given: InputGiven = self._answer_to(request)
        if not given.given and given.refused:
            raise InputRejected("input_refused", f"An answer was refused: {question}")
        if not given.given:
            raise InputRejected("input_missing", f"Nobody answered in time: {question}")
        return msgspec.convert(given.value, wanted, strict=False)

    async def call(
        self,
        package: str | None = None,
        input: Any = None,
        *,
        deployment: str | None = None,
        max_cost: Any = None,
        title: str = "",
    ) -> CallResult:
        """Let another agent work, as a run of its own inside this run's hold; see `call_all`."""
        call = AgentCall(
            package=package,
            deployment=deployment,
            input=msgspec.to_builtins(input if input is not None else {}, str_keys=True),
            max_cost=max_cost,
            title=title,
        )
        return (await self.call_all([call]))[0]

    async def call_all(self, calls: Sequence[AgentCall], *, concurrency: int = 10) -> list[CallResult]:
        """Let other agents work, at most `concurrency` at a time; the results in the order of the calls.

        A call that fails or is refused is a result like any other: what to do about it is the caller's to decide.

        Raises:
            PermissionNotGranted: the manifest does not ask for a package that is called.
            AgentDefinitionError: more calls than a step may make, or one that names no agent.
        """
        if not calls:
            return []
        if len(calls) > CALLS_MAX:
            raise AgentDefinitionError(f"A step may call at most {CALLS_MAX} agents, not {len(calls)}.")
        for one in calls:
            self._require_callable(one)
        ended: CallsEnded = self._answer_to(CallRequest(calls=list(calls), concurrency=max(1, concurrency)))
        if len(ended.results) != len(calls):
            raise AgentDefinitionError("A step that is called again must make the same calls again.")
        return ended.results

    async def use(self, tool: Tool, **arguments: Any) -> Any:
        """Use a tool: whoever watches sees it begin and end, and where its policy says so a person decides first.

        Raises:
            InputRejected: the use was not approved (`tool_rejected`), or with arguments that do not fit it
                (`tool_arguments`).
            AgentDefinitionError: a person is to decide, and the arguments do not fit the tool's own types.
        """
        if tool.approval == "always":
            request = ApprovalRequest(
                action=tool.title,
                arguments=arguments,
                decider=tool.decider,
                schema=tool_arguments.schema_of(tool, arguments),
            )
            decision: Decision = self._answer_to(request)
            if not decision.approved:
                raise InputRejected(
                    "tool_rejected", f"Not approved: {tool.title}. {decision.comment}".strip()
                )
            arguments = tool_arguments.decided(tool, arguments, decision.arguments)
        if self.suspended is not None:
            # The attempt is over: what it does now would be done again by the next.
            raise self.suspended
        use = ToolUse(call=next(self._used), tool=tool.name, title=tool.title, arguments=arguments)
        self.on_tool(use)
        try:
            result = await tool.function(**arguments)
        except Exception as error:
            self.on_tool(msgspec.structs.replace(use, ended=True, error=f"{type(error).__name__}: {error}"))
            raise
        self.on_tool(msgspec.structs.replace(use, ended=True, result=result))
        return result

    def suspend(self, request: Request, number: int) -> Suspended:
        """Note that this attempt cannot go on before the step's `number`-th request is answered; to be raised.

        For the platform: an agent asks by `approve`, `ask` and `call`.
        """
        suspended = Suspended(request, number)
        if self.suspended is None or number < self.suspended.number:
            self.suspended = suspended
        return suspended

    def _answer_to(self, request: Request) -> Any:
        number = next(self._asked)
        if number >= len(self.answers):
            raise self.suspend(request, number)
        answer = self.answers[number]
        if not isinstance(answer, ANSWERS[type(request)]):
            raise AgentDefinitionError(
                "A step that is called again must ask for the same things in the same order."
            )
        return answer

    def _require_callable(self, call: AgentCall) -> None:
        if (call.package is None) == (call.deployment is None):
            raise AgentDefinitionError("A call names exactly one of package and deployment.")
        # Which package a deployment is of, the platform looks up and checks.
        allowed = "*" in self.callable_agents or call.package in self.callable_agents
        if not self.callable_agents or (call.package is not None and not allowed):
            raise PermissionNotGranted(
                f"The agent's manifest does not ask to call {call.package or 'other agents'}: "
                "name it in `agents = [...]` under [permissions]."
            )


def _deadline(seconds: int) -> int:
    if not 1 <= seconds <= TIMEOUT_SECONDS_MAX:
        raise AgentDefinitionError(
            f"A person has from 1 second to 30 days ({TIMEOUT_SECONDS_MAX} seconds), not {seconds} seconds."
        )
    return seconds


@dataclass(slots=True, kw_only=True)
class PrepareContext:
    """What `prepare` may use while it writes a deployment's artifact.

    `artifact_id` names the result (a content hash): the name for a collection in `knowledge`, which is
    removed with the artifact when nothing needs it any more.
    """

    artifact_id: str
    files: Files
    knowledge: Knowledge
    on_progress: Callable[[Progress], None] = _ignore_progress

    def progress(self, message: str, fraction: float | None = None) -> None:
        """Tell whoever watches how far the preparation is."""
        bounded = None if fraction is None else min(max(float(fraction), 0.0), 1.0)
        self.on_progress(Progress(message=message, fraction=bounded))


@dataclass(slots=True, kw_only=True)
class HealthContext:
    """What an agent's `health` may exercise: the ports that its manifest asks for."""

    knowledge: Knowledge
    models: Models


def _exact(meter: str, quantity: int | Decimal | str) -> Decimal:
    if isinstance(quantity, bool) or not isinstance(quantity, int | Decimal | str):
        raise TypeError(f"The quantity of {meter!r} must be an int, Decimal or string, not {quantity!r}.")
    try:
        exact = Decimal(quantity)
    except InvalidOperation as error:
        raise ValueError(f"The quantity of {meter!r} is no number: {quantity!r}.") from error
    if not exact.is_finite() or not 0 <= exact <= QUANTITY_MAX:
        raise ValueError(f"The quantity of {meter!r} must be from 0 to {QUANTITY_MAX}, not {quantity!r}.")
    places = -int(exact.as_tuple().exponent)
    if places > QUANTITY_PLACES_MAX:
        raise ValueError(f"The quantity of {meter!r} has more than {QUANTITY_PLACES_MAX} decimal places.")
    return exact
