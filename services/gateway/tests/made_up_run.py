"""A run as a test of streams makes it up: its journal at execution's place, and its events as a reader gets them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import msgspec
from agora_contracts import runs
from agora_contracts.billing import Quantity
from agora_contracts.catalogue import EVENTS
from agora_contracts.envelope import Envelope
from agora_contracts.live import TextDelta, TextSnapshot
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_contracts.runs import ListRunEvents, RunEvent, RunEventList
from agora_contracts.subjects import LIVE_ASKS, event_subject, live_subject
from agora_gateway.app import Gateway
from nats.aio.msg import Msg

from .conftest import Customer, Others, until

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
RUN = f"run_{'a' * 32}"
HALF = Money(amount=500_000)


class Journal:
    """A run's journal at execution's place: what is written is also published, unless it gets lost."""

    def __init__(self, others: Others, tenant: str) -> None:
        self._others = others
        self._tenant = tenant
        self.entries: list[tuple[msgspec.Struct, str]] = []
        self.page_max = 500

    async def read(self, query: ListRunEvents) -> RunEventList:
        if query.run != RUN or query.tenant != self._tenant:
            raise AgoraError("not_found", "there is no such run")
        found = [
            RunEvent(seq=seq, type=kind, time=AT, data=msgspec.to_builtins(fact))
            for seq, (fact, kind) in enumerate(self.entries, start=1)
            if seq > query.after
        ]
        shown = found[: min(query.limit, self.page_max)]
        more = len(shown) < len(found)
        complete = bool(self.entries) and self.entries[-1][1] == "run.charged" and not more
        return RunEventList(items=shown, complete=complete, more=more)

    async def write(self, fact: msgspec.Struct, *, lose: bool = False) -> None:
        spec = EVENTS[type(fact)]
        self.entries.append((fact, spec.path.removeprefix("execution.")))
        if lose:
            return
        envelope = Envelope(
            id=f"evt_{len(self.entries)}",
            source="agora/execution",
            type=spec.type,
            subject=RUN,
            time=AT,
            tenant=self._tenant,
            data=fact,
        )
        await self._others.publish(event_subject(self._tenant, spec.path), envelope)

    async def write_all(self, *, lose: bool = False) -> None:
        for fact in (accepted(), started(2), step(3), finished(4), charged(5)):
            await self.write(fact, lose=lose)


def accepted() -> runs.RunAccepted:
    return runs.RunAccepted(
        run=RUN,
        account="acc_1",
        package="echo",
        version="1.0.0",
        price_version="price_1",
        basis="task",
        hold_epoch=1,
        quoted=HALF,
    )


def started(seq: int) -> runs.RunStarted:
    return runs.RunStarted(run=RUN, seq=seq)


def step(seq: int) -> runs.StepRecorded:
    usage = [Quantity(meter="tasks", quantity=Decimal("1.5"))]
    return runs.StepRecorded(
        run=RUN, step=f"echo:{seq}", seq=seq, node="echo", title="Echo", visit=1, branch="", usage=usage
    )


def finished(seq: int) -> runs.RunFinished:
    return runs.RunFinished(
        run=RUN,
        outcome="succeeded",
        deliverable="full",
        usage_count=1,
        at=AT,
        package="echo",
        version="1.0.0",
        seq=seq,
    )


def charged(seq: int) -> runs.RunCharged:
    return runs.RunCharged(run=RUN, seq=seq, revision=1, amount=HALF, lines=[])


async def journal_of(customer: Customer, others: Others) -> Journal:
    """The journal of the customer's run, empty."""
    made = Journal(others, customer.id)
    await others.answer((ListRunEvents, made.read))
    return made


class Writer:
    """A worker that writes one text of the run, and answers who asks for it."""

    def __init__(self, others: Others, tenant: str) -> None:
        self._others = others
        self._subject = live_subject(tenant, RUN)
        self.text = ""
        self.take = 1
        self.asked = 0

    async def listen(self) -> None:
        """Answer from now on."""
        await self._others.client.subscribe(LIVE_ASKS, cb=self._answer)
        await self._others.flush()

    async def write(self, text: str, *, lose: bool = False) -> None:
        """Write on; `lose` keeps the message from everybody."""
        delta = TextDelta(
            run=RUN, step="s", node="n", stream="answer", take=self.take, offset=len(self.text), text=text
        )
        self.text += text
        if not lose:
            await self._others.publish(self._subject, delta)

    def again(self) -> None:
        """Begin anew, as another attempt does."""
        self.take += 1
        self.text = ""

    async def _answer(self, _: Msg) -> None:
        self.asked += 1
        if not self.text:
            return
        snapshot = TextSnapshot(
            run=RUN, step="s", node="n", stream="answer", take=self.take, offset=0, text=self.text
        )
        await self._others.publish(self._subject, snapshot)


async def read_events(response: httpx.Response) -> AsyncIterator[dict[str, str]]:
    """The events of a stream as they arrive."""
    event: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif event:
            yield event
            event = {}


async def until_followed(gateway: Gateway, feeds: int = 1) -> None:
    """Wait until so many streams are open, and NATS knows of it."""
    await until(lambda: gateway.feeds.count >= feeds)
    await gateway.broker.round_trip()
