"""What a run tells live, as its tenant sees it: text as it is written, the use of tools, progress."""

from typing import Any, Literal, get_args

import msgspec
from agora_contracts.live import LiveMessage, TextDelta, TextSnapshot, ToolFinished, ToolStarted
from agora_contracts.runs import RunProgress

LiveType = Literal[
    "progress",
    "content_delta",
    "content_snapshot",
    "tool_use_start",
    "tool_use_complete",
    "lagged",
    "problem",
]

LIVE_TYPES: frozenset[str] = frozenset(get_args(LiveType))


class DeltaShape(msgspec.Struct, frozen=True, kw_only=True):
    """`content_delta`: what was written to a step's text, from `offset` on (in characters: Unicode code points).

    A higher `take` than before begins the text anew; an `offset` beyond what has come says that some of it is lost.
    """

    run: str
    step: str
    node: str
    stream: str
    take: int
    offset: int
    delta: str


class SnapshotShape(msgspec.Struct, frozen=True, kw_only=True):
    """`content_snapshot`: a step's text so far, in place of what the reader has of it; deltas go on behind it.

    `offset` is 0, unless the text is so long that its beginning is not kept.
    """

    run: str
    step: str
    node: str
    stream: str
    take: int
    offset: int
    content: str


class ToolStartShape(msgspec.Struct, frozen=True, kw_only=True):
    """`tool_use_start`: a step begins to use a tool. `call` names this use within the run."""

    run: str
    step: str
    node: str
    call: str
    tool_name: str
    title: str
    arguments: dict[str, Any]
    shortened: bool


class ToolCompleteShape(msgspec.Struct, frozen=True, kw_only=True):
    """`tool_use_complete`: the tool has been used, with a result or an error."""

    run: str
    step: str
    node: str
    call: str
    tool_name: str
    result: Any
    error: str | None
    shortened: bool


class LaggedShape(msgspec.Struct, frozen=True, kw_only=True):
    """`lagged`: the reader was too slow, and so many messages were skipped.

    Durable events follow from the journal, all of them; texts follow as snapshots; other live messages are lost.
    """

    run: str
    events: int
    messages: int


def live_type(message: LiveMessage) -> LiveType:
    """How the event is called that shows a live message."""
    return _TYPES[type(message)]


def public_live(message: LiveMessage) -> bytes:
    """The public form of a live message, in JSON."""
    return msgspec.json.encode(_shape(message))


def _shape(message: LiveMessage) -> msgspec.Struct:
    match message:
        case TextDelta():
            return DeltaShape(
                run=message.run,
                step=message.step,
                node=message.node,
                stream=message.stream,
                take=message.take,
                offset=message.offset,
                delta=message.text,
            )
        case TextSnapshot():
            return SnapshotShape(
                run=message.run,
                step=message.step,
                node=message.node,
                stream=message.stream,
                take=message.take,
                offset=message.offset,
                content=message.text,
            )
        case ToolStarted():
            return ToolStartShape(
                run=message.run,
                step=message.step,
                node=message.node,
                call=message.call,
                tool_name=message.tool,
                title=message.title,
                arguments=message.arguments,
                shortened=message.shortened,
            )
        case ToolFinished():
            return ToolCompleteShape(
                run=message.run,
                step=message.step,
                node=message.node,
                call=message.call,
                tool_name=message.tool,
                result=message.result,
                error=message.error,
                shortened=message.shortened,
            )
        case RunProgress():
            return message


_TYPES: dict[type[msgspec.Struct], LiveType] = {
    RunProgress: "progress",
    TextDelta: "content_delta",
    TextSnapshot: "content_snapshot",
    ToolStarted: "tool_use_start",
    ToolFinished: "tool_use_complete",
}
