"""What deployments were prepared with is removed when nothing needs it any more, and not before."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agora_contracts.deployments import ChangeDeploymentConfig, EndDeployment
from agora_contracts.knowledge import DropCollection, Dropped
from agora_contracts.runs import CancelRun
from agora_execution.deployments import artifact_store
from agora_execution.deployments.artifacts import prune_copies
from agora_execution.deployments.removing import ArtifactSweep
from agora_kit.broker import Broker

from .asking import TENANT
from .driving import Platform
from .test_deployments import forget_loaded, hire, until_status


class Vectors:
    """Forgets collections, and remembers which."""

    def __init__(self, nats_url: str) -> None:
        self.broker = Broker(nats_url, "vectors")
        self.broker.answer(DropCollection, self._drop)
        self.dropped: list[tuple[str, str]] = []

    async def _drop(self, command: DropCollection) -> Dropped:
        self.dropped.append((command.tenant, command.collection))
        return Dropped(existed=True)


@pytest.fixture
async def vectors(nats_url: str) -> AsyncIterator[Vectors]:
    """The vectors, answering."""
    running = Vectors(nats_url)
    await running.broker.start()
    yield running
    await running.broker.stop()


def sweep_of(platform: Platform, kept_seconds: float = 0.0) -> ArtifactSweep:
    """A sweep that removes what nothing needs now."""
    objects = platform.files._objects
    return ArtifactSweep(platform.database, platform.service.broker, objects, kept_seconds=kept_seconds)


async def active(platform: Platform, **config: Any) -> str:
    """A deployment of the probe that is prepared."""
    command = hire(config)
    await platform.ask(command)
    await until_status(platform, command.deployment_id, "active")
    return command.deployment_id


async def artifact_of(platform: Platform, deployment: str) -> str:
    """What a deployment was prepared into."""
    [row] = await platform.rows("SELECT artifact FROM deployments WHERE id = :id", id=deployment)
    return str(row.artifact)


async def known(platform: Platform) -> set[str]:
    """The artifacts that there are."""
    return {row.name for row in await platform.rows("SELECT name FROM artifacts")}


async def test_what_an_ended_deployment_was_prepared_with_is_removed(
    probe_platform: Platform, vectors: Vectors
) -> None:
    """
    While it stands nothing is removed; after its end its bytes and its collection go, and the sweep is done with it.
    """
    deployment = await active(probe_platform, word="one")
    artifact = await artifact_of(probe_platform, deployment)
    kept = probe_platform.settings.objects_folder / TENANT / "artifacts" / f"{artifact}.tar"
    await asyncio.sleep(0.01)
    assert (0, True) == (await sweep_of(probe_platform, 0.001).sweep(), kept.exists())
    await probe_platform.ask(EndDeployment(deployment=deployment, tenant=TENANT))
    assert 0 == await sweep_of(probe_platform, 3600).sweep()
    assert 1 == await sweep_of(probe_platform).sweep()

    assert ([(TENANT, artifact)], False, set()) == (
        vectors.dropped,
        kept.exists(),
        await known(probe_platform),
    )
    assert 0 == await sweep_of(probe_platform).sweep()


async def test_what_a_run_still_needs_is_kept(probe_platform: Platform, vectors: Vectors) -> None:
    """
    A run that is under way when its deployment ends keeps what it loaded until it has ended.
    """
    deployment = await active(probe_platform, word="one")
    run = await probe_platform.start(
        {"text": "hello", "do": "dig_slowly", "long": True}, deployment=deployment
    )
    await probe_platform.until_running(run.id, steps=2)
    await probe_platform.ask(EndDeployment(deployment=deployment, tenant=TENANT))
    await asyncio.sleep(0.01)
    assert 0 == await sweep_of(probe_platform, 0.001).sweep()
    await probe_platform.ask(CancelRun(run=run.id, tenant=TENANT))
    await probe_platform.ended(run.id)

    assert 1 == await sweep_of(probe_platform).sweep()


async def test_the_configuration_before_is_removed(probe_platform: Platform, vectors: Vectors) -> None:
    """
    A changed configuration leaves nothing behind once the new one is in use.
    """
    deployment = await active(probe_platform, word="old")
    before = await artifact_of(probe_platform, deployment)
    change = ChangeDeploymentConfig(deployment=deployment, tenant=TENANT, config={"word": "new"})
    await probe_platform.ask(change)

    async def changed() -> bool:
        return await artifact_of(probe_platform, deployment) != before

    await probe_platform.until(changed)
    await asyncio.sleep(0.01)
    assert 1 == await sweep_of(probe_platform, 0.001).sweep()
    assert {await artifact_of(probe_platform, deployment)} == await known(probe_platform)
    assert [(TENANT, before)] == vectors.dropped


async def test_what_was_removed_is_prepared_again(
    probe_platform: Platform, vectors: Vectors, monkeypatch: Any
) -> None:
    """
    A worker that still has a copy of what was removed does not take it for whole: its collection is gone.
    """
    # So long after its last need that the worker looks again.
    monkeypatch.setattr("agora_execution.deployments.artifacts._NOTED_SECONDS", 0.0)
    first = await active(probe_platform, word="again")
    artifact = await artifact_of(probe_platform, first)
    await probe_platform.ask(EndDeployment(deployment=first, tenant=TENANT))
    await sweep_of(probe_platform).sweep()
    local = probe_platform.settings.artifacts_folder / artifact
    (local / "word.txt").write_text("a stale copy")
    forget_loaded()
    second = await active(probe_platform, word="again")
    run = await probe_platform.run({"text": "hello"}, deployment=second)

    assert (artifact, "again") == (await artifact_of(probe_platform, second), run.output["word"])


async def test_what_is_being_removed_waits_to_be_prepared(probe_platform: Platform, vectors: Vectors) -> None:
    """
    Where the vectors do not answer, the removal is tried again later; until it is done nobody takes the artifact up.
    """
    first = await active(probe_platform, word="busy")
    artifact = await artifact_of(probe_platform, first)
    await probe_platform.ask(EndDeployment(deployment=first, tenant=TENANT))
    await vectors.broker.stop()
    assert 0 == await sweep_of(probe_platform).sweep()
    async with probe_platform.database.system() as connection:
        assert await artifact_store.take_up(connection, TENANT, artifact) is None
    await vectors.broker.start()
    assert 1 == await sweep_of(probe_platform).sweep()

    async with probe_platform.database.system() as connection:
        assert await artifact_store.take_up(connection, TENANT, artifact) is False


async def test_copies_of_what_was_removed_are_pruned(
    probe_platform: Platform, vectors: Vectors, monkeypatch: Any
) -> None:
    """
    A worker's folder keeps copies of artifacts that there are, and no others.
    """
    monkeypatch.setattr("agora_execution.deployments.artifacts._OLD_SECONDS", -1.0)
    stays, goes = await active(probe_platform, word="stays"), await active(probe_platform, word="goes")
    names = [await artifact_of(probe_platform, deployment) for deployment in (stays, goes)]
    await probe_platform.ask(EndDeployment(deployment=goes, tenant=TENANT))
    await asyncio.sleep(0.01)
    await sweep_of(probe_platform, 0.001).sweep()
    assert 1 == await prune_copies(probe_platform.database, probe_platform.settings.artifacts_folder)

    folder = probe_platform.settings.artifacts_folder
    assert [True, False] == [(folder / name).is_dir() for name in names]
