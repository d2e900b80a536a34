"""Memory: a step's writes count when the step does; each agent has its own, and customers read and delete it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from agora import Agent
from agora.memory import StepMemory
from agora_contracts.envelope import utc_now
from agora_contracts.memory import DeleteMemory, GetMemory, ListMemory
from agora_contracts.problems import AgoraError
from agora_execution.knowledge import handlers
from agora_execution.knowledge.service import Knowledge
from agora_execution.knowledge.vectors import VectorStore
from agora_execution.memory import store
from agora_execution.memory.model import StepWrite, collection
from agora_execution.memory.port import TenantMemory
from agora_execution.memory.service import Memories
from agora_execution.runs.model import Ending, StepResult
from agora_kit.broker import Broker
from msgspec.structs import replace

from .asking import OTHER_TENANT, TENANT, new_id
from .conftest import Workers
from .driving import Platform
from .test_recovery import accepted, step_result


class Vectors:
    """The vectors process' answers in this process, which can be away."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self.store = VectorStore(folder)
        self.knowledge = Knowledge(self.store)
        self.broker: Broker | None = None

    async def start(self) -> None:
        """Answer."""
        self.broker = Broker(self._url, "vectors")
        handlers.register(self.broker, self.knowledge)
        await self.broker.start()

    async def stop(self) -> None:
        """Be away."""
        if self.broker is not None:
            await self.broker.stop()
            self.broker = None

    def held(self, tenant: str, package: str) -> int:
        """How many texts of an agent's memory are in the vectors."""
        return self.store.count(tenant, collection(package))


@pytest.fixture
async def vectors(nats_url: str, tmp_path: Path) -> AsyncIterator[Vectors]:
    """The vectors, answering."""
    running = Vectors(nats_url, tmp_path / "vectors")
    await running.start()
    yield running
    await running.stop()
    await running.knowledge.close()


@pytest.fixture
async def companions(probe: Agent, service_alone: Platform, workers: Workers, vectors: Vectors) -> Platform:
    """Execution with a worker and vectors, which knows two agents that remember."""
    await service_alone.list_package("companion")
    await service_alone.list_package("gossip")
    await workers.start()
    return service_alone


async def told(platform: Platform, text: str, do: str, **other: Any) -> str:
    """What the agent answers when it is told to do something."""
    package = other.pop("package", "companion")
    tenant = other.pop("tenant", TENANT)
    started = await platform.start({"text": text, "do": do, **other}, package=package, tenant=tenant)

    async def over() -> Any:
        found = await platform.get(started.id, tenant)
        return found if found.finished_at else None

    ended = await platform.until(over)
    assert "succeeded" == ended.status, ended.error
    return str(ended.output["answer"])


def memories(platform: Platform, retention_days: int = 365) -> Memories:
    """The use cases of memory, as the service has them."""
    return Memories(platform.database, platform.service.broker, retention_days=retention_days)


async def kept(platform: Platform, tenant: str = TENANT, **query: Any) -> list[Any]:
    """What agents keep for a tenant."""
    found: list[Any] = (await platform.ask(ListMemory(tenant=tenant, **query))).items
    return found


async def test_what_one_run_keeps_the_next_one_finds(companions: Platform) -> None:
    """
    A value is seen by the step that sets it at once, and by later runs of the same agent for the same tenant.
    """
    assert '["one"]' == await told(companions, "one", "note")
    assert '["one","two"]' == await told(companions, "two", "note")
    assert '["one","two"]' == await told(companions, "", "notes")

    [entry] = await kept(companions)
    assert ("companion", "value", "note", ["one", "two"]) == (
        entry.package,
        entry.kind,
        entry.key,
        entry.value,
    )
    assert "None" == await told(companions, "", "forget")
    assert [] == await kept(companions)


async def test_an_attempt_that_fails_keeps_nothing(companions: Platform) -> None:
    """
    The second attempt sees what the first one saw, and only its own writes are kept, once.
    """
    await told(companions, "before", "note")
    said = await told(companions, "", "note_then_fail")

    assert "attempt 2 saw ['before']" == said
    by_kind = {entry.kind: entry for entry in await kept(companions)}
    assert ["before", "attempt 2"] == by_kind["value"].value
    assert "attempt 2 saw ['before']" == by_kind["text"].text


async def test_a_step_recorded_twice_keeps_the_first_ones_writes(service_alone: Platform) -> None:
    """
    The attempt that comes second, and one that comes after the run's end, keep nothing: what counts is the step.
    """

    def wrote(value: str, visit: int = 1, attempt: int = 1) -> StepResult:
        return replace(
            step_result(run, visit, attempt),
            memory=[
                StepWrite(size_bytes=10, key="note", value=value),
                StepWrite(size_bytes=5, id=f"mem_{visit}_{attempt}", text=value),
            ],
        )

    run = new_id("run")
    recorder = service_alone.recorder
    await recorder.accept(accepted(run, package="companion"))
    await recorder.begin(run, TENANT)
    first = await recorder.record(wrote('"first"'))
    second = await recorder.record(wrote('"second"', attempt=2))
    await recorder.end(Ending(run=run, outcome="cancelled", at=utc_now()))
    late = await recorder.record(wrote('"late"', visit=2))

    assert ["recorded", "known", "ended"] == [one.state for one in (first, second, late)]
    assert {("companion", "first", None), ("companion", None, '"first"')} == {
        (entry.package, entry.value, entry.text) for entry in await kept(service_alone)
    }


async def test_steps_recorded_together_may_write_the_same_key(service_alone: Platform) -> None:
    """
    Of many runs whose steps are recorded at once, one value stands; nothing is refused or waits for ever.
    """
    recorder, runs = service_alone.recorder, [new_id("run") for _ in range(20)]

    async def write(number: int, run: str) -> str:
        await recorder.accept(accepted(run, package="companion"))
        await recorder.begin(run, TENANT)
        result = step_result(run)
        written = [
            StepWrite(size_bytes=5, key="note", value=str(number)),
            StepWrite(size_bytes=0, key="gone"),
        ]
        return (await recorder.record(replace(result, memory=written))).state

    states = await asyncio.gather(*(write(number, run) for number, run in enumerate(runs)))

    assert {"recorded"} == set(states)
    [entry] = await kept(service_alone)
    assert ("note", True) == (entry.key, entry.value in range(20))


async def test_many_steps_of_a_run_write_one_after_the_other(companions: Platform) -> None:
    """
    Each step of a run finds what the steps before it have kept.
    """
    await told(companions, "again", "note", steps=4)

    assert [["again"] * 4] == [entry.value for entry in await kept(companions)]


async def test_texts_are_found_by_meaning(companions: Platform, vectors: Vectors) -> None:
    """
    A text that one run remembers is found by the next one at once, whatever the sweep has done.
    """
    for text in (
        "The customer prefers trains to planes.",
        "Invoices go to the office in Graz.",
        "Anna likes tea.",
    ):
        await told(companions, text, "remember")

    assert (await told(companions, "does the customer go by train?", "recall")).startswith(
        "The customer prefers"
    )
    assert 3 == vectors.held(TENANT, "companion")


async def test_no_agent_and_no_tenant_sees_anothers_memory(companions: Platform, vectors: Vectors) -> None:
    """
    Neither values nor texts cross from one agent to another or from one tenant to another, by any name.
    """
    await told(companions, "The code is 4711.", "remember")
    await told(companions, "mine", "note")
    assert '["theirs"]' == await told(companions, "theirs", "note", tenant=OTHER_TENANT)

    assert "null" == await told(companions, "", "notes", package="gossip")
    assert "" == await told(companions, "what is the code?", "recall", package="gossip")
    assert "" == await told(companions, "what is the code?", "recall", tenant=OTHER_TENANT)
    pried = await companions.run({"text": "code", "do": "pry"}, package="gossip")
    assert ("failed", "agent_error") == (pried.status, pried.error.code)

    [theirs] = await kept(companions, tenant=OTHER_TENANT)
    for command in (GetMemory(entry=theirs.id, tenant=TENANT), DeleteMemory(entry=theirs.id, tenant=TENANT)):
        with pytest.raises(AgoraError) as refused:
            await companions.ask(command)
        assert "not_found" == refused.value.slug
    stranger = TenantMemory(companions.database, companions.service.broker, OTHER_TENANT, "companion")
    assert b'["theirs"]' == await stranger.read("note")


async def test_what_is_deleted_is_found_no_more(companions: Platform, vectors: Vectors) -> None:
    """
    One entry or all of an agent's: at once for the agent, and its vectors go with the next sweep.
    """
    await told(companions, "The customer prefers trains.", "remember")
    await told(companions, "The customer has a dog.", "remember")
    await told(companions, "a note", "note")
    await memories(companions).sweep()
    assert 2 == vectors.held(TENANT, "companion")

    [dog] = [one for one in await kept(companions, kind="text") if "dog" in one.text]
    await companions.ask(DeleteMemory(entry=dog.id, tenant=TENANT))
    assert "The customer prefers trains." == await told(companions, "any pets?", "recall")
    await memories(companions).sweep()
    assert 1 == vectors.held(TENANT, "companion")

    gone = await companions.ask(DeleteMemory(package="companion", tenant=TENANT))
    assert 2 == gone.count
    assert ("", "null") == (await told(companions, "travel", "recall"), await told(companions, "", "notes"))
    await memories(companions).sweep()
    assert (0, []) == (vectors.held(TENANT, "companion"), await companions.rows("SELECT 1 FROM memory"))


async def test_texts_wait_while_the_vectors_are_away(companions: Platform, vectors: Vectors) -> None:
    """
    A step succeeds while the vectors are away; its text is put there once they are back.
    """
    await vectors.stop()
    await told(companions, "Written in the dark.", "remember")
    assert 0 == vectors.held(TENANT, "companion")
    await vectors.start()
    await memories(companions).sweep()

    assert 1 == vectors.held(TENANT, "companion")
    assert "Written in the dark." == await told(companions, "dark", "recall")


async def test_a_text_deleted_while_it_is_handed_over_does_not_stay(
    companions: Platform, vectors: Vectors
) -> None:
    """
    Whoever is putting a text into the vectors is waited for before it is taken out: it cannot come back later.
    """
    await told(companions, "A secret.", "remember")
    async with companions.database.system() as connection:
        [claimed] = await store.claim_unindexed(connection, 10)
    await companions.ask(DeleteMemory(entry=claimed.id, tenant=TENANT))
    async with companions.database.system() as connection:
        assert [] == await store.deleted(connection, 10)
        await store.indexed(connection, [claimed.id])
        assert [claimed.id] == [one.id for one in await store.deleted(connection, 10)]
    [left] = await companions.rows("SELECT text, payload FROM memory")
    assert (None, {}) == (left.text, left.payload)


async def test_memory_is_bounded(companions: Platform) -> None:
    """
    More than an agent may keep, or a value that is too large, ends the run with the reason, and keeps nothing.
    """
    full = await companions.run({"text": "x", "do": "overfill"}, package="companion")
    large = await companions.run({"text": "x", "do": "large"}, package="companion")

    assert [("failed", "memory_full"), ("failed", "agent_error")] == [
        (run.status, run.error.code) for run in (full, large)
    ]
    assert [] == await kept(companions)


async def test_old_memory_is_forgotten(companions: Platform, vectors: Vectors) -> None:
    """
    What has not been written for the time of retention goes, its vectors included.
    """
    await told(companions, "An old text.", "remember")
    await told(companions, "old", "note")
    await memories(companions).sweep()
    await companions.execute("UPDATE memory SET at = now() - interval '40 days'")
    await told(companions, "fresh", "note", key="fresh")
    await memories(companions, retention_days=30).expire()
    await memories(companions).sweep()

    assert (["fresh"], 0) == ([one.key for one in await kept(companions)], vectors.held(TENANT, "companion"))


async def test_entries_come_in_pages(companions: Platform) -> None:
    """
    Every entry comes once, the newest first, and a filter by package or kind holds.
    """
    for number in range(5):
        await told(companions, "x", "note", key=f"key {number}")
    await told(companions, "x", "note", package="gossip")
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await companions.ask(ListMemory(tenant=TENANT, package="companion", cursor=cursor, limit=2))
        found += [entry.key for entry in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert [f"key {number}" for number in (4, 3, 2, 1, 0)] == found
    assert [] == await kept(companions, kind="text")


async def test_one_step_writes_a_key_once_and_reads_what_it_wrote(companions: Platform) -> None:
    """
    Within an attempt the last write of a key stands, and a deleted key is absent, before anything is recorded.
    """
    memory = StepMemory(
        TenantMemory(companions.database, companions.service.broker, TENANT, "companion"), new_id("step")
    )
    await memory.set("a", 1)
    await memory.set("a", {"b": [2]})
    await memory.set("gone", 1)
    await memory.delete("gone")

    assert ({"b": [2]}, "nothing") == (await memory.get("a"), await memory.get("gone", "nothing"))
    assert [("a", b'{"b":[2]}'), ("gone", None)] == [(one.key, one.value) for one in memory.writes]
