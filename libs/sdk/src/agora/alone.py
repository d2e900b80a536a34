"""Running an agent with no platform: the same graph runner, folders for files, the author's own keys.

`agora run`, `agora eval`, the tests of agents and the conformance test all go through here.
"""

import asyncio
import hashlib
import logging
import os
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from agora import answering, graph_runner, loading, prepared, state_codec
from agora.agent import Agent
from agora.answering import Answers
from agora.blackboard import LocalBlackboard
from agora.context import Context, HealthContext, PrepareContext, Progress, Usage
from agora.conversation import GivenConversation
from agora.errors import AgentDefinitionError, InputRejected, PermissionNotGranted, Retryable, RunFailed
from agora.file_refs import file_refs
from agora.files import LocalFiles
from agora.graph_runner import NodeCall
from agora.knowledge import LocalKnowledge
from agora.live import OnText
from agora.local_memory import LocalMemory
from agora.memory import NoMemory, StepMemory, writes_of
from agora.permissions import NoModels, granted
from agora.ports import Message, Models
from agora.retries import POLICIES
from agora.schemas import Input, Output
from agora.steps import StepDefinition
from agora.suspension import AgentCall, Answer, Suspended, suspended_in
from agora.unwrapping import unwrapped

log = logging.getLogger("agora.alone")

type Sleep = Callable[[float], Awaitable[None]]
type OnProgress = Callable[[str, Progress], None]
"""Gets a step's title and what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTaken:
    """One logical step of a run: what it was, which attempt counted, and the usage it recorded."""

    node: str
    title: str
    visit: int
    branch: str
    attempt: int
    usage: list[Usage]


@dataclass(frozen=True, slots=True, kw_only=True)
class AloneResult:
    """What a run gave. `steps` stand in the order in which they ended; `usage` is theirs in that order."""

    output: Any
    steps: list[StepTaken]
    run: str = ""

    @property
    def usage(self) -> list[Usage]:
        """All usage of the run."""
        return [used for step in self.steps for used in step.usage]


@dataclass(slots=True, kw_only=True)
class Deployment:
    """An agent with a configuration, prepared and loaded: what `agora eval` makes once for all its cases."""

    agent: Agent
    config: Any
    prepared: Any
    knowledge: LocalKnowledge
    memory: LocalMemory
    config_files: dict[str, Path]
    sleep: Sleep = asyncio.sleep

    async def run(
        self,
        run_input: Any,
        *,
        base: Path,
        out: Path,
        subfolder: str = "",
        models: Models | None = None,
        on_progress: OnProgress | None = None,
        on_text: OnText | None = None,
        answers: Answers | None = None,
        path: tuple[str, ...] = (),
        conversation: Sequence[Message] = (),
        blackboard: LocalBlackboard | None = None,
    ) -> AloneResult:
        """Run one input, typed or of plain JSON types.

        Its FileRefs start from `base`; files that it delivers go to `subfolder` in `out`. `on_text` gets what its steps
        write while they work. `answers` decides what a
        step asks people for; without it nobody is there. `path` names the agents that called this one;
        `conversation` is what was said before, oldest first, `blackboard` the one of the run at their top.

        Raises:
            RunFailed: the input was rejected, a step failed for good, or the run took too long.
            AgentDefinitionError: the agent broke a rule of the SDK while it ran.
        """
        limits = self.agent.manifest.limits
        try:
            typed = self.agent.read_input(run_input)
            refs = file_refs(self.agent.input_schema, prepared.plain(typed))
            known = {ref: path for ref, path in self.config_files.items() if ref not in refs}
            files = LocalFiles(base, out, subfolder=subfolder, known=known)
            for ref in refs:
                files.path(ref)
            one = _Run(
                deployment=self,
                files=files,
                models=models or NoModels(),
                on_progress=on_progress,
                on_text=on_text,
                answers=answers,
                base=base,
                out=out,
                path=(*path, self.agent.id),
                conversation=conversation,
                blackboard=blackboard or LocalBlackboard(),
            )
            async with asyncio.timeout(limits.timeout_seconds):
                output = await one.execute(typed)
        except InputRejected as error:
            raise RunFailed(error.code, error.detail, error.place) from error
        except TimeoutError as error:
            raise RunFailed(
                "timed_out", f"The run took longer than {limits.timeout_seconds} seconds."
            ) from error
        return AloneResult(output=output, steps=one.steps, run=one.id)


async def deploy(
    agent: Agent,
    config: Any = None,
    *,
    base: Path,
    cache: Path | None = None,
    memory: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    sleep: Sleep = asyncio.sleep,
) -> Deployment:
    """Check a configuration (its FileRefs start from `base`), prepare it or find it prepared, and load it.

    What its runs keep in memory stays in the folder `memory`; without one it ends with the deployment.

    Raises:
        RunFailed: the configuration does not fit its schema, or names a file that is not there.
    """
    try:
        typed = agent.read_config(config)
        files = LocalFiles(base, base, folders=True)
        refs = file_refs(agent.config_schema, prepared.plain(typed))
        config_files = {ref: files.path(ref) for ref in refs}
        digests = await asyncio.to_thread(_digests, config_files)
        name = prepared.artifact_id(agent.id, agent.manifest.version, typed, digests, _source_digest(agent))
        folder = (cache or default_cache()) / "artifacts" / name
        # Beside the artifact, under the same hash: what prepare indexes belongs to it.
        store = LocalKnowledge(folder.with_name(name + ".knowledge"))
        reachable, knowledge, _ = granted(agent.manifest.permissions, files, store, NoModels())
        context = PrepareContext(artifact_id=name, files=reachable, knowledge=knowledge)
        if on_progress is not None:
            context.on_progress = on_progress
        await prepared.ensure(agent, typed, folder, context)
        loaded = await asyncio.to_thread(prepared.load, agent, typed, folder, name)
    except InputRejected as error:
        raise RunFailed(error.code, error.detail, error.place) from error
    return Deployment(
        agent=agent,
        config=typed,
        prepared=loaded,
        knowledge=store,
        memory=LocalMemory(memory),
        config_files=config_files,
        sleep=sleep,
    )


async def run(
    agent: Agent,
    input: Any,
    *,
    config: Any = None,
    base: Path,
    out: Path,
    models: Models | None = None,
    cache: Path | None = None,
    memory: Path | None = None,
    conversation: Sequence[Message] = (),
    sleep: Sleep = asyncio.sleep,
    answers: Answers | None = None,
    path: tuple[str, ...] = (),
    blackboard: LocalBlackboard | None = None,
) -> AloneResult:
    """Prepare (or find prepared) and run one input.

    Args:
        agent: The agent.
        input: Typed, or of plain JSON types.
        config: Typed, or of plain JSON types; None for a config without required fields.
        base: The folder that FileRefs start from.
        out: Where files that the run delivers go.
        models: What answers model calls; none by default, so that tests are the same everywhere.
        cache: Where prepared artifacts are kept; `default_cache()` by default.
        memory: Where what the agent remembers is kept; nowhere by default, so that each run begins without any.
        conversation: What was said before, oldest first.
        sleep: How to wait between attempts; a test may pass one that does not.
        answers: What people answer to what steps ask; nobody is there by default.
        path: The agents that called this one, outermost first.
        blackboard: That of the run at their top; a new one by default.

    Raises:
        RunFailed: the config or input was rejected, a step failed for good, or the run took too long.
        AgentDefinitionError: the agent broke a rule of the SDK while it ran.
    """
    deployment = await deploy(agent, config, base=base, cache=cache, memory=memory, sleep=sleep)
    return await deployment.run(
        input,
        base=base,
        out=out,
        models=models,
        answers=answers,
        path=path,
        conversation=conversation,
        blackboard=blackboard,
    )


def default_cache() -> Path:
    """Where prepared artifacts are kept: AGORA_CACHE, else `agora` in the user's cache folder."""
    if chosen := os.environ.get("AGORA_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agora"


@dataclass(slots=True, kw_only=True)
class _Run:
    """One run in process: calls steps as the graph runner asks, and tries failed ones again."""

    deployment: Deployment
    files: LocalFiles
    models: Models
    on_progress: OnProgress | None
    on_text: OnText | None
    answers: Answers | None
    base: Path
    out: Path
    path: tuple[str, ...]
    conversation: Sequence[Message] = ()
    blackboard: LocalBlackboard = field(default_factory=LocalBlackboard)
    id: str = field(default_factory=lambda: f"run_{uuid.uuid4().hex}")
    steps: list[StepTaken] = field(default_factory=list)

    async def execute(self, typed: Input) -> Output:
        """Run the graph to its output."""
        return await graph_runner.run(self.deployment.agent, typed, self._call)

    async def _call(self, call: NodeCall, state: Any) -> dict[str, Any]:
        definition = self.deployment.agent.nodes[call.node]
        policy = POLICIES[definition.retry]
        attempt = 1
        given: list[Answer] = []
        while True:
            try:
                return await self._attempt(call, definition, state, attempt, given)
            except Suspended as suspended:
                given.append(await answering.answer(suspended.request, self._run_agent, self.answers))
                continue
            except (InputRejected, AgentDefinitionError, PermissionNotGranted):
                raise
            except Exception as error:
                log.warning("%s, attempt %d failed", call.node, attempt, exc_info=error)
                if attempt >= policy.attempts_max:
                    raise _failed(definition, attempt, error) from error
                asked = error.after_seconds if isinstance(error, Retryable) else None
                await self.deployment.sleep(policy.delay_seconds(attempt) if asked is None else asked)
            attempt += 1

    async def _run_agent(self, call: AgentCall) -> AloneResult:
        package = call.package
        agent = None if package is None else loading.installed(package)
        if agent is None:
            raise RunFailed("not_found", f"No agent {package or call.deployment!r} is installed here.")
        if agent.id in self.path:
            raise RunFailed(
                "cyclic_call", f"Agents call each other in a circle: {' > '.join(self.path)} > {agent.id}"
            )
        if len(self.path) > answering.DEPTH_MAX:
            raise RunFailed("call_too_deep", f"Agents may call each other {answering.DEPTH_MAX} deep.")
        return await run(
            agent,
            call.input,
            base=self.base,
            out=self.out,
            models=self.models,
            sleep=self.deployment.sleep,
            answers=self.answers,
            path=self.path,
            blackboard=self.blackboard,
        )

    async def _attempt(
        self, call: NodeCall, definition: StepDefinition, state: Any, attempt: int, given: list[Answer]
    ) -> dict[str, Any]:
        agent = self.deployment.agent
        # Each attempt gets a state of its own, as on the platform: what a lost one changed in place is lost.
        own = state_codec.decode_state(cast(Any, definition.state_type), state_codec.encode(state))
        context = self._context(call, definition, attempt)
        context.answers = given
        context.callable_agents = agent.manifest.permissions.agents
        context.blackboard = self.blackboard.of(self.id, context.step_id)
        returned = await _called(definition, own, context)
        what = f"The step {call.node!r}"
        update = state_codec.decode_update(agent.state_type, state_codec.encode(returned, what), what)
        await self.deployment.memory.keep(writes_of(context.memory))
        self.steps.append(
            StepTaken(
                node=call.node,
                title=definition.title,
                visit=call.visit,
                branch=call.branch,
                attempt=attempt,
                usage=context.recorded,
            )
        )
        return update

    def _context(self, call: NodeCall, definition: StepDefinition, attempt: int) -> Context:
        deployment = self.deployment
        files, knowledge, models = granted(
            deployment.agent.manifest.permissions, self.files, deployment.knowledge, self.models
        )
        step = "/".join(filter(None, (self.id, call.node, str(call.visit), call.branch)))
        asked_for = deployment.agent.manifest.permissions.memory
        context = Context(
            run_id=self.id,
            step_id=step,
            attempt=attempt,
            config=deployment.config,
            prepared=deployment.prepared,
            files=files,
            knowledge=knowledge,
            models=models,
            memory=StepMemory(deployment.memory, step) if asked_for else NoMemory(),
            conversation=GivenConversation(self.conversation),
        )
        watcher = self.on_progress
        if watcher is not None:
            context.on_progress = lambda progress: watcher(definition.title, progress)
        if self.on_text is not None:
            context.on_text = self.on_text
        return context


async def _called(definition: StepDefinition, state: Any, context: Context) -> Any:
    """Call a step's function; an error comes out of any group, as on the platform."""
    ended: BaseException | None = None
    returned = None
    try:
        async with asyncio.timeout(definition.timeout_seconds):
            returned = await definition.function(state, context)
    except (Exception, Suspended, BaseExceptionGroup) as error:
        ended = error
    suspended = context.suspended or (None if ended is None else suspended_in(ended))
    if suspended is not None:
        raise suspended from (None if ended is suspended else ended)
    if ended is not None:
        raise unwrapped(ended)
    return returned


def _failed(definition: StepDefinition, attempts: int, error: Exception) -> RunFailed:
    cause = "took too long" if isinstance(error, TimeoutError) else f"failed: {type(error).__name__}: {error}"
    times = "once" if attempts == 1 else f"{attempts} times"
    return RunFailed("step_failed", f"The step {definition.title!r} was tried {times} and {cause}")


def _digests(files: dict[str, Path]) -> dict[str, str]:
    return {ref: prepared.digest(path) for ref, path in files.items()}


def _source_digest(agent: Agent) -> str:
    """While an author works, the version stands still and the code does not: no old artifact may be found."""
    total = hashlib.sha256()
    for path in sorted(agent.module_file.parent.rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()


async def check_health(agent: Agent) -> dict[str, bool]:
    """What the agent's own health check says of each of its tools; empty where it has none.

    Raises:
        AgentDefinitionError: the health check itself failed.
    """
    if agent.health is None:
        return {}
    with tempfile.TemporaryDirectory(prefix="agora-health-") as folder:
        _, knowledge, models = granted(
            agent.manifest.permissions,
            LocalFiles(Path(folder), Path(folder)),
            LocalKnowledge(Path(folder)),
            NoModels(),
        )
        try:
            return await agent.health(HealthContext(knowledge=knowledge, models=models))
        except Exception as error:
            fault = f"The health check of {agent.id} failed: {type(error).__name__}: {error}"
            raise AgentDefinitionError(fault) from error
