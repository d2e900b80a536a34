"""What a run tells while it works: live only, over core NATS on `live_subject`, stored nowhere.

Beside `RunProgress` these are text as it is written, and the use of tools. A message that is lost is never sent again;
whoever misses some of a text asks on `live_ask_subject`, and every worker that has text of the run answers, on the live
subject itself, with a `TextSnapshot` of each. As one worker writes a text, its snapshot stands in the order of its
deltas, so that a reader goes on behind it without a gap and without a repetition.
"""

from typing import Any

import msgspec

from agora_contracts.runs import RunProgress

TEXT_CHARACTERS_MAX = 16_384
"""The longest text of one message; longer ones are sent in several."""


class TextDelta(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="text_delta"):
    """What was written to a text of a step, from `offset` on (in characters, which are Unicode code points).

    A step writes to one or several named streams. When it is called again (another attempt, or after it waited for a
    person) its texts begin anew, with a higher `take`: the time of that call in milliseconds.
    """

    run: str
    step: str
    node: str
    stream: str
    take: int
    offset: int
    text: str


class TextSnapshot(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="text_snapshot"):
    """A text so far, or its first part, the rest following as deltas.

    `offset` is 0, unless the text is so long that its beginning is not kept.
    """

    run: str
    step: str
    node: str
    stream: str
    take: int
    offset: int
    text: str


class ToolStarted(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="tool_started"):
    """A step has begun to use a tool. `call` names this use within the run.

    Arguments that are too large to be watched are left out, and `shortened` is set.
    """

    run: str
    step: str
    node: str
    call: str
    tool: str
    title: str = ""
    arguments: dict[str, Any] = {}
    shortened: bool = False


class ToolFinished(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="tool_finished"):
    """The use of a tool has ended, with a result or with an error. A large result is left out, and `shortened` set."""

    run: str
    step: str
    node: str
    call: str
    tool: str
    result: Any = None
    error: str | None = None
    shortened: bool = False


type LiveMessage = RunProgress | TextDelta | TextSnapshot | ToolStarted | ToolFinished


class _Kind(msgspec.Struct, frozen=True):
    type: str = ""


_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_progress = msgspec.json.Decoder(RunProgress).decode
_decode_tagged = msgspec.json.Decoder(TextDelta | TextSnapshot | ToolStarted | ToolFinished).decode


def decode_live(data: bytes) -> LiveMessage:
    """Read a live message. Progress, which is older than the others, carries no type.

    Raises:
        msgspec.DecodeError: it is none, or of a kind that is newer than its reader.
    """
    return _decode_tagged(data) if _decode_kind(data).type else _decode_progress(data)
