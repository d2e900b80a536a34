"""Tools as a model sees them, and its calls of them as the agent gets them: checked against the tool's own type."""

import inspect
import typing
from collections.abc import Sequence
from typing import Any

import msgspec

from agora.errors import AgentDefinitionError
from agora.messages import ToolCall, ToolOffer


def offers_of(tools: Sequence[Any]) -> dict[str, ToolOffer]:
    """What is offered to the model, by name. A tool made by `@agora.tool` offers what its function takes.

    Raises:
        AgentDefinitionError: one is no tool, two have one name, or a function's argument has no type.
    """
    offered: dict[str, ToolOffer] = {}
    for tool in tools:
        offer = tool if isinstance(tool, ToolOffer) else _offer(tool)
        if offer.name in offered:
            raise AgentDefinitionError(f"Two tools are called {offer.name!r}.")
        offered[offer.name] = offer
    return offered


def _offer(tool: Any) -> ToolOffer:
    name, function = getattr(tool, "name", None), getattr(tool, "function", None)
    if not isinstance(name, str) or not callable(function):
        raise AgentDefinitionError(f"{tool!r} is neither a ToolOffer nor made by @agora.tool.")
    hints = typing.get_type_hints(function, include_extras=True)
    fields: list[Any] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise AgentDefinitionError(f"The tool {name!r} must take its arguments by name.")
        if parameter.name not in hints:
            raise AgentDefinitionError(f"The argument {parameter.name!r} of the tool {name!r} needs a type.")
        kind = hints[parameter.name]
        fields.append(
            (parameter.name, kind)
            if parameter.default is parameter.empty
            else (parameter.name, kind, parameter.default)
        )
    arguments = msgspec.defstruct(name, fields, kw_only=True, frozen=True, forbid_unknown_fields=True)
    description = inspect.getdoc(function) or getattr(tool, "title", "") or name
    return ToolOffer(name=name, description=description, arguments=arguments)


def described(offer: ToolOffer) -> dict[str, Any]:
    """The offer as langchain's vendors take it: a function with the JSON Schema of its arguments."""
    schema = msgspec.json.schema(offer.arguments)
    parameters = _resolved(schema, schema.get("$defs", {}))
    parameters.pop("title", None)
    return {
        "type": "function",
        "function": {"name": offer.name, "description": offer.description, "parameters": parameters},
    }


def _resolved(node: Any, definitions: dict[str, Any], depth: int = 0) -> Any:
    """A schema with its references written out: not every vendor follows them. A type within itself stays open."""
    if isinstance(node, list):
        return [_resolved(one, definitions, depth) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        if depth > 8:
            return {}
        return _resolved(definitions[node["$ref"].rpartition("/")[2]], definitions, depth + 1)
    return {key: _resolved(value, definitions, depth) for key, value in node.items() if key != "$defs"}


def checked(call: ToolCall, offered: dict[str, ToolOffer]) -> ToolCall:
    """The call with its arguments as an instance of the tool's type, or with the fault that they have."""
    if call.fault is not None:
        return call
    offer = offered.get(call.name)
    if offer is None:
        fault = f"There is no tool {call.name!r}; there are: {', '.join(offered) or 'none'}."
        return msgspec.structs.replace(call, fault=fault)
    try:
        arguments = msgspec.convert(call.arguments, offer.arguments)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        fault = f"The arguments of {call.name!r} do not fit: {error}."
        return msgspec.structs.replace(call, fault=fault)
    return msgspec.structs.replace(call, arguments=arguments)
