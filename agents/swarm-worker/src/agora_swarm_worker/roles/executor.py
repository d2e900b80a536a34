"""The executor tries remedies on a copy of each file, and delivers those that work as a diff. It changes no file."""

from collections import defaultdict
from functools import partial

import agora
from agora.blackboard import Evidence, Finding

from agora_swarm_worker.audit.findings import audit
from agora_swarm_worker.audit.fixes import try_fixes
from agora_swarm_worker.roles.role import Done, OpenedItem, in_thread, opened, posted
from agora_swarm_worker.types import Input, Unread

DIFF_MAX = 12_000


async def work(given: Input, context: agora.Context) -> Done:
    """One finding for each file in which a remedy works: what it solves, and the diff."""
    unread: list[Unread] = []
    files = await opened(given, context, unread)
    confirmed: defaultdict[str, list[Finding]] = defaultdict(list)
    for one in await posted(given, context, "finding"):
        confirmed[str(one.finding.data.get("item", ""))].append(one.finding)
    findings = []
    for number, file in enumerate(files):
        remedy = await in_thread(partial(_remedy, file, confirmed.get(file.item.id, [])))
        if remedy is not None:
            findings.append(remedy)
        context.progress(file.name, (number + 1) / len(files))
    solved = sum(len(finding.data["solves"]) for finding in findings)
    return Done(
        role="executor",
        summary=f"{solved} findings are solved by changes in {len(findings)} files, tried on copies",
        findings=findings,
        items_done=len(files),
        asked=len(given.items),
        unread=unread,
        counts={"solved": solved},
    )


def _remedy(file: OpenedItem, findings: list[Finding]) -> Finding | None:
    document, found = audit(file.path, file.item.id, file.source, file.name)
    # Alone there is no blackboard to read from: the executor then works on what it finds itself.
    fixed = try_fixes(document, findings or found)
    if not fixed.solved or len(fixed.diff) > DIFF_MAX:
        return None
    return Finding(
        id=f"{file.item.id}:remedy",
        claim=f"{len(fixed.solved)} findings in {file.name} are gone after this change, and no new one came",
        about=file.name,
        evidence=[Evidence(source=file.source, place="whole file")],
        data={"item": file.item.id, "solves": fixed.solved, "diff": fixed.diff},
    )
