"""The arguments that a tool is used with, on their way to who decides and back: there as JSON, here as the tool's types."""

import inspect
import typing
from collections.abc import Mapping
from typing import Any

import msgspec

from agora import state_codec
from agora.errors import AgentDefinitionError, InputRejected
from agora.tools import Tool


def arguments_type(tool: Tool, given: Mapping[str, Any]) -> type[msgspec.Struct]:
    """What the arguments of one use must be: those that are given, each of the type that the tool's function states.

    One that the function could do without may be left out by who decides; one without a type may be anything.

    Raises:
        AgentDefinitionError: the function's types cannot be read.
    """
    try:
        hints = typing.get_type_hints(tool.function, include_extras=True)
    except (NameError, TypeError) as error:
        raise AgentDefinitionError(f"The types of the tool {tool.name!r} cannot be read: {error}.") from error
    parameters = inspect.signature(tool.function).parameters
    fields: list[Any] = []
    for name in given:
        kind = hints.get(name, Any)
        parameter = parameters.get(name)
        optional = parameter is not None and parameter.default is not parameter.empty
        fields.append((name, kind | msgspec.UnsetType, msgspec.UNSET) if optional else (name, kind))
    return msgspec.defstruct(tool.name, fields, kw_only=True, frozen=True, forbid_unknown_fields=True)


def schema_of(tool: Tool, given: Mapping[str, Any]) -> dict[str, Any]:
    """What whoever decides on a use may make of its arguments, as a JSON Schema.

    Raises:
        AgentDefinitionError: what is given is no JSON or does not fit the tool, or its types cannot be read.
    """
    kind = arguments_type(tool, given)
    try:
        _read(tool, given, kind)
        return msgspec.json.schema(kind)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise AgentDefinitionError(
            f"What the tool {tool.name!r} is used with does not fit it: {error}."
        ) from error


def decided(tool: Tool, given: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as they were decided on, in the tool's types.

    Raises:
        InputRejected: they do not fit the tool (`tool_arguments`).
    """
    try:
        fitting = _read(tool, arguments, arguments_type(tool, given))
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        detail = f"What was decided does not fit: {tool.title}: {error}. Approve it with arguments that do."
        raise InputRejected("tool_arguments", detail) from error
    values = {name: getattr(fitting, name) for name in given}
    return {name: value for name, value in values.items() if value is not msgspec.UNSET}


def _read(tool: Tool, arguments: Mapping[str, Any], kind: type[msgspec.Struct]) -> msgspec.Struct:
    # By way of JSON, whether they were there already or not: what is read alone is what is read on the platform.
    encoded = state_codec.encode(dict(arguments), f"what the tool {tool.name!r} is used with")
    return msgspec.json.decode(encoded, type=kind)
