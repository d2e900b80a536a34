"""Every subject and stream, in one place. The tenant's place in a subject is what permissions hang on."""

import re

import msgspec

from agora_contracts.usage_ingest import EVENT_BYTES_MAX

PLATFORM_TENANT = "platform"
"""The tenant of events that belong to no customer (the catalogue's)."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,80}")
_HEADERS_BYTES_MAX = 1024


LIVE_ASKS = "agora.live_ask.*.*"
"""Every `live_ask_subject`."""


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """A JetStream stream: which subjects it stores and for how long. Streams never share a subject.

    A stream with `bytes_max` refuses what does not fit any more, and its publisher hears so. `until_acknowledged`
    keeps a message only until its one consumer has applied it.
    """

    name: str
    subjects: list[str]
    retention_days: int
    duplicate_window_seconds: float = 120.0
    bytes_max: int | None = None
    message_bytes_max: int | None = None
    until_acknowledged: bool = False


CATALOG_STREAM = Stream(name="CATALOG", subjects=["agora.evt.*.catalog.>"], retention_days=14)
RUNS_STREAM = Stream(name="RUNS", subjects=["agora.evt.*.execution.>"], retention_days=14)
USAGE_STREAM = Stream(name="USAGE", subjects=["agora.evt.*.usage.>"], retention_days=14)
METERING_STREAM = Stream(name="METERING", subjects=["agora.evt.*.metering.>"], retention_days=14)
BILLING_STREAM = Stream(name="BILLING", subjects=["agora.evt.*.billing.>"], retention_days=14)
GATEWAY_STREAM = Stream(name="GATEWAY", subjects=["agora.evt.*.gateway.>"], retention_days=14)

INGEST_STREAM = Stream(
    name="INGEST",
    subjects=["agora.ingest.*.*.usage"],
    retention_days=14,
    # The shortest there is. JetStream's own deduplication is by a header that any integrator may set, across all of
    # them: with it one could suppress another's messages by guessing their ids.
    duplicate_window_seconds=0.1,
    bytes_max=512 * 1024 * 1024,
    message_bytes_max=EVENT_BYTES_MAX + _HEADERS_BYTES_MAX,
    until_acknowledged=True,
)
"""What integrators publish themselves, not yet looked at."""

STREAMS: dict[str, Stream] = {
    stream.name: stream
    for stream in (
        CATALOG_STREAM,
        RUNS_STREAM,
        USAGE_STREAM,
        METERING_STREAM,
        BILLING_STREAM,
        GATEWAY_STREAM,
        INGEST_STREAM,
    )
}


def event_subject(tenant: str, path: str) -> str:
    """The subject of an event: `event_subject("ten_1", "execution.run.finished")`.

    Raises:
        ValueError: the tenant cannot stand in a subject.
    """
    if not _TOKEN.fullmatch(tenant):
        raise ValueError(f"tenant {tenant!r} cannot stand in a subject")
    return f"agora.evt.{tenant}.{path}"


def ingest_subject(tenant: str, source: str) -> str:
    """Where an integrator publishes a tenant's usage: `agora.ingest.ten_1.weather.usage`.

    Raises:
        ValueError: the tenant or the source cannot stand in a subject.
    """
    for token in (tenant, source):
        if not _TOKEN.fullmatch(token):
            raise ValueError(f"{token!r} cannot stand in a subject: letters, digits, _ and - only")
    return f"agora.ingest.{tenant}.{source}.usage"


def ingest_source_of(subject: str) -> str:
    """Under which name an integrator published on this subject."""
    return subject.split(".", 4)[3]


def tenant_of(subject: str) -> str:
    """The tenant that a subject of an event, of reported usage or of a live message belongs to."""
    return subject.split(".", 3)[2]


def command_subject(service: str, verb: str) -> str:
    """The subject on which `service` answers `verb`: `agora.cmd.billing.place_hold`."""
    return f"agora.cmd.{service}.{verb}"


def live_subject(tenant: str, run: str) -> str:
    """Core NATS subject of a run's live-only messages (progress, tokens); nothing is stored."""
    return f"agora.live.{tenant}.{run}"


def live_ask_subject(tenant: str, run: str) -> str:
    """Core NATS subject on which a reader, with an empty message, asks for a run's texts so far."""
    return f"agora.live_ask.{tenant}.{run}"


def durable_name(service: str, purpose: str) -> str:
    """The name of a durable consumer: `metering-usage`."""
    return f"{service}-{purpose}"
