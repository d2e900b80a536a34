"""One call to a model: messages in, what it answered and used out. The platform's gateway uses it too."""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from agora_contracts.money import Money

from agora.errors import ModelUnavailable
from agora.models.pricing import UnknownModelPrice, cost_of, tokens_at_most
from agora.models.vendors import client
from agora.ports import Message, ModelReply

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

log = logging.getLogger("agora.models")

_FENCED = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)


async def ask(
    model: str,
    messages: Sequence[Message],
    *,
    max_tokens: int,
    timeout_seconds: float,
    environment: Mapping[str, str],
) -> ModelReply:
    """Ask `vendor:model` once. A vendor that reports no usage is taken at the worst case, never as free.

    Raises:
        ModelUnavailable: it is not set up, did not answer in time, or refused. A reply may still be empty.
    """
    answer = await _invoke(model, messages, max_tokens, timeout_seconds, environment)
    usage = answer.usage_metadata
    reconciled = usage is not None and usage["input_tokens"] > 0 and usage["output_tokens"] > 0
    input_tokens = usage["input_tokens"] if usage and reconciled else tokens_at_most(messages)
    output_tokens = usage["output_tokens"] if usage and reconciled else max_tokens
    return ModelReply(
        text=str(answer.text).strip(),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        model=model,
        cost=_cost_if_known(model, input_tokens, output_tokens),
        reconciled=reconciled,
    )


def with_schema(messages: Sequence[Message], schema: type[msgspec.Struct]) -> list[Message]:
    """The messages, led by the demand to answer in JSON that fits a schema."""
    described = msgspec.json.encode(msgspec.json.schema(schema)).decode()
    demand = f"Answer with one JSON object and nothing else. It must fit this JSON Schema:\n{described}"
    return [Message(role="system", content=demand), *messages]


def parsed(reply: ModelReply, schema: type[msgspec.Struct]) -> ModelReply:
    """The reply with its text read as the schema.

    Raises:
        ModelUnavailable: the text does not fit.
    """
    fenced = _FENCED.search(reply.text)
    try:
        value = msgspec.json.decode(fenced.group(1) if fenced else reply.text, type=schema)
    except msgspec.DecodeError as error:
        raise ModelUnavailable(f"{reply.model} did not answer as asked: {error}") from error
    return msgspec.structs.replace(reply, parsed=value)


async def _invoke(
    model: str,
    messages: Sequence[Message],
    max_tokens: int,
    timeout_seconds: float,
    environment: Mapping[str, str],
) -> "AIMessage":
    # In a thread: the first call imports the vendor's package, which takes a second.
    asked = await asyncio.to_thread(_in_langchain, messages)
    chat = await asyncio.to_thread(
        client, model, max_tokens=max_tokens, timeout_seconds=timeout_seconds, environment=environment
    )
    try:
        async with asyncio.timeout(timeout_seconds):
            answer = await chat.ainvoke(asked)
    except TimeoutError as error:
        raise ModelUnavailable(f"{model} did not answer within {timeout_seconds:g} seconds.") from error
    except Exception as error:
        # Each vendor has its own tree of errors; to an agent all of them mean to go on without a model.
        log.warning("%s failed", model, exc_info=error)
        raise ModelUnavailable(f"{model} failed: {type(error).__name__}") from error
    return answer


def _in_langchain(messages: Sequence[Message]) -> list["BaseMessage"]:
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    kinds: dict[str, type[BaseMessage]] = {
        "system": SystemMessage,
        "user": HumanMessage,
        "assistant": AIMessage,
    }
    return [kinds[message.role](content=message.content) for message in messages]


def _cost_if_known(model: str, input_tokens: int, output_tokens: int) -> Money | None:
    try:
        return cost_of(model, input_tokens, output_tokens)
    except UnknownModelPrice:
        return None
