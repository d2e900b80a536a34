"""The rules an agent's types and graph must keep, each checked with a message that names it."""

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import msgspec

from agora.errors import AgentDefinitionError
from agora.schemas import Config, Input, Output
from agora.steps import StepDefinition, definition_of

if TYPE_CHECKING:
    from agora.agent import Agent


def check_types(agent: "Agent") -> None:
    """Input, output, config and state are what they must be, and can be described as JSON Schema.

    Raises:
        AgentDefinitionError: one is not.
    """
    for name, given, base in (
        ("input", agent.input_type, Input),
        ("output", agent.output_type, Output),
        ("config", agent.config_type, Config),
    ):
        if not (isinstance(given, type) and issubclass(given, base)):
            raise _fault(agent, f"{name} must be a subclass of agora.{base.__name__}, not {given!r}.")
        try:
            msgspec.json.schema(given)
        except (TypeError, NameError) as error:
            raise _fault(agent, f"{given.__name__} has no JSON Schema: {error}") from error
    _check_state(agent)
    _check_conversation(agent)


def check_graph(agent: "Agent") -> dict[str, StepDefinition]:
    """Every node is an `@agora.step` and every router is async.

    Raises:
        AgentDefinitionError: the graph breaks a rule or does not compile.
    """
    # Takes a second to import, which customers, who have no graphs, need not wait for.
    from langgraph.graph import StateGraph

    if not inspect.isfunction(agent.graph):
        raise _fault(agent, "graph must be a function that returns a new StateGraph.")
    graph = agent.graph()
    if not isinstance(graph, StateGraph):
        raise _fault(agent, f"graph() must return a StateGraph, not {type(graph).__name__}.")
    if agent.graph() is graph:
        raise _fault(agent, "graph() must build a new StateGraph at each call.")
    nodes = {name: _check_node(agent, name, spec.runnable) for name, spec in graph.nodes.items()}
    for source, routers in graph.branches.items():
        for name, router in routers.items():
            if getattr(router.path, "func", None) is not None or getattr(router.path, "afunc", None) is None:
                raise _fault(
                    agent,
                    f"the router {name!r} after {source!r} must be `async def`: a sync one would run "
                    "in a thread and halt the workflow.",
                )
    try:
        graph.compile()
    except ValueError as error:
        raise _fault(agent, f"the graph does not compile: {error}") from error
    return nodes


def _check_state(agent: "Agent") -> None:
    state = agent.state_type
    if not (isinstance(state, type) and dataclasses.is_dataclass(state)):
        raise _fault(agent, "state must be a dataclass: others reach steps as a dict.")
    hints = _hints(agent, state)
    if hints.get("input") is not agent.input_type:
        raise _fault(agent, f"{state.__name__} needs the field `input: {agent.input_type.__name__}`.")
    if set(get_args(hints.get("output"))) != {agent.output_type, type(None)}:
        raise _fault(
            agent, f"{state.__name__} needs the field `output: {agent.output_type.__name__} | None = None`."
        )
    for field in dataclasses.fields(state):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if field.name != "input" and required:
            raise _fault(
                agent,
                f"the field `{field.name}` of {state.__name__} needs a default: a run starts from its "
                "input alone.",
            )


def _check_conversation(agent: "Agent") -> None:
    fields = agent.manifest.conversation
    if fields is None:
        return
    if fields.input not in agent.input_type.__struct_fields__:
        raise _fault(agent, f"[conversation] input names {fields.input!r}, which is no field of the input.")
    if fields.output not in agent.output_type.__struct_fields__:
        raise _fault(
            agent, f"[conversation] output names {fields.output!r}, which is no field of the output."
        )


def _check_node(agent: "Agent", name: str, runnable: Any) -> StepDefinition:
    function = getattr(runnable, "func", None) or getattr(runnable, "afunc", None)
    if not inspect.isfunction(function):
        raise _fault(
            agent, f"the node {name!r} must be a function marked @agora.step, not {type(runnable).__name__}."
        )
    if not inspect.iscoroutinefunction(function):
        raise _fault(agent, f"the node {name!r} must be `async def`.")
    step = definition_of(function)
    if step is None:
        raise _fault(agent, f"the node {name!r} is not marked with @agora.step(title=...).")
    if "<locals>" in function.__qualname__ or "<lambda>" in function.__qualname__:
        raise _fault(
            agent,
            f"the node {name!r} is defined inside a function: a step is a module-level function, so "
            "that any worker has it.",
        )
    parameters = list(inspect.signature(function).parameters)
    if len(parameters) != 2:
        raise _fault(
            agent, f"the node {name!r} takes ({', '.join(parameters)}): a step takes (state, context)."
        )
    wanted = _hints(agent, function).get(parameters[0])
    if not isinstance(wanted, type) or not (dataclasses.is_dataclass(wanted) or _is_struct(wanted)):
        raise _fault(
            agent,
            f"the node {name!r} needs a type on its first parameter: {agent.state_type.__name__}, or "
            "the dataclass that a Send gives it.",
        )
    return dataclasses.replace(step, state_type=wanted)


def _fault(agent: "Agent", fault: str) -> AgentDefinitionError:
    return AgentDefinitionError(f"{agent.id}: {fault}")


def _is_struct(wanted: type) -> bool:
    return issubclass(wanted, msgspec.Struct)


def _hints(agent: "Agent", annotated: Any) -> dict[str, Any]:
    try:
        return get_type_hints(annotated)
    except NameError as error:
        name = getattr(annotated, "__name__", repr(annotated))
        raise _fault(agent, f"an annotation of {name} cannot be resolved: {error}") from error
