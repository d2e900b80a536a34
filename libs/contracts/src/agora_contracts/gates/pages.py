"""The reference pages of events and commands, from the catalogue and the examples."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import msgspec

from agora_contracts.catalogue import (
    COMMANDS,
    EVENTS,
    LIVE_MESSAGES,
    SHARED_COMMANDS,
    SHARED_VERBS,
    CommandSpec,
    EventSpec,
)
from agora_contracts.examples import EXAMPLES
from agora_contracts.gates.messages import Message, all_messages
from agora_contracts.problems import PROBLEMS
from agora_contracts.subjects import STREAMS

_encoder = msgspec.json.Encoder(decimal_format="string")

_WRITTEN = "<!-- Written by `python -m agora_contracts write`; change the contracts, not this page. -->"


def events_page() -> str:
    """docs/reference/events.md."""
    return _page(_events())


def commands_page() -> str:
    """docs/reference/commands.md."""
    return _page(_commands())


def _page(lines: Iterable[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


def _events() -> Iterator[str]:
    yield from ("# Events", "", _WRITTEN, "")
    yield (
        "Facts, published on JetStream from the outbox of their producer, at least once. The subject is"
        " `agora.evt.<tenant>.<path>`; the tenant of the catalogue's events is `platform`. Each travels in one"
        " envelope in the terms of CloudEvents 1.0. Deduplicate on (`source`, `id`). Readers ignore unknown fields."
    )
    yield ""
    yield from ("| Stream | Subjects | Kept |", "|---|---|---|")
    for stream in STREAMS.values():
        subjects = ", ".join(f"`{subject}`" for subject in stream.subjects)
        yield f"| {stream.name} | {subjects} | {stream.retention_days} days |"
    yield ""
    yield from ("| Event | Type | Producer | Consumers | Stream |", "|---|---|---|---|---|")
    for spec in EVENTS.values():
        name = spec.data.__name__
        yield f"| [{name}](#{name.lower()}) | `{spec.type}` | {spec.producer} | {', '.join(spec.consumers)} | {spec.stream.name} |"
    yield ""
    samples = {message.struct: message for message in all_messages()}
    for spec in EVENTS.values():
        yield from _event(spec, samples[spec.data])
    for struct in LIVE_MESSAGES:
        yield from (f"## {struct.__name__}", "", _description(struct), "")
        yield from ("Subject `agora.live.<tenant>.<run>`, core NATS.", "")
        yield from _fields(struct)
        yield from _example(EXAMPLES[struct][0])


def _event(spec: EventSpec, message: Message) -> Iterator[str]:
    yield from (f"## {spec.data.__name__}", "", _description(spec.data), "")
    yield f"`{spec.type}` on `agora.evt.<tenant>.{spec.path}`, schema `libs/contracts/schemas/{message.name}.json`."
    yield ""
    yield from _fields(spec.data)
    yield from _example(message.samples()[0])


def _commands() -> Iterator[str]:
    yield from ("# Commands and queries", "", _WRITTEN, "")
    yield (
        "Request and reply over NATS. The reply is the answer, or a `Problem` with the header `Agora-Problem: 1`."
        " The asker waits at most the deadline, and sends the request again when nobody was there to answer: every"
        " command may come twice."
    )
    yield ""
    for service, specs in groupby(COMMANDS.values(), key=lambda spec: spec.service):
        yield from (f"## {service}", "")
        for spec in specs:
            yield from _command(spec)
    yield from ("## Answered by every process", "")
    for request, reply in SHARED_COMMANDS.items():
        yield from (f"### {request.__name__}", "", _description(request), "")
        yield from (f"`agora.cmd.<process>.{SHARED_VERBS[request]}`", "")
        yield from _exchange(request, reply)
    yield from ("## Problems", "", "| Slug | HTTP status | Title |", "|---|---|---|")
    for slug, kind in PROBLEMS.items():
        yield f"| `{slug}` | {kind.status} | {kind.title} |"


def _command(spec: CommandSpec) -> Iterator[str]:
    yield from (f"### {spec.request.__name__}", "", _description(spec.request), "")
    yield (
        f"`{spec.subject}`, asked by {', '.join(spec.callers)}; deadline {spec.deadline_seconds:g} s."
        f" Answer: {spec.reply.__name__}."
    )
    yield ""
    yield from _exchange(spec.request, spec.reply)


def _exchange(request: type[msgspec.Struct], reply: type[msgspec.Struct]) -> Iterator[str]:
    yield from _fields(request)
    yield from _example(EXAMPLES[request][0])
    yield from (f"{reply.__name__}: {_description(reply)}", "")
    yield from _example(EXAMPLES[reply][0])


def _description(struct: type[msgspec.Struct]) -> str:
    paragraphs = (struct.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(one.split()) for one in paragraphs if not one.lstrip().startswith("Raises:"))


def _fields(struct: type[msgspec.Struct]) -> Iterator[str]:
    schema = msgspec.json.schema(struct)
    properties = schema["$defs"][schema["$ref"].rsplit("/", 1)[-1]]["properties"]
    if not properties:
        yield from ("No fields.", "")
        return
    yield from ("| Field | Type | Default |", "|---|---|---|")
    for field in msgspec.structs.fields(struct):
        described = properties[field.encode_name]
        default = (
            "required" if field.required else f"`{msgspec.json.encode(described.get('default')).decode()}`"
        )
        yield f"| `{field.encode_name}` | {_type(described)} | {default} |"
    yield ""


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[-1])
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"] if value is not None)
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"list of {_type(schema['items'])}" if schema.get("items") else "list"
    if kind == "object" and isinstance(values := schema.get("additionalProperties"), dict) and values:
        return f"map to {_type(values)}"
    return f"{kind} ({schema['format']})" if "format" in schema else kind


def _example(sample: msgspec.Struct) -> Iterator[str]:
    text = msgspec.json.format(_encoder.encode(sample))
    yield from ("```json", text.decode(), "```", "")
