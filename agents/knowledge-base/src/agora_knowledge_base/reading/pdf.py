"""PDF: the text of each page, without the headers and footers that repeat on all of them."""

import io
import logging
import re
from collections import Counter
from typing import TYPE_CHECKING

from agora_knowledge_base.reading import plain_text
from agora_knowledge_base.reading.model import TEXT_CHARACTERS_MAX, Block, Document, Unreadable

if TYPE_CHECKING:
    from pypdf import PdfReader

PAGES_MAX = 3_000
FURNITURE_PAGES_MIN = 4
FURNITURE_SHARE = 0.6


def read(name: str, data: bytes) -> Document:
    """The blocks of a PDF, numbered by page.

    Raises:
        Unreadable: it is encrypted, damaged, has too many pages, or no text (a scan).
    """
    pages = _without_furniture(_pages(data))
    parts = [page + "\n\n" for page in pages]
    blocks: list[Block] = []
    text = "".join(parts)
    if not text.strip():
        raise Unreadable("no_text", "The PDF holds pictures of text only: run text recognition on it first.")
    if len(text) > TEXT_CHARACTERS_MAX:
        raise Unreadable(
            "too_large", f"The text is longer than {TEXT_CHARACTERS_MAX:,} characters: split it."
        )
    start = 0
    for number, part in enumerate(parts, start=1):
        blocks.extend(plain_text.blocks(text, start, start + len(part), number))
        start += len(part)
    return Document(name=name, kind="pdf", text=text, blocks=blocks, unit="page")


def _pages(data: bytes) -> list[str]:
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    # It warns about each of a damaged file's objects; what matters is said by the error below.
    logging.getLogger("pypdf").setLevel(logging.ERROR)
    try:
        reader = PdfReader(io.BytesIO(data))
        _open(reader)
        if len(reader.pages) > PAGES_MAX:
            raise Unreadable("too_large", f"The PDF has more than {PAGES_MAX:,} pages: split it.")
    except Unreadable:
        raise
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise Unreadable("file_damaged", f"The PDF is damaged: {_reason(error)}") from error
    pages = []
    length = 0
    for number in range(len(reader.pages)):
        pages.append(_page_text(reader, number))
        length += len(pages[-1])
        if length > TEXT_CHARACTERS_MAX:
            break
    return pages


def _open(reader: "PdfReader") -> None:
    from pypdf.errors import DependencyError

    if not reader.is_encrypted:
        return
    try:
        # Many PDFs are encrypted with an empty password, only to forbid printing.
        opened = reader.decrypt("")
    except (DependencyError, NotImplementedError) as error:
        raise Unreadable("file_encrypted", "The PDF is encrypted: save it without encryption.") from error
    if not opened:
        raise Unreadable("file_encrypted", "The PDF needs a password: save it without one.")


def _page_text(reader: "PdfReader", number: int) -> str:
    try:
        return _tidy(reader.pages[number].extract_text())
    except Exception as error:
        # A damaged page raises whatever its broken object leads to; the library promises no type.
        raise Unreadable(
            "file_damaged", f"A page cannot be read: {_reason(error)}", f"page {number + 1}"
        ) from error


def _tidy(text: str) -> str:
    # Some producers write half of a surrogate pair, which no JSON can carry.
    text = text.encode("utf-8", errors="replace").decode("utf-8").replace("\0", "")
    text = re.sub(r"[ \t\u00a0]+", " ", text.replace("\r\n", "\n").replace("\r", "\n"))
    # A word divided at a line's end; a hyphen before a capital or a digit is the word's own.
    return re.sub(r"(?<=[a-zà-ÿ])-\n(?=[a-zà-ÿ])", "", text).strip()


def _without_furniture(pages: list[str]) -> list[str]:
    """Drop the first and last lines that stand, but for their numbers, on most pages."""
    if len(pages) < FURNITURE_PAGES_MIN:
        return pages
    split = [page.split("\n") for page in pages]
    edges = Counter(key for lines in split if lines != [""] for key in {_shape(lines[0]), _shape(lines[-1])})
    repeated = {key for key, count in edges.items() if count >= len(pages) * FURNITURE_SHARE}
    kept = []
    for lines in split:
        while lines and _shape(lines[0]) in repeated:
            lines = lines[1:]
        while lines and _shape(lines[-1]) in repeated:
            lines = lines[:-1]
        kept.append("\n".join(lines))
    return kept


def _shape(line: str) -> str:
    return re.sub(r"\d+", "0", line.strip().lower())


def _reason(error: BaseException) -> str:
    return str(error).split("\n")[0][:200] or type(error).__name__
