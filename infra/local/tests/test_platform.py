"""The supervisor: everything comes up, comes back, and goes away."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from agora_kit.provision import administrator
from agora_local.platform import Platform, ProcessSpec
from agora_local.settings import PlatformFailed, Ports
from agora_local.testing import own_folder

HERE = Path(__file__).parent
PROCESSES = (
    ProcessSpec(name="billing", module="echo_process", database="billing"),
    ProcessSpec(name="gateway", module="echo_process", database="gateway", http=True),
)
ENVIRONMENT = {"PYTHONPATH": str(HERE)}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder, which any user can enter."""
    with own_folder() as path:
        yield path / "home"


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in another process; fails after a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "did not happen within a minute"
        time.sleep(0.02)


def test_everything_that_is_killed_comes_back_and_a_stop_leaves_nothing(folder: Path) -> None:
    """
    Parts and processes are restarted after SIGKILL, by us or from outside; after stop no child is left.
    """
    said: list[str] = []
    # Servers of this session's other tests.
    others = set(psutil.Process().children(recursive=True))
    with Platform(folder, Ports.free(), ENVIRONMENT, processes=PROCESSES, say=said.append) as platform:
        platform.wait_ready()
        before = platform.pids()
        assert list(before) == ["postgres", "nats", "temporal", "billing", "gateway"]

        for name, pid in before.items():
            if name == "billing":
                platform.kill(name)
            else:
                os.kill(pid, signal.SIGKILL)
        until(lambda: all(platform.pids().get(name, pid) != pid for name, pid in before.items()))
        platform.wait_ready()

        after = platform.pids()
        assert list(before) == list(after)
        assert not set(before.values()) & set(after.values())
        assert {1} <= {state.restarts for state in platform.states()}
        children = set(psutil.Process().children(recursive=True)) - others

    running = [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert running == []
    assert any("billing ended (exit code -9)" in line for line in said)
    # In order: the process had time to say so.
    assert "billing drained" in platform.log_of("billing").read_text()


def test_one_process_can_be_stopped_started_and_restarted(folder: Path) -> None:
    """
    A stopped process stays away until it is started; a restart gives a new process.
    """
    with Platform(folder, Ports.free(), ENVIRONMENT, processes=PROCESSES) as platform:
        platform.wait_ready()
        platform.stop_one("billing")
        assert platform.not_ready() == {"billing": "stopped"}

        platform.start_one("billing")
        platform.wait_ready()
        first = platform.pids()["billing"]
        platform.restart("billing")
        until(lambda: platform.pids().get("billing", first) != first)
        platform.wait_ready()

        with pytest.raises(PlatformFailed, match="there is no biling; there are postgres"):
            platform.kill("biling")


async def test_data_and_secrets_survive_a_second_start(folder: Path) -> None:
    """
    The same folder gives the same passwords, and what was stored is there.
    """
    ports = Ports.free()
    secrets = []
    for times in (1, 2):
        with Platform(folder, ports, ENVIRONMENT, processes=PROCESSES) as platform:
            platform.wait_ready()
            databases = (folder / "databases.json").read_text()
            async with administrator(platform.postgres.url, "agora_billing") as connection:
                await connection.execute("CREATE TABLE IF NOT EXISTS started (id serial)")
                await connection.execute("INSERT INTO started DEFAULT VALUES")
                assert times == await connection.fetchval("SELECT count(*) FROM started")
            secrets.append(
                (platform.postgres.url, platform.nats_url("billing"), platform.operator_token, databases)
            )

    assert secrets[0] == secrets[1]


def test_a_process_that_crashes_again_and_again_is_reported_with_its_last_words(folder: Path) -> None:
    """
    Waiting ends early with the reason, and a failed platform leaves nothing running.
    """
    environment = {**ENVIRONMENT, "ECHO_CRASHES": "billing"}
    with (
        pytest.raises(PlatformFailed, match=r"(?s)billing crashes again and again.*was told to crash"),
        Platform(folder, Ports.free(), environment, processes=PROCESSES) as platform,
    ):
        platform.wait_ready()

    assert platform.pids() == {}


def test_a_taken_port_is_named_with_its_part_and_variable_before_anything_starts(folder: Path) -> None:
    """
    The message says which port, for what, held by whom, and what to set.
    """
    ports = Ports.free()
    with socket.create_server(("127.0.0.1", ports.temporal)):
        platform = Platform(folder, ports, ENVIRONMENT, processes=PROCESSES)
        with pytest.raises(PlatformFailed) as caught:
            platform.start()

    assert f"port {ports.temporal}, for Temporal, is taken by" in str(caught.value)
    assert f"process {os.getpid()}" in str(caught.value)
    assert "AGORA_PORT_TEMPORAL" in str(caught.value)
    assert platform.pids() == {}
    assert not (folder / "postgres").exists()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AGORA_PORT_API": "http"}, "AGORA_PORT_API is 'http'; it must be a port"),
        ({"AGORA_PORT_NATS": "0"}, "AGORA_PORT_NATS is '0'"),
        ({"AGORA_PORT_NATS": "70000"}, "from 1 to 65535"),
        ({"AGORA_PORT_NATS": "8000"}, "api and nats would both use port 8000. Set AGORA_PORT_NATS"),
    ],
)
def test_a_bad_port_variable_is_named(environment: dict[str, str], said: str) -> None:
    """
    What cannot be a port, or is given twice, is refused with the variable's name.
    """
    with pytest.raises(PlatformFailed, match=said):
        Ports.from_environment(environment)


def test_ports_come_from_the_environment() -> None:
    """
    A variable overrides one port; the others keep their defaults.
    """
    ports = Ports.from_environment({"AGORA_PORT_POSTGRES": "5555"})

    assert (ports.postgres, ports.api) == (5555, 8000)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals the death of a parent")
def test_nothing_is_left_when_the_supervising_process_is_killed(folder: Path) -> None:
    """
    After SIGKILL of the process that runs the platform all its children end.
    """
    program = (
        "import pathlib, sys, time\n"
        "from agora_local.platform import Platform, ProcessSpec\n"
        "from agora_local.settings import Ports\n"
        "processes = [ProcessSpec(name='billing', module='echo_process', database='billing')]\n"
        "folder, environment = pathlib.Path(sys.argv[1]), {'PYTHONPATH': sys.argv[2]}\n"
        "platform = Platform(folder, Ports.free(), environment, processes=processes)\n"
        "platform.start(); platform.wait_ready()\n"
        "print(*platform.pids().values(), flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, str(folder), str(HERE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        parent.send_signal(signal.SIGKILL)

    assert len(children) == 4
    _, left = psutil.wait_procs(children, timeout=30)
    assert left == []
