"""Usage: totals, meters, events reported by oneself, what of them was refused, corrections, exports."""

import asyncio
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from agora_contracts.exports import ExportFormat, ExportKind, UsageExport
from agora_contracts.meters import Aggregation, Meter
from agora_contracts.usage_ingest import (
    EVENTS_MAX,
    REPORTED_TYPE,
    IngestedEvent,
    RefusalReason,
    ReplayedUsage,
    UsageCorrection,
)

from agora.client.transport import segment
from agora.client.types import Page, UsageReport

if TYPE_CHECKING:
    from agora.client.resources import Files
    from agora.client.transport import Transport

BATCH_BYTES_MAX = 1_900_000
_BATCH_TYPE = "application/cloudevents-batch+json"
_POLL_SECONDS = 0.5


class UsageEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that was used, as a system of your own measured it.

    `id` is yours: the same event has the same id, however often it is sent. `source` names the system. `time` (with
    its zone) is when the usage was, now by default; `deployment` one of your rentals, `dimensions` what reports may be
    grouped by.

    Raises:
        TypeError: the quantity is no `Decimal`: a float would not be what was measured.
    """

    id: str
    meter: str
    quantity: Decimal
    source: str = "/"
    time: datetime | None = None
    deployment: str | None = None
    dimensions: dict[str, str] = {}

    def __post_init__(self) -> None:
        if not isinstance(self.quantity, Decimal):
            raise TypeError(f"quantity must be a Decimal, such as Decimal('0.25'), not {self.quantity!r}")

    def cloud_event(self) -> bytes:
        """The event as a CloudEvent, in bytes."""
        data = {
            "meter": self.meter,
            "quantity": format(self.quantity, "f") if self.quantity.is_finite() else str(self.quantity),
            "deployment": self.deployment,
            "dimensions": self.dimensions,
        }
        event = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": REPORTED_TYPE,
            "time": self.time,
            "data": {name: value for name, value in data.items() if value is not None},
        }
        return msgspec.json.encode({name: value for name, value in event.items() if value is not None})


class IngestReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of reported events, in their order."""

    accepted: int
    duplicates: int
    refused: int
    items: list[IngestedEvent]


class RefusedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A reported event that does not count, as it came, and why."""

    id: str
    source: str
    event_id: str
    reason: str
    detail: str
    payload: str
    received_at: datetime
    times: int
    replayed_at: datetime | None = None


class Usage:
    """`client.usage`."""

    def __init__(self, transport: "Transport", files: "Files") -> None:
        self._transport = transport
        self._files = files

    async def query(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        meter: str | None = None,
        package: str | None = None,
        deployment: str | None = None,
        group_by: Sequence[str] = ("meter",),
        dimensions: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
        time_zone: str = "UTC",
        cursor: str | None = None,
        limit: int = 1000,
    ) -> UsageReport:
        """Usage totals over [start, end), by default of the last 30 days, exact up to the last event counted.

        Args:
            start: With its zone; cut to its minute.
            end: With its zone, not included.
            meter: Only this meter.
            package: Only this package.
            deployment: Only this deployment.
            group_by: Any of meter, package, deployment, and one of minute, hour, day and month.
            dimensions: Dimensions to group by as well, which the meters in question declare.
            where: Only what has these values of dimensions.
            time_zone: Whose minutes, hours, days and months rows are, such as Europe/Berlin.
            cursor: `next_cursor` of the page before.
            limit: The most rows.
        """
        query = {
            "from": start and start.isoformat(),
            "to": end and end.isoformat(),
            "meter": meter,
            "package": package,
            "deployment": deployment,
            "group_by": ",".join(group_by),
            "dimensions": ",".join(dimensions) or None,
            "where": [f"{name}:{value}" for name, value in (where or {}).items()] or None,
            "time_zone": time_zone,
            "cursor": cursor,
            "limit": limit,
        }
        return await self._transport.call(UsageReport, "GET", "/usage", query=query)

    # --- meters ----------------------------------------------------------------------------------

    async def define_meter(
        self,
        key: str,
        *,
        unit: str,
        aggregation: Aggregation = "sum",
        description: str = "",
        event: str | None = None,
        value: str | None = None,
        dimensions: Sequence[str] = (),
    ) -> Meter:
        """Define what is counted and how; what is stored already is counted into it. The same again changes nothing.

        Args:
            key: The meter's name.
            unit: Such as GB.
            aggregation: sum, count, unique_count, min, max or latest.
            description: For people.
            event: Which reported usage it reads: the `meter` of events; the key by default.
            value: The dimension that is aggregated instead of the quantity; `unique_count` needs it.
            dimensions: What its totals can be grouped and filtered by.
        """
        body = {
            "key": key,
            "unit": unit,
            "aggregation": aggregation,
            "description": description,
            "event": event,
            "value": value,
            "dimensions": list(dimensions),
        }
        return await self._transport.call(Meter, "POST", "/usage/meters", body=body)

    async def list_meters(self) -> Page[Meter]:
        """The meters of the account and the platform's, by key."""
        return await self._transport.call(Page[Meter], "GET", "/usage/meters")

    async def get_meter(self, key: str) -> Meter:
        """A meter, and how far its back-fill is."""
        return await self._transport.call(Meter, "GET", f"/usage/meters/{segment(key)}")

    async def delete_meter(self, key: str) -> Meter:
        """Take a definition away; stored events stay."""
        return await self._transport.call(Meter, "DELETE", f"/usage/meters/{segment(key)}")

    # --- reported by oneself ---------------------------------------------------------------------

    async def report(self, events: Iterable[UsageEvent | msgspec.Raw]) -> IngestReport:
        """Report usage: each event is counted once, or refused with what to change. Safe to repeat.

        Any number of events; they are sent 1,000 at a time.

        Args:
            events: Events, or whole CloudEvents as they are.
        """
        items: list[IngestedEvent] = []
        for batch in _batches(events):
            report = await self._transport.call(
                IngestReport, "POST", "/usage/events", body=batch, content_type=_BATCH_TYPE
            )
            items += report.items
        results = [item.result for item in items]
        return IngestReport(
            accepted=results.count("accepted"),
            duplicates=results.count("duplicate"),
            refused=results.count("refused"),
            items=items,
        )

    async def refused(
        self,
        *,
        reason: RefusalReason | None = None,
        replayed: bool = False,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[RefusedEvent]:
        """A page of refused events, newest first; replayed ones only if asked for."""
        query = {
            "reason": reason,
            "replayed": "true" if replayed else None,
            "cursor": cursor,
            "limit": limit,
        }
        return await self._transport.call(Page[RefusedEvent], "GET", "/usage/refused", query=query)

    async def replay(self, refused: str, corrected: UsageEvent | msgspec.Raw | None = None) -> IngestedEvent:
        """Try a refused event again, as it came or corrected. It counts once, however often it is replayed."""
        body = None if corrected is None else {"event": _raw(corrected)}
        return await self._transport.call(
            IngestedEvent, "POST", f"/usage/refused/{segment(refused)}/replay", body=body
        )

    async def replay_all(self, *, reason: RefusalReason | None = None) -> ReplayedUsage:
        """Try everything again that was refused, or all of one reason, after its cause was mended."""
        accepted, duplicates, refused = 0, 0, []
        after: str | None = None
        while True:
            done = await self._transport.call(
                ReplayedUsage, "POST", "/usage/refused/replay", body={"reason": reason, "after": after}
            )
            accepted, duplicates = accepted + done.accepted, duplicates + done.duplicates
            refused += done.refused
            if (after := done.next_after) is None:
                return ReplayedUsage(accepted=accepted, duplicates=duplicates, refused=refused)

    async def void(self, source: str, event: str, *, reason: str, id: str | None = None) -> UsageCorrection:
        """Let an event that was counted by mistake count for nothing. It is named as its report was answered.

        Args:
            source: The event's source, as the answer named it.
            event: The event's id.
            reason: Why; it stays on record.
            id: Yours; the same again books it once. Made anew by default.
        """
        return await self._correct(source, event, "void", None, reason, id)

    async def amend(
        self, source: str, event: str, quantity: Decimal, *, reason: str, id: str | None = None
    ) -> UsageCorrection:
        """Let an event count for another quantity; see `void`."""
        return await self._correct(source, event, "amend", quantity, reason, id)

    async def _correct(
        self, source: str, event: str, kind: str, quantity: Decimal | None, reason: str, id: str | None
    ) -> UsageCorrection:
        body = {
            "id": id or uuid.uuid4().hex,
            "event": {"source": source, "id": event},
            "kind": kind,
            "quantity": quantity,
            "reason": reason,
        }
        return await self._transport.call(UsageCorrection, "POST", "/usage/corrections", body=body)

    # --- exports ---------------------------------------------------------------------------------

    async def export(
        self,
        *,
        start: datetime,
        end: datetime,
        what: ExportKind = "events",
        format: ExportFormat = "parquet",
        meter: str | None = None,
        package: str | None = None,
        deployment: str | None = None,
        idempotency_key: str | None = None,
    ) -> UsageExport:
        """Ask for usage over [start, end) as a file; see `wait_for_export`."""
        body = {
            "start": start,
            "end": end,
            "what": what,
            "format": format,
            "meter": meter,
            "package": package,
            "deployment": deployment,
        }
        return await self._transport.call(
            UsageExport,
            "POST",
            "/usage/exports",
            body=body,
            headers={"Idempotency-Key": idempotency_key or uuid.uuid4().hex},
        )

    async def get_export(self, export: str) -> UsageExport:
        """An export, and how far it is."""
        return await self._transport.call(UsageExport, "GET", f"/usage/exports/{segment(export)}")

    async def list_exports(self, *, cursor: str | None = None, limit: int = 50) -> Page[UsageExport]:
        """A page of exports, newest first."""
        query = {"cursor": cursor, "limit": limit}
        return await self._transport.call(Page[UsageExport], "GET", "/usage/exports", query=query)

    async def cancel_export(self, export: str) -> UsageExport:
        """Stop an export that is not done."""
        return await self._transport.call(UsageExport, "DELETE", f"/usage/exports/{segment(export)}")

    async def wait_for_export(self, export: str) -> UsageExport:
        """The export, once it has succeeded, failed, or was cancelled."""
        while True:
            found = await self.get_export(export)
            if found.state not in ("queued", "running"):
                return found
            await asyncio.sleep(_POLL_SECONDS)

    async def download_export(self, export: UsageExport, target: Path) -> Path:
        """Write the file of an export that has succeeded to `target`.

        Raises:
            ValueError: it has no file.
            OSError: the target cannot be written.
        """
        if export.file is None:
            raise ValueError(f"The export {export.id} has no file: it is {export.state}.")
        return await self._files.download(export.file, target)


def _raw(event: UsageEvent | msgspec.Raw) -> msgspec.Raw:
    return msgspec.Raw(event.cloud_event()) if isinstance(event, UsageEvent) else event


def _batches(events: Iterable[UsageEvent | msgspec.Raw]) -> Iterator[Sequence[msgspec.Raw]]:
    batch: list[msgspec.Raw] = []
    size = 0
    for event in map(_raw, events):
        length = len(memoryview(event)) + 1
        if batch and (len(batch) == EVENTS_MAX or size + length > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += length
    if batch:
        yield batch
