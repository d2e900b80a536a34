"""Whether each period, rated again from its sums, comes to what was charged for it. Reads only."""

from agora_contracts.problems import AgoraError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.audit.model import Fault
from agora_billing.audit.store import FAULTS_MAX
from agora_billing.periods import model, store
from agora_billing.prices import store as prices

RULE = "a period is charged what its usage comes to"

_AT_ONCE = 500

_IDS = """
    SELECT period_id FROM periods WHERE period_id > :after {of_account} ORDER BY period_id LIMIT :at_once
"""


async def check_periods(connection: AsyncConnection, account: str | None) -> list[Fault]:
    """Rate every period again.

    Beyond what it comes to, a period may keep what was refunded to its runs before it could be given back.
    """
    faults: list[Fault] = []
    query = text(_IDS.format(of_account="AND account_id = :account" if account else ""))
    only = {"account": account} if account else {}
    after = ""
    while True:
        place = {"after": after, "at_once": _AT_ONCE}
        ids = list((await connection.execute(query, place | only)).scalars())
        if not ids:
            return faults[:FAULTS_MAX]
        after = ids[-1]
        periods = (await store.read(connection, ids)).values()
        pinned = {
            one.id: one for one in await prices.read(connection, {one.price_version for one in periods})
        }
        for period in periods:
            try:
                offered = pinned[period.price_version].of_meter(period.basis, period.meter)
                expected = model.owed(offered, period)
            except (KeyError, AgoraError) as error:
                faults.append(
                    Fault(rule=RULE, subject=period.id, expected=0, found=period.posted, detail=repr(error))
                )
                continue
            if expected == period.posted:
                continue
            paid, _ = await store.paid(connection, period.id)
            if period.posted < expected or paid.total > 0:
                faults.append(Fault(rule=RULE, subject=period.id, expected=expected, found=period.posted))
