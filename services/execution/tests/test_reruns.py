"""Runs that begin from others: tried again from the failed step, forked from any; nothing is done or paid twice."""

from typing import Any

import pytest
from agora_contracts.problems import AgoraError
from agora_contracts.steering import RerunRun
from agora_contracts.usage import UsageRecorded

from .asking import ACCOUNT, OTHER_TENANT, TENANT, new_id
from .driving import Platform


def rerun(origin: str, **other: Any) -> RerunRun:
    """A command to run again under a new id."""
    values: dict[str, Any] = {
        "run_id": new_id("run"), "origin": origin, "tenant": TENANT, "account": ACCOUNT, "fingerprint": "f2",
        "requested_by": "key_one",
    }  # fmt: skip
    return RerunRun(**(values | other))


async def failed(platform: Platform) -> Any:
    """A run of five steps whose last one crashes for good."""
    run = await platform.run({"text": "hello", "steps": 5, "fail": "crash"})
    assert ("failed", 4) == (run.status, run.steps)
    return run


async def test_a_run_that_failed_goes_on_from_its_failed_step(platform: Platform) -> None:
    """
    What is recorded is taken over with its usage and not done again; the failed step is taken anew.
    """
    run = await failed(platform)
    command = rerun(run.id)
    again = await platform.ask(command)
    assert again.id == (await platform.ask(command)).id
    ended = await platform.ended(again.id)
    steps = await platform.steps(again.id)

    # The echo agent crashes again, as its input asks for; what it had done stands, under the new run.
    assert ("failed", 4) == (ended.status, ended.steps)
    assert [f"{again.id}/echo/{visit}" for visit in range(1, 5)] == [step.id for step in steps]
    usage = [event.data for event in await platform.events(UsageRecorded, entity=again.id)]
    assert [("echoes", f"{again.id}/echo/{visit}") for visit in range(1, 5)] == [
        (one.meter, one.step) for one in usage
    ]
    before = await platform.steps(run.id)
    assert [step.finished_at for step in before] == [step.finished_at for step in steps]


async def test_a_fork_takes_over_what_came_before_its_step(platform: Platform) -> None:
    """
    A run that succeeded is left before one of its steps; that and what follows is done anew.
    """
    run = await platform.run({"text": "hello", "steps": 5})
    fork = await platform.ask(rerun(run.id, before=f"{run.id}/echo/3"))
    ended = await platform.ended(fork.id)
    old, new = await platform.steps(run.id), await platform.steps(fork.id)

    assert ("succeeded", 5, "hello") == (ended.status, ended.steps, ended.output["text"])
    assert [True, True, False, False, False] == [
        one.finished_at == other.finished_at for one, other in zip(old, new, strict=True)
    ]


@pytest.mark.parametrize(
    ("change", "slug"),
    [
        ({}, "conflict"),
        ({"before": "run_x/echo/9"}, "not_found"),
        ({"origin": "run_" + "0" * 32}, "not_found"),
        ({"tenant": OTHER_TENANT}, "not_found"),
    ],
)
async def test_what_cannot_be_run_again_is_refused(
    platform: Platform, change: dict[str, Any], slug: str
) -> None:
    """
    A run that succeeded is not tried again; unknown steps, unknown runs and other tenants' are not found.
    """
    run = await platform.run({"text": "hello", "steps": 2})
    placed = len(platform.billing.placed)
    with pytest.raises(AgoraError) as caught:
        await platform.ask(rerun(**({"origin": run.id} | change)))

    assert slug == caught.value.slug
    assert placed == len(platform.billing.placed)
