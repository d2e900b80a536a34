"""Does requirements.lock agree with the pyproject files, and is it what is installed? Needs no network.

Follows the requirements of every member (all extras, all groups) through the metadata of the installed
packages. What it reaches must be locked with hashes and installed in that version, in a version that everyone
who asks for it accepts; what is locked must be reached. Run as `python -m agora_local.lock_check`.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_MEMBERS = ("libs/*", "services/*", "agents/*", "infra/local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """One line of requirements.lock."""

    version: str
    hashes: int
    marker: Marker | None

    @property
    def applies_here(self) -> bool:
        """Whether this machine installs it."""
        return self.marker is None or self.marker.evaluate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A requirement and who states it."""

    requirement: Requirement
    by: str

    @property
    def name(self) -> str:
        """The normalised name of the package asked for."""
        return canonicalize_name(self.requirement.name)


def read_lock(text: str) -> dict[str, Locked]:
    """The packages of a requirements.lock by normalised name.

    Raises:
        ValueError: a line is not `name==version`.
    """
    locked: dict[str, Locked] = {}
    for entry in re.sub(r"\\\n", " ", text).splitlines():
        if not entry.strip() or entry.lstrip().startswith("#"):
            continue
        requirement = Requirement(entry.split("--hash", 1)[0].strip())
        pins = [pin for pin in requirement.specifier if pin.operator == "=="]
        if len(pins) != 1:
            raise ValueError(f"requirements.lock: {requirement} does not name one version")
        locked[canonicalize_name(requirement.name)] = Locked(
            version=pins[0].version, hashes=entry.count("--hash="), marker=requirement.marker
        )
    return locked


def problems(root: Path) -> list[str]:
    """All disagreements of the workspace at `root`, as sentences; empty when there are none."""
    workspace = tomllib.loads((root / "pyproject.toml").read_text())
    members = _members(root)
    locked = read_lock((root / "requirements.lock").read_text())
    overrides: dict[str, Requirement] = {
        canonicalize_name(requirement.name): requirement
        for requirement in map(Requirement, workspace["tool"]["uv"].get("override-dependencies", []))
    }
    found = [
        f"{name} is locked without a hash"
        for name, entry in locked.items()
        if entry.applies_here and not entry.hashes
    ]
    reached: set[str] = set()
    for asked in _closure(_roots(workspace, members, _groups(root)), members, overrides):
        found += _disagreements(asked, locked)
        reached.add(asked.name)
    found += [
        f"{name} {entry.version} is locked, but nothing asks for it"
        for name, entry in locked.items()
        if entry.applies_here and name not in reached
    ]
    return sorted(set(found))


def _members(root: Path) -> dict[str, Mapping[str, object]]:
    files = [file for pattern in _MEMBERS for file in sorted(root.glob(f"{pattern}/pyproject.toml"))]
    projects = [tomllib.loads(file.read_text())["project"] for file in files]
    return {canonicalize_name(project["name"]): project for project in projects}


def _groups(root: Path) -> list[tuple[str, str]]:
    """Every line of every dependency group, of the workspace and of its members, with the group's name."""
    files = [
        root / "pyproject.toml",
        *(file for one in _MEMBERS for file in root.glob(f"{one}/pyproject.toml")),
    ]
    return [
        (group, line)
        for file in files
        for group, lines in tomllib.loads(file.read_text()).get("dependency-groups", {}).items()
        for line in lines
        # A group may include another one, whose lines are here already.
        if isinstance(line, str)
    ]


def _roots(
    workspace: dict[str, dict[str, list[str]]],
    members: Mapping[str, object],
    groups: Iterable[tuple[str, str]],
) -> list[Asked]:
    roots = [Asked(requirement=Requirement(line), by=f"group {group}") for group, line in groups]
    lines = workspace["project"].get("dependencies", [])
    roots += [Asked(requirement=Requirement(line), by="the workspace") for line in lines]
    return [*roots, *(Asked(requirement=Requirement(member), by="the workspace") for member in members)]


def _closure(
    roots: list[Asked],
    members: Mapping[str, Mapping[str, object]],
    overrides: Mapping[str, Requirement],
) -> Iterator[Asked]:
    """Every requirement on a package from outside the workspace that holds on this machine."""
    waiting = list(roots)
    seen: set[tuple[str, str]] = set()
    while waiting:
        asked = waiting.pop()
        if asked.name not in members:
            yield asked
        for extra in ("", *sorted(asked.requirement.extras)):
            if (asked.name, extra) not in seen:
                seen.add((asked.name, extra))
                waiting += _requirements(asked.name, extra, members, overrides)


def _requirements(
    name: str, extra: str, members: Mapping[str, Mapping[str, object]], overrides: Mapping[str, Requirement]
) -> Iterator[Asked]:
    if (project := members.get(name)) is not None:
        # All extras: the lock is made for all of them.
        optional = project.get("optional-dependencies", {})
        assert isinstance(optional, dict)
        dependencies = project.get("dependencies", [])
        assert isinstance(dependencies, list)
        lines = [*dependencies, *(line for lines in optional.values() for line in lines)]
    else:
        try:
            lines = metadata.distribution(name).requires or []
        except metadata.PackageNotFoundError:
            return  # Reported where it is compared with the lock.
    for line in lines:
        requirement = Requirement(line)
        requirement = overrides.get(canonicalize_name(requirement.name), requirement)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield Asked(requirement=requirement, by=name)


def _disagreements(asked: Asked, locked: Mapping[str, Locked]) -> list[str]:
    entry = locked.get(asked.name)
    if entry is None or not entry.applies_here:
        return [f"{asked.by} asks for {asked.requirement}, which is not locked"]
    found = []
    if not asked.requirement.specifier.contains(entry.version, prereleases=True):
        found.append(f"{asked.by} asks for {asked.requirement}, but {entry.version} is locked")
    try:
        installed = metadata.version(asked.name)
    except metadata.PackageNotFoundError:
        return [*found, f"{asked.name} {entry.version} is locked, but not installed"]
    if installed != entry.version:
        found.append(f"{asked.name} {entry.version} is locked, but {installed} is installed")
    return found


def main(root: Path | None = None) -> int:
    """Print what disagrees and what to do; the exit code."""
    root = root or Path.cwd()
    if found := problems(root):
        print("\n".join(found), file=sys.stderr)
        print(
            "requirements.lock and the pyproject files do not agree. Run `./dev lock` and commit"
            " requirements.lock; `./dev` then installs it.",
            file=sys.stderr,
        )
        return 1
    print("requirements.lock agrees with the pyproject files and with what is installed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
