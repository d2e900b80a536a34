"""Model calls over the vendors' real packages, against a fake of their wire."""

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import agora
import msgspec
import pytest
from agora.models import LocalModels, UnknownModelPrice, cost_of, tokens_at_most, worst_case_cost
from agora_contracts.money import Money

PROMPT = [agora.Message(role="system", content="Be brief."), agora.Message(role="user", content="Hi")]


@dataclass
class Wire:
    """What the fake vendors answer, and what they were asked."""

    url: str = ""
    text: str = "Hello"
    usage: tuple[int, int] | None = (11, 7)
    status: int = 200
    hang: threading.Event | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)


def _answer(path: str, wire: Wire) -> dict[str, Any]:
    sent, made = wire.usage or (0, 0)
    if "generateContent" in path:
        content = {"role": "model", "parts": [{"text": wire.text}]}
        return {
            "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {
                "promptTokenCount": sent, "candidatesTokenCount": made, "totalTokenCount": sent + made,
            },
        }  # fmt: skip
    if path.endswith("/api/chat"):
        return {
            "model": "m", "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "stop",
            "message": {"role": "assistant", "content": wire.text},
            "prompt_eval_count": sent, "eval_count": made,
        }  # fmt: skip
    if path.endswith("/messages"):
        return {
            "id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
            "stop_sequence": None, "content": [{"type": "text", "text": wire.text}],
            "usage": {"input_tokens": sent, "output_tokens": made},
        }  # fmt: skip
    message = {"role": "assistant", "content": wire.text}
    reply: dict[str, Any] = {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }  # fmt: skip
    if wire.usage is not None:
        reply["usage"] = {"prompt_tokens": sent, "completion_tokens": made, "total_tokens": sent + made}
    return reply


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A server that speaks as OpenAI, Anthropic, Google, Groq and Ollama do."""
    fake = Wire()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            fake.asked.append(json.loads(self.rfile.read(length)))
            if fake.hang is not None:
                fake.hang.wait(30)
            body = json.dumps(_answer(self.path.partition("?")[0], fake)).encode()
            self.send_response(fake.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield fake
    server.shutdown()
    server.server_close()


def settings(vendor: str, wire: Wire) -> dict[str, str]:
    """The environment that switches one vendor on, at the fake's address."""
    if vendor == "ollama":
        return {"OLLAMA_HOST": wire.url}
    return {f"{vendor.upper()}_API_KEY": "key", f"{vendor.upper()}_BASE_URL": wire.url}


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "google", "groq", "ollama"])
async def test_every_vendor_answers_with_its_usage(vendor: str, wire: Wire) -> None:
    """
    A call through each vendor's package gives the text, and the tokens that the vendor reports.
    """
    reply = await LocalModels(settings(vendor, wire)).chat(PROMPT, max_tokens=50)

    assert (reply.text, reply.input_tokens, reply.output_tokens, reply.reconciled) == ("Hello", 11, 7, True)
    assert reply.model.startswith(f"{vendor}:")
    assert reply.cost == cost_of(reply.model, 11, 7)


async def test_missing_usage_is_never_free(wire: Wire) -> None:
    """
    Where the vendor reports no usage, the reply counts the worst case and says that it is not reconciled.
    """
    wire.usage = None
    reply = await LocalModels(settings("openai", wire)).chat(PROMPT, max_tokens=50)

    assert (reply.input_tokens, reply.output_tokens, reply.reconciled) == (tokens_at_most(PROMPT), 50, False)


class Verdict(msgspec.Struct):
    """What a model should answer."""

    category: str
    sure: bool


@pytest.mark.parametrize(
    "text", ['{"category":"a","sure":true}', '```json\n{"category":"a","sure":true}\n```']
)
async def test_an_answer_is_read_as_its_schema(text: str, wire: Wire) -> None:
    """
    With a schema the answer comes parsed, also out of a code fence, and the model was shown the schema.
    """
    wire.text = text
    reply = await LocalModels(settings("openai", wire)).chat(PROMPT, max_tokens=50, schema=Verdict)

    assert reply.parsed == Verdict(category="a", sure=True)
    assert '"sure"' in json.dumps(wire.asked[0]["messages"][0]["content"]).replace("\\", "")


@pytest.mark.parametrize(
    "text", ["I think it is a.", '{"category":"a"}', '{"category":"a","sure":"very"}', ""]
)
async def test_an_answer_that_does_not_fit_is_no_answer(text: str, wire: Wire) -> None:
    """
    An answer outside the schema is `ModelUnavailable`, on which an agent goes on by deterministic means.
    """
    wire.text = text
    with pytest.raises(agora.ModelUnavailable):
        await LocalModels(settings("openai", wire)).chat(PROMPT, max_tokens=50, schema=Verdict)


async def test_a_vendors_error_is_not_retried_and_not_leaked(wire: Wire) -> None:
    """
    A vendor that fails is asked once, and its error comes as `ModelUnavailable`.
    """
    wire.status = 500
    with pytest.raises(agora.ModelUnavailable, match="openai:gpt-4o-mini failed"):
        await LocalModels(settings("openai", wire)).chat(PROMPT, max_tokens=50)

    assert len(wire.asked) == 1


async def test_a_vendor_that_hangs_is_left(wire: Wire) -> None:
    """
    A call has a deadline.
    """
    wire.hang = threading.Event()
    try:
        with pytest.raises(agora.ModelUnavailable):
            await LocalModels(settings("openai", wire), timeout_seconds=0.2).chat(PROMPT, max_tokens=50)
    finally:
        wire.hang.set()


async def test_an_override_names_the_model(wire: Wire) -> None:
    """
    AGORA_MODEL_SMART decides over the vendor's default, for its capability alone.
    """
    models = LocalModels({**settings("openai", wire), "AGORA_MODEL_SMART": "openai:gpt-4.1"})

    assert (await models.chat(PROMPT, capability="smart", max_tokens=5)).model == "openai:gpt-4.1"
    assert (await models.chat(PROMPT, capability="fast", max_tokens=5)).model == "openai:gpt-4o-mini"


@pytest.mark.parametrize("override", ["gpt-4o", "nobody:x", "groq:x"])
async def test_an_override_that_cannot_be_followed_says_why(override: str) -> None:
    """
    An override without a vendor, with an unknown one, or with one that has no key, is refused.
    """
    models = LocalModels({"OPENAI_API_KEY": "key", "AGORA_MODEL_FAST": override})

    assert not models.available
    with pytest.raises(agora.ModelUnavailable, match=override):
        await models.chat(PROMPT, max_tokens=5)


async def test_without_a_key_no_model_is_available() -> None:
    """
    With no vendor configured, models are not available and a call says what to set.
    """
    models = LocalModels({})

    assert not models.available
    with pytest.raises(agora.ModelUnavailable, match="OPENAI_API_KEY"):
        await models.chat(PROMPT, max_tokens=5)


def test_costs_are_exact() -> None:
    """
    A cost is the tokens times the price, rounded once; the worst case is rounded up.
    """
    assert cost_of("openai:gpt-4o-mini", 1000, 100) == Money(amount=210)
    assert worst_case_cost("openai:gpt-4o-mini", 1, 1) == Money(amount=1)
    assert worst_case_cost("google:gemini-2.5-pro", 200_001, 0) == Money(amount=500_003)
    assert cost_of("ollama:anything", 10**6, 10**6) == Money(amount=0)


def test_a_model_without_a_price_is_refused() -> None:
    """
    What a model may cost cannot be set aside without its price: the message names what is known.
    """
    with pytest.raises(UnknownModelPrice, match=r"openai:new.*openai:gpt-4o"):
        worst_case_cost("openai:new", 1, 1)


def test_the_bound_of_tokens_holds_for_any_script() -> None:
    """
    The upper bound of the tokens counts bytes, so that no script exceeds it.
    """
    assert tokens_at_most([agora.Message(role="user", content="日本")]) >= 6
    assert Decimal(tokens_at_most([])) == 0
