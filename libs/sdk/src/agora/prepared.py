"""What a deployment needs, built once by `prepare` and loaded once per process by `load`.

An artifact is a folder named by a hash of everything it was made from, so any worker may build it, or find
it built, and all of them hold the same.
"""

import asyncio
import hashlib
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agora.context import PrepareContext

if TYPE_CHECKING:
    from agora.agent import Agent

LOADED_MAX = 16
"""How many loaded artifacts a process keeps; the one used longest ago is dropped first."""

_loaded: OrderedDict[tuple[str, str], Any] = OrderedDict()
_loading: dict[tuple[str, str], threading.Lock] = {}
_registry = threading.Lock()


def artifact_id(package: str, version: str, config: Any, digests: Mapping[str, str], salt: str = "") -> str:
    """The name of the artifact of a configuration.

    Args:
        package: The package's id.
        version: Its version.
        config: The configuration, typed or as plain JSON types (the two give the same id).
        digests: SHA-256 of each file that the configuration refers to, by its reference.
        salt: What else the artifact depends on; alone, a digest of the agent's source.
    """
    whole = msgspec.json.encode([package, version, plain(config), dict(digests), salt], order="sorted")
    return f"art_{hashlib.sha256(whole).hexdigest()[:40]}"


def digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder's names and contents; links out of the folder are not followed."""
    if path.is_file():
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    total = hashlib.sha256()
    for inner in sorted(item for item in path.rglob("*") if item.is_file() and not item.is_symlink()):
        total.update(f"{inner.relative_to(path).as_posix()}\0{digest(inner)}\n".encode())
    return total.hexdigest()


async def ensure(agent: "Agent", config: Any, folder: Path, context: PrepareContext) -> Path:
    """Build the artifact at `folder`, unless it is there already, and return the folder.

    It is built beside and renamed, so a process that dies half-way leaves nothing that looks finished; of
    two processes that build it at once, one's work is thrown away.
    """
    if agent.prepare is None or await asyncio.to_thread(folder.is_dir):
        return folder
    building = await asyncio.to_thread(_new_folder_beside, folder)
    try:
        await agent.prepare(config, building, context)
        await asyncio.to_thread(_put_in_place, building, folder)
    finally:
        await asyncio.to_thread(shutil.rmtree, building, ignore_errors=True)
    return folder


def load(agent: "Agent", config: Any, folder: Path, artifact: str) -> Any:
    """What the agent's `load` makes of a built artifact, from this process's cache if it is there.

    May be called from several threads: an artifact is loaded once, and only those that ask for it wait.
    """
    if agent.load is None:
        return None
    key = (agent.id, artifact)
    with _registry:
        if key in _loaded:
            _loaded.move_to_end(key)
            return _loaded[key]
        turn = _loading.setdefault(key, threading.Lock())
    with turn:
        with _registry:
            if key in _loaded:
                return _loaded[key]
        made = agent.load(config, folder)
        with _registry:
            _loaded[key] = made
            _loading.pop(key, None)
            while len(_loaded) > LOADED_MAX:
                _loaded.popitem(last=False)
    return made


def _new_folder_beside(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=folder.parent, prefix=".building-"))


def _put_in_place(building: Path, folder: Path) -> None:
    try:
        building.rename(folder)
    except OSError:
        # Another process was faster, and its folder holds the same; anything else is a real fault.
        if not folder.is_dir():
            raise


def plain(value: Any) -> Any:
    """A Struct as plain JSON types."""
    return msgspec.to_builtins(value, str_keys=True)
