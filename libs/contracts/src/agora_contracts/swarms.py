"""Findings that a run and the runs it calls post on their blackboard, as agents write them and as customers read them."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Severity = Literal["critical", "high", "medium", "low", "info"]


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a statement stands: a file or a run as `source`, the `place` in it, and the words there."""

    source: Annotated[str, Meta(max_length=500)]
    place: Annotated[str, Meta(max_length=200)] = ""
    quote: Annotated[str, Meta(max_length=2_000)] = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One statement and what it rests on.

    `id` is unique within its topic, and the same whoever finds it, so that a step that is tried again finds the same
    ones. `about` names the item it is about, `rule` what it breaks; `data` is for whoever knows the topic.
    """

    id: Annotated[str, Meta(min_length=1, max_length=200)]
    claim: Annotated[str, Meta(max_length=2_000)]
    about: Annotated[str, Meta(max_length=500)] = ""
    rule: Annotated[str, Meta(max_length=100)] = ""
    severity: Severity = "info"
    remedy: Annotated[str, Meta(max_length=1_000)] = ""
    evidence: Annotated[list[Evidence], Meta(max_length=50)] = []
    data: dict[str, Any] = {}


class ListFindings(msgspec.Struct, frozen=True, kw_only=True):
    """List what stands on a run's blackboard under a topic, in the order in which it came to be shown.

    Of the runs that it called only those that succeeded are shown, from their end on. With `newest` only the last post of a step counts:
    what replaces what stood there before, as a plan does.
    """

    run: str
    tenant: str
    topic: Annotated[str, Meta(min_length=1, max_length=100)] = "finding"
    newest: bool = False
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class PostedFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A finding, and which run and step of it posted it when."""

    run: str
    step: str
    topic: str
    at: datetime
    finding: Finding


class FindingPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of findings; `total` counts all that the query has."""

    items: list[PostedFinding]
    total: int
    next_cursor: str | None = None
