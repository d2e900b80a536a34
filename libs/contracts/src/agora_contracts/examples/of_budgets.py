"""Examples of budgets and promotional credit."""

from datetime import UTC, datetime

import msgspec

from agora_contracts import budgets, promotions
from agora_contracts.examples import story
from agora_contracts.ids import derived
from agora_contracts.money import Money

BUDGET_ID = derived("bud", story.TENANT, "orders-monthly")
PROMOTION_ID = derived("promo", story.ACCOUNT, "welcome")
MONTH = datetime(2026, 3, 1, tzinfo=UTC)
NEXT_MONTH = datetime(2026, 4, 1, tzinfo=UTC)

BUDGET = budgets.Budget(
    id=BUDGET_ID,
    account=story.ACCOUNT,
    scope="deployment",
    target=story.DEPLOYMENT,
    period="month",
    kind="hard",
    currency="USD",
    limit=50_000_000,
    spent=41_200_000,
    reserved=550_000,
    left=8_250_000,
    thresholds=[50, 80],
    window_start=MONTH,
    window_end=NEXT_MONTH,
    created_at=story.ACCEPTED_AT,
    name="Orders, a month",
    deleted_at=story.SETTLED_AT,
)
PROMOTION = promotions.Promotion(
    id=PROMOTION_ID,
    account=story.ACCOUNT,
    currency="USD",
    amount=5_000_000,
    remaining=4_000_000,
    spent=900_000,
    expired=100_000,
    state="active",
    reference="welcome",
    reason="Welcome credit",
    granted_at=story.ACCEPTED_AT,
    expires_at=NEXT_MONTH,
)

EXAMPLES: tuple[msgspec.Struct, ...] = (
    budgets.BudgetThresholdReached(
        budget=BUDGET_ID,
        account=story.ACCOUNT,
        scope="deployment",
        target=story.DEPLOYMENT,
        kind="hard",
        threshold=80,
        limit=Money(amount=50_000_000),
        spent=Money(amount=41_200_000),
        window_start=MONTH,
        window_end=NEXT_MONTH,
        at=story.SETTLED_AT,
        name="Orders, a month",
    ),
    budgets.BudgetExhausted(
        budget=BUDGET_ID,
        account=story.ACCOUNT,
        scope="deployment",
        target=story.DEPLOYMENT,
        limit=Money(amount=50_000_000),
        spent=Money(amount=49_200_000),
        reserved=Money(amount=550_000),
        left=Money(amount=250_000),
        needed=story.QUOTED,
        run=story.RUN,
        window_start=MONTH,
        window_end=NEXT_MONTH,
        at=story.ACCEPTED_AT,
        name="Orders, a month",
    ),
    promotions.PromotionGranted(
        promotion=PROMOTION_ID,
        account=story.ACCOUNT,
        amount=Money(amount=5_000_000),
        reference="welcome",
        reason="Welcome credit",
        at=story.ACCEPTED_AT,
        expires_at=NEXT_MONTH,
    ),
    promotions.PromotionExpired(
        promotion=PROMOTION_ID, account=story.ACCOUNT, amount=Money(amount=100_000), at=NEXT_MONTH
    ),
    budgets.CreateBudget(
        budget=BUDGET_ID,
        tenant=story.TENANT,
        account=story.ACCOUNT,
        scope="deployment",
        target=story.DEPLOYMENT,
        period="month",
        limit=Money(amount=50_000_000),
        kind="hard",
        thresholds=[50, 80],
        name="Orders, a month",
    ),
    budgets.ChangeBudget(
        budget=BUDGET_ID,
        tenant=story.TENANT,
        limit=Money(amount=60_000_000),
        kind="soft",
        thresholds=[90],
        name="Orders",
    ),
    budgets.DeleteBudget(budget=BUDGET_ID, tenant=story.TENANT),
    budgets.GetBudget(budget=BUDGET_ID, tenant=story.TENANT),
    budgets.ListBudgets(account=story.ACCOUNT, tenant=story.TENANT),
    BUDGET,
    budgets.BudgetList(items=[BUDGET]),
    promotions.GrantPromotion(
        account=story.ACCOUNT,
        tenant=story.TENANT,
        amount=Money(amount=5_000_000),
        reference="welcome",
        reason="Welcome credit",
        expires_at=NEXT_MONTH,
    ),
    promotions.ListPromotions(account=story.ACCOUNT, tenant=story.TENANT, cursor=story.CURSOR, limit=20),
    PROMOTION,
    promotions.PromotionPage(items=[PROMOTION], next_cursor=story.CURSOR),
)
