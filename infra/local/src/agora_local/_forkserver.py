"""Run Python modules in forks of this process, which has imported them before: run by path, never imported.

Usage: `python -P _forkserver.py CHANNEL MODULE...`; CHANNEL is the number of a socket that keeps messages apart.

It imports the modules and forks for each order that comes on the channel; the fork becomes what `python -m MODULE`
would be, of the sources as they are then. It answers with the process id, and tells how each fork ended. It ends when
the channel is closed, and each fork gets its death signal then.
"""

import ctypes
import gc
import importlib
import importlib.util
import json
import os
import runpy
import select
import signal
import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import setproctitle

_ORDER_BYTES = 2**20
_CLOCK_NANOSECONDS = 20_000_000
"""How far behind the clock the time of a file may be."""
_SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux."""


def main() -> None:
    """Load, then fork for each order; in a fork, run its module."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    # At once: it finds its place beside the environment, which the forks replace. Without
    # a space, which Python would take for a thread when it looks how many there are.
    setproctitle.setproctitle("agora-forks")
    began = time.time_ns() - _CLOCK_NANOSECONDS
    for module in sys.argv[2:]:
        _load(module)
    # What was written meanwhile may have been imported before: it counts as changed, whatever it says later.
    sources = {file: written if written < began else -1 for file, written in _sources().items()}
    # What was imported stays: collecting it again in each fork would copy its pages.
    gc.collect()
    gc.freeze()
    order = _serve(channel)
    if order is not None:
        _become(order, changed=_sources(sources) != sources)


def _entry(module: str) -> str:
    """What `python -m` runs: of a package its `__main__`."""
    spec = importlib.util.find_spec(module)
    return (
        f"{module}.__main__" if spec is not None and spec.submodule_search_locations is not None else module
    )


def _load(module: str) -> None:
    try:
        importlib.import_module(_entry(module))
    except ImportError as error:
        # Perhaps on a path that only its order names; otherwise the fork will say so.
        print(f"{module} cannot be loaded in advance: {error}", file=sys.stderr, flush=True)


def _sources(files: Iterable[str] | None = None) -> dict[str, int]:
    """When each source file that was imported (or each of `files`) was written, in nanoseconds; 0 where it is gone."""
    if files is None:
        found = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
        files = [file for file in found if file]
    return {file: _written(file) for file in files}


def _written(file: str) -> int:
    try:
        return Path(file).stat().st_mtime_ns
    except OSError:
        return 0


def _serve(channel: socket.socket) -> dict[str, Any] | None:
    """Fork until the channel is closed. Returns None then; in a fork, what it shall do."""
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    server = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True)
    while True:
        ready, _, _ = select.select([channel.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _tell_ended(channel)
        if channel.fileno() not in ready:
            continue
        message, files, _, _ = socket.recv_fds(channel, _ORDER_BYTES, 3)
        if not message:
            return None
        order: dict[str, Any] = json.loads(message)
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            child = os.fork()
        except OSError as error:
            # No room for another process: those that run are to go on.
            _send(channel, {"number": order["number"], "error": error.errno})
            child = -1
        if child == 0:
            os.setsid()
            libc.prctl(_SET_DEATH_SIGNAL, order["death_signal"], 0, 0, 0)
            if os.getppid() != server:
                os._exit(1)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            channel.close()
            os.close(woken)
            os.close(wake)
            for number, file in enumerate(files):
                os.dup2(file, number)
                os.close(file)
            return order
        for file in files:
            os.close(file)
        if child > 0:
            _send(channel, {"number": order["number"], "pid": child})


def _tell_ended(channel: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _send(channel, {"pid": pid, "code": os.waitstatus_to_exitcode(status)})


def _send(channel: socket.socket, message: dict[str, Any]) -> None:
    try:
        channel.send(json.dumps(message).encode())
    except (BrokenPipeError, ConnectionResetError):
        # Nobody listens any more: the next read finds the channel closed.
        return


def _become(order: dict[str, Any], *, changed: bool) -> None:
    """Be what `python -m MODULE` would be with the order's environment and folder."""
    module: str = order["module"]
    if changed:
        # Somebody has edited what was imported: this one imports for itself.
        os.chdir(order["folder"])
        command = [sys.executable, "-m", module, *order["arguments"]]
        os.execve(sys.executable, command, order["environment"])
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    os.chdir(order["folder"])
    for path in reversed(os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        if path and path not in sys.path:
            sys.path.insert(0, path)
    _draw_anew()
    sys.argv = [module, *order["arguments"]]
    setproctitle.setproctitle(" ".join(sys.argv))
    # Run as the program it is, not as the module that others may have imported.
    sys.modules.pop(_entry(module), None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _draw_anew() -> None:
    """Draw anew what libraries drew while they were imported; Python and OpenSSL do so by themselves."""
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed()
    if (processes := sys.modules.get("multiprocessing.process")) is not None:
        processes.current_process().authkey = os.urandom(32)


if __name__ == "__main__":
    main()
