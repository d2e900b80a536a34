"""Where the Temporal CLI comes from: $AGORA_TEMPORAL_CLI, PATH, our cache, a download, or a build."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agora_local.parts.base import PartFailed

VERSION = "1.5.1"
_GO_MODULE = f"github.com/temporalio/cli/cmd/temporal@v{VERSION}"
_DOWNLOAD_SECONDS = 60
_BUILD_SECONDS = 1800
_PROGRESS_SECONDS = 5

_DOWNLOAD_PROGRAM = """
import asyncio, os, sys
from temporalio.testing import WorkflowEnvironment
async def main():
    environment = await WorkflowEnvironment.start_local(
        download_dest_dir=sys.argv[1], dev_server_download_version=sys.argv[2], dev_server_log_level="error")
    await environment.shutdown()
if __name__ == "__main__":
    asyncio.run(main())
    # Not through the interpreter's shutdown, during which the SDK's threads may crash the process.
    os._exit(0)
"""

type Say = Callable[[str], None]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def cache_folder() -> Path:
    """Where things are kept that are expensive to make and belong to no checkout."""
    if explicit := os.environ.get("AGORA_CACHE"):
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agora"


def find_temporal_cli(say: Say = _say) -> Path:
    """The path of a Temporal CLI that can run the development server, made if need be.

    Args:
        say: Gets a line about each thing that takes time.

    Raises:
        PartFailed: there is none and none could be made; says what was tried.
    """
    if explicit := os.environ.get("AGORA_TEMPORAL_CLI"):
        if not usable(Path(explicit)):
            raise PartFailed(
                f"AGORA_TEMPORAL_CLI is {explicit}, which cannot run `temporal server start-dev`."
            )
        return Path(explicit)
    if (on_path := shutil.which("temporal")) and usable(Path(on_path)):
        return Path(on_path)
    cached = cache_folder() / f"temporal-{VERSION}" / "temporal"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        with _alone(cached.parent / "lock", say):
            if not cached.exists():
                _make(cached, say)
    return cached


def usable(binary: Path) -> bool:
    """Whether `binary` is a Temporal CLI with a development server."""
    try:
        result = subprocess.run(
            [binary, "server", "start-dev", "--help"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0 and b"--db-filename" in result.stdout + result.stderr


def _make(destination: Path, say: Say) -> None:
    problems = []
    for name, source in (("download", _download), ("build", _build)):
        # Made beside the destination and renamed: a killed attempt leaves nothing that looks complete.
        with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f"{name}-") as folder:
            try:
                made = source(Path(folder), say)
                if usable(made):
                    made.rename(destination)
                    say(f"The Temporal CLI is ready: {destination}")
                    return
                problems.append(f"{name}: what came cannot run `server start-dev`")
            except PartFailed as error:
                problems.append(f"{name}: {error}")
                say(f"Temporal CLI, {name}: {error}")
    raise PartFailed(
        "There is no Temporal CLI and none could be made. Install it (https://docs.temporal.io/cli), or Go,"
        " or set AGORA_TEMPORAL_CLI to the program's path. Tried:\n" + "\n".join(problems)
    )


def _download(folder: Path, say: Say) -> Path:
    say(f"Downloading the Temporal CLI {VERSION} (at most {_DOWNLOAD_SECONDS} s)")
    command = [sys.executable, "-c", _DOWNLOAD_PROGRAM, str(folder), f"v{VERSION}"]
    _run(command, "Downloading", os.environ, _DOWNLOAD_SECONDS, say)
    made = [path for path in folder.iterdir() if path.is_file() and path.name.startswith("temporal")]
    if not made:
        raise PartFailed("the SDK left no program")
    return made[0]


def _build(folder: Path, say: Say) -> Path:
    go = shutil.which("go")
    if go is None:
        raise PartFailed("there is no `go` on PATH")
    say(f"Building the Temporal CLI {VERSION} with Go: about 5 minutes, once; it is kept in {cache_folder()}")
    environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-mod=mod"}
    _run([go, "install", _GO_MODULE], "Building", environment, _BUILD_SECONDS, say)
    return folder / "temporal"


def _run(
    command: list[str], verb: str, environment: os._Environ[str] | dict[str, str], timeout: float, say: Say
) -> None:
    """Run a command that takes long, with a line of progress every few seconds.

    Raises:
        PartFailed: it failed or took longer than `timeout` seconds.
    """
    started = time.monotonic()
    done = threading.Event()

    def report() -> None:
        while not done.wait(_PROGRESS_SECONDS):
            say(f"  {verb} the Temporal CLI: {time.monotonic() - started:.0f} s")

    threading.Thread(target=report, daemon=True).start()
    try:
        result = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=timeout,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PartFailed(f"took longer than {timeout:.0f} s") from None
    finally:
        done.set()
    if result.returncode != 0:
        lines = result.stdout.strip().splitlines()
        raise PartFailed("; ".join(lines[-3:]) or f"exit code {result.returncode}")


@contextmanager
def _alone(path: Path, say: Say) -> Iterator[None]:
    """Let one process at a time in; the others wait and then find the work done."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another process that is making the Temporal CLI")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
