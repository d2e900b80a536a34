"""What route modules share: parameters, dependencies, ids, and how a route is documented."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Any, Self

import msgspec
from agora_contracts.ids import is_id, is_slug
from agora_contracts.problems import PROBLEMS, TYPE_PREFIX, AgoraError, Problem
from litestar.datastructures import ResponseHeader
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import BodyKwarg, HeaderParameter, PathParameter, QueryParameter

from agora_gateway.edge.problems import MEDIA_TYPE

LIMIT_MAX = 200

Cursor = Annotated[
    str | None, QueryParameter(name="cursor", description="`next_cursor` of the page before, unchanged.")
]
Limit = Annotated[
    int, QueryParameter(name="limit", ge=1, le=LIMIT_MAX, description="The most items of a page.")
]
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="Makes a retry safe: the same key with the same body gets the same thing, never two.",
    ),
]
Prefer = Annotated[
    str | None,
    HeaderParameter(
        name="Prefer", description="`wait=N` holds the answer back until the run has ended, at most 60 s."
    ),
]

PackageId = Annotated[str, PathParameter(description="The package's slug.", examples=[Example(value="echo")])]
VersionId = Annotated[
    str, PathParameter(description="A package's version.", examples=[Example(value="1.0.0")])
]


def _id(prefix: str, noun: str) -> PathParameter:
    shown = Example(value=f"{prefix}_0190a5b07c3a7d4e8f00112233445566")
    return PathParameter(description=f"The {noun}'s id.", examples=[shown])


RunId = Annotated[str, _id("run", "run")]
DeploymentId = Annotated[str, _id("dep", "deployment")]
FileId = Annotated[str, _id("file", "file")]
KeyId = Annotated[str, _id("key", "API key")]
TenantId = Annotated[str, _id("ten", "tenant")]
BudgetId = Annotated[str, _id("bud", "budget")]
RefusedId = Annotated[str, _id("ref", "refused event")]
ApprovalId = Annotated[str, _id("apr", "approval")]
ExportId = Annotated[str, _id("exp", "export")]
ConversationId = Annotated[str, _id("conv", "conversation")]
MemoryId = Annotated[str, _id("mem", "entry of memory")]
ScheduleId = Annotated[str, _id("sch", "schedule")]

TENANT_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"key": []}]
OPERATOR_SECURITY: list[dict[str, list[str]]] = [{"operator": []}]

_ALWAYS = ("unauthenticated", "forbidden", "unavailable")


def existing(prefix: str, given: str) -> str:
    """An id from a path, or `not_found` when no such id can exist."""
    if not is_id(prefix, given):
        raise AgoraError("not_found", f"there is no {_NOUNS[prefix]} {given[:80]!r}")
    return given


def existing_package(given: str) -> str:
    """A package's slug from a path, or `not_found` when no such package can exist."""
    if not is_slug(given):
        raise AgoraError("not_found", f"there is no package {given[:80]!r}")
    return given


_NOUNS = {
    "run": "run",
    "dep": "deployment",
    "file": "file",
    "key": "API key",
    "ten": "tenant",
    "bud": "budget",
    "ref": "refused event",
    "exp": "export",
    "apr": "approval",
    "conv": "conversation",
    "mem": "entry of memory",
    "sch": "schedule",
}


class _Answer(ResponseSpec):
    """What a route answers. Nobody changes it: Litestar copies routers with all they hold, which is most of a start."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def body(example: msgspec.Struct, description: str | None = None) -> BodyKwarg:
    """Document a request body by an example of its type."""
    shown = _shown(example)
    return BodyKwarg(description=description, examples=[shown])


def answers(
    example: msgspec.Struct, *problems: str, status: int | Sequence[int] = 200, description: str = ""
) -> dict[int, ResponseSpec]:
    """Document what a route answers: an example of its result, and the problems it may report."""
    kind = type(example)
    statuses = [status] if isinstance(status, int) else status
    told = description or (kind.__doc__ or "").strip().split("\n")[0]
    shown = _shown(example)
    specs = {
        number: _Answer(kind, generate_examples=False, description=told, examples=[shown])
        for number in statuses
    }
    return specs | refusals(*problems)


def content(
    kind: type, media_type: str, description: str, example: str, *problems: str
) -> dict[int, ResponseSpec]:
    """Document a route that answers something other than JSON."""
    shown = Example(summary="Example", value=example)
    spec = _Answer(
        kind, generate_examples=False, description=description, media_type=media_type, examples=[shown]
    )
    return {200: spec} | refusals(*problems)


def _shown(example: msgspec.Struct) -> Example:
    # The struct itself: of a dict Litestar would leave out every null.
    return Example(summary="Example", value=example)


def refusals(*problems: str) -> dict[int, ResponseSpec]:
    """Document the problems that a route may report, besides those that every route may."""
    by_status: dict[int, list[str]] = defaultdict(list)
    for slug in dict.fromkeys((*problems, *_ALWAYS)):
        by_status[PROBLEMS[slug].status].append(slug)
    return {status: _refusal(status, slugs) for status, slugs in sorted(by_status.items())}


def _refusal(status: int, slugs: list[str]) -> ResponseSpec:
    examples = [
        Example(
            summary=slug,
            value=Problem(
                type=TYPE_PREFIX + slug,
                title=PROBLEMS[slug].title,
                status=status,
                detail=f"what happened here and what to change ({slug})",
            ),
        )
        for slug in slugs
    ]
    return _Answer(
        Problem,
        generate_examples=False,
        description="; ".join(f"`{slug}`: {PROBLEMS[slug].title}" for slug in slugs),
        media_type=MEDIA_TYPE,
        examples=examples,
    )


def header(name: str, description: str) -> ResponseHeader:
    """Document a response header that a route sets itself."""
    return ResponseHeader(name=name, description=description, documentation_only=True)
