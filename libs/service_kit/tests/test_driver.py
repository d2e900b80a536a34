"""The driver under a connection, on a real database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
import pytest
from agora_kit.database import Database, driver, is_transient, is_unstorable
from agora_kit.provision import DatabaseUrls
from sqlalchemy import event, make_url, text
from sqlalchemy.exc import DBAPIError, InvalidRequestError, PendingRollbackError


async def test_what_the_driver_writes_is_rolled_back_with_its_transaction(
    database_urls: Callable[[str], DatabaseUrls],
) -> None:
    """
    Also as the first statement of a transaction, what is given to the driver belongs to it.
    """
    urls = database_urls("catalog")
    database = Database(urls.app, urls.system)
    with pytest.raises(ConnectionResetError):
        async with database.system() as connection:
            raw = await driver(connection)
            await raw.execute("INSERT INTO packages (tenant_id, id) VALUES ('platform', 'sorter')")
            raise ConnectionResetError

    async with database.system() as connection:
        left = (await connection.execute(text("SELECT count(*) FROM packages"))).scalar_one()
    await database.close()
    assert left == 0


@pytest.mark.parametrize(
    ("statement", "value", "unstorable"),
    [
        ("SELECT CAST(:value AS text)", "a\x00b", True),
        ("SELECT CAST(:value AS jsonb) ->> 'a'", {"a": "\x00"}, True),
        ("SELECT CAST(CAST(:value AS text) AS int)", "x", False),
    ],
)
async def test_only_a_null_character_is_unstorable(
    database_urls: Callable[[str], DatabaseUrls], statement: str, value: object, unstorable: bool
) -> None:
    """
    U+0000 in a text or a jsonb document is told apart from every other fault of a statement's data.
    """
    urls = database_urls("catalog")
    database = Database(urls.app, urls.system)
    given = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    with pytest.raises(DBAPIError) as caught:
        async with database.system() as connection:
            await connection.execute(text(statement), {"value": given})
    await database.close()

    assert (unstorable, False) == (is_unstorable(caught.value), is_transient(caught.value))


async def test_connections_that_the_server_closed_are_not_given_out(
    database_urls: Callable[[str], DatabaseUrls],
) -> None:
    """
    When a connection has been closed while it lay in the pool, the next transaction gets a new one.
    """
    urls = database_urls("catalog")
    database = Database(urls.app, urls.system)
    async with database.system() as connection:
        raw = await driver(connection)
    raw.terminate()
    assert raw.is_closed()

    async with database.system() as connection:
        assert 1 == (await connection.execute(text("SELECT 1"))).scalar_one()
    await database.close()


# --- what passes ---------------------------------------------------------------------------------


async def test_a_connection_lost_while_it_is_set_up_passes(
    database_urls: Callable[[str], DatabaseUrls], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    When the server closes a new connection before the first statement on it, the same work may succeed later.
    """
    urls = database_urls("catalog")
    database = Database(urls.app, urls.system)
    connect = asyncpg.connect

    async def connect_and_lose(*arguments: Any, **options: Any) -> asyncpg.Connection:
        connection = await connect(*arguments, **options)
        connection.terminate()
        return connection

    monkeypatch.setattr(asyncpg, "connect", connect_and_lose)
    with pytest.raises(asyncpg.InterfaceError) as caught:
        async with database.system():
            pass
    await database.close()

    assert is_transient(caught.value)


async def test_connections_lost_again_and_again_as_they_are_taken_pass(
    database_urls: Callable[[str], DatabaseUrls],
) -> None:
    """
    When also what replaces a closed connection of the pool is closed at once, the same work may succeed later.
    """
    urls = database_urls("catalog")
    database = Database(urls.app, urls.system)
    async with database.system() as connection:
        raw = await driver(connection)
    raw.terminate()

    def lose(connection: Any, _record: Any) -> None:
        connection.driver_connection.terminate()

    event.listen(database.engines[1].sync_engine, "connect", lose)
    with pytest.raises(InvalidRequestError) as caught:
        async with database.system():
            pass
    await database.close()

    assert is_transient(caught.value)


@asynccontextmanager
async def never_closing(url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The URL of a server like that at `url`, which leaves a connection open after its last words, and when they came."""
    server, tasks, ended = make_url(url), set[asyncio.Task[None]](), asyncio.Event()

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while read := await source.read(65_536):
            target.write(read)
        ended.set()
        await asyncio.Event().wait()

    async def accept(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        answers, asked = await asyncio.open_connection(server.host, server.port)
        tasks.update(asyncio.create_task(pass_on(*way)) for way in ((source, asked), (answers, target)))

    listening = await asyncio.start_server(accept, "127.0.0.1")
    try:
        port = listening.sockets[0].getsockname()[1]
        yield server.set(port=port).render_as_string(hide_password=False), ended
    finally:
        for task in tasks:
            task.cancel()
        listening.close()


async def test_a_new_connection_on_which_the_server_has_said_good_bye_passes(
    database_urls: Callable[[str], DatabaseUrls], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Between the server's last words on a new connection and its end, what is asked on it may succeed later.
    """
    urls = database_urls("catalog")
    others = Database(urls.app, urls.system)
    connect = asyncpg.connect
    async with never_closing(urls.system) as (address, ended), others.system() as other:
        database = Database(urls.app, address)

        async def connect_and_be_sent_away(*arguments: Any, **options: Any) -> asyncpg.Connection:
            connection = await connect(*arguments, **options)
            end = text("SELECT pg_terminate_backend(:process)")
            await other.execute(end, {"process": connection.get_server_pid()})
            await ended.wait()
            await asyncio.sleep(0.01)  # What lies in the socket is read.
            return connection

        monkeypatch.setattr(asyncpg, "connect", connect_and_be_sent_away)
        with pytest.raises(DBAPIError, match="another operation") as caught:
            async with database.system():
                pass
        await database.close()
    await others.close()

    assert is_transient(caught.value)


async def test_what_goes_on_in_a_transaction_that_has_lost_its_connection_passes(
    database_urls: Callable[[str], DatabaseUrls],
) -> None:
    """
    Where the first failure was swallowed, also the next one says that the same work may succeed later.
    """
    urls = database_urls("catalog")
    database = Database(urls.app, urls.system)
    with pytest.raises(PendingRollbackError) as caught:
        async with database.system() as connection:
            (await driver(connection)).terminate()
            with contextlib.suppress(DBAPIError):
                await connection.execute(text("SELECT 1"))
            await connection.execute(text("SELECT 1"))
    await database.close()

    assert is_transient(caught.value)


async def test_a_value_that_the_driver_cannot_send_does_not_pass(
    database_urls: Callable[[str], DatabaseUrls],
) -> None:
    """
    A number that its column cannot take is found by the driver, which does not say so in the server's codes.
    """
    urls = database_urls("catalog")
    database = Database(urls.app, urls.system)
    with pytest.raises(DBAPIError) as caught:
        async with database.system() as connection:
            await connection.execute(text("SELECT CAST(:value AS int)"), {"value": 2**40})
    await database.close()

    assert not is_transient(caught.value)


async def test_a_fault_of_our_own_that_the_driver_finds_does_not_pass(
    database_urls: Callable[[str], DatabaseUrls],
) -> None:
    """
    A call that the driver refuses would be refused for ever.
    """
    urls = database_urls("catalog")
    database = Database(urls.app, urls.system)
    with pytest.raises(asyncpg.InterfaceError) as caught:
        async with database.system() as connection:
            await (await driver(connection)).fetch("SELECT $1::int")
    await database.close()

    assert not is_transient(caught.value)
