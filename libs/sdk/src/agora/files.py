"""Files of an agent that runs alone: a base folder to read from, another to write to."""

import asyncio
import mimetypes
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from agora.errors import InputRejected
from agora.ports import FileInfo

NAME_LENGTH_MAX = 255


class LocalFiles:
    """References are paths relative to `base`; what is saved goes to `out`, its reference is its path there.

    Nothing outside `base` (or `out`, for a file that the run itself has saved) is ever opened: not by `..`,
    not by an absolute path, not through a symbolic link.

    Args:
        base: The folder that references start from.
        out: Where saved files go; made when the first is saved.
        folders: Whether a reference may also name a folder, as a configuration's may.
        subfolder: Where in `out` saved files lie, so that many runs may share it; part of their references.
        known: References that are resolved already: those of the configuration, whose base is another.
    """

    def __init__(
        self,
        base: Path,
        out: Path,
        *,
        folders: bool = False,
        subfolder: str = "",
        known: Mapping[str, Path] | None = None,
    ) -> None:
        self._base = base.resolve()
        self._known = dict(known or {})
        self._out = out.resolve()
        self._folders = folders
        self._subfolder = subfolder

    async def open(self, ref: str) -> Path:
        """The file itself; see `agora.ports.Files.open`."""
        return self.path(ref)

    async def save(self, content: Path | bytes, *, name: str, content_type: str) -> str:
        """Copy into the output folder; see `agora.ports.Files.save`.

        Raises:
            ValueError: the name is empty, too long, or not a plain file name.
        """
        ref = "/".join(filter(None, (self._subfolder, _plain_name(name))))
        await asyncio.to_thread(_write, content, self._out / ref)
        return ref

    async def info(self, ref: str) -> FileInfo:
        """Name, size and the media type that the name suggests."""
        path = self.path(ref)
        guessed, _ = mimetypes.guess_type(path.name)
        size = path.stat().st_size if path.is_file() else 0
        return FileInfo(name=path.name, size=size, content_type=guessed or "application/octet-stream")

    def path(self, ref: str) -> Path:
        """Where a reference leads.

        Raises:
            InputRejected: `file_outside`, `file_not_found` or `not_a_file`.
        """
        if ref in self._known:
            return self._known[ref]
        try:
            for folder in (self._base, self._out):
                path = (folder / ref).resolve()
                if ref and path.is_relative_to(folder) and path.exists():
                    return self._checked(path, ref)
            outside = not (self._base / ref).resolve().is_relative_to(self._base)
        except (OSError, ValueError) as error:
            # No file system takes such a name: too long, a zero byte, half a surrogate pair.
            raise InputRejected(
                "file_not_found", "This is not the path of a file.", ascii(ref[:100])
            ) from error
        if outside:
            detail = "A file must lie inside the folder of the cases or of the configuration."
            raise InputRejected("file_outside", detail, ref)
        raise InputRejected("file_not_found", "There is no such file.", ref)

    def _checked(self, path: Path, ref: str) -> Path:
        if path.is_file() or (self._folders and path.is_dir()):
            return path
        raise InputRejected("not_a_file", "This is not a regular file.", ref)


def _plain_name(name: str) -> str:
    if not name or len(name.encode()) > NAME_LENGTH_MAX or name in (".", "..") or set(name) & set("/\\\0"):
        raise ValueError(f"A saved file needs a plain name of at most {NAME_LENGTH_MAX} bytes, not {name!r}.")
    return name


def _write(content: Path | bytes, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed: whoever reads the folder never sees half a file.
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".saving-", delete=False) as handle:
        if isinstance(content, bytes):
            handle.write(content)
        else:
            with content.open("rb") as source:
                shutil.copyfileobj(source, handle)
    temporary = Path(handle.name)
    temporary.chmod(0o644)
    temporary.replace(target)
