"""Pytest fixtures on the real parts, started only when a test asks for them.

Loaded by the root conftest.py. With pytest-xdist every worker has parts of its own, on free ports, in a
temporary folder. A test gets a database and a NATS account that nobody else uses.
"""

import asyncio
import gc
import itertools
import os
import shutil
import signal
import stat
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from agora_kit.provision import (
    DatabasePasswords,
    DatabaseUrls,
    database_name,
    provision,
    restrict_database,
    urls_of,
)

from agora_local import forkserver
from agora_local.blocking import run_in_thread
from agora_local.forkserver import ForkServer
from agora_local.parts import Nats, Postgres, Temporal
from agora_local.parts.postgres import traversable
from agora_local.platform import PROCESSES, Platform
from agora_local.ports import free_port, free_ports
from agora_local.settings import Ports

if TYPE_CHECKING:
    import asyncpg

NATS_ACCOUNTS = 100
_FOLDER_PREFIX = "agora-test-"
_MEMORY = Path("/dev/shm")
_MEMORY_BYTES_MIN = 6 * 1024**3
_PASSWORDS = DatabasePasswords(app="app", system="system", owner="owner")


def pytest_configure(config: pytest.Config) -> None:
    """Make SIGTERM end the session as Ctrl-C does, so that fixtures clean up."""
    if (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    ):
        signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all tests of the running platform on one xdist worker: it is started once."""
    for item in items:
        if "platform" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("platform"))


def pytest_collection_finish() -> None:
    """Leave out of every garbage collection what all tests have been made of: modules, and thousands of items."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def parts_folder() -> Iterator[Path]:
    """A temporary folder that any user can enter, removed at the end."""
    _remove_abandoned_folders()
    with own_folder(memory_root()) as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres_server(parts_folder: Path) -> Iterator[Postgres]:
    """A PostgreSQL server; `.url` is the administrator's. Without fsync."""
    with Postgres(parts_folder / "postgres", free_port(), durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def nats_server(parts_folder: Path) -> Iterator[Nats]:
    """A NATS server with JetStream and a pool of isolated accounts."""
    port, monitor_port = free_ports(2)
    with Nats(parts_folder / "nats", port, monitor_port, accounts=NATS_ACCOUNTS) as server:
        yield server


@pytest.fixture(scope="session")
def temporal_server(parts_folder: Path) -> Iterator[Temporal]:
    """A Temporal server in memory, shared: use workflow ids and task queues of your own."""
    with Temporal(parts_folder / "temporal", free_port(), in_memory=True) as server:
        yield server


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer | None]:
    """Starts the processes of every platform of this session; None where the system bears no fork."""
    if not forkserver.AVAILABLE:
        yield None
        return
    with own_folder() as folder:
        server = ForkServer([spec.module for spec in PROCESSES], log=folder / "forkserver.log")
        yield server
        server.close()


@pytest.fixture(scope="session")
def platform(fork_server: ForkServer | None) -> Iterator[Platform]:
    """Everything that `./dev up` runs, ready, on free ports and with empty data. Shared by all its tests.

    `.api_url` and `.operator_token` are the way in; `.kill(name)` and the like are for tests of faults, which
    leave it ready (`.wait_ready()`).
    """
    with (
        own_folder(memory_root()) as folder,
        Platform(folder / "home", Ports.free(), fork_server=fork_server) as running,
    ):
        running.wait_ready()
        yield running


@pytest.fixture
def temporal_address(temporal_server: Temporal) -> str:
    """Host and port of the Temporal server."""
    return temporal_server.address


@pytest.fixture(scope="session")
def nats_account_numbers() -> Iterator[int]:
    """Counts the accounts given out in this session."""
    return itertools.count()


@pytest.fixture
def nats_url(nats_server: Nats, nats_account_numbers: Iterator[int]) -> str:
    """URL of a NATS account with JetStream that no other test sees, empty."""
    number = next(nats_account_numbers)
    url = nats_server.account_url(number % NATS_ACCOUNTS)
    if number >= NATS_ACCOUNTS:
        run_in_thread(_delete_streams(url))
    return url


@pytest.fixture(scope="session")
def database_templates(postgres_server: Postgres) -> "Iterator[DatabaseTemplates]":
    """Migrated databases of the services, made on first use and copied for each test."""
    templates = DatabaseTemplates(postgres_server.url)
    yield templates
    templates.close()


@pytest.fixture
def database_urls(database_templates: "DatabaseTemplates") -> Iterator[Callable[[str], DatabaseUrls]]:
    """`database_urls("billing")` makes a fresh, migrated database of that service for this test.

    Call it from a test function or a fixture, async or not. The databases are dropped after the test.
    """
    made: list[str] = []

    def make(service: str) -> DatabaseUrls:
        name, urls = database_templates.copy(service)
        made.append(name)
        return urls

    yield make
    database_templates.drop(made)


class DatabaseTemplates:
    """One migrated database per service, and copies of it, made over one connection.

    All its methods may be called beside a running loop; the connection has a loop and a thread of its own.
    """

    def __init__(self, admin_url: str) -> None:
        self._admin_url = admin_url
        self._ready: set[str] = set()
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="database-copies", daemon=True)
        self._thread.start()
        self._connection: asyncpg.Connection | None = None

    def copy(self, service: str) -> tuple[str, DatabaseUrls]:
        """Make a copy of the service's template; its database's name and URLs."""
        if service not in self._ready:
            self._do(self._make_template(service))
            self._ready.add(service)
        name = f"{database_name(service)}_{next(self._numbers)}"
        self._do(self._copy(service, name))
        return name, urls_of(self._admin_url, service, _PASSWORDS, name)

    def drop(self, names: list[str]) -> None:
        """Drop databases, also those to which a test left connections open."""
        for name in names:
            self._do(self._drop(name))

    def close(self) -> None:
        """End the connection and its thread."""
        if self._connection is not None:
            self._do(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do[T](self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _administrator(self) -> "asyncpg.Connection":
        # Here, because the tests of pure rules need not wait for it to be loaded.
        import asyncpg

        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._admin_url, timeout=30)
        return self._connection

    async def _make_template(self, service: str) -> None:
        from agora_kit.database import migrate

        urls = await provision(self._admin_url, service, _PASSWORDS)
        await asyncio.to_thread(migrate, urls.owner, f"agora_{service}")
        administrator = await self._administrator()
        await administrator.execute(f'ALTER DATABASE "{database_name(service)}" ALLOW_CONNECTIONS false')

    async def _copy(self, service: str, name: str) -> None:
        administrator = await self._administrator()
        await administrator.execute(
            f'CREATE DATABASE "{name}" TEMPLATE "{database_name(service)}"'
            f' OWNER "agora_{service}_owner" STRATEGY file_copy'
        )
        await restrict_database(administrator, service, name)

    async def _drop(self, name: str) -> None:
        administrator = await self._administrator()
        await administrator.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextmanager
def own_folder(root: Path | None = None) -> Iterator[Path]:
    """A temporary folder that any user can enter, PostgreSQL's included, on the disk or in `root`; removed on exit."""
    root = root or _temporary_root()
    folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER_PREFIX}{os.getpid()}-", dir=root))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _delete_streams(url: str) -> None:
    import nats

    connection = await nats.connect(url)
    try:
        context = connection.jetstream()
        for stream in await context.streams_info():
            await context.delete_stream(str(stream.config.name))
    finally:
        await connection.close()


def _temporary_root() -> Path:
    for candidate in (Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/tmp")):
        if traversable(candidate):
            return candidate
    raise RuntimeError("no temporary folder that PostgreSQL's user can enter; set TMPDIR to one")


def memory_root() -> Path | None:
    """Where files are kept in memory, unless a folder is asked for or there is little room; a database is copied for
    each of a thousand tests."""
    roomy = (
        "TMPDIR" not in os.environ
        and os.access(_MEMORY, os.W_OK)
        and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES_MIN
        and psutil.virtual_memory().available > _MEMORY_BYTES_MIN
    )
    return _MEMORY if roomy else None


def _remove_abandoned_folders() -> None:
    """Remove the folders of sessions that were killed before they could."""
    roots = [root for root in (_temporary_root(), _MEMORY) if root.is_dir()]
    for folder in (found for root in roots for found in root.glob(f"{_FOLDER_PREFIX}*-*")):
        pid = folder.name.removeprefix(_FOLDER_PREFIX).split("-")[0]
        owned = stat.S_ISDIR(folder.lstat().st_mode) and folder.lstat().st_uid == os.geteuid()
        if owned and pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
