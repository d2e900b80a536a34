"""The commands behind `./dev up` and its siblings, as a person meets them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
from agora_local.platform import PROCESSES
from agora_local.settings import Ports, port_variable
from agora_local.testing import own_folder

type Commands = dict[str, str]


@pytest.fixture
def environment() -> Iterator[Commands]:
    """An environment with free ports and a data folder of its own, whose services are stand-ins."""
    with own_folder() as folder:
        stand_ins = folder / "stand-ins"
        for spec in PROCESSES:
            package, _, module = spec.module.partition(".")
            (stand_ins / package).mkdir(parents=True, exist_ok=True)
            (stand_ins / package / "__init__.py").touch()
            shutil.copy(
                Path(__file__).with_name("echo_process.py"),
                stand_ins / package / f"{module or '__main__'}.py",
            )
        ports = {port_variable(name): str(port) for name, port in asdict(Ports.free()).items()}
        made = {**os.environ, **ports, "AGORA_HOME": str(folder / "home"), "PYTHONPATH": str(stand_ins)}
        yield made
        # Whatever a failing test left running.
        run(made, "reset", "--yes")


def run(environment: Commands, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end; its output is of both kinds."""
    return subprocess.run(
        [sys.executable, "-m", "agora_local", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_up_status_logs_down_and_reset(environment: Commands) -> None:
    """
    Up waits until all is ready and shows the key once; a second one finds it running; only reset deletes.
    """
    home = Path(environment["AGORA_HOME"])
    up = run(environment, "up")
    assert up.returncode == 0, up.stderr
    assert "starting postgres" in up.stderr
    assert f"http://127.0.0.1:{environment['AGORA_PORT_API']}/api/v1" in up.stdout
    assert "key-1 (shown only now)" in up.stdout
    assert (home / "first-tenant.json").stat().st_mode & 0o777 == 0o600

    again = run(environment, "up")
    assert (again.returncode, "runs already" in again.stderr) == (0, True)
    assert environment["AGORA_PORT_TEMPORAL_UI"] in again.stdout
    assert "key-1" not in again.stdout

    # As the demo leaves it, or an `up` that was interrupted while it waited.
    tenant = json.loads((home / "first-tenant.json").read_text())
    (home / "first-tenant.json").write_text(json.dumps({**tenant, "shown": False}))
    assert "key-1 (shown only now)" in run(environment, "up").stdout
    assert "key-1" not in run(environment, "up").stdout

    status = run(environment, "status", "--json")
    assert status.returncode == 0
    shown = json.loads(status.stdout)
    expected = ["postgres", "nats", "temporal", *(spec.name for spec in PROCESSES)]
    assert expected == [row["name"] for row in shown["processes"]]
    assert {"ready"} == {row["health"] for row in shown["processes"]}
    assert "billing" in run(environment, "status").stdout

    assert re.search(r"^billing +\| .*billing is ready", run(environment, "logs").stdout, re.MULTILINE)
    assert '"billing is ready"' in run(environment, "logs", "billing", "-n", "1").stdout
    missing = run(environment, "logs", "biling")
    assert (missing.returncode, "there is no log of biling" in missing.stderr) == (1, True)

    refused = run(environment, "reset")
    assert (refused.returncode, "add --yes" in refused.stderr) == (1, True)
    assert run(environment, "down").returncode == 0
    assert json.loads(run(environment, "status", "--json").stdout) == {
        "phase": "stopped",
        "ready": False,
        "processes": [],
    }
    assert "does not run" in run(environment, "down").stderr
    unaudited = run(environment, "verify")
    assert (1, True) == (unaudited.returncode, "start it with ./dev up" in unaudited.stderr)
    assert home.exists()
    assert run(environment, "reset", "--yes").returncode == 0
    assert not home.exists()


def test_up_after_the_supervisor_was_killed(environment: Commands) -> None:
    """
    A killed supervisor takes its children along or they are ended by the next up, which works.
    """
    home = Path(environment["AGORA_HOME"])
    assert run(environment, "up").returncode == 0
    state = json.loads((home / "state.json").read_text())
    before = [unit["pid"] for unit in state["units"]]
    os.kill(state["pid"], signal.SIGKILL)

    up = run(environment, "up")

    assert up.returncode == 0, up.stderr
    assert "shown only now" not in up.stdout
    assert not any(
        psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in before
    )
    assert run(environment, "down").returncode == 0


def test_up_in_the_foreground_shows_the_logs_and_ends_in_order_on_an_interrupt(environment: Commands) -> None:
    """
    Attached, the merged log is on the terminal, and Ctrl-C stops everything; the exit code is 0.
    """
    command = [sys.executable, "-m", "agora_local", "up", "--foreground"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Key "):
                process.send_signal(signal.SIGINT)
    output = "".join(lines)

    assert process.returncode == 0, output
    assert re.search(r"^billing +\| .*billing is ready", output, re.MULTILINE)
    assert re.search(r"^billing +\| .*billing drained", output, re.MULTILINE)
    assert re.search(r"^stopped$", output, re.MULTILINE)


def test_a_failing_process_is_shown_and_nothing_stays(environment: Commands) -> None:
    """
    Up ends with the reason and exit code 1, and what had been started is gone.
    """
    up = run({**environment, "ECHO_CRASHES": "metering"}, "up")

    assert up.returncode == 1
    assert "metering was told to crash" in up.stderr
    assert json.loads(run(environment, "status", "--json").stdout)["phase"] == "stopped"


def test_a_taken_port_stops_up_before_it_starts_anything(environment: Commands) -> None:
    """
    The message names the port's variable; exit code 1.
    """
    import socket

    with socket.create_server(("127.0.0.1", int(environment["AGORA_PORT_NATS"]))):
        up = run(environment, "up")

    assert up.returncode == 1
    assert "Nothing was started" in up.stderr
    assert "AGORA_PORT_NATS" in up.stderr


def test_a_folder_that_is_not_ours_is_neither_used_nor_deleted(environment: Commands, tmp_path: Path) -> None:
    """
    AGORA_HOME may be set wrongly; what is there stays there.
    """
    (tmp_path / "thesis.txt").touch()
    wrong = {**environment, "AGORA_HOME": str(tmp_path)}

    for command in (["up"], ["reset", "--yes"]):
        result = run(wrong, *command)
        assert (result.returncode, str(tmp_path) in result.stderr) == (1, True)
    assert (tmp_path / "thesis.txt").exists()


def test_a_folder_that_cannot_be_made_is_a_message(environment: Commands, tmp_path: Path) -> None:
    """
    A data folder below a file can never be: the message says so and what to set.
    """
    (tmp_path / "file").touch()
    up = run({**environment, "AGORA_HOME": str(tmp_path / "file" / "home")}, "up")

    assert (up.returncode, "AGORA_HOME" in up.stderr, "Traceback" in up.stderr) == (1, True, False)
