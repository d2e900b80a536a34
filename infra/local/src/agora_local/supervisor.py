"""The process that owns the platform of a data folder: one at a time, known to others by its state file."""

import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import psutil

from agora_local.platform import PROCESSES, Platform, ProcessSpec
from agora_local.settings import PlatformFailed, Ports
from agora_local.unit import UnitState

_MARKER = "this-is-agoras-data"
_TICK_SECONDS = 0.25
_LOCK_ATTEMPTS = 10

type Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the supervisor last wrote: `phase` is starting, ready, or stopping."""

    phase: str
    pid: int
    ports: Ports
    units: tuple[UnitState, ...] = ()


def prepare_home(home: Path) -> None:
    """Make the data folder and mark it as ours.

    Raises:
        PlatformFailed: it has contents that are not ours, or cannot be made or written to.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        marker = home / _MARKER
        if not marker.exists():
            if any(home.iterdir()):
                raise PlatformFailed(
                    f"{home} is not empty and is not Agora's. Set AGORA_HOME to another folder."
                )
            marker.touch()
    except OSError as error:
        raise PlatformFailed(
            f"{home} cannot be used as the data folder: {error.strerror}. Set AGORA_HOME to another one."
        ) from error
    if not os.access(home, os.W_OK):
        raise PlatformFailed(
            f"{home} cannot be written to. Make it writable, or set AGORA_HOME to another one."
        )


def is_home(home: Path) -> bool:
    """Whether a folder is a data folder of ours, and may thus be deleted."""
    return (home / _MARKER).exists()


def read_state(home: Path) -> State | None:
    """The state of the platform that runs now in this data folder; None when none does."""
    return _read_state_file(home) if _is_locked(home) else None


def supervise(
    home: Path,
    ports: Ports,
    say: Say,
    *,
    on_ready: Callable[[Platform], None] = lambda platform: None,
    processes: Sequence[ProcessSpec] = PROCESSES,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run the platform until SIGTERM or SIGINT. Call it from the main thread.

    Args:
        on_ready: Called once when everything can work.

    Raises:
        PlatformFailed: it runs already, a port is taken, or something did not come up.
    """
    prepare_home(home)
    with _lock(home):
        end_leftovers(home, say)
        ports.require_free()
        state = _StateFile(home)

        def tell(line: str) -> None:
            # Something happened: what was started must be on record, should we be killed.
            state.write()
            say(line)

        platform = Platform(home, ports, environment, processes=processes, say=tell)
        state.platform = platform
        _interrupt_once(say)
        try:
            platform.start()
            state.write()
            platform.wait_ready()
            state.write("ready")
            on_ready(platform)
            while True:
                time.sleep(_TICK_SECONDS)
                state.write()
        except KeyboardInterrupt:
            say("stopping")
        finally:
            try:
                state.write("stopping")
            finally:
                platform.stop()
            state.remove()
    say("stopped")


def end_leftovers(home: Path, say: Say) -> None:
    """End what a supervisor left that was killed: on Linux nearly always nothing.

    The caller holds the lock.
    """
    try:
        written = json.loads((home / "state.json").read_text())
    except (FileNotFoundError, ValueError):
        return
    left = []
    for entry in written.get("started", []):
        try:
            process = psutil.Process(entry["pid"])
            # The same process id may belong to another program by now; the time of its start tells.
            if abs(process.create_time() - entry["created"]) < 1:
                left.append(process)
        except psutil.Error:
            continue
    for process in left:
        say(f"ending process {process.pid} ({process.name()}), left by an earlier run")
        process.terminate()
    _, stubborn = psutil.wait_procs(left, timeout=20)
    for process in stubborn:
        process.kill()
    psutil.wait_procs(stubborn, timeout=10)


def stop_supervisor(home: Path, timeout_seconds: float = 120.0) -> bool:
    """Ask the supervisor of this folder to stop everything, and wait until it has; false when none runs.

    Raises:
        PlatformFailed: it does not stop in time.
    """
    state = read_state(home)
    if state is None:
        return False
    os.kill(state.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_seconds
    while _is_locked(home):
        if time.monotonic() > deadline:
            raise PlatformFailed(
                f"process {state.pid} does not stop; see {home}/logs, then try `kill -9 {state.pid}`"
            )
        time.sleep(0.05)
    return True


class _StateFile:
    """Writes state.json whenever something changed."""

    def __init__(self, home: Path) -> None:
        self.platform: Platform | None = None
        self._path = home / "state.json"
        self._phase = "starting"
        self._written = ""
        self._lock = threading.Lock()

    def write(self, phase: str | None = None) -> None:
        """Write the phase (by default the one before) and what runs. From any thread."""
        with self._lock:
            self._phase = phase or self._phase
            if self.platform is not None:
                self._write(self.platform)

    def _write(self, platform: Platform) -> None:
        units = platform.states()
        text = json.dumps(
            {
                "phase": self._phase,
                "pid": os.getpid(),
                "ports": asdict(platform.ports),
                "units": [asdict(unit) for unit in units],
                "started": [entry for unit in units if unit.pid and (entry := _identity(unit.pid))],
            }
        )
        if text != self._written:
            unfinished = self._path.with_suffix(".json.new")
            unfinished.write_text(text)
            unfinished.replace(self._path)
            self._written = text

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


def _identity(pid: int) -> dict[str, float] | None:
    try:
        return {"pid": pid, "created": psutil.Process(pid).create_time()}
    except psutil.Error:
        return None


def _read_state_file(home: Path) -> State | None:
    try:
        written = json.loads((home / "state.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return State(
        phase=written["phase"],
        pid=written["pid"],
        ports=Ports(**written["ports"]),
        units=tuple(UnitState(**unit) for unit in written["units"]),
    )


@contextmanager
def _lock(home: Path) -> Iterator[None]:
    """Own the data folder. The kernel lets go of the lock when we die, however that happens."""
    with (home / "supervisor.lock").open("w") as file:
        # More than once: whoever looks whether the platform runs holds the lock for a moment.
        for attempt in range(_LOCK_ATTEMPTS):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == _LOCK_ATTEMPTS - 1:
                    raise PlatformFailed(f"the platform of {home} runs already") from None
                time.sleep(0.03)
        yield


def _is_locked(home: Path) -> bool:
    path = home / "supervisor.lock"
    if not path.exists():
        return False
    with path.open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _interrupt_once(say: Say) -> None:
    """Turn the first SIGTERM or SIGINT into KeyboardInterrupt, and let none disturb the stop after it."""
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            say("already stopping")
            return
        asked = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    if sys.platform != "win32":
        # The terminal of `up --foreground` was closed.
        signal.signal(signal.SIGHUP, handle)
