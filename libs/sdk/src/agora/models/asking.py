"""One call to one model: messages in, what it answered and used out. The platform's gateway uses it too."""

import asyncio
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from agora_contracts.money import Money

from agora.errors import ModelUnavailable
from agora.messages import Audio, Image, Message, ModelReply, OnText, ToolCall, ToolOffer
from agora.models import pricing
from agora.models.attachments import Attachment, sizes
from agora.models.clients import Clients
from agora.models.faults import VendorFault, fault_of
from agora.models.offering import checked, described
from agora.models.pricing import ModelPrice

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

log = logging.getLogger("agora.models")

_FENCED = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
_ENDED = ("finish_reason", "stop_reason", "done_reason")
"""Where vendors say why a reply ended; a stream that broke off has none of them."""
_CUT_OFF = ("length", "max_tokens", "MAX_TOKENS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, whichever model it goes to."""

    messages: Sequence[Message]
    max_tokens: int
    schema: type[msgspec.Struct] | None = None
    offered: Mapping[str, ToolOffer] = field(default_factory=dict)
    attachments: Mapping[str, Attachment] = field(default_factory=dict)

    @property
    def sent(self) -> Sequence[Message]:
        """The messages as they go out: led by the demand to fit the schema, if there is one."""
        return self.messages if self.schema is None else with_schema(self.messages, self.schema)

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The tools as they go out."""
        return [described(offer) for offer in self.offered.values()]

    def input_tokens_at_most(self, price: ModelPrice | None = None) -> int:
        """No vendor counts more for what goes in."""
        image_tokens = pricing.IMAGE_TOKENS_MAX if price is None else price.image_tokens
        extra = json.dumps(self.tools) if self.offered else ""
        added = pricing.TOOLS_OVERHEAD_TOKENS if self.offered else 0
        return added + pricing.tokens_at_most(self.sent, sizes(self.attachments), extra, image_tokens)

    def worst_case(self, price: ModelPrice) -> Money:
        """The most that asking a model of this price can cost."""
        return pricing.worst_case(
            price,
            self.input_tokens_at_most(price),
            self.max_tokens,
            pricing.audio_tokens_at_most(self.messages, sizes(self.attachments)),
        )


async def ask(
    model: str,
    question: Question,
    *,
    clients: Clients,
    environment: Mapping[str, str],
    price: ModelPrice | None,
    timeout_seconds: float,
    on_text: OnText | None = None,
) -> ModelReply:
    """Ask `vendor:model` once. A vendor that reports no usage is taken at the worst case, never as free.

    Raises:
        VendorFault: it is not set up, did not answer in time, refused, or what it answered is not whole. A reply may
            still be empty.
    """
    chat: Any = await clients.chat(
        model, max_tokens=question.max_tokens, timeout_seconds=timeout_seconds, environment=environment
    )
    if question.offered:
        chat = chat.bind_tools(question.tools)
    begun = False

    def begin(text: str) -> None:
        nonlocal begun
        begun = True
        assert on_text is not None
        on_text(text)

    try:
        asked = in_langchain(question.sent, question.attachments)
        async with asyncio.timeout(timeout_seconds):
            answer = await (chat.ainvoke(asked) if on_text is None else _stream(chat, asked, begin))
    except TimeoutError as error:
        raise VendorFault(
            model, "timed_out", f"did not answer within {timeout_seconds:g} seconds", output_begun=begun
        ) from error
    except Exception as error:
        # Each vendor has its own tree of errors; to an agent all of them mean to go on without a model.
        fault = fault_of(model, error, output_begun=begun)
        log.warning("%s: %s", fault, error)
        raise fault from error
    ended = next(
        (str(answer.response_metadata[name]) for name in _ENDED if answer.response_metadata.get(name)), ""
    )
    if not ended:
        raise VendorFault(
            model, "garbled", "broke off in its answer: it does not say that it ended", output_begun=begun
        )
    return _reply(model, question, answer, price, cut_off=ended in _CUT_OFF)


def read(reply: ModelReply, question: Question) -> ModelReply:
    """The reply with its text read as the schema and its tool calls checked against the tools.

    Raises:
        ModelUnavailable: there is neither text nor a call, or the text does not fit the schema.
    """
    if not reply.text and not reply.tool_calls:
        raise ModelUnavailable(f"{reply.model} gave no text.")
    offered = dict(question.offered)
    calls = [checked(call, offered) for call in reply.tool_calls]
    reply = msgspec.structs.replace(reply, tool_calls=calls) if calls else reply
    return reply if question.schema is None or calls else _parsed(reply, question.schema)


def with_schema(messages: Sequence[Message], schema: type[msgspec.Struct]) -> list[Message]:
    """The messages, led by the demand to answer in JSON that fits a schema."""
    described_schema = msgspec.json.encode(msgspec.json.schema(schema)).decode()
    demand = (
        f"Answer with one JSON object and nothing else. It must fit this JSON Schema:\n{described_schema}"
    )
    if messages and messages[0].role == "system" and isinstance(messages[0].content, str):
        # One system message: not every vendor takes two.
        return [Message(role="system", content=f"{demand}\n\n{messages[0].content}"), *messages[1:]]
    return [Message(role="system", content=demand), *messages]


def in_langchain(messages: Sequence[Message], attachments: Mapping[str, Attachment]) -> list["BaseMessage"]:
    """The messages as langchain's clients take them."""
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

    found: list[BaseMessage] = []
    for message in messages:
        content: Any = message.content
        if not isinstance(content, str):
            content = [_block(part, attachments) for part in content]
        match message.role:
            case "system":
                found.append(SystemMessage(content=content))
            case "user":
                found.append(HumanMessage(content=content))
            case "tool":
                found.append(ToolMessage(content=content, tool_call_id=message.tool_call or ""))
            case "assistant":
                calls: Any = [
                    {"id": call.id, "name": call.name, "args": _plain(call.arguments), "type": "tool_call"}
                    for call in message.tool_calls
                ]
                found.append(AIMessage(content=content, tool_calls=calls))
    return found


async def _stream(chat: Any, asked: list["BaseMessage"], on_text: OnText) -> "AIMessage":
    whole: Any = None
    async for chunk in chat.astream(asked):
        whole = chunk if whole is None else whole + chunk
        if text := str(chunk.text):
            on_text(text)
    if whole is None:
        raise ValueError("the stream was empty")
    answer: AIMessage = whole
    return answer


def _block(part: Any, attachments: Mapping[str, Attachment]) -> dict[str, Any]:
    match part:
        case Image() | Audio():
            attached = attachments[part.file]
            kind = "image" if isinstance(part, Image) else "audio"
            return {"type": kind, "base64": attached.base64, "mime_type": attached.content_type}
        case _:
            return {"type": "text", "text": part.text}


def _reply(
    model: str, question: Question, answer: "AIMessage", price: ModelPrice | None, *, cut_off: bool
) -> ModelReply:
    usage: Any = answer.usage_metadata
    reconciled = usage is not None and usage["input_tokens"] > 0 and usage["output_tokens"] > 0
    text = str(answer.text).strip()
    details: Mapping[str, Any] = (usage or {}).get("input_token_details") or {}
    cached_tokens, audio_tokens = details.get("cache_read") or 0, details.get("audio") or 0
    if reconciled:
        input_tokens, output_tokens = usage["input_tokens"], usage["output_tokens"]
        cost = (
            None
            if price is None
            else pricing.cost(
                price, input_tokens, output_tokens, cached_tokens=cached_tokens, audio_tokens=audio_tokens
            )
        )
    else:
        input_tokens, output_tokens = question.input_tokens_at_most(price), question.max_tokens
        cost = None if price is None else question.worst_case(price)
    return ModelReply(
        text=text,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        model=model,
        cost=cost,
        reconciled=reconciled,
        tool_calls=_calls(answer),
        cached_input_tokens=cached_tokens if reconciled else 0,
        cut_off=cut_off,
    )


def _calls(answer: "AIMessage") -> list[ToolCall]:
    """The tool calls of an answer; one whose arguments are no JSON is kept with that as its fault."""
    calls = [
        ToolCall(id=str(call.get("id") or f"call_{number}"), name=call["name"], arguments=call["args"])
        for number, call in enumerate(answer.tool_calls)
    ]
    calls += [
        ToolCall(
            id=str(call.get("id") or f"invalid_{number}"),
            name=str(call.get("name")),
            arguments={},
            fault=f"The arguments of {call.get('name')!r} are no JSON object: {str(call.get('args'))[:200]}",
        )
        for number, call in enumerate(answer.invalid_tool_calls)
    ]
    return calls


def _parsed(reply: ModelReply, schema: type[msgspec.Struct]) -> ModelReply:
    fenced = _FENCED.search(reply.text)
    try:
        value = msgspec.json.decode(fenced.group(1) if fenced else reply.text, type=schema)
    except msgspec.DecodeError as error:
        why = " (it was cut off at max_tokens)" if reply.cut_off else ""
        raise ModelUnavailable(f"{reply.model} did not answer as asked{why}: {error}") from error
    return msgspec.structs.replace(reply, parsed=value)


def _plain(arguments: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(arguments if arguments is not None else {}, str_keys=True)
    return plain
