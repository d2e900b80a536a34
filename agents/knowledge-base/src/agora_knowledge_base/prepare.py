"""A deployment's index: built once by `prepare`, loaded once in each process by `load`."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import agora

from agora_knowledge_base.corpus import Corpus
from agora_knowledge_base.passages import Passage
from agora_knowledge_base.reading import Document, Unreadable
from agora_knowledge_base.reading.gathering import Fault, gather
from agora_knowledge_base.types import Config

INDEX_BATCH = 256


async def prepare(config: Config, folder: Path, context: agora.PrepareContext) -> None:
    """Read the sources, divide them into passages, and index these by words and by meaning.

    Raises:
        InputRejected: a source cannot be read, or there is nothing or too much to search.
    """
    refs = [ref for ref in (config.folder, *config.sources) if ref is not None]
    if not refs:
        corpus = await asyncio.to_thread(_build, config, [], context.artifact_id)
        await asyncio.to_thread(corpus.save, folder)
        return
    context.progress("Reading the sources")
    named = [(await context.files.open(ref), (await context.files.info(ref)).name) for ref in refs]
    corpus = await asyncio.to_thread(_build, config, named, context.artifact_id)
    _check(corpus, config)
    await _index(corpus.passages, context)
    await asyncio.to_thread(corpus.save, folder)


def load(config: Config, folder: Path) -> Corpus:
    """The corpus that `prepare` wrote."""
    return Corpus.load(folder)


def rejected(name: str, code: str, detail: str, place: str | None) -> agora.InputRejected:
    """The customer's error for a source that cannot be read."""
    return agora.InputRejected(code, detail, f"{name}, {place}" if place else name)


def _build(config: Config, named: Sequence[tuple[Path, str]], collection: str) -> Corpus:
    try:
        return Corpus.build(
            _documents(named), collection=collection, language=config.language, words_max=config.chunk_words
        )
    except Unreadable as error:
        raise agora.InputRejected(error.code, error.detail, error.place) from error


def _documents(named: Sequence[tuple[Path, str]]) -> Iterator[Document | Fault]:
    for path, name in named:
        try:
            yield from gather(path, name)
        except Unreadable as error:
            raise rejected(name, error.code, error.detail, error.place) from error


def _check(corpus: Corpus, config: Config) -> None:
    for fault in corpus.facts.faults:
        if not fault.inside or config.unreadable == "reject":
            raise rejected(fault.name, fault.code, fault.detail, fault.place)
    if not corpus.passages:
        faults = corpus.facts.faults
        reason = f" The first that could not be read: {faults[0].name}: {faults[0].detail}" if faults else ""
        raise agora.InputRejected("nothing_to_search", f"The sources hold no text to search.{reason}")


async def _index(found: Sequence[Passage], context: agora.PrepareContext) -> None:
    for start in range(0, len(found), INDEX_BATCH):
        batch = found[start : start + INDEX_BATCH]
        await context.knowledge.index(
            context.artifact_id,
            [agora.Passage(id=one.id, text=one.searched, payload={"source": one.source}) for one in batch],
        )
        done = min(start + INDEX_BATCH, len(found))
        context.progress(f"Indexed {done:,} of {len(found):,} passages", done / len(found))
