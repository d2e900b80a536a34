"""At least one realistic example of every message; together they set every field.

`python -m agora_contracts write` records them in `libs/contracts/examples`, where they stay: what was once
recorded must decode for ever.
"""

import msgspec

from agora_contracts.examples import (
    of_approvals,
    of_billing,
    of_budgets,
    of_catalog,
    of_conversations,
    of_execution,
    of_identity,
    of_live,
    of_metering,
    of_models,
    of_month_books,
    of_periods,
    of_platform,
    of_reconciliation,
    of_refunds,
    of_schedules,
    of_swarms,
    of_usage_ingest,
    of_vectors,
)

EXAMPLES: dict[type[msgspec.Struct], list[msgspec.Struct]] = {}
"""Examples by their type, in the order in which they were written down."""

for _example in (
    *of_catalog.EXAMPLES,
    *of_execution.EXAMPLES,
    *of_conversations.EXAMPLES,
    *of_schedules.EXAMPLES,
    *of_live.EXAMPLES,
    *of_vectors.EXAMPLES,
    *of_approvals.EXAMPLES,
    *of_models.EXAMPLES,
    *of_swarms.EXAMPLES,
    *of_metering.EXAMPLES,
    *of_usage_ingest.EXAMPLES,
    *of_billing.EXAMPLES,
    *of_budgets.EXAMPLES,
    *of_refunds.EXAMPLES,
    *of_periods.EXAMPLES,
    *of_reconciliation.EXAMPLES,
    *of_month_books.EXAMPLES,
    *of_identity.EXAMPLES,
    *of_platform.EXAMPLES,
):
    EXAMPLES.setdefault(type(_example), []).append(_example)
