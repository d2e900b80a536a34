"""Examples of billing's messages."""

from decimal import Decimal

import msgspec

from agora_contracts import billing, spending
from agora_contracts.billing import Quantity
from agora_contracts.calls import CallCharge
from agora_contracts.examples import story
from agora_contracts.examples.of_refunds import REFUND
from agora_contracts.ids import derived
from agora_contracts.money import Money

BALANCE = billing.Balance(
    account=story.ACCOUNT,
    currency="USD",
    credit=24_487_500,
    held=550_000,
    available=28_937_500,
    receivable=0,
    promotional=5_000_000,
)

EXAMPLES: tuple[msgspec.Struct, ...] = (
    billing.ChargeSettled(
        run=story.RUN,
        account=story.ACCOUNT,
        revision=1,
        lines=story.CHARGE_LINES,
        amount=story.CHARGED,
        released=story.RELEASED,
        quoted=story.QUOTED,
        explanation=story.EXPLANATION,
        platform_cost=story.NOTHING,
        at=story.SETTLED_AT,
    ),
    billing.ChargeAdjusted(
        run=story.RUN,
        account=story.ACCOUNT,
        revision=2,
        lines=story.CHARGE_LINES[:1],
        amount=Money(amount=500_000),
        difference=Money(amount=-12_500),
        cause="revision 2 of the run's usage",
        at=story.SETTLED_AT,
    ),
    billing.CreditToppedUp(
        account=story.ACCOUNT,
        amount=Money(amount=25_000_000),
        reference="invoice-2026-0031",
        at=story.ACCEPTED_AT,
    ),
    spending.SpendingRoomGrew(account=story.ACCOUNT, cause="top_up", at=story.ACCEPTED_AT),
    spending.SpendingRoomGrew(
        account=story.ACCOUNT,
        cause="budget",
        at=story.ACCEPTED_AT,
        budget=derived("bud", story.ACCOUNT, "monthly"),
    ),
    billing.OpenAccount(
        account=story.ACCOUNT, tenant=story.TENANT, currency="USD", receivable_limit=5_000_000
    ),
    billing.TopUp(
        account=story.ACCOUNT,
        tenant=story.TENANT,
        amount=Money(amount=25_000_000),
        reference="invoice-2026-0031",
    ),
    billing.GetBalance(account=story.ACCOUNT, tenant=story.TENANT),
    billing.QuoteRun(
        tenant=story.TENANT,
        price_version=story.PRICE_VERSION,
        basis="job",
        estimates=story.ESTIMATES,
        account=story.ACCOUNT,
        deployment=story.DEPLOYMENT,
    ),
    billing.PlaceHold(
        run=story.RUN,
        fingerprint=story.FINGERPRINT,
        tenant=story.TENANT,
        account=story.ACCOUNT,
        price_version=story.PRICE_VERSION,
        basis="job",
        estimates=story.ESTIMATES,
        epoch=1,
        deployment=story.DEPLOYMENT,
        api_key=story.KEY,
        run_limit=Money(amount=1_000_000),
        accept_partial=Money(amount=500_000),
    ),
    billing.PlaceHold(
        run=story.CALLED_RUN,
        fingerprint=story.FINGERPRINT,
        tenant=story.TENANT,
        account=story.ACCOUNT,
        price_version=derived("price", story.CALLED_PACKAGE, story.VERSION),
        basis="query",
        estimates=[Quantity(meter="queries", quantity=Decimal(1), events=1)],
        api_key=story.KEY,
        parent=story.RUN,
    ),
    billing.ConfirmHold(run=story.RUN, tenant=story.TENANT),
    billing.IncreaseHold(
        run=story.RUN,
        tenant=story.TENANT,
        by=Money(amount=50_000),
        request=f"{story.STEP}more",
        accept_partial=Money(amount=10_000),
        raise_limit=Money(amount=50_000),
        meter="agents.cost",
    ),
    billing.CloseAccount(account=story.ACCOUNT, tenant=story.TENANT),
    billing.GetStatement(account=story.ACCOUNT, tenant=story.TENANT, cursor=story.CURSOR, limit=50),
    billing.GetReceipt(run=story.RUN, tenant=story.TENANT),
    billing.ListOpenHolds(limit=10),
    BALANCE,
    billing.Balance(
        account=story.ACCOUNT,
        currency="USD",
        credit=0,
        held=0,
        available=0,
        receivable=0,
        closed_at=story.SETTLED_AT,
    ),
    story.QUOTE,
    billing.Hold(run=story.RUN, epoch=1, state="firm", amount=story.QUOTED, quote=story.QUOTE),
    billing.Hold(
        run=story.RUN,
        epoch=1,
        state="tentative",
        amount=Money(amount=500_000),
        quote=story.QUOTE,
        partial=True,
        calls_left=Money(amount=0),
        increased=Money(amount=30_000),
    ),
    billing.Statement(
        account=story.ACCOUNT,
        currency="USD",
        balance=BALANCE,
        entries_sum=24_487_500,
        items=[
            billing.StatementLine(
                posting=derived("post", "charge", story.RUN),
                at=story.SETTLED_AT,
                kind="charge",
                cause=story.RUN,
                description="Run of data-processor",
                run=story.RUN,
                amount=-512_500,
                balance=24_487_500,
                promotional=-10_000,
                promotional_balance=5_000_000,
            )
        ],
        next_cursor=story.CURSOR,
        promotional_entries_sum=5_000_000,
    ),
    billing.Receipt(
        run=story.RUN,
        state="settled",
        price_version=story.PRICE_VERSION,
        basis="job",
        currency="USD",
        quoted=550_000,
        held=550_000,
        charged=512_500,
        released=37_500,
        revision=1,
        lines=story.CHARGE_LINES,
        quote_lines=story.QUOTE_LINES,
        explanation=story.EXPLANATION,
        settled_at=story.SETTLED_AT,
        differences=[
            billing.ChargeDifference(
                meter="model.cost",
                quoted=Decimal("0.05"),
                charged=Decimal("0.0125"),
                why="0.0125 of 0.05 estimated",
            )
        ],
        refunded=200_000,
        refunds=[REFUND],
        parent=derived("run", story.TENANT, "month-end"),
        calls=[
            CallCharge(
                run=story.CALLED_RUN,
                package=story.CALLED_PACKAGE,
                state="settled",
                held=20_000,
                charged=20_000,
                refunded=5_000,
            )
        ],
        calls_charged=20_000,
    ),
    billing.OpenHolds(
        items=[
            billing.OpenHold(
                run=story.RUN,
                tenant=story.TENANT,
                account=story.ACCOUNT,
                state="firm",
                amount=550_000,
                placed_at=story.ACCEPTED_AT,
            )
        ],
        total=1,
    ),
)
