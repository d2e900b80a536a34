"""What operators see of a run while it goes on, called from its workflow.

Each change is one more event of the workflow's history and one more write of Temporal's, so it is made where the run
waits or has just done something long, and never on the way of a run of one short step.
"""

from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeUpdate

from agora_execution.runs.describing import COST_MICROS, STATUS


class Shown:
    """What is shown of one run; a part of its workflow's state."""

    def __init__(self) -> None:
        self._status = "running"
        self._cost_micros = 0
        self._cost_known = 0

    @property
    def changed(self) -> bool:
        """Whether anything but the start was shown."""
        return self._status != "running" or self._cost_micros > 0

    def cost(self, micros: int) -> None:
        """Note what the run has cost so far: shown with what is shown next, at the latest with its end."""
        self._cost_known = max(self._cost_known, micros)

    def show(self, *, status: str | None = None, now: str | None = None) -> None:
        """Show what is new; what is shown already costs nothing.

        Args:
            status: `running`, `waiting_approval` and the like, or how the run ended.
            now: A line of Markdown on what it does, seen while it runs.
        """
        updates: list[SearchAttributeUpdate[Any]] = []
        if status is not None and status != self._status:
            self._status = status
            updates.append(STATUS.value_set(status))
        if self._cost_known != self._cost_micros:
            self._cost_micros = self._cost_known
            updates.append(COST_MICROS.value_set(self._cost_known))
        if updates:
            workflow.upsert_search_attributes(updates)
        if now is not None:
            workflow.set_current_details(now)
