"""Reconciliation: what several services know of the same usage and money, compared, each difference by its id."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agora_contracts.billing import Quantity

PAGE_MAX = 1000
RUNS_MAX = 200
DIFFERENCES_MAX = 1000

Joint = Literal["outbox", "stream", "events", "totals", "runs", "charges", "holds", "months", "ledger"]
"""Between which two the difference is: recorded usage and its outbox (`outbox`), the outbox and the stream
(`stream`), recorded usage and what metering has stored (`events`), stored events and totals (`totals`), runs as
recorded and as counted (`runs`), counted usage and what was charged for it (`charges`), ended runs and what is still
set aside (`holds`), deployments' months as told and as taken up (`months`), and billing's books by their own audit
(`ledger`)."""


class Reconcile(msgspec.Struct, frozen=True, kw_only=True):
    """Operator: compare everything from `since` until `grace_seconds` ago; what is newer may be on its way."""

    since: datetime
    tenant: str | None = None
    grace_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 60.0


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Something that two services know differently; `subject` is the id of the event, run, account or total."""

    joint: Joint
    subject: str
    detail: str
    tenant: str | None = None


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared, how much of it, and every difference, up to 1,000 (then `truncated`)."""

    since: datetime
    until: datetime
    events: int
    runs: int
    totals: int
    differences: list[Difference] = []
    truncated: bool = False


class ReconciliationFailed(msgspec.Struct, frozen=True, kw_only=True):
    """Alarm: the scheduled reconciliation of a window has found differences; names the first 100."""

    since: datetime
    until: datetime
    count: int
    differences: list[Difference]


# --- what services say of their own part ---------------------------------------------------------


class ListRecordedUsage(msgspec.Struct, frozen=True, kw_only=True):
    """List the usage events that were recorded in [since, until), in the order of their recording."""

    since: datetime
    until: datetime
    tenant: str | None = None
    cursor: str | None = None


class RecordedUsage(msgspec.Struct, frozen=True, kw_only=True):
    """A usage event of the outbox."""

    id: str
    tenant: str
    published: bool


class RecordedUsagePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of recorded usage events."""

    items: list[RecordedUsage]
    next_cursor: str | None = None


class ListEndedRuns(msgspec.Struct, frozen=True, kw_only=True):
    """List the runs that ended in [since, until), the first to end first."""

    since: datetime
    until: datetime
    tenant: str | None = None
    cursor: str | None = None


class EndedRunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was recorded of an ended run: its usage, and what it was told it was charged and refunded (micro-units)."""

    run: str
    tenant: str
    usage_count: int
    usage: list[Quantity]
    outbox_count: int
    charged: int | None = None
    refunded: int = 0


class EndedRunPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of ended runs."""

    items: list[EndedRunFacts]
    next_cursor: str | None = None


class DescribeCharges(msgspec.Struct, frozen=True, kw_only=True):
    """Say what the books have of these runs."""

    runs: Annotated[list[str], Meta(max_length=RUNS_MAX)]


class RunBooks(msgspec.Struct, frozen=True, kw_only=True):
    """A run in the books: its hold's state, and the newest revision of its usage with what that was charged by."""

    run: str
    hold: str
    revision: int = 0
    usage: list[Quantity] = []
    charged: int | None = None
    refunded: int = 0


class ChargesDescribed(msgspec.Struct, frozen=True, kw_only=True):
    """The runs that the books know."""

    items: list[RunBooks]


class AuditBooks(msgspec.Struct, frozen=True, kw_only=True):
    """Recompute every balance, charge and hash of the books from their rows."""


class BookFault(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of the books that does not hold for something; amounts are micro-units."""

    rule: str
    subject: str
    expected: Decimal
    found: Decimal
    detail: str = ""


class BooksAudited(msgspec.Struct, frozen=True, kw_only=True):
    """How many postings were audited, and every fault."""

    postings: int
    faults: list[BookFault] = []
