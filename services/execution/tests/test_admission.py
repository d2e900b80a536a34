"""A request becomes a run exactly once, covered by a hold, or is refused and leaves nothing behind."""

import asyncio
from typing import Any

import pytest
from agora_contracts.catalog import ListingStateChanged
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.runs import EstimateRun, RunAccepted
from agora_contracts.subjects import PLATFORM_TENANT

from .asking import ACCOUNT, OTHER_TENANT, TENANT, new_id, start_command
from .driving import Platform


async def nothing_stored(platform: Platform) -> bool:
    """Whether no run, journal entry or event was written."""
    runs = await platform.rows("SELECT id FROM runs")
    journal = await platform.rows("SELECT run_id FROM run_events")
    return not runs and not journal and not await platform.events(RunAccepted)


@pytest.mark.emits.with_args(RunAccepted)
async def test_a_run_is_accepted_with_its_hold_and_its_event(echo_listed: Platform) -> None:
    """
    The run, its first journal entry and its event tell the same: what runs, and what is set aside for it.
    """
    run = await echo_listed.start({"text": "hello"})

    assert ("accepted", "echo", "1.1.0", "task", 10_000) == (
        run.status, run.package, run.version, run.basis, run.quoted.amount,
    )  # fmt: skip
    [event] = await echo_listed.events(RunAccepted)
    assert (run.id, TENANT, 1) == (event.subject, event.tenant, event.sequence)
    assert (run.id, ACCOUNT, "price_echo_1.1.0", 1, 10_000) == (
        event.data.run, event.data.account, event.data.price_version, event.data.hold_epoch,
        event.data.quoted.amount,
    )  # fmt: skip
    [entry] = await echo_listed.rows("SELECT seq, type FROM run_events WHERE run_id = :run", run=run.id)
    assert (1, "run.accepted") == tuple(entry)
    assert [run.id] == [hold.run for hold in echo_listed.billing.placed]


async def test_a_hold_says_who_asked_and_what_the_run_may_cost(echo_listed: Platform) -> None:
    """
    Billing is told the API key, for budgets by key, and the run's own limit.
    """
    await echo_listed.start({"text": "hello"}, requested_by="key_1", max_cost=Money(amount=20_000))

    [placed] = echo_listed.billing.placed
    assert ("key_1", Money(amount=20_000)) == (placed.api_key, placed.run_limit)


async def test_what_a_budget_refuses_is_not_stored(echo_listed: Platform) -> None:
    """
    An exhausted budget refuses the run as billing says it; nothing is stored, and no event told.
    """
    echo_listed.billing.refuse_holds = AgoraError("budget_exhausted", "the budget has 0.00 left")
    with pytest.raises(AgoraError) as caught:
        await echo_listed.start({"text": "hello"})

    assert "budget_exhausted" == caught.value.slug
    assert await nothing_stored(echo_listed)


async def test_without_billing_nothing_is_spent(echo_listed: Platform) -> None:
    """
    When billing is gone, a run is refused as unavailable as long as its asker waits, and nothing is stored.
    """
    await echo_listed.billing.broker.stop()
    with pytest.raises(AgoraError) as caught:
        await echo_listed.ask(start_command({"text": "hello"}), deadline_seconds=3)

    assert caught.value.slug in {"unavailable", "deadline_exceeded"}
    assert await nothing_stored(echo_listed)


async def test_the_same_request_again_is_the_same_run(echo_listed: Platform) -> None:
    """
    A retry with the same id and body gets the run that is there; nothing more is held or told.
    """
    command = start_command({"text": "hello"})
    first = await echo_listed.ask(command)
    second = await echo_listed.ask(command)

    assert first == second
    assert 1 == len(echo_listed.billing.placed)
    assert 1 == len(await echo_listed.events(RunAccepted))


async def test_the_same_id_for_another_request_conflicts(echo_listed: Platform) -> None:
    """
    An id that was used for another body or by another tenant is refused, and the run stays as it was.
    """
    first = await echo_listed.start({"text": "hello"})
    for change in ({"fingerprint": "f2"}, {"tenant": OTHER_TENANT}):
        with pytest.raises(AgoraError) as caught:
            await echo_listed.start({"text": "other"}, run_id=first.id, **change)
        assert "idempotency_conflict" == caught.value.slug

    assert first == await echo_listed.get(first.id)


async def test_twins_at_the_same_moment_become_one_run(echo_listed: Platform) -> None:
    """
    Twenty requests under one id at once, half of them with another body: one body wins, the others conflict.
    """
    run_id = new_id("run")
    commands = [
        start_command({"text": f"text {number % 2}"}, run_id=run_id, fingerprint=f"f{number % 2}")
        for number in range(20)
    ]
    answers = await asyncio.gather(*map(echo_listed.ask, commands), return_exceptions=True)

    conflicts = [one for one in answers if isinstance(one, AgoraError)]
    assert (10, {"idempotency_conflict"}) == (len(conflicts), {one.slug for one in conflicts})
    assert 1 == len(await echo_listed.events(RunAccepted))
    assert [(run_id,)] == [tuple(row) for row in await echo_listed.rows("SELECT id FROM runs")]


async def test_many_different_runs_at_once_are_each_accepted(echo_listed: Platform) -> None:
    """
    Runs that share a group commit keep their own ids, inputs and events.
    """
    runs = await asyncio.gather(*(echo_listed.start({"text": f"text {n}"}) for n in range(40)))

    stored = await echo_listed.rows("SELECT id, input FROM runs")
    texts = {row.id: row.input["text"] for row in stored}
    assert [f"text {n}" for n in range(40)] == [texts[run.id] for run in runs]
    assert {run.id for run in runs} == {event.data.run for event in await echo_listed.events(RunAccepted)}


async def test_without_funds_nothing_is_stored(echo_listed: Platform) -> None:
    """
    Billing's refusal reaches the caller as it is, and no run exists; with funds the same id is accepted.
    """
    echo_listed.billing.refuse_holds = AgoraError("insufficient_credit", "0.01 USD is missing; top up")
    command = start_command({"text": "hello"})
    with pytest.raises(AgoraError, match="top up") as caught:
        await echo_listed.ask(command)

    assert 402 == caught.value.problem.status
    assert await nothing_stored(echo_listed)
    echo_listed.billing.refuse_holds = None
    assert "accepted" == (await echo_listed.ask(command)).status


async def test_while_billing_does_not_answer_nothing_is_stored(echo_listed: Platform) -> None:
    """
    A billing that is away for now makes the request fail as unavailable, to be tried again.
    """
    echo_listed.billing.refuse_holds = AgoraError("unavailable", "starting", retry_after_seconds=1)
    with pytest.raises(AgoraError) as caught:
        await echo_listed.start({"text": "hello"})

    assert (503, 1) == (caught.value.problem.status, caught.value.problem.retry_after_seconds)
    assert 1 < len(echo_listed.billing.placed)
    assert await nothing_stored(echo_listed)


async def test_a_price_that_reaches_billing_late_is_waited_for(echo_listed: Platform) -> None:
    """
    A hold that is refused because billing is catching up is asked for again, under the same id.
    """
    echo_listed.billing.refuse_holds = AgoraError("unavailable", "the price is not here yet")
    starting = asyncio.create_task(echo_listed.start({"text": "hello"}))

    async def asked() -> bool:
        return bool(echo_listed.billing.placed)

    await echo_listed.until(asked)
    echo_listed.billing.refuse_holds = None
    run = await starting

    assert "accepted" == run.status
    assert {run.id} == {hold.run for hold in echo_listed.billing.placed}


async def test_an_input_is_refused_with_every_faults_place(echo_listed: Platform) -> None:
    """
    Each field at fault is named with its rule; billing is not even asked.
    """
    with pytest.raises(AgoraError) as caught:
        await echo_listed.start({"text": "", "steps": 0, "fail": "maybe", "unknown": 1})

    assert "invalid_input" == caught.value.slug
    assert {"/text", "/steps", "/fail", "/unknown"} == {error.field for error in caught.value.problem.errors}
    assert not echo_listed.billing.placed
    assert await nothing_stored(echo_listed)


async def test_null_characters_are_refused(echo_listed: Platform) -> None:
    """
    U+0000 cannot be stored: an input that holds it is refused with its place, not accepted and lost.
    """
    with pytest.raises(AgoraError) as caught:
        await echo_listed.start({"text": "a\x00b"})

    assert ("invalid_input", ["/text"]) == (
        caught.value.slug, [error.field for error in caught.value.problem.errors],
    )  # fmt: skip
    assert await nothing_stored(echo_listed)


async def test_an_input_that_is_too_large_is_refused(echo_listed: Platform) -> None:
    """
    Half a megabyte is the most; more belongs into a file.
    """
    with pytest.raises(AgoraError, match="file") as caught:
        await echo_listed.start({"text": "x" * 600_000})

    assert "payload_too_large" == caught.value.slug


@pytest.mark.parametrize(
    "target", [{"package": "unheard-of"}, {"version": "9.9.9"}, {"deployment": "dep_unheard_of"}]
)
async def test_what_is_not_there_is_not_found(echo_listed: Platform, target: dict[str, str]) -> None:
    """
    An unknown package, version or deployment is not found, and nothing is stored.
    """
    with pytest.raises(AgoraError) as caught:
        await echo_listed.start({"text": "hello"}, **target)

    assert "not_found" == caught.value.slug
    assert await nothing_stored(echo_listed)


async def test_a_target_is_needed_and_only_one(echo_listed: Platform) -> None:
    """
    Neither a package nor a deployment, or both of them, is a fault of the request.
    """
    for target in ({"package": None}, {"package": "echo", "deployment": "dep_one"}):
        with pytest.raises(AgoraError, match="exactly one") as caught:
            await echo_listed.start({"text": "hello"}, **target)
        assert "invalid_input" == caught.value.slug


async def test_an_announced_package_cannot_be_executed(service_alone: Platform) -> None:
    """
    A package that is announced only is seen and says that it cannot be executed.
    """
    await service_alone.list_package("echo", state="announced")
    with pytest.raises(AgoraError, match="announced") as caught:
        await service_alone.start({"text": "hello"})

    assert "not_executable" == caught.value.slug
    assert await nothing_stored(service_alone)


async def test_a_package_from_elsewhere_cannot_be_executed_yet(service_alone: Platform) -> None:
    """
    Only first-party packages run until there is a sandbox.
    """
    await service_alone.list_package("echo", first_party=False)
    with pytest.raises(AgoraError, match="sandbox") as caught:
        await service_alone.start({"text": "hello"})

    assert "not_executable" == caught.value.slug


async def test_a_retired_version_is_gone_and_the_newest_published_one_is_chosen(
    service_alone: Platform,
) -> None:
    """
    Without a version the newest published one runs, by number and not by alphabet; a retired one is not there.
    """
    for version in ("1.9.0", "1.10.0", "2.0.0"):
        await service_alone.list_package("echo", version=version)
    await service_alone.publish(
        PLATFORM_TENANT, ListingStateChanged(package="echo", version="2.0.0", state="retired")
    )
    await service_alone.until(lambda: service_alone.rows("SELECT 1 FROM packages WHERE state = 'retired'"))

    assert "1.10.0" == (await service_alone.start({"text": "hello"})).version
    with pytest.raises(AgoraError) as caught:
        await service_alone.start({"text": "hello"}, version="2.0.0")
    assert "not_found" == caught.value.slug


async def test_an_event_published_twice_does_not_undo_a_later_state(service_alone: Platform) -> None:
    """
    A republished `PackagePublished` leaves a version deprecated that was deprecated since.
    """
    await service_alone.list_package("echo")
    await service_alone.publish(
        PLATFORM_TENANT, ListingStateChanged(package="echo", version="1.1.0", state="deprecated")
    )
    deprecated = "SELECT 1 FROM packages WHERE state = 'deprecated'"
    await service_alone.until(lambda: service_alone.rows(deprecated))
    await service_alone.list_package("echo", title="Echo, renamed")
    renamed = "SELECT state FROM packages WHERE manifest->>'title' = 'Echo, renamed'"
    [row] = await service_alone.until(lambda: service_alone.rows(renamed))

    assert "deprecated" == row.state


async def test_files_that_an_input_names_must_be_there(probe: Any, service_alone: Platform) -> None:
    """
    A file that is missing or another tenant's is refused by name; the tenant's own is accepted.
    """
    await service_alone.list_package("probe")
    own = await service_alone.upload(b"mine")
    others = await service_alone.upload(b"theirs", tenant=OTHER_TENANT)
    for file in ("file_unheard_of", others):
        with pytest.raises(AgoraError, match="upload") as caught:
            await service_alone.start({"text": "hello", "file": file}, package="probe")
        assert [file] == [error.field for error in caught.value.problem.errors]
    assert await nothing_stored(service_alone)

    assert "accepted" == (await service_alone.start({"text": "a", "file": own}, package="probe")).status


async def test_an_estimate_prices_a_run_and_stores_nothing(echo_listed: Platform) -> None:
    """
    The estimate says the quantities and the most they cost; an input that would be refused is refused here.
    """
    estimate = await echo_listed.ask(EstimateRun(tenant=TENANT, package="echo", input={"text": "hello"}))

    assert [("tasks", 1)] == [(one.meter, one.quantity) for one in estimate.estimates]
    assert 10_000 == estimate.quote.amount.amount
    assert not echo_listed.billing.placed
    assert await nothing_stored(echo_listed)
    with pytest.raises(AgoraError) as caught:
        await echo_listed.ask(EstimateRun(tenant=TENANT, package="echo", input={"text": ""}))
    assert "invalid_input" == caught.value.slug


async def test_a_request_that_cannot_be_read_is_refused(echo_listed: Platform) -> None:
    """
    Bytes that are no command get an answer that says so, and the service goes on.
    """
    subject = "agora.cmd.execution.start_run"
    reply = await echo_listed.asker.client.request(subject, b'{"run_id": 1}', timeout=5)

    assert b"malformed" in reply.data
    assert "accepted" == (await echo_listed.start({"text": "hello"})).status
