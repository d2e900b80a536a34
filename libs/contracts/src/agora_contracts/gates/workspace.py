"""Where things lie in a checkout."""

import json
from pathlib import Path
from typing import Any


class Workspace:
    """The folders of one checkout.

    Args:
        root: the folder that has the workspace's pyproject.toml.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.contracts = root / "libs" / "contracts"
        self.schemas = self.contracts / "schemas"
        self.examples = self.contracts / "examples"
        self.reference = root / "docs" / "reference"

    def relative(self, path: Path) -> str:
        """A path as messages show it."""
        return path.relative_to(self.root).as_posix()


def find_workspace(start: Path | None = None) -> Workspace:
    """The checkout around `start` or the current folder.

    Raises:
        FileNotFoundError: there is none.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "libs" / "contracts" / "pyproject.toml").is_file():
            return Workspace(folder)
    raise FileNotFoundError(f"{start} is in no checkout of the workspace (no libs/contracts above it)")


def to_json(value: Any) -> str:
    """JSON as it is committed: indented, non-ASCII as it is, a line end last."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write_if_changed(path: Path, text: str) -> bool:
    """Write a file; False when it was so already."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return True
