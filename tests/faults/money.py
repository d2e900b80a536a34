"""Money under kill -9: usage events by the thousand while what meters, bills and carries them dies at random.

Metering, billing, execution (whose relay publishes), NATS and PostgreSQL are killed; PostgreSQL is stopped at once;
JetStream loses everything it has stored in mid-run and is filled again from the outboxes. Afterwards nothing is lost,
nothing counts twice, and the ledger is what exact arithmetic makes of what was recorded. Limits are off.
"""

import asyncio
import random
import signal
import time
from collections.abc import Callable

import agora_echo
import msgspec
from agora_kit.broker import Broker
from agora_kit.database import Database
from agora_local.parts import PartFailed
from agora_local.platform import Platform

from tests.faults.command import Say, SeededPlan, Verdict, carry_out, plan_of
from tests.faults.money_account import Accounts, books_agree, examine, reconciled
from tests.faults.money_load import Load, Made
from tests.support.tenancy import Customer, new_customer, operator, publish, until_executable

KILLED = ("metering", "billing", "execution", "nats", "postgres")
_CREDIT = 1_000_000_000_000
_START_TRIES = 5


class Plan(SeededPlan, frozen=True, kw_only=True):
    """How much of everything. Faults come `seconds_between` apart, drawn from this range.

    `ahead` is how far the share of events that were made may be before the share of faults that were done, and the
    other way round: faults wait for a platform that is slow to come up, which would otherwise see most of them idle.
    """

    events: int
    kills: int
    postgres_stops: int
    stream_losses: int
    seconds_between: tuple[float, float]
    recovery_seconds: float
    ahead: float


FULL = Plan(
    events=100_000,
    kills=200,
    postgres_stops=50,
    stream_losses=3,
    seconds_between=(0.2, 2.5),
    recovery_seconds=300,
    ahead=0.02,
)
SHORT = Plan(
    events=2_000,
    kills=6,
    postgres_stops=2,
    stream_losses=1,
    seconds_between=(0.2, 1.0),
    recovery_seconds=120,
    ahead=0.2,
)


class Outcome(msgspec.Struct, kw_only=True):
    """What was done and what was found."""

    accounts: Accounts
    made: Made
    kills: int
    postgres_stops: int
    stream_losses: int
    seconds: float
    recovery_seconds: float


class _Faults:
    """The faults of a plan in a random order, and how many of them were done."""

    def __init__(self, platform: Platform, plan: Plan, dice: random.Random, say: Say) -> None:
        self._platform = platform
        self._plan = plan
        self._dice = dice
        self._say = say
        self.done = {"kill": 0, "stop": 0, "lose": 0}
        self._deeds = ["kill"] * plan.kills + ["stop"] * plan.postgres_stops
        dice.shuffle(self._deeds)
        for loss in range(plan.stream_losses):
            # In mid-run: neither before there is anything to lose nor after everything was consumed.
            self._deeds.insert(len(self._deeds) * (loss + 1) // (plan.stream_losses + 1), "lose")

    @property
    def progress(self) -> float:
        """The share that is done."""
        return sum(self.done.values()) / len(self._deeds)

    async def run(self, share_made: Callable[[], float]) -> None:
        """Do all of them, among living usage: no faster than `share_made`, of the events there are to be, allows."""
        for deed in self._deeds:
            await asyncio.sleep(self._dice.uniform(*self._plan.seconds_between))
            while self.progress > share_made() + self._plan.ahead:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            name = "postgres" if deed == "stop" else "nats" if deed == "lose" else self._dice.choice(KILLED)
            self._say(f"{deed} {name} ({sum(self.done.values()) + 1} of {len(self._deeds)})")
            await asyncio.to_thread(self._do, deed, name)
            self.done[deed] += 1

    def _do(self, deed: str, name: str) -> None:
        try:
            if deed == "lose":
                self._platform.lose_streams()
            else:
                self._platform.kill_and_start(name, signal.SIGQUIT if deed == "stop" else signal.SIGKILL)
        except PartFailed as error:
            self._start(name, error)

    def _start(self, name: str, error: PartFailed) -> None:
        for _ in range(_START_TRIES):
            self._say(f"{name} did not start, once more: {str(error).splitlines()[0]}")
            try:
                self._platform.start_one(name)
                return
            except PartFailed as again:
                error = again
        raise error


async def run(platform: Platform, plan: Plan, say: Say) -> Outcome:
    """Do the whole plan on a running platform.

    Raises:
        TimeoutError: something was not answered for minutes.
    """
    started = time.monotonic()
    dice = random.Random(plan.seed)
    customer = await _customer(platform)
    urls = platform.database_urls("execution")
    database = Database(urls.app, urls.system, pool_size=5)
    broker = Broker(platform.nats_url(), "operator")
    await broker.start()
    faults = _Faults(platform, plan, dice, say)
    load = Load(
        broker,
        database,
        customer,
        events=plan.events,
        dice=random.Random(plan.seed + 1),
        # With the faults, so that they fall among living usage to the last.
        allowed=lambda: plan.events * (faults.progress + plan.ahead),
    )
    try:
        await load.prepare()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load.run())
            tasks.create_task(faults.run(lambda: load.made.events / plan.events))
            telling = tasks.create_task(_tell(load, say))
            tasks.create_task(_end_with(telling, load, faults, plan))
        say(f"faults are over; {load.made.events} events were recorded, waiting for what they come to")
        recovering = time.monotonic()
        await asyncio.to_thread(platform.wait_ready, 90)
        accounts = await _accounts(platform, broker, customer, load.made, plan.recovery_seconds, say)
        accounts.differences += await books_agree(platform)
    finally:
        await broker.stop()
        await database.close()
    return Outcome(
        accounts=accounts,
        made=load.made,
        kills=faults.done["kill"],
        postgres_stops=faults.done["stop"],
        stream_losses=faults.done["lose"],
        seconds=round(time.monotonic() - started, 1),
        recovery_seconds=round(time.monotonic() - recovering, 1),
    )


async def _customer(platform: Platform) -> Customer:
    async with operator(platform) as staff:
        await publish(staff, agora_echo.agent)
        customer = await new_customer(staff, platform.api_url, credit=f"{_CREDIT // 1_000_000}.000000")
    async with customer.client() as client:
        await until_executable(client, "echo", {"text": "ready?"})
    return customer


async def _tell(load: Load, say: Say) -> None:
    while True:
        await asyncio.sleep(10)
        say(f"{load.made.events} events, {len(load.made.runs)} runs")


async def _end_with(telling: asyncio.Task[None], load: Load, faults: _Faults, plan: Plan) -> None:
    while faults.progress < 1 or load.made.events < plan.events:  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    telling.cancel()


async def _accounts(
    platform: Platform,
    broker: Broker,
    customer: Customer,
    made: Made,
    seconds: float,
    say: Say,
) -> Accounts:
    """Look until nothing differs, for as long as the plan allows."""
    deadline = time.monotonic() + seconds
    while True:
        found = await examine(platform, broker, customer, made, _CREDIT)
        if found.clean:
            # Beside our own comparison the platform's: it also looks into outbox, stream, holds and what runs were told.
            found.differences += await reconciled(broker, customer)
        if found.clean or time.monotonic() > deadline:
            return found
        say(
            f"{found.lost} events are not counted, {found.unfinished} runs not settled, "
            f"{len(found.differences)} differences"
        )
        await asyncio.sleep(1)


def main(arguments: list[str]) -> int:
    """Run the fault test of money. Returns the exit code."""
    plan = plan_of(arguments, full=FULL, short=SHORT)

    async def work(platform: Platform, say: Say) -> Verdict:
        outcome = await run(platform, plan, say)
        found = outcome.accounts
        return Verdict(
            passed=found.clean and found.events >= plan.events,
            differences=found.differences,
            figures={
                "events": found.events,
                "kills": outcome.kills,
                "postgres_stops": outcome.postgres_stops,
                "stream_rebuilds": outcome.stream_losses,
                "lost": found.lost,
                "doubled": found.doubled,
                "ledger_difference": found.ledger_difference,
                "differences": len(found.differences),
                "runs": found.runs,
                "unsettled": found.unfinished,
                "charged": found.charged,
                "corrections": len(outcome.made.corrected),
                "refunds": len(outcome.made.refunded),
                "sent_again": outcome.made.sent_again,
                "recovery_seconds": outcome.recovery_seconds,
                "seconds": outcome.seconds,
            },
        )

    return carry_out("money", plan, work)
