"""Conversations and schedules on the whole platform: through the public API, charged, and as the guides say."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import agora
import httpx
import pytest
from agora_local.platform import Platform

from tests.support.answers import micro, refused
from tests.support.bookkeeping import settled
from tests.support.tenancy import Customer
from tests.support.waiting import until

from .test_readme import told

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
ONE_TASK = 10_000
"""What one run of echo costs, in micro-units."""

_RUNNABLE = re.compile(r"^<!-- run -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [
    pytest.param(language, block, id=f"{guide}-{number}")
    for guide in ("conversations", "schedules")
    for number, (language, block) in enumerate(_RUNNABLE.findall((GUIDES / f"{guide}.md").read_text()))
]


async def begin(http: httpx.AsyncClient, **body: Any) -> str:
    """Begin a conversation with the echo agent; its path."""
    made = await http.post("/conversations", json={"package": "echo"} | body)
    assert made.status_code == 201, made.text
    return f"/conversations/{made.json()['id']}"


@pytest.mark.parametrize(("language", "block"), BLOCKS)
def test_the_guides_examples_work(language: str, block: str, newcomer: Customer, tmp_path: Path) -> None:
    """
    What the guides tell to type works as it stands there.
    """
    output = told(language, block, newcomer, tmp_path)

    if "Hello" in block:
        assert "Hello, who is there?" in output
    if "schedules create" in block:
        assert all(sign in output for sign in ("started run_", "stocktaking", "removed"))


async def test_a_message_is_charged_like_any_run(http: httpx.AsyncClient) -> None:
    """
    Posted with a wait, the reply comes with the answer; the run is charged once, also when it is posted again.
    """
    path = await begin(http)
    posting: dict[str, Any] = {
        "json": {"content": "hello"},
        "headers": {"Idempotency-Key": "one", "Prefer": "wait=30"},
    }
    first = await http.post(f"{path}/messages", **posting)
    again = await http.post(f"{path}/messages", **posting)
    run = await settled(http, first.json()["run"])
    listed = (await http.get(f"{path}/messages")).json()["items"]
    statement = (await http.get("/account/statement")).json()["items"]

    assert (200, "hello") == (first.status_code, first.json()["reply"]["content"])
    assert first.json() == again.json()
    assert [("user", "hello"), ("assistant", "hello")] == [(one["role"], one["content"]) for one in listed]
    assert [run["id"]] == [line["run"] for line in statement if line["kind"] == "charge"]
    assert ONE_TASK == micro(run["cost"])


async def test_a_busy_conversation_takes_nothing_and_frees_itself(http: httpx.AsyncClient) -> None:
    """
    While its run goes on a conversation is busy; a cancelled run leaves a message, and the next one is answered.
    """
    path = await begin(http, input={"delay_ms": 20_000})
    posted = (await http.post(f"{path}/messages", json={"content": "slowly"})).json()
    refused(await http.post(f"{path}/messages", json={"content": "hurry"}), "conversation_busy")
    refused(await http.delete(path), "conversation_busy")
    await http.post(f"/runs/{posted['run']}/cancel")

    async def running() -> Any:
        return (await http.get(path)).json()["running"]

    await until(running, lambda run: run is None)
    messages = (await http.get(f"{path}/messages")).json()["items"]
    assert ["user", "assistant"] == [one["role"] for one in messages]
    assert "cancelled" == messages[1]["error"]["code"]


async def test_a_stranger_finds_neither_conversation_nor_schedule(
    http: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    """
    Another tenant's ids are not there.
    """
    conversation = await begin(http)
    made = await http.post(
        "/schedules", json={"package": "echo", "input": {"text": "x"}, "cron": "0 9 1 1 *"}
    )
    schedule = f"/schedules/{made.json()['id']}"
    for path in (conversation, f"{conversation}/messages", schedule, f"{schedule}/fires"):
        assert 404 == (await stranger.get(path)).status_code
    refused(await stranger.post(f"{conversation}/messages", json={"content": "hello"}), "not_found")
    refused(await stranger.post(f"{schedule}/trigger"), "not_found")
    await http.delete(schedule)


async def test_a_schedule_runs_and_is_charged(client: agora.Client, http: httpx.AsyncClient) -> None:
    """
    When its moment comes, Temporal has the run started, once; it is charged to whoever made the schedule.
    """
    at = datetime.now(UTC) + timedelta(seconds=4)
    schedule = await client.schedules.create("echo", {"text": "on time"}, at=at)

    async def fired() -> Any:
        found = await client.schedules.fires(schedule.id)
        return next((one for one in found.items if one.run), None)

    fire = await until(fired, lambda found: found is not None)
    run = await settled(http, fire.run)
    await asyncio.sleep(1)

    assert ("succeeded", "on time", ONE_TASK) == (run["status"], run["output"]["text"], micro(run["cost"]))
    assert at.replace(microsecond=0) == fire.scheduled_for
    assert 1 == len((await client.schedules.fires(schedule.id)).items)
    assert "ended" == (await client.schedules.get(schedule.id)).state


async def test_a_schedule_without_credit_says_so(hire_customer: Any, market: Platform) -> None:
    """
    A fire that cannot be paid is refused with the reason; nothing is charged, and the schedule goes on.
    """
    poor: Customer = await hire_customer(credit="0.001")
    async with agora.Client(poor.api_url, poor.key) as client:
        schedule = await client.schedules.create("echo", {"text": "too dear"}, cron="0 9 1 1 *")
        fire = await client.schedules.trigger(schedule.id)
        again = await client.schedules.get(schedule.id)
        await client.schedules.delete(schedule.id)

    assert ("refused", "insufficient_credit") == (fire.state, fire.reason.code if fire.reason else "")
    assert ("active", 1) == (again.state, again.failures)
