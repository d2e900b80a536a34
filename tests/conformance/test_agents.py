"""An agent gives the same output, takes the same steps and uses the same, alone and on the platform."""

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from agora import Agent, alone, prepared
from agora.file_refs import file_refs
from agora_contracts.deployments import GetDeployment, StartDeployment
from agora_execution import agents
from agora_execution.knowledge import handlers
from agora_execution.knowledge.service import Knowledge
from agora_execution.knowledge.vectors import VectorStore
from agora_kit.broker import Broker
from agora_kit.objects import FolderObjects

from services.execution.tests.asking import ACCOUNT, TENANT, new_id
from services.execution.tests.conftest import Workers
from services.execution.tests.driving import Platform
from tests.conformance.samples import CALLED, Sample, replaced, sample_of

_RUN = re.compile(r"run_[0-9a-f]{32}")
INSTALLED = sorted(entry.name for entry in entry_points(group=agents.GROUP))

type StepTaken = tuple[str, int, str]
type Used = list[tuple[str, Decimal]]
type Outcome = tuple[Any, dict[StepTaken, Used]]


@pytest.fixture
async def vectors(nats_url: str, tmp_path: Path) -> AsyncIterator[None]:
    """The vectors process' answers."""
    knowledge = Knowledge(VectorStore(tmp_path / "vectors"))
    broker = Broker(nats_url, "vectors")
    handlers.register(broker, knowledge)
    await broker.start()
    yield
    await broker.stop()
    await knowledge.close()


@pytest.mark.parametrize("name", INSTALLED)
async def test_an_agent_does_the_same_alone_and_on_the_platform(
    name: str, service_alone: Platform, workers: Workers, vectors: None, tmp_path: Path
) -> None:
    """
    Cases of the agent's own evals end alike in both places: output, files' contents, steps and usage.
    """
    agent = agents.get(name)
    sample = sample_of(agent, tmp_path)
    expected = await run_alone(agent, sample, tmp_path)
    for package in (name, *CALLED.get(name, [])):
        await service_alone.list_package(package)
    await workers.start()
    found = await run_on_platform(agent, sample, service_alone)

    assert _anonymous(expected) == _anonymous(found)


def _anonymous(outcomes: list[Outcome]) -> Any:
    """Outcomes in which the runs that an agent called have no names: they are others in each place."""
    return [(replaced(output, _anonymous_text), steps) for output, steps in outcomes]


def _anonymous_text(text: str) -> str:
    return _RUN.sub("run", text)


async def run_alone(agent: Agent, sample: Sample, scratch: Path) -> list[Outcome]:
    """What the sample's inputs give with no platform."""

    async def no_wait(seconds: float) -> None:
        """Between attempts, do not wait."""

    deployment = await alone.deploy(
        agent, sample.config, base=sample.base, cache=scratch / "cache", sleep=no_wait
    )
    out = scratch / "out"
    outcomes: list[Outcome] = []
    for number, run_input in enumerate(sample.inputs):
        result = await deployment.run(run_input, base=sample.base, out=out, subfolder=str(number))
        steps = {
            (step.node, step.visit, step.branch): sorted((used.meter, used.quantity) for used in step.usage)
            for step in result.steps
        }
        output = prepared.plain(result.output)
        outcomes.append((with_contents(agent, output, lambda ref: out / ref), steps))
    return outcomes


async def run_on_platform(agent: Agent, sample: Sample, platform: Platform) -> list[Outcome]:
    """What the sample's inputs give as runs of a deployment."""
    uploaded: dict[str, str] = {}

    async def upload(schema: dict[str, Any], document: dict[str, Any]) -> Any:
        for ref in file_refs(schema, document):
            if ref not in uploaded:
                path = sample.base / ref
                uploaded[ref] = await platform.upload(path.read_bytes(), name=path.name)
        return replaced(document, uploaded.get)

    config = await upload(agent.config_schema, sample.config)
    deployment = await hired(agent, config, platform)
    objects = FolderObjects(platform.settings.objects_folder)
    outcomes: list[Outcome] = []
    for run_input in sample.inputs:
        run = await platform.run(await upload(agent.input_schema, run_input), deployment=deployment)
        assert "succeeded" == run.status, run.error
        steps = {
            (step.node, step.visit, step.branch): sorted((used.meter, used.quantity) for used in step.usage)
            for step in await platform.steps(run.id)
        }
        paths = {
            ref: await objects.path(f"{TENANT}/{ref}") for ref in file_refs(agent.output_schema, run.output)
        }
        outcomes.append((with_contents(agent, run.output, paths.__getitem__), steps))
    return outcomes


async def hired(agent: Agent, config: dict[str, Any], platform: Platform) -> str:
    """A deployment of the agent, prepared."""
    prices = [price.basis for price in agent.manifest.prices if price.meter]
    command = StartDeployment(
        deployment_id=new_id("dep"), tenant=TENANT, account=ACCOUNT, fingerprint="f1", package=agent.id,
        basis=prices[0], config=config,
    )  # fmt: skip
    await platform.ask(command)

    async def active() -> bool:
        found = await platform.ask(GetDeployment(deployment=command.deployment_id, tenant=TENANT))
        assert "failed" != found.status, found.error
        return bool(found.status == "active")

    await platform.until(active)
    return command.deployment_id


def with_contents(agent: Agent, output: Any, path: Callable[[str], Path]) -> Any:
    """An output whose file references are the digests of what they lead to: ids and paths differ, files do not."""
    digests = {
        ref: hashlib.sha256(
            _anonymous_text(path(ref).read_bytes().decode("latin-1")).encode("latin-1")
        ).hexdigest()
        for ref in file_refs(agent.output_schema, output)
    }
    return replaced(output, digests.get)
