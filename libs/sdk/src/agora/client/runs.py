"""Runs of a customer: list, follow, wait, cancel."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
from agora_contracts.problems import Problem
from agora_contracts.runs import StepList
from httpx_sse import SSEError, aconnect_sse

from agora.client.errors import ApiError, ConnectionFailed
from agora.client.transport import decoded, new_key, problem_of, segment, unreachable
from agora.client.types import Page, PublicMoney, Receipt, RunEvent, RunState, Step

if TYPE_CHECKING:
    from agora.client.transport import Transport

type Steps = list[Step]

LAST_EVENT = "run.charged"
LONG_POLL_SECONDS = 20
CHARGE_SECONDS = 60.0
"""How long `wait` stays after the end of a run for its charge, which normally follows within a second."""

QUIET_SECONDS = 45.0
"""A stream that says nothing for so long is broken: the platform sends a comment every 15 s."""

FAILURES_MAX = 9
"""Connections in a row that may fail, with nothing received, before a stream gives up: some twenty seconds of them, longer
than a gateway needs to come back. What is no stream at all counts twice."""

_PAUSE_SECONDS_MAX = 5.0


class Run:
    """A run that was started, or found again: a handle to ask for its state and to follow it."""

    def __init__(self, runs: "Runs", state: RunState) -> None:
        self._runs = runs
        self.state = state
        """The run as it was when last asked for."""

    @property
    def id(self) -> str:
        """The run's id."""
        return self.state.id

    async def refresh(self) -> RunState:
        """Ask for the run as it is now."""
        self.state = await self._runs.get(self.id)
        return self.state

    async def wait(self, timeout_seconds: float | None = None) -> RunState:
        """Wait until the run has ended and its charge is settled; also through broken connections.

        A run that has ended badly is an answer, not an error: look at `.status` and `.error`. Should its
        charge not follow within a minute of the end, the run is given with `cost` None.

        Raises:
            TimeoutError: `timeout_seconds` have passed. The run goes on.
            ApiError: the platform refused the question.
            ConnectionFailed: the platform is not to be reached any more.
        """
        self.state = await self._runs.wait(self.id, timeout_seconds)
        return self.state

    def events(self, after: int = 0) -> AsyncIterator[RunEvent]:
        """Follow the run; see `Runs.events`."""
        return self._runs.events(self.id, after)

    async def steps(self) -> list[Step]:
        """The steps taken so far, in order."""
        return await self._runs.steps(self.id)

    async def receipt(self) -> Receipt:
        """What was quoted, held and charged."""
        return await self._runs.receipt(self.id)

    async def cancel(self) -> RunState:
        """Ask the run to stop."""
        self.state = await self._runs.cancel(self.id)
        return self.state

    async def pause(self) -> RunState:
        """Let the run rest after the step at hand."""
        self.state = await self._runs.pause(self.id)
        return self.state

    async def resume(self) -> RunState:
        """Let a paused run go on."""
        self.state = await self._runs.resume(self.id)
        return self.state


class Runs:
    """`client.runs`."""

    def __init__(self, transport: "Transport") -> None:
        self._transport = transport

    async def list(
        self,
        *,
        status: str | None = None,
        package: str | None = None,
        deployment: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[RunState]:
        """A page of runs, newest first."""
        query = {
            "status": status, "package": package, "deployment": deployment, "cursor": cursor, "limit": limit,
        }  # fmt: skip
        return await self._transport.call(Page[RunState], "GET", "/runs", query=query)

    async def get(self, run: str, *, wait_seconds: int = 0) -> RunState:
        """One run; with `wait_seconds` (at most 60) the answer is held back until it is ended and charged."""
        headers = {"Prefer": f"wait={wait_seconds}"} if wait_seconds else {}
        return await self._transport.call(
            RunState, "GET", f"/runs/{segment(run)}", headers=headers, read_seconds=30.0 + wait_seconds
        )

    def handle(self, state: RunState) -> Run:
        """A handle to a run."""
        return Run(self, state)

    async def steps(self, run: str) -> Steps:
        """All steps a run has taken so far, in order, however many pages they are."""
        steps: Steps = []
        cursor: str | None = None
        while True:
            query = {"cursor": cursor, "limit": 200}
            page = await self._transport.call(StepList, "GET", f"/runs/{segment(run)}/steps", query=query)
            steps += page.items
            cursor = page.next_cursor
            if cursor is None:
                return steps

    async def receipt(self, run: str) -> Receipt:
        """What was quoted, held and charged for a run."""
        return await self._transport.call(Receipt, "GET", f"/runs/{segment(run)}/receipt")

    async def cancel(self, run: str) -> RunState:
        """Ask a run to stop.

        Raises:
            ApiError: `run_ended`, it has ended already.
        """
        return await self._transport.call(RunState, "POST", f"/runs/{segment(run)}/cancel")

    async def pause(self, run: str) -> RunState:
        """Let a run, and those that it called, rest after the step at hand.

        Raises:
            ApiError: `run_ended`, it has ended already.
        """
        return await self._transport.call(RunState, "POST", f"/runs/{segment(run)}/pause")

    async def resume(self, run: str) -> RunState:
        """Let a paused run go on.

        Raises:
            ApiError: `run_ended`, it has ended already.
        """
        return await self._transport.call(RunState, "POST", f"/runs/{segment(run)}/resume")

    async def retry(self, run: str, *, idempotency_key: str | None = None) -> Run:
        """Try a run again that failed, timed out or was cancelled: a new run that goes on where it had got to.

        Raises:
            ApiError: `conflict`, it did not end badly; or what speaks against any run.
        """
        return await self._rerun(run, "retry", None, idempotency_key)

    async def fork(
        self,
        run: str,
        before: str,
        *,
        max_cost: PublicMoney | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """Start a new run that takes another one's steps over up to the step `before`, which it takes anew.

        Raises:
            ApiError: `not_found`, there is no such run or step; or what speaks against any run.
        """
        body: dict[str, Any] = {"before": before}
        if max_cost is not None:
            body["max_cost"] = max_cost
        return await self._rerun(run, "fork", body, idempotency_key)

    async def _rerun(
        self, run: str, how: str, body: dict[str, Any] | None, idempotency_key: str | None
    ) -> Run:
        state = await self._transport.call(
            RunState,
            "POST",
            f"/runs/{segment(run)}/{how}",
            body=body,
            headers={"Idempotency-Key": idempotency_key or new_key()},
        )
        return self.handle(state)

    async def wait(self, run: str, timeout_seconds: float | None = None) -> RunState:
        """Wait until a run has ended and is charged; see `Run.wait`."""
        async with asyncio.timeout(timeout_seconds):
            try:
                async for event in self.events(run):
                    if event.type in ("run.finished", LAST_EVENT):
                        break
            except ConnectionFailed:
                # A proxy may not let streams through; asking again and again always works.
                pass
            return await self._poll(run)

    async def _poll(self, run: str) -> RunState:
        ended_at: float | None = None
        while True:
            state = await self.get(run, wait_seconds=LONG_POLL_SECONDS)
            now = asyncio.get_running_loop().time()
            if state.ended:
                ended_at = now if ended_at is None else ended_at
                if state.cost is not None or now - ended_at >= CHARGE_SECONDS:
                    return state
            # A platform that does not hold the answer back must not be asked in a tight loop.
            await asyncio.sleep(0.2)

    async def events(self, run: str, after: int = 0) -> AsyncIterator[RunEvent]:
        """A run's events from its journal, each once and in order, and live ones between them.

        `agora.client.text.Texts` puts a run's texts together from them. A broken connection is made again from the last
        event received. The stream ends after `run.charged`.

        Args:
            run: Its id.
            after: Skip events up to this number.

        Raises:
            ApiError: the platform refused, such as for an unknown run.
            ConnectionFailed: it could not be reached several times in a row.
        """
        failures = 0
        while True:
            try:
                async for event in self._stream(run, after):
                    failures = 0
                    if event.seq is not None:
                        if event.seq <= after:
                            continue
                        after = event.seq
                    yield event
                    if event.type == LAST_EVENT:
                        return
                fault: Exception = ConnectionError("the stream ended before the run did")
            except (httpx.TransportError, SSEError) as error:
                fault = error
            failures += 2 if isinstance(fault, SSEError) else 1
            if failures >= FAILURES_MAX:
                raise unreachable(self._transport.http, fault) from fault
            await asyncio.sleep(min(0.1 * 2**failures, _PAUSE_SECONDS_MAX))

    async def _stream(self, run: str, after: int) -> AsyncIterator[RunEvent]:
        headers = {"Last-Event-ID": str(after)} if after else {}
        timeout = httpx.Timeout(10.0, read=QUIET_SECONDS)
        async with aconnect_sse(
            self._transport.http, "GET", f"/runs/{segment(run)}/events", headers=headers, timeout=timeout
        ) as source:
            if not source.response.is_success:
                await source.response.aread()
                raise _refused(source.response)
            async for message in source.aiter_sse():
                if message.data:
                    yield _event(message.event, message.id, message.data)


def _refused(response: httpx.Response) -> Exception:
    problem = problem_of(response)
    # These pass: the stream is asked for again.
    busy = problem.status in (429, 502, 503, 504)
    return httpx.TransportError(str(problem)) if busy else problem


def _refusal(data: str) -> ApiError:
    try:
        return ApiError(decoded(data, Problem))
    except msgspec.DecodeError as error:
        raise SSEError(f"A problem cannot be read: {error}") from error


def _event(kind: str, event_id: str, data: str) -> RunEvent:
    try:
        value = decoded(data, dict[str, Any])
    except msgspec.DecodeError as error:
        raise SSEError(f"An event is not JSON: {error}") from error
    if kind == "problem":
        # The platform ends the stream, and says why: the key was revoked, for one.
        raise _refusal(data)
    # httpx-sse repeats the last id on events that have none. Live ones are told by their type, which has no dot.
    seq = int(event_id) if event_id.isdecimal() and "." in kind else None
    return RunEvent(type=kind, data=value, seq=seq)
