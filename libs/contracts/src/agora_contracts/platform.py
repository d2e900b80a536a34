"""Messages that every service answers: health and dead letters."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class GetHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Ask a process whether it and what it depends on can work."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """`ready` only when every dependency answers; `checks` says which does not and why."""

    service: str
    status: Literal["ready", "starting", "degraded", "draining"]
    checks: dict[str, str] = {}


class ListDeadLetters(msgspec.Struct, frozen=True, kw_only=True):
    """Operator: messages that a service refused, newest first."""

    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A refused message: where it came from, why it was refused, and its bytes as text."""

    id: int
    subject: str
    reason: str
    message_id: str
    payload: str
    received_at: datetime
    replayed_at: datetime | None = None


class DeadLetterPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of dead letters."""

    items: list[DeadLetter]
    next_cursor: str | None = None


class ReplayDeadLetters(msgspec.Struct, frozen=True, kw_only=True):
    """Operator: hand refused messages to their consumer again; empty `ids` means all not yet replayed."""

    ids: list[int] = []


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """How many were accepted this time, and which were refused again."""

    accepted: int
    refused: list[int] = []
