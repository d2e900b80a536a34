"""Examples of what stands on a run's blackboard."""

import msgspec

from agora_contracts import swarms
from agora_contracts.examples import story

_FINDING = swarms.Finding(
    id="f7:K8S001:14:9f86d0",
    claim="A privileged container: privileged: the container can do all that the node's root can",
    about="deploy/web.yaml",
    rule="K8S001",
    severity="critical",
    remedy="Remove `privileged: true`; add the single capability that is needed.",
    evidence=[swarms.Evidence(source="deploy/web.yaml", place="line 14", quote="privileged: true")],
    data={"item": "f7", "line": 14},
)

EXAMPLES: tuple[msgspec.Struct, ...] = (
    swarms.ListFindings(
        run=story.RUN, tenant=story.TENANT, topic="finding", newest=True, cursor="WzE0XQ", limit=50
    ),
    swarms.FindingPage(
        items=[
            swarms.PostedFinding(
                run=story.RUN,
                step=f"{story.RUN}/work/1",
                topic="finding",
                at=story.FINISHED_AT,
                finding=_FINDING,
            )
        ],
        total=112,
        next_cursor="WzE1XQ",
    ),
)
