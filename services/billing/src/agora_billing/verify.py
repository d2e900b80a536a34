"""Audit billing's books: `python -m agora_billing.verify` prints one line of JSON, exit code 0 when they agree.

Needs AGORA_DATABASE_SYSTEM_URL. Reads only, in one snapshot; may run beside the service.
"""

import asyncio
import sys

import msgspec
from agora_kit.database import Database
from agora_kit.settings import load_settings

from agora_billing.audit.model import Report
from agora_billing.audit.service import verify


class VerifySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the audit needs: the system role's database URL."""

    database_system_url: str


async def audit(system_url: str) -> Report:
    """Open billing's database, audit it, close it."""
    database = Database(system_url, system_url, pool_size=1)
    try:
        return await verify(database)
    finally:
        await database.close()


def main() -> int:
    """Print the report and return the exit code."""
    report = asyncio.run(audit(load_settings(VerifySettings).database_system_url))
    print(msgspec.json.encode(report).decode())
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
