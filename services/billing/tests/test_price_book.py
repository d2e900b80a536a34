"""The price book: what is a rise, and which prices reach whom when."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from agora_billing.prices import book
from agora_billing.prices.comparing import is_rise, price_rises
from agora_billing.prices.model import PriceVersion
from agora_billing.rating.model import amount
from agora_billing.rating.usage import Usage
from agora_contracts.billing import Quantity, QuoteRun
from agora_contracts.catalog import ChargePolicy, OfferedPrice, PriceVersionPublished
from agora_contracts.periods import ListPeriods, PeriodCharged
from agora_contracts.prices import PriceChangeScheduled
from agora_contracts.pricing import PercentageModel, Tier, VolumeModel
from agora_contracts.subjects import PLATFORM_TENANT
from hypothesis import assume, given
from hypothesis import strategies as st

from .conftest import ACCOUNT, PRICE, TENANT, Platform, hold_request, usage
from .rating_oracle import MODELS, prices, usages
from .test_periods import DEPLOYMENT, MONTH, NEXT_MONTH, by_the_month, hired, pinned, total

HIRED = datetime(2026, 1, 10, tzinfo=UTC)


def days(number: int) -> datetime:
    """So many days after the hire."""
    return HIRED + timedelta(days=number)


def version(
    number: int, unit_price: str, *, at: int = 0, said: int | None = None, window: str = "run", **other: Any
) -> PriceVersion:
    """An entry of a book: in effect on a day after the hire, published on that day or another."""
    offered = OfferedPrice(basis="task", meter="tasks", unit_price=Decimal(unit_price), window=window)  # type: ignore[arg-type]
    values: dict[str, Any] = {
        "id": f"price_{number}",
        "package": "echo",
        "version": "1.0.0",
        "currency": "USD",
        "prices": (offered,),
        "charges": ChargePolicy(),
        "model_cost_limit": Decimal(0),
        "number": number,
        "revises": number > 1,
        "published_at": days(at if said is None else said),
        "effective_at": days(at),
        "notice_days": 30,
    }
    return PriceVersion(**(values | other))


BASE = version(1, "0.10", at=-30)


def reached(entries: list[PriceVersion], day: int, base: PriceVersion = BASE) -> int:
    """The number of the entry that a deployment is rated by on a day."""
    return book.in_force(entries, base, "task", HIRED, days(day)).number


# --- what is a rise ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(MODELS))
@given(data=st.data())
def test_what_is_no_rise_costs_no_more_for_any_usage(name: str, data: st.DataObject):
    """
    Whatever two prices of a model: where the one is no rise on the other, no usage costs more under it.
    """
    old = data.draw(prices(name))
    new = data.draw(st.one_of(prices(name), _cheaper(old)))
    used = data.draw(usages())
    assume(not price_rises(old, new))

    assert amount(new, used) <= amount(old, used)


@st.composite
def _cheaper(draw: st.DrawFn, old: OfferedPrice) -> OfferedPrice:
    """A price that differs from another in one part, which is often lower."""

    plain = msgspec.to_builtins(old, builtin_types=(Decimal,))
    factor = draw(st.sampled_from([Decimal("0.5"), Decimal(1), Decimal(2)]))
    for part in ("free_units", "minimum", "maximum"):
        if plain.get(part) and draw(st.booleans()):
            plain[part] = plain[part] * factor
    model = plain.get("model")
    if isinstance(model, dict):
        for part in ("unit_price", "price", "rate", "fixed", "amount", "free_amount"):
            if isinstance(model.get(part), Decimal):
                model[part] = min(model[part] * factor, Decimal(1) if part == "rate" else Decimal(10**6))
        for tier in model.get("tiers", ()):
            for part in ("unit_price", "rate", "flat"):
                if isinstance(tier.get(part), Decimal) and draw(st.booleans()):
                    tier[part] = min(tier[part] * factor, Decimal(1) if part == "rate" else Decimal(10**6))
    try:
        return msgspec.convert(plain, OfferedPrice, builtin_types=(Decimal,))
    except msgspec.ValidationError:
        return old


@pytest.mark.parametrize(
    ("change", "rise"),
    [
        ({"unit_price": Decimal("0.09")}, False),
        ({"unit_price": Decimal("0.11")}, True),
        ({"free_units": Decimal(6)}, False),
        ({"free_units": Decimal(4)}, True),
        ({"minimum": Decimal(1)}, True),
        ({"maximum": Decimal(9)}, False),
        ({"maximum": None}, True),
        ({"maximum": Decimal(11)}, True),
        ({"window": "month"}, True),
        ({"meter": "others"}, True),
    ],
)
def test_each_part_of_a_price_is_compared(change: dict[str, Any], rise: bool):
    """
    Lower prices and maximums and more free units are no rise; another meter or window cannot be compared, so it is.
    """
    parts: dict[str, Any] = {
        "basis": "task", "meter": "tasks", "unit_price": Decimal("0.10"), "free_units": Decimal(5),
        "maximum": Decimal(10),
    }  # fmt: skip
    old = replace(BASE, prices=(OfferedPrice(**parts),))
    new = replace(BASE, prices=(OfferedPrice(**(parts | change)),))

    assert rise == is_rise(old, new, "task")


def test_more_free_units_by_volume_are_a_rise():
    """
    Eleven units at 0.05 cost 0.55; with one of them free the ten left cost 1.00: by volume that is a rise.
    """
    model = VolumeModel(
        tiers=[Tier(up_to=Decimal(10), unit_price=Decimal("0.10")), Tier(unit_price=Decimal("0.05"))]
    )
    old = OfferedPrice(basis="task", meter="tasks", model=model)
    new = OfferedPrice(basis="task", meter="tasks", model=model, free_units=Decimal(1))

    assert (Decimal("0.55"), Decimal("1.00")) == (
        amount(old, Usage(Decimal(11))),
        amount(new, Usage(Decimal(11))),
    )
    assert price_rises(old, new)


def test_what_cannot_be_compared_is_a_rise():
    """
    Another model, a policy that charges failures, and a higher limit of model costs are rises, however cheap the rest.
    """
    share = OfferedPrice(basis="task", meter="tasks", model=PercentageModel(rate=Decimal(0)))

    assert is_rise(BASE, replace(BASE, prices=(share,)), "task")
    assert is_rise(BASE, replace(BASE, charges=ChargePolicy(failed="full")), "task")
    assert is_rise(BASE, replace(BASE, charges=ChargePolicy(partial="share:0.5")), "task")
    assert is_rise(BASE, replace(BASE, model_cost_limit=Decimal(1)), "task")
    assert not is_rise(replace(BASE, charges=ChargePolicy(empty="full")), BASE, "task")


# --- when it reaches whom ------------------------------------------------------------------------


def test_a_drop_reaches_a_deployment_when_it_is_in_effect_and_a_rise_after_its_notice():
    """
    Both published on day 5 for day 10: the drop applies on day 10, the rise on day 35, thirty days after it was said.
    """
    drop, rise = version(2, "0.09", at=10, said=5), version(2, "0.11", at=10, said=5)

    assert [1, 2] == [reached([drop], 9), reached([drop], 10)]
    assert [1, 1, 2] == [reached([rise], 10), reached([rise], 34), reached([rise], 35)]


def test_a_new_customer_takes_what_is_in_effect():
    """
    Who comes after the effective date takes the new price at once, and then is told of later ones only.
    """
    rise = version(2, "0.11", at=-1)

    assert 2 == book.in_effect([rise], BASE, "task", HIRED).number
    assert 1 == book.in_effect([rise], BASE, "task", days(-2)).number
    assert [2] == [change.price.number for change in book.changes([rise], BASE, "task", HIRED)]


def test_a_rise_in_steps_needs_notice_against_what_is_in_force():
    """
    A rise that still waits for its notice does not make an equal price after it look like no rise.
    """
    first, again = version(2, "0.20", at=5), version(3, "0.20", at=6)

    assert [1, 1, 3] == [
        reached([first, again], 34),
        reached([first, again], 35 - 1),
        reached([first, again], 36),
    ]
    assert 2 == reached([first, again], 35)


def test_the_newest_decision_wins():
    """
    A drop that is published after a rise that was announced takes its place: the rise never comes.
    """
    rise, back = version(2, "0.20", at=5), version(3, "0.10", at=8)

    assert [1, 3, 3] == [reached([rise, back], 7), reached([rise, back], 8), reached([rise, back], 60)]


def test_a_later_version_of_the_package_has_its_own_prices():
    """
    Revised prices apply to the versions before them, not to one that came after with its own.
    """
    own = replace(version(3, "0.30", at=6), revises=False)

    assert 3 == reached([version(2, "0.05", at=5)], 60, own)


def test_months_that_are_rated_whole_change_at_their_beginning():
    """
    A price by the month that is lowered on 20 January reaches the deployment on 1 February, 00:00 UTC.
    """
    base, drop = version(1, "0.10", at=-30, window="month"), version(2, "0.09", at=10, window="month")
    february = datetime(2026, 2, 1, tzinfo=UTC)

    assert [change.at for change in book.changes([drop], base, "task", HIRED)] == [HIRED, february]


@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(-5, 40), st.integers(0, 30)), max_size=6), st.data()
)
def test_no_rise_ever_comes_without_notice(entries: list[tuple[int, int, int]], data: st.DataObject):
    """
    Whatever is published: the price that a deployment pays only rises to one that was announced 30 days before.
    """
    said = -10
    made = []
    for number, (price, at, later) in enumerate(entries, start=2):
        said += later
        made.append(version(number, str(Decimal(price) / 100), at=max(at, said), said=said))
    day = data.draw(st.integers(0, 200))

    before = book.in_force(made, BASE, "task", HIRED, days(day))
    after = book.in_force(made, BASE, "task", HIRED, days(day + 1))

    if is_rise(before, after, "task"):
        assert after.published_at + timedelta(days=30) <= days(day + 1)


# --- over NATS -----------------------------------------------------------------------------------


def revised(price_id: str, unit_price: str, number: int = 2, **other: Any) -> PriceVersionPublished:
    """Prices that revise those of the echo package."""
    values: dict[str, Any] = {
        "price_version": price_id,
        "package": "echo",
        "version": "1.0.0",
        "currency": "USD",
        "prices": [OfferedPrice(basis="task", unit_price=Decimal(unit_price), meter="tasks")],
        "charges": ChargePolicy(),
        "model_cost_limit": Decimal("0.05"),
        "number": number,
        "revises": True,
    }
    return PriceVersionPublished(**(values | other))


async def quoted(platform: Platform, deployment: str | None) -> str:
    """The price version that a run is quoted by now."""
    query = QuoteRun(
        tenant=TENANT, price_version=PRICE, basis="task", account=ACCOUNT, deployment=deployment,
        estimates=[Quantity(meter="tasks", quantity=Decimal(1))],
    )  # fmt: skip
    found: str = (await platform.ask(query)).price_version
    return found


@pytest.mark.emits.with_args(PriceChangeScheduled)
async def test_a_rise_reaches_new_runs_at_once_and_a_deployment_after_its_notice(platform: Platform):
    """
    A run without a deployment is quoted by the new price; the deployment is told once, and by it a month later. A
    run in flight keeps the version of its hold.
    """
    await platform.fund(1_000_000)
    await hired(platform, price=PRICE)
    await platform.ask(hold_request("run_1", 1, deployment=DEPLOYMENT))

    await pinned(platform, revised("price_rise", "0.02"))
    await platform.publish(PLATFORM_TENANT, revised("price_rise", "0.02"))

    async def reached_new() -> bool:
        return await quoted(platform, None) == "price_rise"

    await platform.until(reached_new)
    assert PRICE == await quoted(platform, DEPLOYMENT)
    [told] = [one.data for one in await platform.events(PriceChangeScheduled)]
    assert (DEPLOYMENT, PRICE, "price_rise", True) == (told.deployment, told.before, told.to, told.rise)
    assert timedelta(days=30) == told.at - told.published_at
    platform.clock.ahead = timedelta(days=30, minutes=1)
    assert "price_rise" == await quoted(platform, DEPLOYMENT)
    await platform.publish(TENANT, usage("run_1", 1))
    assert 10_000 == (await platform.settled("run_1")).amount.amount
    hold = await platform.ask(hold_request("run_2", 1, deployment=DEPLOYMENT))
    assert ("price_rise", 20_000) == (hold.quote.price_version, hold.amount.amount)


async def test_a_deployment_is_told_of_what_was_published_before_it_was_hired(platform: Platform):
    """
    Prices that are announced for later are told to whoever hires before they apply.
    """
    later = datetime.now(UTC) + timedelta(days=40)
    await pinned(platform, revised("price_rise", "0.02", effective_at=later))

    await hired(platform, price=PRICE)

    async def told() -> list[Any]:
        return await platform.events(PriceChangeScheduled)

    [event] = await platform.until(told)
    assert ("price_rise", later) == (event.data.to, event.data.at)


async def test_a_price_that_changes_in_mid_period_rates_the_next_month(platform: Platform):
    """
    A drop in the middle of a month that is rated as a whole: this month stays under its version, late totals too;
    the next one is rated by the new version.
    """
    platform.clock.ahead = MONTH + timedelta(days=14, hours=12) - datetime.now(UTC)
    await platform.fund(10_000_000)
    await pinned(platform, by_the_month(number=1))
    await hired(platform)
    await platform.publish(TENANT, total(8))
    cheaper = by_the_month(price_id="price_drop", number=2, revises=True)
    tiers = [Tier(up_to=Decimal(10), unit_price=Decimal("0.05")), Tier(unit_price=Decimal("0.01"))]
    price = cheaper.prices[0]

    model = msgspec.structs.replace(price.model, tiers=tiers)  # type: ignore[type-var]
    await pinned(
        platform, msgspec.structs.replace(cheaper, prices=[msgspec.structs.replace(price, model=model)])
    )

    async def enough(count: int) -> list[PeriodCharged] | None:
        found = [one.data for one in await platform.events(PeriodCharged)]
        return found if len(found) >= count else None

    await platform.until(lambda: enough(1))
    await platform.publish(TENANT, total(12, revision=2))
    await platform.until(lambda: enough(2))
    after = (NEXT_MONTH + timedelta(days=32)).replace(day=1)
    await platform.publish(TENANT, total(12, period_start=NEXT_MONTH, period_end=after))
    await platform.until(lambda: enough(3))

    page = await platform.ask(ListPeriods(account=ACCOUNT, tenant=TENANT))
    assert [(NEXT_MONTH, 520_000, "price_drop"), (MONTH, 1_060_000, "price_monthly")] == [
        (one.period_start, one.amount, one.price_version) for one in page.items
    ]
