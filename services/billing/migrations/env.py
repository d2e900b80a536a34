"""Alembic's environment: the tables of every capability."""

import agora_billing.accounts.store
import agora_billing.budgets.store
import agora_billing.charges.store
import agora_billing.holds.store
import agora_billing.ledger.store
import agora_billing.periods.store
import agora_billing.prices.store
import agora_billing.promotions.store
import agora_billing.refunds.store
import agora_billing.rentals.store
import agora_billing.seals.store  # noqa: F401  (imported for their tables)
from agora_billing.database import metadata
from agora_kit.migrations import run

run(metadata)
