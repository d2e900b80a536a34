"""The life of a process: migrate, connect, answer, and drain on SIGTERM."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any

import msgspec
import structlog
from agora_contracts.platform import GetHealth, ListDeadLetters, ReplayDeadLetters, ReplayReport

from agora_kit import dead_letters, failpoints, telemetry
from agora_kit.broker import Broker
from agora_kit.database import Database, is_current, migrate
from agora_kit.dead_letters import Refused
from agora_kit.health import HealthReport
from agora_kit.relay import Relay
from agora_kit.settings import ServiceSettings

log = structlog.get_logger()

_STOP_SECONDS = 10.0
"""How long, beyond twice its time to drain, a process may take to stop."""

type Work = Callable[[], Awaitable[None]]


class Service:
    """Everything a service process holds: database, broker, relay, health and background work.

    Compose it in `app.py`: register answers and consumers on `broker`, sweeps with `every`, further things to
    close with `on_stop`; then `run()`.

    Args:
        name: the process' name (`billing`, `worker`).
        settings: read from the environment.
        package: the service's package, which has the migrations.
        relay: whether this process runs the outbox relay (one process kind per service does).
    """

    def __init__(self, name: str, settings: ServiceSettings, *, package: str, relay: bool = True) -> None:
        telemetry.configure(name, settings.log_level)
        self.name = name
        self.settings = settings
        self.package = package
        self.database = Database(
            settings.database_url, settings.database_system_url, pool_size=settings.database_pool_size
        )
        telemetry.instrument_database(*self.database.engines)
        self.broker = Broker(settings.nats_url, name)
        self.health = HealthReport(name)
        self.health.add("database", self.database.check)
        self.health.add("nats", self.broker.check)
        self._relay = relay
        self._sweeps: list[tuple[str, float, Work]] = []
        self._starts: list[Work] = []
        self._stops: list[Work] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self.broker.answer_shared(GetHealth, self.health.report)
        if relay:
            self.broker.answer_shared(ListDeadLetters, self._list_dead_letters)
            self.broker.answer_shared(ReplayDeadLetters, self._replay_dead_letters)

    def every(self, seconds: float, name: str, work: Work) -> None:
        """Run `work` again and again, `seconds` apart; a failure is logged and the next round goes on."""
        self._sweeps.append((name, seconds, work))

    @property
    def sweeps(self) -> list[str]:
        """The names of what is run again and again."""
        return [name for name, _, _ in self._sweeps]

    def on_start(self, work: Work) -> None:
        """Do this once connected, before the process says ready."""
        self._starts.append(work)

    def on_stop(self, work: Work) -> None:
        """Do this while stopping, before the connections close; in reverse order."""
        self._stops.append(work)

    # --- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Migrate if asked to, connect, answer and consume."""
        await self._migrate()
        await self.broker.start(self.database)
        if self._relay:
            relay = Relay(self.database, self.broker.client)
            self._tasks.append(asyncio.create_task(relay.run(), name="relay"))
            self.every(3600, "expire outbox", relay.expire)
        for work in self._starts:
            await work()
        for name, seconds, work in self._sweeps:
            self._tasks.append(asyncio.create_task(_repeat(name, seconds, work), name=name))
        self.health.status = "ready"
        log.info("ready")

    async def stop(self) -> None:
        """Take nothing new, let what is at hand end, close. What cannot be closed does not keep the rest open."""
        self.health.status = "draining"
        for close in (*reversed(self._stops), self.broker.stop, self._end_tasks, self.database.close):
            try:
                await close()
            except Exception:
                log.exception("a part could not be stopped in order")
        log.info("stopped")

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _stop_in_time(self) -> None:
        """Stop; a process that cannot ends as it stands, which everything durable here is made for."""
        stopping = asyncio.create_task(self.stop())
        seconds = 2 * self.settings.drain_seconds + _STOP_SECONDS
        done, _ = await asyncio.wait({stopping}, timeout=seconds)
        if not done:
            log.error("did not stop in time, ending as it stands", seconds=seconds)
            os._exit(1)
        stopping.result()

    async def run(self) -> None:
        """Start, wait for SIGTERM or SIGINT, stop."""
        failpoints.arm_from_environment()
        asked = end_signals()
        if not await unless(asked, self.start()):
            log.info("asked to end before it was ready")
            await self._stop_in_time()
            return
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._stop_in_time)
            if self.settings.health_port is not None:
                self._tasks.append(asyncio.create_task(_serve_health(self.health, self.settings.health_port)))
            await asked.wait()

    async def _migrate(self) -> None:
        owner = self.settings.database_owner_url
        if owner and self.settings.migrate_on_start and not await is_current(owner, self.package):
            log.info("migrating")
            await asyncio.to_thread(migrate, owner, self.package)

    # --- dead letters ----------------------------------------------------------------------------

    async def _list_dead_letters(self, query: ListDeadLetters) -> Any:
        async with self.database.system() as connection:
            return await dead_letters.page(connection, query)

    async def _replay_dead_letters(self, command: ReplayDeadLetters) -> ReplayReport:
        consumers = {consumer.name: consumer for consumer in self.broker.consumers}
        accepted: list[int] = []
        refused: dict[int, Refused] = {}
        async with self.database.system() as connection:
            for letter, message in await dead_letters.lock_for_replay(connection, command.ids):
                consumer = consumers.get(message.consumer)
                # One whose consumer is gone must not keep the others from theirs.
                reason: str | None = f"there is no consumer {message.consumer} any more"
                if consumer is not None:
                    reason = await consumer.replay(self.database, message)
                if reason is None:
                    accepted.append(letter)
                else:
                    refused[letter] = msgspec.structs.replace(message, reason=reason)
            await dead_letters.mark_replayed(connection, accepted)
            await dead_letters.bury(connection, list(refused.values()))
        return ReplayReport(accepted=len(accepted), refused=list(refused))


def end_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set from now on."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    return asked


async def unless(asked: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work unless the event is set before it is done. Returns whether it was done; raises what it raises."""
    working, asking = asyncio.ensure_future(work), asyncio.ensure_future(asked.wait())
    try:
        await asyncio.wait({working, asking}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        return False
    finally:
        for task in (working, asking):
            task.cancel()
        await asyncio.gather(working, asking, return_exceptions=True)


async def _repeat(name: str, seconds: float, work: Work) -> None:
    failpoints.enter(name)
    while True:
        try:
            await work()
        except Exception as error:
            log.warning("sweep failed, trying again", sweep=name, error=repr(error))
        await asyncio.sleep(seconds)


async def _serve_health(report: HealthReport, port: int) -> None:
    import uvicorn

    config = uvicorn.Config(report.asgi, host="0.0.0.0", port=port, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    with suppress(asyncio.CancelledError):
        await server.serve()


def main(service: Callable[[], Service]) -> None:
    """Run a service as a program: `main(build)` in `__main__.py`."""
    import uvloop

    uvloop.run(_run(service))


async def _run(service: Callable[[], Service]) -> None:
    await service().run()
