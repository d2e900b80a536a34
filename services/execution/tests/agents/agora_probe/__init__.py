"""An agent for tests: parallel and long steps, a prepared configuration, and every kind of misbehaviour."""

import asyncio
import operator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import agora
import msgspec
from agora import FileRef
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from msgspec import Meta

Deed = Literal[
    "nothing", "hang", "null_character", "large_update", "large_output", "unknown_field", "no_output",
    "broken_router", "ask", "ask_twice", "search", "save", "read", "dig_slowly", "approve", "approve_twice", "question",
    "call", "call_twice", "call_itself", "call_unlisted", "use", "ask_then_approve", "look",
    "fail_together", "reject_together", "blame_itself", "approve_held_back",
]  # fmt: skip


class Input(agora.Input):
    """What the probe is to do."""

    text: str
    do: Deed = "nothing"
    parts: Annotated[int, Meta(ge=0, le=20)] = 0
    long: bool = False
    file: FileRef | None = None
    seconds: int = 3600
    on_deadline: Literal["reject", "approve"] = "reject"
    decider: Literal["customer", "operator"] = "customer"
    calls: list[dict[str, Any]] = msgspec.field(default_factory=list)
    concurrency: int = 10

    def __post_init__(self) -> None:
        """A rule that no JSON Schema can state."""
        if self.text != self.text.strip():
            raise ValueError("`text` must not begin or end with a space")


class Output(agora.Output):
    """What it did."""

    text: str
    word: str = ""
    parts: list[int] = msgspec.field(default_factory=list)
    file: FileRef | None = None
    large: str = ""


class Config(agora.Config):
    """A word that is prepared into an artifact, or a preparation that fails."""

    word: str = ""
    file: FileRef | None = None
    prepare: Literal["works", "rejects", "waits"] = "works"


@dataclass(kw_only=True)
class State:
    """The probe's state; parallel parts append to `parts`."""

    input: Input
    output: Output | None = None
    parts: Annotated[list[int], operator.add] = field(default_factory=list)
    said: str = ""
    file: str | None = None


@dataclass(kw_only=True)
class Part:
    """What one parallel part works on."""

    number: int


@agora.tool(title="Send a letter", approval="always")
async def letter(to: str) -> str:
    """Send a letter."""
    return f"sent to {to}"


async def _fails(error: Exception, *, itself: bool = False) -> None:
    if itself:
        raise error from error
    raise error


def _told(result: agora.CallResult) -> str:
    output = result.output or {}
    return f"{result.outcome} {output.get('text') or result.code}"


@agora.step(title="Plan", timeout_seconds=0.5, retry="none")
async def plan(state: State, context: agora.Context) -> dict[str, Any]:
    """Misbehave as asked, or use a port."""
    context.usage("plans", 1)
    match state.input.do:
        case "hang":
            await asyncio.sleep(60)
        case "null_character":
            return {"said": "before\x00after"}
        case "large_update":
            return {"said": "x" * 3_000_000}
        case "unknown_field":
            return {"surprise": 1}
    return {}


@agora.step(title="Work", retry="none")
async def work(state: State, context: agora.Context) -> dict[str, Any]:
    """Use the platform's ports as asked."""
    match state.input.do:
        case "ask" | "ask_twice":
            asked = [agora.Message(role="user", content=state.input.text)]
            try:
                for _ in range(2 if state.input.do == "ask_twice" else 1):
                    reply = await context.models.chat(asked, max_tokens=100)
            except agora.ModelUnavailable as error:
                return {"said": f"no model: {error}"}
            return {"said": reply.text}
        case "ask_then_approve":
            drafted = await context.models.chat(
                [agora.Message(role="user", content=state.input.text)], max_tokens=100
            )
            decision = await context.approve(f"Send {drafted.text!r}")
            return {"said": f"{drafted.text}: {decision.approved}"}
        case "look":
            seen = [agora.Message(role="user", content=[agora.Image(state.input.file or "")])]
            return {"said": (await context.models.chat(seen, capability="vision", max_tokens=100)).text}
        case "approve" | "approve_twice":
            said = []
            for number in range(2 if state.input.do == "approve_twice" else 1):
                context.usage("questions", 1)
                decision = await context.approve(
                    f"Send letter {number}",
                    arguments={"to": "all"},
                    reason="It cannot be taken back.",
                    decider=state.input.decider,
                    timeout_seconds=state.input.seconds,
                    on_deadline=state.input.on_deadline,
                )
                said.append(f"{decision.approved} {decision.arguments['to']} {decision.comment}".strip())
            return {"said": ", ".join(said)}
        case "approve_held_back":
            [held] = await asyncio.gather(context.approve("Send it"), return_exceptions=True)
            return {"said": f"{held.approved}" if isinstance(held, agora.Decision) else "not decided"}
        case "question":
            number = await context.ask("How many?", int, timeout_seconds=state.input.seconds)
            return {"said": f"{number + 1}"}
        case "call" | "call_twice":
            calls = [agora.AgentCall(**call) for call in state.input.calls]
            results = await context.call_all(calls, concurrency=state.input.concurrency)
            if state.input.do == "call_twice":
                results = await context.call_all(calls[1:] * 2)
            return {"said": ", ".join(_told(result) for result in results)}
        case "call_itself":
            result = await context.call("probe", {"text": "again", "do": "call_itself"})
            return {"said": _told(result)}
        case "call_unlisted":
            await context.call("knowledge-base", {"query": "?"})
        case "use":
            return {"said": await context.use(letter, to=state.input.text)}
        case "fail_together":
            async with asyncio.TaskGroup() as group:
                for _ in range(2):
                    group.create_task(_fails(ValueError("broken")))
        case "reject_together":
            async with asyncio.TaskGroup() as group:
                group.create_task(_fails(agora.InputRejected("too_short", "Write more.")))
        case "blame_itself":
            await _fails(ValueError("broken"), itself=True)
        case "search":
            await context.knowledge.index("notes", [agora.Passage(id="1", text=state.input.text)])
            hits = await context.knowledge.search("notes", state.input.text, 3)
            await context.knowledge.drop("notes")
            return {"said": ",".join(hit.id for hit in hits)}
        case "save":
            saved = await context.files.save(
                state.input.text.encode(), name="../report .txt", content_type="text/plain"
            )
            return {"file": saved}
        case "read":
            path = await context.files.open(state.input.file or "")
            info = await context.files.info(state.input.file or "")
            return {"said": f"{info.name}: {await asyncio.to_thread(path.read_text)}"}
    return {}


@agora.step(title="Do a part")
async def part(state: Part, context: agora.Context) -> dict[str, Any]:
    """One of the parallel parts."""
    context.usage("parts", 1, number=str(state.number))
    return {"parts": [state.number]}


@agora.step(title="Dig", long=True, timeout_seconds=30)
async def dig(state: State, context: agora.Context) -> dict[str, Any]:
    """A step with a heartbeat."""
    if state.input.do == "dig_slowly":
        await asyncio.sleep(20)
    context.usage("digs", "0.5")
    return {}


@agora.step(title="Finish")
async def finish(state: State, context: agora.Context) -> dict[str, Any]:
    """Deliver what was found."""
    context.usage("tasks", 1)
    if state.input.do == "no_output":
        return {}
    return {
        "output": Output(
            text=state.said or state.input.text,
            word=context.prepared or "",
            parts=sorted(state.parts),
            file=state.file,
            large="y" * 2_000_000 if state.input.do == "large_output" else "",
        )
    }


async def spread(state: State) -> Any:
    """Parallel parts, or straight on."""
    if state.input.do == "broken_router":
        raise KeyError("the router of the probe is broken")
    if state.input.parts:
        return [Send("part", Part(number=number)) for number in range(state.input.parts)]
    return "dig" if state.input.long else "finish"


def graph() -> StateGraph[State]:
    """Plan, work, then parts in parallel, a long step, or neither, and finish."""
    built = StateGraph(State)
    for name, node in (("plan", plan), ("work", work), ("dig", dig), ("finish", finish)):
        built.add_node(name, node)
    built.add_node("part", part, input_schema=Part)
    built.add_edge(START, "plan")
    built.add_edge("plan", "work")
    built.add_conditional_edges("work", spread, ["part", "dig", "finish"])
    built.add_edge("part", "finish")
    built.add_edge("dig", "finish")
    built.add_edge("finish", END)
    return built


async def prepare(config: Config, folder: Path, context: agora.PrepareContext) -> None:
    """Write the word into the artifact."""
    if config.prepare == "rejects":
        raise agora.InputRejected("word_refused", "This word cannot be prepared.", "$.word")
    if config.prepare == "waits":
        await asyncio.sleep(1)
    word = config.word
    if config.file is not None:
        word = await asyncio.to_thread((await context.files.open(config.file)).read_text)
    await asyncio.to_thread((folder / "word.txt").write_text, word)


def load(config: Config, folder: Path) -> str:
    """The prepared word."""
    return (folder / "word.txt").read_text()


async def health(context: agora.HealthContext) -> dict[str, bool]:
    """Both tools of the probe work."""
    return {"hammer": True, "saw": True}


agent = agora.Agent(
    __file__,
    input=Input,
    output=Output,
    state=State,
    config=Config,
    graph=graph,
    prepare=prepare,
    load=load,
    health=health,
)
