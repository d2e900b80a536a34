"""Spends a second on one account, against bare updates of rows of their own: `./dev bench holds`.

- *ours*: a thousand spenders on one account at once, each of whom places a hold and settles it when it has it, through
  the use cases of billing and their group commits. A spend counts once it is settled: with the hold, what it reserved
  and spent of three budgets (the account's by month, the package's, the API key's), the charge, the posting with
  its ledger entries, and `ChargeSettled` in the outbox. The account's budget admits all but some of them, exactly.
- *theirs*: `UPDATE bare SET v = v + 1 WHERE id = ...`, each of twenty connections on a row of its own, each update a
  transaction.

Both sides run in one process on one PostgreSQL with the settings of `./dev up`, so with the same durability. `ratio` is
of whole spends. Beside it stand `placed`, of holds alone with what they reserve of the budgets, measured in the same
pairs, and `over_nats`, of holds placed by request and reply, with the time until the answer. One JSON line last.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import psutil
import uvloop
from agora_billing.accounts import service as accounts
from agora_billing.app import build
from agora_billing.audit.service import verify
from agora_billing.budgets import service as budgets
from agora_billing.budgets import store as budget_store
from agora_billing.charges.service import Charges
from agora_billing.holds.service import Holds
from agora_billing.prices import service as price_service
from agora_billing.prices.service import Prices
from agora_billing.settings import BillingSettings
from agora_contracts.billing import OpenAccount, PlaceHold, Quantity, TopUp
from agora_contracts.budgets import BudgetScope, CreateBudget
from agora_contracts.catalog import ChargePolicy, OfferedPrice, PriceVersionPublished
from agora_contracts.catalogue import EVENTS
from agora_contracts.envelope import Envelope, utc_now
from agora_contracts.ids import derived
from agora_contracts.metering import RunUsageClosed
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.broker import Broker
from agora_kit.database import Database, migrate
from agora_kit.group_commit import GroupCommit
from agora_kit.provision import DatabasePasswords, DatabaseUrls, provision
from agora_local.parts import Nats, Postgres
from agora_local.ports import free_port, free_ports
from agora_local.testing import own_folder
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks.pairs import interleave

SPENDERS = 1000
SPENDS = 20_000
REFUSED = 500
UPDATES = 10_000
CONNECTIONS = 20
OVER_NATS = 5_000
WARM_UP = 2_000
COST = 10_000
TENANT = derived("ten", "benchmark")
PRICE = derived("price", "benchmark")
KEY = derived("key", TENANT)
PACKAGE = "echo"


# --- ours ----------------------------------------------------------------------------------------


class Round(msgspec.Struct, frozen=True):
    """What one measurement came to. `latencies` are seconds from the request for a hold to its settlement."""

    seconds: float
    admitted: int
    expected: int
    overspent: int
    latencies: list[float]


class Spending:
    """Accounts with budgets, and many who spend on one of them at once."""

    def __init__(self, database: Database) -> None:
        self.database = database
        prices = Prices(database)
        self.holds = Holds(database, prices, utc_now, timedelta(seconds=120))
        self._charges = Charges(prices, utc_now)
        self._settlements: GroupCommit[Envelope[RunUsageClosed], None] = GroupCommit(database, self._settle)
        self._rounds = 0

    async def _settle(
        self, connection: AsyncConnection, usage: Sequence[Envelope[RunUsageClosed]]
    ) -> list[AgoraError | None]:
        await self._charges.settle(connection, usage)
        return [None] * len(usage)

    async def pin_price(self) -> None:
        """One cent by task."""
        price = PriceVersionPublished(
            price_version=PRICE,
            package=PACKAGE,
            version="1.0.0",
            currency="USD",
            prices=[OfferedPrice(basis="task", unit_price=Decimal("0.01"), meter="tasks")],
            charges=ChargePolicy(),
            model_cost_limit=Decimal(0),
        )
        async with self.database.system() as connection:
            await price_service.pin(connection, [_envelope(PLATFORM_TENANT, price)])

    async def open_account(self, admits: int) -> tuple[str, str]:
        """An account with credit for everybody and a budget that admits so many; the ids of both."""
        self._rounds += 1
        account = derived("acc", TENANT, str(self._rounds))
        plenty = Money(amount=10**15)
        limits: list[tuple[BudgetScope, str | None, Money]] = [
            ("account", None, Money(amount=admits * COST)),
            ("package", PACKAGE, plenty),
            ("api_key", KEY, plenty),
        ]
        async with self.database.transaction(TENANT) as connection:
            now = utc_now()
            await accounts.open_account(connection, OpenAccount(account=account, tenant=TENANT), now)
            await accounts.top_up(
                connection, TopUp(account=account, tenant=TENANT, amount=plenty, reference="first"), now
            )
            for scope, target, limit in limits:
                command = CreateBudget(
                    budget=derived("bud", account, scope),
                    tenant=TENANT,
                    account=account,
                    scope=scope,
                    target=target,
                    period="month",
                    limit=limit,
                    kind="hard",
                    thresholds=[50, 80],
                )
                await budgets.create(connection, command, now)
        return account, derived("bud", account, "account")

    async def measure(self, spends: int, refused: int) -> Round:
        """Let a thousand spend at once on a new account, whose budget refuses the given number."""
        account, budget = await self.open_account(spends - refused)
        numbers = iter(range(spends))
        latencies: list[float] = []
        started = time.perf_counter()
        admitted = await asyncio.gather(
            *(self._spender(account, numbers, latencies) for _ in range(min(SPENDERS, spends)))
        )
        seconds = time.perf_counter() - started
        async with self.database.system() as connection:
            window = await budget_store.current(connection, budget, utc_now())
        if window is None:
            raise RuntimeError("the budget is gone")
        used = window.spent + window.reserved
        return Round(
            seconds=seconds,
            admitted=sum(admitted),
            expected=spends - refused,
            overspent=max(used - window.rule.amount, 0),
            latencies=latencies,
        )

    async def place(self, holds: int) -> float:
        """Let a thousand place holds at once on a new account and settle none; holds a second."""
        account, _ = await self.open_account(holds)
        numbers = iter(range(holds))

        async def placer() -> None:
            for number in numbers:
                await self.holds.place(place(f"run_{account[4:20]}{number:016x}", account))

        started = time.perf_counter()
        await asyncio.gather(*(placer() for _ in range(SPENDERS)))
        return holds / (time.perf_counter() - started)

    async def _spender(self, account: str, numbers: Iterable[int], latencies: list[float]) -> int:
        admitted = 0
        for number in numbers:
            run = f"run_{account[4:20]}{number:016x}"
            started = time.perf_counter()
            try:
                await self.holds.place(place(run, account))
            except AgoraError as error:
                if error.slug != "budget_exhausted":
                    raise
                continue
            await self._settlements.submit(_envelope(TENANT, closed(run)))
            latencies.append(time.perf_counter() - started)
            admitted += 1
        return admitted


def place(run: str, account: str) -> PlaceHold:
    """A request for a hold of one task."""
    return PlaceHold(
        run=run,
        fingerprint=run,
        tenant=TENANT,
        account=account,
        price_version=PRICE,
        basis="task",
        estimates=[Quantity(meter="tasks", quantity=Decimal(1))],
        api_key=KEY,
    )


def closed(run: str) -> RunUsageClosed:
    """The run has used its task."""
    return RunUsageClosed(
        run=run,
        revision=1,
        totals=[Quantity(meter="tasks", quantity=Decimal(1), events=1)],
        outcome="succeeded",
        deliverable="full",
        finished_at=datetime.now(UTC),
    )


def _envelope[Data: msgspec.Struct](tenant: str, data: Data) -> Envelope[Data]:
    return Envelope(
        id="evt", source="benchmark", type=EVENTS[type(data)].type, time=utc_now(), tenant=tenant, data=data
    )


# --- theirs --------------------------------------------------------------------------------------


class BareUpdates:
    """Updates of rows of their own, each a transaction."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def prepare(self) -> None:
        """Make the rows."""
        await self._pool.execute("CREATE TABLE bare (id integer PRIMARY KEY, v bigint NOT NULL DEFAULT 0)")
        await self._pool.execute(
            "INSERT INTO bare (id) SELECT * FROM generate_series(0, $1::integer - 1)", CONNECTIONS
        )

    async def measure(self, updates: int) -> float:
        """Updates a second."""

        async def one(row: int) -> None:
            async with self._pool.acquire() as connection:
                for _ in range(updates // CONNECTIONS):
                    await connection.execute("UPDATE bare SET v = v + 1 WHERE id = $1", row)

        started = time.perf_counter()
        await asyncio.gather(*(one(row) for row in range(CONNECTIONS)))
        return updates / (time.perf_counter() - started)


# --- beside it: over NATS ------------------------------------------------------------------------


async def over_nats(urls: DatabaseUrls, nats: Nats, spending: Spending, count: int) -> dict[str, Any]:
    """Holds placed by request and reply through the running service, and how long their answers take."""
    settings = BillingSettings(
        database_url=urls.app,
        database_system_url=urls.system,
        nats_url=nats.user_url("billing"),
        log_level="error",
    )
    service = build(settings)
    asker = Broker(nats.user_url("execution"), "execution")
    async with AsyncExitStack() as parts:
        await service.start()
        parts.push_async_callback(service.stop)
        await asker.start()
        parts.push_async_callback(asker.stop)
        account, _ = await spending.open_account(count)
        numbers = iter(range(count))
        latencies: list[float] = []

        async def spender() -> None:
            for number in numbers:
                run = f"run_{account[4:20]}{number:016x}"
                started = time.perf_counter()
                await asker.ask(place(run, account), deadline_seconds=60)
                latencies.append(time.perf_counter() - started)

        started = time.perf_counter()
        await asyncio.gather(*(spender() for _ in range(SPENDERS)))
        seconds = time.perf_counter() - started
    return {"holds_per_second": round(count / seconds), **_milliseconds(latencies)}


def _milliseconds(latencies: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(latencies, n=100)
    return {"p50_ms": round(cuts[49] * 1000, 1), "p99_ms": round(cuts[98] * 1000, 1)}


# --- the comparison ------------------------------------------------------------------------------


async def compare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run the pairs, audit the books, and ask over NATS."""
    nats_port, monitor_port = free_ports(2)
    nats = Nats(folder / "nats", nats_port, monitor_port)
    with Postgres(folder / "postgres", free_port()) as postgres, nats:
        words = DatabasePasswords(app="app", system="system", owner="owner")
        urls = await provision(postgres.url, "billing", words)
        await asyncio.to_thread(migrate, urls.owner, "agora_billing")
        database = Database(urls.app, urls.system)
        try:
            return await _compare(database, urls, nats, options)
        finally:
            await database.close()


async def _compare(
    database: Database, urls: DatabaseUrls, nats: Nats, options: argparse.Namespace
) -> dict[str, Any]:
    spending = Spending(database)
    await spending.pin_price()
    rounds: list[Round] = []
    process = psutil.Process()
    own_cpu: list[float] = []
    placed: list[float] = []
    async with asyncpg.create_pool(
        urls.owner.replace("+asyncpg", ""), min_size=CONNECTIONS, max_size=CONNECTIONS
    ) as pool:
        bare = BareUpdates(pool)
        await bare.prepare()
        await spending.measure(WARM_UP, REFUSED)
        await bare.measure(WARM_UP)

        async def ours() -> float:
            placed.append(await spending.place(options.spends))
            before = process.cpu_times()
            rounds.append(await spending.measure(options.spends, REFUSED))
            after = process.cpu_times()
            own_cpu.append((after.user + after.system - before.user - before.system) / options.spends)
            return rounds[-1].admitted / rounds[-1].seconds

        measured = await interleave(
            ours,
            lambda: bare.measure(options.updates),
            pairs=options.pairs,
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
    through_nats = await over_nats(urls, nats, spending, options.over_nats)
    report = await verify(database)
    if not report.ok:
        raise RuntimeError(f"the books do not agree: {report.faults[:5]}")
    return measured.line(
        "holds",
        overspend=sum(one.overspent for one in rounds),
        false_refusals=sum(max(one.expected - one.admitted, 0) for one in rounds),
        spenders=SPENDERS,
        spends=options.spends,
        **_milliseconds([one for done in rounds for one in done.latencies]),
        own_cpu_microseconds_per_spend=round(statistics.median(own_cpu) * 1e6, 1),
        placed=_ratio(placed, measured.theirs),
        over_nats=through_nats,
    )


def _ratio(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 3),
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "holds_per_second": round(statistics.median(ours)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="benchmarks.holds", description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--spends", type=int, default=SPENDS, help="spends of a side and pair")
    parser.add_argument("--updates", type=int, default=UPDATES, help="bare updates of a side and pair")
    parser.add_argument("--over-nats", type=int, default=OVER_NATS, help="holds placed over NATS")
    options = parser.parse_args(arguments)
    with own_folder() as folder:
        report = uvloop.run(compare(folder, options))
    print(msgspec.json.encode(report).decode())


if __name__ == "__main__":
    main()
