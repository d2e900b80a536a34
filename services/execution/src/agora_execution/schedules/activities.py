"""What the workflow of a schedule's time does to the world: it tells execution."""

from typing import Any

from agora_contracts.problems import AgoraError
from agora_contracts.schedules import Fire, FireSchedule
from agora_kit.broker import Broker
from temporalio import activity

from agora_execution.schedules.workflows import TimeTask


class ScheduleActivities:
    """The activities of schedules, on the worker's connection."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    @property
    def all(self) -> list[Any]:
        """Every activity, to be registered with a worker."""
        return [self.fire_schedule]

    @activity.defn
    async def fire_schedule(self, task: TimeTask) -> str:
        """Have what is due started, once. Returns what came of it; `gone` when there is no such schedule any more."""
        command = FireSchedule(schedule=task.schedule, tenant=task.tenant, scheduled_for=task.scheduled_for)
        try:
            fire: Fire = await self._broker.ask(command)
        except AgoraError as error:
            if error.problem.status < 500 and error.slug != "too_many_requests":
                # Deleted, paused or ended a moment ago.
                return "gone" if error.slug == "not_found" else error.slug
            raise
        return fire.state
