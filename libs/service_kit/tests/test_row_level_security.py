"""Row-level security: a tenant sees and writes its own rows only, whatever the SQL says."""

import pytest
from agora_kit.database import Database
from agora_kit.provision import DatabaseUrls
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError

INSERT = text("INSERT INTO notes (tenant_id, id, body) VALUES (:tenant, :id, '')")
IDS = text("SELECT id FROM notes ORDER BY id")


@pytest.fixture(autouse=True)
async def notes_of_two_tenants(database: Database) -> None:
    """One note each."""
    for tenant, note in (("ten_1", "one"), ("ten_2", "two")):
        async with database.transaction(tenant) as connection:
            await connection.execute(INSERT, {"tenant": tenant, "id": note})


async def ids(database: Database, tenant: str) -> list[str]:
    """What a tenant sees without asking for its own."""
    async with database.transaction(tenant) as connection:
        return list((await connection.execute(IDS)).scalars())


async def test_a_tenant_sees_its_own_rows(database: Database):
    """
    A query without any condition gives the tenant's rows and no other.
    """
    assert ["one"] == await ids(database, "ten_1")
    assert ["two"] == await ids(database, "ten_2")
    assert [] == await ids(database, "ten_3")


async def test_the_system_role_sees_all_rows(database: Database):
    """
    Relay, batch consumers and sweeps work across tenants.
    """
    async with database.system() as connection:
        assert ["one", "two"] == list((await connection.execute(IDS)).scalars())


@pytest.mark.parametrize("statement", ["UPDATE notes SET body = 'mine'", "DELETE FROM notes"])
async def test_a_tenant_cannot_change_anothers_rows(database: Database, statement: str):
    """
    A change without a condition touches the tenant's rows only.
    """
    async with database.transaction("ten_1") as connection:
        assert 1 == (await connection.execute(text(statement))).rowcount

    assert ["two"] == await ids(database, "ten_2")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO notes (tenant_id, id, body) VALUES ('ten_2', 'forged', '')",
        "UPDATE notes SET tenant_id = 'ten_2'",
    ],
)
async def test_a_tenant_cannot_write_rows_of_another(database: Database, statement: str):
    """
    A row can neither be made for another tenant nor be given to it.
    """
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with database.transaction("ten_1") as connection:
            await connection.execute(text(statement))

    assert (["one"], ["two"]) == (await ids(database, "ten_1"), await ids(database, "ten_2"))


async def test_without_a_tenant_nothing_is_visible(database: Database, urls: DatabaseUrls):
    """
    A connection that forgot to say its tenant sees nothing and can write nothing, also one that said it before.
    """
    plain = Database(urls.app, urls.app, pool_size=1)
    try:
        assert ["one"] == await ids(plain, "ten_1")
        for _ in range(2):
            async with plain._tenant_engine.begin() as connection:
                assert [] == list((await connection.execute(IDS)).scalars())
        with pytest.raises(ProgrammingError, match="row-level security"):
            async with plain._tenant_engine.begin() as connection:
                await connection.execute(INSERT, {"tenant": "ten_1", "id": "x"})
        async with plain.system() as connection:
            assert [] == list((await connection.execute(IDS)).scalars())
    finally:
        await plain.close()


@pytest.mark.parametrize(
    "statement",
    [
        "SET ROLE agora_sample_system",
        "ALTER TABLE notes DISABLE ROW LEVEL SECURITY",
        "TRUNCATE notes",
        "DROP TABLE notes",
        "CREATE TABLE mine (id text)",
    ],
)
async def test_the_services_role_cannot_lift_the_rule(database: Database, statement: str):
    """
    The role that customers' requests run under owns nothing and can become nobody else.
    """
    with pytest.raises(DBAPIError):
        async with database.transaction("ten_1") as connection:
            await connection.execute(text(statement))


@pytest.mark.parametrize("table", ["outbox", "dead_letters"])
async def test_the_kits_tables_are_under_the_rule(database: Database, table: str):
    """
    Outbox and dead letters carry tenants, and are secured as any other table.
    """
    async with database.system() as connection:
        query = text("SELECT relrowsecurity FROM pg_class WHERE relname = :table")
        assert (await connection.execute(query, {"table": table})).scalar_one()
