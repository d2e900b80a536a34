"""Every message under one name: what the schemas, recorded examples and gates go through."""

import re
from typing import Any

import msgspec

from agora_contracts.catalogue import (
    COMMANDS,
    EVENTS,
    LIVE_MESSAGES,
    SHARED_COMMANDS,
    SHARED_VERBS,
    EventSpec,
)
from agora_contracts.envelope import Envelope
from agora_contracts.examples import EXAMPLES
from agora_contracts.ids import derived
from agora_contracts.problems import Problem
from agora_contracts.subjects import PLATFORM_TENANT

_VERSION = re.compile(r"[._]v(\d+)$")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it travels.

    Args:
        name: where its schema and its examples lie, such as `events/agora.run.finished.v1`.
        type: what it decodes to; an event's is its whole envelope.
        struct: the contract's own type; an event's is its data.
    """

    name: str
    type: Any
    struct: type[msgspec.Struct]

    def samples(self) -> list[msgspec.Struct]:
        """Today's examples, in envelopes where it is an event; empty when nobody has written one."""
        found = EXAMPLES.get(self.struct, [])
        spec = EVENTS.get(self.struct)
        return (
            found if spec is None else [_enveloped(spec, number, data) for number, data in enumerate(found)]
        )


def lineage(name: str) -> tuple[str, int]:
    """A message's name without its version, and the version: `("events/agora.run.finished", 1)`.

    An event's version stands at the end of its type; a command's later version is a new verb, such as
    `place_hold_v2`.
    """
    stem, dot, kind = name.rpartition(".") if name.endswith((".request", ".reply")) else (name, "", "")
    found = _VERSION.search(stem)
    version = int(found[1]) if found else 1
    return _VERSION.sub("", stem) + dot + kind, version


def all_messages() -> list[Message]:
    """Every message of the catalogue, in its order."""
    messages = [
        Message(name=f"events/{spec.type}", type=Envelope[spec.data], struct=spec.data)  # type: ignore[name-defined]
        for spec in EVENTS.values()
    ]
    for command in COMMANDS.values():
        name = f"commands/{command.service}.{command.verb}"
        messages += _pair(name, command.request, command.reply)
    for request, reply in SHARED_COMMANDS.items():
        messages += _pair(f"commands/shared.{SHARED_VERBS[request]}", request, reply)
    messages += [
        Message(name=f"live/{struct.__name__}", type=struct, struct=struct) for struct in LIVE_MESSAGES
    ]
    return [*messages, Message(name="problem", type=Problem, struct=Problem)]


def _pair(name: str, request: type[msgspec.Struct], reply: type[msgspec.Struct]) -> list[Message]:
    return [
        Message(name=f"{name}.request", type=request, struct=request),
        Message(name=f"{name}.reply", type=reply, struct=reply),
    ]


def _enveloped(spec: EventSpec, number: int, data: msgspec.Struct) -> Envelope[Any]:
    from agora_contracts.examples import story

    tenant = PLATFORM_TENANT if spec.producer == "catalog" else story.TENANT
    about = (getattr(data, field, None) for field in ("run", "deployment", "package", "account"))
    # What is about none of them is about the platform as a whole.
    entity = next((value for value in about if value is not None), PLATFORM_TENANT)
    return Envelope(
        id=derived("evt", "example", spec.type, str(number)),
        source=f"agora/{spec.producer}",
        type=spec.type,
        subject=entity,
        time=story.FINISHED_AT,
        tenant=tenant,
        data=data,
        sequence=getattr(data, "seq", 0),
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )
