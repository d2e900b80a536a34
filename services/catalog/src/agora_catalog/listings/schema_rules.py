"""What a package's JSON Schemas must be: valid 2020-12, complete in themselves, describing objects."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import msgspec
from agora_contracts.catalog import Manifest, Schemas
from agora_contracts.problems import FieldError

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCES = ("$ref", "$dynamicRef")
_DEPTH_MAX = 100
_HOPS_MAX = 32
_FILE_FORMAT = "agora-file"


def schema_faults(manifest: Manifest, schemas: Schemas) -> list[FieldError]:
    """Everything wrong with a version's schemas, each with its field; empty when they are sound."""
    faults = [
        fault
        for name, schema in msgspec.structs.asdict(schemas).items()
        for fault in _faults(f"/schemas/{name}", schema)
    ]
    # Only sound schemas can be walked.
    return faults or list(_estimate_faults(manifest, schemas.input))


def _faults(field: str, schema: dict[str, Any]) -> Iterator[FieldError]:
    if schema.get("$schema", DIALECT) != DIALECT:
        yield FieldError(field=f"{field}/$schema", detail=f"must be {DIALECT}, or left out")
        return
    if fault := _structure_fault(schema):
        yield FieldError(field=field, detail=fault)
        return
    try:
        # Never fetches anything: what a schema needs lies in it.
        jsonschema_rs.Draft202012Validator(schema, offline=True)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        path = "".join(f"/{part}" for part in getattr(error, "instance_path", []))
        detail = str(getattr(error, "message", error))[:500]
        yield FieldError(field=field + path, detail=f"is not a JSON Schema of 2020-12: {detail}")
        return
    kind = _follow(schema, schema).get("type")
    if kind != "object":
        yield FieldError(field=field, detail='must describe an object: "type": "object" at its top')


def _structure_fault(schema: dict[str, Any]) -> str | None:
    """What is wrong with how a schema is built; walked without recursion, for it may be deep."""
    waiting: list[tuple[int, Any]] = [(1, schema)]
    while waiting:
        depth, value = waiting.pop()
        if depth > _DEPTH_MAX:
            return f"is nested more than {_DEPTH_MAX} levels deep"
        texts = value if isinstance(value, dict) else [value] if isinstance(value, str) else ()
        if any("\0" in text for text in texts):
            return "holds the character U+0000, which cannot be stored"
        if isinstance(value, dict):
            for key in _REFERENCES:
                reference = value.get(key)
                if isinstance(reference, str) and not reference.startswith("#"):
                    return f"refers to {reference[:200]!r}; only #/... within it is allowed"
            waiting.extend((depth + 1, one) for one in value.values())
        elif isinstance(value, list):
            waiting.extend((depth + 1, one) for one in value)
    return None


def _estimate_faults(manifest: Manifest, schema: dict[str, Any]) -> Iterator[FieldError]:
    for meter, estimate in manifest.estimate.items():
        if estimate.count_of is not None:
            place = _at_pointer(schema, estimate.count_of)
            if place is not None and place.get("type", "array") != "array":
                detail = f"{estimate.count_of} is not a list in the input schema"
                yield FieldError(field=f"/manifest/estimate/{meter}/count_of", detail=detail)
        if estimate.size_of is not None:
            place = _at_pointer(schema, estimate.size_of)
            if place is not None and not _names_files(schema, place):
                detail = (
                    f"{estimate.size_of or 'the input'} names no file in the input schema:"
                    f' files are texts of "format": "{_FILE_FORMAT}"'
                )
                yield FieldError(field=f"/manifest/estimate/{meter}/size_of", detail=detail)


def _names_files(schema: dict[str, Any], place: dict[str, Any]) -> bool:
    """Whether a value that `place` describes may name a file."""
    waiting: list[Any] = [place]
    followed: set[str] = set()
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if part.get("format") == _FILE_FORMAT:
                return True
            reference = part.get("$ref")
            if isinstance(reference, str) and reference not in followed:
                followed.add(reference)
                waiting.append(_follow(schema, part))
            waiting.extend(value for key, value in part.items() if key != "$defs")
        elif isinstance(part, list):
            waiting.extend(part)
    return False


def _at_pointer(schema: dict[str, Any], pointer: str) -> dict[str, Any] | None:
    """The part of an object schema that describes what `pointer` names.

    None where the schema does not say: it allows fields XX as `{"type": "nothing"}`.
    """
    place = _follow(schema, schema)
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        properties = place.get("properties", {})
        if name not in properties:
            closed = place.get("additionalProperties") is False or place.get("type", "object") != "object"
            return {"type": "nothing"} if closed else None
        following = properties[name]
        if not isinstance(following, dict):
            return None
        place = _follow(schema, following)
    return place


def _follow(schema: dict[str, Any], place: dict[str, Any]) -> dict[str, Any]:
    """The schema that a chain of `$ref` within the document ends at; an empty one where it does not end."""
    for _ in range(_HOPS_MAX):
        reference = place.get("$ref")
        if not isinstance(reference, str):
            return place
        target: Any = schema
        for part in reference.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            target = target.get(name) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            return {}
        place = target
    return {}
