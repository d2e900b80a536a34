"""What each process, and each integrator, may do on NATS, computed from the catalogue: least privilege as data.

In the words of the server's configuration (`publish` and `subscribe`, each with `allow`). Whoever is neither a process
of the catalogue nor an integrator, such as the operator, is not limited here.
"""

from agora_contracts.catalogue import (
    COMMANDS,
    EVENTS,
    PROCESSES,
    SHARED_COMMANDS,
    EventSpec,
    shared_subject,
)
from agora_contracts.subjects import INGEST_STREAM, LIVE_ASKS, STREAMS, ingest_subject

type Permissions = dict[str, dict[str, list[str]]]

_INBOXES = "_INBOX.>"
_LIVE = "agora.live.>"
_LIVE_PUBLISHERS = ("worker",)
_WATCHERS = ("gateway",)
"""Processes that watch whole streams over core NATS, for live pages and to forget cached ones; not durably."""

_ASKERS_OF_ALL = ("gateway",)
"""Processes that ask every process for its health and, for operators, its dead letters."""


_INBOUND = {"metering": (INGEST_STREAM.name,)}
"""Who reads what integrators publish."""

_INTEGRATOR = "ingest"


def integrator_user(tenant: str, source: str) -> str:
    """The NATS user of an integrator that reports usage of one tenant: `ingest.ten_1.weather`.

    Raises:
        ValueError: the tenant or the source cannot stand in a subject.
    """
    ingest_subject(tenant, source)
    return f"{_INTEGRATOR}.{tenant}.{source}"


def integrator_inbox(tenant: str, source: str) -> str:
    """The inbox prefix that an integrator's client has to be given: answers of others are none of its business."""
    return f"_INBOX.{integrator_user(tenant, source)}"


def permissions(user: str) -> Permissions | None:
    """The permissions of the NATS user of a process or an integrator; None, which is no limit, for any other."""
    if user.startswith(f"{_INTEGRATOR}."):
        _, tenant, source = user.split(".")
        return {
            "publish": {"allow": [ingest_subject(tenant, source)]},
            "subscribe": {"allow": [f"{integrator_inbox(tenant, source)}.>"]},
        }
    return _process_permissions(user) if user in PROCESSES else None


def _process_permissions(process: str) -> Permissions:
    publish = [
        # Replies go to the asker's inbox.
        _INBOXES,
        *_events_of(process),
        *_requests_of(process),
        *_jetstream_of(process),
    ]
    subscribe = [_INBOXES, f"agora.cmd.{process}.*"]
    if process in _LIVE_PUBLISHERS:
        publish.append(_LIVE)
        subscribe.append(LIVE_ASKS)
    if process in _WATCHERS:
        publish.append(LIVE_ASKS)
        subscribe += [_LIVE, *(subject for stream in _read(process) for subject in STREAMS[stream].subjects)]
    return {"publish": {"allow": publish}, "subscribe": {"allow": subscribe}}


def _subject(spec: EventSpec) -> str:
    return f"agora.evt.*.{spec.path}"


def _events_of(process: str) -> list[str]:
    """Subjects of the events whose outbox this process relays."""
    return sorted(_subject(spec) for spec in EVENTS.values() if spec.producer == process)


def _requests_of(process: str) -> list[str]:
    """Subjects of what this process asks others."""
    asked = {spec.subject for spec in COMMANDS.values() if process in spec.callers}
    if process in _ASKERS_OF_ALL:
        asked |= {shared_subject(request, other) for request in SHARED_COMMANDS for other in PROCESSES}
    return sorted(asked)


def _jetstream_of(process: str) -> list[str]:
    """JetStream's own subjects: making the streams, and reading those that the process consumes."""
    if process == "vectors":
        return []
    allowed = ["$JS.API.INFO"]
    for stream in STREAMS:
        # Every process that has a database makes sure of the streams; deleting and purging is the operator's.
        allowed += [f"$JS.API.STREAM.{verb}.{stream}" for verb in ("INFO", "CREATE", "UPDATE")]
    for stream in _read(process) if process not in _WATCHERS else []:
        allowed += [
            f"$JS.API.CONSUMER.INFO.{stream}.>",
            f"$JS.API.CONSUMER.CREATE.{stream}.>",
            f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.*",
            f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*",
            f"$JS.ACK.{stream}.>",
        ]
    return allowed


def _read(process: str) -> list[str]:
    """The streams that this process consumes."""
    events = {spec.stream.name for spec in EVENTS.values() if process in spec.consumers}
    return sorted(events.union(_INBOUND.get(process, ())))
