"""HTTP of the account's ledger: postings, entries and hashes, for whoever recomputes them."""

from agora_contracts.ledger import LedgerPage, LedgerPosting, LedgerRecord, ReadLedger
from agora_kit.broker import Broker
from litestar import get
from litestar.di import NamedDependency

from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import Cursor, Limit, answers

A_LEDGER_PAGE = LedgerPage(
    items=[
        LedgerRecord(
            posting=LedgerPosting(
                account="acc_0190a5b07c3a7d4e8f00112233445566",
                at="2026-01-05T09:00:01.000000Z",
                author=None,
                cause="run_0190a5b07c3a7d4e8f00112233445566",
                credit_after=99_500_000,
                currency="USD",
                description="echo 1.0.0 by task",
                entries={"customer_credit": -500_000, "revenue": 500_000},
                id="post_0190a5b07c3a7d4e8f00112233445566",
                kind="charge",
                number=2,
                promotional_after=0,
                run="run_0190a5b07c3a7d4e8f00112233445566",
                tenant="ten_0190a5b07c3a7d4e8f00112233445566",
            ),
            hash="9f2c1d7e54b0a6385c1f0e97d2ab4463fe1087c95ab2d6370e48bb1c6a5f9d21",
        )
    ]
)


@get(
    "/ledger",
    guards=[requires("account")],
    summary="Read the ledger",
    operation_id="getLedger",
    responses=answers(A_LEDGER_PAGE, "invalid_input", "invalid_cursor"),
)
async def get_ledger(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    cursor: Cursor = None,
    limit: Limit = 100,
) -> LedgerPage:
    """Every posting on the account with its entries (in micro-units) and its hash, oldest first.

    Each hash is SHA-256 over the previous one and the posting's canonical JSON, so that anybody can recompute the
    account and show that nothing was changed: `agora ledger` saves it, `agora verify-ledger` checks it.
    """
    page: LedgerPage = await broker.ask(
        ReadLedger(account=tenant.account, tenant=tenant.id, cursor=cursor, limit=limit)
    )
    return page
