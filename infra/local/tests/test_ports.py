"""Ports for servers that are started at the same time by several processes."""

import subprocess
import sys
from pathlib import Path

import pytest
from agora_local import ports

_PROGRAM = (
    "import sys\n"
    "from agora_local import ports\n"
    "ports._LOWEST, ports._HIGHEST = int(sys.argv[1]), int(sys.argv[2])\n"
    "print(*ports.free_ports(3), flush=True)\n"
    "sys.stdin.read()\n"
)


def test_no_two_processes_are_given_the_same_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    A port stays its process's for as long as the process lives, before a server listens on it; then it is free again.
    """
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    lowest = next(
        start for start in range(12_000, 19_000, 6) if all(map(ports.is_free, range(start, start + 6)))
    )
    command = [sys.executable, "-c", _PROGRAM, str(lowest), str(lowest + 5)]
    given: list[set[int]] = []
    processes: list[subprocess.Popen[str]] = []
    try:
        for _ in range(2):
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            processes.append(process)
            assert process.stdout is not None
            given.append({int(port) for port in process.stdout.readline().split()})

        assert (3, 3, 6) == (len(given[0]), len(given[1]), len(given[0] | given[1]))
        third = subprocess.run(command, input="", capture_output=True, text=True, check=False)
        assert "could not find 3 free ports" in third.stderr
    finally:
        for process in processes:
            process.communicate("")
    again = subprocess.run(command, input="", capture_output=True, text=True, check=True)
    assert 3 == len(again.stdout.split())


def test_a_process_is_given_a_port_once() -> None:
    """
    Ports of two calls are different, though nothing listens on those of the first yet.
    """
    first, second = ports.free_ports(50), ports.free_ports(50)
    assert 100 == len({*first, *second})
