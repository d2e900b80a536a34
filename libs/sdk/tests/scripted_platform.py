"""A server in the platform's place that answers and fails as scripted."""

import json
from dataclasses import dataclass, field
from typing import Any

MONEY = {"amount": "0.500000", "currency": "USD"}
STEP = {
    "id": "s1", "node": "echo", "title": "Echo the text", "visit": 1, "branch": "", "seq": 1, "attempt": 1,
    "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:01Z",
    "usage": [{"meter": "tasks", "quantity": "1"}],
}  # fmt: skip


def a_run(status: str = "accepted", **more: Any) -> dict[str, Any]:
    """A run as the API shows it, with a field that this client does not know."""
    return {
        "id": "run_1", "status": status, "package": "echo", "version": "1.0.0", "basis": "task",
        "accepted_at": "2026-01-01T00:00:00Z", "quoted": MONEY, "from_the_future": True, **more,
    }  # fmt: skip


def a_problem(status: int, slug: str = "invalid_input", **more: Any) -> "Answer":
    """A problem document."""
    kind = f"https://agora.dev/problems/{slug}"
    problem = {"type": kind, "title": "Not so", "status": status, "detail": "why", **more}
    return Answer(status, problem)


@dataclass
class Answer:
    """One scripted answer; `cut` closes the connection without one."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    cut: bool = False


@dataclass
class Request:
    """What arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Platform:
    """Answers in the order given per route; the last one repeats."""

    url: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def on(self, route: str, *answers: Answer) -> None:
        """Script a route, such as `GET /runs/run_1`."""
        self.answers[route] = list(answers)

    def answer(self, request: Request) -> Answer:
        """The next answer for a request."""
        self.requests.append(request)
        path = request.path.removeprefix("/api/v1").partition("?")[0]
        scripted = self.answers.get(f"{request.method} {path}")
        if not scripted:
            return a_problem(404, "not_found")
        return scripted.pop(0) if len(scripted) > 1 else scripted[0]


def sse(*events: tuple[int | None, str, dict[str, Any]], comment: bool = False) -> Answer:
    """A stream of events that ends after them."""
    lines = [": keep-alive\n\n"] if comment else []
    for seq, kind, data in events:
        number = "" if seq is None else f"id: {seq}\n"
        lines.append(f"{number}event: {kind}\ndata: {json.dumps(data)}\n\n")
    return Answer(raw="".join(lines).encode(), headers={"content-type": "text/event-stream"})
