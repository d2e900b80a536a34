"""Where documents come from: a file, a folder, or a zip of files."""

import io
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agora_knowledge_base.reading import read
from agora_knowledge_base.reading.model import FILE_BYTES_MAX, Document, Unreadable

FILES_MAX = 5_000
UNPACKED_BYTES_MAX = 500 * 1024 * 1024
_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_OFFICE = (".docx", ".xlsx", ".pptx", ".odt", ".epub")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A file that could not be read, and why. `inside` says that it was found in a folder or a zip."""

    name: str
    code: str
    detail: str
    place: str | None = None
    inside: bool = False


def gather(path: Path, name: str) -> Iterator[Document | Fault]:
    """Read a file, every file of a folder, or every file in a zip, in the order of their names.

    Hidden files are passed over. Zips in zips are not opened. Nothing is unpacked to disk, and no link that
    leads out of the folder is followed.
    """
    if path.is_dir():
        yield from _folder(path)
        return
    try:
        if path.stat().st_size > UNPACKED_BYTES_MAX:
            raise Unreadable("too_large", f"The file is larger than {UNPACKED_BYTES_MAX // 2**20} MB.")
        with path.open("rb") as handle:
            head = handle.read(4)
        if head in (_ZIP, _EMPTY_ZIP) and not name.lower().endswith(_OFFICE):
            yield from _zip(path)
            return
        yield read(name, _bytes(path))
    except Unreadable as error:
        yield _fault(name, error, inside=False)


def _folder(folder: Path) -> Iterator[Document | Fault]:
    root = folder.resolve()
    count = 0
    for path in sorted(folder.rglob("*"), key=lambda found: found.relative_to(folder).parts):
        name = path.relative_to(folder).as_posix()
        if _hidden(name) or not path.is_file():
            continue
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            continue
        count += 1
        if count > FILES_MAX:
            raise Unreadable("too_many_files", f"The folder holds more than {FILES_MAX:,} files.")
        yield _one(name, path)


def _one(name: str, path: Path) -> Document | Fault:
    try:
        return read(name, _bytes(path))
    except Unreadable as error:
        return _fault(name, error, inside=True)


def _bytes(path: Path) -> bytes:
    if path.stat().st_size > FILE_BYTES_MAX:
        raise Unreadable("too_large", f"The file is larger than {FILE_BYTES_MAX // 2**20} MB: split it.")
    return path.read_bytes()


def _zip(path: Path) -> Iterator[Document | Fault]:
    try:
        packed = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise Unreadable("file_damaged", "The zip is damaged.") from error
    with packed:
        members = [
            member for member in packed.infolist() if not member.is_dir() and not _hidden(member.filename)
        ]
        if len(members) > FILES_MAX:
            raise Unreadable("too_many_files", f"The zip holds more than {FILES_MAX:,} files.")
        # What the zip says of itself; what is really read is bounded again, member by member.
        if sum(member.file_size for member in members) > UNPACKED_BYTES_MAX:
            raise Unreadable("too_large", f"The zip unpacks to more than {UNPACKED_BYTES_MAX // 2**20} MB.")
        for member in sorted(members, key=lambda found: found.filename):
            yield _member(packed, member)


def _member(packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> Document | Fault:
    # A name is a label here and is never a path, so `../` in it does no harm.
    name = member.filename
    try:
        if member.flag_bits & 0x1:
            raise Unreadable("file_encrypted", "The file in the zip has a password: pack it without one.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise Unreadable("unsupported_type", "Links in a zip are not followed.")
        try:
            with packed.open(member) as handle:
                data = handle.read(FILE_BYTES_MAX + 1)
        except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, ValueError) as error:
            raise Unreadable("file_damaged", "The file in the zip is damaged.") from error
        except Exception as error:
            # zlib.error, lzma.LZMAError and their like share no base.
            raise Unreadable("file_damaged", "The file in the zip cannot be unpacked.") from error
        if io.BytesIO(data).read(4) == _ZIP and not name.lower().endswith(_OFFICE):
            raise Unreadable("unsupported_type", "A zip inside a zip is not opened.")
        return read(name, data)
    except Unreadable as error:
        return _fault(name, error, inside=True)


def _hidden(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return any(part.startswith((".", "__MACOSX")) and part not in ("..", ".") for part in parts)


def _fault(name: str, error: Unreadable, *, inside: bool) -> Fault:
    return Fault(name=name, code=error.code, detail=error.detail, place=error.place, inside=inside)
