"""A service's database and its three roles, made by an administrator before the service first starts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

# Any constant does; it only has to be the same in every process that provisions one server.
_LOCK_KEY = 4_021_960_713


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabasePasswords:
    """Passwords of a service's three roles."""

    app: str
    system: str
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseUrls:
    """A service's database as each of its roles sees it: `postgresql+asyncpg://...`.

    `app` is subject to row-level security and sees one tenant at a time; `system` (relay, batch consumers,
    sweeps) is let through to all rows by policies that name it; `owner` runs migrations and owns the tables.
    """

    app: str
    system: str
    owner: str


def role_names(service: str) -> DatabaseUrls:
    """The names of a service's roles, by the same fields as their URLs."""
    return DatabaseUrls(
        app=f"agora_{service}", system=f"agora_{service}_system", owner=f"agora_{service}_owner"
    )


def database_name(service: str) -> str:
    """The name of a service's database."""
    return f"agora_{service}"


def urls_of(
    admin_url: str, service: str, passwords: DatabasePasswords, database: str | None = None
) -> DatabaseUrls:
    """The URLs of a service's roles on the server of `admin_url`; `database` is for copies in tests."""
    roles = role_names(service)
    name = database or database_name(service)

    def url(role: str, password: str) -> str:
        server = urlsplit(admin_url)
        host = f"{server.hostname}:{server.port or 5432}"
        return urlunsplit(
            ("postgresql+asyncpg", f"{role}:{quote(password, safe='')}@{host}", f"/{name}", server.query, "")
        )

    return DatabaseUrls(
        app=url(roles.app, passwords.app),
        system=url(roles.system, passwords.system),
        owner=url(roles.owner, passwords.owner),
    )


async def provision(admin_url: str, service: str, passwords: DatabasePasswords) -> DatabaseUrls:
    """Make a service's database and roles, or bring them to the state they should have; safe to repeat.

    Whoever owns the database's tables makes them usable for the two other roles: rows yes, TRUNCATE and
    definitions no. No other service's role may connect.

    Args:
        admin_url: A superuser's URL, `postgresql://` or `postgresql+asyncpg://`.
        service: Its short name, such as `billing`.
        passwords: Set anew each time, so that they may be changed.

    Raises:
        ValueError: the service's name is not a plain lower-case word.
    """
    if not (service.isascii() and service.isidentifier() and service == service.lower()):
        raise ValueError(f"a service's name is a lower-case word, not {service!r}")
    name = database_name(service)
    async with administrator(admin_url) as connection:
        # Two processes that provision at once would both find a role missing and one would fail to make it. The lock
        # is one of the administrator's database and is held while the service's own is seen to.
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK_KEY)
        roles = role_names(service)
        for role, password in (
            (roles.app, passwords.app),
            (roles.system, passwords.system),
            (roles.owner, passwords.owner),
        ):
            await _set_role(connection, role, password)
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await connection.execute(f'CREATE DATABASE "{name}" OWNER "{roles.owner}"')
        for shared in ("postgres", "template1"):
            await connection.execute(f'REVOKE CONNECT ON DATABASE "{shared}" FROM PUBLIC')
        await restrict_database(connection, service, name)
        async with administrator(admin_url, name) as inside:
            await _set_schema_privileges(inside, service)
    return urls_of(admin_url, service, passwords)


async def restrict_database(connection: asyncpg.Connection, service: str, database: str) -> None:
    """Let only the service's own roles connect to `database`.

    Apart from `provision` because a copy of a database does not take these privileges along.
    """
    roles = role_names(service)
    await connection.execute(f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC')
    await connection.execute(
        f'GRANT CONNECT, TEMPORARY ON DATABASE "{database}" TO "{roles.app}", "{roles.system}"'
    )


@asynccontextmanager
async def administrator(admin_url: str, database: str | None = None) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the administrator, to `database` instead of the URL's own if given."""
    url = urlsplit(admin_url)
    path = url.path if database is None else f"/{database}"
    connection = await asyncpg.connect(
        urlunsplit(("postgresql", url.netloc, path, url.query, "")), timeout=30
    )
    try:
        yield connection
    finally:
        await connection.close()


async def _set_role(connection: asyncpg.Connection, role: str, password: str) -> None:
    if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
        await connection.execute(f'CREATE ROLE "{role}"')
    # Utility statements take no parameters, so the server itself quotes the password.
    statement = await connection.fetchval(
        "SELECT format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD %L',"
        " $1::text, $2::text)",
        role,
        password,
    )
    await connection.execute(statement)


async def _set_schema_privileges(connection: asyncpg.Connection, service: str) -> None:
    roles = role_names(service)
    users = f'"{roles.app}", "{roles.system}"'
    # Only defaults for what the owner makes from now on: granting on existing tables would undo a migration
    # that took a privilege away (a ledger whose rows nobody may change).
    defaults = f'ALTER DEFAULT PRIVILEGES FOR ROLE "{roles.owner}"'
    async with connection.transaction():
        await connection.execute(f'ALTER SCHEMA public OWNER TO "{roles.owner}"')
        await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        await connection.execute(f"GRANT USAGE ON SCHEMA public TO {users}")
        await connection.execute(f"{defaults} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {users}")
        await connection.execute(f"{defaults} GRANT SELECT, USAGE ON SEQUENCES TO {users}")
        await connection.execute(f"{defaults} GRANT USAGE ON SCHEMAS TO {users}")
