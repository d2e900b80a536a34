"""Python programs as forks of a process that has imported them: each starts in a part of the time and of the memory.

Linux only: elsewhere system libraries do not bear a fork without exec
(docs/decisions/0016-processes-from-a-fork-server.md).
"""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from agora_local.spawning import spawn

AVAILABLE = sys.platform == "linux"

_SERVER = Path(__file__).with_name("_forkserver.py")
_MESSAGE_BYTES = 65_536
_END_SECONDS = 10.0
_START_SECONDS = 120.0
"""More than it takes to import everything on a slow machine that compiles it first."""


class ForkServerGone(RuntimeError):
    """The fork server has ended, and with it every program that it started."""


class ForkedProcess:
    """A program that the fork server started; of `subprocess.Popen` as much as is needed here."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None
        self._ended = threading.Event()

    def poll(self) -> int | None:
        """The exit code (negative: the signal that ended it), or None while it runs."""
        return self._code

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired([str(self.pid)], timeout or 0)
        return self._code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def note_end(self, code: int) -> None:
        """It has ended."""
        self._code = code
        self._ended.set()


class _Birth:
    """A start that was asked for: the process once there is one, or why there is none; neither when the server has gone."""

    def __init__(self) -> None:
        self.process: ForkedProcess | None = None
        self.error: int | None = None
        self.answered = threading.Event()


class ForkServer:
    """Starts modules as `python -m` would, from a process that has imported them. All methods from any thread.

    The server is started with the first program, or by `start`, and again if it was killed. It ends with this
    process or by `close`; its programs then get their death signal.

    Args:
        modules: what is imported in advance; others are imported by the fork.
        log: where the server says what it could not import.
    """

    def __init__(self, modules: Sequence[str], *, log: Path) -> None:
        self._modules = tuple(modules)
        self.log = log
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._server: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._births: dict[int, _Birth] = {}
        self._running: dict[int, ForkedProcess] = {}

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        server = self._server
        return server.pid if server is not None and server.poll() is None else None

    def start(self) -> None:
        """Let the server begin to import; does nothing when it runs."""
        with self._lock:
            if self._channel is not None:
                return
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as log, theirs:
                command = [sys.executable, "-P", str(_SERVER), str(theirs.fileno()), *self._modules]
                self._server = spawn(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=[theirs.fileno()],
                    # Its forks are given theirs; this is what libraries read while they are imported.
                    env={"OPENBLAS_NUM_THREADS": "1", **os.environ},
                    start_new_session=True,
                )
            self._channel = ours
            threading.Thread(target=self._listen, args=(ours,), name="agora-fork-server", daemon=True).start()

    def run(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        environment: Mapping[str, str],
        folder: Path,
        output: int,
        errors: int | None = None,
        given: int | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> ForkedProcess:
        """Start a module as a program in a session of its own.

        Args:
            environment: its whole environment. `PYTHONPATH` counts; what the interpreter itself reads at its start
                (`PYTHONHASHSEED` and the like) is the server's.
            output: the file descriptor of its output, and of its errors unless they have one of their own.
            given: the file descriptor that it reads; by default there is nothing to read.
            death_signal: what it gets when this process dies.

        Raises:
            ForkServerGone: the server ended, or was killed as it did nothing, before it could start it.
            OSError: the environment is larger than a message may be (some 200 KB), or the system has no room for
                another process.
        """
        order = {
            "module": module,
            "arguments": list(arguments),
            "environment": dict(environment),
            "folder": str(folder),
            "death_signal": int(death_signal),
        }
        birth = _Birth()
        with Path(os.devnull).open("rb") as nothing, self._lock:
            self.start()
            number = next(self._numbers)
            self._births[number] = birth
            message = json.dumps({"number": number, **order}).encode()
            files = [
                nothing.fileno() if given is None else given,
                output,
                output if errors is None else errors,
            ]
            try:
                assert self._channel is not None
                socket.send_fds(self._channel, [message], files)
            except (BrokenPipeError, ConnectionResetError):
                # A server that has just gone: whoever listens to it answers the birth.
                pass
            except OSError:
                del self._births[number]
                raise
        if not birth.answered.wait(_START_SECONDS):
            self.kill()
            birth.answered.wait()
        if birth.error is not None:
            raise OSError(birth.error, f"{module} could not be forked: {os.strerror(birth.error)}")
        if birth.process is None:
            raise ForkServerGone(f"the fork server ended before it could start {module}; see {self.log}")
        return birth.process

    def kill(self) -> None:
        """Kill the server, which does not do its work any more, and with it what it started; does nothing without one."""
        with self._lock:
            server = self._server
        if server is not None and server.poll() is None:
            server.kill()

    def close(self) -> None:
        """End the server, and with it what it started and still runs."""
        with self._lock:
            server, channel = self._server, self._channel
            if server is None or channel is None:
                return
            with contextlib.suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)
        try:
            server.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    def _listen(self, channel: socket.socket) -> None:
        with channel:
            while True:
                try:
                    message = channel.recv(_MESSAGE_BYTES)
                except ConnectionResetError:
                    message = b""
                if not message:
                    break
                self._note(json.loads(message))
            self._note_gone(channel)

    def _note(self, told: dict[str, int]) -> None:
        with self._lock:
            if "number" in told:
                birth = self._births.pop(told["number"])
                if "error" in told:
                    birth.error = told["error"]
                else:
                    birth.process = self._running[told["pid"]] = ForkedProcess(told["pid"])
                birth.answered.set()
            elif (process := self._running.pop(told["pid"], None)) is not None:
                process.note_end(told["code"])

    def _note_gone(self, channel: socket.socket) -> None:
        with self._lock:
            if self._channel is channel:
                self._channel = None
            births, self._births = self._births, {}
            running, self._running = self._running, {}
            if self._server is not None:
                self._server.wait()
        for process in running.values():
            # The death signal may be one that is taken as a request; nobody hears of its end any more.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.note_end(-signal.SIGKILL)
        for birth in births.values():
            birth.answered.set()
