"""Reported usage as the public API shows it: what became of each event, what was refused, corrections."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from agora_contracts.usage_ingest import (
    REPORTED_TYPE,
    CorrectionKind,
    EventId,
    IngestedEvent,
    Reason,
    RefusalReason,
    RefusedUsage,
    RefusedUsagePage,
    UsageCorrection,
)
from litestar.openapi.spec import Example, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from msgspec import Meta

from agora_gateway.usage import reports


class IngestReportShape(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each event, in the order in which they were sent. What was refused is kept, see the list."""

    accepted: int
    duplicates: int
    refused: int
    items: list[IngestedEvent]


class RefusedShape(msgspec.Struct, frozen=True, kw_only=True):
    """An event that does not count, as it came (`payload`), and why; `times` is how often it came."""

    id: str
    source: str
    event_id: str
    reason: RefusalReason
    detail: str
    payload: str
    received_at: datetime
    refused_at: datetime
    times: int
    replayed_at: datetime | None


class RefusedPageShape(msgspec.Struct, frozen=True, kw_only=True):
    """A page of refused events, newest first."""

    items: list[RefusedShape]
    next_cursor: str | None = None


class ReplayBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The event as it should have been, whole; its numbers are read to their last digit."""

    event: msgspec.Raw


class ReplayAllBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which refused events to try again: of one reason, or all; `after` goes on behind the call before."""

    reason: RefusalReason | None = None
    after: str | None = None


class CorrectedEventBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event that is counted, by the `source` and `id` that the answer to its report named."""

    source: Annotated[str, Meta(min_length=1, max_length=300)]
    id: EventId


class CorrectionBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Void an event, or give it another quantity. `id` is yours and makes the correction happen once."""

    id: EventId
    event: CorrectedEventBody
    kind: CorrectionKind
    reason: Reason
    quantity: Decimal | None = None


def ingest_report(items: list[IngestedEvent]) -> IngestReportShape:
    """What became of a request's events."""
    results = [item.result for item in items]
    return IngestReportShape(
        accepted=results.count("accepted"),
        duplicates=results.count("duplicate"),
        refused=results.count("refused"),
        items=items,
    )


def refused_page_shape(page: RefusedUsagePage) -> RefusedPageShape:
    """A page of refused events for their tenant."""
    return RefusedPageShape(items=[_refused_shape(one) for one in page.items], next_cursor=page.next_cursor)


def _refused_shape(refused: RefusedUsage) -> RefusedShape:
    fields = msgspec.structs.asdict(refused)
    del fields["tenant"]
    return RefusedShape(**fields)


# --- examples of the documentation ---------------------------------------------------------------

_AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
_DEPLOYMENT = "dep_0190a5b07c3a7d4e8f00112233445566"
_SOURCE = "key:key_0190a5b07c3a7d4e8f00112233445566#/stations/7"
_REFUSED = "ref_0190a5b07c3a7d4e8f00112233445566"
AN_EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "type": REPORTED_TYPE,
    "source": "/stations/7",
    "id": "reading-1",
    "time": "2026-01-05T08:59:00Z",
    "data": {
        "meter": "storage_gb",
        "quantity": "1.25",
        "deployment": _DEPLOYMENT,
        "dimensions": {"region": "eu"},
    },
}
_COUNTED = IngestedEvent(id="reading-1", source=_SOURCE, result="accepted")
A_REFUSAL = IngestedEvent(
    id="reading-2",
    source=_SOURCE,
    result="refused",
    reason="unknown_meter",
    detail="no meter and no published price reads 'storage'; create a meter whose `event` it is, then replay",
    refused=_REFUSED,
)
A_REPORT = ingest_report([_COUNTED, A_REFUSAL])
A_REPLAYED_EVENT = IngestedEvent(id="reading-2", source=_SOURCE, result="accepted")
A_REFUSED = RefusedUsage(
    id=_REFUSED,
    tenant="ten_0190a5b07c3a7d4e8f00112233445566",
    source=_SOURCE,
    event_id="reading-2",
    reason="unknown_meter",
    detail=A_REFUSAL.detail,
    payload='{"specversion":"1.0","id":"reading-2"}',
    received_at=_AT,
    refused_at=_AT,
)
ALL_REFUSED = RefusedUsagePage(items=[A_REFUSED])
REFUSED_PAGE = refused_page_shape(ALL_REFUSED)
A_REPLAY_ALL = ReplayAllBody(reason="unknown_meter")
A_CORRECTION_BODY = CorrectionBody(
    id="correction-1",
    event=CorrectedEventBody(source=_SOURCE, id="reading-1"),
    kind="amend",
    quantity=Decimal("1.5"),
    reason="the sensor was set to the wrong unit",
)
A_CORRECTION = UsageCorrection(
    id="correction-1",
    source="key:key_0190a5b07c3a7d4e8f00112233445566",
    corrects_id="reading-1",
    corrects_source=_SOURCE,
    kind="amend",
    meter="storage_gb",
    quantity=Decimal("1.5"),
    difference=Decimal("0.25"),
    reason="the sensor was set to the wrong unit",
    at=_AT,
    deployment=_DEPLOYMENT,
)


def _text(description: str, **more: Any) -> Schema:
    return Schema(type=OpenAPIType.STRING, description=description, **more)


def _event_schema() -> Schema:
    data = Schema(
        type=OpenAPIType.OBJECT,
        required=["meter", "quantity"],
        additional_properties=False,
        properties={
            "meter": _text("What was used: read by a meter of yours or a published price.", max_length=64),
            "quantity": Schema(
                description="A decimal string, or a number; from 0 to 10^15 with at most 12 decimal places.",
                one_of=[Schema(type=OpenAPIType.STRING), Schema(type=OpenAPIType.NUMBER)],
            ),
            "deployment": _text("One of your deployments."),
            "dimensions": Schema(
                type=OpenAPIType.OBJECT,
                description="What reports may group by; at most 20.",
                additional_properties=Schema(type=OpenAPIType.STRING),
            ),
        },
    )
    return Schema(
        type=OpenAPIType.OBJECT,
        description="A CloudEvent 1.0; extension attributes are allowed and not kept.",
        required=["specversion", "type", "source", "id", "data"],
        properties={
            "specversion": Schema(type=OpenAPIType.STRING, enum=["1.0"]),
            "type": Schema(type=OpenAPIType.STRING, enum=[REPORTED_TYPE]),
            "source": _text("Which of your systems; with `id` it makes the event unique.", max_length=200),
            "id": _text("The same event has the same id, however often it is sent.", max_length=200),
            "time": _text(
                "When the usage was, at most 35 days ago and an hour ahead; without it, when it is received.",
                format="date-time",
            ),
            "subject": _text("Not kept."),
            "data": data,
        },
    )


@dataclass
class ReportOperation(Operation):
    """Describes the bodies of a report, which the route reads itself and Litestar knows nothing of."""

    def __post_init__(self) -> None:
        """Add the forms in which events may come."""
        batch = Schema(type=OpenAPIType.ARRAY, items=_event_schema(), max_items=1000)
        self.request_body = RequestBody(
            description="One event, or up to 1,000; at most 2 MB. Binary mode (ce-... headers) is taken as well.",
            required=True,
            content={
                reports.BATCH: OpenAPIMediaType(
                    schema=batch, examples={"batch": Example(summary="Example", value=[AN_EVENT])}
                ),
                reports.ONE: OpenAPIMediaType(
                    schema=_event_schema(), examples={"one": Example(summary="Example", value=AN_EVENT)}
                ),
            },
        )


@dataclass
class ReplayOperation(Operation):
    """Describes the body of a replay, which may be left out."""

    def __post_init__(self) -> None:
        """Add the corrected event."""
        schema = Schema(
            type=OpenAPIType.OBJECT,
            required=["event"],
            additional_properties=False,
            properties={"event": _event_schema()},
        )
        self.request_body = RequestBody(
            description="The corrected event; without a body it is tried as it came.",
            required=False,
            content={
                "application/json": OpenAPIMediaType(
                    schema=schema,
                    examples={"corrected": Example(summary="Example", value={"event": AN_EVENT})},
                )
            },
        )
