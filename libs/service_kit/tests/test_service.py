"""The life of a service: migrate, start in any order, answer, drain."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from agora_contracts.billing import Balance, GetBalance
from agora_contracts.platform import GetHealth, Health
from agora_contracts.problems import AgoraError
from agora_kit.broker import Broker
from agora_kit.database import MigrationsChanged, is_current, migrate
from agora_kit.provision import DatabasePasswords, DatabaseUrls, administrator, provision
from agora_kit.service import Service
from agora_kit.settings import ServiceSettings
from agora_local.parts import Nats, Postgres
from agora_local.ports import free_ports
from agora_local.testing import own_folder

type Until = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]

A_BALANCE = Balance(account="acc_1", currency="USD", credit=5, held=2, available=3, receivable=0)
GET = GetBalance(account="acc_1", tenant="ten_1")
PASSWORDS = DatabasePasswords(app="app", system="system", owner="owner")

PROGRAM = """
from agora_kit.service import Service, main
from agora_kit.settings import ServiceSettings, load_settings

main(lambda: Service("billing", load_settings(ServiceSettings), package="agora_sample"))
"""


def settings_of(urls: DatabaseUrls, nats_url: str) -> ServiceSettings:
    """Settings of a service on these servers."""
    return ServiceSettings(
        database_url=urls.app,
        database_system_url=urls.system,
        database_owner_url=urls.owner,
        nats_url=nats_url,
        log_level="critical",
    )


@pytest.fixture
async def empty(urls: DatabaseUrls, postgres_server: Postgres) -> Any:
    """A database that was provisioned and not yet migrated, as a service finds it at its first start."""
    made = await provision(postgres_server.url, "sample_new", PASSWORDS)
    yield made
    async with administrator(postgres_server.url) as connection:
        await connection.execute('DROP DATABASE "agora_sample_new" WITH (FORCE)')


def environment_of(sources: Path, **more: str) -> dict[str, str]:
    """The environment of a subprocess that finds the sample service."""
    return os.environ | {"PYTHONPATH": str(sources)} | more


async def test_migrating_twice_and_at_once_is_harmless(empty: DatabaseUrls, sample_sources: Path):
    """
    Two replicas that start together both find the database migrated; a third one has nothing to do.
    """
    program = f"from agora_kit.database import migrate; migrate({empty.owner!r}, 'agora_sample')"
    command = [sys.executable, "-c", program]
    assert not await is_current(empty.owner, "agora_sample")

    def run(count: int) -> list[int]:
        started = [
            subprocess.Popen(command, env=environment_of(sample_sources), stderr=subprocess.PIPE)
            for _ in range(count)
        ]
        return [process.wait(60) for process in started if process.communicate() is not None]

    assert [0, 0] == await asyncio.to_thread(run, 2)
    assert await is_current(empty.owner, "agora_sample")
    assert [0] == await asyncio.to_thread(run, 1)


async def test_a_database_made_by_other_migrations_is_refused(empty: DatabaseUrls, sample_sources: Path):
    """
    A migration that was changed after it ran is named at the start, and not found out by a failing statement.
    """
    await asyncio.to_thread(migrate, empty.owner, "agora_sample")
    assert await is_current(empty.owner, "agora_sample")
    connection = await asyncpg.connect(empty.owner.replace("+asyncpg", ""))
    await connection.execute("""COMMENT ON TABLE alembic_version IS '{"0001": "of another file"}'""")
    await connection.close()

    with pytest.raises(MigrationsChanged, match="another version of migration 0001"):
        await is_current(empty.owner, "agora_sample")


async def test_a_request_at_hand_is_answered_before_the_end(urls: DatabaseUrls, nats_url: str):
    """
    A stop waits for the answer that is being made, and takes no new request.
    """
    entered, leave = asyncio.Event(), asyncio.Event()

    async def balance(_: GetBalance) -> Balance:
        entered.set()
        await leave.wait()
        async with service.database.system():
            return A_BALANCE

    service = Service("billing", settings_of(urls, nats_url), package="agora_sample")
    service.broker.answer(GetBalance, balance)
    await service.start()
    asker = Broker(nats_url, "gateway")
    await asker.start()
    asking = asyncio.create_task(asker.ask(GET))
    await asyncio.wait_for(entered.wait(), 20)
    stopping = asyncio.create_task(service.stop())
    await asyncio.sleep(0.05)
    leave.set()

    assert A_BALANCE == await asking
    await asyncio.wait_for(stopping, 20)
    with pytest.raises(AgoraError) as refused:
        await asker.ask(GET, deadline_seconds=0.3)
    assert "unavailable" == refused.value.slug
    await asker.stop()


async def test_hooks_run_in_their_order(urls: DatabaseUrls, nats_url: str):
    """
    What starts last stops first, while the connections still work.
    """
    told: list[str] = []
    service = Service("billing", settings_of(urls, nats_url), package="agora_sample")

    def tell(what: str) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            await service.database.check()
            await service.broker.check()
            told.append(f"{what} while {service.health.status}")

        return work

    for name in ("one", "two"):
        service.on_start(tell(f"start {name}"))
        service.on_stop(tell(f"stop {name}"))
    await service.start()
    await service.stop()

    assert [
        "start one while starting",
        "start two while starting",
        "stop two while draining",
        "stop one while draining",
    ] == told


async def test_a_sweep_goes_on_after_a_failure(urls: DatabaseUrls, nats_url: str):
    """
    A round that fails is logged, and the next one comes.
    """
    rounds = 0
    third = asyncio.Event()

    async def sweep() -> None:
        nonlocal rounds
        rounds += 1
        if rounds >= 3:
            third.set()
        raise RuntimeError("this round fails")

    service = Service("billing", settings_of(urls, nats_url), package="agora_sample")
    service.every(0.01, "test", sweep)
    await service.start()
    await asyncio.wait_for(third.wait(), 20)
    await service.stop()


async def test_a_service_waits_for_nats(urls: DatabaseUrls, until: Until):
    """
    Started before NATS, a service connects once NATS is there, and then answers.
    """
    with own_folder() as folder:
        port, monitor_port = free_ports(2)
        server = Nats(folder / "nats", port, monitor_port)
        await asyncio.to_thread(server.prepare)
        service = Service("billing", settings_of(urls, server.url), package="agora_sample")
        starting = asyncio.create_task(service.start())
        await asyncio.sleep(0.3)
        assert not starting.done()
        await asyncio.to_thread(server.start)
        try:
            await asyncio.wait_for(starting, 20)
            assert "ready" == (await service.health.report()).status
            await asyncio.to_thread(server.kill)

            async def degraded() -> bool:
                return (await service.health.report()).status == "degraded"

            await until(degraded)
            await asyncio.to_thread(server.start)

            async def ready() -> bool:
                return (await service.health.report()).status == "ready"

            await until(ready)
            await service.stop()
        finally:
            await asyncio.to_thread(server.stop)


async def test_a_process_migrates_answers_and_ends_on_sigterm(
    empty: DatabaseUrls, nats_url: str, sample_sources: Path
):
    """
    From an empty database to a clean exit: the program says ready, and SIGTERM ends it with code 0.
    """
    environment = environment_of(
        sample_sources,
        AGORA_DATABASE_URL=empty.app,
        AGORA_DATABASE_SYSTEM_URL=empty.system,
        AGORA_DATABASE_OWNER_URL=empty.owner,
        AGORA_NATS_URL=nats_url,
    )
    process = await asyncio.to_thread(
        subprocess.Popen,
        [sys.executable, "-c", PROGRAM],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    asker = Broker(nats_url, "gateway")
    await asker.start()
    try:
        health: Health = await asker.ask_shared(GetHealth(), "billing", deadline_seconds=30)
        assert {"database": "ok", "nats": "ok"} == health.checks
        assert await is_current(empty.owner, "agora_sample")
        process.send_signal(signal.SIGTERM)
        _, output = await asyncio.to_thread(process.communicate, timeout=30)
    finally:
        process.kill()
        await asker.stop()

    assert 0 == process.returncode
    assert '"event": "stopped"' in output


async def test_a_process_that_waits_for_nats_ends_on_sigterm(
    empty: DatabaseUrls, sample_sources: Path, until: Until
):
    """
    Asked to end while a part that it needs is still away, a process ends in order and does not wait to be killed.
    """
    environment = environment_of(
        sample_sources,
        AGORA_DATABASE_URL=empty.app,
        AGORA_DATABASE_SYSTEM_URL=empty.system,
        AGORA_DATABASE_OWNER_URL=empty.owner,
        AGORA_NATS_URL=f"nats://127.0.0.1:{free_ports(1)[0]}",
    )
    process = await asyncio.to_thread(
        subprocess.Popen,
        [sys.executable, "-c", PROGRAM],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        await until(lambda: is_current(empty.owner, "agora_sample"))
        process.send_signal(signal.SIGTERM)
        _, output = await asyncio.to_thread(process.communicate, timeout=30)
    finally:
        process.kill()

    assert 0 == process.returncode
    assert '"event": "stopped"' in output


async def test_a_process_ends_on_sigterm_whatever_is_gone(
    empty: DatabaseUrls, sample_sources: Path, tmp_path: Path, until: Until
):
    """
    NATS went away while it worked: asked to end, a process closes what is left and says that it stopped.
    """
    with own_folder() as folder, Nats(folder / "nats", *free_ports(2)) as server:
        environment = environment_of(
            sample_sources,
            AGORA_DATABASE_URL=empty.app,
            AGORA_DATABASE_SYSTEM_URL=empty.system,
            AGORA_DATABASE_OWNER_URL=empty.owner,
            AGORA_NATS_URL=server.url,
        )
        log = tmp_path / "log"
        with log.open("w") as written:
            process = await asyncio.to_thread(
                subprocess.Popen, [sys.executable, "-c", PROGRAM], env=environment, stderr=written
            )
        try:

            async def told(what: str) -> bool:
                return what in log.read_text()

            await until(lambda: told('"event": "ready"'))
            await asyncio.to_thread(server.kill)
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait, timeout=30)
        finally:
            process.kill()

    assert 0 == process.returncode
    assert '"event": "stopped"' in log.read_text()
    assert "Traceback" not in log.read_text()


async def test_replicas_share_requests(urls: DatabaseUrls, nats_url: str):
    """
    Of two replicas exactly one answers each request.
    """
    answered: list[str] = []
    replicas = []
    for name in ("one", "two"):

        async def balance(_: GetBalance, name: str = name) -> Balance:
            answered.append(name)
            return A_BALANCE

        replica = Broker(nats_url, "billing")
        replica.answer(GetBalance, balance)
        await replica.start()
        replicas.append(replica)
    asker = Broker(nats_url, "gateway")
    await asker.start()
    await asyncio.gather(*(asker.ask(GET) for _ in range(40)))
    for broker in (*replicas, asker):
        await broker.stop()

    assert 40 == len(answered)
    assert {"one", "two"} == set(answered)
