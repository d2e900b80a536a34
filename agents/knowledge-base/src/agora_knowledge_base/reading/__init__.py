"""Files to documents: `read` finds out what a file is and gives its text in blocks.

Nothing that is read is ever executed or fetched: links, scripts, macros and embedded files stay text or are
left out.
"""

from pathlib import PurePosixPath

from agora_knowledge_base.reading.encodings import decode
from agora_knowledge_base.reading.model import FILE_BYTES_MAX, Block, Document, Unreadable

__all__ = ["FILE_BYTES_MAX", "Block", "Document", "Unreadable", "read"]

_MARKDOWN = frozenset((".md", ".markdown", ".mdx", ".mdown"))
_HTML = frozenset((".html", ".htm", ".xhtml"))
_OLD_OFFICE = b"\xd0\xcf\x11\xe0"


def read(name: str, data: bytes) -> Document:
    """Read one file.

    Args:
        name: Its name, whose ending says what it is; the content overrides a wrong one where it can be told.
        data: Its bytes.

    Raises:
        Unreadable: it is empty, too large, encrypted, damaged, or of no type that can be read.
    """
    if not data.strip():
        raise Unreadable("empty", "The file is empty.")
    if len(data) > FILE_BYTES_MAX:
        raise Unreadable("too_large", f"The file is larger than {FILE_BYTES_MAX // 2**20} MB: split it.")
    suffix = PurePosixPath(name).suffix.lower()
    if b"%PDF-" in data[:1024]:
        from agora_knowledge_base.reading import pdf

        return pdf.read(name, data)
    if suffix == ".docx" or data.startswith(_OLD_OFFICE):
        from agora_knowledge_base.reading import word

        return word.read(name, data)
    if suffix == ".pdf":
        raise Unreadable("file_damaged", "The file is named .pdf and is none.")
    return _of_text(name, suffix, decode(data))


def _of_text(name: str, suffix: str, text: str) -> Document:
    from agora_knowledge_base.reading import html, markdown, plain_text, rows

    if suffix in _MARKDOWN:
        if len(text) > markdown.PARSED_CHARACTERS_MAX:
            return plain_text.read(name, text, "markdown")
        return markdown.read(name, text)
    if suffix in _HTML or text.lstrip()[:15].lower().startswith(("<!doctype html", "<html")):
        return html.read(name, text)
    if suffix in (".csv", ".tsv"):
        return rows.read_csv(name, text)
    if suffix in (".jsonl", ".ndjson"):
        return rows.read_json_lines(name, text)
    if suffix == ".json":
        return rows.read_json(name, text)
    return plain_text.read(name, text)
