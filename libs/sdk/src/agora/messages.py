"""What goes to a model and what comes back: messages with text, images and audio, tools, replies; and the port."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import msgspec
from agora_contracts.money import Money

Capability = Literal["fast", "smart", "vision", "embed"]
"""What a model is asked for: little money and time, judgement, eyes and ears, or vectors."""

Policy = Literal["fixed", "cheapest", "fastest", "best"]
"""In which order the models that could answer are asked; see `agora.models.routing`."""

type OnText = Callable[[str], None]
"""Is given each piece of a reply's text as it comes."""


class Text(msgspec.Struct, frozen=True, tag="text"):
    """A part of a message that is text."""

    text: str


class Image(msgspec.Struct, frozen=True, tag="image"):
    """A part of a message that is an image: a reference to a file, which is read when the call is made."""

    file: str


class Audio(msgspec.Struct, frozen=True, tag="audio"):
    """A part of a message that is speech or sound: a reference to a file, which is read when the call is made."""

    file: str


Part = Text | Image | Audio


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the model wants to be used, and what it answered as arguments.

    `arguments` fit the tool's type, of which they are an instance. Where they do not, or there is no such tool,
    `fault` says why, to a model as well: `call.refused()` hands it back so that the model may try again.
    """

    id: str
    name: str
    arguments: Any = None
    fault: str | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The arguments by name, as a tool takes them.

        Raises:
            ValueError: they do not fit the tool; see `fault`.
        """
        if self.fault is not None:
            raise ValueError(self.fault)
        if isinstance(self.arguments, msgspec.Struct):
            return msgspec.structs.asdict(self.arguments)
        return dict(self.arguments or {})

    def answer(self, result: Any) -> "Message":
        """The message that tells the model what using the tool brought."""
        text = result if isinstance(result, str) else msgspec.json.encode(result).decode()
        return Message(role="tool", content=text, tool_call=self.id)

    def refused(self) -> "Message":
        """The message that tells the model what is wrong with its call."""
        return self.answer(f"Error: {self.fault}")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message to a model.

    An assistant's message may hold the tool calls that it made (`reply.message`); a tool's message answers the call
    with the id `tool_call`.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[Part]
    tool_calls: list[ToolCall] = []
    tool_call: str | None = None

    @property
    def parts(self) -> list[Part]:
        """The content as parts."""
        return [Text(self.content)] if isinstance(self.content, str) else self.content


class ToolOffer(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that a model may ask for: its name, when to use it, and the Struct of its arguments."""

    name: str
    description: str
    arguments: type[msgspec.Struct]


class ModelReply(msgspec.Struct, frozen=True, kw_only=True):
    """What a model answered and what that took.

    `parsed` is an instance of the schema that was asked for, else None. `cost` is None where the model's
    price is unknown; `reconciled` is False where the vendor did not report its usage, which is never read
    as free: tokens and cost are then the worst case. `cut_off` says that the reply ended at `max_tokens`.
    `own_key`: the call went out under the customer's own key, whose vendor charges the customer. `cached`: an equal
    call was answered before, and this reply cost nothing.
    """

    text: str
    parsed: Any = None
    input_tokens: int
    output_tokens: int
    model: str
    cost: Money | None
    reconciled: bool
    tool_calls: list[ToolCall] = []
    cached_input_tokens: int = 0
    cut_off: bool = False
    own_key: bool = False
    cached: bool = False

    @property
    def message(self) -> Message:
        """The reply as a message, for a conversation that goes on."""
        return Message(role="assistant", content=self.text, tool_calls=self.tool_calls)


class Embedded(msgspec.Struct, frozen=True, kw_only=True):
    """Texts as vectors, in order; tokens and cost as in a `ModelReply`."""

    vectors: list[list[float]]
    input_tokens: int
    model: str
    cost: Money | None
    reconciled: bool
    own_key: bool = False


class Models(Protocol):
    """Language models, where there are any. An agent works without them, less well."""

    @property
    def available(self) -> bool:
        """Whether a model can be asked at all."""
        ...

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        capability: Capability = "fast",
        model: str | Sequence[str] | None = None,
        policy: Policy | None = None,
        max_tokens: int,
        schema: type[msgspec.Struct] | None = None,
        tools: Sequence[Any] = (),
        on_text: OnText | None = None,
        cache: bool = False,
    ) -> ModelReply:
        """Ask a model; with a `schema` the answer is checked against it and given as `parsed`.

        Args:
            messages: The conversation so far.
            capability: What kind of model is to answer.
            model: Which one instead, as `vendor:model`; of several, the next is asked where one fails.
            policy: In which order models are asked, for this call.
            max_tokens: The most that the reply may have.
            schema: What the answer must fit.
            tools: What the model may ask for: `ToolOffer`s, or tools made by `@agora.tool`.
            on_text: Is given the text as it comes; without it the reply comes whole.
            cache: Whether an equal call that was answered before may answer this one.

        Raises:
            ModelBudgetSpent: what the run has set aside for models does not cover this call.
            ModelUnavailable: none is configured, it failed or timed out, or its answer did not fit the schema.
                Go on by deterministic means.
        """
        ...

    async def embed(self, texts: Sequence[str], *, model: str | None = None) -> Embedded:
        """Texts as vectors of a model (the knowledge port embeds without one, and free).

        Raises:
            ModelBudgetSpent: as for `chat`.
            ModelUnavailable: no model for it is configured, or it failed.
        """
        ...
