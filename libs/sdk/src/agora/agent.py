"""`agora.Agent`: everything that makes a package an agent, checked when its module is imported."""

from collections.abc import Awaitable, Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from agora_contracts.catalog import Manifest, Schemas

from agora import definition, manifest_file
from agora.context import HealthContext, PrepareContext
from agora.errors import AgentDefinitionError, InputRejected
from agora.schemas import Config, Input, Output
from agora.steps import StepDefinition

if TYPE_CHECKING:
    # Agents import it themselves; customers, who import `agora` too, need not wait for it.
    from langgraph.graph import StateGraph

type Prepare = Callable[[Any, Path, PrepareContext], Awaitable[None]]
type Load = Callable[[Any, Path], Any]
type Health = Callable[[HealthContext], Awaitable[dict[str, bool]]]


class Agent:
    """An agent package: its manifest, its types, and its graph of steps.

    Args:
        file: The module's `__file__`; agent.toml lies beside it or up to three folders above.
        input: What customers send, a subclass of `agora.Input`.
        output: What a run delivers, a subclass of `agora.Output`.
        state: The graph's state: a dataclass with the fields `input` and `output`.
        graph: Returns a fresh `StateGraph(state)` at each call.
        config: What a deployment configures, a subclass of `agora.Config`.
        prepare: Writes what a deployment needs (an index, a trained model) into a folder; async.
        load: Turns that folder into the object that steps see as `context.prepared`; sync, once a process.
        health: Exercises the agent's tools and says of each, by name, whether it works; async.

    Raises:
        AgentDefinitionError: a rule is broken; the message names the fault and the rule.
    """

    def __init__(
        self,
        file: str,
        *,
        input: type[Input],
        output: type[Output],
        state: type[Any],
        graph: "Callable[[], StateGraph[Any]]",
        config: type[Config] = Config,
        prepare: Prepare | None = None,
        load: Load | None = None,
        health: Health | None = None,
    ) -> None:
        self.module_file = Path(file).resolve()
        self.manifest_path = manifest_file.find(file)
        self.manifest: Manifest = manifest_file.read(self.manifest_path)
        self.id = self.manifest.id
        self.input_type = input
        self.output_type = output
        self.config_type = config
        self.state_type = state
        self.graph = graph
        self.prepare = prepare
        self.load = load
        self.health = health
        if load is not None and prepare is None:
            raise AgentDefinitionError(
                f"{self.id} has `load` but no `prepare`: load reads what prepare wrote."
            )
        definition.check_types(self)
        self.nodes: dict[str, StepDefinition] = definition.check_graph(self)
        """The step behind each node, by the node's name."""

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of the input; FileRefs have `"format": "agora-file"`."""
        return msgspec.json.schema(self.input_type)

    @cached_property
    def output_schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of the output."""
        return msgspec.json.schema(self.output_type)

    @cached_property
    def config_schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of a deployment's configuration."""
        return msgspec.json.schema(self.config_type)

    @property
    def schemas(self) -> Schemas:
        """The three schemas as the catalog publishes them."""
        return Schemas(input=self.input_schema, output=self.output_schema, config=self.config_schema)

    def read_input(self, value: Any) -> Any:
        """An input from plain JSON types.

        Raises:
            InputRejected: it does not fit the schema; `place` is the JSON path.
        """
        return _read(value, self.input_type, "invalid_input", "input")

    def read_config(self, value: Any) -> Any:
        """A configuration from plain JSON types; None stands for one without fields.

        Raises:
            InputRejected: it does not fit the schema; `place` is the JSON path.
        """
        return _read({} if value is None else value, self.config_type, "invalid_config", "configuration")


def _read(value: Any, wanted: type[msgspec.Struct], code: str, what: str) -> Any:
    if isinstance(value, wanted):
        return value
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at ")
        place = path.strip("`") or None
        raise InputRejected(code, f"The {what} does not fit the schema: {reason}.", place) from error
