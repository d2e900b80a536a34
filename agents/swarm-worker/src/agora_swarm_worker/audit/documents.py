"""A configuration file as the rules see it: its format, its entries with their lines, and what is wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

type Format = Literal["yaml", "json", "toml", "ini", "env", "dockerfile", "nginx", "unknown"]
type Kind = Literal["string", "number", "bool", "null", "map", "list"]
type Path = tuple[str, ...]

ENTRIES_MAX = 50_000
"""A file that unfolds to more (YAML aliases can) is not read further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One value of a file, with the way to it. `line` counts from 1; `value` is empty for a map or a list.

    Lists count from 0 in the path, so `("containers", "0", "image")` is the first container's image.
    """

    path: Path
    value: str
    line: int
    kind: Kind = "string"

    @property
    def key(self) -> str:
        """The last name of the path that is no place in a list."""
        return next((part for part in reversed(self.path) if not part.isdigit()), "")

    @property
    def is_true(self) -> bool:
        """Whether the value switches something on."""
        return self.value.strip().strip("\"'").lower() in ("true", "yes", "on", "1", "enabled", "enable")

    @property
    def is_false(self) -> bool:
        """Whether the value switches something off."""
        return self.value.strip().strip("\"'").lower() in ("false", "no", "off", "0", "disabled", "disable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something wrong with the file itself: `syntax`, `duplicate_key`, `empty`, `unreadable`, `too_large`."""

    code: Literal["syntax", "duplicate_key", "empty", "unreadable", "too_large"]
    detail: str
    line: int


@dataclass(slots=True, kw_only=True)
class Part:
    """One document of a file: YAML may hold several, other formats have one."""

    entries: list[Entry] = field(default_factory=list)
    _by_path: dict[Path, Entry] | None = None

    def at(self, *path: str) -> Entry | None:
        """The entry at exactly this path."""
        if self._by_path is None:
            self._by_path = {entry.path: entry for entry in self.entries}
        return self._by_path.get(path)

    def text(self, *path: str) -> str:
        """The value at exactly this path; empty where there is none."""
        entry = self.at(*path)
        return "" if entry is None else entry.value

    def under(self, prefix: Path) -> Iterator[Entry]:
        """Every entry below a path, and the one at it."""
        length = len(prefix)
        return (entry for entry in self.entries if entry.path[:length] == prefix)

    def items_of(self, *names: str) -> Iterator[Path]:
        """The paths of the elements of every list (or map) that has one of these names."""
        seen: set[Path] = set()
        for entry in self.entries:
            for place, part in enumerate(entry.path[:-1]):
                item = entry.path[: place + 2]
                if part in names and item not in seen:
                    seen.add(item)
                    yield item


@dataclass(slots=True, kw_only=True)
class Document:
    """A file that was read: what could be read stands in `parts`, what is wrong with it in `faults`."""

    name: str
    format: Format
    lines: list[str]
    parts: list[Part] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def entries(self) -> Iterator[Entry]:
        """All entries of all parts."""
        return (entry for part in self.parts for entry in part.entries)

    def line(self, number: int) -> str:
        """The text of a line, counted from 1; empty where there is none."""
        return self.lines[number - 1] if 1 <= number <= len(self.lines) else ""
