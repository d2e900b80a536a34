"""Text as it is written: told by a step, and put together by who follows the run."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from agora.client import ApiError, Client
from agora.client.text import Texts
from agora.client.types import RunEvent
from agora.context import Context
from agora.live import TextWritten

from .scripted_platform import Platform, sse


def piece(offset: int, text: str, take: int = 1, step: str = "s", stream: str = "answer") -> RunEvent:
    data = {"step": step, "stream": stream, "take": take, "offset": offset, "delta": text}
    return RunEvent(type="content_delta", data=data)


def whole(text: str, take: int = 1, offset: int = 0) -> RunEvent:
    data = {"step": "s", "stream": "answer", "take": take, "offset": offset, "content": text}
    return RunEvent(type="content_snapshot", data=data)


def test_texts_grow_by_deltas() -> None:
    """
    Deltas are put behind each other by their offsets, those that come twice once.
    """
    texts = Texts()
    changed = [texts.add(one) for one in (piece(0, "Hel"), piece(3, "lo"), piece(3, "lo"), piece(4, "o!"))]

    assert ("Hello!", [True, True, False, True]) == (texts.answer, changed)


def test_a_snapshot_takes_the_place_of_what_is_there() -> None:
    """
    It may hold more or other text; deltas go on behind it.
    """
    texts = Texts()
    for one in (piece(6, "tail"), whole("Hello tail"), piece(10, "!")):
        texts.add(one)

    assert "Hello tail!" == texts.answer


def test_another_take_begins_anew_and_an_older_one_is_ignored() -> None:
    """
    What an attempt wrote that failed does not stay.
    """
    texts = Texts()
    for one in (piece(0, "Hullo"), piece(0, "Hello", take=2), piece(5, "?"), whole("Hullo?")):
        texts.add(one)

    assert "Hello" == texts.answer


def test_streams_are_apart_and_steps_follow_each_other() -> None:
    """
    The answer is made of all steps' answers; what was thought is asked for by its name.
    """
    texts = Texts()
    for one in (
        piece(0, "hm", stream="thinking"),
        piece(0, "One. ", step="a"),
        piece(0, "Two.", step="b"),
        RunEvent(type="progress", data={}),
    ):
        texts.add(one)

    assert ("One. Two.", "hm") == (texts.answer, texts.of("thinking"))


def test_a_step_writes_to_whoever_watches() -> None:
    """
    Pieces go out as they are written, nothing for an empty one.
    """
    nothing: Any = None
    written: list[TextWritten] = []
    context = Context(
        run_id="run_1", step_id="s", attempt=1, config=None, prepared=None,
        files=nothing, knowledge=nothing, models=nothing, on_text=written.append,
    )  # fmt: skip
    context.write("Hello")
    context.write("")
    context.write("hm", "thinking")

    assert [TextWritten(text="Hello"), TextWritten(text="hm", stream="thinking")] == written


async def test_the_guides_step_writes() -> None:
    """
    The step in the guide on streaming shows its words and what it thought, and returns the whole.
    """
    guide = (Path(__file__).parents[3] / "docs" / "guides" / "streaming.md").read_text(encoding="utf-8")
    (code,) = [one for one in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "context.write" in one]
    names: dict[str, Any] = {"agora": SimpleNamespace(step=lambda title: lambda step: step), "Output": dict}
    exec(code, names)
    written: list[TextWritten] = []
    context = SimpleNamespace(
        write=lambda text, stream="answer": written.append(TextWritten(text=text, stream=stream))
    )
    returned = await names["answer"](None, context)

    assert {"output": {"text": "Hello, world"}} == returned
    assert "Hello, world" == "".join(one.text for one in written if one.stream == "answer")
    assert ["that was easy"] == [one.text for one in written if one.stream == "thinking"]


async def test_live_events_stand_between_the_durable_ones(platform: Platform) -> None:
    """
    They have no number, and are not taken for a durable event that came twice.
    """
    data = piece(0, "Hi").data
    platform.on(
        "GET /runs/run_1/events",
        sse(
            (1, "run.accepted", {}),
            (None, "content_delta", data),
            (None, "tool_use_start", {}),
            (None, "lagged", {}),
            (2, "run.charged", {}),
        ),
    )
    async with Client(platform.url, "key") as client:
        events = [(event.seq, event.type) async for event in client.runs.events("run_1")]

    assert [
        (1, "run.accepted"), (None, "content_delta"), (None, "tool_use_start"), (None, "lagged"), (2, "run.charged"),
    ] == events  # fmt: skip


async def test_a_problem_in_a_stream_is_an_error(platform: Platform) -> None:
    """
    When the platform ends a stream for a reason, the reason is raised and nothing is tried again.
    """
    problem = {
        "type": "https://agora.dev/problems/key_revoked", "title": "t", "status": 401, "detail": "revoked",
    }  # fmt: skip
    platform.on("GET /runs/run_1/events", sse((1, "run.accepted", {}), (None, "problem", problem)))
    async with Client(platform.url, "key") as client:
        with pytest.raises(ApiError) as caught:
            async for _ in client.runs.events("run_1"):
                pass

    assert ("key_revoked", 1) == (caught.value.slug, len(platform.requests))
