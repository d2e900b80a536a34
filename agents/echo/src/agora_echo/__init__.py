"""The smallest agent: one short step that returns its input, and asks first where it is told to."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Literal

import agora
from langgraph.graph import END, START, StateGraph
from msgspec import Meta


class Input(agora.Input):
    """The text to return, and how the run should behave on its way there."""

    text: Annotated[str, Meta(min_length=1, max_length=10_000, description="The text to return.")]
    steps: Annotated[int, Meta(ge=1, le=100, description="How many times the step is visited.")] = 1
    delay_ms: Annotated[int, Meta(ge=0, le=30_000, description="How long each visit takes, in ms.")] = 0
    fail: Annotated[
        Literal["none", "rejected", "crash", "retry_once"],
        Meta(description="How the last visit behaves: works, rejects the input, crashes, crashes once."),
    ] = "none"
    ask: Annotated[bool, Meta(description="Whether a person decides before the text is returned.")] = False


class Output(agora.Output):
    """The text, as it came."""

    text: str


class EchoCrashed(Exception):
    """The crash that the input asked for."""


@dataclass(kw_only=True)
class State:
    """`visits` counts the steps already taken."""

    input: Input
    output: Output | None = None
    visits: int = 0


@agora.step(title="Echo the text")
async def echo(state: State, context: agora.Context) -> dict[str, object]:
    """Return the text at the last visit; before it only count the visit."""
    if state.input.delay_ms:
        await asyncio.sleep(state.input.delay_ms / 1000)
    visits = state.visits + 1
    context.usage("echoes", 1)
    context.progress(f"visit {visits} of {state.input.steps}", visits / state.input.steps)
    if visits < state.input.steps:
        return {"visits": visits}
    _fail_as_asked(state.input, context.attempt)
    if state.input.ask:
        decision = await context.approve("Echo the text", arguments={"text": state.input.text})
        if not decision.approved:
            raise agora.InputRejected("not_approved", "The echo was not approved.")
    context.usage("tasks", 1)
    context.write(state.input.text)
    return {"visits": visits, "output": Output(text=state.input.text)}


def _fail_as_asked(asked: Input, attempt: int) -> None:
    if asked.fail == "rejected":
        raise agora.InputRejected("asked_to_reject", "The input asked to be rejected.", "$.fail")
    if asked.fail == "crash" or (asked.fail == "retry_once" and attempt == 1):
        raise EchoCrashed(f"attempt {attempt} crashed, as the input asked")


async def again(state: State) -> str:
    """Visit the step again until there is an output."""
    return "echo" if state.output is None else END


def graph() -> StateGraph[State]:
    """One node in a loop that is left at the first round, unless more `steps` are asked for."""
    built = StateGraph(State)
    built.add_node("echo", echo)
    built.add_edge(START, "echo")
    built.add_conditional_edges("echo", again, ["echo", END])
    return built


agent = agora.Agent(__file__, input=Input, output=Output, state=State, graph=graph)
