"""A time of a schedule, as Temporal tells it."""

from datetime import datetime, timedelta

import msgspec
from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey

_SCHEDULED_FOR = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
"""The time that was meant, however late Temporal came to it."""

_TELLING = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=20))


class FireTask(msgspec.Struct, frozen=True, kw_only=True):
    """Whose time has come."""

    schedule: str
    tenant: str


class TimeTask(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule and the time that has come."""

    schedule: str
    tenant: str
    scheduled_for: datetime


@workflow.defn(name="ScheduledFire")
class ScheduledFire:
    """Tell execution that a schedule's time has come; what is done about it is its business."""

    @workflow.run
    async def run(self, task: FireTask) -> str:
        """Returns what came of it, such as `started` or `skipped`."""
        scheduled_for = (
            workflow.info().typed_search_attributes.get(_SCHEDULED_FOR) or workflow.info().start_time
        )
        state: str = await workflow.execute_activity(
            "fire_schedule",
            TimeTask(schedule=task.schedule, tenant=task.tenant, scheduled_for=scheduled_for),
            result_type=str,
            start_to_close_timeout=timedelta(seconds=60),
            retry_policy=_TELLING,
            summary=f"Start what is due at {scheduled_for.isoformat()}",
        )
        return state
