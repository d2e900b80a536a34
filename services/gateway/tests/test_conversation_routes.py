"""The routes of conversations, memory and schedules: what they ask of execution, and how they answer."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from agora_contracts.billing import OpenAccount
from agora_contracts.conversations import (
    Conversation,
    ConversationMessage,
    ConversationPage,
    DeleteConversation,
    GetConversation,
    ListConversations,
    ListMessages,
    MessagePage,
    MessagePosted,
    PostMessage,
    StartConversation,
)
from agora_contracts.memory import (
    DeleteMemory,
    GetMemory,
    ListMemory,
    MemoryDeleted,
    MemoryEntry,
    MemoryPage,
)
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.schedules import (
    ChangeSchedule,
    CreateSchedule,
    DeleteSchedule,
    Fire,
    FirePage,
    GetSchedule,
    ListFires,
    ListSchedules,
    PauseSchedule,
    ResumeSchedule,
    Schedule,
    SchedulePage,
    TriggerSchedule,
)

from .conftest import Customer, Others

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
CONVERSATION_ID = f"conv_{'a' * 32}"
SCHEDULE_ID = f"sch_{'b' * 32}"
ENTRY_ID = f"mem_{'c' * 32}"
RUN_ID = f"run_{'d' * 32}"
CONVERSATION = Conversation(
    id=CONVERSATION_ID,
    tenant="ten_1",
    title="First",
    package="echo",
    messages=2,
    created_at=AT,
    updated_at=AT,
)
ASKED = ConversationMessage(
    id=f"msg_{'e' * 32}", conversation=CONVERSATION_ID, seq=1, role="user", content="hello", run=RUN_ID, at=AT
)
ANSWERED = ConversationMessage(
    id=f"msg_{'f' * 32}",
    conversation=CONVERSATION_ID,
    seq=2,
    role="assistant",
    content="hello",
    run=RUN_ID,
    at=AT,
)
ENTRY = MemoryEntry(
    id=ENTRY_ID, package="echo", kind="value", key="language", value="de", bytes=12, run=RUN_ID, at=AT
)
SCHEDULE = Schedule(
    id=SCHEDULE_ID, tenant="ten_1", name="mornings", state="active", package="echo", input={"text": "hello"},
    time_zone="UTC", overlap="skip", failures_max=5, failures=0, next_times=[AT + timedelta(days=1)], created_at=AT,
    cron="0 9 * * *", max_cost=Money(amount=500_000),
)  # fmt: skip
FIRE = Fire(
    id=f"fire_{'a' * 32}",
    schedule=SCHEDULE_ID,
    scheduled_for=AT,
    at=AT,
    state="started",
    run=RUN_ID,
    manual=True,
)


def asked_of(others: Others) -> list[Any]:
    """What was asked, without what made the tenant."""
    return [command for command in others.asked if not isinstance(command, OpenAccount)]


async def test_a_tenant_converses(customer: Customer, others: Others):
    """
    Conversations are begun once per key, read, listed and deleted; a message is answered with its run.
    """
    await others.answer(
        (StartConversation, CONVERSATION),
        (GetConversation, CONVERSATION),
        (ListConversations, ConversationPage(items=[CONVERSATION], next_cursor="more")),
        (DeleteConversation, CONVERSATION),
        (ListMessages, MessagePage(items=[ASKED, ANSWERED])),
        (PostMessage, MessagePosted(message=ASKED, run=RUN_ID)),
    )
    http, key = customer.http, {"Idempotency-Key": "one"}
    path = f"/conversations/{CONVERSATION_ID}"
    body = {"package": "echo", "title": "First"}
    answers = [
        await http.post("/conversations", json=body, headers=key),
        await http.post("/conversations", json=body, headers=key),
        await http.get(path),
        await http.get("/conversations", params={"package": "echo"}),
        await http.get(f"{path}/messages"),
        await http.post(f"{path}/messages", json={"content": "hello"}, headers=key),
        await http.delete(path),
    ]

    assert [201, 201, 200, 200, 200, 202, 200] == [one.status_code for one in answers]
    assert "more" == answers[3].json()["next_cursor"]
    assert [("user", 1), ("assistant", 2)] == [
        (one["role"], one["seq"]) for one in answers[4].json()["items"]
    ]
    assert (f"/api/v1/runs/{RUN_ID}", None) == (answers[5].headers["location"], answers[5].json()["reply"])
    first, second, *_, posted, _ = asked_of(others)
    assert first == second
    assert (customer.id, customer.account, customer.key_id, "hello", CONVERSATION_ID) == (
        posted.tenant, posted.account, posted.requested_by, posted.content, posted.conversation,
    )  # fmt: skip


async def test_a_key_of_a_message_counts_within_its_conversation(customer: Customer, others: Others):
    """
    The same key in another conversation is another message; the fingerprint tells other words under the same key.
    """
    await others.answer((PostMessage, MessagePosted(message=ASKED, run=RUN_ID, reply=ANSWERED)))
    for conversation, content in ((CONVERSATION_ID, "a"), (CONVERSATION_ID, "b"), (f"conv_{'9' * 32}", "a")):
        answer = await customer.http.post(
            f"/conversations/{conversation}/messages",
            json={"content": content, "max_cost": {"amount": "0.10"}},
            headers={"Idempotency-Key": "one"},
        )
        assert (200, "hello") == (answer.status_code, answer.json()["reply"]["content"])
    one, other, elsewhere = asked_of(others)

    assert one.message == other.message != elsewhere.message
    assert one.fingerprint != other.fingerprint
    assert Money(amount=100_000) == one.max_cost


async def test_a_caller_may_wait_for_the_reply(customer: Customer, others: Others):
    """
    With `Prefer: wait` the message is asked for again until the reply is there: it is the same message.
    """
    replies = [None, None, ANSWERED]

    async def later(command: PostMessage) -> MessagePosted:
        return MessagePosted(message=ASKED, run=RUN_ID, reply=replies.pop(0))

    await others.answer((PostMessage, later))
    answer = await customer.http.post(
        f"/conversations/{CONVERSATION_ID}/messages", json={"content": "hello"}, headers={"Prefer": "wait=9"}
    )

    assert (200, "assistant") == (answer.status_code, answer.json()["reply"]["role"])
    commands = asked_of(others)
    assert (3, 1) == (len(commands), len({one.message for one in commands}))
    assert {4} == {one.wait_seconds for one in commands}


@pytest.mark.parametrize(
    ("slug", "status"),
    [
        ("conversation_busy", 409),
        ("not_conversational", 409),
        ("insufficient_credit", 402),
        ("not_found", 404),
    ],
)
async def test_a_refused_message_says_why(customer: Customer, others: Others, slug: str, status: int):
    """
    What execution refuses is answered with its problem.
    """

    async def refuse(_: PostMessage) -> Any:
        raise AgoraError(slug, "for a reason")

    await others.answer((PostMessage, refuse))
    answer = await customer.http.post(f"/conversations/{CONVERSATION_ID}/messages", json={"content": "hello"})

    assert (status, slug) == (answer.status_code, answer.json()["type"].rsplit("/", 1)[1])


async def test_a_tenant_sees_and_deletes_what_agents_keep(customer: Customer, others: Others):
    """
    Memory is listed, read, deleted by entry, and forgotten by package.
    """
    await others.answer(
        (ListMemory, MemoryPage(items=[ENTRY])), (GetMemory, ENTRY), (DeleteMemory, MemoryDeleted(count=1))
    )
    http = customer.http
    answers = [
        await http.get("/memory", params={"package": "echo", "kind": "value"}),
        await http.get(f"/memory/{ENTRY_ID}"),
        await http.delete(f"/memory/{ENTRY_ID}"),
        await http.delete("/memory", params={"package": "echo"}),
        await http.delete("/memory"),
        await http.delete("/memory", params={"package": "../x"}),
        await http.get("/memory", params={"kind": "else"}),
    ]

    assert [200, 200, 200, 200, 422, 404, 422] == [one.status_code for one in answers]
    assert ("language", "de") == (answers[1].json()["key"], answers[1].json()["value"])
    by_entry, by_package = asked_of(others)[2:]
    assert [(ENTRY_ID, None), (None, "echo")] == [(one.entry, one.package) for one in (by_entry, by_package)]


async def test_a_tenant_keeps_schedules(customer: Customer, others: Others):
    """
    Made, read, listed, changed, paused, resumed, triggered and deleted; money is public money.
    """
    await others.answer(
        (CreateSchedule, SCHEDULE),
        (GetSchedule, SCHEDULE),
        (ListSchedules, SchedulePage(items=[SCHEDULE])),
        (ChangeSchedule, SCHEDULE),
        (PauseSchedule, SCHEDULE),
        (ResumeSchedule, SCHEDULE),
        (TriggerSchedule, FIRE),
        (ListFires, FirePage(items=[FIRE])),
        (DeleteSchedule, SCHEDULE),
    )
    http, path = customer.http, f"/schedules/{SCHEDULE_ID}"
    body = {
        "package": "echo", "input": {"text": "hello"}, "cron": "0 9 * * *", "max_cost": {"amount": "0.50"},
    }  # fmt: skip
    answers = [
        await http.post("/schedules", json=body, headers={"Idempotency-Key": "one"}),
        await http.get(path),
        await http.get("/schedules", params={"state": "active"}),
        await http.patch(path, json={"at": "2030-01-05T09:00:00+01:00"}),
        await http.post(f"{path}/pause", json={"reason": "stocktaking"}),
        await http.post(f"{path}/resume"),
        await http.post(f"{path}/trigger", headers={"Idempotency-Key": "now"}),
        await http.get(f"{path}/fires"),
        await http.delete(path),
    ]

    assert [201, *[200] * 8] == [one.status_code for one in answers]
    assert {"amount": "0.500000", "currency": "USD"} == answers[1].json()["max_cost"]
    assert ["2026-01-06T09:00:00Z"] == answers[0].json()["next_times"]
    assert ("started", RUN_ID) == (answers[6].json()["state"], answers[7].json()["items"][0]["run"])
    made, _, _, changed, paused, resumed, triggered, *_ = asked_of(others)
    assert (customer.key_id, customer.key_id) == (resumed.requested_by, triggered.requested_by)
    assert (customer.key_id, Money(amount=500_000), "UTC") == (
        made.requested_by,
        made.max_cost,
        made.time_zone,
    )
    assert (datetime(2030, 1, 5, 8, tzinfo=UTC), None, "stocktaking") == (
        changed.at.astimezone(UTC), changed.cron, paused.reason,
    )  # fmt: skip


async def test_pausing_and_triggering_need_no_body(customer: Customer, others: Others):
    """
    Nothing, and nothing in braces, will do; a field that neither knows is refused and asks for nothing.
    """
    await others.answer((PauseSchedule, SCHEDULE), (TriggerSchedule, FIRE))
    path = f"/schedules/{SCHEDULE_ID}"
    taken = [
        await customer.http.post(f"{path}/pause"),
        await customer.http.post(f"{path}/pause", json={}),
        await customer.http.post(f"{path}/trigger"),
        await customer.http.post(f"{path}/trigger", json={}),
    ]
    asked = len(asked_of(others))
    refused = [
        await customer.http.post(f"{path}/pause", json={"why": "stocktaking"}),
        await customer.http.post(f"{path}/trigger", json={"input": {}}),
    ]

    assert [200] * 4 + [422] * 2 == [one.status_code for one in (*taken, *refused)]
    assert ["/why", "/input"] == [one.json()["errors"][0]["field"] for one in refused]
    assert asked == len(asked_of(others))


@pytest.mark.parametrize(
    ("amount", "told"),
    [
        ("-0.01", "must not be negative"),
        ("1" * 26, "beyond what an account can hold"),
        ("0.0000001", "at most 6 places"),
    ],
)
async def test_a_hard_budget_that_cannot_be_is_refused_with_its_field(
    customer: Customer, amount: str, told: str
):
    """
    Below nothing, more than an account holds, or finer than money is: each says so.
    """
    refused = await customer.http.post(
        "/packages/echo/execute", json={"input": {"text": "a"}, "max_cost": {"amount": amount}}
    )

    [fault] = refused.json()["errors"]
    assert (422, "/max_cost/amount") == (refused.status_code, fault["field"])
    assert told in fault["detail"]


async def test_the_end_of_a_key_goes_with_its_schedules(new_customer: Any, others: Others):
    """
    Execution is told until when the key that asks works.
    """
    ends = datetime(2035, 1, 1, tzinfo=UTC)
    customer: Customer = await new_customer(expires_at=ends.isoformat())
    await others.answer((CreateSchedule, SCHEDULE), (ResumeSchedule, SCHEDULE))
    body = {"package": "echo", "input": {}, "cron": "0 9 * * *"}
    await customer.http.post("/schedules", json=body)
    await customer.http.post(f"/schedules/{SCHEDULE_ID}/resume")

    assert [ends, ends] == [one.key_expires_at for one in asked_of(others)]


async def test_a_change_of_a_schedule_says_what_is_taken_back(customer: Customer, others: Others):
    """
    `null` takes the hard budget or the version back, what is left out stays, and `null` for the rest is refused.
    """
    await others.answer((ChangeSchedule, SCHEDULE))
    path = f"/schedules/{SCHEDULE_ID}"
    for body in ({"max_cost": None, "version": None}, {"version": "1.0.0"}, {"max_cost": {"amount": "1"}}):
        assert 200 == (await customer.http.patch(path, json=body)).status_code
    refused = [
        await customer.http.patch(path, json={name: None})
        for name in ("name", "input", "cron", "at", "time_zone", "overlap", "failures_max")
    ]

    assert [422] * 7 == [one.status_code for one in refused]
    assert [
        (("max_cost", "version"), None, None),
        ((), None, "1.0.0"),
        ((), Money(amount=1_000_000), None),
    ] == [(one.clear, one.max_cost, one.version) for one in asked_of(others)]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/schedules", {"input": {}, "at": "2030-01-05T09:00:00"}, "/at"),
        ("/schedules", {"input": {}, "cron": ""}, "/cron"),
        ("/schedules", {"input": {}, "cron": "0 9 * * *", "overlap": "queue"}, "/overlap"),
        ("/schedules", {"input": {}, "cron": "0 9 * * *", "failures_max": 0}, "/failures_max"),
        ("/schedules", {"input": {}, "every": "day"}, "/every"),
        ("/schedules", {"cron": "0 9 * * *"}, "/input"),
        ("/conversations", {"package": "echo", "tone": "kind"}, "/tone"),
        (f"/conversations/{CONVERSATION_ID}/messages", {"content": ""}, "/content"),
        (f"/conversations/{CONVERSATION_ID}/messages", {"text": "hello"}, "/text"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(customer: Customer, path: str, body: Any, field: str):
    """
    The wrong field is named; nothing is asked of execution.
    """
    answer = await customer.http.post(path, json=body)

    assert (422, field) == (answer.status_code, answer.json()["errors"][0]["field"])


async def test_a_reading_key_changes_nothing(new_customer: Any):
    """
    A key that may only read can neither converse, schedule nor delete.
    """
    reading: Customer = await new_customer(scopes=["read"])
    http = reading.http
    answers = [
        await http.post("/conversations", json={"package": "echo"}),
        await http.post(f"/conversations/{CONVERSATION_ID}/messages", json={"content": "x"}),
        await http.delete(f"/conversations/{CONVERSATION_ID}"),
        await http.delete(f"/memory/{ENTRY_ID}"),
        await http.post("/schedules", json={}),
        await http.post(f"/schedules/{SCHEDULE_ID}/trigger"),
        await http.delete(f"/schedules/{SCHEDULE_ID}"),
    ]

    assert {403} == {answer.status_code for answer in answers}
