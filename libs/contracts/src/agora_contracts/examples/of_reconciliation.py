"""Examples of the messages of reconciliation."""

from datetime import timedelta
from decimal import Decimal

import msgspec

from agora_contracts import reconciliation as messages
from agora_contracts.examples import story

_SINCE, _UNTIL = story.ACCEPTED_AT, story.ACCEPTED_AT + timedelta(hours=1)
_USAGE = f"{story.STEP}1/jobs"

EXAMPLES: tuple[msgspec.Struct, ...] = (
    messages.Reconcile(since=_SINCE, tenant=story.TENANT, grace_seconds=300),
    messages.Reconciliation(
        since=_SINCE,
        until=_UNTIL,
        events=2,
        runs=1,
        totals=12,
        differences=[
            messages.Difference(
                joint="events",
                subject=_USAGE,
                detail="was recorded and is not counted",
                tenant=story.TENANT,
            )
        ],
        truncated=True,
    ),
    messages.ReconciliationFailed(
        since=_SINCE,
        until=_UNTIL,
        count=1,
        differences=[
            messages.Difference(
                joint="holds",
                subject=story.RUN,
                detail="has ended and is settled, and its hold is firm",
                tenant=story.TENANT,
            )
        ],
    ),
    messages.ListRecordedUsage(since=_SINCE, until=_UNTIL, tenant=story.TENANT, cursor=story.CURSOR),
    messages.RecordedUsagePage(
        items=[messages.RecordedUsage(id=_USAGE, tenant=story.TENANT, published=True)],
        next_cursor=story.CURSOR,
    ),
    messages.ListEndedRuns(since=_SINCE, until=_UNTIL, tenant=story.TENANT, cursor=story.CURSOR),
    messages.EndedRunPage(
        items=[
            messages.EndedRunFacts(
                run=story.RUN,
                tenant=story.TENANT,
                usage_count=2,
                usage=story.USAGE,
                outbox_count=2,
                charged=story.CHARGED.amount,
                refunded=10_000,
            )
        ],
        next_cursor=story.CURSOR,
    ),
    messages.DescribeCharges(runs=[story.RUN]),
    messages.ChargesDescribed(
        items=[
            messages.RunBooks(
                run=story.RUN,
                hold="settled",
                revision=1,
                usage=story.USAGE,
                charged=story.CHARGED.amount,
                refunded=10_000,
            )
        ]
    ),
    messages.AuditBooks(),
    messages.BooksAudited(
        postings=7,
        faults=[
            messages.BookFault(
                rule="account credit is the sum of its entries",
                subject=story.ACCOUNT,
                expected=Decimal(1_000_000),
                found=Decimal(999_999),
                detail="customer_credit",
            )
        ],
    ),
)
