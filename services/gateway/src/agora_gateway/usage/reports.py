"""CloudEvents out of a request (HTTP protocol binding 1.0.2), as they came, and in pieces that fit into a message."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import msgspec
from agora_contracts.problems import AgoraError
from agora_contracts.usage_ingest import EVENT_BYTES_MAX, EVENTS_MAX

from agora_gateway.edge import bodies

BODY_BYTES_MAX = 2 * 1024 * 1024
ONE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

_PIECE_BYTES = 700_000
_PIECE_EVENTS = 200
"""So many answers fit into a message, too, whatever the events are called."""

_PREFIX = "ce-"
_ATTRIBUTE = re.compile(r"[a-z0-9]{1,20}")


def read(kind: str, headers: Mapping[str, str], raw: bytes) -> list[msgspec.Raw]:
    """The events of a request: one, a batch, or one in binary mode (its attributes as headers, its data as body).

    What an event says is not looked at: each is judged by itself, where it is counted.

    Raises:
        AgoraError: `unsupported_media_type`; `malformed_request` when the body is no JSON; `payload_too_large` for
            too many events, or one that is too large. Nothing of the request is counted then.
    """
    if kind == BATCH:
        events = bodies.decode(raw, list[msgspec.Raw])
    elif kind == ONE:
        events = [bodies.decode(raw, msgspec.Raw)]
    elif f"{_PREFIX}specversion" in headers and _is_json(kind):
        events = [_binary(headers, raw)]
    else:
        raise AgoraError(
            "unsupported_media_type",
            f"send one event as {ONE}, up to {EVENTS_MAX} as {BATCH}, or one as its data with ce-... headers"
            " (JSON); every one needs its Content-Type",
        )
    if len(events) > EVENTS_MAX:
        raise AgoraError(
            "payload_too_large",
            f"a request takes {EVENTS_MAX} events, this one has {len(events)}; send it in parts",
        )
    for place, event in enumerate(events):
        check_size(event, f"event {place}")
    return events


def check_size(event: msgspec.Raw, which: str) -> None:
    """Raise unless an event is small enough to go on.

    Raises:
        AgoraError: `payload_too_large`.
    """
    if len(memoryview(event)) > EVENT_BYTES_MAX:
        raise AgoraError(
            "payload_too_large", f"{which} has more than {EVENT_BYTES_MAX} bytes; make it smaller"
        )


def _is_json(kind: str) -> bool:
    return kind == "application/json" or (
        kind.endswith("+json") and not kind.startswith("application/cloudevents")
    )


def _binary(headers: Mapping[str, str], raw: bytes) -> msgspec.Raw:
    attributes: dict[str, Any] = {
        name: unquote(value, errors="replace")
        for header, value in headers.items()
        if header.startswith(_PREFIX) and _ATTRIBUTE.fullmatch(name := header.removeprefix(_PREFIX))
    }
    attributes.pop("data", None)
    return msgspec.Raw(msgspec.json.encode(attributes | {"data": bodies.decode(raw, msgspec.Raw)}))


def pieces(events: Sequence[msgspec.Raw]) -> Iterator[list[msgspec.Raw]]:
    """The events in order, in as few pieces as fit into messages."""
    piece: list[msgspec.Raw] = []
    size = 0
    for event in events:
        bytes_more = len(memoryview(event)) + 1
        if piece and (size + bytes_more > _PIECE_BYTES or len(piece) == _PIECE_EVENTS):
            yield piece
            piece, size = [], 0
        piece.append(event)
        size += bytes_more
    if piece:
        yield piece
