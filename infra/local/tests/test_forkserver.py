"""Programs started by the fork server: the same as `python -m`, and gone with whoever wanted them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from agora_local.forkserver import AVAILABLE, ForkedProcess, ForkServer, ForkServerGone
from agora_local.process import ChildProcess

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="only Linux bears a fork without exec")

TELLING = """
import json, os, sys
print(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ), __name__]))
print("an error", file=sys.stderr)
sys.exit(int(os.environ["CODE"]))
"""
SLEEPING = "import time\nprint('asleep', flush=True)\ntime.sleep(600)\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ForkServer]:
    """A fork server that has loaded nothing in advance."""
    server = ForkServer([], log=tmp_path / "forkserver.log")
    yield server
    server.close()


def started(
    server: ForkServer, folder: Path, program: str, arguments: list[str] | None = None, **environment: str
) -> tuple[ForkedProcess, Path]:
    """A program on its way, and where its output goes."""
    (folder / "some_program.py").write_text(program)
    output = folder / "output"
    with output.open("wb") as file:
        process = server.run(
            "some_program",
            arguments or [],
            environment={"PYTHONPATH": str(folder), **environment},
            folder=folder,
            output=file.fileno(),
        )
    return process, output


def said_by(server: ForkServer, folder: Path, module: str) -> str:
    """What a program says that ends well."""
    output = folder / "output"
    with output.open("wb") as file:
        process = server.run(
            module, environment={"PYTHONPATH": str(folder)}, folder=folder, output=file.fileno()
        )
    assert 0 == process.wait(60), output.read_text()
    return output.read_text()


def until_asleep(output: Path) -> None:
    """Wait until a sleeping program has begun."""
    deadline = time.monotonic() + 60
    while output.read_text() != "asleep\n":
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.01)


def test_a_module_runs_as_the_program_it_is(server: ForkServer, tmp_path: Path) -> None:
    """
    It has its arguments, folder and environment and nothing of the server's; its output, errors and exit code arrive.
    """
    process, output = started(server, tmp_path, TELLING, ["one", "two"], CODE="7")

    assert 7 == process.wait(60) == process.poll()
    lines = output.read_text().splitlines()
    expected = f'[["one", "two"], "{tmp_path}", {{"PYTHONPATH": "{tmp_path}", "CODE": "7"}}, "__main__"]'
    assert {expected, "an error"} == set(lines)


def test_what_fails_says_why_in_its_own_output(server: ForkServer, tmp_path: Path) -> None:
    """
    An exception ends it with code 1 and its traceback; so does a module that is not there.
    """
    process, output = started(server, tmp_path, "raise ValueError('no such luck')")
    assert 1 == process.wait(60)
    assert "ValueError: no such luck" in output.read_text()

    with output.open("wb") as file:
        process = server.run("not_there", environment={}, folder=tmp_path, output=file.fileno())
    assert 1 == process.wait(60)
    assert "No module named not_there" in output.read_text()


def test_each_is_a_session_that_is_ended_by_signals(server: ForkServer, tmp_path: Path) -> None:
    """
    Waiting ends when its time is over; a signal ends the program, which is then told as its exit code.
    """
    process, output = started(server, tmp_path, SLEEPING)
    until_asleep(output)
    assert (process.pid, None) == (os.getsid(process.pid), process.poll())
    assert ("some_program", "some_program") == (
        psutil.Process(process.pid).name(), psutil.Process(process.pid).cmdline()[0],
    )  # fmt: skip
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)

    process.send_signal(signal.SIGTERM)

    assert -signal.SIGTERM == process.wait(60)
    process.send_signal(signal.SIGTERM)


def test_what_it_started_ends_with_the_server_and_another_server_follows(
    server: ForkServer, tmp_path: Path
) -> None:
    """
    When the server is killed its programs are killed and told so; the next program has a new server.
    """
    process, output = started(server, tmp_path, SLEEPING)
    until_asleep(output)
    before = server.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)

    assert -signal.SIGKILL == process.wait(60)
    again, output = started(server, tmp_path, SLEEPING)
    until_asleep(output)
    assert server.pid not in (None, before)
    server.close()
    assert -signal.SIGKILL == again.wait(60)
    assert server.pid is None


def test_a_server_that_cannot_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the server dies at once the start fails and names its log.
    """
    (tmp_path / "setproctitle.py").write_text("raise SystemExit('broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = ForkServer([], log=tmp_path / "forkserver.log")

    with pytest.raises(ForkServerGone, match=r"some_program; see .*forkserver\.log"):
        started(server, tmp_path, SLEEPING)
    assert "broken" in (tmp_path / "forkserver.log").read_text()


def test_an_environment_that_is_too_large_is_refused(server: ForkServer, tmp_path: Path) -> None:
    """
    It does not fit into a message; the server goes on.
    """
    with pytest.raises(OSError, match="too long"):
        started(server, tmp_path, SLEEPING, LARGE="x" * 1_000_000)

    process, _ = started(server, tmp_path, TELLING, CODE="0")
    assert 0 == process.wait(60)


def test_a_program_is_of_the_sources_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What was loaded and edited since is not what runs.
    """
    (tmp_path / "its_part.py").write_text("SAYS = 'before'\n")
    (tmp_path / "its_program.py").write_text(
        "import its_part\nif __name__ == '__main__': print(its_part.SAYS)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = ForkServer(["its_program"], log=tmp_path / "forkserver.log")
    said = []
    for says in ("before", "after", "after"):
        if says not in said:
            (tmp_path / "its_part.py").write_text(f"SAYS = '{says}'  # edited\n")
        said.append(said_by(server, tmp_path, "its_program").strip())
    server.close()

    assert ["before", "after", "after"] == said


@pytest.mark.xdist_group("platform")
def test_our_processes_can_be_loaded_before_a_fork(fork_server: ForkServer, tmp_path: Path) -> None:
    """
    All of them can be imported in advance, and none starts a thread by that, which a fork would lose.
    """
    process, output = started(fork_server, tmp_path, TELLING, CODE="0")

    assert 0 == process.wait(120), output.read_text()
    assert fork_server.pid is not None
    assert 1 == psutil.Process(fork_server.pid).num_threads()
    assert "" == fork_server.log.read_text()


def test_what_was_edited_while_it_was_loaded_is_not_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A source that changes after its import and before all is loaded counts as edited.
    """
    (tmp_path / "edited.py").write_text("SAYS = 'before'\n")
    (tmp_path / "edits.py").write_text(
        "import edited, pathlib\n"
        "if __name__ == '__main__': print(edited.SAYS)\n"
        "else: pathlib.Path(edited.__file__).write_text('SAYS = \"after it\"\\n')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = ForkServer(["edits"], log=tmp_path / "forkserver.log")

    assert "after it\n" == said_by(server, tmp_path, "edits")
    server.close()


def test_forks_draw_numbers_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What libraries seeded while they were loaded is seeded anew: no two programs have the same.
    """
    (tmp_path / "draws.py").write_text(
        "import multiprocessing, numpy, random\n"
        "if __name__ == '__main__':\n"
        "    print(random.random(), numpy.random.random(), multiprocessing.current_process().authkey.hex())\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = ForkServer(["draws"], log=tmp_path / "forkserver.log")
    drawn = [number for _ in range(2) for number in said_by(server, tmp_path, "draws").split()]
    server.close()

    assert 6 == len(set(drawn))


@pytest.mark.parametrize("stuck", [False, True])
def test_a_process_is_killed_however_young_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stuck: bool
) -> None:
    """
    Also one that has not made a session of its own yet, and one whose server tells nothing any more.
    """
    monkeypatch.setattr("agora_local.process._KILL_SECONDS", 0.5 if stuck else 30.0)
    (tmp_path / "some_program.py").write_text(SLEEPING)
    server = ForkServer([], log=tmp_path / "forkserver.log")
    child = ChildProcess(
        "some program",
        [sys.executable, "-m", "some_program"],
        log=tmp_path / "output",
        environment={"PYTHONPATH": str(tmp_path)},
        working_folder=tmp_path,
        fork_server=server,
    )
    for _ in range(1 if stuck else 20):
        child.start()
        pid = child.pid
        assert pid is not None
        if stuck:
            assert server.pid is not None
            os.kill(server.pid, signal.SIGSTOP)
        child.kill()
        assert -signal.SIGKILL == child.exit_code
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    server.close()


def test_a_server_that_does_nothing_is_killed(
    server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A start that nobody answers ends the server and fails; the next one has a new server.
    """
    monkeypatch.setattr("agora_local.forkserver._START_SECONDS", 0.5)
    server.start()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    with pytest.raises(ForkServerGone):
        started(server, tmp_path, SLEEPING)
    monkeypatch.undo()

    process, _ = started(server, tmp_path, TELLING, CODE="0")
    assert 0 == process.wait(60)
