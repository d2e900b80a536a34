"""The researcher takes stock: which files there are, of which format, how large, readable or not, and which are twice."""

import hashlib
from functools import partial

import agora
from agora.blackboard import Evidence, Finding

from agora_swarm_worker.audit.documents import Document
from agora_swarm_worker.audit.reading import read_file
from agora_swarm_worker.roles.role import Done, OpenedItem, in_thread, opened
from agora_swarm_worker.types import Input, Unread


async def work(given: Input, context: agora.Context) -> Done:
    """One finding for each file that could be opened."""
    unread: list[Unread] = []
    findings = []
    files = await opened(given, context, unread)
    for number, one in enumerate(files):
        findings.append(await in_thread(partial(_stock, one)))
        context.progress(one.name, (number + 1) / len(files))
    return Done(
        role="researcher",
        summary=f"{len(findings)} of {len(given.items)} files looked at",
        findings=findings,
        items_done=len(findings),
        asked=len(given.items),
        unread=unread,
        counts=_formats(findings),
    )


def _stock(one: OpenedItem) -> Finding:
    document = read_file(one.path, one.name)
    size = one.path.stat().st_size
    digest = hashlib.sha256()
    with one.path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    faults = sorted({fault.code for fault in document.faults})
    return Finding(
        id=f"{one.item.id}:inventory",
        claim=f"{one.name}: {document.format}, {size} bytes, {_lines(document)}",
        about=one.name,
        evidence=[Evidence(source=one.source, place="whole file")],
        data={
            "item": one.item.id,
            "format": document.format,
            "bytes": size,
            "lines": len(document.lines),
            "sha256": digest.hexdigest(),
            "faults": faults,
            "readable": not {"unreadable", "too_large", "empty"} & set(faults),
        },
    )


def _lines(document: Document) -> str:
    return "not readable as text" if not document.lines else f"{len(document.lines)} lines"


def _formats(findings: list[Finding]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for finding in findings:
        name = str(finding.data["format"])
        counts[name] = counts.get(name, 0) + 1
    return counts
