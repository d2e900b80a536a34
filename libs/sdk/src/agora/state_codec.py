"""A graph's state on its way between processes: typed values to JSON and back.

Alone and on the platform alike, what a step returns goes through this, so that a state which cannot
travel is found by its author and not by a customer.
"""

from collections.abc import Mapping
from typing import Any, get_type_hints

import msgspec

from agora.errors import AgentDefinitionError

_hints_by_state: dict[type, dict[str, Any]] = {}


def encode(value: Any, what: str = "the state") -> bytes:
    """JSON bytes of a state or an update.

    Raises:
        AgentDefinitionError: it holds something that has no JSON form (an open file, a data frame).
    """
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError) as error:
        raise AgentDefinitionError(
            f"{what} cannot be stored: {error}. Keep to Structs, dataclasses and plain values; keep large "
            "things in files or in what `load` returns."
        ) from error


def decode_state[StateT](state_type: type[StateT], data: bytes) -> StateT:
    """The state that a step gets, with every field of the type it declares.

    Raises:
        AgentDefinitionError: the data does not fit the state's types.
    """
    try:
        return msgspec.json.decode(data, type=state_type, strict=False)
    except msgspec.ValidationError as error:
        raise AgentDefinitionError(f"The state does not fit {state_type.__name__}: {error}") from error


def decode_update(state_type: type, data: bytes, step: str = "a step") -> dict[str, Any]:
    """What a step returned, each value of the type of the state's field it updates.

    Raises:
        AgentDefinitionError: an unknown field, or a value that does not fit the field's type.
    """
    raw = msgspec.json.decode(data)
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise AgentDefinitionError(
            f"{step} returned {type(raw).__name__}: a step returns a dict of state fields."
        )
    hints = _hints(state_type)
    return {name: _typed(name, value, hints, state_type, step) for name, value in raw.items()}


def _typed(name: str, value: Any, hints: Mapping[str, Any], state_type: type, step: str) -> Any:
    if name not in hints:
        raise AgentDefinitionError(f"{step} returned {name!r}, which is no field of {state_type.__name__}.")
    try:
        return msgspec.convert(value, hints[name], strict=False)
    except msgspec.ValidationError as error:
        raise AgentDefinitionError(f"{step} returned {name!r} of a wrong type: {error}") from error


def _hints(state_type: type) -> dict[str, Any]:
    found = _hints_by_state.get(state_type)
    if found is None:
        # Without extras: a field's reducer (Annotated[list, operator.add]) is LangGraph's business.
        found = _hints_by_state[state_type] = get_type_hints(state_type)
    return found
