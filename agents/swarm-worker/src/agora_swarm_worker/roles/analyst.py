"""The analyst weighs what researchers found: what can be left out and why, and how much work each item is."""

from collections import defaultdict

import agora
from agora.blackboard import Evidence, Finding, Posted

from agora_swarm_worker.roles.role import Done, posted
from agora_swarm_worker.types import Input


async def work(given: Input, context: agora.Context) -> Done:
    """One finding for each item: `work` with its weight, or `skip` with the reason."""
    inventory = await posted(given, context, "inventory")
    findings = assess(inventory)
    skipped = sum(finding.data["decision"] == "skip" for finding in findings)
    return Done(
        role="analyst",
        summary=f"{len(findings) - skipped} items are worth the work, {skipped} are not",
        findings=findings,
        items_done=len(given.items),
        asked=len(given.items),
        counts={"work": len(findings) - skipped, "skip": skipped},
    )


def assess(inventory: list[Posted]) -> list[Finding]:
    """What to do with each item. Of files with the same bytes only the first is worked on."""
    first: dict[str, str] = {}
    copies: defaultdict[str, list[str]] = defaultdict(list)
    findings = []
    for one in sorted(inventory, key=lambda each: str(each.finding.data["item"])):
        data = one.finding.data
        item, digest = str(data["item"]), str(data["sha256"])
        reason = ""
        same = ""
        if not data["readable"]:
            reason = f"{one.finding.about}: {', '.join(data['faults'])}"
        elif digest in first:
            same = first[digest]
            copies[same].append(item)
            reason = f"{one.finding.about} has the same bytes as {same}"
        else:
            first[digest] = item
        findings.append(
            Finding(
                id=f"{item}:assessment",
                claim=reason or f"{one.finding.about} is worth the work",
                about=one.finding.about,
                evidence=[Evidence(source=one.run, place=one.finding.id, quote=one.finding.claim[:300])],
                data={
                    "item": item,
                    "decision": "skip" if reason else "work",
                    "same_as": same,
                    # A line takes about as long as any other; a file costs something by itself.
                    "weight": 20 + int(data["lines"]),
                },
            )
        )
    return findings
