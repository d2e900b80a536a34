"""The driver under a connection, on a real database."""

from collections.abc import Callable

import pytest
from agora_kit.database import Database, driver
from agora_kit.provision import DatabaseUrls
from sqlalchemy import text


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
