"""Watching runs on the whole platform: the guide's examples, sockets, the playground."""

import asyncio
import re
import textwrap
from pathlib import Path
from typing import Any

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect

from tests.support.bookkeeping import settled
from tests.support.tenancy import Customer

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "streaming.md").read_text(encoding="utf-8")


def example(holds: str) -> str:
    """The guide's Python example that holds a text."""
    found: list[str] = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    return next(text for text in found if holds in text)


async def told_by(code: str, **names: Any) -> str:
    """Run an example of the guide, which awaits, and return what it prints."""
    lines: list[str] = []
    names |= {"print": lambda *told: lines.append(" ".join(map(str, told)))}
    scope: dict[str, Any] = {}
    exec(f"async def main():\n{textwrap.indent(code, '    ')}", names, scope)
    async with asyncio.timeout(60):
        await scope["main"]()
    return "\n".join(lines)


def address(customer: Customer, path: str) -> str:
    """Where a socket is opened."""
    return f"{customer.api_url.replace('http', 'ws', 1)}/api/v1{path}"


async def until_frame(socket: ClientConnection, kind: str) -> list[dict[str, Any]]:
    """Frames up to the first of a type, that one included."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        while not found or found[-1]["type"] != kind:
            found.append(msgspec.json.decode(await socket.recv()))
    return found


async def test_the_guides_examples_work(http: httpx.AsyncClient, customer: Customer):
    """
    A run is followed by the client and over a socket, and an agent is talked to, as the guide says.
    """
    names = {"url": customer.api_url, "key": customer.key}
    followed = await told_by(example("agora.Client"), **names)
    started = await http.post("/packages/echo/execute", json={"input": {"text": "hi", "delay_ms": 50}})
    imports = "import json\nfrom websockets.asyncio.client import connect\n"
    watched = await told_by(example("/events"), run_id=started.json()["id"], **names)
    talked = await told_by(imports + example("/playground/echo"), **names)

    for told in (followed, watched):
        assert told.startswith("1 run.accepted")
        assert told.endswith("run.charged")
    assert "'type': 'message_complete'" in talked
    assert "'content': 'hello'" in talked


async def test_a_conversation_on_the_playground_is_charged_as_its_runs(
    http: httpx.AsyncClient, customer: Customer
):
    """
    Two messages on one socket are two runs with their own charge; the socket's end stops neither.
    """
    headers = {"X-API-Key": customer.key}
    async with connect(address(customer, "/playground/echo"), proxy=None, additional_headers=headers) as one:
        await until_frame(one, "agent_loaded")
        await one.send('{"type": "user_message", "content": "hello", "input": {"delay_ms": 300}}')
        first = (await until_frame(one, "message_complete"))[-1]
        await one.send('{"type": "user_message", "content": "again"}')
        begun = (await until_frame(one, "message_started"))[-1]
    second = await settled(http, begun["run_id"])
    said = (await http.get(f"/conversations/{begun['conversation_id']}/messages")).json()["items"]

    assert ("succeeded", "hello") == (first["status"], first["content"])
    assert first["conversation_id"] == begun["conversation_id"]
    assert ["hello", "hello", "again", "again"] == [one["content"] for one in said]
    assert ("succeeded", "again") == (second["status"], second["output"]["text"])
    assert second["cost"]["amount"] == (await settled(http, first["run_id"]))["cost"]["amount"]
