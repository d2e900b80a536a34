"""The passages that are searched, with their index of words; as files in a folder, or in memory."""

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec

from agora_knowledge_base import passages
from agora_knowledge_base.lexical import Lexical
from agora_knowledge_base.passages import Passage
from agora_knowledge_base.reading import Document, Unreadable
from agora_knowledge_base.reading.gathering import Fault
from agora_knowledge_base.terms import Language

PASSAGES_MAX = 30_000


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is said about a corpus beside its passages. `collection` is where its vectors are."""

    collection: str
    language: Language
    documents: int
    faults: list[Fault]


@dataclass(slots=True, kw_only=True)
class Corpus:
    """Passages and their index. Read only: one is shared by all runs of a process."""

    facts: Facts
    passages: list[Passage]
    lexical: Lexical
    rows: dict[str, int]

    @classmethod
    def build(
        cls, found: Iterable[Document | Fault], *, collection: str, language: Language, words_max: int
    ) -> "Corpus":
        """Divide documents into passages and index their words.

        Raises:
            Unreadable: there is nothing to search, or too much.
        """
        kept: list[Passage] = []
        faults: list[Fault] = []
        seen: set[tuple[str, str]] = set()
        names: dict[str, int] = {}
        for document in found:
            if isinstance(document, Fault):
                faults.append(document)
                continue
            names[document.name] = names.get(document.name, 0) + 1
            for passage in passages.split(_renamed(document, names[document.name]), words_max):
                # A text that is there twice would take two places among the few that are looked at.
                key = (passage.title, passage.body)
                if key not in seen:
                    seen.add(key)
                    kept.append(_with_fields(passage, document.kind))
            if len(kept) > PASSAGES_MAX:
                detail = (
                    f"The sources make more than {PASSAGES_MAX:,} passages: divide them among deployments."
                )
                raise Unreadable("too_large", detail, document.name)
        facts = Facts(collection=collection, language=language, documents=sum(names.values()), faults=faults)
        return cls.of_passages(kept, facts)

    @classmethod
    def of_passages(cls, kept: list[Passage], facts: Facts) -> "Corpus":
        """Index the words of passages."""
        lexical = Lexical.build((_indexed(passage) for passage in kept), facts.language)
        return cls(facts=facts, passages=kept, lexical=lexical, rows=_rows(kept))

    def save(self, folder: Path) -> None:
        """Write everything into a folder, which must exist."""
        (folder / "facts.json").write_bytes(msgspec.json.encode(self.facts))
        (folder / "passages.msgpack").write_bytes(msgspec.msgpack.encode(self.passages))
        self.lexical.save(folder)

    @classmethod
    def load(cls, folder: Path) -> "Corpus":
        """Read what `save` wrote."""
        kept = msgspec.msgpack.decode((folder / "passages.msgpack").read_bytes(), type=list[Passage])
        facts = msgspec.json.decode((folder / "facts.json").read_bytes(), type=Facts)
        return cls(facts=facts, passages=kept, lexical=Lexical.load(folder), rows=_rows(kept))

    def allowed(self, *filters: Mapping[str, str | list[str]]) -> set[int] | None:
        """The rows of the passages that pass all filters; None where there are no filters."""
        if not any(filters):
            return None
        return {
            row
            for row, passage in enumerate(self.passages)
            if all(passes(passage.fields, one) for one in filters)
        }


def passes(fields: Mapping[str, str], filters: Mapping[str, str | list[str]]) -> bool:
    """Whether each filter's field has the value, or one of the values, that it names."""
    for name, value in filters.items():
        held = fields.get(name.lower(), "").casefold()
        choices = [value] if isinstance(value, str) else value
        if not any(_same(held, choice.casefold(), pattern=name.lower() == "source") for choice in choices):
            return False
    return True


def _same(held: str, wished: str, *, pattern: bool) -> bool:
    if held == wished:
        return True
    # The bare name finds a file in any folder, as people name files.
    return pattern and (fnmatch.fnmatchcase(held, wished) or PurePosixPath(held).name == wished)


def _renamed(document: Document, times: int) -> Document:
    """Two files of one name in two sources stay apart."""
    if times == 1:
        return document
    import dataclasses

    return dataclasses.replace(document, name=f"{document.name} ({times})")


def _with_fields(passage: Passage, kind: str) -> Passage:
    return msgspec.structs.replace(passage, fields=passage.fields | {"source": passage.source, "type": kind})


def _indexed(passage: Passage) -> str:
    """The file's own name is searched too: people name a document after what it is about."""
    return f"{PurePosixPath(passage.source).stem}\n{passage.searched}"


def _rows(kept: list[Passage]) -> dict[str, int]:
    return {passage.id: row for row, passage in enumerate(kept)}
