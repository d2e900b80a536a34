"""Use cases of totals: keeping them up with what was counted."""

from agora_kit.database import Database

from agora_metering.totals import store

ROLL_LIMIT = 20_000
"""The most increments that are moved in one transaction."""


async def roll(database: Database) -> int:
    """Move all increments that are there into the totals, unless somebody else is at it. Returns how many."""
    moved = 0
    while (step := await _roll_some(database)) is not None:
        moved += step
        if step < ROLL_LIMIT:
            break
    return moved


async def _roll_some(database: Database) -> int | None:
    async with database.system() as connection:
        prepared = await store.prepare_roll(connection, ROLL_LIMIT)
    if prepared is None:
        return None
    async with database.system() as connection:
        if not await store.lock_roller(connection):
            return None
        return await store.roll(connection, *prepared)
