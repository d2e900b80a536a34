"""Memory and conversations without a platform: what a step writes, and what it is told was said before."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agora
import msgspec
import pytest
from agora import alone
from agora.conversation import HISTORY_BYTES_MAX, GivenConversation
from agora.local_memory import LocalMemory
from agora.memory import NoMemory, StepMemory, writes_of
from agora_contracts.memory import BYTES_MAX, ENTRIES_MAX, VALUE_BYTES_MAX
from langgraph.graph import START, StateGraph

MANIFEST = """
id = "keeper"
version = "1.0.0"
title = "Keeper"
summary = "Keeps what it is told."
category = "operations-automation"
{more}
[[prices]]
basis = "task"
meter = "tasks"
unit_price = "0.01"
[estimate.tasks]
fixed = "1"
"""
GRANTED = "[permissions]\nmemory = true\n"


class Input(agora.Input):
    """What to do."""

    text: str
    do: str = "keep"


class Output(agora.Output):
    """What came of it."""

    answer: str


@dataclass(kw_only=True)
class State:
    """Only what every state has."""

    input: Input
    output: Output | None = None


@agora.step(title="Keep")
async def keep(state: State, context: agora.Context) -> dict[str, Any]:
    """Keep the text, or say what is kept."""
    memory, text = context.memory, state.input.text
    if state.input.do == "history":
        said = await context.conversation.messages(3)
        return {"output": Output(answer=" ".join(str(message.content) for message in said))}
    found = await memory.get("texts", [])
    if state.input.do == "fail_once":
        await memory.set("texts", [*found, "lost"])
        if context.attempt == 1:
            raise agora.Retryable("busy", after_seconds=0)
    await memory.set("texts", [*found, text])
    return {"output": Output(answer=",".join(await memory.get("texts")))}


def graph() -> StateGraph[State]:
    """One step."""
    built = StateGraph(State)
    built.add_node("keep", keep)
    built.add_edge(START, "keep")
    return built


def keeper(folder: Path, more: str = GRANTED) -> agora.Agent:
    """The agent with a manifest of its own."""
    (folder / "agent.toml").write_text(MANIFEST.format(more=more))
    return agora.Agent(str(folder / "agent.py"), input=Input, output=Output, state=State, graph=graph)


async def told(agent: agora.Agent, folder: Path, text: str, do: str = "keep", **more: Any) -> str:
    """What the agent answers in a run of its own."""
    result = await alone.run(
        agent, {"text": text, "do": do}, base=folder, out=folder / "out", cache=folder / "cache", **more
    )
    return str(result.output.answer)


async def test_what_one_run_keeps_the_next_one_finds(tmp_path: Path) -> None:
    """
    In the same folder memory lasts from run to run; without a folder each run begins without any.
    """
    agent, memory = keeper(tmp_path), tmp_path / "memory"
    assert "one" == await told(agent, tmp_path, "one", memory=memory)
    assert "one,two" == await told(agent, tmp_path, "two", memory=memory)
    assert "three" == await told(agent, tmp_path, "three")


async def test_an_attempt_that_fails_keeps_nothing(tmp_path: Path) -> None:
    """
    What a lost attempt wrote is neither seen by the next one nor kept.
    """
    agent, memory = keeper(tmp_path), tmp_path / "memory"
    assert "one" == await told(agent, tmp_path, "one", do="fail_once", memory=memory)


async def test_memory_has_to_be_asked_for(tmp_path: Path) -> None:
    """
    Without the permission in its manifest an agent has no memory, and is told how to get one.
    """
    with pytest.raises(agora.PermissionNotGranted, match="memory = true"):
        await told(keeper(tmp_path, more=""), tmp_path, "one")
    for refused in (
        NoMemory().get("a"), NoMemory().set("a", 1), NoMemory().delete("a"), NoMemory().remember("a"),
        NoMemory().recall("a"),
    ):  # fmt: skip
        with pytest.raises(agora.PermissionNotGranted):
            await refused
    assert [] == writes_of(NoMemory())


async def test_a_step_sees_the_newest_of_what_was_said(tmp_path: Path) -> None:
    """
    The newest messages, oldest first, as many as asked for; none outside a conversation.
    """
    agent = keeper(tmp_path)
    said = [agora.Message(role="user", content=str(number)) for number in range(5)]
    assert "2 3 4" == await told(agent, tmp_path, "", do="history", conversation=said)
    assert "" == await told(agent, tmp_path, "", do="history")


async def test_history_is_bounded() -> None:
    """
    At most fifty messages and a quarter of a megabyte, the newest.
    """
    many = [agora.Message(role="user", content=str(number)) for number in range(80)]
    long = [agora.Message(role="user", content="x" * (HISTORY_BYTES_MAX // 3 - 10)) for _ in range(5)]

    assert [str(number) for number in range(30, 80)] == [
        message.content for message in await GivenConversation(many).messages(1000)
    ]
    assert 3 == len(await GivenConversation(long).messages())
    assert [] == await GivenConversation(many).messages(0)


async def test_texts_are_remembered_and_recalled(tmp_path: Path) -> None:
    """
    A remembered text is found by meaning once its step has succeeded, with its payload, and by a filter.
    """
    source = LocalMemory(tmp_path / "memory")
    step = StepMemory(source, "step-1")
    await step.remember("The cat sleeps on the sofa.", {"about": "animals"})
    await step.remember("Income tax is due in April.", {"about": "money"})
    assert [] == await step.recall("a kitten naps")
    await source.keep(step.writes)
    later = StepMemory(LocalMemory(tmp_path / "memory"), "step-2")

    [cat] = await later.recall("a kitten naps", 1)
    assert ("The cat sleeps on the sofa.", {"about": "animals"}) == (cat.text, cat.payload)
    assert ["Income tax is due in April."] == [
        one.text for one in await later.recall("a kitten naps", filters={"about": "money"})
    ]
    assert ([], []) == (await later.recall(" "), await later.recall("x", 0))


async def test_a_repeated_attempt_gives_the_same_ids() -> None:
    """
    Ids of texts come from the step and their number in it.
    """
    ids = []
    for _ in range(2):
        memory = StepMemory(LocalMemory(), "step-1")
        ids.append([await memory.remember("one"), await memory.remember("two")])

    assert ids[0] == ids[1]
    assert 2 == len(set(ids[0]))


@pytest.mark.parametrize(
    ("key", "value"),
    [("", 1), ("x" * 201, 1), ("a\0b", 1), ("a", object()), ("a", "x" * VALUE_BYTES_MAX)],
)
async def test_what_cannot_be_kept_is_the_agents_fault(key: str, value: Any) -> None:
    """
    A key or value beyond the limits, or without a JSON form, names the fault.
    """
    memory = StepMemory(LocalMemory(), "step-1")
    with pytest.raises(agora.AgentDefinitionError):
        await memory.set(key, value)
    with pytest.raises(agora.AgentDefinitionError):
        await memory.remember("  ")
    assert [] == memory.writes


async def test_a_full_memory_says_so() -> None:
    """
    Beyond the bytes or the entries that may be kept a write is refused, and what is replaced makes room.
    """
    source = LocalMemory()
    filling = StepMemory(source, "step-1")
    large = "x" * (VALUE_BYTES_MAX - 100)
    with pytest.raises(agora.InputRejected) as full:
        for number in range(BYTES_MAX // (VALUE_BYTES_MAX - 100) + 1):
            await filling.set(f"key {number}", large)
    assert "memory_full" == full.value.code
    await source.keep(filling.writes)

    again = StepMemory(source, "step-2")
    await again.set("key 0", large)
    await again.delete("key 1")
    await again.set("new", large)
    with pytest.raises(agora.InputRejected):
        await again.set("newer", large)
    assert ENTRIES_MAX > len(filling.writes)


@pytest.mark.parametrize(
    "fields", [{"input": "word", "output": "answer"}, {"input": "text", "output": "word"}]
)
def test_a_conversation_names_fields_that_exist(tmp_path: Path, fields: dict[str, str]) -> None:
    """
    A [conversation] whose field the agent does not have is found before any run.
    """
    section = "[conversation]\n" + "\n".join(f'{name} = "{field}"' for name, field in fields.items()) + "\n"
    with pytest.raises(agora.AgentDefinitionError, match="no field of the"):
        keeper(tmp_path, more=section)
    right = keeper(tmp_path, more='[conversation]\ninput = "text"\noutput = "answer"\n')

    assert {"input": "text", "output": "answer"} == msgspec.to_builtins(right.manifest.conversation)
