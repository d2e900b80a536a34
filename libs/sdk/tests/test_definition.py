"""What an author may get wrong, and how it is told."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agora
import msgspec
import pytest
from agora import manifest_file
from langgraph.graph import START, StateGraph


class Input(agora.Input):
    """Nothing."""


class Output(agora.Output):
    """Nothing more than the base."""


@dataclass(kw_only=True)
class State:
    """What every state has."""

    input: Input
    output: Output | None = None


@agora.step(title="Fine")
async def fine(state: State, context: agora.Context) -> dict[str, object]:
    """A node by the rules."""
    return {"output": Output()}


@agora.step(title="Sync")  # type: ignore[arg-type]
def not_async(state: State, context: agora.Context) -> dict[str, object]:
    """Not async."""
    return {}


async def unmarked(state: State) -> dict[str, object]:
    """Not marked as a step."""
    return {}


@agora.step(title="Alone")  # type: ignore[arg-type]
async def without_context(state: State) -> dict[str, object]:
    """Takes no context."""
    return {}


@agora.step(title="Untyped")
async def untyped(state: Any, context: agora.Context) -> dict[str, object]:
    """Does not say what it takes."""
    return {}


async def router(state: State) -> str:
    """A router by the rules."""
    return "node"


def sync_router(state: State) -> str:
    """Not async."""
    return "node"


def a_graph(node: Any = fine, router: Any = router) -> StateGraph[Any]:
    """A graph around one node and one router."""
    graph: StateGraph[Any] = StateGraph(State)
    graph.add_node("node", node)
    graph.add_conditional_edges(START, router, ["node"])
    return graph


def a_closure() -> Any:
    """A step that lives in a function."""

    @agora.step(title="Inner")
    async def inner(state: State, context: agora.Context) -> dict[str, object]:
        """Not at module level."""
        return {}

    return inner


def an_agent(graph: Callable[[], Any] = a_graph, **changed: Any) -> agora.Agent:
    """An agent with something changed."""
    arguments: dict[str, Any] = {"input": Input, "output": Output, "state": State, **changed}
    return agora.Agent(__file__, graph=graph, **arguments)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (lambda: a_graph(not_async), "'node' must be `async def`"),
        (lambda: a_graph(unmarked), "'node' is not marked with @agora.step"),
        (lambda: a_graph(a_closure()), "'node' is defined inside a function"),
        (lambda: a_graph(without_context), r"'node' takes \(state\): a step takes \(state, context\)"),
        (lambda: a_graph(untyped), "'node' needs a type on its first parameter: State"),
        (lambda: a_graph(a_graph().compile()), "'node' must be a function marked @agora.step"),
        (lambda: a_graph(router=sync_router), "'sync_router' after '__start__' must be `async def`"),
        (lambda: StateGraph(State), "does not compile"),
        (lambda: None, "must return a StateGraph, not NoneType"),
    ],
)
def test_a_fault_of_the_graph_names_the_node_and_the_rule(graph: Callable[[], Any], message: str) -> None:
    """
    Each rule of nodes and routers is checked when the agent is made, by name.
    """
    with pytest.raises(agora.AgentDefinitionError, match=message):
        an_agent(graph)


def test_a_graph_is_built_anew_at_each_call() -> None:
    """
    A graph that is shared between runs is refused.
    """
    shared = a_graph()
    with pytest.raises(agora.AgentDefinitionError, match="must build a new StateGraph at each call"):
        an_agent(lambda: shared)


class StructState(msgspec.Struct):
    """Not a dataclass."""

    input: Input
    output: Output | None = None


@dataclass(kw_only=True)
class NoInput:
    """Has no input."""

    output: Output | None = None


@dataclass(kw_only=True)
class NoOutput:
    """Has no output."""

    input: Input


@dataclass(kw_only=True)
class NoDefault:
    """Has a field that a run cannot start with."""

    input: Input
    output: Output | None = None
    other: int


class NoSchema(agora.Input):
    """Has a field that no JSON Schema describes."""

    stream: memoryview | complex


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"state": StructState}, "state must be a dataclass"),
        ({"state": NoInput}, "NoInput needs the field `input: Input`"),
        ({"state": NoOutput}, r"NoOutput needs the field `output: Output \| None = None`"),
        ({"state": NoDefault}, "`other` of NoDefault needs a default"),
        ({"input": Output}, "input must be a subclass of agora.Input"),
        ({"output": Input}, "output must be a subclass of agora.Output"),
        ({"config": Input}, "config must be a subclass of agora.Config"),
        ({"input": NoSchema}, "NoSchema has no JSON Schema"),
        ({"load": lambda config, folder: None}, "has `load` but no `prepare`"),
    ],
)
def test_a_fault_of_the_types_names_the_rule(changed: dict[str, Any], message: str) -> None:
    """
    Input, output, config and state are checked when the agent is made.
    """
    with pytest.raises(agora.AgentDefinitionError, match=message):
        an_agent(**changed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"title": " "}, "needs a title"),
        ({"title": "x", "timeout_seconds": 0}, "timeout_seconds=0"),
        ({"title": "x", "retry": "for ever"}, "use one of none, default, patient"),
    ],
)
def test_a_fault_of_a_step_names_the_rule(arguments: dict[str, Any], message: str) -> None:
    """
    A step's title, timeout and retry policy are checked where it is defined.
    """
    with pytest.raises(agora.AgentDefinitionError, match=message):
        agora.step(**arguments)


def test_schemas_mark_files_and_refuse_unknown_fields() -> None:
    """
    The published schemas are JSON Schema, know files, and allow no field that is not named.
    """

    class WithFile(agora.Input):
        file: agora.FileRef

    schema = msgspec.json.schema(WithFile)["$defs"]["WithFile"]
    assert schema["properties"]["file"] == {"type": "string", "format": "agora-file"}
    assert schema["additionalProperties"] is False
    assert an_agent().schemas.output["$defs"]["Output"]["required"] == []


GOOD = (Path(__file__).parent / "agent.toml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "sample"', 'id = "Not A Slug"', r"regex.*\$\.id"),
        ('version = "1.0.0"', 'version = "1"', r"\$\.version"),
        ('title = "Sample"', "", "missing required field `title`"),
        ('title = "Sample"', 'titel = "Sample"', "unknown field `titel`"),
        ('category = "operations-automation"', 'category = "fun"', r"\$\.category"),
        ('unit_price = "0.50"', 'unit_price = "-1"', "unit_price must be from 0"),
        ('unit_price = "0.50"', 'unit_price = "0.0000000000001"', "at most 12 decimal places"),
        ('unit_price = "0.50"', "", "exactly one of unit_price and model"),
        ('unit_price = "0.50"', 'model = {type = "flat", amount = "1e7"}', "amount must be from 0"),
        ('unit_price = "0.50"', 'model = {type = "weekly"}', r"'weekly'.*\$\.prices\[0\]\.model"),
        ('meter = "tasks"', "", "needs `meter`"),
        ('fixed = "1"', "", "exactly one of `fixed`, `count_of` and `size_of`"),
        ('fixed = "1"', 'count_of = "tickets"', "must be a JSON pointer"),
        ('fixed = "1"', 'size_of = "file"', "must be a JSON pointer"),
        ("[estimate.tasks]", "[estimate.jobs]", r"\[estimate.tasks\] is missing"),
        ('model_cost = "0.05"', "", "model_cost must say"),
        ('model_cost = "0.05"', 'model_cost = "0.05"\ncalls_cost_max = "1"', "must name who is called"),
        ("[permissions]", "[permissions", "cannot be read"),
    ],
)
def test_a_fault_of_the_manifest_names_the_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    """
    A manifest that is wrong, incomplete or contradicts itself is refused with the field at fault.
    """
    assert old in GOOD
    path = tmp_path / "agent.toml"
    path.write_text(GOOD.replace(old, new, 1))

    with pytest.raises(agora.AgentDefinitionError, match=message):
        manifest_file.read(path)


def test_an_agent_without_a_manifest_says_where_it_was_sought(tmp_path: Path) -> None:
    """
    The file is sought beside the module and a few folders above it, and nowhere else.
    """
    module = tmp_path / "a" / "b" / "c" / "d" / "e" / "module.py"
    module.parent.mkdir(parents=True)
    (tmp_path / "agent.toml").write_text(GOOD)

    with pytest.raises(agora.AgentDefinitionError, match=r"No agent\.toml beside"):
        manifest_file.find(str(module))
    (tmp_path / "a" / "b" / "agent.toml").write_text(GOOD)
    assert manifest_file.find(str(module)) == tmp_path / "a" / "b" / "agent.toml"
