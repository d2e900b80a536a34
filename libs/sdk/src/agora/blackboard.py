"""The blackboard of a run and of all the runs it calls: findings that others of them can read, with where they are from.

What many agents find together would not fit into a graph's state, nor belongs into a workflow's history. A step posts
findings under a topic, and later steps, also of other runs under the same root run, read them. Alone it is memory; on
the platform, rows of the tenant.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
from agora_contracts.swarms import Evidence, Finding, Severity

from agora.errors import InputRejected

__all__ = [
    "Blackboard",
    "Evidence",
    "Finding",
    "LocalBlackboard",
    "Posted",
    "Severity",
    "by_id",
    "check_post",
    "full",
]

POST_MAX = 20_000
"""The most findings of one post."""

FINDING_BYTES_MAX = 16_384
"""The largest finding, as JSON."""

ROOT_MAX = 60_000
"""The most findings of all the runs under a root run; as many again of the root run itself."""


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """A finding on the blackboard: which run and which step of it posted it, under which topic."""

    run: str
    step: str
    topic: str
    finding: Finding


class Blackboard(Protocol):
    """The blackboard of the root run that a step belongs to."""

    async def post(self, topic: str, findings: Sequence[Finding]) -> None:
        """Post findings. What the same step has posted under this topic before is replaced: an attempt after a lost
        one leaves nothing of that behind.

        Raises:
            InputRejected: `blackboard_full`, `finding_too_large` or `invalid_topic`.
        """
        ...

    async def read(self, topic: str, *, runs: Sequence[str] | None = None) -> list[Posted]:
        """All findings under a topic, of these runs or of all; those of one post stand together, in its order."""
        ...


class LocalBlackboard:
    """The blackboard of a root run alone, in memory; the runs under it get the same by `of`."""

    def __init__(
        self, run: str = "", step: str = "", kept: dict[tuple[str, str, str], list[Finding]] | None = None
    ) -> None:
        self._run = run
        self._step = step
        self._kept: dict[tuple[str, str, str], list[Finding]] = {} if kept is None else kept

    def of(self, run: str, step: str) -> "LocalBlackboard":
        """The same blackboard for another step."""
        return LocalBlackboard(run, step, self._kept)

    async def post(self, topic: str, findings: Sequence[Finding]) -> None:
        """Post findings; see `Blackboard.post`."""
        check_post(topic, findings)
        key = (topic, self._run, self._step)
        others = sum(len(found) for place, found in self._kept.items() if place != key)
        if others + len(findings) > ROOT_MAX:
            raise full()
        self._kept[key] = list(findings)

    async def read(self, topic: str, *, runs: Sequence[str] | None = None) -> list[Posted]:
        """All findings under a topic; see `Blackboard.read`."""
        wanted = None if runs is None else set(runs)
        return [
            Posted(run=run, step=step, topic=topic, finding=finding)
            for (posted, run, step), findings in sorted(self._kept.items())
            if posted == topic and (wanted is None or run in wanted)
            for finding in findings
        ]


def check_post(topic: str, findings: Sequence[Finding]) -> None:
    """Raises: InputRejected, when a post is larger than a blackboard takes at once, or its topic is none."""
    if not 1 <= len(topic) <= 100:
        raise InputRejected("invalid_topic", "A topic has from 1 to 100 characters.", topic[:100])
    if len(findings) > POST_MAX:
        detail = f"A step may post {POST_MAX} findings at once, not {len(findings)}."
        raise InputRejected("blackboard_full", detail, topic)
    for finding in findings:
        if len(msgspec.json.encode(finding)) > FINDING_BYTES_MAX:
            detail = f"A finding may have {FINDING_BYTES_MAX} bytes."
            raise InputRejected("finding_too_large", detail, finding.id)


def full() -> InputRejected:
    """What is raised when a root run's blackboard takes no more."""
    return InputRejected("blackboard_full", f"The runs that a run calls may keep {ROOT_MAX} findings.")


def by_id(posted: Sequence[Posted]) -> Mapping[str, Posted]:
    """Findings by their id; of two with one id, the first."""
    found: dict[str, Posted] = {}
    for one in posted:
        found.setdefault(one.finding.id, one)
    return found
