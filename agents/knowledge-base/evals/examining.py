"""Questions with known answers, taken through search and weighing: what calibrate.py and the notes measure."""

import asyncio
import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from agora import embeddings
from agora_knowledge_base import evidence, meaning, questions, retrieval
from agora_knowledge_base.corpus import Corpus
from agora_knowledge_base.evidence import Signals, Statement
from agora_knowledge_base.passages import Passage
from agora_knowledge_base.reading.gathering import gather


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What a question's answer must hold: any or all of `gold`; nothing where the sources do not say."""

    id: str
    answerable: bool
    gold: list[str] = []
    match: Literal["any", "all"] = "any"
    sources: list[str] = []


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a question: what was found, what was chosen, and whether that is right."""

    id: str
    query: str
    expected: Expected
    found: list[Passage]
    statements: list[Statement]
    signals: Signals | None
    right: bool
    robbed: bool = False


class Embedder:
    """Embeddings that are kept in a file between runs, since most texts stay the same."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._held: dict[str, np.ndarray[Any, Any]] = {}
        if file is not None and file.exists():
            stored = np.load(file, allow_pickle=False)
            self._held = dict(zip(stored["texts"].tolist(), stored["rows"], strict=True))

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A unit vector for each text."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._held]
        if missing:
            self._held.update(zip(missing, embeddings.shared().embed(missing), strict=True))
        return [self._held[text].tolist() for text in texts]

    def save(self) -> None:
        """Write what is held."""
        if self._file is not None and self._held:
            np.savez(self._file, texts=np.array(list(self._held)), rows=np.stack(list(self._held.values())))


def folded(text: str) -> str:
    """Text for comparing: without marks of Markdown, doubled space and letter case."""
    plain = unicodedata.normalize("NFKC", text).replace("**", "").replace("`", "")
    return " ".join(plain.split()).casefold()


def holds(text: str, expected: Expected) -> bool:
    """Whether a text holds the expected answer."""
    wanted = [folded(gold) in folded(text) for gold in expected.gold]
    return bool(wanted) and (all(wanted) if expected.match == "all" else any(wanted))


def read_set(folder: Path) -> list[tuple[str, Expected]]:
    """The questions of a set with what is expected of each."""
    cases = [msgspec.json.decode(line) for line in (folder / "cases.jsonl").read_bytes().splitlines()]
    wanted = [
        msgspec.json.decode(line, type=Expected)
        for line in (folder / "expected.jsonl").read_bytes().splitlines()
    ]
    return [(case["input"]["query"], one) for case, one in zip(cases, wanted, strict=True)]


def corpus_of(folder: Path, keep: Callable[[Passage], bool] | None = None) -> Corpus:
    """The corpus of a set; only of some passages, if asked."""
    corpus = Corpus.build(gather(folder / "corpus", "corpus"), collection="", language="en", words_max=120)
    if keep is None:
        return corpus
    kept = [passage for passage in corpus.passages if keep(passage)]
    return Corpus.of_passages(kept, corpus.facts)


async def examine(
    corpus: Corpus, query: str, expected: Expected, embedder: Embedder, *, robbed: bool = False
) -> list[Examined]:
    """Take a question through search and weighing, part by part."""
    examined = []
    texts = ""
    for part in questions.parts(query, "en"):
        wanted = questions.wanted(
            part,
            "en",
            knows=corpus.lexical.knows,
            corrected=corpus.lexical.corrected,
            idf=corpus.lexical.idf,
        )
        nearest = meaning.nearest_among(corpus, list(range(len(corpus.passages))), embedder)
        found = await retrieval.find(corpus, part.whole, wanted, nearest, limit=8)
        similarity = partial(meaning.similarities, embedder)
        statements, signals = await evidence.weigh(
            part.whole, wanted, found, similarity, language="en", most=3
        )
        texts += " ".join(unit.text for statement in statements for unit in statement.units) + "\n"
        examined.append(
            Examined(
                id=expected.id,
                query=part.whole,
                expected=expected,
                found=[candidate.passage for candidate in found],
                statements=statements,
                signals=signals,
                right=False,
                robbed=robbed,
            )
        )
    right = not robbed and holds(texts, expected)
    return [msgspec.structs.replace(one, right=right) for one in examined]


async def examine_set(folder: Path, embedder: Embedder, *, rob: bool = True) -> list[Examined]:
    """Examine every question of a set; with `rob`, each a second time without the passages that answer it."""
    asked = read_set(folder)
    corpus = await asyncio.to_thread(corpus_of, folder)
    results: list[Examined] = []
    for query, expected in asked:
        results += await examine(corpus, query, expected, embedder)
        if rob and expected.answerable:
            poorer = corpus_of(folder, keep=partial(_does_not_answer, expected))
            results += await examine(poorer, query, expected, embedder, robbed=True)
    return results


def _does_not_answer(expected: Expected, passage: Passage) -> bool:
    text = folded(passage.searched)
    return not (passage.source in expected.sources and any(folded(gold) in text for gold in expected.gold))
