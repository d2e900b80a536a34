"""Use cases of queries. One call is one transaction, opened and committed by the caller."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from agora_contracts.metering import QueryUsage, UsageReport, UsageRow
from agora_contracts.problems import AgoraError
from agora_kit.cursor import decode_cursor, encode_cursor
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_metering.meters.model import definition_of
from agora_metering.meters.store import visible_to
from agora_metering.partitions.store import kept_since
from agora_metering.queries import model, store
from agora_metering.queries.store import Key
from agora_metering.totals.model import Merge


async def query_usage(connection: AsyncConnection, query: QueryUsage) -> UsageReport:
    """Total a tenant's usage over every minute that the range touches, filtered and grouped.

    What is said of meters (their kinds, whether they are whole) and their totals must be of one moment: of a snapshot.

    Raises:
        AgoraError: `malformed_request`, with the fields at fault; `invalid_cursor`.
    """
    _refuse(model.query_faults(query))
    meters = await visible_to(connection, query.tenant)
    _refuse(model.meter_faults(query, meters))
    asked = [one for one in meters if query.meter is None or one.key == query.meter]
    merges = {Merge.ADD} | {definition_of(one).merge for one in asked}
    plan = model.plan(query)
    _refuse(model.kept_faults(plan, await kept_since(connection)))
    keys = store.keys_of(query, plan)
    rows = await store.totals(connection, query, plan, keys, merges, after=_after(query, keys))
    rest = rows[query.limit :]
    rows = rows[: query.limit]
    return UsageReport(
        items=_shown(rows, query, keys),
        truncated=bool(rest),
        next_cursor=_cursor(rows[-1], keys) if rest else None,
        incomplete=[one.key for one in asked if one.state != "active"],
    )


def _refuse(faults: Sequence[Any]) -> None:
    if faults:
        raise AgoraError("malformed_request", "the query cannot be answered", errors=list(faults))


def _after(query: QueryUsage, keys: Sequence[Key]) -> list[str] | None:
    if query.cursor is None:
        return None
    parts: list[str] = decode_cursor(query.cursor, list[str])
    if len(parts) != len(keys) or not all(map(_is_place, parts, keys)):
        raise AgoraError("invalid_cursor", "the cursor is not one of this query's; ask again without it")
    return parts


def _is_place(part: str, key: Key) -> bool:
    if key.kind == "text":
        return True
    try:
        return datetime.fromisoformat(part).tzinfo is not None
    except ValueError:
        return False


def _cursor(row: Row[Any], keys: Sequence[Key]) -> str:
    parts = row[: len(keys)]
    return encode_cursor(*(part.isoformat() if isinstance(part, datetime) else part for part in parts))


def _shown(rows: Sequence[Row[Any]], query: QueryUsage, keys: Sequence[Key]) -> list[UsageRow]:
    zone = ZoneInfo(query.time_zone)
    names = list(dict.fromkeys(query.dimensions))
    groups = [key.name for key in keys[: len(keys) - len(names)]]
    items = []
    for row in rows:
        parts = row[: len(keys)]
        fields: dict[str, Any] = {}
        for name, part in zip(groups, parts, strict=False):
            fields[name] = part.astimezone(zone) if name == "time" else part or None
        if names:
            # Without the "=" that a value begins with.
            values = parts[len(groups) :]
            fields["dimensions"] = {
                name: value[1:] if value else None for name, value in zip(names, values, strict=True)
            }
        items.append(UsageRow(quantity=row.quantity, events=row.events, **fields))
    return items
