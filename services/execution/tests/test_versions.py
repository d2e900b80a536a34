"""Versions of workers: a deploy does not break the runs at hand."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from agora_execution import operate, versions
from agora_execution.operate import OperateSettings
from agora_execution.runs.starting import Starter
from agora_execution.runs.sweeps import RunSweep
from agora_execution.settings import ExecutionSettings
from agora_execution.versions import Versions, versions_of

from .asking import new_id
from .conftest import Workers
from .driving import Platform

SLOW = {"text": "slow", "steps": 40, "delay_ms": 100}


@pytest.fixture
def settings(settings: ExecutionSettings) -> ExecutionSettings:
    """Settings of workers with versions, in a deployment of this test's own."""
    return msgspec.structs.replace(settings, worker_deployment=new_id("deployment"))


def known(platform: Platform) -> Versions:
    """The versions of this test's workers."""
    found = versions_of(platform.client, platform.settings)
    assert found is not None
    return found


async def take_over(platform: Platform, build: str) -> bool:
    """Let a version take over, as its worker does when it starts."""
    async with asyncio.timeout(60):
        return await known(platform).take_over(build)


async def version_of(platform: Platform, run: str) -> str:
    """The version that an ended run was on."""
    # The row may end within the workflow's first task, and Temporal notes the version when that is completed.
    await platform.workflow(run).result()
    description = await platform.workflow(run).describe()
    return description.raw_info.versioning_info.deployment_version.build_id


async def test_runs_stay_on_their_version_through_a_deploy(echo_listed: Platform, workers: Workers) -> None:
    """
    A run in flight ends at the worker's version that began it, while new runs go to the new one.
    """
    await workers.start(worker_build="one")
    assert await take_over(echo_listed, "one")
    old = await echo_listed.start(SLOW)
    await echo_listed.until_running(old.id, steps=1)
    await workers.start(worker_build="two")
    assert await take_over(echo_listed, "two")
    new = await echo_listed.run({"text": "new"})
    ended = await echo_listed.ended(old.id)

    assert ("succeeded", 40) == (ended.status, ended.steps)
    assert ("succeeded", "two") == (new.status, await version_of(echo_listed, new.id))
    assert "one" == await version_of(echo_listed, old.id)


async def test_older_code_that_starts_again_does_not_take_over(
    echo_listed: Platform, workers: Workers
) -> None:
    """
    A restart of an old worker beside a newer one leaves new runs to the newer.
    """
    await workers.start(worker_build="one")
    assert await take_over(echo_listed, "one")
    await workers.start(worker_build="two")
    assert await take_over(echo_listed, "two")

    assert not await take_over(echo_listed, "one")
    assert "two" == (await known(echo_listed).known())[0]


async def test_a_run_whose_version_is_gone_goes_on_at_the_current_one(
    echo_listed: Platform, workers: Workers, monkeypatch: Any
) -> None:
    """
    Where no worker of its version is left, the sweep hands a run over, and no step is taken twice.
    """
    monkeypatch.setattr(versions, "_GONE_SECONDS", 1.0)
    await workers.start(worker_build="one")
    assert await take_over(echo_listed, "one")
    run = await echo_listed.start(SLOW)
    await echo_listed.until_running(run.id, steps=3)
    await workers.stop()
    await workers.start(worker_build="two")
    assert await take_over(echo_listed, "two")
    starter = Starter(
        echo_listed.client, echo_listed.database, echo_listed.settings.task_queues, known(echo_listed)
    )
    sweep = RunSweep(echo_listed.database, echo_listed.recorder, starter, quiet_seconds=0)

    async def ended() -> Any:
        await sweep.sweep()
        await asyncio.sleep(0.3)
        found = await echo_listed.get(run.id)
        return found if found.finished_at else None

    found = await echo_listed.until(ended)
    assert ("succeeded", 40) == (found.status, found.steps)


async def test_older_code_takes_over_once_the_newer_is_gone(
    echo_listed: Platform, workers: Workers, monkeypatch: Any
) -> None:
    """
    After going back to older code new runs are served, though the newer one was current.
    """
    monkeypatch.setattr(versions, "_GONE_SECONDS", 1.0)
    monkeypatch.setattr(versions, "_WATCH_SECONDS", 0.2)
    await workers.start(worker_build="one")
    assert await take_over(echo_listed, "one")
    await workers.start(worker_build="two")
    assert await take_over(echo_listed, "two")
    await workers.stop_all()
    await workers.start(worker_build="one")
    standing_by = asyncio.create_task(known(echo_listed).stand_by("one"))
    try:
        run = await echo_listed.run({"text": "still served"})
    finally:
        standing_by.cancel()

    assert ("succeeded", "one") == (run.status, await version_of(echo_listed, run.id))


async def test_an_operator_sees_versions_and_goes_back_to_one(
    echo_listed: Platform, workers: Workers
) -> None:
    """
    After a bad deploy an older version that still has workers is made the current one again by a command.
    """
    settings = OperateSettings(
        temporal_address=echo_listed.settings.temporal_address,
        task_queues=echo_listed.settings.task_queues,
        worker_deployment=echo_listed.settings.worker_deployment,
    )
    for build in ("one", "two"):
        await workers.start(worker_build=build)
        assert await take_over(echo_listed, build)
    assert "new runs go to one" == await operate.run(["use", "one"], settings)
    listed = (await operate.run(["versions"], settings)).splitlines()

    assert ["* one", "  two"] == [line.partition(" since")[0] for line in listed]
    assert "all search attributes were known" == await operate.run(["register"], settings)
    for nonsense in ([], ["use"], ["fly", "away"]):
        with pytest.raises(ValueError, match="hand-over RUN"):
            await operate.run(nonsense, settings)


def test_a_version_is_what_the_code_is(tmp_path: Path, monkeypatch: Any) -> None:
    """
    The same code has the same version wherever it lies; another line in it makes another one.
    """
    first = versions.build_id()
    versions.build_id.cache_clear()
    assert first == versions.build_id()
    (tmp_path / "more.py").write_text("answer = 42\n")
    folders = versions._folders
    monkeypatch.setattr(versions, "_folders", lambda package: [*folders(package), tmp_path])
    versions.build_id.cache_clear()

    assert first != versions.build_id()
    versions.build_id.cache_clear()
