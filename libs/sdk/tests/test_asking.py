"""Steps that ask people and call agents, alone: what is asked is answered in its order, or nobody is there."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agora
import pytest
from agora import alone
from agora.answering import Answers
from agora.steps import StepFunction
from agora.suspension import Answer, ApprovalRequest, Decision, InputGiven, Request, Suspended, suspended_in
from langgraph.graph import START, StateGraph


class Input(agora.Input):
    """Nothing: each test has a step of its own."""


class Output(agora.Output):
    """What the step said."""

    text: str


@dataclass(kw_only=True)
class State:
    """Only what every state has."""

    input: Input
    output: Output | None = None


type Step = StepFunction[State]

passes: list[str] = []


@agora.tool(title="Send the letter", approval="always")
async def send(to: str) -> str:
    """Send a letter."""
    return f"sent to {to}"


@agora.step(title="Asks twice")
async def asks_twice(state: State, context: agora.Context) -> dict[str, object]:
    """Two questions, one after the other."""
    passes.append("first")
    context.usage("questions", 1)
    first = await context.approve("Go on", arguments={"how": "slowly"})
    passes.append("second")
    number = await context.ask("How many?", int)
    return {"output": Output(text=f"{first.approved} {first.arguments['how']} {number}")}


@agora.step(title="Asks in a group", retry="none")
async def asks_in_a_group(state: State, context: agora.Context) -> dict[str, object]:
    """Two questions at once, behind a handler of every exception."""
    try:
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(context.approve(f"Do {number}")) for number in range(2)]
    except Exception:
        return {"output": Output(text="swallowed")}
    return {"output": Output(text=" ".join(str(one.result().approved) for one in asked))}


@agora.step(title="Uses a tool", retry="none")
async def uses_a_tool(state: State, context: agora.Context) -> dict[str, object]:
    """A tool whose policy asks."""
    return {"output": Output(text=await context.use(send, to="all"))}


@agora.step(title="Calls", retry="none")
async def calls(state: State, context: agora.Context) -> dict[str, object]:
    """Agents that are there, and one that is not."""
    results = await context.call_all(
        [
            agora.AgentCall(package="echo", input={"text": "one"}),
            agora.AgentCall(package="echo", input={"text": "two", "fail": "rejected"}),
            agora.AgentCall(package="nowhere", input={}),
        ]
    )
    said = [str((result.output or {}).get("text") or result.code) for result in results]
    return {"output": Output(text=" ".join(said))}


@agora.step(title="Calls what it may not", retry="none")
async def calls_unlisted(state: State, context: agora.Context) -> dict[str, object]:
    """An agent that the manifest does not name."""
    await context.call("data-processor", {})
    return {}


def agent_of(step: Step, folder: Path) -> agora.Agent:
    """An agent of one step."""
    manifest = Path(__file__).with_name("agent.toml").read_text()
    folder.mkdir(exist_ok=True)
    text = manifest.replace("[permissions]", '[permissions]\nagents = ["echo", "nowhere"]')
    if "[permissions]" not in manifest:
        text = manifest + '\n[permissions]\nagents = ["echo", "nowhere"]\n'
    (folder / "agent.toml").write_text(text)

    def graph() -> StateGraph[State]:
        built = StateGraph(State)
        built.add_node("step", step)
        built.add_edge(START, "step")
        return built

    return agora.Agent(str(folder / "agent.py"), input=Input, output=Output, state=State, graph=graph)


async def text_of(step: Step, tmp_path: Path, answers: Answers | None = None) -> tuple[str, Any]:
    """What the step said, and the result of its run."""
    agent = agent_of(step, tmp_path / "agent")
    done = await alone.run(agent, {}, base=tmp_path, out=tmp_path / "out", cache=tmp_path, answers=answers)
    return done.output.text, done


async def test_each_question_finds_its_answer(tmp_path: Path) -> None:
    """
    A step that asks is called again from its beginning with the answers so far; its usage counts once.
    """
    passes.clear()
    asked: list[Request] = []

    def answers(request: Request) -> Answer:
        asked.append(request)
        if len(asked) == 1:
            return Decision(approved=True, arguments={"how": "fast"})
        return InputGiven(given=True, value=3)

    text, done = await text_of(asks_twice, tmp_path, answers)

    assert "True fast 3" == text
    assert ["first", "first", "second", "first", "second"] == passes
    assert [1] == [used.quantity for used in done.usage if used.meter == "questions"]


async def test_nobody_is_there(tmp_path: Path) -> None:
    """
    Alone, an approval is decided as at its deadline, and a question that nobody answers fails the run.
    """
    with pytest.raises(agora.RunFailed) as failed:
        await text_of(asks_twice, tmp_path)

    assert "input_missing" == failed.value.code


async def test_questions_at_once_are_answered_one_by_one(tmp_path: Path) -> None:
    """
    Out of a task group, and past a handler of every exception, a question still reaches whoever answers.
    """
    text, _ = await text_of(asks_in_a_group, tmp_path, lambda _: Decision(approved=True))

    assert "True True" == text


@pytest.mark.parametrize("approved", [True, False])
async def test_a_tool_that_asks_is_used_when_approved(tmp_path: Path, approved: bool) -> None:
    """
    Not approved, the run fails with that reason.
    """
    decision = Decision(approved=approved, arguments={"to": "some"}, comment="not all")
    if approved:
        text, _ = await text_of(uses_a_tool, tmp_path, lambda _: decision)
        assert "sent to some" == text
        return
    with pytest.raises(agora.RunFailed) as failed:
        await text_of(uses_a_tool, tmp_path, lambda _: decision)
    assert "tool_rejected" == failed.value.code


async def test_agents_that_are_installed_are_called(tmp_path: Path) -> None:
    """
    A call that fails is a result like any other; an agent that is not installed is told.
    """
    text, _ = await text_of(calls, tmp_path)

    assert "one asked_to_reject not_found" == text


async def test_an_agent_that_is_not_named_is_not_called(tmp_path: Path) -> None:
    """
    What the manifest does not ask for, a step does not get.
    """
    with pytest.raises(agora.PermissionNotGranted, match="agents"):
        await text_of(calls_unlisted, tmp_path)


def test_the_first_of_several_suspensions_counts() -> None:
    """
    Of several questions in a group the one that was asked first is answered first; other errors are none.
    """
    request = ApprovalRequest(action="x")
    first, second = Suspended(request, 0), Suspended(request, 1)
    group = BaseExceptionGroup("both", [second, BaseExceptionGroup("inner", [first])])

    assert first is suspended_in(group)
    assert suspended_in(ValueError()) is None
