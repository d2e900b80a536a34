"""Does a schema still fit those who know the one before?

Readers ignore unknown fields, so a new optional field breaks nobody. Everything that would make an old message
unreadable, or take away or retype what an old reader reads, is a break. A new value of an enumeration is none, nor a
new alternative of a tagged union: an event with it waits in the dead letters of a consumer that is not yet upgraded;
consumers go first.
"""

from collections.abc import Iterator, Mapping
from typing import Any

type Schema = Mapping[str, Any]

_TAGGED = "an object of type "

_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


def breaks(old: Schema, new: Schema) -> list[str]:
    """What in `new` breaks those who know `old`, one sentence each, with the place in the message."""
    return list(_Comparison(old, new).compare(old, new, ""))


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self._old = old.get("$defs", {})
        self._new = new.get("$defs", {})
        self._seen: set[tuple[str, str]] = set()

    def compare(self, old: Schema, new: Schema, place: str) -> Iterator[str]:
        if "$ref" in old and "$ref" in new:
            # A type that contains itself, and one used twice, is compared once.
            pair = (old["$ref"], new["$ref"])
            if pair in self._seen:
                return
            self._seen.add(pair)
        old, new = _resolve(old, self._old), _resolve(new, self._new)
        where = place or "the message"
        before, after = _alternatives(old, self._old), _alternatives(new, self._new)
        added = {kind for kind in after.keys() - before.keys() if not kind.startswith(_TAGGED)}
        if added or before.keys() - after.keys():
            yield f"{where} was {' or '.join(before)} and is now {' or '.join(after)}"
            return
        for kind, one in before.items():
            yield from self._compare_one(one, after[kind], where, place)

    def _compare_one(self, old: Schema, new: Schema, where: str, place: str) -> Iterator[str]:
        yield from _values(old, new, where)
        yield from _bounds(old, new, where)
        yield from self._objects(old, new, place)
        if isinstance(old.get("items"), Mapping) and isinstance(new.get("items"), Mapping):
            yield from self.compare(old["items"], new["items"], f"{place}[]")
        for key in ("additionalProperties",):
            if isinstance(old.get(key), Mapping) and isinstance(new.get(key), Mapping):
                yield from self.compare(old[key], new[key], f"{place}.*")
        if old.get("additionalProperties") is not False and new.get("additionalProperties") is False:
            yield f"{where} now refuses unknown fields"

    def _objects(self, old: Schema, new: Schema, place: str) -> Iterator[str]:
        fields: Mapping[str, Schema] = old.get("properties", {})
        now: Mapping[str, Schema] = new.get("properties", {})
        for name, schema in fields.items():
            inner = f"{place}.{name}" if place else name
            if name not in now:
                yield f"{inner} is gone"
            else:
                yield from self.compare(schema, now[name], inner)
        for name in new.get("required", []):
            if name not in old.get("required", []):
                inner = f"{place}.{name}" if place else name
                yield f"{inner} is now required; give it a default"


def _resolve(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    while "$ref" in schema:
        schema = definitions[schema["$ref"].removeprefix("#/$defs/")]
    return schema


def _alternatives(schema: Schema, definitions: Mapping[str, Schema]) -> dict[str, Schema]:
    """The kinds of value that a schema admits, by a name that tells them apart."""
    found: dict[str, Schema] = {}
    tags = schema.get("discriminator", {}).get("mapping", {})
    for tag, reference in tags.items():
        found[f"{_TAGGED}{tag}"] = _resolve({"$ref": reference}, definitions)
    for one in [] if tags else schema.get("anyOf", [schema]):
        choice = _resolve(one, definitions)
        found |= _alternatives(choice, definitions) if "anyOf" in choice else {_kind(choice): choice}
    return dict(sorted(found.items()))


def _kind(schema: Schema) -> str:
    if "enum" in schema or "const" in schema:
        return "string" if all(isinstance(value, str) for value in _enumerated(schema)) else "constant"
    kind = str(schema.get("type", "anything"))
    return f"{kind} ({schema['format']})" if "format" in schema else kind


def _enumerated(schema: Schema) -> list[Any]:
    return [schema["const"]] if "const" in schema else list(schema.get("enum", []))


def _values(old: Schema, new: Schema, where: str) -> Iterator[str]:
    if not _enumerated(new):
        return
    if not _enumerated(old):
        yield f"{where} took any value and is now one of {_enumerated(new)}"
        return
    for value in _enumerated(old):
        if value not in _enumerated(new):
            yield f"{where} can no longer be {value!r}"


def _bounds(old: Schema, new: Schema, where: str) -> Iterator[str]:
    for bound in _LOWER_BOUNDS:
        if bound in new and (bound not in old or new[bound] > old[bound]):
            yield f"{where} has a narrower {bound}: {old.get(bound, 'none')} before, {new[bound]} now"
    for bound in _UPPER_BOUNDS:
        if bound in new and (bound not in old or new[bound] < old[bound]):
            yield f"{where} has a narrower {bound}: {old.get(bound, 'none')} before, {new[bound]} now"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"{where} must now match {new['pattern']}, before {old.get('pattern', 'anything')}"
