"""What a step reaches while the database is away: it waits, and its attempts are not used up."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from agora import Agent, Context, InputRejected
from agora.steps import StepDefinition
from agora_contracts.swarms import Finding
from agora_execution import patience
from agora_execution.blackboard.service import RunBlackboard
from agora_execution.conversations.port import RunConversation
from agora_execution.deployments.artifacts import Artifacts
from agora_execution.files.port import RunFiles
from agora_execution.files.service import Files
from agora_execution.memory.port import TenantMemory
from agora_execution.models.access import Accesses
from agora_execution.models.service import ModelCalls
from agora_execution.patience import PlatformAway, noticing
from agora_execution.provider_keys.sealing import KeyRing
from agora_execution.runs.activities import RunActivities, called
from agora_execution.runs.failures import failure_of
from agora_execution.runs.ports import StepPorts
from agora_execution.runs.recording import Recorder
from agora_execution.runs.tasks import RunTask, StepTask
from agora_kit.broker import Broker
from agora_kit.database import Database
from agora_kit.objects import FolderObjects
from agora_kit.provision import DatabaseUrls
from temporalio.testing import ActivityEnvironment

from tests.support.llm_wire import Wire

from .asking import TENANT, new_id
from .calling import Step, a_run, chat
from .gate import Gate, gated

type Ports = dict[str, Callable[[], Coroutine[Any, Any, Any]]]


@pytest.fixture
async def behind_gate(
    database_urls: Callable[[str], DatabaseUrls],
) -> AsyncIterator[tuple[Gate, Database]]:
    """Execution's database, and the gate before it."""
    async with gated(database_urls("execution")) as both:
        yield both


@pytest.fixture
async def ports(behind_gate: tuple[Gate, Database], wire: Wire, nats_url: str, tmp_path: Path) -> Ports:
    """What a step may do with the platform, by name."""
    _, database = behind_gate
    run = await a_run(database, 10_000)
    step = f"{run}/work/1"
    board = RunBlackboard(database, TENANT, run, step)
    memory = TenantMemory(database, Broker(nats_url, "worker"), TENANT, "probe")
    objects = FolderObjects(tmp_path)
    files = Files(database, objects, quota_bytes=1000, retention_days=1)
    run_files = RunFiles(files, objects, TENANT, run=run, step=step)
    saved = await run_files.save(b"12", name="a.txt", content_type="text/plain")
    calls = ModelCalls(database, wire.environment("openai"))
    return {
        "conversation": lambda: RunConversation(database, TENANT, run).messages(),
        "memory": lambda: memory.read("key"),
        "memory in use": memory.in_use,
        "post": lambda: board.post("facts", [Finding(id="1", claim="One")]),
        "read": lambda: board.read("facts"),
        "file": lambda: run_files.info(saved),
        "save": lambda: run_files.save(b"123", name="b.txt", content_type="text/plain"),
        "model": lambda: chat(calls, Step(run)),
        "cache": lambda: chat(calls, Step(run), cache=True),
    }


PORTS = [
    "conversation", "memory", "memory in use", "post", "read", "file", "save", "model", "cache",
]  # fmt: skip


@pytest.mark.parametrize("port", PORTS)
async def test_a_port_waits_until_the_database_is_back(
    port: str, ports: Ports, behind_gate: tuple[Gate, Database]
) -> None:
    """
    What a step reads or writes while the database is away for a moment is done when it is back.
    """
    gate, _ = behind_gate
    expected = type(await ports[port]())
    gate.shut()
    with noticing() as absence:
        asking = asyncio.create_task(ports[port]())
        await asyncio.sleep(0.3)
        assert not asking.done()
        await gate.open()

        assert expected is type(await asking)
    assert absence.noticed


@pytest.mark.parametrize("port", PORTS)
async def test_a_database_that_stays_away_is_not_the_agents_fault(
    port: str, ports: Ports, behind_gate: tuple[Gate, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    After its patience a port says that the platform is away, which uses no attempt of the step up.
    """
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.2)
    gate, _ = behind_gate
    gate.shut()

    with pytest.raises(PlatformAway):
        await ports[port]()


async def test_what_was_looked_up_is_used_for_a_while_without_the_database(
    behind_gate: tuple[Gate, Database],
) -> None:
    """
    Keys and prices that were known a moment ago do while the database is away; not for ever, as a key may have been
    deleted.
    """
    gate, database = behind_gate
    recent, old = (
        Accesses(database, KeyRing({}), {}, kept_seconds=0, stale_seconds=seconds) for seconds in (60, 0)
    )
    for accesses in (recent, old):
        await accesses.of(TENANT)
    gate.shut()

    assert TENANT == (await recent.of(TENANT)).tenant
    with pytest.raises(OSError):
        await old.of(TENANT)


async def test_a_step_that_is_too_late_as_it_waited_for_the_platform_is_not_at_fault(
    ports: Ports, behind_gate: tuple[Gate, Database]
) -> None:
    """
    The step's limit ends the waiting; what is blamed is the platform. Too late by itself, it is the step's own.
    """
    gate, _ = behind_gate
    gate.shut()

    async def waits(state: Any, context: Any) -> None:
        await ports["conversation"]()

    async def sleeps(state: Any, context: Any) -> None:
        await asyncio.sleep(60)

    for function, blamed in ((waits, PlatformAway), (sleeps, TimeoutError)):
        definition = StepDefinition(
            function=function, title="Slow", timeout_seconds=0.3, long=False, retry="none", state_type=dict
        )
        with pytest.raises(blamed):
            await called(definition, None, _context(), 60)


async def test_a_long_step_beats_while_it_waits_for_the_platform(
    probe: Agent,
    behind_gate: tuple[Gate, Database],
    nats_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Also before its function is called, and after: a step that does not beat would be given to another worker beside it.
    """
    monkeypatch.setattr("agora_execution.runs.activities.HEARTBEAT_SECONDS", 0.05)
    gate, database = behind_gate
    objects, broker = FolderObjects(tmp_path), Broker(nats_url, "worker")
    files = Files(database, objects, quota_bytes=1000, retention_days=1)
    artifacts = Artifacts(database, tmp_path, objects, files, broker)
    ports = StepPorts(database, broker, objects, files, artifacts, ModelCalls(database, {}))
    activities = RunActivities(Recorder(database), broker, ports)
    task = RunTask(
        run=new_id("run"), tenant=TENANT, package="probe", version="1.0.0", input={}, timeout_seconds=60
    )
    step = StepTask(
        task=task, step=f"{task.run}/dig/1", node="dig", visit=1, branch="", deadline=time.time() + 60
    )
    gate.shut()
    environment = ActivityEnvironment()
    beats = asyncio.Semaphore(0)
    environment.on_heartbeat = lambda *_: beats.release()
    running = asyncio.create_task(environment.run(activities.run_step, step))
    for _ in range(3):
        await beats.acquire()
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def _context() -> Context:
    nothing: Any = None
    return Context(
        run_id="run", step_id="step", attempt=1, config=None, prepared=None, files=nothing, knowledge=nothing,
        models=nothing,
    )  # fmt: skip


def test_of_several_errors_the_one_that_says_most_counts() -> None:
    """
    What rejects the input ends the run, whatever else failed beside it; a platform that is away is no fault of the
    agent; and a group that says nothing stays as it is.
    """
    rejected, away, broken = InputRejected("bad", "No."), PlatformAway("db"), ValueError("broken")

    assert rejected is failure_of(ExceptionGroup("g", [broken, ExceptionGroup("h", [away, rejected])]))
    assert away is failure_of(ExceptionGroup("g", [broken, away]))
    assert broken is failure_of(ExceptionGroup("g", [broken]))
    both = ExceptionGroup("g", [broken, KeyError("k")])
    assert both is failure_of(both)
