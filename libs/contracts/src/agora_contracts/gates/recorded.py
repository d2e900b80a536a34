"""Recorded examples: files that only grow, one per message version, each a list of messages as they were sent."""

import json
from pathlib import Path
from typing import Any

import msgspec

from agora_contracts.gates.messages import Message
from agora_contracts.gates.workspace import Workspace, to_json

_encoder = msgspec.json.Encoder(decimal_format="string")


def path_of(workspace: Workspace, message: Message) -> Path:
    """The file of a message's examples."""
    return workspace.examples / f"{message.name}.json"


def with_todays(workspace: Workspace, message: Message) -> str | None:
    """The file's text with today's examples added behind those recorded before; None without any."""
    recorded = read(path_of(workspace, message))
    for sample in message.samples():
        as_sent = json.loads(_encoder.encode(sample))
        if as_sent not in recorded:
            recorded.append(as_sent)
    return to_json(recorded) if recorded else None


def read(path: Path) -> list[Any]:
    """The examples of a file, none when it is not there."""
    recorded: list[Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return recorded


def problems(workspace: Workspace, messages: list[Message]) -> list[str]:
    """Recorded examples that today's types cannot read or lose something of, and what is not recorded."""
    found: list[str] = []
    known = {path_of(workspace, message): message for message in messages}
    found += [
        f"{workspace.relative(path)}: there is no such message (any more); remove it as well"
        for path in sorted(workspace.examples.rglob("*.json"))
        if path not in known
    ]
    for path, message in known.items():
        recorded = read(path)
        for number, one in enumerate(recorded):
            place = f"{workspace.relative(path)}[{number}]"
            found += [f"{place}: {reason}" for reason in _unreadable(message, one)]
        samples = [json.loads(_encoder.encode(sample)) for sample in message.samples()]
        if not samples:
            found.append(f"{message.name} has no example; add one to agora_contracts/examples")
        elif any(sample not in recorded for sample in samples):
            found.append(f"{message.name} has an example that is not recorded; {_WRITE}")
        found += [
            f"{message.name}: no example sets `{field}`; let one in agora_contracts/examples do so"
            for field in _never_set(message)
        ]
    return found


_WRITE = "run `python -m agora_contracts write` and commit what it changes"


def _unreadable(message: Message, recorded: Any) -> list[str]:
    try:
        value = msgspec.json.decode(json.dumps(recorded), type=message.type)
    except msgspec.ValidationError as error:
        return [f"was sent once and no longer decodes: {error}. Change the contract, not the example"]
    again = json.loads(_encoder.encode(value))
    return [f"loses {place} when it is decoded and encoded again" for place in _lost(recorded, again, "$")]


def _lost(before: Any, after: Any, place: str) -> list[str]:
    """Where `after` lacks or changes what `before` has; what it has more is a newer field's default."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            lost
            for key, value in before.items()
            for lost in (_lost(value, after[key], f"{place}.{key}") if key in after else [f"{place}.{key}"])
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = zip(before, after, strict=True)
        return [lost for n, (one, other) in enumerate(pairs) for lost in _lost(one, other, f"{place}[{n}]")]
    return [] if before == after else [place]


def _never_set(message: Message) -> list[str]:
    """Fields whose default is nothing (null, empty, zero, false) and that every example leaves so."""
    samples = message.samples()
    bodies = [
        getattr(sample, "data", sample) if message.name.startswith("events/") else sample
        for sample in samples
    ]
    return [
        field.name
        for field in msgspec.structs.fields(message.struct)
        if not field.required
        and not _default(field)
        and bodies
        and all(getattr(body, field.name) == _default(field) for body in bodies)
    ]


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default
