"""Order, joins, loops, routers and branches of a graph, as the shared runner takes them."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import agora
import msgspec
import pytest
from agora import alone, graph_runner
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send


class Item(msgspec.Struct, frozen=True):
    """A typed value in the state."""

    name: str
    price: Decimal = Decimal(0)


class Input(agora.Input):
    """Names to work on."""

    names: list[str] = msgspec.field(default_factory=list)


class Output(agora.Output):
    """What was seen, in the order of the state."""

    log: list[str]


@dataclass(kw_only=True)
class State:
    """A log with a reducer, typed items, and a counter."""

    input: Input
    output: Output | None = None
    log: Annotated[list[str], operator.add] = field(default_factory=list)
    items: Annotated[list[Item], operator.add] = field(default_factory=list)
    rounds: int = 0


@dataclass(kw_only=True)
class OneName:
    """What a Send gives to one branch."""

    name: str


@agora.step(title="Split")
async def split(state: State, context: agora.Context) -> dict[str, object]:
    """First."""
    return {"log": ["split"]}


@agora.step(title="Left")
async def left(state: State, context: agora.Context) -> dict[str, object]:
    """One of two parallel branches."""
    context.usage("tasks", 1)
    return {"log": ["left"], "items": [Item(name="left", price=Decimal("1.10"))]}


@agora.step(title="Right")
async def right(state: State, context: agora.Context) -> dict[str, object]:
    """The other one, which takes a step more."""
    return {"log": ["right"]}


@agora.step(title="Right again")
async def right_again(state: State, context: agora.Context) -> dict[str, object]:
    """The second step of the longer branch."""
    return {"log": ["right_again"]}


@agora.step(title="Join")
async def join(state: State, context: agora.Context) -> dict[str, object]:
    """Ends with what it saw of the others."""
    total = sum((item.price for item in state.items), Decimal(0))
    return {"output": Output(log=[*state.log, f"total {total}"])}


@agora.step(title="Poll")
async def poll(state: State, context: agora.Context) -> dict[str, object]:
    """Visited again and again."""
    return {"rounds": state.rounds + 1, "log": [f"poll {state.rounds + 1}"]}


@agora.step(title="Price one")
async def price_one(state: OneName, context: agora.Context) -> dict[str, object]:
    """One branch for each name."""
    return {"items": [Item(name=state.name, price=Decimal(len(state.name)))], "log": [state.name]}


@agora.step(title="Never ends")
async def idle(state: State, context: agora.Context) -> dict[str, object] | None:
    """Changes nothing."""
    return None


async def three_times(state: State) -> str:
    """Loop until the third round."""
    return "poll" if state.rounds < 3 else "join"


async def fan_out(state: State) -> list[Send]:
    """A branch per name."""
    return [Send("price_one", OneName(name=name)) for name in state.input.names]


def parallel_graph() -> StateGraph[State]:
    """Two branches of unlike length, and a join that waits for both."""
    graph = StateGraph(State)
    for name, node in (
        ("split", split), ("left", left), ("right", right), ("right_again", right_again), ("join", join),
    ):  # fmt: skip
        graph.add_node(name, node)
    graph.add_edge(START, "split")
    graph.add_edge("split", "left")
    graph.add_edge("split", "right")
    graph.add_edge("right", "right_again")
    graph.add_edge(["left", "right_again"], "join")
    graph.add_edge("join", END)
    return graph


def loop_graph() -> StateGraph[State]:
    """A node visited three times."""
    graph = StateGraph(State)
    graph.add_node("poll", poll)
    graph.add_node("join", join)
    graph.add_edge(START, "poll")
    graph.add_conditional_edges("poll", three_times, ["poll", "join"])
    return graph


def send_graph() -> StateGraph[State]:
    """As many branches as the input has names."""
    graph = StateGraph(State)
    graph.add_node("split", split)
    graph.add_node("price_one", price_one)
    graph.add_node("join", join)
    graph.add_edge(START, "split")
    graph.add_conditional_edges("split", fan_out, ["price_one"])
    graph.add_edge("price_one", "join")
    return graph


def endless_graph() -> StateGraph[State]:
    """A loop without a way out."""
    graph = StateGraph(State)
    graph.add_node("idle", idle)
    graph.add_edge(START, "idle")
    graph.add_edge("idle", "idle")
    return graph


def silent_graph() -> StateGraph[State]:
    """Ends without an output."""
    graph = StateGraph(State)
    graph.add_node("idle", idle)
    graph.add_edge(START, "idle")
    return graph


def an_agent(graph: Callable[[], StateGraph[State]]) -> agora.Agent:
    """An agent around one of the graphs above."""
    return agora.Agent(__file__, input=Input, output=Output, state=State, graph=graph)


def a_context() -> agora.Context:
    """A context for steps that only look at their state."""
    return agora.Context(
        run_id="run_1", step_id="run_1/step", attempt=1, config=None, prepared=None,
        files=None, knowledge=None, models=None,  # type: ignore[arg-type]
    )  # fmt: skip


async def run(graph: Callable[[], StateGraph[State]], folder: Path, *names: str) -> alone.AloneResult:
    """Run a graph alone."""
    given = {"names": list(names)}
    return await alone.run(an_agent(graph), given, base=folder, out=folder / "out", cache=folder / "cache")


async def test_a_join_waits_for_all_its_branches(tmp_path: Path) -> None:
    """
    Branches of unlike length run side by side, and the node behind them runs once, after both.
    """
    result = await run(parallel_graph, tmp_path)

    assert [step.node for step in result.steps] == ["split", "left", "right", "right_again", "join"]
    assert result.output.log == ["split", "left", "right", "right_again", "total 1.10"]


async def test_a_loop_counts_its_visits(tmp_path: Path) -> None:
    """
    Each visit of a looped node is a step of its own, numbered from 1.
    """
    result = await run(loop_graph, tmp_path)

    assert [(step.node, step.visit) for step in result.steps] == [
        ("poll", 1),
        ("poll", 2),
        ("poll", 3),
        ("join", 1),
    ]


async def test_send_gives_every_branch_a_name_of_its_own(tmp_path: Path) -> None:
    """
    Branches made by Send have each their own step, told apart by the branch and not by chance.
    """
    result = await run(send_graph, tmp_path, "a", "bb", "ccc")

    branches = sorted((step.branch, step.visit) for step in result.steps if step.node == "price_one")
    assert branches == [("0", 1), ("1", 1), ("2", 1)]
    assert result.output.log == ["split", "a", "bb", "ccc", "total 6"]


async def test_the_same_run_takes_the_same_steps_in_the_same_calls(tmp_path: Path) -> None:
    """
    Two runs of one input ask for the same node, visit and branch in the same order: a workflow can replay.
    """
    agent = an_agent(send_graph)
    orders: list[list[tuple[str, int, str]]] = []

    async def call(node: graph_runner.NodeCall, state: object) -> Mapping[str, object] | None:
        orders[-1].append((node.node, node.visit, node.branch))
        return await agent.nodes[node.node].function(state, a_context())

    for _ in range(2):
        orders.append([])
        await graph_runner.run(agent, Input(names=["x", "y"]), call)

    assert orders[0] == orders[1]
    assert orders[0] == [("split", 1, ""), ("price_one", 1, "0"), ("price_one", 1, "1"), ("join", 1, "")]


async def test_typed_values_survive_between_steps(tmp_path: Path) -> None:
    """
    A Struct and a Decimal that one step returns are a Struct and a Decimal in the next one.
    """
    result = await run(parallel_graph, tmp_path)

    assert result.output.log[-1] == "total 1.10"


async def test_an_endless_loop_is_an_error(tmp_path: Path) -> None:
    """
    A graph that does not end is stopped with the limit named, and not billed for ever.
    """
    with pytest.raises(agora.AgentDefinitionError, match="did not end within 1000 rounds"):
        await run(endless_graph, tmp_path)


async def test_a_graph_without_an_output_is_an_error(tmp_path: Path) -> None:
    """
    A run that ends without an output says which rule its agent broke.
    """
    with pytest.raises(agora.AgentDefinitionError, match="ended without an output"):
        await run(silent_graph, tmp_path)
