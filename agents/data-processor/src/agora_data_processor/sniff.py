"""What kind of file this is, told from its content; a name's extension is only a hint."""

import json
import zipfile
from pathlib import Path
from typing import Literal

from agora_data_processor import limits
from agora_data_processor.faults import TableError

FileKind = Literal["text", "excel", "json", "json_lines"]

_NOT_TABLES = (
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ", "an xz archive: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstandard archive: unpack it first"),
    (b"PAR1", "a Parquet file, which is clean already"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")


def kind_of(path: Path, name: str) -> FileKind:
    """The kind of a file's content.

    Raises:
        TableError: it is empty, encrypted, packed, too large for its kind, or no table at all.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(65_536)
    if not head.strip(b"\x00\xef\xbb\xbf\xff\xfe \t\r\n"):
        raise TableError("file_empty", "The file is empty: there is no table in it.", name)
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(path, name, size)
    if head.startswith(_OLE):
        return _ole_kind(path, name, size)
    for magic, what in _NOT_TABLES:
        if head.startswith(magic) and (len(magic) > 2 or b"\x00" in head):
            raise TableError("file_not_a_table", f"The file is {what}. Send CSV, TSV, Excel or JSON.", name)
    if not head.startswith(_WIDE_MARKS) and _binary(head):
        raise TableError(
            "file_not_a_table", "The file is binary and of no known kind. Send CSV, TSV, Excel or JSON.", name
        )
    return _text_kind(head, name)


def _zip_kind(path: Path, name: str, size: int) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = {member.filename for member in members}
            if not any(member.startswith(("xl/", "content.xml")) for member in names):
                raise TableError(
                    "file_not_a_table", "The file is a zip archive, not a workbook: unpack it first.", name
                )
            _check_unpacked(archive, members, name, size)
    except (zipfile.BadZipFile, NotImplementedError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise TableError(
            "file_damaged", f"The workbook cannot be unpacked ({error}). Save it again and send that.", name
        ) from error
    return "excel"


def _check_unpacked(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], name: str, size: int) -> None:
    """Unpack every part that a table is read from, counting, before anything holds it in memory."""
    if size > limits.EXCEL_BYTES_MAX or len(members) > 10_000:
        raise TableError("file_too_large", "The workbook is too large. Export it as CSV and send that.", name)
    total = 0
    for member in members:
        if not member.filename.endswith((".xml", ".rels", ".bin")):
            continue
        # The size that a member states about itself may be a lie: count what really comes out.
        with archive.open(member) as stream:
            while block := stream.read(1 << 20):
                total += len(block)
                too_dense = total > limits.EXCEL_RATIO_FROM_BYTES and total > size * limits.EXCEL_RATIO_MAX
                if total > limits.EXCEL_UNPACKED_BYTES_MAX or too_dense:
                    raise TableError(
                        "file_too_large",
                        f"The workbook unpacks to more than {total // 1_000_000} MB, which is refused. "
                        "Export the sheet as CSV and send that.",
                        f"{name}, {member.filename}",
                    )


def _ole_kind(path: Path, name: str, size: int) -> FileKind:
    if size > limits.EXCEL_BYTES_MAX:
        raise TableError("file_too_large", "The workbook is too large. Export it as CSV and send that.", name)
    data = path.read_bytes()
    if "EncryptedPackage".encode("utf-16-le") in data:
        raise TableError(
            "file_encrypted",
            "The workbook is protected by a password. Remove it and send the file again.",
            name,
        )
    if "Workbook".encode("utf-16-le") in data or "Book".encode("utf-16-le") in data:
        return "excel"
    raise TableError("file_not_a_table", "The file is an Office document without a workbook.", name)


def _binary(head: bytes) -> bool:
    """Control characters that no text holds; a few NULs are dirt, many in one place are binary."""
    control = sum(head.count(bytes([code])) for code in (*range(1, 9), *range(14, 27), 28, 29))
    nulls = head.count(0)
    wide = max(head[0::2].count(0), head[1::2].count(0)) > 0.4 * (len(head) / 2)
    return control > 0.02 * len(head) or (nulls > 0.3 * len(head) and not wide)


def _text_kind(head: bytes, name: str) -> FileKind:
    if head.startswith(_WIDE_MARKS):
        text = head[: len(head) // 2 * 2].decode("utf-16", errors="replace")
    elif head[1:2] == b"\x00" or head[0:1] == b"\x00":
        text = head.replace(b"\x00", b"").decode("latin-1")
    else:
        text = head.decode("utf-8-sig", errors="replace")
    start = text.lstrip("\ufeff \t\r\n")
    if start[:1] == "[" and start[1:].lstrip()[:1] in tuple('{["]-0123456789tfn'):
        # A CSV may begin with "[": an array goes on with values, not with a header's words.
        return "json" if not _looks_delimited(start) else "text"
    if start[:1] == "{":
        first_line, _, rest = start.partition("\n")
        return "json_lines" if _is_json(first_line.rstrip().rstrip(",")) and rest.strip() else "json"
    lowered = start[:200].lower()
    if lowered.startswith(("<!doctype html", "<html", "<?xml")):
        raise TableError(
            "file_not_a_table", "The file is HTML or XML, not a table. Export it as CSV or JSON.", name
        )
    return "text"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _looks_delimited(start: str) -> bool:
    first_line = start.partition("\n")[0]
    return first_line.count("]") >= 1 and not first_line.rstrip().endswith(("]", ",", "[", "{", "}"))
