"""Permissions on a real NATS server: each process may do what the catalogue says, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager

import nats
import pytest
from agora_contracts.catalogue import COMMANDS, EVENTS, PROCESSES, SHARED_COMMANDS, shared_subject
from agora_contracts.permissions import integrator_inbox, integrator_user, permissions
from agora_contracts.platform import GetHealth
from agora_contracts.subjects import (
    LIVE_ASKS,
    STREAMS,
    event_subject,
    ingest_subject,
    live_ask_subject,
    live_subject,
)
from agora_kit.relay import ensure_streams
from agora_local.parts import Nats
from agora_local.ports import free_ports
from agora_local.testing import own_folder
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig

DURABLE = {
    "catalog": [],
    "metering": ["CATALOG", "INGEST", "RUNS", "USAGE"],
    "billing": ["CATALOG", "METERING", "RUNS"],
} | {
    "execution": ["BILLING", "CATALOG", "GATEWAY"],
    "worker": [],
    "vectors": [],
    "gateway": [],
}
"""The streams that each process reads durably."""

INTEGRATOR = integrator_user("ten_1", "weather")

_NOBODYS = "nobody.may.say.this"


@pytest.fixture(scope="module")
def server() -> Iterator[Nats]:
    """A NATS server whose users have the catalogue's permissions."""
    with own_folder() as folder:
        port, monitor_port = free_ports(2)
        with Nats(
            folder / "nats", port, monitor_port, permissions=permissions, integrators=[INTEGRATOR]
        ) as running:
            yield running


class User:
    """A connection of one process, and what the server refused it."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.client: Client
        self._last = asyncio.Event()

    async def note(self, error: Exception) -> None:
        """Keep a refusal."""
        if f'"{_NOBODYS}"' in str(error):
            self._last.set()
        else:
            self.refused.append(str(error).lower())

    async def refuses(self, subjects: Iterable[str], publish: bool = True) -> set[str]:
        """Which of these subjects the process may not publish to, or subscribe to."""
        wanted = list(subjects)
        for subject in wanted:
            if publish:
                await self.client.publish(subject, b"")
            else:
                await self.client.subscribe(subject)
        # Refusals come in the order of what they refuse: after this one there is none to wait for.
        self._last = asyncio.Event()
        await self.client.publish(_NOBODYS, b"")
        await asyncio.wait_for(self._last.wait(), 20)
        return {subject for subject in wanted if any(f'"{subject.lower()}"' in one for one in self.refused)}


@pytest.fixture
def user(server: Nats) -> Callable[[str], object]:
    """`async with user("billing") as one:` connects as a process."""

    @asynccontextmanager
    async def connect(process: str, inbox: str = "_INBOX") -> AsyncIterator[User]:
        made = User()
        made.client = await nats.connect(
            server.user_url(process), error_cb=made.note, inbox_prefix=inbox.encode()
        )
        try:
            yield made
        finally:
            await made.client.close()

    return connect


@pytest.mark.parametrize("process", PROCESSES)
async def test_a_process_asks_what_it_is_a_caller_of(user, process: str):
    """
    Of all commands a process may send those that name it as a caller.
    """
    allowed = {spec.subject for spec in COMMANDS.values() if process in spec.callers}
    subjects = {spec.subject for spec in COMMANDS.values()}

    async with user(process) as one:
        assert subjects - allowed == await one.refuses(subjects)


@pytest.mark.parametrize("process", PROCESSES)
async def test_a_process_says_what_it_produces(user, process: str):
    """
    Of all events a process may publish its own, for any tenant.
    """
    own = {event_subject("ten_1", spec.path) for spec in EVENTS.values() if spec.producer == process}
    subjects = {event_subject("ten_1", spec.path) for spec in EVENTS.values()}

    async with user(process) as one:
        assert subjects - own == await one.refuses(subjects)


@pytest.mark.parametrize("process", PROCESSES)
async def test_a_process_answers_its_own_commands(user, process: str):
    """
    Nobody can take requests that are meant for another process.
    """
    subjects = {shared_subject(GetHealth, other) for other in PROCESSES}

    async with user(process) as one:
        refused = await one.refuses(subjects, publish=False)

    assert subjects - {shared_subject(GetHealth, process)} == refused


@pytest.mark.parametrize("process", PROCESSES)
async def test_only_the_gateway_asks_everybody(user, process: str):
    """
    Health and dead letters of every process are asked by the gateway alone.
    """
    subjects = {shared_subject(request, other) for request in SHARED_COMMANDS for other in PROCESSES}

    async with user(process) as one:
        assert (set() if process == "gateway" else subjects) == await one.refuses(subjects)


@pytest.mark.parametrize("process", PROCESSES)
async def test_only_the_gateway_watches(user, process: str):
    """
    Events and live messages of all tenants are seen by the gateway only; the worker says live messages, and hears what
    the gateway asks for.
    """
    watched = {"agora.evt.*.execution.>", "agora.evt.platform.catalog.>", live_subject("ten_1", "run_1")}
    never = {"agora.>", "agora.evt.>", "agora.evt.*.billing.>", ">", "$JS.>"}

    async with user(process) as one:
        refused = await one.refuses(watched | never, publish=False)
        live = await one.refuses([live_subject("ten_1", "run_2")])
        asked = await one.refuses([live_ask_subject("ten_1", "run_2")])
        heard = await one.refuses([LIVE_ASKS], publish=False)

    assert never | (set() if process == "gateway" else watched) == refused
    assert (process == "worker") == (not live) == (not heard)
    assert (process == "gateway") == (not asked)


@pytest.mark.parametrize("process", [process for process in PROCESSES if process != "vectors"])
async def test_a_process_reads_the_streams_that_it_consumes(user, process: str):
    """
    Every process with a database makes sure of the streams; it reads those of its events, and deletes none.
    """
    async with user(process) as one:
        stream = one.client.jetstream(timeout=1)
        await ensure_streams(stream)
        for name in DURABLE[process]:
            durable = f"{process}-test"
            await stream.add_consumer(
                name, ConsumerConfig(durable_name=durable, ack_policy=AckPolicy.EXPLICIT)
            )
            inbox = await one.client.subscribe("_INBOX.test")
            request = b'{"batch":1,"no_wait":true}'
            await one.client.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{name}.{durable}", request, reply=inbox.subject
            )
            assert "404" == ((await inbox.next_msg(5)).headers or {})["Status"]
            await inbox.unsubscribe()
        assert [] == one.refused
        others = set(STREAMS) - set(DURABLE[process])
        wanted = {f"$JS.API.CONSUMER.MSG.NEXT.{name}.any" for name in others}
        wanted |= {f"$JS.API.STREAM.{verb}.{name}" for verb in ("DELETE", "PURGE") for name in STREAMS}
        wanted |= {f"$JS.API.STREAM.MSG.GET.{name}" for name in STREAMS}
        assert wanted == await one.refuses(wanted)


async def test_an_integrator_reports_for_its_tenant_under_its_name_and_does_nothing_else(user):
    """
    It publishes on its own subject, hears that the stream has it, and neither says nor hears anything else: no other
    tenant's usage, no other integrator's, no event, no command, no JetStream, no answer to anybody.
    """
    async with user("metering") as metering:
        await ensure_streams(metering.client.jetstream())
    own = ingest_subject("ten_1", "weather")
    unsaid = {ingest_subject("ten_1", "other"), ingest_subject("ten_2", "weather"), "_INBOX.somebody"}
    unsaid |= {event_subject("ten_1", spec.path) for spec in EVENTS.values()}
    unsaid |= {spec.subject for spec in COMMANDS.values()} | {"$JS.API.INFO", "$JS.API.STREAM.PURGE.INGEST"}
    unheard = {">", "_INBOX.>", "_INBOX.*", own, "agora.>", "$JS.>", live_subject("ten_1", "run_1")}
    unheard.add(f"{integrator_inbox('ten_2', 'weather')}.>")

    async with user(INTEGRATOR, integrator_inbox("ten_1", "weather")) as one:
        stored = await one.client.jetstream(timeout=5).publish(own, b"{}")
        assert ("INGEST", []) == (stored.stream, one.refused)
        assert unsaid == await one.refuses(unsaid)
        assert unheard == await one.refuses(unheard, publish=False)


@pytest.mark.parametrize(
    ("tenant", "source"), [("ten_1", "a.b"), ("*", "weather"), ("ten_1", ">"), ("", "a")]
)
def test_an_integrator_has_a_name_that_fits_into_a_subject(tenant: str, source: str):
    """
    No name can stand for more subjects than one.
    """
    with pytest.raises(ValueError, match="cannot stand in a subject"):
        integrator_user(tenant, source)


def test_a_user_that_is_no_process_is_not_limited():
    """
    People and their tools connect as the operator, whom the catalogue does not know.
    """
    assert permissions("operator") is None
