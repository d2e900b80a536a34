"""Every commit, ack and publish of the money path: the process dies there once, and everything is exact after it.

The whole path of a service is gone through on real parts, while it dies at every point of a kind: each wherever it is
reached for the first time, whereupon the service is started again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from copy import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import nats
import pytest
from agora_billing.app import build as build_billing
from agora_billing.audit.service import verify
from agora_billing.settings import BillingSettings
from agora_contracts.billing import (
    ConfirmHold,
    GetBalance,
    IncreaseHold,
    OpenAccount,
    PlaceHold,
    Quantity,
    TopUp,
)
from agora_contracts.budgets import CreateBudget
from agora_contracts.catalog import ChargePolicy, OfferedPrice, PriceVersionPublished
from agora_contracts.catalogue import EVENTS
from agora_contracts.deployments import DeploymentEnded, DeploymentStarted
from agora_contracts.envelope import Envelope, utc_now
from agora_contracts.metering import RunUsageClosed
from agora_contracts.meters import CheckTotals, CreateMeter
from agora_contracts.money import Money
from agora_contracts.periods import PeriodTotal
from agora_contracts.promotions import GrantPromotion
from agora_contracts.refunds import RefundRun
from agora_contracts.runs import RunAccepted, RunFinished
from agora_contracts.subjects import (
    BILLING_STREAM,
    METERING_STREAM,
    PLATFORM_TENANT,
    event_subject,
    ingest_subject,
)
from agora_contracts.usage import UsageRecorded
from agora_contracts.usage_ingest import REPORTED_TYPE, CorrectUsage, IngestUsage
from agora_kit.broker import Broker
from agora_kit.database import Database
from agora_kit.outbox import Event, encode
from agora_kit.provision import DatabaseUrls
from agora_kit.relay import ensure_streams
from agora_kit.service import Service
from agora_metering.app import build as build_metering
from agora_metering.settings import MeteringSettings
from nats.aio.client import Client
from sqlalchemy import text

from tests.faults.crashing import Crashing
from tests.faults.money_load import persist

STARTED = datetime(2026, 1, 1, tzinfo=UTC)
_COMMIT = ("before_commit", "after_commit")
_WAIT_SECONDS = 30.0

METERING = {
    **dict.fromkeys(
        (
            "metering-usage",
            "metering-run-finished",
            "metering-ingest",
            "metering-prices",
            "metering-deployments",
            "metering-rentals",
        ),
        (*_COMMIT, "after_ack"),
    ),
    **dict.fromkeys(("IngestUsage", "CorrectUsage", "CreateMeter"), _COMMIT),
    **dict.fromkeys(("roll totals", "tell periods", "build meters", "count rentals"), _COMMIT),
    "relay": ("before_publish", "after_publish"),
}
BILLING = {
    **dict.fromkeys(
        (
            "billing-prices",
            "billing-deployments",
            "billing-run-accepted",
            "billing-usage-closed",
            "billing-period-totals",
        ),
        (*_COMMIT, "after_ack"),
    ),
    **dict.fromkeys(
        (
            "OpenAccount",
            "TopUp",
            "PlaceHold",
            "ConfirmHold",
            "IncreaseHold",
            "RefundRun",
            "GrantPromotion",
            "CreateBudget",
        ),
        _COMMIT,
    ),
    **dict.fromkeys(("lapse holds", "expire promotions", "seal postings"), _COMMIT),
    "relay": ("before_publish", "after_publish"),
}
ELSEWHERE = {
    # Writes what no amount depends on, or says again what another point's write has said.
    *("ChangeBudget", "DeleteBudget", "CloseAccount", "DeleteMeter", "RebuildMeter"),
    *("ReplayRefusedUsage", "ReplayAllRefusedUsage", "ReplayDeadLetters"),
    *("RequestUsageExport", "CancelUsageExport", "exports", "expire exports", "expire refused usage"),
    *("usage partitions", "usage retention", "check totals", "incomplete runs", "reconcile"),
    "tell ended windows",
}
KINDS = ("before", "after", "ack")
_READING = ("Get", "List", "Query", "Check", "Quote", "Read", "Verify", "Reconcile", "Describe", "Audit")


def points_of(path: dict[str, tuple[str, ...]], kind: str) -> list[str]:
    """Every point of a path that is `before`, or `after`, or an `ack`."""
    return [
        f"{work}:{where}"
        for work, places in path.items()
        for where in places
        if (where == "after_ack" if kind == "ack" else where.startswith(kind) and where != "after_ack")
    ]


def works_of(service: Service) -> set[str]:
    """Everything at which a service may write: its consumers, commands and sweeps."""
    commands = {command.__name__ for command in service.broker.answered}
    return (
        {consumer.name for consumer in service.broker.consumers}
        | {name for name in commands if not name.startswith(_READING)}
        | set(service.sweeps)
        | {"relay"}
    )


class Names:
    """Who and what is gone through the path with: of one tenant, who shares nothing with another.

    Once is not always enough: where the process dies at one point while it is between two others, what it comes to
    again is written already, and the second of them is not reached any more.
    """

    def __init__(self, number: int) -> None:
        self.tenant, self.account = f"ten_{number}", f"acc_{number}"
        self.deployment, self.rental = f"dep_{number}", f"rental_{number}"
        self.price, self.meter = f"price_{number}", f"calls_{number}"
        self.run, self.other_run, self.lapsing_run = (f"run_{number}_{place}" for place in range(3))


ROUNDS_MAX = 6


# --- what both have in common --------------------------------------------------------------------


class Outside:
    """Who asks the service, and publishes what it hears of, as often as it takes."""

    def __init__(self, broker: Broker, client: Client, database: Database) -> None:
        self.client = client
        self.database = database
        self._broker = broker

    async def ask(self, command: msgspec.Struct, *also: str) -> Any:
        """Ask until it is answered; `also` are problems that pass. Whoever died with a question answers it never."""
        return await persist(lambda: self._broker.ask(command, deadline_seconds=0.5), also=frozenset(also))

    async def say(self, tenant: str, *facts: msgspec.Struct, id: str | None = None) -> None:
        """Publish events, as a relay does."""
        for fact in facts:
            at = getattr(fact, "at", None) or STARTED
            event = Event(tenant=tenant, entity="x", data=fact, id=id, at=at, source="agora/execution")
            event_id, subject, payload = encode(event)
            await self.client.jetstream().publish(subject, payload, headers={"Nats-Msg-Id": event_id})

    async def value(self, query: str, *values: object) -> Any:
        """One value of the service's database; `values` are its `:v0`, `:v1` and so on."""
        named = {f"v{place}": value for place, value in enumerate(values)}
        async with self.database.system() as connection:
            return (await connection.execute(text(query), named)).scalar()

    async def until_value(self, wanted: Any, query: str, *values: object) -> None:
        """Wait until one value of the service's database is what is wanted."""
        await self.until(lambda: self.value(query, *values), wanted)

    async def until(self, look: Callable[[], Awaitable[Any]], wanted: Any) -> None:
        """Wait until what is found is what is wanted."""
        deadline = asyncio.get_running_loop().time() + _WAIT_SECONDS
        found = await persist(look)
        while found != wanted and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
            found = await persist(look)
        assert wanted == found

    async def all_is_told_once(self, stream: str) -> None:
        """Wait until the whole outbox is on its stream, each event once."""
        await self.until_value(0, "SELECT count(*) FROM outbox WHERE published_at IS NULL")
        written = await self.value("SELECT count(*) FROM outbox")
        assert written == (await self.client.jetstream().stream_info(stream)).state.messages


@asynccontextmanager
async def _outside(urls: DatabaseUrls, nats_url: str) -> AsyncIterator[Outside]:
    client = await nats.connect(nats_url)
    await ensure_streams(client.jetstream())
    broker = Broker(nats_url, "operator")
    await broker.start()
    database = Database(urls.app, urls.system, pool_size=2)
    yield Outside(broker, client, database)
    await database.close()
    await broker.stop()
    await client.close()


# --- metering ------------------------------------------------------------------------------------


@pytest.fixture
def metering_settings(
    database_urls: Callable[[str], DatabaseUrls], nats_url: str, tmp_path: Path
) -> MeteringSettings:
    """A metering whose sweeps are quick."""
    urls = database_urls("metering")
    return MeteringSettings(
        database_url=urls.app,
        database_system_url=urls.system,
        nats_url=nats_url,
        log_level="critical",
        database_pool_size=4,
        objects_folder=str(tmp_path),
        roll_seconds=0.1,
        period_seconds=0.1,
        build_sweep_seconds=0.1,
        rental_seconds=0.1,
    )


def _report(id: str, quantity: str, names: Names) -> bytes:
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": id,
            "source": "station",
            "type": REPORTED_TYPE,
            "time": utc_now(),
            "data": {
                "meter": names.meter,
                "quantity": quantity,
                "deployment": names.deployment,
                "dimensions": {"caller": id},
            },
        }
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_metering_is_exact_after_it_died(kind: str, metering_settings: MeteringSettings):
    """
    Usage of a run, its end, reports by command and by stream, a meter that is filled, a correction: totals, the run's
    closed usage and the month's total are exact, though metering dies at every commit, ack or publish.
    """
    urls = DatabaseUrls(
        app=metering_settings.database_url, system=metering_settings.database_system_url, owner=""
    )
    async with (
        _outside(urls, metering_settings.nats_url) as outside,
        Crashing("agora_metering", metering_settings, points_of(METERING, kind)) as service,
    ):
        for number in range(ROUNDS_MAX):
            await _use_metering(outside, Names(number))
            await _metering_is_exact(outside, Names(number))
            if not service.left:
                break
        assert [] == service.left
        assert [] == service.unasked


async def _use_metering(outside: Outside, names: Names) -> None:
    calls = OfferedPrice(basis="query", meter=names.meter, unit_price=Decimal("0.02"), window="month")
    await outside.say(PLATFORM_TENANT, _price(names, calls))
    await outside.until_value(1, "SELECT count(*) FROM priced_meters WHERE meter = :v0", names.meter)
    await outside.say(names.tenant, _deployment(names))
    await outside.until_value(
        1, "SELECT count(*) FROM known_deployments WHERE deployment = :v0", names.deployment
    )
    rental = replace(_deployment(names), deployment=names.rental, basis="hour")
    end = DeploymentEnded(deployment=names.rental, account=names.account, at=STARTED + timedelta(minutes=90))
    await outside.say(names.tenant, rental, end)
    for number in range(4):
        quantity = Decimal(number) + Decimal("0.5")
        fact = UsageRecorded(meter="tasks", quantity=quantity, run=names.run, package="echo")
        await outside.say(names.tenant, fact, id=f"{names.run}/{number}")
    await outside.say(
        names.tenant,
        RunFinished(
            run=names.run,
            outcome="succeeded",
            deliverable="full",
            usage_count=4,
            at=STARTED,
            package="echo",
            version="1.0.0",
        ),
    )
    reports = [msgspec.Raw(_report(f"r{number}", "1.25", names)) for number in range(3)]
    await outside.ask(
        IngestUsage(tenant=names.tenant, sender="operator", received_at=utc_now(), events=reports)
    )
    for number in range(2):
        subject = ingest_subject(names.tenant, "weather")
        await outside.client.jetstream().publish(subject, _report(f"s{number}", "0.5", names))
    await outside.ask(
        CreateMeter(
            tenant=names.tenant,
            key="callers",
            unit="caller",
            aggregation="unique_count",
            event=names.meter,
            value="caller",
        )
    )
    correction = CorrectUsage(
        tenant=names.tenant,
        source="operator",
        id="fix",
        corrects_source="agora/execution",
        corrects_id=f"{names.run}/3",
        kind="amend",
        quantity=Decimal(1),
        reason="counted wrongly",
        own_only=False,
    )
    await outside.ask(correction, "not_found")


async def _metering_is_exact(outside: Outside, names: Names) -> None:
    async def closed() -> Any:
        found = await _told(outside, names, RunUsageClosed)
        return [(one.meter, one.quantity) for one in found[-1].totals] if found else None

    async def month() -> Any:
        found = [one for one in await _told(outside, names, PeriodTotal) if one.meter == names.meter]
        return (found[-1].quantity, found[-1].events) if found else None

    async def rented() -> Any:
        found = [one for one in await _told(outside, names, PeriodTotal) if one.deployment == names.rental]
        return {one.period_start: one.quantity for one in found}.get(STARTED)

    # 0.5 + 1.5 + 2.5 and the corrected 1; three reports of 1.25 and two of 0.5.
    await outside.until(closed, [("tasks", Decimal("5.5"))])
    await outside.until(month, (Decimal("4.75"), 5))
    await outside.until(rented, Decimal("1.50"))
    await outside.until_value("active", "SELECT state FROM meters WHERE tenant_id = :v0", names.tenant)
    await outside.until_value(0, "SELECT count(*) FROM usage_deltas")
    await outside.all_is_told_once(METERING_STREAM.name)
    assert 9 == await outside.value("SELECT count(*) FROM usage_events WHERE tenant_id = :v0", names.tenant)
    assert 1 == await outside.value(
        "SELECT count(*) FROM usage_corrections WHERE tenant_id = :v0", names.tenant
    )
    assert 0 == await outside.value("SELECT count(*) FROM dead_letters")
    revisions = [one.revision for one in await _told(outside, names, RunUsageClosed)]
    assert list(range(1, len(revisions) + 1)) == revisions
    assert 5 == await outside.value(
        "SELECT count(DISTINCT value) FROM usage_series WHERE meter = 'callers' AND tenant_id = :v0",
        names.tenant,
    )
    for day in (STARTED.date(), utc_now().date()):
        assert [] == (await outside.ask(CheckTotals(day=day))).differences


async def _told[Fact: (RunUsageClosed, PeriodTotal)](
    outside: Outside, names: Names, kind: type[Fact]
) -> list[Fact]:
    """What the outbox holds of one kind for a tenant, by revision."""
    async with outside.database.system() as connection:
        rows = await connection.execute(
            text("SELECT payload FROM outbox WHERE subject = :subject"),
            {"subject": event_subject(names.tenant, EVENTS[kind].path)},
        )
        decoder = msgspec.json.Decoder(Envelope[kind])  # type: ignore[valid-type]
        found: list[Fact] = [decoder.decode(row.payload).data for row in rows]
        return sorted(found, key=lambda one: one.revision)


# --- billing -------------------------------------------------------------------------------------


def _price(names: Names, *prices: OfferedPrice) -> PriceVersionPublished:
    return PriceVersionPublished(
        price_version=names.price,
        package="echo",
        version="1.0.0",
        currency="USD",
        prices=list(prices),
        charges=ChargePolicy(),
        model_cost_limit=Decimal(0),
    )


def _deployment(names: Names) -> DeploymentStarted:
    return DeploymentStarted(
        deployment=names.deployment,
        account=names.account,
        package="echo",
        version="1.0.0",
        price_version=names.price,
        basis="query",
        at=STARTED,
    )


@pytest.fixture
def billing_settings(database_urls: Callable[[str], DatabaseUrls], nats_url: str) -> BillingSettings:
    """A billing whose sweeps are quick."""
    urls = database_urls("billing")
    return BillingSettings(
        database_url=urls.app,
        database_system_url=urls.system,
        nats_url=nats_url,
        log_level="critical",
        database_pool_size=4,
        hold_lapse_seconds=0.5,
        hold_sweep_seconds=0.1,
        promotion_sweep_seconds=0.1,
        seal_sweep_seconds=0.1,
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_billing_is_exact_after_it_died(kind: str, billing_settings: BillingSettings):
    """
    Holds, charges, an adjustment, a refund, a month, a grant that expires: balance and books are exact, though
    billing dies at every commit, ack or publish.
    """
    urls = DatabaseUrls(
        app=billing_settings.database_url, system=billing_settings.database_system_url, owner=""
    )
    async with (
        _outside(urls, billing_settings.nats_url) as outside,
        Crashing("agora_billing", billing_settings, points_of(BILLING, kind)) as service,
    ):
        for number in range(ROUNDS_MAX):
            await _use_billing(outside, Names(number))
            await _billing_is_exact(outside, Names(number))
            if not service.left:
                break
        assert [] == service.left
        assert [] == service.unasked


async def _use_billing(outside: Outside, names: Names) -> None:
    await outside.say(
        PLATFORM_TENANT,
        _price(
            names,
            OfferedPrice(basis="task", meter="tasks", unit_price=Decimal("0.01")),
            OfferedPrice(basis="query", meter=names.meter, unit_price=Decimal("0.02"), window="month"),
        ),
    )
    await outside.ask(OpenAccount(account=names.account, tenant=names.tenant))
    credit = Money(amount=100_000_000)
    await outside.ask(TopUp(account=names.account, tenant=names.tenant, amount=credit, reference="first"))
    await outside.ask(
        CreateBudget(
            budget=f"bud_{names.tenant}",
            tenant=names.tenant,
            account=names.account,
            scope="account",
            period="total",
            limit=credit,
            kind="hard",
        )
    )
    await outside.say(names.tenant, _deployment(names))
    for run in (names.run, names.other_run, names.lapsing_run):
        await outside.ask(_hold(names, run), "unavailable", "not_found")
    await outside.ask(ConfirmHold(run=names.run, tenant=names.tenant))
    await outside.ask(
        IncreaseHold(run=names.run, tenant=names.tenant, by=Money(amount=5_000), request="more")
    )
    await outside.say(
        names.tenant,
        RunAccepted(
            run=names.other_run,
            account=names.account,
            package="echo",
            version="1.0.0",
            price_version=names.price,
            basis="task",
            hold_epoch=1,
            quoted=Money(amount=50_000),
        ),
    )
    await outside.until_value("firm", "SELECT state FROM holds WHERE run = :v0", names.other_run)
    charges = "SELECT count(*) FROM charges WHERE tenant_id = :v0"
    await outside.say(names.tenant, _closed(names.run, 1, 5), _closed(names.other_run, 1, 2))
    await outside.until_value(2, charges, names.tenant)
    await outside.say(names.tenant, _closed(names.run, 2, 3))
    await outside.until_value(3, charges, names.tenant)
    refund = RefundRun(run=names.run, amount=Money(amount=10_000), reason="goodwill", reference="one")
    await outside.ask(refund)
    await outside.say(names.tenant, _month(names, 1, 10), _month(names, 2, 15))
    # Before the grant, so that nothing is left to be spent of it: all of it expires.
    await outside.until_value(
        300_000, "SELECT sum(amount) FROM period_charges WHERE tenant_id = :v0", names.tenant
    )
    await outside.until_value("lapsed", "SELECT state FROM holds WHERE run = :v0", names.lapsing_run)
    grant = GrantPromotion(
        account=names.account,
        tenant=names.tenant,
        amount=Money(amount=1_000_000),
        reference="welcome",
        reason="welcome",
        expires_at=utc_now() + timedelta(seconds=3),
    )
    await outside.ask(grant)


def _hold(names: Names, run: str) -> PlaceHold:
    return PlaceHold(
        run=run,
        fingerprint=run,
        tenant=names.tenant,
        account=names.account,
        price_version=names.price,
        basis="task",
        estimates=[Quantity(meter="tasks", quantity=Decimal(5))],
    )


def _closed(run: str, revision: int, tasks: int) -> RunUsageClosed:
    return RunUsageClosed(
        run=run,
        revision=revision,
        totals=[Quantity(meter="tasks", quantity=Decimal(tasks), events=1)],
        outcome="succeeded",
        deliverable="full",
        finished_at=STARTED,
    )


def _month(names: Names, revision: int, quantity: int) -> PeriodTotal:
    return PeriodTotal(
        deployment=names.deployment,
        meter=names.meter,
        period_start=STARTED,
        period_end=STARTED + timedelta(days=31),
        revision=revision,
        quantity=Decimal(quantity),
        events=quantity,
    )


async def _billing_is_exact(outside: Outside, names: Names) -> None:
    async def balance() -> Any:
        found = await outside.ask(GetBalance(account=names.account, tenant=names.tenant))
        return found.credit, found.promotional, found.held

    async def unsealed() -> Any:
        return (await verify(outside.database)).unsealed

    # Charged 0.03 and 0.02 by runs and 0.30 by the month, 0.01 was given back.
    await outside.until(balance, (100_000_000 - 30_000 - 20_000 - 300_000 + 10_000, 0, 0))
    await outside.until_value(
        1,
        "SELECT count(*) FROM postings WHERE kind = 'promotion_expired' AND tenant_id = :v0",
        names.tenant,
    )
    await outside.until(unsealed, 0)
    await outside.all_is_told_once(BILLING_STREAM.name)
    assert [] == (await verify(outside.database)).faults
    assert 0 == await outside.value("SELECT count(*) FROM dead_letters")


def test_every_place_that_writes_money_is_crashed(
    metering_settings: MeteringSettings, billing_settings: BillingSettings
):
    """
    Each consumer, command and sweep of both services is crashed at its commits by a case above, or is named here
    as one that writes no money.
    """
    assert works_of(build_metering(metering_settings)) - ELSEWHERE == set(METERING)
    assert works_of(build_billing(billing_settings)) - ELSEWHERE == set(BILLING)
