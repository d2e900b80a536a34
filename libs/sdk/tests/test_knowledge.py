"""Embeddings, search by meaning, and what a deployment prepares once."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import agora
import numpy as np
import pytest
from agora import Passage, alone, embeddings, prepared
from agora.file_refs import file_refs
from agora.knowledge import LocalKnowledge
from langgraph.graph import START, StateGraph

PASSAGES = [
    Passage(id="cat", text="The cat sleeps on the warm sofa.", payload={"topic": "animals"}),
    Passage(id="tax", text="Income tax returns are due in April.", payload={"topic": "money"}),
    Passage(id="dog", text="A puppy chases its ball in the park.", payload={"topic": "animals"}),
]


def test_embeddings_are_unit_vectors_in_the_order_of_the_texts() -> None:
    """
    Texts of unlike length in one call give the vectors that each of them gives alone.
    """
    model = embeddings.shared()
    texts = ["short", "a much longer text " * 40, "", "日本語 👋", "short"]
    together = model.embed(texts)

    assert together.shape == (5, embeddings.DIMENSIONS)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert np.allclose(together, np.concatenate([model.embed([text]) for text in texts]), atol=1e-5)
    assert model.embed([]).shape == (0, embeddings.DIMENSIONS)


def test_embeddings_match_the_published_model() -> None:
    """
    The cosine of the pair in the model's own documentation is what sentence-transformers computes.
    """
    first, second, third = embeddings.shared().embed(
        ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    )

    assert first @ second == pytest.approx(0.6660, abs=0.001)
    assert first @ third == pytest.approx(0.1046, abs=0.001)


async def test_a_search_finds_by_meaning(tmp_path: Path) -> None:
    """
    The passage nearest in meaning comes first, with its payload, though it shares no word with the query.
    """
    knowledge = LocalKnowledge(tmp_path)
    await knowledge.index("all", PASSAGES)
    hits = await knowledge.search("all", "When must I file my declaration with the revenue office?", limit=2)

    assert [hits[0].id, hits[0].payload] == ["tax", {"topic": "money"}]
    assert len(hits) == 2
    assert hits[0].score > hits[1].score


async def test_filters_must_all_match(tmp_path: Path) -> None:
    """
    Only passages whose payload equals every filter are found.
    """
    knowledge = LocalKnowledge(tmp_path)
    await knowledge.index("all", PASSAGES)
    hits = await knowledge.search("all", "tax", filters={"topic": "animals"})

    assert {hit.id for hit in hits} == {"cat", "dog"}
    assert await knowledge.search("all", "tax", filters={"topic": "animals", "other": "x"}) == []


async def test_an_id_indexed_again_is_replaced_also_after_a_restart(tmp_path: Path) -> None:
    """
    The newest text of an id counts, in the process that wrote it and in the next one.
    """
    knowledge = LocalKnowledge(tmp_path)
    await knowledge.index("all", PASSAGES)
    await knowledge.index(
        "all", [Passage(id="tax", text="Bread is baked with flour.", payload={"new": "yes"})]
    )

    for each in (knowledge, LocalKnowledge(tmp_path)):
        hits = await each.search("all", "a bakery", limit=10)
        assert (hits[0].id, hits[0].payload, len(hits)) == ("tax", {"new": "yes"}, 3)


def leave_half_a_segment(root: Path) -> None:
    """What a process leaves that dies while it writes."""
    (folder,) = root.iterdir()
    (folder / "00000002.writing").write_bytes(b"half")


async def test_an_unfinished_write_is_not_read(tmp_path: Path) -> None:
    """
    What a process was writing when it died is ignored by the next one.
    """
    await LocalKnowledge(tmp_path).index("all", PASSAGES[:1])
    leave_half_a_segment(tmp_path)

    assert [hit.id for hit in await LocalKnowledge(tmp_path).search("all", "x")] == ["cat"]


async def test_a_dropped_collection_is_gone(tmp_path: Path) -> None:
    """
    Dropping forgets a collection; an unknown one is empty, and dropping it is no error.
    """
    knowledge = LocalKnowledge(tmp_path)
    await knowledge.index("../any name", PASSAGES)
    await knowledge.drop("../any name")
    await knowledge.drop("never there")

    assert await knowledge.search("../any name", "cat") == []
    assert await LocalKnowledge(tmp_path).search("../any name", "cat") == []


class Config(agora.Config):
    """A folder to count, and how often it was prepared."""

    folder: agora.FileRef
    extra: list[agora.FileRef] | None = None


class Input(agora.Input):
    """Nothing."""


class Output(agora.Output):
    """What was prepared."""

    text: str
    found: str


@dataclass(kw_only=True)
class State:
    """Only what every state has."""

    input: Input
    output: Output | None = None


times_prepared: list[str] = []


async def prepare(config: Config, folder: Path, context: agora.PrepareContext) -> None:
    """Copy what the folder holds and index it."""
    times_prepared.append(context.artifact_id)
    source = await context.files.open(config.folder)
    texts = [path.read_text() for path in sorted(source.iterdir())]
    await context.knowledge.index(context.artifact_id, [Passage(id=text, text=text) for text in texts])
    (folder / "collection").write_text(context.artifact_id)
    (folder / "texts").write_text(" ".join(texts))
    if "broken" in texts:
        raise agora.InputRejected("unreadable", "A file is broken.", "broken.txt")


def load(config: Config, folder: Path) -> tuple[str, str]:
    """The texts and the collection."""
    return (folder / "texts").read_text(), (folder / "collection").read_text()


@agora.step(title="Look")
async def look(state: State, context: agora.Context) -> dict[str, object]:
    """Shows what was prepared."""
    text, collection = context.prepared
    assert (await context.files.open(context.config.folder)).is_dir()
    hits = await context.knowledge.search(collection, "anything", limit=1)
    return {"output": Output(text=text, found=hits[0].id)}


def graph() -> StateGraph[State]:
    """One step."""
    built = StateGraph(State)
    built.add_node("look", look)
    built.add_edge(START, "look")
    return built


AGENT = agora.Agent(
    __file__, input=Input, output=Output, state=State, graph=graph, config=Config, prepare=prepare, load=load
)


async def run(folder: Path, config: object) -> Output:
    """Run the agent in `folder`."""
    result = await alone.run(
        AGENT, {}, config=config, base=folder, out=folder / "out", cache=folder / "cache"
    )
    output: Output = result.output
    return output


async def test_a_configuration_is_prepared_once(tmp_path: Path) -> None:
    """
    The same configuration over the same bytes is prepared once; a changed file is prepared anew.
    """
    times_prepared.clear()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a").write_text("alpha")
    config = {"folder": "docs"}

    outputs = [await run(tmp_path, config), await run(tmp_path, config)]
    assert [(output.text, output.found) for output in outputs] == [("alpha", "alpha")] * 2
    assert len(times_prepared) == 1

    (tmp_path / "docs" / "a").write_text("beta")
    assert (await run(tmp_path, config)).text == "beta"
    assert len(set(times_prepared)) == 2


async def test_a_configurations_files_are_found_from_any_base(tmp_path: Path) -> None:
    """
    Files of the configuration are relative to it, also when a step opens them while cases lie elsewhere.
    """
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a").write_text("alpha")
    deployment = await alone.deploy(AGENT, {"folder": "docs"}, base=tmp_path, cache=tmp_path / "cache")
    result = await deployment.run({}, base=tmp_path / "cache", out=tmp_path / "out")

    assert result.output.text == "alpha"


async def test_a_failed_preparation_leaves_nothing(tmp_path: Path) -> None:
    """
    A preparation that fails half-way is not found by the next run, which prepares again.
    """
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a").write_text("broken")
    with pytest.raises(agora.RunFailed, match="A file is broken"):
        await run(tmp_path, {"folder": "docs"})

    assert [path.name for path in (tmp_path / "cache" / "artifacts").iterdir() if not path.suffix] == []


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (None, "invalid_config"),
        ({"folder": "docs", "other": 1}, "invalid_config"),
        ({"folder": "../docs"}, "file_outside"),
        ({"folder": "nowhere"}, "file_not_found"),
        ({"folder": ".", "extra": ["missing"]}, "file_not_found"),
    ],
)
async def test_a_wrong_configuration_says_why(tmp_path: Path, config: object, code: str) -> None:
    """
    A configuration that does not fit, or names what is not there, is refused before anything is prepared.
    """
    with pytest.raises(agora.RunFailed) as caught:
        await run(tmp_path, config)

    assert caught.value.code == code


def test_an_artifact_is_loaded_once_by_many_threads(tmp_path: Path) -> None:
    """
    Threads that ask for one artifact at the same time get the same object, loaded once.
    """
    loads: list[int] = []
    started = threading.Barrier(4)

    def slow_load(config: object, folder: Path) -> object:
        loads.append(1)
        return object()

    agent = agora.Agent(
        __file__, input=Input, output=Output, state=State, graph=graph, prepare=prepare, load=slow_load
    )

    def ask(_: int) -> object:
        started.wait()
        return prepared.load(agent, None, tmp_path, f"art_{tmp_path}")

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(ask, range(4)))

    assert (len(set(map(id, made))), len(loads)) == (1, 1)


def test_an_artifact_is_named_by_what_it_was_made_from() -> None:
    """
    The id is the same for typed and plain configurations, and differs with any part.
    """
    plain = prepared.artifact_id("p", "1.0.0", {"folder": "docs", "extra": None}, {"docs": "d1"})

    assert plain == prepared.artifact_id("p", "1.0.0", Config(folder="docs"), {"docs": "d1"})
    others = [
        prepared.artifact_id("q", "1.0.0", Config(folder="docs"), {"docs": "d1"}),
        prepared.artifact_id("p", "1.0.1", Config(folder="docs"), {"docs": "d1"}),
        prepared.artifact_id("p", "1.0.0", Config(folder="docs", extra=[]), {"docs": "d1"}),
        prepared.artifact_id("p", "1.0.0", Config(folder="docs"), {"docs": "d2"}),
    ]
    assert len({plain, *others}) == 5


def test_file_references_are_found_by_the_schema() -> None:
    """
    Values marked as files are found in lists and optional fields, each once and in order.
    """
    value = {"folder": "docs", "extra": ["b", "a", "docs"]}

    assert file_refs(AGENT.config_schema, value) == ["docs", "b", "a"]


def test_a_folders_digest_covers_names_and_contents(tmp_path: Path) -> None:
    """
    A renamed file or a changed byte changes the digest of the folder.
    """

    def digest_of(files: Sequence[tuple[str, str]]) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, text in files:
            (folder / name).write_text(text)
        return prepared.digest(folder)

    assert digest_of([("a", "1"), ("b", "2")]) == digest_of([("b", "2"), ("a", "1")])
    assert len({digest_of([("a", "1")]), digest_of([("b", "1")]), digest_of([("a", "2")])}) == 3
