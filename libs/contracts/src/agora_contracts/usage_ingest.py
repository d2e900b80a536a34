"""Usage reported from outside: CloudEvents in, what was refused of them, and corrections of what was counted."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

EVENTS_MAX = 1000
"""The most events of one request."""

EVENT_BYTES_MAX = 64 * 1024
"""The largest single event, which is what CloudEvents asks everybody on the way to forward."""

REPORTED_TYPE = "agora.usage.recorded.v1"
"""The `type` of a CloudEvent that reports usage."""

EventId = Annotated[str, Meta(min_length=1, max_length=200)]
Reason = Annotated[str, Meta(min_length=1, max_length=500)]

RefusalReason = Literal[
    "malformed",
    "unknown_type",
    "invalid_quantity",
    "too_old",
    "in_the_future",
    "run_usage",
    "unknown_meter",
    "unknown_deployment",
    "id_collision",
]
"""Why an event was not counted; the detail beside it says what to change."""

CorrectionKind = Literal["void", "amend"]


class ReportedUsage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `data` of an event that reports usage. `quantity` is a decimal string, or a number, read to its last digit.

    `deployment` is one of the tenant's; with it the usage can be charged by the month. Dimensions are what reports
    of a meter may be grouped by.
    """

    meter: Annotated[str, Meta(min_length=1, max_length=64)]
    quantity: Decimal
    deployment: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    dimensions: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=64)], Annotated[str, Meta(max_length=256)]],
        Meta(max_length=20),
    ] = {}


class UsageEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvent (1.0) that reports usage. Other attributes (extensions) are allowed and not kept.

    `time` is when the usage was; without it, when it was received. (Tenant, sender, `source`, `id`) makes it unique.
    """

    specversion: Literal["1.0"]
    id: EventId
    source: EventId
    type: str
    data: ReportedUsage
    time: Annotated[datetime, Meta(tz=True)] | None = None
    subject: str = ""
    datacontenttype: str = "application/json"


class IngestUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Count usage that was reported from outside: each event as it came, byte by byte.

    `sender` is who the credential says it is (`key:key_...`, `operator`); `received_at` is what the events' times are
    held against, and the time of those that name none.
    """

    tenant: str
    sender: str
    received_at: datetime
    events: Annotated[list[msgspec.Raw], Meta(max_length=EVENTS_MAX)]


class IngestedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one event. `source` is the one that it is known under here; `refused` its place in the list."""

    id: str
    source: str
    result: Literal["accepted", "duplicate", "refused"]
    reason: RefusalReason | None = None
    detail: str = ""
    refused: str | None = None


class IngestReport(msgspec.Struct, frozen=True, kw_only=True):
    """One entry for each event, in the order in which they came."""

    items: list[IngestedEvent]


# --- what was refused ----------------------------------------------------------------------------


class RefusedUsage(msgspec.Struct, frozen=True, kw_only=True):
    """An event that was not counted. `payload` is the event as it came; `times` how often it came.

    `replayed_at` is set once it, or its corrected form, was taken in after all.
    """

    id: str
    tenant: str
    source: str
    event_id: str
    reason: RefusalReason
    detail: str
    payload: str
    received_at: datetime
    refused_at: datetime
    times: int = 1
    replayed_at: datetime | None = None


class ListRefusedUsage(msgspec.Struct, frozen=True, kw_only=True):
    """List refused usage, newest first: of one tenant, or of all for the operator. Replayed ones only if asked for."""

    tenant: str | None = None
    reason: RefusalReason | None = None
    replayed: bool = False
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class RefusedUsagePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of refused usage."""

    items: list[RefusedUsage]
    next_cursor: str | None = None


class ReplayRefusedUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Try a refused event again, as it came or as `corrected` (JSON text).

    Answered with what became of it; once it was taken in, it is a duplicate for ever.
    """

    id: str
    tenant: str | None = None
    corrected: Annotated[str, Meta(max_length=EVENT_BYTES_MAX)] | None = None


class ReplayAllRefusedUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Try what was refused again, oldest first, at most 1,000 events a call: of one tenant or all, of one reason or any.

    `after` goes on behind what the call before reached.
    """

    tenant: str | None = None
    reason: RefusalReason | None = None
    after: str | None = None


class ReplayedUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a replay: how many count now, and how many did already or are refused again.

    `next_after` is where to go on; null when all were tried.
    """

    accepted: int
    duplicates: int
    refused: list[str] = []
    next_after: str | None = None


# --- corrections ---------------------------------------------------------------------------------


class CorrectUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Void or amend an event that was counted. The latest correction of an event holds.

    (Tenant, `source`, `id`) makes the correction unique: the same again is answered alike, another one conflicts.
    `corrects_source` and `corrects_id` name the event as it is known here. `own_only` refuses what runs recorded.
    """

    tenant: str
    source: Annotated[str, Meta(min_length=1, max_length=300)]
    id: EventId
    corrects_source: Annotated[str, Meta(min_length=1, max_length=300)]
    corrects_id: EventId
    kind: CorrectionKind
    reason: Reason
    quantity: Decimal | None = None
    own_only: bool = True


class UsageCorrection(msgspec.Struct, frozen=True, kw_only=True):
    """A correction as it was booked. `difference` is what it added to the totals, `quantity` what counts since."""

    id: str
    source: str
    corrects_id: str
    corrects_source: str
    kind: CorrectionKind
    meter: str
    quantity: Decimal
    difference: Decimal
    reason: str
    at: datetime
    run: str | None = None
    deployment: str | None = None


class UsageCorrected(msgspec.Struct, frozen=True, kw_only=True):
    """A counted event was voided or amended. Its id is the correction's; the envelope's source who corrected it.

    `used_at` is when the corrected usage was, which is where totals changed.
    """

    corrects_id: str
    corrects_source: str
    kind: CorrectionKind
    meter: str
    quantity: Decimal
    difference: Decimal
    reason: str
    used_at: datetime
    run: str | None = None
    deployment: str | None = None
    package: str | None = None
