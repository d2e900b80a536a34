"""The frames of the playground, and which field of a package's input takes a message."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from agora_contracts.money import PublicMoney
from msgspec import Meta

CONTENT_CHARACTERS_MAX = 100_000

MessageKey = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,200}$")]


class UserMessage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="user_message"):
    """What the user says. The same `message_id` again, also on another socket, is the same message.

    Without a `conversation_id` it goes into the socket's conversation, or begins one, with `input` beside the message
    in each of its runs. In conversations that are kept a message is known within its own, which another socket has to
    name; the message that began one is found without.
    """

    content: Annotated[str, Meta(min_length=1, max_length=CONTENT_CHARACTERS_MAX)]
    conversation_id: str | None = None
    message_id: MessageKey | None = None
    input: dict[str, Any] = {}
    max_cost: PublicMoney | None = None


class Cancel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="cancel"):
    """Stop the run that works on the message."""


CLIENT_FRAME: Any = UserMessage | Cancel
"""What a client may send."""


class AgentLoaded(msgspec.Struct, frozen=True, kw_only=True, tag="agent_loaded"):
    """The agent is there to be talked to."""

    agent_id: str
    package: str
    version: str
    title: str


class ConversationStarted(msgspec.Struct, frozen=True, kw_only=True, tag="conversation_started"):
    """The conversation that the message belongs to."""

    conversation_id: str


class MessageStarted(msgspec.Struct, frozen=True, kw_only=True, tag="message_started"):
    """A run works on the message; it goes on when the socket closes."""

    conversation_id: str
    message_id: str
    run_id: str


class ContentReset(msgspec.Struct, frozen=True, kw_only=True, tag="content_reset"):
    """A step is tried again: what it wrote so far counts no more, its text begins anew."""

    run_id: str
    step: str


class RunEvent(msgspec.Struct, frozen=True, kw_only=True, tag="run_event"):
    """A durable event of the run, as its stream of events has it."""

    event: str
    id: int | None
    data: msgspec.Raw


class RunFailed(msgspec.Struct, frozen=True, kw_only=True, tag="error"):
    """The run that worked on the message did not succeed; `message_complete` follows."""

    run_id: str
    error: str
    code: str


class MessageComplete(msgspec.Struct, frozen=True, kw_only=True, tag="message_complete"):
    """The answer, whole. `content` counts, whatever was shown before."""

    message_id: str
    conversation_id: str
    run_id: str
    status: Literal["succeeded", "failed", "timed_out", "cancelled"]
    content: str
    output: dict[str, Any] | None


def message_field(schema: Mapping[str, Any]) -> str | None:
    """The field of an input schema that takes a message: the only text that it requires, else its only text."""
    top = _resolved(schema, schema)
    properties: Mapping[str, Any] = top.get("properties", {})
    texts = [name for name, field in properties.items() if _is_text(_resolved(field, schema))]
    required = [name for name in texts if name in top.get("required", ())]
    for candidates in (required, texts):
        if len(candidates) == 1:
            return candidates[0]
    return None


def answer_text(output: Mapping[str, Any] | None) -> str:
    """What of an output is read as the answer: its only text, or the one that is called so, or all of it."""
    if output is None:
        return ""
    texts = {
        name: value for name, value in output.items() if isinstance(value, str) and name not in _ABOUT_OUTPUTS
    }
    for name in _ANSWERS:
        if name in texts:
            return texts[name]
    if len(texts) == 1:
        return next(iter(texts.values()))
    return msgspec.json.format(msgspec.json.encode(output)).decode()


_ABOUT_OUTPUTS = ("deliverable", "mode")
_ANSWERS = ("answer", "response", "content", "text", "summary")


def _is_text(field: Mapping[str, Any]) -> bool:
    return field.get("type") == "string" and "enum" not in field and "format" not in field


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema behind its reference into the same document."""
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return schema
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part, {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}
