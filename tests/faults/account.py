"""After the faults: what every database says of the accepted runs, and where they disagree."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
from agora_local.platform import Platform


class Findings(msgspec.Struct, kw_only=True):
    """What was counted. Everything from `lost` on must be zero or empty."""

    accepted: int
    ended: int
    settled: int
    by_status: dict[str, int]
    usage_events: int
    metered: str
    charged: str
    lost: int
    doubled: int
    open_holds: int
    differences: list[str]


async def unsettled(platform: Platform, runs: list[str]) -> tuple[int, int]:
    """How many of these runs have not ended, and how many have no settled charge in their journal."""
    connection = await asyncpg.connect(admin_url(platform, "execution"))
    try:
        row = await connection.fetchrow(
            """
            SELECT count(*) FILTER (WHERE finished_at IS NULL) AS running, count(*) FILTER (WHERE cost IS NULL) AS open
            FROM runs WHERE id = ANY($1::text[])
            """,
            runs,
        )
        return row["running"], row["open"]
    finally:
        await connection.close()


async def settled_findings(platform: Platform, runs: list[str], account: str) -> Findings:
    """Look until nothing differs, for a while: tentative holds of requests that died lapse after two minutes."""
    deadline = time.monotonic() + 150
    while True:
        findings = await examine(platform, runs, account)
        if good(findings) or time.monotonic() > deadline:
            return findings
        await asyncio.sleep(2)


def good(found: Findings) -> bool:
    """Whether every run has ended as it should and was charged once."""
    wrong = found.lost or found.doubled or found.open_holds or found.differences
    return not wrong and found.accepted == found.ended == found.settled


async def examine(platform: Platform, runs: list[str], account: str) -> Findings:
    """Compare execution, metering and billing, run by run."""
    execution = await asyncpg.connect(admin_url(platform, "execution"))
    metering = await asyncpg.connect(admin_url(platform, "metering"))
    billing = await asyncpg.connect(admin_url(platform, "billing"))
    try:
        rows = {
            row["id"]: row
            for row in await execution.fetch("SELECT * FROM runs WHERE id = ANY($1::text[])", runs)
        }
        recorded = {
            row["run_id"]: row["events"]
            for row in await execution.fetch(
                "SELECT run_id, sum(jsonb_array_length(usage))::int AS events FROM steps GROUP BY run_id"
            )
        }
        steps = await execution.fetch(
            "SELECT run_id, count(*) AS n, max(seq) AS top FROM run_events GROUP BY run_id"
        )
        counted = {
            row["run"]: row
            for row in await metering.fetch(
                "SELECT run, count(*) AS events, sum(quantity) FILTER (WHERE meter = 'tasks') AS tasks "
                "FROM usage_events GROUP BY run"
            )
        }
        hourly = await metering.fetchval(
            "SELECT coalesce((SELECT sum(events) FROM usage_hour), 0)"
            " + coalesce((SELECT sum(events) FROM usage_deltas), 0)"
        )
        stored = await metering.fetchval("SELECT count(*) FROM usage_events")
        charges = await billing.fetch("SELECT run, count(*) FILTER (WHERE kind = 'settled') AS settled, "
            "sum(difference) AS amount FROM charges GROUP BY run")  # fmt: skip
        charged = {row["run"]: row for row in charges}
        open_holds = await billing.fetchval("SELECT count(*) FROM holds WHERE state IN ('tentative', 'firm')")
        postings = await billing.fetch(
            "SELECT run, count(*) AS n FROM postings WHERE kind = 'charge' GROUP BY run"
        )
        balance = await billing.fetchrow("SELECT credit, held FROM accounts WHERE account_id = $1", account)
        ledger = await billing.fetchval(
            "SELECT coalesce(sum(amount), 0) FROM entries WHERE account_id = $1 AND ledger = 'customer_credit'",
            account,
        )
        differences = _differences(rows, recorded, counted, charged)
        differences += [
            f"{row['run_id']}: journal has {row['n']} of {row['top']}"
            for row in steps
            if row["n"] != row["top"]
        ]
        if hourly != stored:
            differences.append(f"hourly rollups count {hourly} events, {stored} are stored")
        # A customer's credit is the platform's debt: the ledger's sign may be either, its size may not.
        if abs(ledger) != balance["credit"]:
            differences.append(f"the ledger says {ledger}, the account {balance['credit']}")
        if balance["held"] and not open_holds:
            differences.append(f"{balance['held']} are held without an open hold")
        return Findings(
            accepted=len(runs),
            ended=sum(row["finished_at"] is not None for row in rows.values()),
            settled=sum(run in charged and charged[run]["settled"] == 1 for run in runs),
            by_status=_count(row["status"] for row in rows.values()),
            usage_events=stored,
            metered=str(sum((row["tasks"] or Decimal(0) for row in counted.values()), Decimal(0))),
            charged=str(sum((row["amount"] for row in charged.values()), Decimal(0))),
            lost=sum(run not in rows or run not in charged for run in runs),
            doubled=sum(row["settled"] > 1 for row in charged.values())
            + sum(row["n"] > 1 for row in postings),
            open_holds=open_holds,
            differences=differences[:50],
        )
    finally:
        for connection in (execution, metering, billing):
            await connection.close()


def _differences(
    rows: Mapping[str, Any],
    recorded: Mapping[str, int],
    counted: Mapping[str, Any],
    charged: Mapping[str, Any],
) -> list[str]:
    found: list[str] = []
    for run, row in rows.items():
        events = counted[run]["events"] if run in counted else 0
        if not row["usage_count"] == recorded.get(run, 0) == events:
            found.append(
                f"{run}: counted {row['usage_count']}, recorded {recorded.get(run, 0)}, metered {events}"
            )
        amount = charged[run]["amount"] if run in charged else None
        if amount != row["cost"]:
            found.append(f"{run}: billing charged {amount}, the run says {row['cost']}")
        tasks = (counted[run]["tasks"] if run in counted else None) or Decimal(0)
        owed = tasks * 10_000 if row["status"] == "succeeded" else Decimal(0)
        if row["package"] == "echo" and amount is not None and amount != owed:
            found.append(f"{run}: {row['status']} with {tasks} tasks was charged {amount}, not {owed}")
    return found


def _count(values: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts


def admin_url(platform: Platform, service: str) -> str:
    """The administrator's URL of a service's database."""
    return platform.postgres.url.rsplit("/", 1)[0] + f"/agora_{service}"
