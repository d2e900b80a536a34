"""Whether each charge, rated again from what is stored with it, comes to the same lines and amount. Reads only."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from agora_contracts.billing import QuoteLine
from agora_contracts.problems import AgoraError
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_billing.audit.model import Fault
from agora_billing.audit.store import FAULTS_MAX
from agora_billing.charges.inputs import ChargeInputs
from agora_billing.charges.model import owed
from agora_billing.holds import store as holds
from agora_billing.holds.model import RunHold
from agora_billing.prices import store as prices
from agora_billing.prices.model import PriceVersion
from agora_billing.rating.model import Rated

RULE = "a charge is what its price version and stored inputs come to"

_AT_ONCE = 500

_lines = msgspec.json.Decoder(list[QuoteLine])
_inputs = msgspec.json.Decoder(ChargeInputs)

# A charge does not fall below what was refunded of it before.
_CHARGES = """
    SELECT c.run, c.revision, c.amount, c.lines::text AS lines, c.inputs::text AS inputs,
           coalesce((SELECT sum(r.amount) FROM refunds r WHERE r.run = c.run AND r.at <= c.at), 0)::bigint
               AS refunded
    FROM charges c
    WHERE (c.run, c.revision) > (:run, :revision) {of_account}
    ORDER BY c.run, c.revision LIMIT :at_once
"""


@dataclass(slots=True, kw_only=True)
class Ratings:
    """How many charges were rated again, and which came to something else."""

    rated: int = 0
    faults: list[Fault] = field(default_factory=list)


async def check_ratings(
    connection: AsyncConnection, account: str | None, seen: Callable[[int], None]
) -> Ratings:
    """Rate every revision of every charge again.

    Args:
        seen: told of each batch, how many charges it had.
    """
    found = Ratings()
    query = text(_CHARGES.format(of_account="AND c.account_id = :account" if account else ""))
    only = {"account": account} if account else {}
    run, revision = "", 0
    known: dict[str, PriceVersion] = {}
    while True:
        place = {"run": run, "revision": revision, "at_once": _AT_ONCE}
        rows = (await connection.execute(query, place | only)).all()
        if not rows:
            return found
        run, revision = rows[-1].run, rows[-1].revision
        held = await holds.read(connection, [row.run for row in rows])
        wanted = {hold.price_version for hold in held.values()} - known.keys()
        known |= {price.id: price for price in await prices.read(connection, wanted)} if wanted else {}
        for row in rows:
            hold = held[row.run]
            fault = _wrongly_rated(row, hold, known[hold.price_version])
            if fault is not None and len(found.faults) < FAULTS_MAX:
                found.faults.append(fault)
        found.rated += len(rows)
        seen(len(rows))


def _wrongly_rated(row: Row[Any], hold: RunHold, price: PriceVersion) -> Fault | None:
    subject = f"{row.run}:{row.revision}"
    try:
        inputs = _inputs.decode(row.inputs)
        rated: Rated = owed(price, hold, inputs.usage, inputs.windows).rated
    except (msgspec.ValidationError, AgoraError) as error:
        return Fault(rule=RULE, subject=subject, expected=0, found=row.amount, detail=str(error))
    expected = max(rated.amount, row.refunded)
    if expected != row.amount:
        return Fault(rule=RULE, subject=subject, expected=expected, found=row.amount)
    if rated.lines != _lines.decode(row.lines):
        detail = "the amount is the same, the lines are not"
        return Fault(rule=RULE, subject=subject, expected=expected, found=row.amount, detail=detail)
    return None
