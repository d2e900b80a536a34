"""The one envelope of events, in CloudEvents 1.0 terms (structured JSON mode)."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta


class Envelope[Data](msgspec.Struct, frozen=True, kw_only=True):
    """A fact on its way: who said it, about what, for which tenant.

    `id` is unique per `source` and is what consumers deduplicate on. `subject` names the entity the
    fact is about (a run, a deployment). `time` is when the fact became true, UTC. `sequence` is the
    place of this event in its entity's journal (0 where the entity has none).
    """

    id: str
    source: str
    type: str
    time: Annotated[datetime, Meta(tz=True)]
    tenant: str
    data: Data
    subject: str = ""
    specversion: str = "1.0"
    datacontenttype: str = "application/json"
    sequence: int = 0
    traceparent: str | None = None


def utc_now() -> datetime:
    """The current time in UTC with its time zone."""
    return datetime.now(UTC)
