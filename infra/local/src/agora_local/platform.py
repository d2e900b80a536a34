"""The whole platform on one machine: the parts, the services, and what keeps them running."""

import json
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from agora_contracts.permissions import permissions
from agora_kit.provision import DatabasePasswords, DatabaseUrls, provision, urls_of

from agora_local import forkserver
from agora_local.blocking import run_in_thread
from agora_local.forkserver import ForkServer, ForkServerGone
from agora_local.health import ask_health
from agora_local.parts import Nats, Part, PartFailed, Postgres, Temporal
from agora_local.parts.nats import Permissions
from agora_local.parts.postgres import write_private
from agora_local.ports import http_status
from agora_local.process import ChildProcess
from agora_local.settings import (
    PlatformFailed,
    Ports,
    key_encryption_keys,
    operator_token,
    postgres_folder,
)
from agora_local.unit import Unit, UnitState

_LOG_LIMIT_BYTES = 20 * 1024**2
_CRASHES_UNTIL_GIVING_UP = 5
_END_SECONDS = 10.0

type Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """One of our processes.

    Its name is also its NATS user and its place in `agora.cmd.<name>.health`.

    Args:
        module: Run as `python -m module`.
        database: The service whose database it uses.
        http: Whether it serves the public API (and gets the operator's token).
    """

    name: str
    module: str
    database: str
    http: bool = False


PROCESSES: Sequence[ProcessSpec] = (
    ProcessSpec(name="catalog", module="agora_catalog", database="catalog"),
    ProcessSpec(name="metering", module="agora_metering", database="metering"),
    ProcessSpec(name="billing", module="agora_billing", database="billing"),
    ProcessSpec(name="execution", module="agora_execution", database="execution"),
    ProcessSpec(name="vectors", module="agora_execution.vectors", database="execution"),
    ProcessSpec(name="worker", module="agora_execution.worker", database="execution"),
    ProcessSpec(name="gateway", module="agora_gateway", database="gateway", http=True),
)
"""In the order of their start; stopped in reverse: first what takes work in, last what others need."""


class Platform:
    """Starts everything, keeps it running, stops it in reverse order. Data stays in the folder.

    All methods block and may be called from any thread. The services migrate their databases themselves when
    they start.

    Args:
        folder: Data, secrets (0600) and logs.
        ports: Where the parts and the API listen.
        environment: Added to the environment of our processes, over everything else.
        processes: Which processes run beside the parts.
        permissions: What each NATS user may do, by default what the catalogue says; None leaves it unlimited.
        search_attributes: Temporal's, name to type.
        fork_server: Starts our processes; by default one of its own, where the system bears it.
        say: Gets a line about each thing that happens.
    """

    def __init__(
        self,
        folder: Path,
        ports: Ports,
        environment: Mapping[str, str] | None = None,
        *,
        processes: Sequence[ProcessSpec] = PROCESSES,
        permissions: Callable[[str], Permissions | None] = permissions,
        search_attributes: Mapping[str, str] | None = None,
        fork_server: ForkServer | None = None,
        say: Say = lambda line: None,
    ) -> None:
        self.folder = folder.absolute()
        self.ports = ports
        self.processes = processes
        self._environment = dict(environment or {})
        self._say = say
        self.folder.mkdir(parents=True, exist_ok=True)
        self.logs_folder = self.folder / "logs"
        self._own_fork_server: ForkServer | None = None
        if fork_server is None and processes and forkserver.AVAILABLE:
            modules = [spec.module for spec in processes]
            fork_server = self._own_fork_server = ForkServer(modules, log=self.log_of("forkserver"))
        self._fork_server = fork_server
        data = postgres_folder(self.folder)
        if data.parent != self.folder:
            say(f"PostgreSQL's user cannot enter {self.folder}; its data is in {data}")
        self.postgres = Postgres(data, ports.postgres, log=self.log_of("postgres"))
        self.nats = Nats(
            self.folder / "nats",
            ports.nats,
            ports.nats_monitor,
            permissions=permissions,
            log=self.log_of("nats"),
        )
        self.temporal = Temporal(
            self.folder / "temporal",
            ports.temporal,
            ports.temporal_ui,
            search_attributes=search_attributes,
            log=self.log_of("temporal"),
        )
        parts: list[Part] = [self.postgres, self.nats, self.temporal]
        self._units = {part.name: Unit(part.name, part, say) for part in parts}

    @property
    def api_url(self) -> str:
        """Where the gateway answers."""
        return f"http://127.0.0.1:{self.ports.api}"

    @property
    def operator_token(self) -> str:
        """The token of the gateway's operator routes."""
        return operator_token(self.folder)

    def nats_url(self, user: str = "operator") -> str:
        """The NATS URL of one user."""
        return self.nats.user_url(user)

    def log_of(self, name: str) -> Path:
        """The log file of a process or part."""
        return self.logs_folder / f"{name}.log"

    # --- start and stop --------------------------------------------------------------------------

    def start(self) -> None:
        """Start the parts until they answer, make the databases, then start our processes.

        On failure, Ctrl-C included, everything that was started is stopped again.

        Raises:
            PlatformFailed: a port is taken (then nothing was started) or a part did not come up.
        """
        self.ports.require_free()
        for log in self.logs_folder.glob("*.log"):
            if log.stat().st_size > _LOG_LIMIT_BYTES:
                log.replace(log.with_suffix(".log.1"))
        try:
            if self._fork_server is not None:
                self._fork_server.start()
            for part in (self.postgres, self.nats, self.temporal):
                self._say(f"starting {part.name}")
                self._units[part.name].start()
            urls = run_in_thread(self._provision())
            for spec in self.processes:
                unit = Unit(spec.name, self._child(spec, urls[spec.database]), self._say)
                self._units[spec.name] = unit
                unit.start()
        except (PartFailed, ForkServerGone) as error:
            self.stop()
            raise PlatformFailed(str(error)) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything in reverse order: the gateway first, PostgreSQL last."""
        for name in reversed(list(self._units)):
            if self._units[name].state().state != "stopped":
                self._say(f"stopping {name}")
            self._units[name].stop()
        if self._own_fork_server is not None:
            self._own_fork_server.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def fork_server_pid(self) -> int | None:
        """The process id of its own fork server, if it runs one."""
        return None if self._own_fork_server is None else self._own_fork_server.pid

    # --- watch and disturb -----------------------------------------------------------------------

    def pids(self) -> dict[str, int]:
        """The process ids of what runs now, by name."""
        return {state.name: state.pid for state in self.states() if state.pid is not None}

    def states(self) -> list[UnitState]:
        """What each part and process does now, in the order of their start."""
        return [unit.state() for unit in list(self._units.values())]

    def kill(self, name: str) -> None:
        """SIGKILL one part or process; it is restarted as after any crash."""
        self._unit(name).kill()

    def kill_and_start(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End one part or process by a signal and start it at once, however often it has ended lately.

        Raises:
            PartFailed: a part does not come up again.
        """
        unit = self._unit(name)
        unit.process.signal(number)
        if not unit.process.wait(_END_SECONDS):
            unit.kill()
        unit.stop()
        unit.start()

    def lose_streams(self) -> None:
        """Kill NATS, delete what JetStream has stored, and start it.

        Raises:
            PartFailed: it does not come up again.
        """
        self._unit("nats").kill()
        self._unit("nats").stop()
        shutil.rmtree(self.nats.folder / "store")
        self._unit("nats").start()

    def database_urls(self, service: str) -> DatabaseUrls:
        """The URLs of a service's database, once the platform was started."""
        return urls_of(self.postgres.url, service, self._database_passwords([service])[service])

    def restart(self, name: str) -> None:
        """Stop one part or process in order and start it again; returns when it has ended."""
        self._unit(name).restart()

    def stop_one(self, name: str) -> None:
        """Stop one part or process and leave it stopped until `start_one`."""
        self._unit(name).stop()

    def start_one(self, name: str) -> None:
        """Start what `stop_one` stopped."""
        self._unit(name).start()

    def not_ready(self) -> dict[str, str]:
        """Parts and processes that cannot work now, with the reason; empty when all can."""
        unready: dict[str, str] = {}
        for name, unit in list(self._units.items()):
            if not unit.process.alive:
                unready[name] = unit.state().state
            elif unit.part is not None and not unit.part.ready():
                unready[name] = "starting"
        asked = [spec for spec in self.processes if spec.name not in unready]
        if "nats" in unready:
            return unready | {spec.name: "cannot be asked without nats" for spec in asked}
        answers = run_in_thread(ask_health(self.nats.url, [spec.name for spec in asked]))
        unready |= {name: status for name, status in answers.items() if status != "ready"}
        for spec in asked:
            if spec.http and spec.name not in unready:
                status = http_status(self.ports.api, "/api/v1/health/ready")
                if status != 200:
                    unready[spec.name] = f"GET /api/v1/health/ready: {status or 'no answer'}"
        return unready

    def wait_ready(self, timeout_seconds: float = 240.0) -> None:
        """Wait until every part and process can work.

        Raises:
            PlatformFailed: not in time, or something crashes again and again; with its last words.
        """
        deadline = time.monotonic() + timeout_seconds
        restarts = {name: unit.restarts for name, unit in self._units.items()}
        said: set[str] = set()
        while unready := self.not_ready():
            if said != set(unready):
                said = set(unready)
                self._say(f"waiting for {', '.join(unready)}")
            for name in unready:
                if self._units[name].restarts - restarts[name] >= _CRASHES_UNTIL_GIVING_UP:
                    raise PlatformFailed(self._report(name, "crashes again and again"))
            if time.monotonic() > deadline:
                name, reason = next(iter(unready.items()))
                raise PlatformFailed(
                    self._report(name, f"is not ready after {timeout_seconds:.0f} s: {reason}")
                )
            time.sleep(0.1)

    def _unit(self, name: str) -> Unit:
        try:
            return self._units[name]
        except KeyError:
            raise PlatformFailed(f"there is no {name}; there are {', '.join(self._units)}") from None

    def _report(self, name: str, what: str) -> str:
        process = self._units[name].process
        return f"{name} {what}. Its log, {process.log}, ends with:\n{process.log_tail()}"

    # --- what a process is given -----------------------------------------------------------------

    async def _provision(self) -> dict[str, DatabaseUrls]:
        services = list(dict.fromkeys(spec.database for spec in self.processes))
        passwords = self._database_passwords(services)
        return {
            service: await provision(self.postgres.url, service, passwords[service]) for service in services
        }

    def _database_passwords(self, services: Sequence[str]) -> dict[str, DatabasePasswords]:
        path = self.folder / "databases.json"
        known: dict[str, dict[str, str]] = json.loads(path.read_text()) if path.exists() else {}
        missing = [service for service in services if service not in known]
        for service in missing:
            known[service] = {role: secrets.token_urlsafe(24) for role in ("app", "system", "owner")}
        if missing:
            write_private(path, json.dumps(known, indent=1))
        return {service: DatabasePasswords(**known[service]) for service in services}

    def _child(self, spec: ProcessSpec, urls: DatabaseUrls) -> ChildProcess:
        return ChildProcess(
            spec.name,
            [sys.executable, "-m", spec.module],
            log=self.log_of(spec.name),
            environment=self._environment_of(spec, urls),
            working_folder=self.folder,
            stop_timeout_seconds=20,
            # Not SIGKILL, which would leave behind the workers that it started itself.
            death_signal=signal.SIGTERM,
            fork_server=self._fork_server,
        )

    def _environment_of(self, spec: ProcessSpec, urls: DatabaseUrls) -> dict[str, str]:
        given = {
            # One thread for linear algebra: several processes share the cores, and OpenBLAS's threads spin
            # while they wait for each other.
            "OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS", "1"),
            "AGORA_SERVICE": spec.name,
            # The data folder, where it runs, is no place to import from.
            "PYTHONSAFEPATH": "1",
            "AGORA_DATABASE_URL": urls.app,
            "AGORA_DATABASE_SYSTEM_URL": urls.system,
            "AGORA_DATABASE_OWNER_URL": urls.owner,
            "AGORA_NATS_URL": self.nats.user_url(spec.name),
            "AGORA_TEMPORAL_ADDRESS": self.temporal.address,
            "AGORA_TEMPORAL_NAMESPACE": self.temporal.namespace,
            "AGORA_LOG_LEVEL": os.environ.get("AGORA_LOG_LEVEL", "info"),
        }
        for kind in ("objects", "vectors", "artifacts"):
            folder = self.folder / kind
            folder.mkdir(exist_ok=True)
            given[f"AGORA_{kind.upper()}_FOLDER"] = str(folder)
        if spec.name in ("execution", "worker"):
            given["AGORA_KEY_ENCRYPTION_KEYS"] = key_encryption_keys(self.folder)
        if spec.http:
            given["AGORA_OPERATOR_TOKEN"] = self.operator_token
            given["AGORA_HTTP_HOST"] = "127.0.0.1"
            given["AGORA_HTTP_PORT"] = str(self.ports.api)
        # OTEL_*, keys of LLM vendors, proxies and certificates come with our own environment.
        return {**os.environ, **given, **self._environment}
