"""Files sent with a question: read, divided and indexed in memory, and kept for the next question."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import agora

from agora_knowledge_base.corpus import Corpus
from agora_knowledge_base.prepare import rejected
from agora_knowledge_base.reading import Document, Unreadable
from agora_knowledge_base.reading.gathering import Fault, gather
from agora_knowledge_base.types import Config

KEPT_MAX = 8
_kept: OrderedDict[str, Corpus] = OrderedDict()


async def corpus(refs: Sequence[str], config: Config, files: agora.Files) -> Corpus:
    """The corpus of the files, from this process's memory where the same were sent lately.

    Raises:
        InputRejected: a file cannot be read; the place names it.
    """
    named = [(await files.open(ref), (await files.info(ref)).name) for ref in refs]
    key = await asyncio.to_thread(_key, named, config)
    if key not in _kept:
        _kept[key] = await asyncio.to_thread(_build, named, config)
    found = _kept[key]
    _kept.move_to_end(key)
    while len(_kept) > KEPT_MAX:
        _kept.popitem(last=False)
    return found


def _key(named: Sequence[tuple[Path, str]], config: Config) -> str:
    total = hashlib.sha256(f"{config.language}\0{config.chunk_words}".encode())
    for path, name in named:
        with path.open("rb") as handle:
            total.update(f"\0{name}\0{hashlib.file_digest(handle, 'sha256').hexdigest()}".encode())
    return total.hexdigest()


def _build(named: Sequence[tuple[Path, str]], config: Config) -> Corpus:
    try:
        built = Corpus.build(
            _documents(named), collection="", language=config.language, words_max=config.chunk_words
        )
    except Unreadable as error:
        raise agora.InputRejected(error.code, error.detail, error.place) from error
    if not built.passages:
        raise agora.InputRejected("nothing_to_search", "The files hold no text to search.", named[0][1])
    return built


def _documents(named: Sequence[tuple[Path, str]]) -> Iterator[Document | Fault]:
    for path, name in named:
        try:
            for found in gather(path, name):
                if isinstance(found, Fault) and not found.inside:
                    raise rejected(found.name, found.code, found.detail, found.place)
                yield found
        except Unreadable as error:
            raise rejected(name, error.code, error.detail, error.place) from error
