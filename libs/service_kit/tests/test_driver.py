"""The driver under a connection, on a real database."""

from collections.abc import Callable

import msgspec
import pytest
from agora_kit.database import Database, driver, is_transient, is_unstorable
from agora_kit.provision import DatabaseUrls
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError


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
