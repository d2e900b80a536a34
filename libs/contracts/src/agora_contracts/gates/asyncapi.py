"""AsyncAPI 3.0 of everything on NATS, from the catalogue.

FastStream's own generator knows pydantic models only, and sees one service at a time.
"""

from typing import Any

import msgspec

from agora_contracts.catalogue import (
    COMMANDS,
    EVENTS,
    LIVE_MESSAGES,
    SHARED_COMMANDS,
    SHARED_VERBS,
    EventSpec,
    shared_subject,
)
from agora_contracts.envelope import Envelope
from agora_contracts.gates.messages import all_messages
from agora_contracts.problems import Problem
from agora_contracts.subjects import STREAMS

type Json = dict[str, Any]

_TENANT = {"description": "The tenant's id, or `platform` for events of the catalogue"}
_PROCESS = {"description": "The process that answers"}


def document() -> Json:
    """The whole document."""
    builder = _Builder()
    for spec in EVENTS.values():
        builder.event(spec)
    for command in COMMANDS.values():
        builder.command(
            f"{command.service}.{command.verb}",
            command.subject,
            command.request,
            command.reply,
            {
                "x-answered-by": command.service,
                "x-asked-by": list(command.callers),
                "x-deadline-seconds": command.deadline_seconds,
            },
        )
    for request, reply in SHARED_COMMANDS.items():
        subject = shared_subject(request, "{process}")
        builder.command(f"shared.{SHARED_VERBS[request]}", subject, request, reply, {}, {"process": _PROCESS})
    for struct in LIVE_MESSAGES:
        builder.live(struct)
    return builder.document()


class _Builder:
    def __init__(self) -> None:
        types = [message.type for message in all_messages()]
        _, self._schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
        self._names = {
            message.type: _reference(message.type)["$ref"].rsplit("/", 1)[-1] for message in all_messages()
        }
        self._messages: Json = {}
        self._channels: Json = {}
        self._operations: Json = {}
        self._message("Problem", Problem, None)

    def event(self, spec: EventSpec) -> None:
        """A fact: one channel, sent by its producer and received by its consumers."""
        kind = Envelope[spec.data]  # type: ignore[name-defined]
        self._message(spec.data.__name__, kind, spec.data, {"x-type": spec.type})
        channel = spec.path
        self._channels[channel] = {
            "address": f"agora.evt.{{tenant}}.{spec.path}",
            "title": spec.type,
            "messages": _refer("messages", spec.data.__name__),
            "parameters": {"tenant": _TENANT},
            "x-stream": spec.stream.name,
            "x-producer": spec.producer,
            "x-consumers": list(spec.consumers),
            "x-retention-days": STREAMS[spec.stream.name].retention_days,
        }
        self._operations[f"send.{channel}"] = _operation("send", channel)

    def command(
        self,
        name: str,
        subject: str,
        request: type[msgspec.Struct],
        reply: type[msgspec.Struct],
        facts: Json,
        parameters: Json | None = None,
    ) -> None:
        """A command or query: a channel for the request, and the reply in the asker's inbox."""
        self._message(request.__name__, request, request)
        self._message(reply.__name__, reply, reply)
        self._channels[name] = {
            "address": subject,
            "messages": _refer("messages", request.__name__),
            **({"parameters": parameters} if parameters else {}),
            **facts,
        }
        answer = f"{name}.reply"
        self._channels[answer] = {
            "address": None,
            "description": "The asker's inbox. A Problem comes with the header `Agora-Problem: 1`.",
            "messages": _refer("messages", reply.__name__) | _refer("messages", "Problem"),
        }
        self._operations[f"answer.{name}"] = _operation("receive", name) | {
            "reply": {
                "address": {"location": "$message.header#/reply-to"},
                "channel": {"$ref": f"#/channels/{answer}"},
            }
        }

    def live(self, struct: type[msgspec.Struct]) -> None:
        """A live-only message of a run."""
        self._message(struct.__name__, struct, struct)
        channel = self._channels.setdefault(
            "live",
            {
                "address": "agora.live.{tenant}.{run}",
                "description": "Core NATS: seen by who listens now, stored nowhere.",
                "messages": {},
                "parameters": {"tenant": _TENANT, "run": {"description": "The run's id"}},
            },
        )
        channel["messages"] |= _refer("messages", struct.__name__)
        self._operations["send.live"] = _operation("send", "live")

    def document(self) -> Json:
        """What was described, in AsyncAPI's order."""
        return {
            "asyncapi": "3.0.0",
            "info": {
                "title": "Agora",
                "version": "1.0.0",
                "description": "Every message between Agora's services: events on JetStream, commands by"
                " request and reply. Written by `python -m agora_contracts write`.",
            },
            "defaultContentType": "application/json",
            "channels": self._channels,
            "operations": self._operations,
            "components": {"messages": self._messages, "schemas": self._schemas},
        }

    def _message(
        self, name: str, kind: Any, described_by: type[msgspec.Struct] | None, more: Json | None = None
    ) -> None:
        self._messages[name] = {
            "name": name,
            "title": name,
            **({"summary": summary(described_by)} if described_by else {}),
            "payload": {"$ref": f"#/components/schemas/{self._names[kind]}"},
            **(more or {}),
        }


def summary(struct: type[msgspec.Struct]) -> str:
    """The first paragraph of a message's docstring, on one line."""
    return " ".join((struct.__doc__ or "").split("\n\n")[0].split())


def _reference(kind: Any) -> Json:
    (reference,), _ = msgspec.json.schema_components([kind])
    return reference


def _refer(section: str, name: str) -> Json:
    return {name: {"$ref": f"#/components/{section}/{name}"}}


def _operation(action: str, channel: str) -> Json:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}}
