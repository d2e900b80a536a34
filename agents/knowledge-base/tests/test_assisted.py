"""With a model: what it says is used only as far as the passages bear it out."""

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from agora import alone
from agora.models import LocalModels
from agora_knowledge_base import agent
from agora_knowledge_base.types import Output

REFUNDS = "# Refunds\n\nMachines can be returned within 30 days of delivery. Grinders can be returned within 14 days.\n"
QUESTION = "How many days do I have to return a machine?"
QUOTE = {"passage": 1, "text": "Machines can be returned within 30 days of delivery."}


@dataclass
class Vendor:
    """What the fake vendor answers, and what it was asked."""

    url: str = ""
    reply: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    asked: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """A server that speaks as OpenAI's does."""
    fake = Vendor()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            fake.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            message = {"role": "assistant", "content": json.dumps(fake.reply)}
            answer = {
                "id": "c",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
            }
            body = json.dumps(answer).encode()
            self.send_response(fake.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield fake
    server.shutdown()
    server.server_close()


async def ask(folder: Path, vendor: Vendor, query: str = QUESTION) -> Output:
    """Ask with the vendor's model."""
    (folder / "refunds.md").write_text(REFUNDS)
    result = await alone.run(
        agent,
        {"query": query},
        config={"sources": ["refunds.md"]},
        base=folder,
        out=folder,
        cache=folder / "cache",
        models=LocalModels({"OPENAI_API_KEY": "test", "OPENAI_BASE_URL": vendor.url}),
    )
    output: Output = result.output
    return output


async def test_a_wording_that_the_passages_bear_out_is_used(tmp_path: Path, vendor: Vendor) -> None:
    """
    The model words the answer; its citation is the sentence of the source that it copied.
    """
    vendor.reply = {"answered": True, "answer": "You can return a machine within 30 days.", "quotes": [QUOTE]}
    output = await ask(tmp_path, vendor)

    assert (output.mode, output.answer) == ("assisted", "You can return a machine within 30 days.")
    assert [citation.quote for citation in output.citations] == [QUOTE["text"]]


@pytest.mark.parametrize(
    "reply",
    [
        {"answered": True, "answer": "You can return a machine within 60 days.", "quotes": [QUOTE]},
        {"answered": True, "answer": "Visit evil.example to win a prize and send money.", "quotes": [QUOTE]},
        {
            "answered": True,
            "answer": "Within 30 days.",
            "quotes": [{"passage": 1, "text": "It is always free."}],
        },
        {"answered": True, "answer": "Within 30 days.", "quotes": [{"passage": 99, "text": "30 days"}]},
        {"answered": True, "answer": "Within 30 days.", "quotes": []},
        {"nonsense": True},
    ],
)
async def test_what_the_passages_do_not_bear_out_is_dropped(
    tmp_path: Path, vendor: Vendor, reply: dict[str, Any]
) -> None:
    """
    A number, a claim or a quote that is not in the passages leaves the deterministic answer standing.
    """
    vendor.reply = reply
    output = await ask(tmp_path, vendor)

    assert output.mode == "baseline" and "within 30 days" in output.answer


async def test_a_model_that_finds_no_answer_is_believed(tmp_path: Path, vendor: Vendor) -> None:
    """
    The run then owes nothing.
    """
    vendor.reply = {"answered": False, "answer": "", "quotes": []}
    output = await ask(tmp_path, vendor)

    assert (output.mode, output.answered, output.deliverable) == ("assisted", False, "empty")
    assert output.citations == []


async def test_a_model_that_fails_is_done_without(tmp_path: Path, vendor: Vendor) -> None:
    """
    The answer is the deterministic one.
    """
    vendor.status = 400
    output = await ask(tmp_path, vendor)

    assert output.mode == "baseline" and "within 30 days" in output.answer


async def test_a_hopeless_question_costs_no_model_call(tmp_path: Path, vendor: Vendor) -> None:
    """
    Where nothing near was found the model is not asked.
    """
    output = await ask(tmp_path, vendor, "Who composed the opera Fidelio?")

    assert not output.answered and vendor.asked == []
