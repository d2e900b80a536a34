"""Conversations: a message and its run come together, one at a time, and the reply is what the run says."""

import asyncio
from typing import Any, cast

import pytest
from agora import Agent
from agora_contracts.conversations import (
    DeleteConversation,
    GetConversation,
    ListConversations,
    ListMessages,
    PostMessage,
    StartConversation,
)
from agora_contracts.deployments import EndDeployment, StartDeployment
from agora_contracts.ids import derived
from agora_contracts.problems import AgoraError
from agora_execution.conversations.service import Conversations
from agora_execution.packages.service import Packages
from agora_execution.runs.admission import Admission

from .asking import ACCOUNT, OTHER_TENANT, TENANT, new_id
from .conftest import Workers
from .driving import Platform


async def begin(platform: Platform, **other: Any) -> str:
    """Begin a conversation with the echo agent, or as given; its id."""
    values: dict[str, Any] = {
        "conversation": new_id("conv"), "tenant": TENANT, "account": ACCOUNT, "fingerprint": "f1", "package": "echo",
    }  # fmt: skip
    made = await platform.ask(StartConversation(**(values | other)))
    return str(made.id)


def message(conversation: str, content: str = "hello", key: str | None = None, **other: Any) -> PostMessage:
    """The command that posts a message under a key."""
    values: dict[str, Any] = {
        "conversation": conversation,
        "message": derived("msg", conversation, key or new_id("key")),
        "tenant": TENANT,
        "account": ACCOUNT,
        "content": content,
        "fingerprint": f"f {content}",
    }
    return PostMessage(**(values | other))


async def said(platform: Platform, conversation: str) -> list[tuple[int, str, str]]:
    """A conversation's messages: their place, who said them, and what."""
    page = await platform.ask(ListMessages(conversation=conversation, tenant=TENANT))
    return [(one.seq, one.role, one.content) for one in page.items]


async def exchanged(platform: Platform, command: PostMessage) -> Any:
    """Post a message and wait for its reply."""
    posted = await platform.ask(command)
    await platform.ended(posted.run)
    found = await platform.ask(command)
    assert found.reply is not None
    return found


@pytest.fixture
async def companion_platform(probe: Agent, service_alone: Platform, workers: Workers) -> Platform:
    """Execution with a worker, which knows the agent that converses and remembers."""
    await service_alone.list_package("companion")
    await workers.start()
    return service_alone


async def test_a_message_is_answered_by_a_run(platform: Platform) -> None:
    """
    The message goes into the run's input where the manifest says, and the output's field is the reply.
    """
    conversation = await begin(platform, title="A first try")
    posted = await exchanged(platform, message(conversation, "hello there"))
    run = await platform.get(posted.run)

    assert ("succeeded", {"text": "hello there"}) == (run.status, {"text": run.output["text"]})
    assert [(1, "user", "hello there"), (2, "assistant", "hello there")] == await said(platform, conversation)
    assert (posted.run, "assistant", None, run.finished_at) == (
        posted.reply.run, posted.reply.role, posted.reply.error, posted.reply.at,
    )  # fmt: skip
    found = await platform.ask(GetConversation(conversation=conversation, tenant=TENANT))
    assert ("A first try", "echo", 2, None) == (found.title, found.package, found.messages, found.running)


async def test_the_same_message_again_is_the_same_message_and_run(platform: Platform) -> None:
    """
    However often and from however many callers at once a key comes, there is one message and one run.
    """
    conversation = await begin(platform)
    command = message(conversation, "once", key="k1")
    answers = await asyncio.gather(*(platform.ask(command) for _ in range(10)))
    await platform.ended(answers[0].run)
    later = await platform.ask(command)

    assert {(one.message.id, one.run) for one in answers} == {(later.message.id, later.run)}
    assert [(1, "user", "once"), (2, "assistant", "once")] == await said(platform, conversation)
    assert 1 == len(await platform.rows("SELECT 1 FROM runs"))
    with pytest.raises(AgoraError, match="used for another message") as refused:
        await platform.ask(message(conversation, "something else", key="k1"))
    assert "idempotency_conflict" == refused.value.slug


async def test_of_many_messages_at_once_one_is_taken(echo_listed: Platform) -> None:
    """
    While a run works on a message no other one is taken, of however many that come at once.
    """
    conversation = await begin(echo_listed)
    answers = await asyncio.gather(
        *(echo_listed.ask(message(conversation, f"number {n}")) for n in range(12)), return_exceptions=True
    )
    taken = [one for one in answers if not isinstance(one, BaseException)]
    refused = [one.slug for one in answers if isinstance(one, AgoraError)]

    assert (1, ["conversation_busy"] * 11) == (len(taken), refused)
    found = await echo_listed.ask(GetConversation(conversation=conversation, tenant=TENANT))
    assert (taken[0].run, 1) == (found.running, found.messages)
    assert 1 == len(await echo_listed.rows("SELECT 1 FROM runs"))
    with pytest.raises(AgoraError) as busy:
        await echo_listed.ask(DeleteConversation(conversation=conversation, tenant=TENANT))
    assert "conversation_busy" == busy.value.slug


async def test_without_credit_neither_message_nor_run_is_stored(platform: Platform) -> None:
    """
    What billing refuses leaves no trace, and the conversation takes the next message.
    """
    conversation = await begin(platform)
    platform.billing.refuse_holds = AgoraError("insufficient_credit", "0.01 USD are needed")
    command = message(conversation, "later then", key="k1")
    with pytest.raises(AgoraError) as refused:
        await platform.ask(command)
    assert ("insufficient_credit", []) == (refused.value.slug, await said(platform, conversation))

    platform.billing.refuse_holds = None
    await exchanged(platform, command)

    assert 2 == len(await said(platform, conversation))


async def test_a_run_that_fails_leaves_a_message_that_says_why(platform: Platform) -> None:
    """
    The assistant's message carries the run's error; the conversation goes on after it.
    """
    conversation = await begin(platform, input={"fail": "rejected"})
    failed = await exchanged(platform, message(conversation, "hello"))

    assert ("asked_to_reject", "No answer: the run failed: The input asked to be rejected.") == (
        failed.reply.error.code, failed.reply.content,
    )  # fmt: skip
    again = await exchanged(platform, message(conversation, "and now?"))
    assert [1, 2, 3, 4] == [failed.message.seq, failed.reply.seq, again.message.seq, again.reply.seq]


async def test_a_terminated_run_frees_the_conversation(echo_listed: Platform) -> None:
    """
    A run that an operator terminates leaves a message that says so, and the next one is taken.
    """
    conversation = await begin(echo_listed)
    posted = await echo_listed.ask(message(conversation, "never mind"))
    await echo_listed.workflow(posted.run).terminate()
    await echo_listed.sweep()
    await echo_listed.ended(posted.run)
    await echo_listed.ask(message(conversation, "another"))
    page = await echo_listed.ask(ListMessages(conversation=conversation, tenant=TENANT))

    assert [("user", None), ("assistant", "terminated"), ("user", None)] == [
        (one.role, one.error.code if one.error else None) for one in page.items
    ]


async def test_a_step_sees_what_was_said_before(companion_platform: Platform) -> None:
    """
    Steps get the earlier messages of their conversation, oldest first, and none of another; a run outside has none.
    """
    platform = companion_platform
    conversation = await begin(platform, package="companion")
    for content in ("one", "two"):
        await exchanged(platform, message(conversation, content))
    asking = await begin(platform, package="companion", input={"do": "history"})
    elsewhere = await exchanged(platform, message(asking, "what did I say?"))
    await platform.execute(
        """UPDATE conversations SET input = '{"do": "history"}' WHERE id = :id""", id=conversation
    )
    here = await exchanged(platform, message(conversation, "what did I say?"))
    alone = await platform.run({"text": "hello", "do": "history"}, package="companion")

    assert "user: one | assistant: you said one | user: two | assistant: you said two" == here.reply.content
    assert ("", "") == (elsewhere.reply.content, alone.output["answer"])


async def test_messages_come_in_pages(platform: Platform) -> None:
    """
    Pages of any size give every message once, in order.
    """
    conversation = await begin(platform)
    for number in range(3):
        await exchanged(platform, message(conversation, f"number {number}"))
    for limit in (1, 2, 3, 5):
        found: list[int] = []
        cursor: str | None = None
        while True:
            page = await platform.ask(
                ListMessages(conversation=conversation, tenant=TENANT, cursor=cursor, limit=limit)
            )
            found += [one.seq for one in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert [1, 2, 3, 4, 5, 6] == found


async def test_a_conversation_runs_on_a_rental(platform: Platform) -> None:
    """
    On a deployment its price and configuration hold; once it has ended, messages are refused and nothing is stored.
    """
    deployment = new_id("dep")
    await platform.ask(
        StartDeployment(
            deployment_id=deployment,
            tenant=TENANT,
            account=ACCOUNT,
            fingerprint="f1",
            package="echo",
            basis="task",
        )
    )
    await platform.until(
        lambda: platform.rows("SELECT 1 FROM deployments WHERE id = :id AND status = 'active'", id=deployment)
    )
    conversation = await begin(platform, package=None, deployment=deployment)
    posted = await exchanged(platform, message(conversation, "hello"))
    assert deployment == (await platform.get(posted.run)).deployment

    await platform.ask(EndDeployment(deployment=deployment, tenant=TENANT))
    with pytest.raises(AgoraError, match="has ended") as refused:
        await platform.ask(message(conversation, "still there?"))

    assert "not_executable" == refused.value.slug
    listed = await platform.ask(ListConversations(tenant=TENANT, deployment=deployment))
    assert [(conversation, "echo", 2)] == [(one.id, one.package, one.messages) for one in listed.items]


@pytest.mark.parametrize(
    ("beside", "field"), [({"zz": 1}, "/zz"), ({"steps": 0}, "/steps"), ({"fail": "softly"}, "/fail")]
)
async def test_an_input_with_which_no_message_could_run_is_refused(
    echo_listed: Platform, beside: dict[str, Any], field: str
) -> None:
    """
    What goes into every run is checked when the conversation begins, and nothing is stored; the message comes later.
    """
    with pytest.raises(AgoraError) as refused:
        await begin(echo_listed, input=beside)

    assert ("invalid_input", [field]) == (
        refused.value.slug, [fault.field for fault in refused.value.problem.errors],
    )  # fmt: skip
    assert [] == await echo_listed.rows("SELECT 1 FROM conversations")
    assert await begin(echo_listed, input={"steps": 2})


async def test_what_cannot_converse_is_refused(probe: Agent, echo_listed: Platform) -> None:
    """
    A package without a [conversation], one that is not there, and a field that is the message's: each says so.
    """
    await echo_listed.list_package("probe")
    for slug, other in (
        ("not_conversational", {"package": "probe"}),
        ("not_found", {"package": "nobody"}),
        ("invalid_input", {"input": {"text": "mine"}}),
        ("invalid_input", {"package": "echo", "deployment": new_id("dep")}),
        ("not_found", {"package": None, "deployment": new_id("dep")}),
        ("invalid_input", {"title": "a\0b"}),
    ):
        with pytest.raises(AgoraError) as refused:
            await begin(echo_listed, **other)
        assert slug == refused.value.slug
    conversation = await begin(echo_listed)
    with pytest.raises(AgoraError) as empty:
        await echo_listed.ask(message(conversation, "x" * 20_000))
    assert "invalid_input" == empty.value.slug
    assert [] == await said(echo_listed, conversation)


async def test_another_tenant_finds_nothing(platform: Platform) -> None:
    """
    Read, list, post and delete: another tenant's conversation is not there.
    """
    conversation = await begin(platform)
    await exchanged(platform, message(conversation, "private"))
    for command in (
        GetConversation(conversation=conversation, tenant=OTHER_TENANT),
        ListMessages(conversation=conversation, tenant=OTHER_TENANT),
        DeleteConversation(conversation=conversation, tenant=OTHER_TENANT),
        message(conversation, "mine?", tenant=OTHER_TENANT),
    ):
        with pytest.raises(AgoraError) as refused:
            await platform.ask(command)
        assert "not_found" == refused.value.slug
    assert [] == (await platform.ask(ListConversations(tenant=OTHER_TENANT))).items
    with pytest.raises(AgoraError) as taken:
        await begin(platform, conversation=conversation, tenant=OTHER_TENANT)
    assert "idempotency_conflict" == taken.value.slug


async def test_a_deleted_conversation_is_gone_and_its_runs_stay(platform: Platform) -> None:
    """
    Deleting takes the messages along; the run is still there, as what was charged for.
    """
    conversation = await begin(platform)
    posted = await exchanged(platform, message(conversation, "hello"))
    await platform.ask(DeleteConversation(conversation=conversation, tenant=TENANT))

    with pytest.raises(AgoraError) as gone:
        await platform.ask(ListMessages(conversation=conversation, tenant=TENANT))
    assert "not_found" == gone.value.slug
    assert "succeeded" == (await platform.get(posted.run)).status
    assert [] == await platform.rows("SELECT 1 FROM conversation_exchanges")


async def test_a_message_whose_service_died_after_its_commit_is_answered(platform: Platform) -> None:
    """
    Message and run commit together: where the service dies before it starts the workflow, the sweep does.
    """

    class Dead:
        async def start(self, task: Any, order: Any = None) -> None:
            """The service is gone before this."""

    admission = Admission(
        platform.database, platform.service.broker, platform.recorder, Packages(platform.database),
        platform.deployments, platform.files, cast(Any, Dead()), models_configured=lambda: False,
    )  # fmt: skip
    dying = Conversations(platform.database, admission, cast(Any, None))
    conversation = await begin(platform)
    command = message(conversation, "found again")
    posted = await dying.post(command)
    assert "accepted" == (await platform.get(posted.run)).status

    await platform.sweep()
    await platform.ended(posted.run)
    found = await platform.ask(command)

    assert (posted.run, "found again") == (found.run, found.reply.content)


async def test_only_an_empty_conversation_is_deleted_where_that_is_asked(platform: Platform) -> None:
    """
    With a message in it, it stays, whether its run goes on or has ended; without one it is gone.
    """
    empty, spoken = await begin(platform), await begin(platform)
    await exchanged(platform, message(spoken))
    await platform.ask(DeleteConversation(conversation=empty, tenant=TENANT, only_empty=True))
    with pytest.raises(AgoraError) as refused:
        await platform.ask(DeleteConversation(conversation=spoken, tenant=TENANT, only_empty=True))

    assert "conflict" == refused.value.slug
    listed = await platform.ask(ListConversations(tenant=TENANT))
    assert [spoken] == [one.id for one in listed.items]
