"""After the faults: usage, totals, charges and ledger, recomputed from what was recorded, and where they disagree."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import asyncpg
import msgspec
from agora_billing.verify import audit
from agora_contracts.envelope import utc_now
from agora_contracts.meters import CheckTotals
from agora_contracts.reconciliation import Reconcile
from agora_kit.broker import Broker
from agora_local.platform import Platform

from tests.faults.money_load import METER, REPORTED_METER, RUN_SOURCE, Made
from tests.support.tenancy import Customer

UNIT_PRICE = Fraction(1, 100)
_MICRO = 1_000_000
_SHOWN_MAX = 50


class Accounts(msgspec.Struct, kw_only=True):
    """What was counted. `lost`, `doubled`, `ledger_difference` (micro-units) must be 0, `differences` empty.

    `unfinished` counts the runs that are not settled as they should be yet, and tells whether it is worth waiting.
    """

    events: int
    runs: int
    charged: int
    lost: int
    doubled: int
    ledger_difference: int
    unfinished: int
    differences: list[str]

    @property
    def clean(self) -> bool:
        """Whether everything agrees."""
        return not (
            self.lost or self.doubled or self.ledger_difference or self.unfinished or self.differences
        )


class _Truth(msgspec.Struct, frozen=True, kw_only=True):
    """What execution recorded, and what of it billing has to charge."""

    statuses: dict[str, str]
    finished: set[str]
    quantities: dict[str, dict[str, Decimal]]

    def owed(self, run: str, made: Made) -> int:
        """The charge of a run, by exact fractions; never less than what was refunded of it."""
        if self.statuses[run] != "succeeded":
            return 0
        total = Fraction(0)
        for event, quantity in self.quantities.get(run, {}).items():
            total += Fraction(made.corrected.get(event, quantity) or 0)
        # Fractions round half to even.
        return max(round(total * UNIT_PRICE * _MICRO), made.refunded.get(run, 0))


async def examine(
    platform: Platform, broker: Broker, customer: Customer, made: Made, topped_up: int
) -> Accounts:
    """Compare execution's records, metering's events and totals, billing's charges and its ledger."""
    truth = await _recorded(platform, customer)
    lost, doubled, differences = await _compare_events(platform, customer, made, truth)
    differences += await _compare_totals(platform, broker, customer)
    missing = [run for run in made.runs if run not in truth.statuses]
    differences += [f"{run} was accepted and is not known" for run in missing]
    charged, unfinished, twice, more = await _compare_charges(platform, truth, made)
    ledger_difference = await _ledger_difference(platform, customer, truth, made, topped_up)
    return Accounts(
        events=sum(map(len, truth.quantities.values())) + len(made.reported),
        runs=len(truth.statuses),
        charged=charged,
        lost=lost + len(missing),
        doubled=doubled + twice,
        ledger_difference=ledger_difference,
        unfinished=unfinished,
        differences=(differences + more)[:_SHOWN_MAX],
    )


async def books_agree(platform: Platform) -> list[str]:
    """What billing's own audit finds wrong."""
    report = await audit(platform.database_urls("billing").system)
    return [
        f"audit: {one.rule}: {one.subject}: {one.found} instead of {one.expected}" for one in report.faults
    ]


async def reconciled(broker: Broker, customer: Customer) -> list[str]:
    """What the platform's own reconciliation finds."""
    command = Reconcile(since=utc_now() - timedelta(hours=1), tenant=customer.tenant, grace_seconds=0)
    found = await broker.ask(command)
    return [f"reconcile: {one.joint}: {one.subject}: {one.detail}" for one in found.differences]


async def _rows(platform: Platform, service: str, query: str, *values: object) -> list[Any]:
    connection = await asyncpg.connect(platform.postgres.url.rsplit("/", 1)[0] + f"/agora_{service}")
    try:
        return list(await connection.fetch(query, *values))
    finally:
        await connection.close()


async def _recorded(platform: Platform, customer: Customer) -> _Truth:
    runs = await _rows(
        platform,
        "execution",
        "SELECT id, status, finished_at IS NOT NULL AS finished FROM runs WHERE tenant_id = $1",
        customer.tenant,
    )
    usage = await _rows(
        platform,
        "execution",
        "SELECT run_id, item->>'id' AS id, item->>'quantity' AS quantity"
        " FROM steps, jsonb_array_elements(usage) AS item WHERE tenant_id = $1",
        customer.tenant,
    )
    quantities: dict[str, dict[str, Decimal]] = {}
    for row in usage:
        quantities.setdefault(row["run_id"], {})[row["id"]] = Decimal(row["quantity"])
    return _Truth(
        statuses={row["id"]: row["status"] for row in runs},
        finished={row["id"] for row in runs if row["finished"]},
        quantities=quantities,
    )


async def _compare_events(
    platform: Platform, customer: Customer, made: Made, truth: _Truth
) -> tuple[int, int, list[str]]:
    """Event by event: how many are lost, how many count twice, and what differs otherwise."""
    stored = await _rows(
        platform,
        "metering",
        "SELECT id, source, quantity FROM usage_events WHERE tenant_id = $1",
        customer.tenant,
    )
    of_runs = {id: quantity for events in truth.quantities.values() for id, quantity in events.items()}
    times = Counter((row["source"] == RUN_SOURCE, row["id"]) for row in stored)
    wanted = {(True, id) for id in of_runs} | {(False, id) for id in made.reported}
    differences = [f"{id} is stored and was never recorded" for run, id in times.keys() - wanted]
    expected = of_runs | made.reported
    differences += [
        f"{row['id']} says {row['quantity']} instead of {expected[row['id']]}"
        for row in stored
        if row["id"] in expected and row["quantity"] != expected[row["id"]]
    ]
    (rolled,) = await _rows(
        platform,
        "metering",
        """
        SELECT coalesce(sum(events), 0)::bigint AS events FROM (
            SELECT d.events FROM usage_day d JOIN usage_series s ON s.id = d.series
            WHERE s.tenant_id = $1 AND s.meter = ANY($2)
            UNION ALL SELECT events FROM usage_deltas WHERE tenant_id = $1 AND meter = ANY($2)) AS parts
        """,
        customer.tenant,
        [METER, REPORTED_METER],
    )
    voided = sum(quantity is None for quantity in made.corrected.values())
    counted_more = rolled["events"] - (len(stored) - voided)
    lost = len(wanted - times.keys()) + max(-counted_more, 0)
    doubled = sum(count - 1 for count in times.values()) + max(counted_more, 0)
    return lost, doubled, differences


async def _compare_totals(platform: Platform, broker: Broker, customer: Customer) -> list[str]:
    """Metering's own recomputation of every total from its events, of the days that the test can have touched."""
    days = {utc_now().date()} | {
        row["day"]
        for row in await _rows(
            platform,
            "metering",
            "SELECT DISTINCT (at AT TIME ZONE 'UTC')::date AS day FROM usage_events WHERE tenant_id = $1",
            customer.tenant,
        )
    }
    found = []
    for day in sorted(days):
        check = await broker.ask(CheckTotals(day=day, tenant=customer.tenant))
        found += [
            f"{one.meter} by {one.grain} at {one.start}: {one.kept} of {one.kept_events} events instead of "
            f"{one.recomputed} of {one.recomputed_events}"
            for one in check.differences
        ]
    return found


async def _compare_charges(platform: Platform, truth: _Truth, made: Made) -> tuple[int, int, int, list[str]]:
    """Run by run: the sum charged, how many are not settled, how many are settled twice, and what differs."""
    rows = await _rows(
        platform,
        "billing",
        "SELECT run, count(*) FILTER (WHERE kind = 'settled') AS settled, sum(difference)::bigint AS amount"
        " FROM charges WHERE run = ANY($1) GROUP BY run",
        list(truth.statuses),
    )
    charged = {row["run"]: row for row in rows}
    refunds = await _rows(
        platform, "billing", "SELECT run, amount FROM refunds WHERE run = ANY($1)", list(truth.statuses)
    )
    differences = [
        f"{run} was charged {charged[run]['amount']} instead of {truth.owed(run, made)}"
        for run in truth.statuses.keys() & charged.keys()
        if charged[run]["amount"] != truth.owed(run, made)
    ]
    if Counter(made.refunded) != Counter({row["run"]: row["amount"] for row in refunds}):
        differences.append(f"{len(refunds)} refunds were booked, {len(made.refunded)} were answered")
    holds = await _rows(
        platform,
        "billing",
        "SELECT run, state FROM holds WHERE run = ANY($1) AND state IN ('tentative', 'firm')",
        list(truth.statuses),
    )
    differences += [f"{row['run']} still has a {row['state']} hold" for row in holds]
    unfinished = {run for run in truth.statuses if run not in truth.finished or run not in charged}
    return (
        sum(row["amount"] for row in rows),
        len(unfinished),
        sum(max(row["settled"] - 1, 0) for row in rows),
        differences,
    )


async def _ledger_difference(
    platform: Platform, customer: Customer, truth: _Truth, made: Made, topped_up: int
) -> int:
    """How far the customer's credit, on the ledger and as kept, is from what it should be; micro-units."""
    owed = sum(truth.owed(run, made) for run in truth.statuses) - sum(made.refunded.values())
    (row,) = await _rows(
        platform,
        "billing",
        """
        SELECT credit, (SELECT coalesce(sum(amount), 0)::bigint FROM entries
                        WHERE account_id = $1 AND ledger = 'customer_credit') AS ledger
        FROM accounts WHERE account_id = $1
        """,
        customer.account,
    )
    credit: int = row["credit"]
    ledger: int = row["ledger"]
    return max(abs(topped_up - owed - ledger), abs(credit - ledger))
