"""What operators find workflows by in Temporal: search attributes, which its server must know before a run starts.

The development server gets them when it starts; `python -m agora_execution.temporal` tells any other server.
"""

from collections.abc import Mapping

TENANT = "AgoraTenant"
PACKAGE = "AgoraPackage"
STATUS = "AgoraStatus"
"""What the run does, in the words of its API: `running`, `waiting_approval` and the like, or how it ended."""

COST_MICROS = "AgoraCostMicros"
"""What the run's models have cost so far, in micro-units; brought up to date after each long step, where the run waits,
and at its end. What its other units cost is known when its charge is settled."""

PARENT = "AgoraParent"
"""The run that called this one."""

SEARCH_ATTRIBUTES: Mapping[str, str] = {
    TENANT: "Keyword",
    PACKAGE: "Keyword",
    STATUS: "Keyword",
    COST_MICROS: "Int",
    PARENT: "Keyword",
}
"""Name to Temporal's type."""
