"""The engineer audits configuration files."""

from functools import partial

import agora
from agora.blackboard import Finding

from agora_swarm_worker.audit.findings import audit
from agora_swarm_worker.roles.role import Done, in_thread, opened
from agora_swarm_worker.types import Input, Unread


async def work(given: Input, context: agora.Context) -> Done:
    """Findings of all files, by file and line."""
    unread: list[Unread] = []
    findings: list[Finding] = []
    files = await opened(given, context, unread)
    for number, one in enumerate(files):
        _, found = await in_thread(partial(audit, one.path, one.item.id, one.source, one.name))
        findings.extend(found)
        context.progress(one.name, (number + 1) / len(files))
    return Done(
        role="engineer",
        summary=f"{len(findings)} findings in {len(files)} files",
        findings=findings,
        items_done=len(files),
        asked=len(given.items),
        unread=unread,
    )
