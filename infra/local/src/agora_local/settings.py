"""Where the platform of this checkout listens and keeps its data."""

import base64
import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from agora_local.parts.postgres import traversable, unprivileged_owner, write_private
from agora_local.ports import free_ports, holder, is_free


class PlatformFailed(Exception):
    """The platform could not be started or controlled; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """TCP ports on 127.0.0.1. Each is overridden by AGORA_PORT_<NAME>, such as AGORA_PORT_API."""

    api: int = 8000
    postgres: int = 5442
    nats: int = 4222
    nats_monitor: int = 8222
    temporal: int = 7233
    temporal_ui: int = 8233

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Ports":
        """The default ports with what the environment overrides.

        Raises:
            PlatformFailed: a variable is not a port, or two parts were given the same one.
        """
        given: dict[str, int] = {}
        for name in cls.names():
            variable = port_variable(name)
            if text := environment.get(variable):
                if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
                    raise PlatformFailed(f"{variable} is {text!r}; it must be a port from 1 to 65535")
                given[name] = int(text)
        ports = cls(**given)
        by_number: dict[int, str] = {}
        for name in cls.names():
            number = getattr(ports, name)
            if other := by_number.get(number):
                raise PlatformFailed(
                    f"{other} and {name} would both use port {number}."
                    f" Set {port_variable(name)} to another one."
                )
            by_number[number] = name
        return ports

    @classmethod
    def free(cls) -> "Ports":
        """Ports on which nothing listens now, for tests."""
        return cls(**dict(zip(cls.names(), free_ports(len(cls.names())), strict=True)))

    @classmethod
    def names(cls) -> list[str]:
        """The names of the ports."""
        return [field.name for field in fields(cls)]

    def require_free(self) -> None:
        """Check that nothing listens on any of them.

        Raises:
            PlatformFailed: names each taken port, who needs it, who has it, and the variable to change it.
        """
        taken = []
        for name in self.names():
            port = getattr(self, name)
            if not is_free(port):
                by = holder(port)
                taken.append(
                    f"  port {port}, for {_PART_OF[name]}, is taken{f' by {by}' if by else ''}:"
                    f" stop that, or set {port_variable(name)}"
                )
        if taken:
            raise PlatformFailed("Nothing was started.\n" + "\n".join(taken))


_PART_OF = {
    "api": "the API",
    "postgres": "PostgreSQL",
    "nats": "NATS",
    "nats_monitor": "NATS monitoring",
    "temporal": "Temporal",
    "temporal_ui": "Temporal's UI",
}


def port_variable(name: str) -> str:
    """The environment variable that overrides a port."""
    return f"AGORA_PORT_{name.upper()}"


def default_home() -> Path:
    """The data folder: $AGORA_HOME, else `.agora` in the current folder."""
    return Path(os.environ.get("AGORA_HOME") or ".agora").absolute()


def postgres_folder(home: Path) -> Path:
    """Where PostgreSQL's data is: in the data folder, or elsewhere when its user cannot enter that.

    Raises:
        PlatformFailed: the other place belongs to another user.
    """
    if (home / "postgres").exists() or unprivileged_owner() is None or traversable(home):
        return home / "postgres"
    place = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]
    folder = Path("/var/tmp") / f"agora-{place}"
    folder.mkdir(mode=0o755, exist_ok=True)
    if folder.lstat().st_uid != os.geteuid():
        raise PlatformFailed(f"{folder} belongs to another user; remove it or set AGORA_HOME")
    return folder / "postgres"


def operator_token(home: Path) -> str:
    """The token of the operator routes, from a file that only its owner can read; made when there is none."""
    path = home / "operator-token"
    if not path.exists():
        # The prefix keeps it from looking like a customer's key.
        write_private(path, f"op_{secrets.token_urlsafe(32)}")
    return path.read_text().strip()


def key_encryption_keys(home: Path) -> str:
    """What vendors' keys are encrypted under, from a file that only its owner can read; made when there is none.

    To change it, put a new `name:base64` pair in front of the old, restart, and rotate (see docs/guides).
    """
    path = home / "key-encryption-keys"
    if not path.exists():
        write_private(path, f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}")
    return path.read_text().strip()
