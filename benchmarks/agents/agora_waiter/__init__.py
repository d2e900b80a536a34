"""An agent whose work is a wait of a known length, so that what is around the work can be measured."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

import agora
from langgraph.graph import END, START, StateGraph
from msgspec import Meta


class Input(agora.Input):
    """How long to wait, in milliseconds."""

    wait_ms: Annotated[int, Meta(ge=0, le=300_000)]


class Output(agora.Output):
    """How long it waited, in milliseconds."""

    waited_ms: int


@dataclass(kw_only=True)
class State:
    """One wait."""

    input: Input
    output: Output | None = None


@agora.step(title="Wait", long=True, timeout_seconds=400)
async def wait(state: State, context: agora.Context) -> dict[str, object]:
    """Wait and say so."""
    await asyncio.sleep(state.input.wait_ms / 1000)
    context.usage("tasks", 1)
    return {"output": Output(waited_ms=state.input.wait_ms)}


def graph() -> StateGraph[State]:
    """One node."""
    built = StateGraph(State)
    built.add_node("wait", wait)
    built.add_edge(START, "wait")
    built.add_edge("wait", END)
    return built


agent = agora.Agent(__file__, input=Input, output=Output, state=State, graph=graph)
