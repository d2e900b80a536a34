"""Vectors: one process owns them, asked over NATS; every collection belongs to one tenant."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from agora import Agent, Passage
from agora_contracts.knowledge import (
    DropCollection,
    Embeddings,
    EmbedTexts,
    IndexPassages,
    PassageIn,
    SearchPassages,
)
from agora_contracts.problems import AgoraError
from agora_execution.knowledge import handlers
from agora_execution.knowledge.port import TenantKnowledge
from agora_execution.knowledge.service import Knowledge
from agora_execution.knowledge.vectors import VectorStore
from agora_kit.broker import Broker

from .asking import OTHER_TENANT, TENANT
from .driving import Platform

PASSAGES = [
    Passage(id="cat", text="The cat sleeps on the sofa.", payload={"about": "animals"}),
    Passage(id="dog", text="A dog barks at the postman.", payload={"about": "animals"}),
    Passage(id="tax", text="Income tax is due in April.", payload={"about": "money"}),
]


class Vectors:
    """The vectors process' answers, in this process, on a folder that outlives them."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder

    async def start(self) -> None:
        """Open the folder and answer."""
        self.knowledge = Knowledge(VectorStore(self._folder))
        self.broker = Broker(self._url, "vectors")
        handlers.register(self.broker, self.knowledge)
        await self.broker.start()

    async def stop(self) -> None:
        """Stop answering and let the folder go."""
        await self.broker.stop()
        await self.knowledge.close()


@pytest.fixture
async def vectors(nats_url: str, tmp_path: Path) -> AsyncIterator[Vectors]:
    """The vectors, answering."""
    running = Vectors(nats_url, tmp_path / "vectors")
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def asker(nats_url: str) -> AsyncIterator[Broker]:
    """The worker's connection."""
    broker = Broker(nats_url, "worker")
    await broker.start()
    yield broker
    await broker.stop()


async def test_passages_are_found_by_meaning(vectors: Vectors, asker: Broker) -> None:
    """
    The nearest passage comes first, with its payload; filters match exactly.
    """
    knowledge = TenantKnowledge(asker, TENANT)
    await knowledge.index("notes", PASSAGES)
    hits = await knowledge.search("notes", "a kitten naps on the couch", 2)
    filtered = await knowledge.search("notes", "a kitten naps on the couch", 5, {"about": "money"})

    assert ("cat", {"about": "animals"}) == (hits[0].id, hits[0].payload)
    assert 2 == len(hits) and hits[0].score > hits[1].score
    assert ["tax"] == [hit.id for hit in filtered]


async def test_a_passage_indexed_again_replaces_itself(vectors: Vectors, asker: Broker) -> None:
    """
    A retried step indexes the same passages: the collection holds each once.
    """
    knowledge = TenantKnowledge(asker, TENANT)
    await knowledge.index("notes", PASSAGES)
    await knowledge.index("notes", PASSAGES)

    assert 3 == len(await knowledge.search("notes", "anything", 50))


async def test_many_passages_are_indexed_in_batches(vectors: Vectors, asker: Broker) -> None:
    """
    More than fits a message goes in several, and long passages in more.
    """
    knowledge = TenantKnowledge(asker, TENANT)
    await knowledge.index("many", [Passage(id=str(n), text=f"passage {n}") for n in range(70)])
    await knowledge.index("long", [Passage(id=str(n), text="word " * 40_000) for n in range(4)])

    assert 70 == len(await knowledge.search("many", "passage", 100))
    assert 4 == len(await knowledge.search("long", "word", 100))


async def test_what_was_indexed_survives_a_restart(vectors: Vectors, asker: Broker) -> None:
    """
    A vectors process that comes back finds its folder as it was.
    """
    knowledge = TenantKnowledge(asker, TENANT)
    await knowledge.index("notes", PASSAGES)
    await vectors.stop()
    await vectors.start()

    assert "tax" == (await knowledge.search("notes", "when must I pay my taxes", 1))[0].id


async def test_a_collection_is_one_tenants_own(vectors: Vectors, asker: Broker) -> None:
    """
    Two tenants' collections of the same name share nothing, and forgetting one leaves the other.
    """
    mine, theirs = TenantKnowledge(asker, TENANT), TenantKnowledge(asker, OTHER_TENANT)
    await mine.index("notes", PASSAGES)
    await theirs.index("notes", PASSAGES[2:])

    assert ["tax"] == [hit.id for hit in await theirs.search("notes", "cat", 10)]
    await theirs.drop("notes")
    assert [] == await theirs.search("notes", "cat", 10)
    assert 3 == len(await mine.search("notes", "cat", 10))


async def test_forgetting_twice_changes_nothing(vectors: Vectors, asker: Broker) -> None:
    """
    The first time something was there, the second time not; searching it finds nothing.
    """
    await TenantKnowledge(asker, TENANT).index("notes", PASSAGES)
    drop = DropCollection(tenant=TENANT, collection="notes")

    assert [True, False] == [(await asker.ask(drop)).existed for _ in range(2)]


async def test_texts_are_embedded_in_order(vectors: Vectors, asker: Broker) -> None:
    """
    One unit vector per text, the same for the same text but for the order in which its numbers are added up.
    """
    found = await TenantKnowledge(asker, TENANT).embed(["one", "two", "one"])

    assert [384] * 3 == [len(vector) for vector in found]
    assert pytest.approx(found[0], abs=1e-6) == found[2]
    assert pytest.approx(found[0], abs=1e-3) != found[1]
    assert abs(sum(part * part for part in found[0]) - 1) < 1e-3


async def test_long_texts_are_embedded_in_several_messages(asker: Broker, nats_url: str) -> None:
    """
    Texts that would not fit into one message together are asked for in several, and come back in order.
    """
    asked: list[int] = []

    async def embed(query: EmbedTexts) -> Embeddings:
        asked.append(len(query.texts))
        return Embeddings(vectors=[[float(text.partition(" ")[0])] for text in query.texts])

    answering = Broker(nats_url, "vectors")
    answering.answer(EmbedTexts, embed)
    await answering.start()
    found = await TenantKnowledge(asker, TENANT).embed([f"{n} " + "word " * 30_000 for n in range(10)])
    await answering.stop()

    assert [[float(n)] for n in range(10)] == found
    assert 10 == sum(asked) and len(asked) > 1


async def test_more_than_a_message_may_hold_is_refused(vectors: Vectors, asker: Broker) -> None:
    """
    A batch beyond the contract's bound is malformed, and answered so.
    """
    passages = [PassageIn(id=str(n), text="x") for n in range(300)]
    for command in (
        IndexPassages(tenant=TENANT, collection="notes", passages=passages),
        EmbedTexts(tenant=TENANT, texts=["x"] * 300),
        SearchPassages(tenant=TENANT, collection="notes", query="x", limit=1000),
    ):
        with pytest.raises(AgoraError) as caught:
            await asker.ask(command)
        assert "malformed_request" == caught.value.slug


async def test_a_step_uses_the_knowledge_of_its_tenant(
    vectors: Vectors, probe: Agent, probe_platform: Platform
) -> None:
    """
    An agent indexes, searches and forgets through its context.
    """
    run = await probe_platform.run({"text": "hello", "do": "search"}, package="probe")

    assert ("succeeded", "1") == (run.status, run.output["text"])
