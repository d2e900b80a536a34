"""Group commit: many callers, few transactions, an answer for each."""

import asyncio
from collections.abc import Sequence

import pytest
from agora_contracts.problems import AgoraError
from agora_kit.database import Database
from agora_kit.group_commit import GroupCommit
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection


class Writer:
    """Writes notes in one statement; the results are their names in capitals."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.away = False
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def write(self, connection: AsyncConnection, names: Sequence[str]) -> list[str | AgoraError]:
        """Store each name but those that are refused; `twin` collides with itself in the database."""
        self.batches.append(len(names))
        self.entered.set()
        await self.gate.wait()
        if self.away:
            raise ConnectionError("away")
        kept = [name for name in names if name != "refused"]
        ids = ["twin" if name.startswith("twin") else name for name in kept]
        await connection.execute(
            text(
                "INSERT INTO notes (tenant_id, id, body) SELECT 'ten_1', id, '' FROM unnest(CAST(:ids AS text[])) id"
            ),
            {"ids": ids},
        )
        return [
            AgoraError("conflict", "refused by the rules") if name == "refused" else name.upper()
            for name in names
        ]


@pytest.fixture
def writer() -> Writer:
    """A fresh writer."""
    return Writer()


async def stored(database: Database) -> list[str]:
    """The ids of all notes, in order."""
    async with database.system() as connection:
        return list((await connection.execute(text("SELECT id FROM notes ORDER BY id"))).scalars())


async def test_what_waits_is_written_together(database: Database, writer: Writer):
    """
    A thousand callers need a few transactions, and each gets its own answer after the commit.
    """
    group = GroupCommit(database, writer.write, batch_max=400)
    names = [f"n{number:04}" for number in range(1000)]

    answers = await asyncio.gather(*(group.submit(name) for name in names))

    assert [name.upper() for name in names] == answers
    assert names == await stored(database)
    assert 5 >= len(writer.batches)
    assert 400 >= max(writer.batches)


async def test_a_refused_item_does_not_hold_back_its_neighbours(database: Database, writer: Writer):
    """
    An error as a result is raised at its own caller; the rest of the batch is committed.
    """
    group = GroupCommit(database, writer.write)

    first, refused, last = await asyncio.gather(
        group.submit("a"), group.submit("refused"), group.submit("b"), return_exceptions=True
    )

    assert ("A", "B") == (first, last)
    assert isinstance(refused, AgoraError)
    assert "conflict" == refused.slug
    assert ["a", "b"] == await stored(database)
    assert [3] == writer.batches


async def test_an_item_that_the_database_refuses_fails_alone(database: Database, writer: Writer):
    """
    When the statement fails for one item, each is written alone, and only that one's caller hears of it.
    """
    group = GroupCommit(database, writer.write)
    await group.submit("twin")

    answers = await asyncio.gather(
        group.submit("a"), group.submit("twin 2"), group.submit("b"), return_exceptions=True
    )

    assert ["A", "B"] == [answers[0], answers[2]]
    assert isinstance(answers[1], IntegrityError)
    assert ["a", "b", "twin"] == await stored(database)


async def test_a_passing_failure_reaches_every_caller(database: Database, writer: Writer):
    """
    While the database is away nobody is written alone; all are told, and later writes go through.
    """
    group = GroupCommit(database, writer.write)
    writer.away = True
    answers = await asyncio.gather(*(group.submit(name) for name in "abc"), return_exceptions=True)
    writer.away = False

    assert [ConnectionError] * 3 == [type(answer) for answer in answers]
    assert [3] == writer.batches
    assert "D" == await group.submit("d")
    assert ["d"] == await stored(database)


async def test_a_full_queue_refuses_more(database: Database, writer: Writer):
    """
    Beyond the bound a caller is told to come again, and those who wait are still served.
    """
    group = GroupCommit(database, writer.write, waiting_max=2)
    writer.gate.clear()
    waiting = [asyncio.create_task(group.submit("a"))]
    await writer.entered.wait()
    waiting += [asyncio.create_task(group.submit(name)) for name in "bc"]
    await asyncio.sleep(0)

    with pytest.raises(AgoraError) as refused:
        await group.submit("d")
    writer.gate.set()

    assert ("overloaded", 1) == (refused.value.slug, refused.value.problem.retry_after_seconds)
    assert ["A", "B", "C"] == await asyncio.gather(*waiting)


async def test_a_caller_that_goes_away_disturbs_nobody(database: Database, writer: Writer):
    """
    A cancelled caller's item may still be written; the others get their answers.
    """
    group = GroupCommit(database, writer.write)
    writer.gate.clear()
    gone = asyncio.create_task(group.submit("gone"))
    stays = asyncio.create_task(group.submit("stays"))
    await writer.entered.wait()
    gone.cancel()
    writer.gate.set()

    assert "STAYS" == await stays
    assert gone.cancelled() or await asyncio.gather(gone, return_exceptions=True)


async def test_a_writer_that_forgets_an_item_is_told(database: Database):
    """
    A result too few is a mistake of the writer: nothing is committed, and no caller waits for ever.
    """

    async def forgetful(connection: AsyncConnection, names: Sequence[str]) -> list[str]:
        await connection.execute(text("INSERT INTO notes VALUES ('ten_1', gen_random_uuid()::text, '')"))
        return []

    group = GroupCommit(database, forgetful)
    answers = await asyncio.wait_for(
        asyncio.gather(group.submit("a"), group.submit("b"), return_exceptions=True), 20
    )

    assert [RuntimeError, RuntimeError] == [type(answer) for answer in answers]
    assert [] == await stored(database)
