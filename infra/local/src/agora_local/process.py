"""One child process that never outlives its parent: started, watched, stopped, killed."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from agora_local.forkserver import ForkedProcess, ForkServer
from agora_local.spawning import spawn

_KILL_SECONDS = 30.0

_LAUNCHER = Path(__file__).with_name("_launch.py")


class ChildProcess:
    """A program in a session of its own whose output goes to one log file.

    It may be started again after it ended. All methods may be called from any thread.

    Args:
        name: How messages call it.
        command: Program (full path, or found on PATH) and arguments.
        log: File that its output is appended to.
        environment: The whole environment of the program.
        working_folder: Where it runs.
        owner: User and group id to run as; None keeps ours. Needs root.
        stop_signal: What asks it to end in order.
        stop_timeout_seconds: How long `stop` waits before it kills.
        death_signal: What it gets when our process dies (Linux only).
        fork_server: Starts it, where the command is our interpreter with `-m` and a module.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        working_folder: Path = Path("/"),
        owner: tuple[int, int] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_timeout_seconds: float = 15.0,
        death_signal: signal.Signals = signal.SIGKILL,
        fork_server: ForkServer | None = None,
    ) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.log = log
        self._environment = dict(os.environ if environment is None else environment)
        self._working_folder = working_folder
        self._owner = owner
        self._stop_signal = stop_signal
        self._stop_timeout_seconds = stop_timeout_seconds
        self._death_signal = death_signal
        self._fork_server = fork_server
        self._process: subprocess.Popen[bytes] | ForkedProcess | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the program.

        Raises:
            RuntimeError: it runs already.
        """
        with self._lock:
            if self.alive:
                raise RuntimeError(f"{self.name} runs already as process {self.pid}")
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as log:
                if self._fork_server is None:
                    self._process = self._spawn(log.fileno())
                else:
                    self._process = self._fork(self._fork_server, log.fileno())

    def _spawn(self, output: int) -> "subprocess.Popen[bytes]":
        uid, gid = ("", "") if self._owner is None else map(str, self._owner)
        launcher = [
            sys.executable,
            "-I",
            "-S",
            str(_LAUNCHER),
            str(os.getpid()),
            str(int(self._death_signal)),
            uid,
            gid,
        ]
        return spawn(
            [*launcher, *self.command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=self._environment,
            cwd=self._working_folder,
            start_new_session=True,
        )

    def _fork(self, fork_server: ForkServer, output: int) -> ForkedProcess:
        interpreter, flag, module, *arguments = self.command
        if (interpreter, flag, self._owner) != (sys.executable, "-m", None):
            raise ValueError(f"a fork server starts modules as the same user, not {self.command}")
        return fork_server.run(
            module,
            arguments,
            environment=self._environment,
            folder=self._working_folder,
            output=output,
            death_signal=self._death_signal,
        )

    @property
    def pid(self) -> int | None:
        """Process id of the running program, or None."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def alive(self) -> bool:
        """Whether the program runs."""
        return self.pid is not None

    @property
    def exit_code(self) -> int | None:
        """How the last run ended (negative: by that signal), or None while it runs or was never started."""
        return None if self._process is None else self._process.poll()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the program to end; tell whether it did."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self) -> bool:
        """Ask the program to end, and kill it when it does not; tell whether it ended by itself."""
        self.signal(self._stop_signal)
        if self.wait(self._stop_timeout_seconds):
            self.end_group()
            return True
        self.kill()
        return False

    def kill(self) -> None:
        """End the program and its whole process group at once, with no chance to clean up."""
        if self._process is None:
            return
        if self._process.poll() is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                # A fork that has not made a group of its own yet.
                self._process.send_signal(signal.SIGKILL)
        if not self.wait(_KILL_SECONDS) and self._fork_server is not None:
            # It does not tell of ends: it is stuck. Killed, it takes along what it had started.
            self._fork_server.kill()
        self._process.wait()

    def end_group(self) -> None:
        """Kill what an ended program left behind: workers that it had started and that hold its port."""
        if self._process is not None and self._process.poll() is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines that the program wrote, for error messages."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 16_384))
            text = log.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])
