"""Months: prices that add up over the runs of a month, and usage outside of runs."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from agora_billing.audit.service import verify
from agora_billing.charges.service import Charges
from agora_billing.prices.service import Prices
from agora_billing.rating.model import amount as rated_amount
from agora_billing.rating.usage import Usage
from agora_contracts.billing import ConfirmHold, GetBalance, GetReceipt, Quantity, QuoteRun
from agora_contracts.catalog import ChargePolicy, OfferedPrice, PriceVersionPublished
from agora_contracts.deployments import DeploymentStarted
from agora_contracts.envelope import Envelope
from agora_contracts.metering import RunUsageClosed
from agora_contracts.money import MICRO, Money
from agora_contracts.periods import ListPeriods, PeriodCharged, PeriodTotal
from agora_contracts.pricing import FlatModel, GraduatedModel, Tier, VolumeModel
from agora_contracts.promotions import GrantPromotion
from agora_contracts.refunds import RefundRun
from agora_contracts.subjects import PLATFORM_TENANT
from agora_kit.outbox import Event, encode
from sqlalchemy import text

from .conftest import ACCOUNT, TENANT, Platform, hold_request, usage

MONTHLY = "price_monthly"
DEPLOYMENT = "dep_one"
GRADUATED = GraduatedModel(
    tiers=[Tier(up_to=Decimal(10), unit_price=Decimal("0.10")), Tier(unit_price=Decimal("0.03"))]
)
VOLUME = VolumeModel(
    tiers=[Tier(up_to=Decimal(10), unit_price=Decimal("0.10")), Tier(unit_price=Decimal("0.05"))]
)
MONTH = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
NEXT_MONTH = (MONTH + timedelta(days=32)).replace(day=1)


@pytest.fixture(autouse=True)
def in_midmonth(request: pytest.FixtureRequest) -> None:
    """It is the middle of MONTH, so that no month ends between the collection of the tests and their end."""
    if "platform" in request.fixturenames:
        platform: Platform = request.getfixturevalue("platform")
        platform.clock.ahead = MONTH + timedelta(days=14, hours=12) - datetime.now(UTC)


def by_the_month(model: Any = GRADUATED, price_id: str = MONTHLY, **other: Any) -> PriceVersionPublished:
    """A price version whose tasks add up over a month."""
    offered = OfferedPrice(
        basis="task",
        meter="tasks",
        model=model,
        window="month",
        **{one: other.pop(one) for one in ("free_units", "minimum", "maximum") if one in other},
    )
    values: dict[str, Any] = {
        "price_version": price_id,
        "package": "echo",
        "version": "1.0.0",
        "currency": "USD",
        "prices": [offered],
        "charges": ChargePolicy(),
        "model_cost_limit": Decimal(1),
    }
    return PriceVersionPublished(**(values | other))


async def pinned(platform: Platform, *published: PriceVersionPublished) -> None:
    """Wait until billing has pinned price versions."""
    await platform.publish(PLATFORM_TENANT, *published)
    ids = [one.price_version for one in published]

    async def known() -> bool:
        rows = await platform.rows(
            "SELECT 1 FROM price_versions WHERE price_version = ANY(CAST(:ids AS text[]))", ids=ids
        )
        return len(rows) == len(ids)

    await platform.until(known)


async def hired(platform: Platform, deployment: str = DEPLOYMENT, price: str = MONTHLY, **other: Any) -> None:
    """A deployment that billing knows."""
    values: dict[str, Any] = {
        "deployment": deployment,
        "account": ACCOUNT,
        "package": "echo",
        "version": "1.0.0",
        "price_version": price,
        "basis": "task",
        "at": datetime.now(UTC),
    }
    await platform.publish(TENANT, DeploymentStarted(**(values | other)), entity=deployment)
    await platform.until(lambda: platform.rows("SELECT 1 FROM rentals WHERE deployment = :id", id=deployment))


def total(quantity: int | str, revision: int = 1, **other: Any) -> PeriodTotal:
    """What the deployment has used of tasks outside of runs in this month."""
    values: dict[str, Any] = {
        "deployment": DEPLOYMENT,
        "meter": "tasks",
        "period_start": MONTH,
        "period_end": NEXT_MONTH,
        "revision": revision,
        "quantity": Decimal(quantity),
        "events": 1,
    }
    return PeriodTotal(**(values | other))


async def run(platform: Platform, name: str, tasks: int, **other: Any) -> int:
    """A run of so many tasks; what it was charged, in cents."""
    await platform.ask(hold_request(name, tasks, price_version=MONTHLY, **other))
    await platform.publish(TENANT, usage(name, tasks))
    return (await platform.settled(name)).amount.amount // 10_000


async def period(platform: Platform, **other: Any) -> Any:
    """The one month that there is."""
    [found] = (await platform.ask(ListPeriods(account=ACCOUNT, tenant=TENANT, **other))).items
    return found


async def told(platform: Platform, count: int) -> list[PeriodCharged]:
    """Wait for the n-th event about a month."""

    async def enough() -> list[PeriodCharged] | None:
        found = [one.data for one in await platform.events(PeriodCharged)]
        return found if len(found) >= count else None

    events: list[PeriodCharged] = await platform.until(enough)
    return events


async def cents(platform: Platform) -> tuple[int, int, int]:
    """Paid credit, promotional credit and what is owed, in cents."""
    found = await platform.ask(GetBalance(account=ACCOUNT, tenant=TENANT))
    return found.credit // 10_000, found.promotional // 10_000, found.receivable // 10_000


async def in_order(platform: Platform) -> None:
    """The books agree with themselves."""
    report = await verify(platform.database)
    assert report.ok, report.faults


async def test_runs_of_a_month_add_up_over_its_tiers(platform: Platform):
    """
    Ten tasks at ten cents, then three cents: 8 and 5 tasks cost 80 and 20 + 9 cents; the receipt says which tier.
    """
    await pinned(platform, by_the_month())
    await platform.fund(10_000_000)

    assert [80, 29] == [await run(platform, "run_1", 8), await run(platform, "run_2", 5)]

    receipt = await platform.ask(GetReceipt(run="run_2", tenant=TENANT))
    assert [(Decimal(2), Decimal("0.10")), (Decimal(3), Decimal("0.03"))] == [
        (line.quantity, line.unit_price) for line in receipt.lines
    ]
    month = await period(platform)
    assert (Decimal(13), 2, 1_090_000, 1_090_000, []) == (
        month.by_runs, month.runs, month.amount, month.by_runs_amount, month.postings,
    )  # fmt: skip
    assert Decimal("1.09") == sum(line.amount for line in month.lines)
    assert (MONTH, NEXT_MONTH) == (month.period_start, month.period_end)
    await in_order(platform)


async def test_a_quote_is_the_worst_that_is_left_of_the_month(platform: Platform):
    """
    A new month is quoted at its dearest tier; once that is used up, at what is left.
    """
    await pinned(platform, by_the_month())
    await platform.fund(10_000_000)
    query = QuoteRun(
        tenant=TENANT, price_version=MONTHLY, basis="task", account=ACCOUNT,
        estimates=[Quantity(meter="tasks", quantity=Decimal(2))],
    )  # fmt: skip

    before = await platform.ask(query)
    await run(platform, "run_1", 10)
    after = await platform.ask(query)

    assert [200_001, 60_001] == [before.amount.amount, after.amount.amount]


async def test_a_flat_price_is_owed_once_a_month(platform: Platform):
    """
    The first run pays the month's flat price, the second nothing; it needs no hold.
    """
    await pinned(platform, by_the_month(FlatModel(amount=Decimal(2))))
    await platform.fund(10_000_000)

    assert [200, 0] == [await run(platform, "run_1", 1), await run(platform, "run_2", 7)]
    assert 0 == (await platform.ask(GetReceipt(run="run_2", tenant=TENANT))).quoted


@pytest.mark.emits.with_args(PeriodCharged)
async def test_a_charge_that_falls_by_volume_is_given_back_by_the_month(platform: Platform):
    """
    Ten tasks cost a dollar; with the eleventh all cost five cents: that run costs nothing, 45 cents go back.
    """
    await pinned(platform, by_the_month(VOLUME))
    await platform.fund(10_000_000)

    assert [100, 0] == [await run(platform, "run_1", 10), await run(platform, "run_2", 1)]

    [event] = await told(platform, 1)
    assert (550_000, -450_000) == (event.amount.amount, event.difference.amount)
    assert (945, 0, 0) == await cents(platform)
    [posting] = (await period(platform)).postings
    assert -450_000 == posting.amount and "went back" in posting.explanation
    assert 5 == await run(platform, "run_3", 1)
    await in_order(platform)


async def test_what_goes_back_by_volume_returns_to_who_paid(platform: Platform):
    """
    A run paid of promotional and paid credit: the paid part comes back first, then the promotional to its grant.
    """
    await pinned(platform, by_the_month(VOLUME))
    await platform.fund(200_000)
    grant = GrantPromotion(
        account=ACCOUNT, tenant=TENANT, amount=Money(amount=900_000), reference="w", reason="welcome"
    )
    await platform.ask(grant)
    await run(platform, "run_1", 10)
    assert (10, 0, 0) == await cents(platform)

    await platform.publish(TENANT, usage("run_2", 1))
    await platform.ask(hold_request("run_2", 0, price_version=MONTHLY))
    await told(platform, 1)

    assert (20, 35, 0) == await cents(platform)
    await in_order(platform)


async def test_an_audit_names_a_month_that_was_changed(platform: Platform):
    """
    A month whose sums are not those of its runs, or that was charged something else than it comes to, is named.
    """
    await pinned(platform, by_the_month())
    await platform.fund(10_000_000)
    await run(platform, "run_1", 10)
    async with platform.database.system() as connection:
        await connection.execute(text("UPDATE periods SET run_quantity = run_quantity + 1"))

    report = await verify(platform.database)

    assert {
        "a period's runs add up to what it says of them",
        "a period is charged what its usage comes to",
    } == {fault.rule for fault in report.faults}


async def test_what_was_refunded_does_not_go_back_again(platform: Platform):
    """
    After a full refund of the dear run the fall by volume has nothing to give back; later tasks use it up.
    """
    await pinned(platform, by_the_month(VOLUME))
    await platform.fund(10_000_000)
    await run(platform, "run_1", 10)
    await platform.ask(RefundRun(run="run_1", amount=None, reason="it was wrong", reference="r1"))

    assert 0 == await run(platform, "run_2", 1)

    assert (1000, 0, 0) == await cents(platform)
    assert [] == (await period(platform)).postings
    assert [0, 5] == [await run(platform, "run_3", 9), await run(platform, "run_4", 1)]
    await in_order(platform)


async def test_corrected_usage_moves_the_month(platform: Platform):
    """
    A run's revision changes its share at the place where the month stands; down to nothing it costs nothing.
    """
    await pinned(platform, by_the_month())
    await platform.fund(10_000_000)
    await run(platform, "run_1", 10)
    await run(platform, "run_2", 10)

    await platform.publish(TENANT, usage("run_1", 12, revision=2))
    assert 1_060_000 == (await platform.adjusted("run_1", 2)).amount.amount
    await platform.publish(TENANT, usage("run_1", 0, revision=3))
    gone = await platform.adjusted("run_1", 3)
    [rest] = await told(platform, 1)

    assert (0, 700_000, 1_000_000) == (gone.amount.amount, rest.difference.amount, rest.amount.amount)
    assert 1_000_000 == (await period(platform)).amount
    await platform.publish(TENANT, usage("run_2", 0, revision=2))
    await told(platform, 2)
    assert (0, 0) == ((await period(platform)).amount, (await period(platform)).by_runs)
    assert (1000, 0, 0) == await cents(platform)
    await in_order(platform)


@pytest.mark.parametrize("model", [GRADUATED, VOLUME], ids=["graduated", "volume"])
async def test_twenty_runs_at_once_across_a_border(platform: Platform, model: Any):
    """
    Twenty runs of different sizes are settled by twenty transactions at once, while a border is crossed: what they
    and the month were charged is the price of their total.
    """
    await pinned(platform, by_the_month(model))
    await platform.fund(100_000_000)
    sizes = [Decimal(number % 3 + 1) / 4 for number in range(20)]
    for number, size in enumerate(sizes):
        await platform.ask(hold_request(f"run_{number}", str(size), price_version=MONTHLY))
    charges = Charges(Prices(platform.database), platform.clock)

    async def settle(number: int) -> None:
        fact = usage(f"run_{number}", str(sizes[number]))
        _, _, payload = encode(Event(tenant=TENANT, entity="x", data=fact))
        envelope = msgspec.json.decode(payload, type=Envelope[RunUsageClosed])
        async with platform.database.system() as connection:
            await charges.settle(connection, [envelope])

    await asyncio.gather(*(settle(number) for number in range(20)))

    month = await period(platform)
    price = by_the_month(model).prices[0]
    expected = int(rated_amount(price, Usage(sum(sizes, Decimal(0)))) * MICRO)
    assert (expected, sum(sizes), 20) == (month.amount, month.by_runs, 20)
    [spent] = await platform.rows(
        "SELECT -sum(e.amount) AS amount FROM entries e JOIN postings p USING (posting_id) "
        "WHERE e.ledger = 'customer_credit' AND p.kind <> 'top_up'"
    )
    assert expected == spent.amount
    await in_order(platform)


async def test_usage_outside_of_runs_is_charged_whole(platform: Platform):
    """
    Each revision of a month's total posts the difference, an old one and the same one nothing; runs of the
    deployment count in the same tiers.
    """
    await pinned(platform, by_the_month())
    await platform.fund(10_000_000)
    await hired(platform)

    await platform.publish(TENANT, total(8))
    await told(platform, 1)
    assert 29 == await run(platform, "run_1", 5, deployment=DEPLOYMENT)
    await platform.publish(TENANT, total(8), total(4, revision=1), total(2, revision=3), total(7, revision=2))
    events = await told(platform, 2)

    assert [800_000, -390_000] == [one.difference.amount for one in events][:2]
    month = await period(platform, deployment=DEPLOYMENT)
    assert (Decimal(5), Decimal(2), 700_000) == (month.by_runs, month.reported, month.amount)
    assert (930, 0, 0) == await cents(platform)
    await in_order(platform)


async def test_a_late_total_of_a_month_that_is_over_counts_in_it(platform: Platform):
    """
    A revision for last month after its end is rated in last month's tiers, not in this one's.
    """
    await pinned(platform, by_the_month())
    await platform.fund(10_000_000)
    await hired(platform)
    last = (MONTH - timedelta(days=1)).replace(day=1)

    await platform.publish(TENANT, total(12), total(4, period_start=last, period_end=MONTH))
    await told(platform, 2)
    await platform.publish(TENANT, total(20, revision=2, period_start=last, period_end=MONTH))
    events = await told(platform, 3)

    assert (1_300_000, 900_000) == (events[2].amount.amount, events[2].difference.amount)
    page = await platform.ask(ListPeriods(account=ACCOUNT, tenant=TENANT, limit=1))
    rest = await platform.ask(ListPeriods(account=ACCOUNT, tenant=TENANT, limit=1, cursor=page.next_cursor))
    assert [MONTH, last] == [page.items[0].period_start, rest.items[0].period_start]
    await in_order(platform)


async def test_what_an_account_cannot_pay_is_owed_and_then_borne(platform: Platform):
    """
    Reported usage beyond the credit becomes a receivable up to its limit; the platform bears the rest.
    """
    await pinned(platform, by_the_month())
    await platform.fund(300_000, receivable_limit=400_000)
    await hired(platform)

    await platform.publish(TENANT, total(10))
    [event] = await told(platform, 1)

    assert 300_000 == event.platform_cost.amount
    assert (0, 0, 40) == await cents(platform)
    await platform.publish(TENANT, total(1, revision=2))
    await told(platform, 2)
    assert (20, 0, 0) == await cents(platform)
    await in_order(platform)


async def test_a_total_of_an_unknown_deployment_waits_for_it(platform: Platform):
    """
    A total that is faster than the start of its deployment is handed back, and charged once that is known.
    """
    await pinned(platform, by_the_month())
    await platform.fund(10_000_000)

    await platform.publish(TENANT, total(1))
    await hired(platform)

    [event] = await told(platform, 1)
    assert 100_000 == event.amount.amount


async def test_a_run_that_never_counts_leaves_the_month_alone(platform: Platform):
    """
    A failed run costs nothing, so its tasks are not used up; a share of the full price is a share of the tasks.
    """
    await pinned(platform, by_the_month(charges=ChargePolicy(partial="share:0.5")))
    await platform.fund(10_000_000)
    for name in ("run_1", "run_2"):
        await platform.ask(hold_request(name, 4, price_version=MONTHLY))
        await platform.ask(ConfirmHold(run=name, tenant=TENANT))

    await platform.publish(TENANT, usage("run_1", 3, outcome="failed", deliverable="empty"))
    await platform.publish(TENANT, usage("run_2", 3, deliverable="partial"))

    assert [0, 200_000] == [(await platform.settled(one)).amount.amount for one in ("run_1", "run_2")]
    assert (Decimal(2), 1) == ((await period(platform)).by_runs, (await period(platform)).runs)
    await in_order(platform)


async def test_another_price_begins_its_own_month(platform: Platform):
    """
    Runs without a deployment under a new version of the package go on in the same tiers where the price is the
    same, and begin anew where it is another.
    """
    other = GraduatedModel(
        tiers=[Tier(up_to=Decimal(10), unit_price=Decimal("0.20")), Tier(unit_price=Decimal("0.03"))]
    )
    same = by_the_month(price_id="price_same", version="1.0.1")
    await pinned(platform, by_the_month(), same, by_the_month(other, "price_other", version="2.0.0"))
    await platform.fund(10_000_000)

    charged = []
    for number, price in enumerate((MONTHLY, "price_same", "price_other")):
        await platform.ask(hold_request(f"run_{number}", 8, price_version=price))
        await platform.publish(TENANT, usage(f"run_{number}", 8))
        charged.append((await platform.settled(f"run_{number}")).amount.amount)

    assert [800_000, 380_000, 1_600_000] == charged
    await in_order(platform)
