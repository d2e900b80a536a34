"""Deployments: hired once, prepared before they are used, changed without a gap, ended for good."""

import asyncio
import dataclasses
import shutil
from typing import Any

import pytest
from agora_contracts.deployments import (
    ChangeDeploymentConfig,
    Deployment,
    DeploymentEnded,
    DeploymentStarted,
    EndDeployment,
    GetDeployment,
    ListDeployments,
    StartDeployment,
)
from agora_contracts.problems import AgoraError
from agora_contracts.runs import EstimateRun
from agora_execution.deployments.activities import DeploymentActivities
from agora_execution.deployments.artifacts import Artifacts
from agora_execution.deployments.workflows import PrepareTask, prepare_workflow_id
from temporalio.testing import ActivityEnvironment

from .asking import ACCOUNT, OTHER_TENANT, TENANT, new_id
from .conftest import Workers
from .driving import Platform


def hire(config: dict[str, Any] | None = None, **other: Any) -> StartDeployment:
    """A command to hire the probe agent."""
    values: dict[str, Any] = {
        "deployment_id": new_id("dep"), "tenant": TENANT, "account": ACCOUNT, "fingerprint": "f1",
        "package": "probe", "basis": "task", "config": config or {},
    }  # fmt: skip
    return StartDeployment(**(values | other))


async def get(platform: Platform, deployment: str) -> Deployment:
    """The deployment now."""
    found: Deployment = await platform.ask(GetDeployment(deployment=deployment, tenant=TENANT))
    return found


async def until_status(platform: Platform, deployment: str, *statuses: str) -> Deployment:
    """The deployment, once it has one of these statuses."""

    async def reached() -> Deployment | None:
        found = await get(platform, deployment)
        return found if found.status in statuses else None

    found: Deployment = await platform.until(reached)
    return found


@pytest.mark.emits.with_args(DeploymentStarted)
async def test_a_deployment_becomes_active_and_its_runs_use_what_was_prepared(
    probe_platform: Platform,
) -> None:
    """
    Hiring pins version, basis and price; a run on the deployment finds its prepared configuration.
    """
    command = hire({"word": "prepared"}, name="Mine")
    pending = await probe_platform.ask(command)
    assert ("pending", "Mine", "1.0.0", "price_probe_1.0.0", 1) == (
        pending.status, pending.name, pending.version, pending.price_version, pending.config_revision,
    )  # fmt: skip
    await until_status(probe_platform, command.deployment_id, "active")
    run = await probe_platform.run({"text": "hello"}, deployment=command.deployment_id)

    assert ("succeeded", "prepared", command.deployment_id) == (
        run.status,
        run.output["word"],
        run.deployment,
    )
    [event] = await probe_platform.events(DeploymentStarted)
    assert (command.deployment_id, ACCOUNT, "probe", "task") == (
        event.data.deployment, event.data.account, event.data.package, event.data.basis,
    )  # fmt: skip
    assert [command.deployment_id] == [hold.deployment for hold in probe_platform.billing.placed]


async def test_hiring_again_with_the_same_id_is_the_same_deployment(probe_platform: Platform) -> None:
    """
    Retries and twins get one deployment; another request or tenant under that id is refused.
    """
    command = hire({"word": "one"})
    answers = await asyncio.gather(*(probe_platform.ask(command) for _ in range(8)))

    assert {command.deployment_id} == {answer.id for answer in answers}
    assert 1 == len(await probe_platform.events(DeploymentStarted))
    changes: list[dict[str, Any]] = [{"fingerprint": "f2"}, {"tenant": OTHER_TENANT}]
    for change in changes:
        with pytest.raises(AgoraError) as caught:
            await probe_platform.ask(hire(deployment_id=command.deployment_id, **change))
        assert "idempotency_conflict" == caught.value.slug


@pytest.mark.parametrize(
    ("change", "slug", "field"),
    [
        ({"config": {"word": 1}}, "invalid_config", "/word"),
        ({"config": {"unknown": 1}}, "invalid_config", "/unknown"),
        ({"config": {"file": "file_unheard_of"}}, "invalid_config", "file_unheard_of"),
        ({"config": {"word": "\x00"}}, "invalid_config", "/word"),
        ({"basis": "hour"}, "invalid_price", "/basis"),
        ({"package": "unheard-of"}, "not_found", None),
        ({"version": "9.9.9"}, "not_found", None),
    ],
)
async def test_a_hire_that_cannot_be_is_refused(
    probe_platform: Platform, change: dict[str, Any], slug: str, field: str | None
) -> None:
    """
    The fault is named with its place, and nothing is stored.
    """
    with pytest.raises(AgoraError) as caught:
        await probe_platform.ask(hire(**change))

    assert slug == caught.value.slug
    assert ([] if field is None else [field]) == [error.field for error in caught.value.problem.errors]
    assert not await probe_platform.rows("SELECT id FROM deployments")


async def test_a_hire_for_time_asks_billing_first(probe_platform: Platform) -> None:
    """
    By the month the first month must be affordable; refused, or without an answer from billing, nothing is stored.
    """
    command = hire(basis="month")
    probe_platform.billing.refuse_rentals = AgoraError("insufficient_credit", "200 are needed")
    with pytest.raises(AgoraError) as caught:
        await probe_platform.ask(command)
    assert "insufficient_credit" == caught.value.slug
    await probe_platform.billing.broker.stop()
    with pytest.raises(AgoraError) as caught:
        await probe_platform.ask(command, deadline_seconds=3)
    assert caught.value.slug in ("unavailable", "deadline_exceeded")
    assert not await probe_platform.rows("SELECT id FROM deployments")
    await probe_platform.billing.broker.start()
    probe_platform.billing.refuse_rentals = None

    assert "month" == (await probe_platform.ask(command)).basis
    checked = probe_platform.billing.checked[-1]
    assert ("month", "price_probe_1.0.0", ACCOUNT) == (checked.basis, checked.price_version, checked.account)


async def test_a_configuration_that_the_agent_refuses_fails_with_its_reason(
    probe_platform: Platform,
) -> None:
    """
    The deployment says why it failed, refuses runs, and works once its configuration is changed.
    """
    command = hire({"word": "bad", "prepare": "rejects"})
    await probe_platform.ask(command)
    failed = await until_status(probe_platform, command.deployment_id, "failed")
    assert failed.error is not None
    assert ("word_refused", "$.word") == (failed.error.code, failed.error.place)
    with pytest.raises(AgoraError, match=r"This word cannot be prepared\.") as caught:
        await probe_platform.start({"text": "hello"}, deployment=command.deployment_id)
    assert "not_executable" == caught.value.slug

    change = ChangeDeploymentConfig(deployment=command.deployment_id, tenant=TENANT, config={"word": "good"})
    await probe_platform.ask(change)
    mended = await until_status(probe_platform, command.deployment_id, "active")
    assert (None, 2) == (mended.error, mended.config_revision)
    run = await probe_platform.run({"text": "hello"}, deployment=command.deployment_id)
    assert "good" == run.output["word"]


async def test_the_old_configuration_serves_until_the_new_one_is_prepared(probe_platform: Platform) -> None:
    """
    Runs between the change and its preparation use what was there; a change that fails leaves it in use.
    """
    command = hire({"word": "old"})
    await probe_platform.ask(command)
    await until_status(probe_platform, command.deployment_id, "active")
    deployment = command.deployment_id
    await probe_platform.ask(
        ChangeDeploymentConfig(
            deployment=deployment, tenant=TENANT, config={"word": "new", "prepare": "waits"}
        )
    )
    between = await probe_platform.run({"text": "hello"}, deployment=deployment)

    async def word() -> bool:
        run = await probe_platform.run({"text": "hello"}, deployment=deployment)
        return bool(run.output["word"] == "new")

    await probe_platform.until(word)
    assert "old" == between.output["word"]
    await probe_platform.ask(
        ChangeDeploymentConfig(
            deployment=deployment, tenant=TENANT, config={"word": "bad", "prepare": "rejects"}
        )
    )

    async def refused() -> bool:
        return (await get(probe_platform, deployment)).error is not None

    await probe_platform.until(refused)
    assert "active" == (await get(probe_platform, deployment)).status
    assert "new" == (await probe_platform.run({"text": "x"}, deployment=deployment)).output["word"]


@pytest.mark.emits.with_args(DeploymentEnded)
async def test_an_ended_deployment_runs_no_more(probe_platform: Platform) -> None:
    """
    Ending it twice is one end; new runs and changes are refused.
    """
    command = hire()
    await probe_platform.ask(command)
    await until_status(probe_platform, command.deployment_id, "active")
    end = EndDeployment(deployment=command.deployment_id, tenant=TENANT)
    first, second = await probe_platform.ask(end), await probe_platform.ask(end)

    assert ("terminated", first) == (first.status, second)
    assert 1 == len(await probe_platform.events(DeploymentEnded))
    with pytest.raises(AgoraError) as caught:
        await probe_platform.start({"text": "hello"}, deployment=command.deployment_id)
    assert "not_executable" == caught.value.slug
    with pytest.raises(AgoraError) as caught:
        await probe_platform.ask(
            ChangeDeploymentConfig(deployment=command.deployment_id, tenant=TENANT, config={"word": "x"})
        )
    assert "conflict" == caught.value.slug


async def test_a_deployment_that_is_being_prepared_asks_for_patience(
    probe: Any, service_alone: Platform
) -> None:
    """
    A run on a pending deployment is refused with a time to try again.
    """
    await service_alone.list_package("probe")
    command = hire()
    await service_alone.ask(command)
    with pytest.raises(AgoraError, match="being prepared") as caught:
        await service_alone.start({"text": "hello"}, deployment=command.deployment_id)

    assert ("not_executable", 2) == (caught.value.slug, caught.value.problem.retry_after_seconds)


async def test_a_preparation_that_was_never_started_is_started_by_the_sweep(
    probe_platform: Platform, settings: Any
) -> None:
    """
    A service that died between storing a deployment and preparing it loses nothing.
    """
    command = hire({"word": "found again"})
    await probe_platform.ask(command)
    await until_status(probe_platform, command.deployment_id, "active")
    # Its workflow closes a moment after it has put the deployment into use; until then there is nothing to begin again.
    await probe_platform.closed(prepare_workflow_id(command.deployment_id, 1))
    await probe_platform.execute(
        "UPDATE deployments SET status = 'pending', prepared_revision = 0, checked_at = now() - interval '1 day'"
    )
    await probe_platform.deployments.sweep()

    await until_status(probe_platform, command.deployment_id, "active")


async def test_an_artifact_is_fetched_from_the_object_store(
    probe: Any, service_alone: Platform, workers: Workers
) -> None:
    """
    A worker whose local folder is gone loads what was prepared elsewhere; without both it prepares again.
    """
    await service_alone.list_package("probe")
    await workers.start()
    file = await service_alone.upload(b"from a file")
    command = hire({"file": file})
    await service_alone.ask(command)
    await until_status(service_alone, command.deployment_id, "active")
    settings = service_alone.settings
    for gone in (
        [settings.artifacts_folder],
        [settings.artifacts_folder, settings.objects_folder / TENANT / "artifacts"],
    ):
        for folder in gone:
            await asyncio.to_thread(shutil.rmtree, folder)
        forget_loaded()
        await workers.stop()
        await workers.start()
        run = await service_alone.run({"text": "hello"}, deployment=command.deployment_id)
        assert ("succeeded", "from a file") == (run.status, run.output["word"])


async def test_what_is_kept_is_not_kept_again(probe: Any, service_alone: Platform, workers: Workers) -> None:
    """
    A run without a deployment finds what was prepared for the same configuration, and packs it no second time.
    """
    await service_alone.list_package("probe")
    await workers.start()
    await service_alone.run({"text": "hello"}, package="probe")
    artifacts = service_alone.settings.objects_folder / TENANT / "artifacts"
    [kept] = artifacts.iterdir()
    before = kept.stat()
    run = await service_alone.run({"text": "hello"}, package="probe")
    after = kept.stat()

    assert "succeeded" == run.status
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


class Away(Artifacts):
    """Nothing can be built, as the database is away."""

    def __init__(self) -> None:
        """Nothing is needed."""

    async def build(self, agent: Any, config: Any, tenant: str) -> str:
        raise ConnectionError("the database is away")


async def test_a_preparation_outlives_a_database_that_is_away(probe: Any, service_alone: Platform) -> None:
    """
    However often it was tried, what passes by itself does not fail the deployment for good.
    """
    await service_alone.list_package("probe")
    command = hire()
    await service_alone.ask(command)
    tried = ActivityEnvironment()
    tried.info = dataclasses.replace(tried.info, attempt=50)
    activities = DeploymentActivities(service_alone.database, Away())
    task = PrepareTask(deployment=command.deployment_id, tenant=TENANT, revision=1)
    with pytest.raises(ConnectionError):
        await tried.run(activities.prepare_deployment, task)

    assert "pending" == (await get(service_alone, command.deployment_id)).status


def forget_loaded() -> None:
    """Make this process forget what it loaded, as a new one would have to load it."""
    from agora import prepared

    prepared._loaded.clear()


async def test_another_tenants_deployment_is_not_found(probe_platform: Platform) -> None:
    """
    Whatever is asked about it, a deployment of another tenant looks as if it did not exist.
    """
    command = hire()
    await probe_platform.ask(command)
    await until_status(probe_platform, command.deployment_id, "active")
    for asked in (
        GetDeployment(deployment=command.deployment_id, tenant=OTHER_TENANT),
        EndDeployment(deployment=command.deployment_id, tenant=OTHER_TENANT),
        ChangeDeploymentConfig(deployment=command.deployment_id, tenant=OTHER_TENANT, config={}),
        EstimateRun(deployment=command.deployment_id, tenant=OTHER_TENANT, input={"text": "x"}),
    ):
        with pytest.raises(AgoraError) as caught:
            await probe_platform.ask(asked)
        assert "not_found" == caught.value.slug
    with pytest.raises(AgoraError) as caught:
        await probe_platform.start({"text": "x"}, deployment=command.deployment_id, tenant=OTHER_TENANT)
    assert "not_found" == caught.value.slug
    assert [] == (await probe_platform.ask(ListDeployments(tenant=OTHER_TENANT))).items


async def test_deployments_are_listed_in_pages(probe: Any, service_alone: Platform) -> None:
    """
    Newest first, page after page, without gap or repetition.
    """
    await service_alone.list_package("probe")
    ids = [(await service_alone.ask(hire())).id for _ in range(5)]
    first = await service_alone.ask(ListDeployments(tenant=TENANT, limit=3))
    rest = await service_alone.ask(ListDeployments(tenant=TENANT, limit=3, cursor=first.next_cursor))

    assert (ids[::-1], None) == ([one.id for one in first.items + rest.items], rest.next_cursor)


async def test_a_page_of_large_configurations_fits_into_a_message(
    probe: Any, service_alone: Platform
) -> None:
    """
    A page ends where its configurations become too many for one message, and the next one goes on there.
    """
    await service_alone.list_package("probe")
    ids = [(await service_alone.ask(hire({"word": "x" * 300_000}))).id for _ in range(4)]
    found: list[str] = []
    cursor = None
    while cursor is not None or not found:
        page = await service_alone.ask(ListDeployments(tenant=TENANT, limit=50, cursor=cursor))
        found += [one.id for one in page.items]
        cursor = page.next_cursor

    assert ids[::-1] == found
