"""Runs without a platform: retries, timeouts, permissions, usage, and what a failed run says."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import agora
import pytest
from agora import alone
from langgraph.graph import START, StateGraph


class Input(agora.Input):
    """How the one step behaves."""

    behave: str = "work"
    file: agora.FileRef | None = None


class Output(agora.Output):
    """What the step said."""

    text: str


@dataclass(kw_only=True)
class State:
    """Only what every state has."""

    input: Input
    output: Output | None = None


class Unexpected(Exception):
    """A fault that the agent did not foresee."""


async def _behave(state: State, context: agora.Context) -> dict[str, object]:
    context.usage("attempts", 1)
    behaviour = state.input.behave
    if behaviour == "crash" or (behaviour == "crash twice" and context.attempt < 3):
        raise Unexpected("the disk is on fire")
    if behaviour == "busy once" and context.attempt == 1:
        raise agora.Retryable("the vendor is busy", after_seconds=7)
    if behaviour == "reject":
        raise agora.InputRejected("no_text", "The file holds no text.", "a.txt:1")
    if behaviour == "hang":
        await asyncio.sleep(3600)
    if behaviour == "unknown field":
        return {"nothing": 1}
    if behaviour == "wrong type":
        return {"output": {"text": 5}}
    if behaviour == "float":
        context.usage("tasks", 0.1)  # type: ignore[arg-type]
    if behaviour == "open":
        path = await context.files.open(str(state.input.file))
        return {"output": Output(text=path.read_text())}
    if behaviour == "save":
        return {
            "output": Output(text=await context.files.save(b"done", name="a.txt", content_type="text/plain"))
        }
    context.usage("tasks", "0.5", kind="half")
    return {"output": Output(text=context.mode)}


@agora.step(title="Default")
async def default_step(state: State, context: agora.Context) -> dict[str, object]:
    """Under the default policy."""
    return await _behave(state, context)


@agora.step(title="Patient", retry="patient")
async def patient_step(state: State, context: agora.Context) -> dict[str, object]:
    """Under the patient policy."""
    return await _behave(state, context)


@agora.step(title="Once", retry="none", timeout_seconds=0.05)
async def once_step(state: State, context: agora.Context) -> dict[str, object]:
    """Never tried again, and quickly timed out."""
    return await _behave(state, context)


def _graph_of(step: Any) -> StateGraph[State]:
    graph = StateGraph(State)
    graph.add_node("only", step)
    graph.add_edge(START, "only")
    return graph


def default_graph() -> StateGraph[State]:
    """The step under the default policy."""
    return _graph_of(default_step)


def patient_graph() -> StateGraph[State]:
    """The step under the patient policy."""
    return _graph_of(patient_step)


def once_graph() -> StateGraph[State]:
    """The step that is never tried again."""
    return _graph_of(once_step)


type Runner = Callable[..., Awaitable[alone.AloneResult]]


@pytest.fixture
def waits() -> list[float]:
    """The waits between attempts, recorded instead of slept."""
    return []


@pytest.fixture
def run(tmp_path: Path, waits: list[float]) -> Runner:
    """Runs a graph on an input; the base folder is `tmp_path / "base"`."""

    async def no_sleep(seconds: float) -> None:
        waits.append(seconds)

    async def run_one(graph: Callable[[], StateGraph[State]], **given: object) -> alone.AloneResult:
        agent = agora.Agent(__file__, input=Input, output=Output, state=State, graph=graph)
        base = tmp_path / "base"
        base.mkdir(exist_ok=True)
        return await alone.run(
            agent, given, base=base, out=tmp_path / "out", cache=tmp_path / "cache", sleep=no_sleep
        )

    return run_one


async def test_a_failed_attempt_leaves_no_usage(run: Runner, waits: list[float]) -> None:
    """
    A step that succeeds at the third attempt counts as one step, with the usage of that attempt alone.
    """
    result = await run(default_graph, behave="crash twice")

    assert [step.attempt for step in result.steps] == [3]
    assert [(used.meter, used.quantity) for used in result.usage] == [
        ("attempts", Decimal(1)),
        ("tasks", Decimal("0.5")),
    ]
    assert waits == [1, 2]


async def test_usage_keeps_its_dimensions(run: Runner) -> None:
    """
    Dimensions of a usage come out as strings beside the exact quantity.
    """
    result = await run(default_graph)

    assert result.usage[-1] == agora.Usage(
        meter="tasks", quantity=Decimal("0.5"), dimensions={"kind": "half"}
    )


async def test_the_patient_policy_waits_longer_each_time(run: Runner, waits: list[float]) -> None:
    """
    The patient policy tries eight times, doubling its waits up to a minute.
    """
    with pytest.raises(agora.RunFailed):
        await run(patient_graph, behave="crash")

    assert waits == [2, 4, 8, 16, 32, 60, 60]


async def test_a_step_may_say_how_long_to_wait(run: Runner, waits: list[float]) -> None:
    """
    `Retryable` with `after_seconds` sets the wait before the next attempt.
    """
    await run(default_graph, behave="busy once")

    assert waits == [7]


async def test_a_rejected_input_is_not_tried_again(run: Runner, waits: list[float]) -> None:
    """
    `InputRejected` ends the run at once, with its own code, reason and place.
    """
    with pytest.raises(agora.RunFailed) as caught:
        await run(default_graph, behave="reject")

    assert (caught.value.code, caught.value.detail, caught.value.place) == (
        "no_text",
        "The file holds no text.",
        "a.txt:1",
    )
    assert waits == []


async def test_a_step_that_hangs_is_timed_out(run: Runner) -> None:
    """
    An attempt that takes longer than the step's timeout fails the run, once its policy is used up.
    """
    with pytest.raises(agora.RunFailed, match="'Once' was tried once and took too long"):
        await run(once_graph, behave="hang")


@pytest.mark.parametrize(
    ("behave", "message"),
    [
        ("unknown field", "returned 'nothing', which is no field of State"),
        ("wrong type", "returned 'output' of a wrong type"),
    ],
)
async def test_a_wrong_update_names_the_step_and_the_field(run: Runner, behave: str, message: str) -> None:
    """
    An update that does not fit the state is a fault of the agent, told to its author.
    """
    with pytest.raises(agora.AgentDefinitionError, match=message):
        await run(default_graph, behave=behave)


async def test_a_float_quantity_fails_the_step(run: Runner) -> None:
    """
    A float is never taken as a quantity: it would bill a rounding error.
    """
    with pytest.raises(agora.RunFailed, match="must be an int, Decimal or string"):
        await run(once_graph, behave="float")


@pytest.mark.parametrize("quantity", ["-1", "NaN", "Infinity", "x", "1e16", "0.0000000001"])
def test_a_quantity_is_a_bounded_decimal(quantity: str) -> None:
    """
    Quantities that are negative, not numbers, too large or too fine are refused.
    """
    context = agora.Context(
        run_id="run_1", step_id="s", attempt=1, config=None, prepared=None,
        files=None, knowledge=None, models=None,  # type: ignore[arg-type]
    )  # fmt: skip

    with pytest.raises(ValueError, match="The quantity of 'tasks'"):
        context.usage("tasks", quantity)


async def test_files_are_read_from_the_base_folder(run: Runner, tmp_path: Path) -> None:
    """
    A FileRef is a path relative to the base folder.
    """
    (tmp_path / "base" / "in").mkdir(parents=True)
    (tmp_path / "base" / "in" / "a.txt").write_text("hello")

    result = await run(default_graph, behave="open", file="in/a.txt")

    assert result.output.text == "hello"


@pytest.mark.parametrize(
    ("ref", "code"),
    [
        ("../secret.txt", "file_outside"),
        ("in/../../secret.txt", "file_outside"),
        ("/etc/passwd", "file_outside"),
        ("link.txt", "file_outside"),
        ("missing.txt", "file_not_found"),
        ("a\0b", "file_not_found"),
        ("", "file_not_found"),
        (".", "not_a_file"),
        ("x" * 5000, "file_not_found"),
    ],
)
async def test_no_file_outside_the_base_folder_is_opened(
    run: Runner, tmp_path: Path, ref: str, code: str
) -> None:
    """
    Traversal, absolute paths, links that lead out and things that are no files are refused by name.
    """
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "link.txt").symlink_to(tmp_path / "secret.txt")

    with pytest.raises(agora.RunFailed) as caught:
        await run(default_graph, behave="open", file=ref)

    assert caught.value.code == code


async def test_saved_files_go_to_the_output_folder(run: Runner, tmp_path: Path) -> None:
    """
    What a run saves lies in the output folder under its name, which is its reference.
    """
    result = await run(default_graph, behave="save")

    assert (tmp_path / "out" / result.output.text).read_bytes() == b"done"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\0b", "x" * 256])
async def test_a_saved_name_is_a_plain_name(tmp_path: Path, name: str) -> None:
    """
    A name that would leave the output folder, or that no file system takes, is refused.
    """
    from agora.files import LocalFiles

    with pytest.raises(ValueError, match="plain name"):
        await LocalFiles(tmp_path, tmp_path).save(b"", name=name, content_type="text/plain")


async def test_a_wrong_input_names_the_field(run: Runner) -> None:
    """
    An input that does not fit its schema is refused with the JSON path.
    """
    with pytest.raises(agora.RunFailed) as caught:
        await run(default_graph, behave=3)

    assert (caught.value.code, caught.value.place) == ("invalid_input", "$.behave")


async def test_without_a_model_the_mode_is_baseline(run: Runner) -> None:
    """
    Where no model is given, a step sees the mode "baseline".
    """
    result = await run(default_graph)

    assert result.output.text == "baseline"
