"""A running billing service on a real database and NATS account, and a way to talk to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from agora_billing.app import build
from agora_billing.holds.service import Holds
from agora_billing.prices.service import Prices
from agora_billing.settings import BillingSettings
from agora_contracts.billing import ChargeAdjusted, ChargeSettled, OpenAccount, PlaceHold, Quantity, TopUp
from agora_contracts.catalog import MODEL_COST_METER, ChargePolicy, OfferedPrice, PriceVersionPublished
from agora_contracts.catalogue import EVENTS
from agora_contracts.envelope import Envelope
from agora_contracts.metering import RunUsageClosed
from agora_contracts.money import Money
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.broker import Broker
from agora_kit.database import Database
from agora_kit.outbox import Event, encode
from agora_kit.provision import DatabaseUrls
from agora_kit.service import Service
from sqlalchemy import text

TENANT = "ten_one"
ACCOUNT = "acc_one"
PRICE = "price_echo"
WAIT_SECONDS = 15.0


class Clock:
    """A clock that a test can put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        """The time now, and what the test has added."""
        return datetime.now(UTC) + self.ahead

    def to_midmonth(self) -> None:
        """Go to noon in the middle of next month, so that no day or month ends while a test goes on."""
        now = datetime.now(UTC)
        month = (now.replace(day=1) + timedelta(days=32)).replace(day=15)
        self.ahead = month.replace(hour=12, minute=0) - now


class Platform:
    """Billing with everything around it: who asks, who publishes, and what billing told the world."""

    def __init__(self, service: Service, asker: Broker, clock: Clock) -> None:
        self.service = service
        self.asker = asker
        self.clock = clock

    @property
    def database(self) -> Database:
        """Billing's own database."""
        return self.service.database

    async def ask(self, command: msgspec.Struct) -> Any:
        """Ask over NATS, as other services do."""
        return await self.asker.ask(command)

    async def publish(self, tenant: str, *facts: msgspec.Struct, entity: str = "x") -> None:
        """Publish events of other services to JetStream."""
        for fact in facts:
            event_id, subject, payload = encode(Event(tenant=tenant, entity=entity, data=fact))
            await self.publish_raw(subject, payload, event_id)

    async def publish_raw(self, subject: str, payload: bytes, event_id: str | None = None) -> None:
        """Publish bytes as they are."""
        headers = {"Nats-Msg-Id": event_id} if event_id else None
        await self.asker.client.jetstream().publish(subject, payload, headers=headers)

    async def events(self, *kinds: type[msgspec.Struct]) -> list[Envelope[Any]]:
        """What billing has written into its outbox, of these kinds, oldest first."""
        types = {EVENTS[kind].type: msgspec.json.Decoder(Envelope[kind]) for kind in kinds}  # type: ignore[valid-type]
        rows = await self.rows("SELECT payload FROM outbox ORDER BY seq")
        found = [msgspec.json.decode(row.payload) for row in rows]
        return [
            types[one["type"]].decode(row.payload)
            for one, row in zip(found, rows, strict=True)
            if one["type"] in types
        ]

    async def charges_of(self, run: str) -> list[ChargeSettled | ChargeAdjusted]:
        """What billing announced about a run's charge, oldest first."""
        events = await self.events(ChargeSettled, ChargeAdjusted)
        return [event.data for event in events if event.subject == run]

    async def rows(self, query: str, **values: Any) -> Any:
        """Read billing's tables as its system role."""
        async with self.database.system() as connection:
            return (await connection.execute(text(query), values)).all()

    async def until(self, condition: Callable[[], Awaitable[Any]]) -> Any:
        """Wait for something to become true, and return it."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                if found := await condition():
                    return found
                await asyncio.sleep(0.01)

    async def sweep(self) -> None:
        """Let lapse what is past its time, as the service does every few seconds."""
        await Holds(self.database, Prices(self.database), self.clock, timedelta(seconds=120)).sweep()

    async def fund(self, amount: int, *, receivable_limit: int = 0, account: str = ACCOUNT) -> None:
        """Open the account and top it up with `amount` micro-units."""
        await self.ask(OpenAccount(account=account, tenant=TENANT, receivable_limit=receivable_limit))
        if amount:
            await self.ask(
                TopUp(
                    account=account, tenant=TENANT, amount=Money(amount=amount), reference=f"first {account}"
                )
            )

    async def settled(self, run: str, revision: int = 1) -> ChargeSettled:
        """Wait for a run to be settled by a revision of its usage."""
        return await self._charged(ChargeSettled, run, revision)

    async def adjusted(self, run: str, revision: int) -> ChargeAdjusted:
        """Wait for a revision of a run's usage to adjust its charge."""
        return await self._charged(ChargeAdjusted, run, revision)

    async def _charged[Charged: (ChargeSettled, ChargeAdjusted)](
        self, kind: type[Charged], run: str, revision: int
    ) -> Charged:
        async def found() -> Charged | None:
            facts = [one.data for one in await self.events(kind) if one.subject == run]
            return next((one for one in facts if one.revision == revision), None)

        charged: Charged = await self.until(found)
        return charged


def price_version(
    price_id: str = PRICE,
    *,
    unit_price: str = "0.01",
    charges: ChargePolicy | None = None,
    model_cost_limit: str = "0.05",
) -> PriceVersionPublished:
    """A price version with one unit price by task and some bases that are not rated yet."""
    return PriceVersionPublished(
        price_version=price_id,
        package="echo",
        version="1.0.0",
        currency="USD",
        prices=[
            OfferedPrice(basis="task", unit_price=Decimal(unit_price), meter="tasks"),
            OfferedPrice(basis="month", unit_price=Decimal(200)),
        ],
        charges=charges or ChargePolicy(),
        model_cost_limit=Decimal(model_cost_limit),
    )


def hold_request(run: str, tasks: int | str = 1, **other: Any) -> PlaceHold:
    """A request to hold what `tasks` tasks cost."""
    values: dict[str, Any] = {
        "run": run,
        "fingerprint": "f1",
        "tenant": TENANT,
        "account": ACCOUNT,
        "price_version": PRICE,
        "basis": "task",
        "estimates": [Quantity(meter="tasks", quantity=Decimal(tasks))],
    }
    return PlaceHold(**(values | other))


def usage(
    run: str, tasks: int | str | None = 1, model_cost: str | None = None, **other: Any
) -> RunUsageClosed:
    """A run's closed usage: succeeded and delivered in full unless said otherwise."""
    totals = [] if tasks is None else [Quantity(meter="tasks", quantity=Decimal(tasks))]
    if model_cost is not None:
        totals.append(Quantity(meter=MODEL_COST_METER, quantity=Decimal(model_cost)))
    values: dict[str, Any] = {
        "run": run,
        "revision": 1,
        "totals": totals,
        "outcome": "succeeded",
        "deliverable": "full",
        "finished_at": datetime.now(UTC),
    }
    return RunUsageClosed(**(values | other))


@pytest.fixture
def billing_urls(database_urls: Callable[[str], DatabaseUrls]) -> DatabaseUrls:
    """A fresh database of billing."""
    return database_urls("billing")


@pytest.fixture
def settings(billing_urls: DatabaseUrls, nats_url: str) -> BillingSettings:
    """Billing's settings; the sweep of lapsed holds is left to the tests that are about it."""
    return BillingSettings(
        database_url=billing_urls.app,
        database_system_url=billing_urls.system,
        nats_url=nats_url,
        database_pool_size=5,
        log_level="error",
        hold_sweep_seconds=3600,
    )


@pytest.fixture
async def platform(settings: BillingSettings, nats_url: str) -> AsyncIterator[Platform]:
    """Billing, running, with the echo package's price pinned."""
    clock = Clock()
    service = build(settings, clock)
    asker = Broker(nats_url, "gateway")
    await service.start()
    await asker.start()
    started = Platform(service, asker, clock)
    await started.publish(PLATFORM_TENANT, price_version())
    await started.until(lambda: started.rows("SELECT 1 FROM price_versions"))
    yield started
    await asker.stop()
    await service.stop()
