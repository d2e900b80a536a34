"""Model calls over the vendors' real packages, against a fake of their wire."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import agora
import msgspec
import pytest
from agora.models import LocalModels, UnknownModelPrice, cost_of, tokens_at_most, worst_case_cost
from agora_contracts.money import Money

from tests.support.llm_wire import Asked, Reply, Wire, serving

PROMPT = [agora.Message(role="system", content="Be brief."), agora.Message(role="user", content="Hi")]


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """A server that speaks as OpenAI, Anthropic, Google, Groq and Ollama do."""
    async with serving() as fake:
        yield fake


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "google", "groq", "ollama"])
async def test_every_vendor_answers_with_its_usage(vendor: str, wire: Wire) -> None:
    """
    A call through each vendor's package gives the text, and the tokens that the vendor reports.
    """
    reply = await LocalModels(wire.environment(vendor)).chat(PROMPT, max_tokens=50)

    assert (reply.text, reply.input_tokens, reply.output_tokens, reply.reconciled) == (
        "Hello to you",
        11,
        7,
        True,
    )
    assert reply.model.startswith(f"{vendor}:")
    assert reply.cost == cost_of(reply.model, 11, 7)


async def test_missing_usage_is_never_free(wire: Wire) -> None:
    """
    Where the vendor reports no usage, the reply counts the worst case and says that it is not reconciled.
    """
    wire.answer = Reply(usage=None)
    reply = await LocalModels(wire.environment("openai")).chat(PROMPT, max_tokens=50)

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
    wire.answer = Reply(pieces=(text,))
    reply = await LocalModels(wire.environment("openai")).chat(PROMPT, max_tokens=50, schema=Verdict)

    assert reply.parsed == Verdict(category="a", sure=True)
    assert '"sure"' in json.dumps(wire.asked[0].body["messages"][0]["content"]).replace("\\", "")


@pytest.mark.parametrize(
    "text", ["I think it is a.", '{"category":"a"}', '{"category":"a","sure":"very"}', ""]
)
async def test_an_answer_that_does_not_fit_is_no_answer(text: str, wire: Wire) -> None:
    """
    An answer outside the schema is `ModelUnavailable`, on which an agent goes on by deterministic means.
    """
    wire.answer = Reply(pieces=(text,))
    with pytest.raises(agora.ModelUnavailable):
        await LocalModels(wire.environment("openai")).chat(PROMPT, max_tokens=50, schema=Verdict)


async def test_a_vendors_error_is_not_retried_and_not_leaked(wire: Wire) -> None:
    """
    A vendor that fails is asked once, and its error comes as `ModelUnavailable`.
    """
    wire.answer = Reply(status=500)
    with pytest.raises(agora.ModelUnavailable, match="openai:gpt-4o-mini failed"):
        await LocalModels(wire.environment("openai")).chat(PROMPT, max_tokens=50)

    assert len(wire.asked) == 1


async def test_a_vendor_that_hangs_is_left(wire: Wire) -> None:
    """
    A call has a deadline.
    """
    wire.answer = Reply(hangs=True)
    with pytest.raises(agora.ModelUnavailable, match="did not answer within"):
        await LocalModels(wire.environment("openai"), timeout_seconds=0.2).chat(PROMPT, max_tokens=50)


async def test_an_override_names_the_model(wire: Wire) -> None:
    """
    AGORA_MODEL_SMART decides over the vendor's default, for its capability alone.
    """
    models = LocalModels({**wire.environment("openai"), "AGORA_MODEL_SMART": "openai:gpt-4.1"})

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


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(status=401), "does not accept the key"),
        (Reply(status=404), "it answered 404"),
        (Reply(status=429, retry_after="3"), "it answered 429"),
        (Reply(status=503), "it answered 503"),
        (Reply(garbage=b"<html>Bad gateway</html>"), "could not be read"),
        (Reply(garbage=b'{"unexpected": true}'), "openai:gpt-4o-mini"),
        (Reply(unfinished=True), "does not say that it ended"),
    ],
)
async def test_what_happened_at_the_vendor_is_told(reply: Reply, told: str, wire: Wire) -> None:
    """
    A wrong key, an unknown model, too many requests and an answer that cannot be read each come as what they are.
    """
    wire.answer = reply
    with pytest.raises(agora.ModelUnavailable, match=told):
        await LocalModels(wire.environment("openai")).chat(PROMPT, max_tokens=50)


async def test_no_error_tells_a_key(wire: Wire) -> None:
    """
    Whatever goes wrong, a key stands in no message.
    """
    environment = wire.environment("openai") | {"OPENAI_BASE_URL": "not an address"}
    with pytest.raises(agora.ModelUnavailable) as failed:
        await LocalModels(environment).chat(PROMPT, max_tokens=50)

    assert "key-of-openai" not in str(failed.value)


async def test_the_next_model_answers_where_one_fails(wire: Wire) -> None:
    """
    Of several models the next is asked when one fails, in the order in which they were named.
    """

    def answer(asked: Asked) -> Reply:
        return Reply(status=500) if asked.vendor == "openai" else Reply()

    wire.answer = answer
    models = LocalModels(wire.environment("openai", "anthropic"))
    reply = await models.chat(PROMPT, model=["openai:gpt-4o", "anthropic:claude-haiku-4-5"], max_tokens=50)

    assert ["openai", "anthropic"] == [one.vendor for one in wire.asked]
    assert "anthropic:claude-haiku-4-5" == reply.model


@pytest.mark.parametrize(
    ("policy", "first"),
    [
        ("fixed", "openai:gpt-4o-mini"),
        ("cheapest", "groq:llama-3.1-8b-instant"),
        ("best", "anthropic:claude-haiku-4-5"),
    ],
)
async def test_a_policy_orders_the_models(policy: Any, first: str, wire: Wire) -> None:
    """
    The declared order, the least worst case, or the best by judgement decides who is asked first.
    """
    models = LocalModels(wire.environment("openai", "anthropic", "groq"))

    assert first == (await models.chat(PROMPT, policy=policy, max_tokens=50)).model


async def test_the_fastest_is_who_answered_fastest_of_late(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    By the policy `fastest` each model is tried once, and then the one that took the least time.
    """
    clock = 0.0

    def answer(asked: Asked) -> Reply:
        nonlocal clock
        clock += 0.3 if asked.vendor == "openai" else 0.1
        return Reply()

    wire.answer = answer
    # A clock that only answers move: a busy machine would make the fast one slow.
    monkeypatch.setattr("agora.models.time", SimpleNamespace(monotonic=lambda: clock))
    models = LocalModels(wire.environment("openai", "groq"))
    asked = [(await models.chat(PROMPT, policy="fastest", max_tokens=50)).model for _ in range(4)]

    assert {"openai:gpt-4o-mini", "groq:llama-3.1-8b-instant"} == set(asked[:2])
    assert ["groq:llama-3.1-8b-instant"] * 2 == asked[2:]


async def test_any_compatible_endpoint_is_asked_by_name(wire: Wire) -> None:
    """
    An endpoint that speaks as OpenAI does is a vendor of its own: its models are named, its price is not known.
    """
    models = LocalModels(
        {"OPENAI_COMPATIBLE_API_KEY": "k", "OPENAI_COMPATIBLE_BASE_URL": f"{wire.url}/compatible"}
    )
    reply = await models.chat(PROMPT, model="compatible:my-model", max_tokens=50)

    assert ("Hello to you", None) == (reply.text, reply.cost)
    assert "my-model" == wire.asked[0].model


@pytest.mark.parametrize("vendor", ["openai", "google", "ollama"])
async def test_texts_are_embedded(vendor: str, wire: Wire) -> None:
    """
    Each text becomes a vector, in order; tokens that are not reported are counted at the worst case.
    """
    embedded = await LocalModels(wire.environment(vendor)).embed(["one", "two"])

    assert [[0.6, 0.8], [0.6, 0.8]] == [[round(x, 3) for x in one] for one in embedded.vectors]
    assert (vendor == "openai") == embedded.reconciled
    assert embedded.input_tokens > 0


async def test_texts_that_cannot_be_embedded_are_refused(wire: Wire) -> None:
    """
    No text, an empty one, or a vendor without vectors is refused before anybody is asked.
    """
    models = LocalModels(wire.environment("openai"))
    for texts in ([], ["a", " "]):
        with pytest.raises(agora.ModelUnavailable, match="texts"):
            await models.embed(texts)
    with pytest.raises(agora.ModelUnavailable, match="embed"):
        await LocalModels(wire.environment("groq")).embed(["a"])
    assert [] == wire.asked
