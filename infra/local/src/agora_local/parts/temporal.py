"""Temporal's development server with its UI, started with settings that were measured to matter."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from agora_contracts.search_attributes import SEARCH_ATTRIBUTES

from agora_local.parts.base import Part
from agora_local.parts.temporal_cli import find_temporal_cli
from agora_local.ports import free_port, http_status
from agora_local.process import ChildProcess

DYNAMIC_CONFIG: Mapping[str, str] = {
    # By default each queue is polled at most 20 times a second, which costs every step 50 ms.
    "history.transferProcessorMaxPollRPS": "2000",
    "history.timerProcessorMaxPollRPS": "2000",
    "history.visibilityProcessorMaxPollRPS": "2000",
    "system.enableActivityEagerExecution": "true",
    "system.enableEagerWorkflowStart": "true",
    # Tasks are spread fairly over tenants by Priority(fairness_key=...).
    "matching.useNewMatcher": "true",
    "matching.enableFairness": "true",
}
"""Settings that `./dev up`, the tests and the benchmarks share."""


class Temporal(Part):
    """A Temporal server on 127.0.0.1.

    Args:
        folder: Keeps `temporal.db`.
        port: gRPC port.
        ui_port: Port of the web UI; None leaves the UI out.
        in_memory: Keep nothing: faster, and empty after a restart. For tests.
        namespace: Created at the start when it is not there.
        search_attributes: Name to type (Keyword, Int, Double, Bool, Datetime, Text, KeywordList); by default those
            that our runs are started with.
        dynamic_config: JSON values added to `DYNAMIC_CONFIG`.
        binary: The CLI; None finds or builds it.
        log: Where its output goes; by default `log` in the folder.
    """

    name = "temporal"

    def __init__(
        self,
        folder: Path,
        port: int,
        ui_port: int | None = None,
        *,
        in_memory: bool = False,
        namespace: str = "default",
        search_attributes: Mapping[str, str] | None = None,
        dynamic_config: Mapping[str, str] | None = None,
        binary: Path | None = None,
        log: Path | None = None,
    ) -> None:
        self.folder = folder
        self.port = port
        self.ui_port = ui_port
        self.namespace = namespace
        self._in_memory = in_memory
        self._search_attributes = dict(SEARCH_ATTRIBUTES if search_attributes is None else search_attributes)
        self._dynamic_config = {**DYNAMIC_CONFIG, **(dynamic_config or {})}
        self._binary = binary
        self._log = log or folder / "log"
        self._http_port = 0
        self._process = ChildProcess(self.name, [], log=self._log)

    @property
    def address(self) -> str:
        """What Temporal's clients call the target: host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Same as `address`."""
        return self.address

    @property
    def ui_url(self) -> str | None:
        """The web UI, or None where it was left out."""
        return None if self.ui_port is None else f"http://127.0.0.1:{self.ui_port}"

    def prepare(self) -> None:
        """Find or build the CLI; the first time this may take minutes, and says so."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._binary is None:
            self._binary = find_temporal_cli()
        self._http_port = free_port()
        self._process = ChildProcess(
            self.name,
            self._command(self._binary),
            log=self._log,
            environment={**os.environ, "GOGC": "800"},
            # It may wait long for open polls; what it acknowledged is in SQLite's log by then.
            stop_signal=signal.SIGTERM,
            stop_timeout_seconds=5,
            death_signal=signal.SIGKILL,
        )

    def ready(self) -> bool:
        """Whether the server answers and knows the namespace.

        Asked over HTTP: a process that used a Temporal client may crash when it exits soon after.
        """
        return http_status(self._http_port, f"/api/v1/namespaces/{self.namespace}") == 200

    def _command(self, binary: Path) -> list[str | Path]:
        command: list[str | Path] = [
            binary,
            "server",
            "start-dev",
            "--ip",
            "127.0.0.1",
            "--log-level",
            "error",
        ]
        command += [
            "--port",
            str(self.port),
            "--http-port",
            str(self._http_port),
            "--namespace",
            self.namespace,
        ]
        command += ["--headless"] if self.ui_port is None else ["--ui-port", str(self.ui_port)]
        if not self._in_memory:
            command += ["--db-filename", self.folder / "temporal.db"]
            command += ["--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=1"]
        for key, value in self._dynamic_config.items():
            command += ["--dynamic-config-value", f"{key}={value}"]
        for name, kind in self._search_attributes.items():
            command += ["--search-attribute", f"{name}={kind}"]
        return command
