"""Model calls: the worst case is reserved inside the run's own hold before a call, and settled after it."""

import asyncio
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from agora import Agent, Message, ModelUnavailable
from agora.models import tokens_at_most, worst_case_cost
from agora_contracts.execution import UsageRecorded
from agora_execution.models.service import ModelCalls

from .asking import new_id
from .conftest import Workers
from .driving import Platform
from .test_recovery import accepted

MODEL = "openai:gpt-4o-mini"
PROMPT = [Message(role="user", content="hello")]
MAX_TOKENS = 100
WORST = worst_case_cost(MODEL, tokens_at_most(PROMPT), MAX_TOKENS).amount


@dataclass
class Vendor:
    """What the fake vendor answers at its wire, and how often it was asked."""

    url: str = ""
    text: str = "Hello to you"
    usage: tuple[int, int] | None = (11, 7)
    status: int = 200
    asked: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self) -> dict[str, Any]:
        """A chat completion as OpenAI writes it."""
        reply: dict[str, Any] = {
            "id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": self.text}, "finish_reason": "stop"}
            ],
        }  # fmt: skip
        if self.usage is not None:
            sent, made = self.usage
            reply["usage"] = {"prompt_tokens": sent, "completion_tokens": made, "total_tokens": sent + made}
        return reply


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch, no_vendors: None) -> Iterator[Vendor]:
    """A vendor of models at the wire, whose key is set on this platform.

    Ask for it before the service, which looks for keys when it starts.
    """
    fake = Vendor()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            with fake.lock:
                fake.asked += 1
            body = json.dumps(fake.answer()).encode()
            self.send_response(fake.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}/v1"
    monkeypatch.setenv("OPENAI_API_KEY", "a key of the tests")
    monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
    yield fake
    server.shutdown()
    server.server_close()
    thread.join()


async def a_run(platform: Platform, model_cost: int) -> str:
    """A running run whose hold has so many micro-units for models."""
    run = new_id("run")
    await platform.recorder.accept(accepted(run, model_cost=model_cost))
    await platform.recorder.begin(run, accepted(run).tenant)
    return run


async def chat(platform: Platform, run: str, **other: Any) -> Any:
    """Ask a model within a run."""
    calls = ModelCalls(platform.database)
    asked: dict[str, Any] = {
        "run": run, "tenant": "ten_one", "step": f"{run}/work/1", "attempt": 1, "capability": "fast",
        "max_tokens": MAX_TOKENS, "schema": None,
    }  # fmt: skip
    return await calls.chat(PROMPT, **(asked | other))


async def money(platform: Platform, run: str) -> tuple[int, int]:
    """What a run has reserved for calls at hand, and spent."""
    query = "SELECT model_reserved, model_spent FROM runs WHERE id = :run"
    [row] = await platform.rows(query, run=run)
    return row.model_reserved, row.model_spent


async def test_a_call_is_reserved_and_settled(vendor: Vendor, service_alone: Platform) -> None:
    """
    After the call nothing is reserved any more, and what was spent is what the vendor's usage costs.
    """
    run = await a_run(service_alone, 10_000)
    reply = await chat(service_alone, run)

    # 11 tokens in at 0.15 and 7 out at 0.60 USD per million are 5.85 micro-units.
    assert ("Hello to you", 6) == (reply.text, reply.cost.amount)
    assert (0, 6) == await money(service_alone, run)
    [call] = await service_alone.rows("SELECT reserved, spent, input_tokens, reconciled FROM model_calls")
    assert (WORST, 6, 11, True) == tuple(call)


async def test_calls_at_once_never_reserve_more_than_the_hold_has(
    vendor: Vendor, service_alone: Platform
) -> None:
    """
    Fifty calls at once with room for five worst cases: the others are refused before the vendor is asked.
    """
    vendor.usage = None
    run = await a_run(service_alone, 5 * WORST)
    answers = await asyncio.gather(*(chat(service_alone, run) for _ in range(50)), return_exceptions=True)

    refused = [one for one in answers if isinstance(one, ModelUnavailable)]
    assert (5, 45) == (vendor.asked, len(refused))
    # No usage was reported, so each is taken at its worst case: the hold is spent to the last unit.
    assert (0, 5 * WORST) == await money(service_alone, run)


async def test_a_call_without_room_in_the_hold_is_refused(vendor: Vendor, service_alone: Platform) -> None:
    """
    One unit less than the worst case is too little; a run whose listing allows no models has none at all.
    """
    for model_cost in (WORST - 1, 0):
        run = await a_run(service_alone, model_cost)
        with pytest.raises(ModelUnavailable, match="worst case"):
            await chat(service_alone, run)
        assert (0, 0) == await money(service_alone, run)
    assert 0 == vendor.asked


async def test_a_call_that_fails_is_taken_at_its_worst_case(vendor: Vendor, service_alone: Platform) -> None:
    """
    A vendor that fails may have worked and charged: nothing stays reserved, and the worst case counts as spent.
    """
    vendor.status = 400
    run = await a_run(service_alone, 10_000)
    with pytest.raises(ModelUnavailable):
        await chat(service_alone, run)

    assert (0, WORST) == await money(service_alone, run)
    [call] = await service_alone.rows("SELECT spent, reconciled, failure FROM model_calls")
    assert (WORST, False) == (call.spent, call.reconciled)
    assert "ModelUnavailable" in call.failure


async def test_after_the_runs_end_no_call_is_made(vendor: Vendor, service_alone: Platform) -> None:
    """
    A late step of a run that is over cannot spend its hold.
    """
    run = await a_run(service_alone, 10_000)
    await service_alone.execute("UPDATE runs SET status = 'failed', finished_at = now() WHERE id = :r", r=run)
    with pytest.raises(ModelUnavailable):
        await chat(service_alone, run)

    assert 0 == vendor.asked


async def test_an_agents_model_calls_are_its_runs_usage(
    vendor: Vendor, probe: Agent, service_alone: Platform, workers: Workers
) -> None:
    """
    What a step asked of a model is held beforehand, and metered with cost and tokens.
    """
    await service_alone.list_package("probe")
    await workers.start()
    run = await service_alone.run({"text": "hello", "do": "ask"}, package="probe")

    assert ("succeeded", "Hello to you") == (run.status, run.output["text"])
    used = {one.meter: one.quantity for one in run.usage}
    assert Decimal("0.000006") == used["model.cost"]
    assert (11, 7) == (used["model.input_tokens"], used["model.output_tokens"])
    [placed] = service_alone.billing.placed
    assert [("tasks", Decimal(1)), ("model.cost", Decimal("0.01"))] == [
        (one.meter, one.quantity) for one in placed.estimates
    ]
    assert run.quoted.amount == 20_000
    dimensions = [
        e.data.dimensions for e in await service_alone.events(UsageRecorded) if e.data.meter == "model.cost"
    ]
    assert [{"model": MODEL, "reconciled": "yes"}] == dimensions


async def test_without_a_key_an_agent_works_without_models(probe_platform: Platform) -> None:
    """
    No vendor is configured: nothing is held for models, and the agent is told so.
    """
    run = await probe_platform.run({"text": "hello", "do": "ask"}, package="probe")

    assert "succeeded" == run.status
    assert run.output["text"].startswith("no model:")
    [placed] = probe_platform.billing.placed
    assert ["tasks"] == [one.meter for one in placed.estimates]
