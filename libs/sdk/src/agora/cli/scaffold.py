"""`agora new`: the folder of a new agent, from the templates beside this file."""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from agora_contracts.ids import is_slug

TEMPLATE_SUFFIX = ".template"


class ScaffoldRefused(Exception):
    """The name is no slug, or something is in the way."""


def scaffold(name: str, parent: Path) -> Path:
    """Write the folder `parent / name` and return it.

    Raises:
        ScaffoldRefused: the name is not a slug, or the folder exists and is not empty.
    """
    if not is_slug(name):
        raise ScaffoldRefused(
            f"{name!r} is no agent's name: use lower-case words joined by hyphens, such as my-agent."
        )
    target = parent / name
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ScaffoldRefused(f"{target} exists already. Choose another name or --dir.")
    package = f"agora_{name.replace('-', '_')}"
    words = {"name": name, "package": package, "title": name.replace("-", " ").capitalize()}
    _copy(resources.files("agora.cli") / "template", target, words)
    (target / "src" / "PACKAGE").rename(target / "src" / package)
    return target


def _copy(source: Traversable, target: Path, words: dict[str, str]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for item in source.iterdir():
        path = target / item.name.removesuffix(TEMPLATE_SUFFIX)
        if item.is_dir():
            _copy(item, path, words)
        elif item.name.endswith(TEMPLATE_SUFFIX):
            path.write_text(Template(item.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
