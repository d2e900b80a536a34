"""Which values of an input or a configuration name files, told from its JSON Schema."""

from collections.abc import Iterator
from typing import Any

from agora.schemas import FILE_FORMAT


def file_refs(schema: dict[str, Any], value: Any) -> list[str]:
    """Every file reference in `value` (plain JSON types), in order of appearance, each once.

    `schema` is what `Agent.input_schema` and `.config_schema` give: FileRefs carry `"format": "agora-file"`.
    """
    return list(dict.fromkeys(every_file_ref(schema, value)))


def every_file_ref(schema: dict[str, Any], value: Any) -> Iterator[str]:
    """Every file reference in `value` (plain JSON types), in order of appearance, as often as it is there."""
    return _walk(schema, value, schema.get("$defs", {}))


def _walk(schema: dict[str, Any], value: Any, definitions: dict[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if schema.get("format") == FILE_FORMAT and isinstance(value, str):
        yield value
    for choice in schema.get("anyOf", ()):
        yield from _walk(choice, value, definitions)
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties")
        for name, item in value.items():
            inner = properties.get(name, others)
            if isinstance(inner, dict):
                yield from _walk(inner, item, definitions)
    if isinstance(value, list):
        fixed = schema.get("prefixItems", [])
        rest = schema.get("items")
        for position, item in enumerate(value):
            inner = fixed[position] if position < len(fixed) else rest
            if isinstance(inner, dict):
                yield from _walk(inner, item, definitions)
