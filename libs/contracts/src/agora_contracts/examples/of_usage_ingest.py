"""Examples of usage that is reported from outside, and of exports."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from agora_contracts import exports, usage_ingest
from agora_contracts.examples import story
from agora_contracts.ids import derived

_AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
_LATER = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
_START, _END = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
_SENDER = f"key:{story.KEY}"
_SOURCE = f"{_SENDER}#/sensors/7"
_REFUSED = derived("ref", story.TENANT, _SOURCE, "reading-2")
_EXPORT = derived("exp", story.TENANT, "march")
_EVENT = (
    '{"specversion":"1.0","id":"reading-1","source":"/sensors/7","type":"agora.usage.recorded.v1",'
    '"time":"2026-03-02T08:59:00Z","data":{"meter":"storage_gb","quantity":"1.25",'
    f'"deployment":"{story.DEPLOYMENT}","dimensions":{{"region":"eu"}}}}}}'
)
_REFUSED_EVENT = _EVENT.replace("reading-1", "reading-2").replace("storage_gb", "storage")

EXAMPLES: tuple[msgspec.Struct, ...] = (
    usage_ingest.IngestUsage(
        tenant=story.TENANT, sender=_SENDER, received_at=_AT, events=[msgspec.Raw(_EVENT.encode())]
    ),
    usage_ingest.IngestReport(
        items=[
            usage_ingest.IngestedEvent(id="reading-1", source=_SOURCE, result="accepted"),
            usage_ingest.IngestedEvent(
                id="reading-2",
                source=_SOURCE,
                result="refused",
                reason="unknown_meter",
                detail="no meter and no price reads 'storage'",
                refused=_REFUSED,
            ),
        ]
    ),
    usage_ingest.ListRefusedUsage(
        tenant=story.TENANT, reason="unknown_meter", replayed=True, cursor=story.CURSOR, limit=20
    ),
    usage_ingest.RefusedUsagePage(
        items=[
            usage_ingest.RefusedUsage(
                id=_REFUSED,
                tenant=story.TENANT,
                source=_SOURCE,
                event_id="reading-2",
                reason="unknown_meter",
                detail="no meter and no price reads 'storage'",
                payload=_REFUSED_EVENT,
                received_at=_AT,
                refused_at=_AT,
                times=2,
                replayed_at=_LATER,
            )
        ],
        next_cursor=story.CURSOR,
    ),
    usage_ingest.ReplayRefusedUsage(id=_REFUSED, tenant=story.TENANT, corrected=_EVENT),
    usage_ingest.IngestedEvent(
        id="reading-2",
        source=_SOURCE,
        result="refused",
        reason="unknown_meter",
        detail="no meter and no price reads 'storage'",
        refused=_REFUSED,
    ),
    usage_ingest.ReplayAllRefusedUsage(tenant=story.TENANT, reason="unknown_meter", after=story.CURSOR),
    usage_ingest.ReplayedUsage(accepted=3, duplicates=1, refused=[_REFUSED], next_after=story.CURSOR),
    usage_ingest.CorrectUsage(
        tenant=story.TENANT,
        source=_SENDER,
        id="correction-1",
        corrects_source=_SOURCE,
        corrects_id="reading-1",
        kind="amend",
        quantity=Decimal("1.5"),
        reason="the sensor was set to the wrong unit",
        own_only=True,
    ),
    usage_ingest.CorrectUsage(
        tenant=story.TENANT,
        source="operator",
        id="correction-2",
        corrects_source="agora/execution",
        corrects_id=f"{story.STEP}0/jobs",
        kind="void",
        reason="goodwill",
        own_only=False,
    ),
    usage_ingest.UsageCorrection(
        id="correction-1",
        source=_SENDER,
        corrects_id="reading-1",
        corrects_source=_SOURCE,
        kind="amend",
        meter="storage_gb",
        quantity=Decimal("1.5"),
        difference=Decimal("0.25"),
        reason="the sensor was set to the wrong unit",
        at=_LATER,
        run=story.RUN,
        deployment=story.DEPLOYMENT,
    ),
    usage_ingest.UsageCorrected(
        corrects_id=f"{story.STEP}0/jobs",
        corrects_source="agora/execution",
        kind="void",
        meter="jobs",
        quantity=Decimal(0),
        difference=Decimal(-1),
        reason="goodwill",
        used_at=_AT,
        run=story.RUN,
        deployment=story.DEPLOYMENT,
        package=story.PACKAGE,
    ),
    exports.RequestUsageExport(
        id=_EXPORT,
        tenant=story.TENANT,
        what="hourly",
        format="parquet",
        start=_START,
        end=_END,
        meter="storage_gb",
        package=story.PACKAGE,
        deployment=story.DEPLOYMENT,
    ),
    exports.UsageExport(
        id=_EXPORT,
        what="hourly",
        format="parquet",
        start=_START,
        end=_END,
        state="succeeded",
        created_at=_AT,
        rows_done=744,
        rows_total=744,
        meter="storage_gb",
        package=story.PACKAGE,
        deployment=story.DEPLOYMENT,
        file=derived("file", _EXPORT),
        finished_at=_LATER,
        expires_at=_END,
    ),
    exports.UsageExport(
        id=_EXPORT,
        what="events",
        format="csv",
        start=_START,
        end=_END,
        state="failed",
        created_at=_AT,
        error="the tenant's files would exceed their quota; delete some",
        finished_at=_LATER,
    ),
    exports.GetUsageExport(id=_EXPORT, tenant=story.TENANT),
    exports.ListUsageExports(tenant=story.TENANT, cursor=story.CURSOR, limit=20),
    exports.UsageExportPage(
        items=[
            exports.UsageExport(
                id=_EXPORT,
                what="daily",
                format="csv",
                start=_START,
                end=_END,
                state="running",
                created_at=_AT,
                rows_done=10,
                rows_total=31,
            )
        ],
        next_cursor=story.CURSOR,
    ),
    exports.CancelUsageExport(id=_EXPORT, tenant=story.TENANT),
)
