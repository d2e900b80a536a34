"""What a replica that has just started must answer, and what sweeps must reach."""

from datetime import timedelta

from agora_billing.audit.service import verify
from agora_billing.periods import service as periods
from agora_billing.prices.service import Prices
from agora_billing.promotions import service as promotions
from agora_contracts.billing import ConfirmHold, GetBalance
from agora_contracts.money import Money
from agora_contracts.periods import ListPeriods
from agora_contracts.promotions import GrantPromotion
from pytest import MonkeyPatch

from .conftest import TENANT, Platform, hold_request
from .test_periods import by_the_month, pinned, run


async def test_a_replica_that_has_rated_nothing_lists_months(platform: Platform):
    """
    A process that has not read any price version yet lists a tenant's months like one that has charged them.
    """
    await pinned(platform, by_the_month())
    await platform.fund(10_000_000)
    await run(platform, "run_1", 3)

    async with platform.database.transaction(TENANT) as connection:
        page = await periods.listed(
            connection, Prices(platform.database), ListPeriods(account="acc_one", tenant=TENANT)
        )

    assert [300_000] == [one.amount for one in page.items]


async def test_grants_that_runs_keep_open_do_not_keep_others_from_expiring(
    platform: Platform, monkeypatch: MonkeyPatch
):
    """
    Grants whose time is over but which running runs have set aside stay due; the sweep goes on behind them.
    """
    monkeypatch.setattr(promotions, "_SWEEP_MAX", 1)
    for account in ("acc_a", "acc_b", "acc_c"):
        await platform.fund(0, account=account)
        await platform.ask(
            GrantPromotion(
                account=account,
                tenant=TENANT,
                amount=Money(amount=10_000),
                reference="w",
                reason="welcome",
                expires_at=platform.clock() + timedelta(hours=1),
            )
        )
    for account in ("acc_a", "acc_b"):
        await platform.ask(hold_request(f"run_{account}", 1, account=account))
        await platform.ask(ConfirmHold(run=f"run_{account}", tenant=TENANT))
    platform.clock.ahead = timedelta(hours=2)

    await promotions.sweep(platform.database, platform.clock)

    left = [
        (await platform.ask(GetBalance(account=account, tenant=TENANT))).promotional
        for account in ("acc_a", "acc_b", "acc_c")
    ]
    assert [10_000, 10_000, 0] == left
    report = await verify(platform.database)
    assert report.ok, report.faults
