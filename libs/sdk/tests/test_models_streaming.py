"""Streams, tools, images and sound: the same through every vendor's real package, against a fake of their wire."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import agora
import msgspec
import pytest
from agora.files import LocalFiles
from agora.models import LocalModels
from msgspec import Meta

from tests.support.llm_wire import VENDOR_NAMES, Reply, Wire, serving

PROMPT = [agora.Message(role="user", content="Pay three.")]


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """A server that speaks as every vendor does."""
    async with serving() as fake:
        yield fake


class Pay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the tool takes."""

    amount: Annotated[int, Meta(ge=1)]
    note: str = ""


PAY = agora.ToolOffer(name="pay", description="Pay an amount.", arguments=Pay)


@pytest.mark.parametrize("vendor", VENDOR_NAMES)
async def test_text_is_given_as_it_comes(vendor: str, wire: Wire) -> None:
    """
    Each piece is handed on in order, they make up the reply's text, and the usage is the vendor's.
    """
    pieces: list[str] = []
    reply = await LocalModels(wire.environment(vendor)).chat(PROMPT, max_tokens=50, on_text=pieces.append)

    assert ["Hello", " to you"] == [piece for piece in pieces if piece]
    assert ("Hello to you", 11, 7, True) == (
        reply.text,
        reply.input_tokens,
        reply.output_tokens,
        reply.reconciled,
    )
    assert wire.asked[0].streamed


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("vendor", VENDOR_NAMES)
async def test_a_tool_call_comes_typed(vendor: str, streamed: bool, wire: Wire) -> None:
    """
    What the model wants to be called is named, and its arguments are an instance of the tool's type.
    """
    wire.answer = Reply(pieces=("",), tool=("pay", '{"amount": 3}'))
    reply = await LocalModels(wire.environment(vendor)).chat(
        PROMPT, max_tokens=50, tools=[PAY], on_text=(lambda _: None) if streamed else None
    )

    [call] = reply.tool_calls
    assert ("pay", Pay(amount=3), None) == (call.name, call.arguments, call.fault)
    assert {"amount": 3, "note": ""} == call.values


@pytest.mark.parametrize(
    ("tool", "fault"),
    [
        (("pay", '{"amount": "three"}'), r"pay.*do not fit.*amount"),
        (("pay", '{"amount": 0}'), "do not fit"),
        (("pay", '{"amount": 3, "to": "me"}'), "do not fit.*to"),
        (("pay", '{"amount": 3'), "no JSON object"),
        (("steal", "{}"), "no tool 'steal'; there are: pay"),
    ],
)
async def test_wrong_arguments_are_told_and_never_a_crash(
    tool: tuple[str, str], fault: str, wire: Wire
) -> None:
    """
    A call that does not fit its tool says why, in words that can be handed back to the model.
    """
    wire.answer = Reply(pieces=("",), tool=tool)
    reply = await LocalModels(wire.environment("openai")).chat(PROMPT, max_tokens=50, tools=[PAY])

    [call] = reply.tool_calls
    with pytest.raises(ValueError, match=fault):
        _ = call.values
    assert "Error: " in str(call.refused().content)


@pytest.mark.parametrize("vendor", VENDOR_NAMES)
async def test_a_conversation_goes_on_after_a_tool(vendor: str, wire: Wire) -> None:
    """
    A reply with a tool call and the tool's answer are sent back as each vendor wants them.
    """
    models = LocalModels(wire.environment(vendor))
    wire.answer = Reply(pieces=("",), tool=("pay", '{"amount": 3}'))
    first = await models.chat(PROMPT, max_tokens=50, tools=[PAY])
    wire.answer = Reply(pieces=("Paid.",))
    talk = [*PROMPT, first.message, first.tool_calls[0].answer({"paid": True})]
    second = await models.chat(talk, max_tokens=50, tools=[PAY])

    assert "Paid." == second.text
    assert "paid" in json.dumps(wire.asked[1].body)


def test_an_agents_own_tool_is_offered_by_its_function() -> None:
    """
    A tool that is made of a function offers what that takes; a function without types is refused.
    """
    from agora.models.offering import described, offers_of

    class Made:
        name = "look_up"
        title = "Look up"

        @staticmethod
        async def function(word: str, limit: int = 3) -> str:
            """Find a word."""
            return word * limit

    class Untyped:
        name = "bad"

        @staticmethod
        async def function(word) -> None:
            """Nothing."""

    offer = offers_of([Made()])["look_up"]
    schema = described(offer)["function"]

    assert "Find a word." == schema["description"]
    assert ["word"] == schema["parameters"]["required"]
    with pytest.raises(agora.AgentDefinitionError, match="word"):
        offers_of([Untyped()])
    with pytest.raises(agora.AgentDefinitionError, match="Two tools"):
        offers_of([PAY, PAY])


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "google", "ollama", "groq"])
async def test_an_image_is_read_when_the_call_is_made(vendor: str, wire: Wire, tmp_path: Path) -> None:
    """
    A message refers to an image by its file; the vendor gets the bytes.
    """
    (tmp_path / "dot.png").write_bytes(b"\x89PNG and more")
    models = LocalModels(wire.environment(vendor), files=LocalFiles(tmp_path, tmp_path / "out"))
    asked = agora.Message(role="user", content=[agora.Text("What is it?"), agora.Image("dot.png")])
    reply = await models.chat([asked], model=models_for_images(vendor), max_tokens=50)

    assert "Hello to you" == reply.text
    assert "iVBORyBhbmQgbW9yZQ" in json.dumps(wire.asked[0].body).replace("=", "")


def models_for_images(vendor: str) -> str:
    """A model of the vendor that sees."""
    named = {
        "openai": "gpt-4o", "anthropic": "claude-sonnet-4-6", "google": "gemini-2.5-flash",
        "ollama": "llava", "groq": "llama-3.3-70b-versatile",
    }  # fmt: skip
    return f"{vendor}:{named[vendor]}"


@pytest.mark.parametrize("vendor", ["openai", "google"])
async def test_sound_is_read_when_the_call_is_made(vendor: str, wire: Wire, tmp_path: Path) -> None:
    """
    A message refers to sound by its file; a vendor that takes none is not asked.
    """
    (tmp_path / "word.wav").write_bytes(b"RIFF and sound")
    files = LocalFiles(tmp_path, tmp_path / "out")
    asked = [agora.Message(role="user", content=[agora.Audio("word.wav")])]
    reply = await LocalModels(wire.environment(vendor), files=files).chat(asked, max_tokens=50)

    assert "Hello to you" == reply.text
    with pytest.raises(agora.ModelUnavailable, match="takes audio"):
        await LocalModels(wire.environment("anthropic"), files=files).chat(asked, max_tokens=50)


async def test_a_file_that_is_no_image_is_refused(wire: Wire, tmp_path: Path) -> None:
    """
    What is not what the message says it is, or too large, never goes out.
    """
    (tmp_path / "list.csv").write_text("a,b")
    (tmp_path / "huge.png").touch()
    with (tmp_path / "huge.png").open("r+b") as huge:
        huge.truncate(21 * 1024 * 1024)
    models = LocalModels(wire.environment("openai"), files=LocalFiles(tmp_path, tmp_path / "out"))
    for name, told in (("list.csv", "not an image"), ("huge.png", "bytes together")):
        with pytest.raises(agora.ModelUnavailable, match=told):
            await models.chat([agora.Message(role="user", content=[agora.Image(name)])], max_tokens=50)

    assert [] == wire.asked


@pytest.mark.parametrize("vendor", VENDOR_NAMES)
async def test_a_stream_that_breaks_off_is_no_answer(vendor: str, wire: Wire) -> None:
    """
    A stream that is cut, or that ends without saying so, is told as such; what came of it was handed on.
    """
    for reply in (Reply(breaks_after=1), Reply(unfinished=True)):
        wire.answer = reply
        pieces: list[str] = []
        with pytest.raises(agora.ModelUnavailable, match=r"broke off|could not be read"):
            await LocalModels(wire.environment(vendor)).chat(PROMPT, max_tokens=50, on_text=pieces.append)


async def test_no_other_model_takes_over_in_the_middle_of_a_text(wire: Wire) -> None:
    """
    Once part of a text was handed on, no other model's text can follow it.
    """
    wire.answer = Reply(breaks_after=2)
    pieces: list[str] = []
    with pytest.raises(agora.ModelUnavailable, match="openai"):
        await LocalModels(wire.environment("openai", "groq")).chat(
            PROMPT, max_tokens=50, on_text=pieces.append
        )

    assert ["openai"] == [one.vendor for one in wire.asked]


@pytest.mark.parametrize("vendor", VENDOR_NAMES)
async def test_a_text_that_was_cut_off_says_so(vendor: str, wire: Wire) -> None:
    """
    A reply that ended at `max_tokens` is marked, and a schema that it does not fit says why.
    """
    wire.answer = Reply(pieces=('{"amount": ',), cut_off=True)
    models = LocalModels(wire.environment(vendor))
    reply = await models.chat(PROMPT, max_tokens=2)

    assert reply.cut_off
    with pytest.raises(agora.ModelUnavailable, match="cut off"):
        await models.chat(PROMPT, max_tokens=2, schema=Pay)


async def test_what_the_vendor_had_in_its_cache_costs_less(wire: Wire) -> None:
    """
    Input that the vendor reports as cached is priced as that.
    """
    wire.answer = Reply(usage=(1_000_000, 1), cached_tokens=400_000)
    reply = await LocalModels(wire.environment("openai")).chat(PROMPT, max_tokens=5)

    # 600,000 at 0.15 and 400,000 at 0.075 USD a million, and 1 token out.
    assert reply.cost is not None
    assert (400_000, 120_001) == (reply.cached_input_tokens, reply.cost.amount)
