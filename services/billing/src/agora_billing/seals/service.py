"""Use cases of seals: seal what was booked, aside from those who book; show an account's ledger with its hashes."""

from copy import replace
from datetime import datetime, timedelta

import structlog
from agora_contracts.ledger import LedgerPage, LedgerRecord, ReadLedger
from agora_kit.cursor import decode_cursor, encode_cursor
from agora_kit.database import Database
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.accounts import store as accounts
from agora_billing.accounts.service import Clock, no_account
from agora_billing.seals import store
from agora_billing.seals.model import next_hash
from agora_billing.seals.store import Head, Seal

log = structlog.get_logger()

_ACCOUNTS_MAX = 100
_POSTINGS_MAX = 500
_OVERLAP = timedelta(minutes=1)
"""How long a transaction may take to commit a posting, and how far clocks may differ, before only the look at all
accounts finds it."""
_ALL_EVERY = timedelta(minutes=10)


class Sealer:
    """Seals postings in the order of their numbers. Several processes may do so at once: an account has one sealer
    at a time, and what one has sealed another finds sealed.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._looked_at: datetime | None = None
        self._looked_at_all: datetime | None = None

    async def sweep(self) -> None:
        """Seal everything that is booked by now and that nobody else is sealing.

        Accounts are found by their new postings. Now and then, and first of all, every account is looked at: for what
        came later than its time says, or was left by a sealer that died.
        """
        now = self._clock()
        since = self._since(now)
        while True:
            async with self._database.system() as connection:
                sealed = await self._seal_some(connection, since)
            if not sealed:
                break
        self._looked_at = now
        if since is None:
            self._looked_at_all = now

    def _since(self, now: datetime) -> datetime | None:
        """Since when postings are looked at; None for all accounts."""
        last, last_all = self._looked_at, self._looked_at_all
        if last is None or last_all is None or now < last or now - last_all >= _ALL_EVERY:
            # Also where the clock was set back: what was booked since then may be older than it looks.
            return None
        return last - _OVERLAP

    async def _seal_some(self, connection: AsyncConnection, since: datetime | None) -> int:
        heads = {head.account: head for head in await store.lock_behind(connection, _ACCOUNTS_MAX, since)}
        if not heads:
            return 0
        new: list[Seal] = []
        stopped: set[str] = set()
        for posting in await store.unsealed(connection, list(heads.values()), _POSTINGS_MAX):
            head = heads[posting.account]
            if posting.account in stopped:
                continue
            if posting.number != head.number + 1:
                # Numbers are given and committed in their order under the account's lock: a gap is a fault.
                log.error(
                    "a posting is missing before this one",
                    alarm="ledger_gap",
                    account=posting.account,
                    posting=posting.id,
                    number=posting.number,
                    sealed_until=head.number,
                )
                stopped.add(posting.account)
                continue
            seal = Seal(posting=posting, hash=next_hash(head.hash, posting))
            heads[posting.account] = replace(head, number=posting.number, hash=seal.hash)
            new.append(seal)
        if not new:
            return 0
        await store.insert(connection, new, self._clock())
        await store.save(connection, _moved(heads, new))
        return len(new)


def _moved(heads: dict[str, Head], new: list[Seal]) -> list[Head]:
    return [heads[account] for account in sorted({seal.posting.account for seal in new})]


async def read_ledger(connection: AsyncConnection, query: ReadLedger) -> LedgerPage:
    """Read a page of an account's postings with their entries and hashes, oldest first.

    Raises:
        AgoraError: `not_found`, `invalid_cursor`.
    """
    after = decode_cursor(query.cursor, tuple[int])[0] if query.cursor else 0
    if await accounts.read(connection, query.account) is None:
        raise no_account(query.account)
    rows = await store.page(connection, query.account, after, query.limit + 1)
    shown = rows[: query.limit]
    return LedgerPage(
        items=[
            LedgerRecord(posting=posting, hash=None if hash is None else hash.hex())
            for posting, hash in shown
        ],
        next_cursor=encode_cursor(shown[-1][0].number) if len(rows) > query.limit else None,
    )
