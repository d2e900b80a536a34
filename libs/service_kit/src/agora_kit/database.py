"""PostgreSQL through SQLAlchemy Core on asyncpg: transactions under row-level security, and migrations.

Two roles per service. `transaction(tenant)` uses the service's ordinary role, for which every table's
policy admits only that tenant's rows. `system()` uses the named system role, which sees all tenants: it is
for the outbox relay, batch consumers, group commits and sweeps.
"""

import hashlib
import importlib.util
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from sqlalchemy import MetaData, event, text
from sqlalchemy.exc import (
    DBAPIError,
    DisconnectionError,
    InvalidRequestError,
    OperationalError,
    PendingRollbackError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from agora_kit import failpoints

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

_TRANSIENT_STATES = ("08", "40", "53", "55", "57")
"""SQLSTATE classes that a later try may not meet: connection, serialisation, resources, locks, shutdown."""

_CLOSED = "connection is closed"
_SENT_AWAY = "another operation ("
"""What the driver says of a connection on which the server has said good-bye, before it is closed."""

_UNSTORABLE_STATES = ("22021", "22P05")
"""What PostgreSQL says to U+0000: in a text, and in the text of a jsonb."""

UNSTORABLE = "a text in the request holds the character U+0000, which cannot be stored; leave it out"


def new_metadata() -> MetaData:
    """A MetaData whose constraints get predictable names, so that migrations can be compared."""
    return MetaData(naming_convention=NAMING)


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed later: the server is away, overloaded, or chose us as a victim."""
    if isinstance(error, ConnectionError | TimeoutError | PoolTimeout | asyncpg.PostgresConnectionError):
        return True
    if _is_of_lost_connection(error):
        return True
    if isinstance(error, DBAPIError):
        if error.connection_invalidated or _is_of_lost_connection(
            error.orig.__cause__ if error.orig else None
        ):
            return True
        state = getattr(error.orig, "sqlstate", None)
        if state is None:
            # What the driver itself refuses, such as a value that does not go into its column, it refuses for ever.
            return isinstance(error, OperationalError)
        return str(state).startswith(_TRANSIENT_STATES)
    state = getattr(error, "sqlstate", None)
    return isinstance(error, OSError) or (state is not None and str(state).startswith(_TRANSIENT_STATES))


def _is_of_lost_connection(error: BaseException | None) -> bool:
    """Whether driver or pool, not the server, says that the connection is no longer there.

    They do so in the words of these classes alone, which speak of faults in our own calls as well. A connection that
    is lost while it is being set up is told of by the driver's own error, one that is lost again and again while it is
    being taken from the pool by the pool's.
    """
    if isinstance(error, asyncpg.InterfaceError | InvalidRequestError) and _CLOSED in str(error):
        return True
    if isinstance(error, asyncpg.InternalClientError) and _SENT_AWAY in str(error):
        return True
    # Something went on in a transaction whose connection had been lost.
    return isinstance(error, PendingRollbackError)


def is_unstorable(error: BaseException) -> bool:
    """Whether a text was sent to the database that it can neither store nor compare, because of U+0000."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    return getattr(origin, "sqlstate", None) in _UNSTORABLE_STATES


def _json_dumps(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _leave_closed_out(connection: Any, _record: Any, _proxy: Any) -> None:
    """Take no connection from the pool that the server has closed: the driver knows, without a round trip."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


class Database:
    """Connections of one service to its own database.

    Args:
        command_seconds: how long a statement may take.
    """

    def __init__(self, url: str, system_url: str, *, pool_size: int = 8, command_seconds: float = 30) -> None:
        def engine(address: str, **settings: str) -> AsyncEngine:
            made = create_async_engine(
                address,
                pool_size=pool_size,
                max_overflow=pool_size,
                pool_timeout=10,
                # An error's text goes to the log; what customers sent must not.
                hide_parameters=True,
                json_serializer=_json_dumps,
                json_deserializer=msgspec.json.decode,
                connect_args={
                    "timeout": 5,
                    "command_timeout": command_seconds,
                    "server_settings": {"jit": "off"} | settings,
                },
            )
            event.listen(made.sync_engine, "checkout", _leave_closed_out)
            return made

        self.system_url = system_url
        self._tenant_engine = engine(url)
        # What runs under the system role is written for sets that come as arrays, and finds its rows by index. The
        # planner, who cannot tell how long an array is, would plan such a statement anew each time, which costs more
        # than most of them do; and while a table is young it would keep a plan that reads all of it.
        self._system_engine = engine(system_url, plan_cache_mode="force_generic_plan", enable_seqscan="off")
        # The same pools of connections: only the isolation level differs while one is taken.
        self._snapshot_engine = self._tenant_engine.execution_options(isolation_level="REPEATABLE READ")
        self._autocommit_engine = self._system_engine.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def engines(self) -> tuple[AsyncEngine, AsyncEngine]:
        """Both engines, for instrumentation."""
        return self._tenant_engine, self._system_engine

    @asynccontextmanager
    async def transaction(self, tenant: str) -> AsyncIterator[AsyncConnection]:
        """One transaction that sees and writes only the tenant's rows; commits at the end, or rolls back."""
        async with self._tenant_engine.begin() as connection:
            await connection.execute(
                text("SELECT set_config('agora.tenant_id', :tenant, true)"), {"tenant": tenant}
            )
            yield connection
            written = failpoints.armed() and await _is_written(connection)
        if written:
            failpoints.reach("after_commit")

    @asynccontextmanager
    async def snapshot(self, tenant: str) -> AsyncIterator[AsyncConnection]:
        """One transaction that reads the tenant's rows as they are at one moment, however many statements it has."""
        async with self._snapshot_engine.begin() as connection:
            await connection.execute(
                text("SELECT set_config('agora.tenant_id', :tenant, true)"), {"tenant": tenant}
            )
            yield connection

    @asynccontextmanager
    async def system(self) -> AsyncIterator[AsyncConnection]:
        """One transaction under the system role, for work across tenants."""
        async with self._system_engine.begin() as connection:
            yield connection
            written = failpoints.armed() and await _is_written(connection)
        if written:
            failpoints.reach("after_commit")

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[AsyncConnection]:
        """A connection under the system role on which each statement is a transaction of its own.

        For single statements on hot paths: without BEGIN and COMMIT they are one round trip instead of three.
        """
        async with self._autocommit_engine.connect() as connection:
            yield connection

    async def check(self) -> None:
        """Raise what the driver raises when the database does not answer."""
        async with self._system_engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def listen_connection(self) -> asyncpg.Connection:
        """A raw connection of its own for LISTEN and session locks; the caller closes it."""
        return await asyncpg.connect(self.system_url.replace("+asyncpg", ""), timeout=5)

    async def close(self) -> None:
        """Give every connection back."""
        await self._tenant_engine.dispose()
        await self._system_engine.dispose()


async def _is_written(connection: AsyncConnection) -> bool:
    """Whether the transaction that is about to commit has written anything; a failpoint may be just before it."""
    answer = await connection.execute(text("SELECT pg_current_xact_id_if_assigned() IS NOT NULL"))
    written = bool(answer.scalar_one())
    if written:
        failpoints.reach("before_commit")
    return written


async def driver(connection: AsyncConnection) -> asyncpg.Connection:
    """The asyncpg connection under a SQLAlchemy one, in the same transaction: for COPY and hot paths."""
    raw = await connection.get_raw_connection()
    driver_connection: asyncpg.Connection = raw.driver_connection
    if not driver_connection.is_in_transaction():
        # SQLAlchemy opens the transaction with its own first statement; before that, what the driver is given
        # would commit by itself.
        await connection.execute(text("SELECT 1"))
    return driver_connection


# --- migrations ----------------------------------------------------------------------------------


def migrations_folder(service_package: str) -> Path:
    """Where a service's Alembic migrations lie: in its package when installed, beside `src` in a checkout.

    Raises:
        FileNotFoundError: neither place has them.
    """
    spec = importlib.util.find_spec(service_package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"{service_package} is not an installed package")
    package = Path(next(iter(spec.submodule_search_locations)))
    for folder in (package / "migrations", package.parent.parent / "migrations"):
        if (folder / "env.py").exists():
            return folder
    raise FileNotFoundError(f"no migrations/env.py for {service_package}")


def migrate(owner_url: str, service_package: str) -> None:
    """Bring a service's database to its newest migration; one migrator at a time, others wait.

    Blocking: call it before the event loop or in a thread.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder(service_package)))
    config.attributes["url"] = owner_url
    command.upgrade(config, "head")


class MigrationsChanged(RuntimeError):
    """The database was made by migrations that are not these: one that has run was changed since."""


def digests(versions: Path) -> dict[str, str]:
    """SHA-256 of each migration's file, by revision, the oldest first."""
    files = sorted(versions.glob("[0-9]*.py"))
    return {file.name.split("_")[0]: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


async def is_current(owner_url: str, service_package: str) -> bool:
    """Whether the database is at the newest migration, told without loading Alembic (start-up time).

    Raises:
        MigrationsChanged: it was made by other migrations, and would fail at the first statement that needs the
            difference.
    """
    known = digests(migrations_folder(service_package) / "versions")
    connection = await asyncpg.connect(owner_url.replace("+asyncpg", ""), timeout=5)
    try:
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
            return False
        made_by = await connection.fetchval("SELECT obj_description('alembic_version'::regclass)")
        version = await connection.fetchval("SELECT version_num FROM alembic_version")
    finally:
        await connection.close()
    applied = json.loads(made_by) if made_by else {}
    changed = [revision for revision, digest in applied.items() if known.get(revision) != digest]
    if changed:
        raise MigrationsChanged(
            f"the database of {service_package} was made by another version of migration {changed[0]}, which this "
            "version cannot bring up to date; keep using the version that made it, or delete the data "
            "(on one machine: ./dev reset)"
        )
    return bool(known) and version == list(known)[-1]
