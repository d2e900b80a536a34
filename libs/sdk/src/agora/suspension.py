"""What a step may ask for in its middle: a person's decision, an input, the work of other agents.

The answer may take days. So the step is not kept waiting in memory: its first call ends where it asks, and once the
answer is there it is called again from its beginning, where the n-th thing it asks for finds the n-th answer. Code
before a question runs again and must ask for the same things in the same order; usage counts from the call that
returns, and what a model was asked before is answered again without being paid twice.
"""

from typing import Any, Literal

import msgspec
from agora_contracts.money import Money

type Decider = Literal["customer", "operator"]
"""Who may decide: people of the customer, by a key with the scope `approve`, or the platform's operator."""

WEEK_SECONDS = 7 * 86_400
TIMEOUT_SECONDS_MAX = 30 * 86_400
CALLS_MAX = 200
"""The most agents that one step may call at once."""


class ApprovalRequest(msgspec.Struct, frozen=True, kw_only=True, tag="approval"):
    """A decision on something that is about to be done.

    `action` says what in a few words, `arguments` with which values, `reason` why. `on_deadline` is the decision when
    nobody has decided after `timeout_seconds`. Where there is a `schema`, changed arguments must fit it.
    """

    action: str
    arguments: dict[str, Any] = {}
    reason: str = ""
    decider: Decider = "customer"
    timeout_seconds: int = WEEK_SECONDS
    on_deadline: Literal["reject", "approve"] = "reject"
    schema: dict[str, Any] | None = None


class InputRequest(msgspec.Struct, frozen=True, kw_only=True, tag="input"):
    """Something that only a person knows; the answer fits the JSON Schema."""

    question: str
    schema: dict[str, Any]
    decider: Decider = "customer"
    timeout_seconds: int = WEEK_SECONDS


class AgentCall(msgspec.Struct, frozen=True, kw_only=True):
    """Another agent's work: of a package, or of a deployment of the same customer.

    `max_cost` bounds what it may cost inside the caller's own hold; without it the call may cost what it is quoted at.
    `title` is what operators and customers read beside it.
    """

    input: dict[str, Any]
    package: str | None = None
    deployment: str | None = None
    max_cost: Money | None = None
    title: str = ""


class CallRequest(msgspec.Struct, frozen=True, kw_only=True, tag="calls"):
    """Agents to be called, at most `concurrency` of them at a time."""

    calls: list[AgentCall]
    concurrency: int = 10


class BudgetRequest(msgspec.Struct, frozen=True, kw_only=True, tag="budget"):
    """More money (micro-units) than the run has set aside; asked by the platform, never by an agent.

    `meter` says what for: the run's models, or the agents that it calls.
    """

    amount: int
    reason: str
    meter: Literal["model.cost", "agents.cost"] = "model.cost"


type Request = ApprovalRequest | InputRequest | CallRequest | BudgetRequest


class Decision(msgspec.Struct, frozen=True, kw_only=True, tag="decision"):
    """What was decided, by whom, and why. `arguments` are those asked for, or as the decider changed them."""

    approved: bool
    arguments: dict[str, Any] = {}
    comment: str = ""
    decided_by: str = ""
    expired: bool = False


class InputGiven(msgspec.Struct, frozen=True, kw_only=True, tag="given"):
    """The input, or that nobody gave one: in time, or, where it was `refused`, at all."""

    given: bool
    value: Any = None
    given_by: str = ""
    refused: bool = False


class CallResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one call. `output` is there when it succeeded; else `code` and `detail` say why not.

    `run` is the child run, in whose steps, receipt and events everything can be seen; it is empty where the call was
    refused before there was one.

    `quoted` is what it was quoted at or, where it was refused for want of money, what it would have needed; `cost` is
    what it was charged, where that is settled already. Both are None where an agent runs alone.
    """

    run: str
    package: str
    outcome: Literal["succeeded", "failed", "timed_out", "cancelled", "refused"]
    deliverable: Literal["full", "partial", "empty"] = "empty"
    output: dict[str, Any] | None = None
    code: str = ""
    detail: str = ""
    quoted: Money | None = None
    cost: Money | None = None

    @property
    def succeeded(self) -> bool:
        """Whether there is an output."""
        return self.outcome == "succeeded"


class CallsEnded(msgspec.Struct, frozen=True, kw_only=True, tag="called"):
    """What came of the calls, in the order in which they were asked for."""

    results: list[CallResult]


class BudgetDecided(msgspec.Struct, frozen=True, kw_only=True, tag="budget_decided"):
    """Whether more was set aside; if not, the step goes on without."""

    raised: bool


type Answer = Decision | InputGiven | CallsEnded

ANSWERS: dict[type[msgspec.Struct], type[msgspec.Struct]] = {
    ApprovalRequest: Decision,
    InputRequest: InputGiven,
    CallRequest: CallsEnded,
}
"""What answers which request."""


class Suspended(BaseException):
    """The step waits for an answer. No `Exception`, so that an agent's own error handling lets it through.

    Args:
        request: what is asked for.
        number: the how-many-th request of the step it is, from 0.
    """

    def __init__(self, request: Request, number: int) -> None:
        super().__init__(f"waits for: {type(request).__name__}")
        self.request = request
        self.number = number


def suspended_in(error: BaseException) -> Suspended | None:
    """The suspension that an error is or, out of a task group, contains: the first of several."""
    if isinstance(error, Suspended):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = [inner for one in error.exceptions if (inner := suspended_in(one)) is not None]
        return min(found, key=lambda one: one.number, default=None)
    return None
