"""Steps that ask people and call agents, alone: what is asked is answered in its order, or nobody is there."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import agora
import msgspec
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


class Payee(msgspec.Struct):
    """Who is paid."""

    name: str


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


@agora.tool(title="Pay", approval="always")
async def pay(amount: Decimal, on: date, to: Payee, note: str = "none") -> str:
    """Pay an amount."""
    return f"{amount + 1} {on:%d.%m.%Y} {to.name} {note}"


@agora.step(title="Pays", retry="none")
async def pays(state: State, context: agora.Context) -> dict[str, object]:
    """A tool whose arguments JSON has no types for."""
    paid = await context.use(
        pay, amount=Decimal("1.50"), on=date(2026, 12, 1), to=Payee(name="Ann"), note="hurry"
    )
    return {"output": Output(text=paid)}


@agora.step(title="Pays wrongly", retry="none")
async def pays_wrongly(state: State, context: agora.Context) -> dict[str, object]:
    """What does not fit the tool itself."""
    return {"output": Output(text=await context.use(pay, amount="much", on=None, to=Payee(name="Ann")))}


@agora.step(title="Holds a question back", retry="none")
async def holds_back(state: State, context: agora.Context) -> dict[str, object]:
    """A question among what is gathered together with its errors."""
    [one] = await asyncio.gather(context.approve("Go on"), return_exceptions=True)
    text = f"{one.approved}" if isinstance(one, Decision) else await context.use(tell, text="early")
    return {"output": Output(text=text)}


@agora.tool(title="Tell")
async def tell(text: str) -> str:
    """Do something that must not happen before the answer."""
    passes.append(text)
    return text


@agora.step(title="Rejects in a group", retry="default")
async def rejects_in_a_group(state: State, context: agora.Context) -> dict[str, object]:
    """A task group in which one task rejects the input."""

    async def rejects() -> None:
        passes.append("tried")
        raise agora.InputRejected("too_short", "Write more.")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(rejects())
    return {}


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


async def test_what_is_approved_comes_in_the_tools_own_types(tmp_path: Path) -> None:
    """
    What was decided on comes back as JSON, changed or not; the tool gets what it would get if nobody were asked. What
    it can do without may be dropped.
    """
    asked: list[ApprovalRequest] = []

    def decide(change: dict[str, Any], drop: str | None = None) -> Callable[[Request], Decision]:
        def answer(request: Request) -> Decision:
            assert isinstance(request, ApprovalRequest)
            asked.append(request)
            plain = msgspec.json.decode(msgspec.json.encode(request.arguments)) | change
            plain.pop(drop, None)
            return Decision(approved=True, arguments=plain)

        return answer

    text, _ = await text_of(pays, tmp_path, decide({}))
    assert "2.50 01.12.2026 Ann hurry" == text
    text, _ = await text_of(pays, tmp_path, decide({"amount": "3"}, drop="note"))
    assert "4 01.12.2026 Ann none" == text
    assert ["amount", "on", "to"] == asked[0].schema["$defs"]["pay"]["required"]  # type: ignore[index]


@pytest.mark.parametrize("change", [{"amount": "much"}, {"to": {"name": 5}}, {"extra": 1}, {"on": None}])
async def test_a_decision_that_does_not_fit_the_tool_rejects(tmp_path: Path, change: dict[str, Any]) -> None:
    """
    The run ends with a reason that says what does not fit; the tool is not used.
    """

    def answer(request: Request) -> Decision:
        assert isinstance(request, ApprovalRequest)
        return Decision(
            approved=True, arguments=msgspec.json.decode(msgspec.json.encode(request.arguments)) | change
        )

    with pytest.raises(agora.RunFailed) as failed:
        await text_of(pays, tmp_path, answer)
    assert "tool_arguments" == failed.value.code
    with pytest.raises(agora.RunFailed, match=r"\$|required"):
        await text_of(pays, tmp_path, lambda _: Decision(approved=True, arguments={}))


async def test_nobody_is_asked_about_what_does_not_fit_the_tool_itself(tmp_path: Path) -> None:
    """
    The agent's own mistake is told before a person decides on it.
    """
    with pytest.raises(agora.AgentDefinitionError, match="does not fit"):
        await text_of(pays_wrongly, tmp_path, lambda _: pytest.fail("somebody was asked"))


async def test_a_question_that_is_held_back_is_answered_all_the_same(tmp_path: Path) -> None:
    """
    Gathered together with errors, a question still reaches whoever answers, and no tool is used before.
    """
    passes.clear()
    text, _ = await text_of(holds_back, tmp_path, lambda _: Decision(approved=True))

    assert ("True", []) == (text, passes)


async def test_what_a_task_group_rejects_is_not_tried_again(tmp_path: Path) -> None:
    """
    Out of a task group, too, a rejection is the reason why the run fails.
    """
    passes.clear()
    with pytest.raises(agora.RunFailed) as failed:
        await text_of(rejects_in_a_group, tmp_path)

    assert ("too_short", ["tried"]) == (failed.value.code, passes)


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
