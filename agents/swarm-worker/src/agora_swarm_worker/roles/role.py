"""What the roles have in common: the shape of their work, and how they read files and the blackboard."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import agora
from agora.blackboard import Finding, Posted

from agora_swarm_worker.types import Input, Item, Unread


@dataclass(slots=True, kw_only=True)
class Done:
    """What a role brought."""

    summary: str
    findings: list[Finding]
    items_done: int
    asked: int
    role: str
    unread: list[Unread] = field(default_factory=list)
    counts: dict[str, int] | None = None

    def output(self, findings: Sequence[Finding]) -> dict[str, Any]:
        """The fields of the worker's output. A worker that could do none of its items has delivered nothing."""
        partial = self.items_done < self.asked
        empty = partial and self.items_done == 0
        counts = Counter(finding.severity for finding in self.findings)
        return {
            "deliverable": "empty" if empty else "partial" if partial else "full",
            "delivered_units": self.items_done if partial else None,
            "role": self.role,
            "summary": self.summary,
            "findings": list(findings),
            "found": len(self.findings),
            "counts": dict(counts) if self.counts is None else self.counts,
            "items_done": self.items_done,
            "unread": self.unread,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleDefinition:
    """A role: the topic that it posts under, and its work."""

    topic: str
    work: Callable[[Input, agora.Context], Awaitable[Done]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedItem:
    """An item whose file is here."""

    item: Item
    path: Path
    name: str
    source: str


async def opened(given: Input, context: agora.Context, unread: list[Unread]) -> list[OpenedItem]:
    """The items whose files can be read; the others go to `unread` with the reason."""
    found = []
    for item in given.items:
        if item.file is None:
            unread.append(Unread(item=item.id, code="no_file", detail="the item names no file"))
            continue
        try:
            path = await context.files.open(item.file)
            name = item.name or (await context.files.info(item.file)).name
        except agora.InputRejected as error:
            unread.append(Unread(item=item.id, code=error.code, detail=error.detail))
            continue
        found.append(OpenedItem(item=item, path=path, name=name, source=item.name or item.file))
    return found


async def posted(given: Input, context: agora.Context, topic: str) -> list[Posted]:
    """What stands on the blackboard under a topic, of the runs that the input names."""
    return await context.blackboard.read(topic, runs=given.runs)


async def in_thread[Result](work: Callable[[], Result]) -> Result:
    """Parsing is work for the processor: other runs of this worker go on meanwhile."""
    return await asyncio.to_thread(work)
