"""Usage while parts die: runs recorded by execution's own code, usage reported from outside, corrections, refunds.

Everything is asked for again, under the same ids, until it is answered: what was recorded is then known.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
from agora_contracts.billing import PlaceHold, Quantity
from agora_contracts.envelope import utc_now
from agora_contracts.ids import derived
from agora_contracts.meters import CreateMeter, GetMeter
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.refunds import RefundRun
from agora_contracts.runs import EstimateRun
from agora_contracts.usage import ReplayRunUsage
from agora_contracts.usage_ingest import REPORTED_TYPE, CorrectUsage, IngestUsage
from agora_execution.runs.model import Ending, NewRun, StepResult, UsageItem, step_id, usage_id
from agora_execution.runs.recording import Recorder
from agora_kit.broker import Broker
from agora_kit.database import Database, is_transient

from tests.support.tenancy import Customer
from tests.support.waiting import until

REPORTED_METER = "api.calls"
DISTINCT_METER = "api.callers"
RUN_SOURCE = "agora/execution"
PACKAGE, VERSION, METER = "echo", "1.1.0", "tasks"
STEPS, USAGE_OF_A_STEP = 4, 25
_RUNS_AT_ONCE = 8
_REPORT_EVENTS = 200
_PATIENCE_SECONDS = 300.0
_PASSING = frozenset({"unavailable", "deadline_exceeded", "overloaded"})


@dataclass(slots=True, kw_only=True)
class Made:
    """What the load has made for certain: runs, reported events, quantities as corrected, refunded amounts."""

    runs: list[str] = field(default_factory=list)
    run_events: int = 0
    reported: dict[str, Decimal] = field(default_factory=dict)
    corrected: dict[str, Decimal | None] = field(default_factory=dict)
    refunded: dict[str, int] = field(default_factory=dict)
    sent_again: int = 0

    @property
    def events(self) -> int:
        """How many usage events there are."""
        return self.run_events + len(self.reported)


async def persist[Result](
    work: Callable[[], Awaitable[Result]], *, also: frozenset[str] = frozenset()
) -> Result:
    """Do this until it is done, whatever passing failure it meets; `also` are further problems to wait out.

    Raises:
        TimeoutError: it is not done for minutes.
        Exception: what no later try can mend.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return await work()
        except Exception as error:
            passing = isinstance(error, AgoraError) and error.slug in _PASSING | also
            if not passing and not is_transient(error):
                raise
            if time.monotonic() > deadline:
                raise TimeoutError(f"not done within {_PATIENCE_SECONDS:g} s: {error!r}") from error
        await asyncio.sleep(0.2)


class Load:
    """Makes usage events until there are enough, no faster than it is allowed to.

    Args:
        allowed: how many events there may be by now.
    """

    def __init__(
        self,
        broker: Broker,
        database: Database,
        customer: Customer,
        *,
        events: int,
        dice: random.Random,
        allowed: Callable[[], float],
    ) -> None:
        self.made = Made()
        self._broker = broker
        self._recorder = Recorder(database)
        self._customer = customer
        self._events = events
        self._dice = dice
        self._allowed = allowed
        self._next_run = 0
        self._next_report = 0
        self._price_version = ""

    async def prepare(self) -> None:
        """Define what is reported, and learn the price."""
        tenant = self._customer.tenant
        await self._ask(CreateMeter(tenant=tenant, key=REPORTED_METER, unit="call", aggregation="sum"))
        await self._ask(
            CreateMeter(
                tenant=tenant,
                key=DISTINCT_METER,
                unit="caller",
                aggregation="unique_count",
                event=REPORTED_METER,
                value="caller",
            )
        )
        await until(
            lambda: self._ask(GetMeter(tenant=tenant, key=DISTINCT_METER)), lambda one: one.state == "active"
        )
        estimate = await self._ask(EstimateRun(tenant=tenant, package=PACKAGE, input={"text": "price"}))
        self._price_version = estimate.quote.price_version

    async def run(self) -> None:
        """Make everything."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_RUNS_AT_ONCE):
                tasks.create_task(self._runs())
            tasks.create_task(self._reports())

    async def _runs(self) -> None:
        # One in five events is reported from outside.
        while self.made.run_events < self._events * 4 // 5:
            if self.made.events > self._allowed():
                await asyncio.sleep(0.05)
                continue
            number, self._next_run = self._next_run, self._next_run + 1
            await self._one_run(number)

    async def _reports(self) -> None:
        while len(self.made.reported) < self._events // 5:
            if self.made.events > self._allowed():
                await asyncio.sleep(0.05)
                continue
            await self._one_report()

    # --- a run -----------------------------------------------------------------------------------

    async def _one_run(self, number: int) -> None:
        run, tenant = derived("run", self._customer.tenant, f"load {number}"), self._customer.tenant
        steps = [self._step(run, visit) for visit in range(1, STEPS + 1)]
        hold = await self._ask(
            PlaceHold(
                run=run,
                fingerprint=str(number),
                tenant=tenant,
                account=self._customer.account,
                price_version=self._price_version,
                basis="task",
                estimates=[Quantity(meter=METER, quantity=Decimal(STEPS * USAGE_OF_A_STEP))],
            )
        )
        new = NewRun(
            id=run,
            tenant=tenant,
            account=self._customer.account,
            fingerprint=str(number),
            requested_by="",
            input={"text": f"load {number}"},
            package=PACKAGE,
            version=VERSION,
            price_version=self._price_version,
            basis="task",
            quoted=hold.amount.amount,
            currency="USD",
            hold_epoch=hold.epoch,
            timeout_seconds=300,
            model_cost=0,
            accepted_at=utc_now(),
        )
        await persist(lambda: self._recorder.accept(new))
        self.made.runs.append(run)
        await persist(lambda: self._recorder.begin(run, tenant))
        for step in steps:
            record = await persist(lambda step=step: self._recorder.record(step))  # type: ignore[misc]
            if record.state == "ended":
                # In an outage that was long enough, the sweep gave the run to the worker, which has ended it.
                return
            self.made.run_events += len(step.usage)
        ending = Ending(run=run, outcome="succeeded", at=utc_now(), deliverable="full", output={})
        await persist(lambda: self._recorder.end(ending))
        await self._afterwards(number, run, steps)

    def _step(self, run: str, visit: int) -> StepResult:
        step, now = step_id(run, "load", visit, ""), utc_now()
        return StepResult(
            run=run,
            step=step,
            node="load",
            title="Load",
            visit=visit,
            branch="",
            attempt=1,
            started_at=now,
            finished_at=now,
            update=b"{}",
            usage=[
                UsageItem(id=usage_id(step, place, METER), meter=METER, quantity=self._quantity())
                for place in range(USAGE_OF_A_STEP)
            ],
        )

    def _quantity(self) -> Decimal:
        """From nothing to two tasks, with four decimals: so that amounts have to be rounded."""
        return Decimal(self._dice.randrange(20_000)).scaleb(-4)

    async def _afterwards(self, number: int, run: str, steps: list[StepResult]) -> None:
        if number % 10 == 3:
            await self._correct(number, steps[0].usage[0])
        if number % 15 == 7:
            await self._refund(run)
        if number % 20 == 11:
            await self._ask(ReplayRunUsage(run=run))
            self.made.sent_again += STEPS * USAGE_OF_A_STEP

    async def _correct(self, number: int, item: UsageItem) -> None:
        quantity = None if number % 20 == 3 else item.quantity * 3
        await self._ask(
            CorrectUsage(
                tenant=self._customer.tenant,
                source="operator",
                id=f"correction {number}",
                corrects_source=RUN_SOURCE,
                corrects_id=item.id,
                kind="void" if quantity is None else "amend",
                quantity=quantity,
                reason="counted wrongly",
                own_only=False,
            ),
            also=frozenset({"not_found"}),  # not counted yet
        )
        self.made.corrected[item.id] = quantity

    async def _refund(self, run: str) -> None:
        amount = 1 + self._dice.randrange(1000)
        await self._ask(
            RefundRun(run=run, amount=Money(amount=amount), reason="goodwill", reference="load"),
            also=frozenset({"conflict"}),  # not settled yet
        )
        self.made.refunded[run] = amount

    # --- reports ---------------------------------------------------------------------------------

    async def _one_report(self) -> None:
        first, self._next_report = self._next_report, self._next_report + _REPORT_EVENTS
        quantities = {f"call {first + place}": self._quantity() for place in range(_REPORT_EVENTS)}
        now = utc_now()
        report = IngestUsage(
            tenant=self._customer.tenant,
            sender="operator",
            received_at=now,
            events=[
                msgspec.Raw(
                    msgspec.json.encode(
                        {
                            "specversion": "1.0",
                            "id": event,
                            "source": "load",
                            "type": REPORTED_TYPE,
                            "time": now,
                            "data": {
                                "meter": REPORTED_METER,
                                "quantity": str(quantity),
                                "dimensions": {"caller": f"caller {self._dice.randrange(50)}"},
                            },
                        }
                    )
                )
                for event, quantity in quantities.items()
            ],
        )
        answered = await self._ask(report)
        refused = [item for item in answered.items if item.result == "refused"]
        if refused:
            raise AssertionError(f"{len(refused)} reports were refused: {refused[0]}")
        self.made.reported |= quantities
        if self._dice.random() < 0.3:
            await self._ask(report)
            self.made.sent_again += _REPORT_EVENTS

    async def _ask(self, command: msgspec.Struct, *, also: frozenset[str] = frozenset()) -> Any:
        return await persist(lambda: self._broker.ask(command), also=also)
