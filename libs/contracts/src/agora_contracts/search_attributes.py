"""What operators find workflows by in Temporal: search attributes, which its server must know before a run starts.

The development server gets them when it starts; `python -m agora_execution.temporal` tells any other server.
"""

from collections.abc import Mapping

TENANT = "AgoraTenant"
PACKAGE = "AgoraPackage"
STATUS = "AgoraStatus"
"""What the run does, in the words of its API: `running`, `waiting_approval` and the like, or how it ended."""

COST_MICROS = "AgoraCostMicros"
"""What the run has cost so far, in micro-units of its account's currency; brought up to date where a run waits."""

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
