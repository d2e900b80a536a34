"""Word documents: headings by their style, paragraphs, lists and tables."""

import io
import re
import zipfile
from typing import TYPE_CHECKING

from agora_knowledge_base.reading.model import Document, TextBuilder, Unreadable, render_row

if TYPE_CHECKING:
    from docx.table import Table

UNPACKED_BYTES_MAX = 200 * 1024 * 1024
_HEADING = re.compile(r"heading (\d)", re.IGNORECASE)
_OLE = b"\xd0\xcf\x11\xe0"


def read(name: str, data: bytes) -> Document:
    """The blocks of a .docx, numbered as paragraphs.

    Raises:
        Unreadable: it is encrypted, in the old binary format, damaged, or would unpack to too much.
    """
    if data.startswith(_OLE):
        raise Unreadable(
            "file_encrypted",
            "The document has a password or is in the old .doc format: save it as plain .docx.",
        )
    built = TextBuilder()
    for block in _open(data).iter_inner_content():
        if hasattr(block, "rows"):
            _add_table(built, block)
        else:
            _add_paragraph(built, block.text, block.style.name if block.style is not None else "")
    if not built.blocks:
        raise Unreadable("empty", "The document holds no text.")
    return Document(name=name, kind="docx", text=built.text, blocks=built.blocks, unit="paragraph")


def _open(data: bytes):  # type: ignore[no-untyped-def]
    import docx

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            if sum(member.file_size for member in packed.infolist()) > UNPACKED_BYTES_MAX:
                raise Unreadable("too_large", "The document would unpack to more than 200 MB.")
        return docx.Document(io.BytesIO(data))
    except Unreadable:
        raise
    except Exception as error:
        # A damaged package fails in the zip, in the XML or in the parts' relations, each with its own type.
        raise Unreadable("file_damaged", "The Word document is damaged: open and save it again.") from error


def _add_paragraph(built: TextBuilder, text: str, style: str | None) -> None:
    words = " ".join(text.split())
    number = len(built.blocks) + 1
    style = style or ""
    if found := _HEADING.match(style):
        built.add("heading", words, level=int(found[1]), number=number)
    elif style.lower() == "title":
        built.add("heading", words, level=1, number=number)
    else:
        built.add("item" if style.lower().startswith("list") else "text", words, number=number)


def _add_table(built: TextBuilder, table: "Table") -> None:
    header: list[str] = []
    for position, row in enumerate(table.rows):
        cells = [" ".join(cell.text.split()) for cell in row.cells]
        if position == 0 and all(cells) and len(table.rows) > 1:
            header = cells
            continue
        text = " | ".join(filter(None, cells))
        built.add("row", text, number=len(built.blocks) + 1, rendered=render_row(header, cells))
