"""An agent of the tests that converses and remembers; and another one that would like to know what that one does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import agora
import msgspec
from langgraph.graph import END, START, StateGraph

Deed = Literal[
    "say", "history", "note", "note_then_fail", "notes", "forget", "remember",
    "recall", "overfill", "large", "pry",
]  # fmt: skip


class Input(agora.Input):
    """What to answer, and what to do besides."""

    text: str
    do: Deed = "say"
    key: str = "note"
    steps: int = 1


class Output(agora.Output):
    """The answer."""

    answer: str


@dataclass(kw_only=True)
class State:
    """How often the step was visited."""

    input: Input
    output: Output | None = None
    visits: int = 0


@agora.step(title="Answer", timeout_seconds=30)
async def answer(state: State, context: agora.Context) -> dict[str, Any]:
    """Do what was asked for, once for each visit."""
    said = await _do(state.input, context)
    context.usage("tasks", 1)
    if state.visits + 1 < state.input.steps:
        return {"visits": state.visits + 1}
    return {"output": Output(answer=said)}


async def _do(asked: Input, context: agora.Context) -> str:
    memory = context.memory
    match asked.do:
        case "history":
            said = await context.conversation.messages(50)
            return " | ".join(f"{message.role}: {message.content}" for message in said)
        case "note":
            before = await memory.get(asked.key, [])
            await memory.set(asked.key, [*before, asked.text])
            return msgspec.json.encode(await memory.get(asked.key)).decode()
        case "note_then_fail":
            found = await memory.get(asked.key, [])
            await memory.set(asked.key, [*found, f"attempt {context.attempt}"])
            await memory.remember(f"attempt {context.attempt} saw {found}")
            if context.attempt == 1:
                raise agora.Retryable("the first attempt fails after it wrote", after_seconds=0.1)
            return f"attempt {context.attempt} saw {found}"
        case "notes":
            return msgspec.json.encode(await memory.get(asked.key)).decode()
        case "forget":
            await memory.delete(asked.key)
            return f"{await memory.get(asked.key)}"
        case "remember":
            await memory.remember(asked.text, {"about": asked.key})
        case "recall":
            found = await memory.recall(asked.text, 3)
            return " | ".join(one.text for one in found)
        case "overfill":
            for number in range(400):
                await memory.set(f"filling {number}", "x" * 30_000)
        case "large":
            await memory.set("large", "x" * 100_000)
        case "pry":
            hits = await context.knowledge.search("agora-memory:companion", asked.text, 3)
            return ",".join(hit.id for hit in hits)
    return f"you said {asked.text}"


async def again(state: State) -> str:
    """Visit the step until there is an answer."""
    return "answer" if state.output is None else END


def graph() -> StateGraph[State]:
    """One step, visited as often as asked for."""
    built = StateGraph(State)
    built.add_node("answer", answer)
    built.add_edge(START, "answer")
    built.add_conditional_edges("answer", again, ["answer", END])
    return built


agent = agora.Agent(__file__, input=Input, output=Output, state=State, graph=graph)
gossip = agora.Agent(
    str(Path(__file__).parent / "gossip" / "__init__.py"),
    input=Input,
    output=Output,
    state=State,
    graph=graph,
)
