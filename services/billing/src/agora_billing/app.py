"""The composition of billing: the one place that wires."""

from datetime import timedelta

from agora_contracts.envelope import utc_now
from agora_kit.service import Service
from agora_kit.settings import load_settings

from agora_billing.accounts import handlers as account_handlers
from agora_billing.accounts.service import Clock
from agora_billing.budgets import handlers as budget_handlers
from agora_billing.budgets import service as budgets
from agora_billing.charges import handlers as charge_handlers
from agora_billing.charges.receipts import Receipts
from agora_billing.charges.service import Charges
from agora_billing.holds import handlers as hold_handlers
from agora_billing.holds.service import Holds
from agora_billing.ledger import handlers as ledger_handlers
from agora_billing.periods import handlers as period_handlers
from agora_billing.periods.service import Periods
from agora_billing.prices import handlers as price_handlers
from agora_billing.prices.service import Prices
from agora_billing.promotions import handlers as promotion_handlers
from agora_billing.promotions import service as promotions
from agora_billing.reconciliation import handlers as reconciliation_handlers
from agora_billing.refunds import handlers as refund_handlers
from agora_billing.rentals import handlers as rental_handlers
from agora_billing.seals import handlers as seal_handlers
from agora_billing.seals.service import Sealer
from agora_billing.settings import BillingSettings


def build(settings: BillingSettings | None = None, clock: Clock = utc_now) -> Service:
    """Wire billing; settings come from the environment unless given."""
    settings = settings or load_settings(BillingSettings)
    service = Service("billing", settings, package="agora_billing")
    broker, database = service.broker, service.database
    prices = Prices(database, clock)
    holds = Holds(database, prices, clock, timedelta(seconds=settings.hold_lapse_seconds))
    account_handlers.register(broker, database, clock)
    budget_handlers.register(broker, database, clock)
    promotion_handlers.register(broker, database, clock)
    price_handlers.register(broker, prices)
    hold_handlers.register(broker, holds)
    charge_handlers.register(broker, Charges(prices, clock), Receipts(database, prices))
    rental_handlers.register(broker, database, prices, clock)
    period_handlers.register(broker, database, Periods(prices, clock), prices)
    refund_handlers.register(broker, database, prices, clock)
    ledger_handlers.register(broker, database)
    reconciliation_handlers.register(broker, database, prices)
    seal_handlers.register(broker, database)
    service.every(settings.hold_sweep_seconds, "lapse holds", holds.sweep)
    service.every(
        settings.promotion_sweep_seconds,
        "expire promotions",
        lambda: promotions.sweep(database, clock),
    )
    service.every(settings.window_sweep_seconds, "tell ended windows", lambda: budgets.sweep(database, clock))
    service.every(settings.seal_sweep_seconds, "seal postings", Sealer(database, clock).sweep)
    return service
