"""What is wrong with a document, told so that it can be mended. Pure rules.

The validator's own words about alternatives ("not valid under any of the schemas") name no fault. Where alternatives are
told apart by a field of constants, such as `kind`, the faults are those of the alternative that was meant.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from agora_contracts.problems import FieldError
from jsonschema_rs import ValidationError, ValidationErrorKind

_SHOWN = 20
_ECHO_CHARACTERS = 80
_DETAIL_CHARACTERS = 400

_ALTERNATIVES = (ValidationErrorKind.AnyOf, ValidationErrorKind.OneOfNotValid)
_TAGS = (ValidationErrorKind.Enum, ValidationErrorKind.Constant)


def faults(errors: Iterator[ValidationError], schema: dict[str, Any]) -> list[FieldError]:
    """A validator's errors as fields, by JSON pointer, with what is wrong; at most twenty."""
    found = (told for error in errors for told in _told(error, schema))
    return list(islice(dict.fromkeys(found), _SHOWN))


def beside(errors: Iterator[ValidationError], field: str, schema: dict[str, Any]) -> list[FieldError]:
    """The faults of a document whose `field` is still to be filled: those which no value of it can mend."""
    known = (ValidationErrorKind.Required, ValidationErrorKind.AdditionalProperties)
    lasting = (
        error
        for error in errors
        if (error.instance_path[0] != field if error.instance_path else isinstance(error.kind, known))
    )
    return faults(lasting, schema)


def _told(error: ValidationError, schema: dict[str, Any]) -> list[FieldError]:
    if isinstance(error.kind, ValidationErrorKind.AdditionalProperties):
        return [
            FieldError(
                field=f"{_inside(error)}/{name}"[:_DETAIL_CHARACTERS], detail="is not a field of the schema"
            )
            for name in error.kind.as_dict()["unexpected"]
        ]
    if isinstance(error.kind, ValidationErrorKind.Required):
        name = error.kind.as_dict()["property"]
        return [FieldError(field=f"{_inside(error)}/{name}", detail="is required")]
    if not isinstance(error.kind, _ALTERNATIVES):
        return [_field(error, _clipped(error.message) + _meaning(error, schema))]
    place = len(error.instance_path)
    # Alternatives of another type, such as null, were not meant.
    of_the_type = [one for one in error.kind.context if not _of_another_type(one, place)]
    if not of_the_type:
        said = dict.fromkeys(_clipped(fault.message) for one in error.kind.context for fault in one)
        return [_field(error, " and ".join(said))]
    meant = [one for one in of_the_type if not _tags(one, place)]
    if not meant:
        return _no_such_tag(of_the_type, place)
    if len(meant) == 1:
        return [told for fault in meant[0] for told in _told(fault, schema)]
    each = [[told for fault in one for told in _told(fault, schema)] for one in meant]
    if shared := [told for told in each[0] if all(told in other for other in each[1:])]:
        return shared
    firsts = dict.fromkeys(f"{told.detail} (at {told.field})" for told, *_ in each)
    return [_field(error, "fits none of what is allowed: " + "; or ".join(firsts))]


def _of_another_type(alternative: Sequence[ValidationError], place: int) -> bool:
    return any(
        isinstance(fault.kind, ValidationErrorKind.Type) and len(fault.instance_path) == place
        for fault in alternative
    )


def _tags(alternative: Sequence[ValidationError], place: int) -> list[ValidationError]:
    """The faults in the fields of an object by which alternatives are told apart."""
    return [
        fault
        for fault in alternative
        if isinstance(fault.kind, _TAGS) and len(fault.instance_path) == place + 1
    ]


def _no_such_tag(alternatives: Sequence[Sequence[ValidationError]], place: int) -> list[FieldError]:
    allowed: dict[str, list[Any]] = {}
    for alternative in alternatives:
        for fault in _tags(alternative, place):
            told = fault.kind.as_dict()
            allowed.setdefault(_pointer(fault), []).extend(told.get("options", [told.get("expected_value")]))
    return [
        FieldError(
            field=pointer,
            detail=f"must be one of {', '.join(json.dumps(one) for one in values)}"[:_DETAIL_CHARACTERS],
        )
        for pointer, values in allowed.items()
    ]


def _meaning(error: ValidationError, schema: dict[str, Any]) -> str:
    """What the schema says about a text whose pattern did not fit."""
    if not isinstance(error.kind, ValidationErrorKind.Pattern):
        return ""
    part: Any = schema
    for step in list(error.schema_path)[:-1]:
        try:
            part = part[step]
        except (KeyError, IndexError, TypeError):
            return ""
    described = part.get("description") if isinstance(part, dict) else None
    return f": {described}" if isinstance(described, str) else ""


def _field(error: ValidationError, detail: str) -> FieldError:
    return FieldError(field=_pointer(error), detail=detail[:_DETAIL_CHARACTERS])


def _pointer(error: ValidationError) -> str:
    return _inside(error) or "/"


def _inside(error: ValidationError) -> str:
    """The place of an error, to which a name is added; empty for the whole document."""
    return "".join(f"/{part}" for part in error.instance_path)


def _clipped(message: str) -> str:
    """A validator's message, which begins with the value that is wrong, with no more of that than tells it."""
    try:
        _, end = json.JSONDecoder().raw_decode(message)
    except ValueError:
        return message
    return message if end <= _ECHO_CHARACTERS else f"{message[:_ECHO_CHARACTERS]}…{message[end:]}"
