"""Schedules: runs that start by themselves."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from agora.client.transport import new_key, segment
from agora.client.types import Page, PublicMoney, RunError

if TYPE_CHECKING:
    from agora.client.transport import Transport


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule: active, paused (`paused_for` says why) or ended. `failures` are those in a row until now."""

    id: str
    state: str
    package: str
    input: dict[str, Any]
    time_zone: str
    overlap: str
    failures_max: int
    created_at: datetime
    name: str = ""
    version: str | None = None
    deployment: str | None = None
    cron: str | None = None
    at: datetime | None = None
    max_cost: PublicMoney | None = None
    failures: int = 0
    next_times: list[datetime] = []
    paused_for: RunError | None = None
    last_fired_at: datetime | None = None


class Fire(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a schedule's time: a `run`, or the `reason` why there is none."""

    id: str
    scheduled_for: datetime
    at: datetime
    state: str
    manual: bool = False
    run: str | None = None
    reason: RunError | None = None


class Schedules:
    """`client.schedules`."""

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    async def create(
        self,
        target: str,
        input: Mapping[str, Any],
        *,
        cron: str | None = None,
        at: datetime | None = None,
        time_zone: str = "UTC",
        overlap: str = "skip",
        failures_max: int = 5,
        max_cost: PublicMoney | None = None,
        version: str | None = None,
        name: str = "",
        idempotency_key: str | None = None,
    ) -> Schedule:
        """Start runs of a package, or on a rental (`dep_…`), at the times of `cron` or once `at`.

        Args:
            target: a package's id, or a deployment's.
            input: each run's input.
            cron: minute, hour, day of the month, month, day of the week; all of them must fit.
            at: a moment with its time zone.
            time_zone: in which `cron` is read, such as Europe/Berlin.
            overlap: skip, buffer_one or allow: what happens while the run before goes on.
            failures_max: after so many failures in a row it pauses itself.
            max_cost: the hard budget of each run.
        """
        body: dict[str, Any] = {
            "input": input,
            "cron": cron,
            "at": at,
            "time_zone": time_zone,
            "overlap": overlap,
            "failures_max": failures_max,
            "max_cost": max_cost,
            "name": name,
        }
        body |= (
            {"deployment": target} if target.startswith("dep_") else {"package": target, "version": version}
        )
        headers = {"Idempotency-Key": idempotency_key or new_key()}
        return await self._transport.call(Schedule, "POST", "/schedules", body=body, headers=headers)

    async def list(
        self, *, state: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Schedule]:
        """A page of schedules, newest first."""
        query = {"state": state, "cursor": cursor, "limit": limit}
        return await self._transport.call(Page[Schedule], "GET", "/schedules", query=query)

    async def get(self, schedule: str) -> Schedule:
        """One schedule with its next times."""
        return await self._transport.call(Schedule, "GET", f"/schedules/{segment(schedule)}")

    async def change(self, schedule: str, **changes: Any) -> Schedule:
        """Change what is given (name, input, cron, at, time_zone, overlap, failures_max, max_cost, version) from now on.

        None for `max_cost` takes the hard budget away, for `version` has the newest one run.
        """
        return await self._transport.call(Schedule, "PATCH", f"/schedules/{segment(schedule)}", body=changes)

    async def pause(self, schedule: str, reason: str = "") -> Schedule:
        """Let it start nothing until it is resumed."""
        return await self._transport.call(
            Schedule, "POST", f"/schedules/{segment(schedule)}/pause", body={"reason": reason}
        )

    async def resume(self, schedule: str) -> Schedule:
        """Let it go on from its next time."""
        return await self._transport.call(Schedule, "POST", f"/schedules/{segment(schedule)}/resume")

    async def trigger(self, schedule: str, *, idempotency_key: str | None = None) -> Fire:
        """Start a run now, once per key."""
        headers = {"Idempotency-Key": idempotency_key or new_key()}
        return await self._transport.call(
            Fire, "POST", f"/schedules/{segment(schedule)}/trigger", headers=headers
        )

    async def fires(self, schedule: str, *, cursor: str | None = None, limit: int = 50) -> Page[Fire]:
        """A page of what came of its times, newest first."""
        query = {"cursor": cursor, "limit": limit}
        return await self._transport.call(
            Page[Fire], "GET", f"/schedules/{segment(schedule)}/fires", query=query
        )

    async def delete(self, schedule: str) -> Schedule:
        """Delete it; runs that it has started go on."""
        return await self._transport.call(Schedule, "DELETE", f"/schedules/{segment(schedule)}")
