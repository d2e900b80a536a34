"""One supervised process: started again whenever it ends without having been asked to."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from agora_local.forkserver import ForkServerGone
from agora_local.parts import Part, PartFailed
from agora_local.process import ChildProcess

_BACKOFF_FIRST_SECONDS = 0.1
_BACKOFF_LIMIT_SECONDS = 10.0
_STABLE_SECONDS = 20.0
_START_PATIENCE_SECONDS = 5.0

type Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitState:
    """What a supervised process does now.

    `state` is running, restarting (it ended and will be started again) or stopped (on request).
    """

    name: str
    state: str
    pid: int | None
    restarts: int
    exit_code: int | None


class Unit:
    """Keeps one process running, in a thread of its own. All methods may be called from any thread.

    Args:
        name: How the process is called in commands and messages.
        runs: The process, or the part that prepares it and waits until it answers.
        say: Gets a line about each restart.
    """

    def __init__(self, name: str, runs: ChildProcess | Part, say: Say) -> None:
        self.name = name
        self.restarts = 0
        self._runs = runs
        self._say = say
        self._wanted = False
        self._asked_to_restart = False
        self._change = threading.Event()
        # Held while the process is started or ended, so that neither happens in the middle of the other.
        self._lock = threading.RLock()
        self._watcher: threading.Thread | None = None

    @property
    def process(self) -> ChildProcess:
        """The process as it is now; a part makes a new one when it prepares."""
        return self._runs.process if isinstance(self._runs, Part) else self._runs

    @property
    def part(self) -> Part | None:
        """The part, where it is one."""
        return self._runs if isinstance(self._runs, Part) else None

    def state(self) -> UnitState:
        """What it does now."""
        process = self.process
        running = process.pid is not None
        return UnitState(
            name=self.name,
            state="running" if running else "restarting" if self._wanted else "stopped",
            pid=process.pid,
            restarts=self.restarts,
            exit_code=process.exit_code,
        )

    def start(self) -> None:
        """Start it (a part: until it answers) and keep it running. Does nothing when it runs.

        Raises:
            PartFailed: a part did not come up this first time.
        """
        with self._lock:
            if self._wanted:
                return
            self._change.clear()
            self._runs.start()
            self._wanted = True
            self._watcher = threading.Thread(target=self._watch, name=f"watch-{self.name}", daemon=True)
            self._watcher.start()

    def stop(self) -> None:
        """End it in order and leave it ended."""
        self._wanted = False
        self._change.set()
        if not self._lock.acquire(timeout=_START_PATIENCE_SECONDS):
            # It is in the middle of a start that takes long. Killed, the start fails and lets go.
            self.process.kill()
            self._lock.acquire()
        try:
            if not self.process.stop():
                self._say(f"{self.name} did not end when asked to and was killed")
        finally:
            self._lock.release()
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join()

    def kill(self) -> None:
        """End it at once; it is started again like after any crash."""
        self.process.kill()

    def restart(self) -> None:
        """End it in order and start it again at once."""
        with self._lock:
            if not self._wanted:
                self.start()
                return
            self._asked_to_restart = True
            self.process.stop()

    def _watch(self) -> None:
        failures = 0
        while self._wanted:
            started = time.monotonic()
            process = self.process
            process.wait()
            process.end_group()
            if time.monotonic() - started > _STABLE_SECONDS:
                failures = 0
            if not self._pause(failures):
                return
            failures += 1
            self.restarts += 1
            self._start_again()

    def _pause(self, failures: int) -> bool:
        """Wait before the next start, longer after each failure; false when it shall not run any more."""
        if not self._wanted:
            return False
        if self._asked_to_restart:
            self._asked_to_restart = False
            return True
        delay = min(_BACKOFF_LIMIT_SECONDS, _BACKOFF_FIRST_SECONDS * 2**failures)
        self._say(
            f"{self.name} ended (exit code {self.process.exit_code}), starting it again in {delay:.1f} s"
        )
        return not self._change.wait(delay)

    def _start_again(self) -> None:
        with self._lock:
            if not self._wanted:
                return
            try:
                self._runs.start()
            except (PartFailed, ForkServerGone, OSError) as error:
                # The watcher finds it ended and tries again later.
                self._say(str(error))
