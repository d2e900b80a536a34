"""One way to run an agent's graph, alone and inside a Temporal workflow.

LangGraph decides what comes next (edges, joins, routers, loops, `Send`); each node only awaits `call_node`,
which runs the step wherever the caller likes. Nothing here reads a clock, draws a random number or starts
a thread, so a workflow that replays takes the same way again.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphRecursionError
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langsmith import tracing_context

from agora.errors import AgentDefinitionError
from agora.schemas import Input, Output

if TYPE_CHECKING:
    from agora.agent import Agent

ROUNDS_MAX = 1000
"""The most rounds (LangGraph's supersteps) of one run: a loop that never ends is an error, not a bill."""

_SENT = "__pregel_push"
"""LangGraph's mark of a task that came from a `Send`, in the path it gives each task."""

_CALLS = "agora_calls"
"""Where a run's `_Calls` stand in the configuration that LangGraph hands to its nodes."""


class NodeCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a node: which, its n-th visit (from 1), and its branch.

    `branch` is empty, or the position of a `Send` among those of its round ("0", "1", ...). Visits are
    counted per (node, branch), so the three name one logical step of a run.
    """

    node: str
    visit: int
    branch: str = ""


type CallNode = Callable[[NodeCall, Any], Awaitable[Mapping[str, Any] | None]]
"""Runs one step on a state and returns its update, typed as the state's fields are."""


class _Calls:
    """One run's way to call nodes, with its count of visits."""

    def __init__(self, call_node: CallNode) -> None:
        self._call_node = call_node
        self._visits: Counter[tuple[str, str]] = Counter()

    async def call(self, node: str, branch: str, state: Any) -> Mapping[str, Any] | None:
        self._visits[node, branch] += 1
        return await self._call_node(
            NodeCall(node=node, visit=self._visits[node, branch], branch=branch), state
        )


_bound: WeakKeyDictionary["Agent", CompiledStateGraph[Any]] = WeakKeyDictionary()


def _bind(agent: "Agent") -> CompiledStateGraph[Any]:
    """The agent's graph, in which every node calls what the run's configuration has for it: the same for all runs.

    Made once an agent, as it costs as much as a short run.
    """
    found = _bound.get(agent)
    if found is not None:
        return found
    plain = agent.graph()
    bound: StateGraph[Any] = StateGraph(agent.state_type)
    for name, spec in plain.nodes.items():
        bound.add_node(
            name, _node(name), defer=spec.defer, input_schema=cast(Any, agent.nodes[name].state_type)
        )
    bound.edges |= plain.edges
    bound.waiting_edges |= plain.waiting_edges
    for source, routers in plain.branches.items():
        bound.branches[source].update(routers)
    _bound[agent] = compiled = bound.compile()
    return compiled


async def run(agent: "Agent", run_input: Input, call_node: CallNode) -> Output:
    """Run the agent's graph from an input to its output.

    What `call_node` raises comes through unchanged; parallel branches are then cancelled.

    Raises:
        AgentDefinitionError: the graph ended without an output, did not end within `ROUNDS_MAX` rounds, or
            failed between its steps (a router that raises, two branches that write one plain field).
    """
    graph = _bind(agent)
    start = agent.state_type(input=run_input)
    try:
        # LangSmith's tracer works in threads and on the network: never from inside a workflow.
        with tracing_context(enabled=False):
            final = await graph.ainvoke(
                start, {"recursion_limit": ROUNDS_MAX, "configurable": {_CALLS: _Calls(call_node)}}
            )
    except GraphRecursionError as error:
        raise AgentDefinitionError(
            f"The graph of {agent.id} did not end within {ROUNDS_MAX} rounds."
        ) from error
    output = final.get("output")
    if not isinstance(output, agent.output_type):
        raise AgentDefinitionError(
            f'The graph of {agent.id} ended without an output: its last step must return {{"output": ...}}.'
        )
    return output


def _node(name: str) -> Callable[..., Awaitable[Any]]:
    async def node(state: Any, config: RunnableConfig) -> Any:
        calls: _Calls = config["configurable"][_CALLS]
        return await calls.call(name, _branch(config), state)

    return node


def _branch(config: RunnableConfig) -> str:
    path = config["metadata"]["langgraph_path"]
    return str(path[1]) if path[0] == _SENT else ""
