"""Finding the agent in a folder that an author works in."""

import importlib
import sys
import tomllib
import traceback
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from agora.agent import Agent
from agora.errors import AgentDefinitionError

ENTRY_POINT_GROUP = "agora.agents"


def load_agent(folder: Path) -> Agent:
    """The agent of a folder, by the entry point in its pyproject.toml; its `src` is put on the import path.

    Raises:
        AgentDefinitionError: there is none, it cannot be imported, or it breaks a rule of the SDK.
    """
    project = folder / "pyproject.toml"
    if not project.is_file():
        raise AgentDefinitionError(f"{folder} is no agent's folder: it has no pyproject.toml.")
    try:
        described = tomllib.loads(project.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise AgentDefinitionError(f"{project} cannot be read: {error}") from error
    entries: dict[str, str] = described.get("project", {}).get("entry-points", {}).get(ENTRY_POINT_GROUP, {})
    if len(entries) != 1:
        raise AgentDefinitionError(
            f'{project} needs one line under [project.entry-points."{ENTRY_POINT_GROUP}"], such as '
            'my-agent = "agora_my_agent:agent".'
        )
    for source in (folder / "src", folder):
        if source.is_dir() and str(source.resolve()) not in sys.path:
            sys.path.insert(0, str(source.resolve()))
    return _resolve(next(iter(entries.values())), str(project))


def installed(package: str) -> Agent | None:
    """The installed agent of a package; None when there is none.

    Raises:
        AgentDefinitionError: it cannot be imported, or it breaks a rule of the SDK.
    """
    for entry in entry_points(group=ENTRY_POINT_GROUP, name=package):
        return _resolve(entry.value, f"the installed package {package}")
    return None


def _resolve(target: str, where: str) -> Agent:
    module_name, _, attribute = target.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module_name), attribute, None)
    except AgentDefinitionError:
        raise
    except Exception as error:
        # Whatever an author's module raises while it is imported is told with its place, not as a traceback.
        raise AgentDefinitionError(
            f"{target} ({where}) cannot be imported: {_place_of(error)}{type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, Agent):
        raise AgentDefinitionError(f"{target} ({where}) is not an agora.Agent.")
    return found


def _place_of(error: Exception) -> str:
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename
    ]
    return f"{frames[-1].filename}, line {frames[-1].lineno}: " if len(frames) > 1 else ""
