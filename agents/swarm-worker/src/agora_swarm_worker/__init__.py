"""One worker of a swarm. What it knows is its role and its items; what others found it reads on the blackboard."""

from dataclasses import dataclass

import agora
from langgraph.graph import END, START, StateGraph

from agora_swarm_worker.roles import ROLES
from agora_swarm_worker.types import Input, Output


@dataclass(kw_only=True)
class State:
    """A worker has one step."""

    input: Input
    output: Output | None = None


@agora.step(title="Work", timeout_seconds=300)
async def work(state: State, context: agora.Context) -> dict[str, object]:
    """Do what the role is for, and post or deliver what was found."""
    given = state.input
    ids = [item.id for item in given.items]
    if len(set(ids)) != len(ids):
        raise agora.InputRejected("item_twice", "Two items have the same id: give each its own.", "$.items")
    role = ROLES[given.role]
    done = await role.work(given, context)
    if given.deliver == "blackboard":
        await context.blackboard.post(role.topic, done.findings)
    context.usage("items", done.items_done)
    findings = done.findings if given.deliver == "output" else []
    return {"output": Output(**done.output(findings))}


def graph() -> StateGraph[State]:
    """One node."""
    built = StateGraph(State)
    built.add_node("work", work)
    built.add_edge(START, "work")
    built.add_edge("work", END)
    return built


agent = agora.Agent(__file__, input=Input, output=Output, state=State, graph=graph)
