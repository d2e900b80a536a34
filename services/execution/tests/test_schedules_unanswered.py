"""The clock of schedules where Temporal leaves questions without an answer, as it does to one in hundreds."""

from datetime import timedelta
from typing import Any

import pytest
from agora_contracts.problems import AgoraError
from agora_execution.schedules import store
from agora_execution.schedules.model import Timing
from agora_execution.schedules.timing import Clock
from temporalio.client import (
    Client,
    DescribeScheduleInput,
    Interceptor,
    OutboundInterceptor,
    ScheduleDescription,
    UpdateScheduleInput,
)
from temporalio.service import RPCError, RPCStatusCode

from .driving import Platform
from .test_schedules import DUE, make


class Unanswered(Interceptor):
    """Leaves the next questions about schedules without an answer; the SDK's timeout says so at once."""

    def __init__(self) -> None:
        self.questions = 0
        self.waits: list[timedelta | None] = []
        self.asked: set[str] = set()

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """Stand between the client and Temporal."""
        return _Losing(self, next)

    def ask(self, schedule: str, timeout: timedelta | None) -> None:
        """Lose a question while there are some to lose.

        Raises:
            RPCError: what the SDK raises at its own timeout.
        """
        self.asked.add(schedule)
        self.waits.append(timeout)
        if self.questions:
            self.questions -= 1
            raise RPCError("Timeout expired", RPCStatusCode.CANCELLED, b"")


class _Losing(OutboundInterceptor):
    def __init__(self, losing: Unanswered, next: OutboundInterceptor) -> None:
        super().__init__(next)
        self._losing = losing

    async def describe_schedule(self, input: DescribeScheduleInput) -> ScheduleDescription:
        self._losing.ask(input.id, input.rpc_timeout)
        return await super().describe_schedule(input)

    async def update_schedule(self, input: UpdateScheduleInput) -> None:
        self._losing.ask(input.id, input.rpc_timeout)
        await super().update_schedule(input)


def losing(platform: Platform) -> tuple[Unanswered, Clock]:
    """A clock whose questions can be lost on their way to the tests' Temporal."""
    unanswered = Unanswered()
    configured: Any = platform.client.config() | {"interceptors": [unanswered]}
    return unanswered, Clock(Client(**configured), platform.settings.task_queues)


async def test_times_are_told_though_an_answer_never_came(echo_listed: Platform) -> None:
    """
    A question without an answer is put again, and waits longer for it than before.
    """
    unanswered, clock = losing(echo_listed)
    unanswered.questions = 2
    found = await clock.next_times(Timing(cron="0 9 1 1 *", at=None, time_zone="UTC"))

    assert 10 == len(found)
    assert 3 == len(unanswered.waits)
    assert sorted(set(unanswered.waits), key=str) == unanswered.waits


async def test_a_schedule_is_changed_though_an_answer_never_came(echo_listed: Platform) -> None:
    """
    What Temporal may have done already is told again: the revision keeps it from being done twice.
    """
    unanswered, clock = losing(echo_listed)
    made = await make(echo_listed)
    async with echo_listed.database.system() as connection:
        await store.set_state(connection, made.id, "paused")
        row = await store.read(connection, made.id)
    assert row is not None
    unanswered.questions = 1
    await clock.tell(row)
    stands, _ = await clock.stands(row)

    assert stands
    described = await echo_listed.client.get_schedule_handle(made.id).describe()
    assert described.schedule.state.paused
    assert f"revision {row.revision}" == described.schedule.state.note


async def test_a_clock_that_never_answers_is_refused_and_leaves_nothing(echo_listed: Platform) -> None:
    """
    Somebody who asks for times is told to try again, and what was made on Temporal for the question is gone.
    """
    unanswered, clock = losing(echo_listed)
    unanswered.questions = 100
    with pytest.raises(AgoraError, match="does not answer") as refused:
        await clock.next_times(Timing(cron=None, at=DUE, time_zone="UTC"))

    assert "unavailable" == refused.value.slug
    (preview,) = unanswered.asked
    with pytest.raises(RPCError, match=r"not found|completed"):
        await echo_listed.client.get_schedule_handle(preview).describe()


async def test_a_sweep_goes_on_though_an_answer_never_came(echo_listed: Platform) -> None:
    """
    Whether Temporal has what a row says is asked again; nothing is told anew for a lost answer.
    """
    unanswered, clock = losing(echo_listed)
    made = await make(echo_listed)
    async with echo_listed.database.system() as connection:
        row = await store.read(connection, made.id)
    assert row is not None
    unanswered.questions = 1
    stands, next_times = await clock.stands(row)

    assert stands
    assert made.next_times == next_times
