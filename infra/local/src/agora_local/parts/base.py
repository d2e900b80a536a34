"""What every part can do: start until ready, stop, be killed."""

import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from agora_local.process import ChildProcess


class PartFailed(Exception):
    """A part could not be started; the message says why and what to do."""


class Part(ABC):
    """A server process with a folder of its own.

    Usable as a context manager: started on entry, stopped on exit. All methods block; from asyncio call them
    through `asyncio.to_thread`.
    """

    name: str
    start_timeout_seconds: float = 60.0
    _process: ChildProcess

    @property
    @abstractmethod
    def url(self) -> str:
        """Where a client connects, credentials included."""

    @abstractmethod
    def prepare(self) -> None:
        """Make folders, credentials and configuration; harmless when repeated.

        Raises:
            PartFailed: this machine cannot run the part; says what to change.
        """

    @abstractmethod
    def ready(self) -> bool:
        """Whether the part answers now."""

    @property
    def process(self) -> ChildProcess:
        """The server's process."""
        return self._process

    def start(self) -> None:
        """Prepare, start and wait until the part answers. Does nothing when it runs.

        Raises:
            PartFailed: it ended or did not answer in time; carries the end of its log.
        """
        if not self._process.alive:
            self.prepare()
            self._process.start()
        try:
            self._wait_ready()
        except BaseException:
            # Also for Ctrl-C in the middle of a start: a half-started server is of no use to anybody.
            self._process.kill()
            raise

    def stop(self) -> None:
        """End the part in order; kill it when it does not."""
        self._process.stop()

    def kill(self) -> None:
        """End the part as a power cut would (SIGKILL). `start` brings it back with what it had stored."""
        self._process.kill()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + self.start_timeout_seconds
        while not self.ready():
            if not self._process.alive:
                raise PartFailed(self._report(f"ended with exit code {self._process.exit_code}"))
            if time.monotonic() > deadline:
                raise PartFailed(self._report(f"did not answer within {self.start_timeout_seconds:.0f} s"))
            time.sleep(0.02)

    def _report(self, what: str) -> str:
        return f"{self.name} {what}. Its log, {self._process.log}, ends with:\n{self._process.log_tail()}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
