"""Reading what the API answers: money, problems, streams of events."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
from agora_contracts.money import parse_amount
from agora_contracts.problems import PROBLEMS, TYPE_PREFIX


class _Problem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A problem document with nothing beside what RFC 9457 and our contract name."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]]
    retry_after_seconds: int | None = None


def micro(money: dict[str, str]) -> int:
    """Public money in micro-units of USD, which everything here is in."""
    assert money["currency"] == "USD"
    return parse_amount(money["amount"])


def refused(answer: httpx.Response, slug: str, *says: str) -> dict[str, Any]:
    """Check that an answer is this problem, and that what it says names each of `says`; the document."""
    told = f"{answer.status_code}: {answer.text[:500]}"
    assert answer.headers.get("content-type") == "application/problem+json", told
    problem = msgspec.json.decode(answer.content, type=_Problem)
    assert (TYPE_PREFIX + slug, PROBLEMS[slug].status) == (problem.type, answer.status_code), told
    assert (problem.status, problem.title) == (answer.status_code, PROBLEMS[slug].title), told
    assert len(problem.detail) > 10, told
    for part in says:
        assert part in answer.text or part in problem.detail, f"{part!r} is not in {told}"
    document: dict[str, Any] = answer.json()
    return document


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One server-sent event as it came; `id` is None where the message had none."""

    id: int | None
    type: str
    data: dict[str, Any]


async def follow(client: httpx.AsyncClient, run: str, **options: Any) -> AsyncIterator[Event]:
    """A run's events, read off the wire until the platform ends the stream."""
    async with client.stream("GET", f"/runs/{run}/events", **options) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        async for line in answer.aiter_lines():
            if line.startswith(":"):
                continue
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                number = int(fields["id"]) if "id" in fields else None
                yield Event(id=number, type=fields["event"], data=msgspec.json.decode(fields["data"]))
                fields = {}


async def all_events(client: httpx.AsyncClient, run: str, **options: Any) -> list[Event]:
    """The durable events of a run from first to last."""
    return [event async for event in follow(client, run, **options) if event.id is not None]


async def pages(client: httpx.AsyncClient, path: str, **query: Any) -> list[dict[str, Any]]:
    """Every item of a list, page by page."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        asked = query if cursor is None else query | {"cursor": cursor}
        page = (await client.get(path, params=asked)).raise_for_status().json()
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found
