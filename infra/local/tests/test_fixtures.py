"""The fixtures that every other test builds on."""

import asyncio

import asyncpg
import nats
import pytest
from agora_kit.provision import DatabasePasswords, administrator, provision, urls_of
from agora_local.parts import Nats, Postgres, Temporal

PASSWORDS = DatabasePasswords(app="app one", system="sys'tem", owner="own/er@")


def plain(url: str) -> str:
    """The URL as asyncpg takes it."""
    return url.replace("+asyncpg", "")


async def test_a_table_of_the_owner_is_usable_by_the_other_roles_but_not_theirs_to_change(
    postgres_server: Postgres,
) -> None:
    """
    What a migration makes can be read and written by the service, which can neither truncate nor redefine it.
    """
    urls = await provision(postgres_server.url, "shelf", PASSWORDS)
    owner = await asyncpg.connect(plain(urls.owner))
    await owner.execute("CREATE TABLE book (id bigint GENERATED ALWAYS AS IDENTITY, title text)")
    await owner.close()

    for url in (urls.app, urls.system):
        connection = await asyncpg.connect(plain(url))
        await connection.execute("INSERT INTO book (title) VALUES ('one')")
        assert await connection.fetchval("SELECT count(*) FROM book") >= 1
        for forbidden in ("TRUNCATE book", "DROP TABLE book", "CREATE TABLE other (id int)"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(forbidden)
        await connection.close()


async def test_a_service_cannot_connect_to_the_database_of_another(postgres_server: Postgres) -> None:
    """
    A service's role is refused by every database but its own, the administrator's included.
    """
    await provision(postgres_server.url, "left", PASSWORDS)
    await provision(postgres_server.url, "right", PASSWORDS)

    for database in ("agora_right", "postgres", "template1"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(plain(urls_of(postgres_server.url, "left", PASSWORDS, database).app))


async def test_provisioning_again_keeps_what_is_there_and_changes_passwords(
    postgres_server: Postgres,
) -> None:
    """
    Repeated and concurrent provisioning ends in the same state; the new password is the one that works.
    """
    await asyncio.gather(*(provision(postgres_server.url, "again", PASSWORDS) for _ in range(3)))
    async with administrator(postgres_server.url, "agora_again") as connection:
        await connection.execute("CREATE TABLE kept (id int)")

    changed = DatabasePasswords(app="new", system="new", owner="new")
    urls = await provision(postgres_server.url, "again", changed)

    async with administrator(postgres_server.url, "agora_again") as connection:
        assert await connection.fetchval("SELECT to_regclass('kept') IS NOT NULL")
    await (await asyncpg.connect(plain(urls.owner))).close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(plain(urls_of(postgres_server.url, "again", PASSWORDS).owner))


@pytest.mark.parametrize("bad", ["", "Billing", 'x"; DROP DATABASE postgres; --', "bill-ing"])
async def test_a_name_that_is_no_plain_word_is_refused(postgres_server: Postgres, bad: str) -> None:
    """
    A service's name becomes part of SQL, so anything but a lower-case word is an error.
    """
    with pytest.raises(ValueError, match="lower-case word"):
        await provision(postgres_server.url, bad, PASSWORDS)


@pytest.mark.parametrize("round_number", [1, 2])
async def test_each_test_has_an_empty_nats_account(nats_url: str, round_number: int) -> None:
    """
    A stream made by one test, under a name that both use, is not there in the next.
    """
    connection = await nats.connect(nats_url)
    context = connection.jetstream()
    assert await context.streams_info() == []
    await context.add_stream(name="EVENTS", subjects=["agora.evt.>"])
    await context.publish("agora.evt.x", b"1")
    await connection.close()


async def test_accounts_do_not_see_each_other(nats_server: Nats) -> None:
    """
    A message published in one account does not reach a subscriber of another.
    """
    ours = await nats.connect(nats_server.account_url(90))
    theirs = await nats.connect(nats_server.account_url(91))
    heard = await theirs.subscribe(">")
    await theirs.flush()
    await ours.publish("hello", b"1")
    await ours.flush()
    await theirs.publish("own", b"2")

    assert (await heard.next_msg(timeout=5)).subject == "own"

    await ours.close()
    await theirs.close()


def test_temporal_is_ready_when_the_fixture_is(temporal_server: Temporal) -> None:
    """
    The server answers for its namespace as soon as a test has it.
    """
    assert temporal_server.ready()
