"""The commands of an agent's author: new, validate, run, eval."""

import asyncio
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agora.agent import Agent
from agora.cli import show
from agora.cli.inputs import base_of, read_json
from agora.cli.prices import price_text
from agora.cli.scaffold import ScaffoldRefused, scaffold
from agora.context import Progress
from agora.errors import AgentDefinitionError, AgoraError, RunFailed
from agora.loading import load_agent

# What runs agents (LangGraph) is imported where an agent is run: the other commands need not wait for it.
if TYPE_CHECKING:
    from agora.cli.evaluate import Summary

NOTE_EVERY_SECONDS = 1.0

Folder = Annotated[Path, typer.Argument(help="The agent's folder.", metavar="DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log failed attempts with their tracebacks.")]
ConfigOption = Annotated[
    str | None, typer.Option("--config", help="The deployment's configuration: JSON, or @FILE.")
]


def new(
    name: Annotated[str, typer.Argument(help="The agent's id, such as my-agent.")],
    parent: Annotated[Path, typer.Option("--dir", help="Where to make its folder.")] = Path(),
) -> None:
    """Make the folder of a new agent, which already runs."""
    try:
        target = scaffold(name, parent)
    except ScaffoldRefused as error:
        show.fail(str(error), show.MISUSED)
    except OSError as error:
        show.fail(f"{error.filename}: {error.strerror}")
    show.out.print(f"Made {target}. Next: agora validate {target}")


def validate(folder: Folder = Path(), as_json: AsJson = False) -> None:
    """Check an agent: manifest, types, graph, and its own health check."""
    from agora import alone

    agent = _load(folder)
    try:
        tools = asyncio.run(alone.check_health(agent))
    except AgentDefinitionError as error:
        show.fail(str(error))
    manifest = agent.manifest
    if as_json:
        steps = {name: definition.title for name, definition in agent.nodes.items()}
        show.json_value({"id": agent.id, "version": manifest.version, "steps": steps, "tools": tools})
    else:
        show.out.print(f"{agent.id} {manifest.version} is a valid agent ({agent.manifest_path}).")
        show.table(("step", "title"), [(name, step.title) for name, step in agent.nodes.items()])
        prices = [(price.basis, price_text(price), price.meter or "") for price in manifest.prices]
        show.table(("basis", "USD", "meter"), prices)
        if tools:
            show.table(("tool", "works"), [(tool, "yes" if works else "NO") for tool, works in tools.items()])
    if not all(tools.values()):
        show.fail(
            f"These tools do not work: {', '.join(tool for tool, works in tools.items() if not works)}."
        )


def run(
    folder: Folder = Path(),
    given: Annotated[str, typer.Option("--input", help="The input: JSON, or @FILE.")] = "{}",
    config: ConfigOption = None,
    files_out: Annotated[Path, typer.Option(help="Where delivered files go.")] = Path("agora-out"),
    memory: Annotated[
        Path | None, typer.Option(help="The folder of what the agent remembers from run to run.")
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Run an agent once, here, with no platform. FileRefs start from the current folder."""
    from agora import alone
    from agora.models import LocalModels

    _log(verbose)
    agent = _load(folder)
    run_input = read_json(given, "--input")
    configured = None if config is None else read_json(config, "--config")

    def watch(title: str, progress: Progress) -> None:
        part = "" if progress.fraction is None else f" ({progress.fraction:.0%})"
        show.note(f"{title}: {progress.message}{part}")

    async def execute() -> alone.AloneResult:
        deployment = await alone.deploy(agent, configured, base=base_of(config), memory=memory)
        return await deployment.run(
            run_input,
            base=Path.cwd(),
            out=files_out,
            models=LocalModels(),
            on_progress=watch,
            on_text=lambda written: show.piece(written.text),
        )

    try:
        result = asyncio.run(execute())
    except AgoraError as error:
        _fail_run(error, as_json)
    if as_json:
        show.json_value({"output": result.output, "steps": result.steps, "usage": result.usage})
        return
    for step in result.steps:
        visit = "" if step.visit == 1 else f", visit {step.visit}"
        show.note(f"done: {step.title} ({step.node}{visit})")
    for used in result.usage:
        show.note(f"used: {used.quantity} {used.meter}")
    show.json_pretty(result.output)


def evaluate_cases(
    folder: Folder,
    cases: Annotated[Path, typer.Option(help='Lines of {"id", "input"}.', exists=True, dir_okay=False)],
    out: Annotated[
        Path, typer.Option(help='Lines of {"id", "output"} or {"id", "error"}, in the same order.')
    ],
    config: Annotated[
        Path | None, typer.Option(help="The deployment's configuration.", exists=True, dir_okay=False)
    ] = None,
    files_out: Annotated[Path, typer.Option(help="Where delivered files go.")] = Path("agora-out"),
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Cases at work at once.")] = 4,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Run many cases in one process. FileRefs start from the folder of the cases, or of the config."""
    _log(verbose)
    agent = _load(folder)
    configured = None if config is None else read_json(f"@{config}", "--config")
    started = time.monotonic()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        summary = asyncio.run(
            _evaluate(
                agent,
                configured,
                base_of(f"@{config}" if config else None),
                cases,
                out,
                files_out,
                concurrency,
            )
        )
    except AgoraError as error:
        _fail_run(error, as_json)
    except OSError as error:
        show.fail(f"{error.filename}: {error.strerror}")
    seconds = round(time.monotonic() - started, 3)
    show.note(f"{summary.cases} cases, {summary.failed} with an error, {seconds} s: {out}")
    if as_json:
        show.json_value({"cases": summary.cases, "failed": summary.failed, "seconds": seconds})


async def _evaluate(
    agent: Agent, config: Any, config_base: Path, cases: Path, out: Path, files_out: Path, concurrency: int
) -> "Summary":
    from agora import alone
    from agora.cli.evaluate import evaluate
    from agora.models import LocalModels

    def preparing(progress: Progress) -> None:
        show.note(f"preparing: {progress.message}")

    last = time.monotonic()

    def done(summary: "Summary") -> None:
        nonlocal last
        if time.monotonic() - last >= NOTE_EVERY_SECONDS:
            last = time.monotonic()
            show.note(f"{summary.cases} cases, {summary.failed} with an error")

    deployment = await alone.deploy(agent, config, base=config_base, on_progress=preparing)
    with cases.open("rb") as lines, out.open("wb") as results:
        return await evaluate(
            deployment,
            lines,
            results,
            base=base_of(f"@{cases}"),
            files_out=files_out,
            concurrency=concurrency,
            models=LocalModels(),
            on_result=done,
        )


def _load(folder: Path) -> Agent:
    try:
        return load_agent(folder)
    except AgentDefinitionError as error:
        show.fail(str(error))


def _fail_run(error: AgoraError, as_json: bool) -> None:
    if isinstance(error, RunFailed):
        if as_json:
            show.json_value({"error": {"code": error.code, "detail": error.detail, "place": error.place}})
        show.fail(f"{error.code}: {error}")
    show.fail(str(error))


def _log(verbose: bool) -> None:
    logging.basicConfig(level=logging.INFO if verbose else logging.CRITICAL, stream=sys.stderr)
