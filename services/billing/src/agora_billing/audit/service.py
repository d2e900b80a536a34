"""The audit: recompute everything that is cached, in one snapshot."""

from agora_kit.database import Database

from agora_billing.audit import store
from agora_billing.audit.model import Report


async def verify(database: Database) -> Report:
    """Recompute balances, holds, postings and charges, and report where they do not agree."""
    async with database.system() as connection:
        await store.hold_still(connection)
        faults = await store.broken(connection)
        return Report(ok=not faults, faults=faults, **await store.figures(connection))
