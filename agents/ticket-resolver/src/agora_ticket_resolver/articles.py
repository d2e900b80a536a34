"""Articles of a knowledge base, cut into passages that can be quoted to the letter."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from agora_ticket_resolver import language

SUFFIXES = (".md", ".markdown", ".txt", ".rst", ".html", ".htm", ".json", ".jsonl")
FILE_BYTES_MAX = 8 * 1024 * 1024
FILES_MAX = 5_000
PASSAGES_MAX = 20_000
PASSAGE_CHARACTERS = 700
LANGUAGE_CHARACTERS = 500

_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*\s*$")
_RULED = re.compile(r"^(?:=|-|~){3,}\s*$")
_FRONT_TITLE = re.compile(r"^title\s*:\s*[\"']?(.+?)[\"']?\s*$", re.IGNORECASE)
_ITEM = re.compile(r"^\s*(?:[-*+•]|\d{1,2}[.)]|[a-z][.)])\s+")


class Article(msgspec.Struct, frozen=True, kw_only=True):
    """One article as its owner wrote it. `source` names it in citations."""

    source: str
    text: str
    title: str = ""


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of an article. `text` stands in it to the letter, from `line_first` to `line_last` (from 1);
    `language` is that of its whole article."""

    source: str
    title: str
    heading: str
    text: str
    line_first: int
    line_last: int
    language: str = ""

    @property
    def locator(self) -> str:
        """Where it stands, for a reader."""
        lines = (
            f"line {self.line_first}"
            if self.line_first == self.line_last
            else f"lines {self.line_first}-{self.line_last}"
        )
        return f"{self.heading}, {lines}" if self.heading and self.heading != self.title else lines


class BadArticle(Exception):
    """An article that cannot be read. `place` is its file."""

    def __init__(self, detail: str, place: str) -> None:
        super().__init__(f"{detail} ({place})")
        self.detail = detail
        self.place = place


def read(path: Path, name: str) -> list[Article]:
    """The articles of a file, or of all files of a folder that hold text.

    Raises:
        BadArticle: a file named by itself is of another kind; one is too large or not UTF-8; nothing is there.
    """
    if path.is_file():
        return _read_file(path, name)
    inner = sorted(
        item
        for item in path.rglob("*")
        if item.is_file() and not item.is_symlink() and item.suffix.lower() in SUFFIXES
    )
    if not inner:
        raise BadArticle(f"The folder holds no articles ({', '.join(SUFFIXES)}).", name)
    if len(inner) > FILES_MAX:
        raise BadArticle(f"The folder holds more than {FILES_MAX} files.", name)
    return [article for item in inner for article in _read_file(item, item.relative_to(path).as_posix())]


def passages(article: Article, languages: Sequence[str] = ()) -> list[Passage]:
    """The passages of an article, in order; headings are kept with each and not quoted by themselves.

    `languages` are those that the article may be in; empty stands for the common ones.
    """
    title = article.title
    heading = ""
    found: list[Passage] = []
    for first, block, is_heading in _blocks(article.text):
        if is_heading:
            heading = block
            title = title or heading
            continue
        found.extend(_cut(article.source, title, heading, block, first))
    title = title or Path(article.source).stem.replace("-", " ").replace("_", " ")
    told = language.detect(f"{title}\n{article.text[:LANGUAGE_CHARACTERS]}", languages).code
    return _merged([msgspec.structs.replace(one, title=one.title or title, language=told) for one in found])


def _read_file(path: Path, name: str) -> list[Article]:
    suffix = Path(name).suffix.lower() or path.suffix.lower()
    if suffix not in SUFFIXES:
        raise BadArticle(
            f"Articles are read from {', '.join(SUFFIXES)}, not from {suffix or 'a file without ending'!r}.",
            name,
        )
    if path.stat().st_size > FILE_BYTES_MAX:
        raise BadArticle(f"The file is larger than {FILE_BYTES_MAX} bytes.", name)
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise BadArticle("The file is not UTF-8; save it as UTF-8.", f"{name}, byte {error.start}") from error
    if "\0" in text:
        raise BadArticle("The file is not text.", name)
    if suffix in (".json", ".jsonl"):
        return _read_records(text, name, lines=suffix == ".jsonl")
    if suffix in (".html", ".htm"):
        return [_from_html(text, name)]
    return [Article(source=name, text=text)] if text.strip() else []


class _Record(msgspec.Struct, kw_only=True):
    id: str | int | None = None
    source: str | None = None
    title: str = ""
    question: str = ""
    body: str = ""
    text: str = ""
    content: str = ""
    answer: str = ""


def _read_records(text: str, name: str, *, lines: bool) -> list[Article]:
    try:
        if lines:
            records = [msgspec.json.decode(line, type=_Record) for line in text.splitlines() if line.strip()]
        else:
            records = msgspec.json.decode(text, type=list[_Record])
    except msgspec.DecodeError as error:
        raise BadArticle(f'Not a list of objects with "title" and "body": {error}', name) from error
    return [
        Article(
            source=str(record.source or record.id or f"{name}#{number}"),
            title=record.title or record.question,
            text=record.body or record.text or record.content or record.answer,
        )
        for number, record in enumerate(records, start=1)
        if (record.body or record.text or record.content or record.answer).strip()
    ]


def _from_html(text: str, name: str) -> Article:
    from agora_ticket_resolver.texts import from_html

    found = re.search(
        r"<title[^>]{0,200}>([^<]{1,300})</title>|<h1[^>]{0,200}>([^<]{1,300})</h1>", text, re.IGNORECASE
    )
    title = (found.group(1) or found.group(2)).strip() if found else ""
    return Article(source=name, title=title, text=from_html(text))


def _blocks(text: str) -> Iterator[tuple[int, str, bool]]:
    """Paragraphs, lists and headings, each with its first line's number."""
    lines = text.split("\n")
    start = _after_front_matter(lines)
    if start and (title := next((m[1] for line in lines[:start] if (m := _FRONT_TITLE.match(line))), "")):
        yield 1, title, True
    held: list[str] = []
    first = start + 1
    for number, line in enumerate(lines[start:], start=start + 1):
        found = _HEADING.match(line)
        ruled = bool(_RULED.match(line)) and len(held) == 1
        if found or ruled or not line.strip():
            if ruled:
                yield first, held[0].strip(), True
            elif held:
                yield first, "\n".join(held), False
            held = []
            if found:
                yield number, found[2].strip(), True
            continue
        if not held:
            first = number
        held.append(line)
    if held:
        yield first, "\n".join(held), False


def _after_front_matter(lines: list[str]) -> int:
    if lines and lines[0].strip() == "---":
        for number, line in enumerate(lines[1:50], start=1):
            if line.strip() == "---":
                return number + 1
    return 0


def _cut(source: str, title: str, heading: str, block: str, first: int) -> Iterator[Passage]:
    """A block, cut at line ends, then inside overlong lines, where it is longer than a passage may be."""
    held: list[str] = []
    begun = first
    for number, line in enumerate(block.split("\n"), start=first):
        for piece in _pieces(line):
            if held and sum(map(len, held)) + len(piece) > PASSAGE_CHARACTERS:
                yield _passage(source, title, heading, held, begun, number)
                held, begun = [], number
            held.append(piece)
    if held:
        yield _passage(source, title, heading, held, begun, first + block.count("\n"))


def _pieces(line: str) -> list[str]:
    if len(line) <= PASSAGE_CHARACTERS:
        return [line]
    return re.findall(rf".{{1,{PASSAGE_CHARACTERS}}}(?:(?<=[.!?。])\s|$|(?=\S))", line) or [line]


def _passage(source: str, title: str, heading: str, lines: list[str], first: int, last: int) -> Passage:
    return Passage(
        source=source,
        title=title,
        heading=heading,
        text="\n".join(lines),
        line_first=first,
        line_last=max(first, last),
    )


def _merged(found: list[Passage]) -> list[Passage]:
    """A short lead ("To reset it:") joined with the list that it opens; both stand next to each other."""
    merged: list[Passage] = []
    for one in found:
        before = merged[-1] if merged else None
        fits = (
            before is not None
            and before.heading == one.heading
            and len(before.text) + len(one.text) <= PASSAGE_CHARACTERS
            and one.line_first - before.line_last <= 2
            and (before.text.rstrip().endswith(":") or _ITEM.match(one.text) or len(before.text) < 200)
        )
        if before is not None and fits:
            gap = "\n" * (one.line_first - before.line_last)
            merged[-1] = msgspec.structs.replace(
                before, text=before.text + gap + one.text, line_last=one.line_last
            )
        else:
            merged.append(one)
    return [one for one in merged if one.text.strip()]
