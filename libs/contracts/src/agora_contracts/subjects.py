"""Every subject and stream, in one place. The tenant's place in a subject is what permissions hang on."""

import re

import msgspec

PLATFORM_TENANT = "platform"
"""The tenant of events that belong to no customer (the catalogue's)."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,80}")


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """A JetStream stream: which subjects it stores and for how long. Streams never share a subject."""

    name: str
    subjects: list[str]
    retention_days: int
    duplicate_window_seconds: int = 120


CATALOG_STREAM = Stream(name="CATALOG", subjects=["agora.evt.*.catalog.>"], retention_days=14)
RUNS_STREAM = Stream(name="RUNS", subjects=["agora.evt.*.execution.>"], retention_days=14)
USAGE_STREAM = Stream(name="USAGE", subjects=["agora.evt.*.usage.>"], retention_days=14)
METERING_STREAM = Stream(name="METERING", subjects=["agora.evt.*.metering.>"], retention_days=14)
BILLING_STREAM = Stream(name="BILLING", subjects=["agora.evt.*.billing.>"], retention_days=14)

STREAMS: dict[str, Stream] = {
    stream.name: stream
    for stream in (CATALOG_STREAM, RUNS_STREAM, USAGE_STREAM, METERING_STREAM, BILLING_STREAM)
}


def event_subject(tenant: str, path: str) -> str:
    """The subject of an event: `event_subject("ten_1", "execution.run.finished")`.

    Raises:
        ValueError: the tenant cannot stand in a subject.
    """
    if not _TOKEN.fullmatch(tenant):
        raise ValueError(f"tenant {tenant!r} cannot stand in a subject")
    return f"agora.evt.{tenant}.{path}"


def tenant_of(subject: str) -> str:
    """The tenant that a subject of an event or of a live message belongs to."""
    return subject.split(".", 3)[2]


def command_subject(service: str, verb: str) -> str:
    """The subject on which `service` answers `verb`: `agora.cmd.billing.place_hold`."""
    return f"agora.cmd.{service}.{verb}"


def live_subject(tenant: str, run: str) -> str:
    """Core NATS subject of a run's live-only messages (progress, tokens); nothing is stored."""
    return f"agora.live.{tenant}.{run}"


def durable_name(service: str, purpose: str) -> str:
    """The name of a durable consumer: `metering-usage`."""
    return f"{service}-{purpose}"
