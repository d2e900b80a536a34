"""Examples of refunds and of the ledger that anybody can recompute."""

from datetime import timedelta

import msgspec

from agora_contracts import ledger, refunds
from agora_contracts.examples import story
from agora_contracts.ids import derived
from agora_contracts.money import Money

REFUNDED_AT = story.SETTLED_AT + timedelta(days=1)
REFUND = refunds.Refund(
    run=story.RUN,
    account=story.ACCOUNT,
    number=1,
    currency="USD",
    amount=200_000,
    to_platform=0,
    off_receivable=0,
    to_credit=150_000,
    to_promotional=50_000,
    expired=10_000,
    reason="Two columns were mixed up.",
    reference="ticket-4711",
    at=REFUNDED_AT,
)
POSTING = ledger.LedgerPosting(
    account=story.ACCOUNT,
    at="2026-03-02T09:15:04.525000Z",
    author="acme-labs",
    cause=story.RUN,
    credit_after=24_487_500,
    currency="USD",
    description="data-processor 1.2.0 by job",
    entries={
        "author_earnings": 350_000,
        "customer_credit": -512_500,
        "model_cost": 12_500,
        "platform_fee": 150_000,
    },
    id=derived("post", "charge", story.RUN),
    kind="charge",
    number=2,
    promotional_after=0,
    run=story.RUN,
    tenant=story.TENANT,
)

EXAMPLES: tuple[msgspec.Struct, ...] = (
    refunds.ChargeRefunded(
        run=story.RUN,
        account=story.ACCOUNT,
        number=1,
        amount=Money(amount=200_000),
        refunded=Money(amount=200_000),
        charged=story.CHARGED,
        reason=REFUND.reason,
        reference=REFUND.reference,
        at=REFUNDED_AT,
    ),
    refunds.RefundRun(
        run=story.RUN, amount=Money(amount=200_000), reason=REFUND.reason, reference=REFUND.reference
    ),
    refunds.RefundResult(refund=REFUND, charged=512_500, refunded=200_000),
    refunds.ListRefunds(run=story.RUN),
    refunds.RefundList(items=[REFUND], currency="USD", charged=512_500, refunded=200_000),
    ledger.ReadLedger(account=story.ACCOUNT, tenant=story.TENANT, cursor=story.CURSOR, limit=200),
    ledger.LedgerPage(
        items=[
            ledger.LedgerRecord(
                posting=POSTING, hash="5c1f0e97d2ab4463fe1087c95ab2d6370e48bb1c6a5f9d219f2c1d7e54b0a638"
            )
        ],
        next_cursor=story.CURSOR,
    ),
)
