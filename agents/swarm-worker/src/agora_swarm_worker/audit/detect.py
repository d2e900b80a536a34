"""Which format a file has, told from its name and, where that does not say, from its first lines."""

import re
from pathlib import PurePosixPath

from agora_swarm_worker.audit.documents import Format

_BY_SUFFIX: dict[str, Format] = {
    ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml", ".ini": "ini", ".cfg": "ini",
    ".properties": "ini", ".env": "env", ".dockerfile": "dockerfile", ".service": "ini",
}  # fmt: skip
_DOCKERFILE = re.compile(r"^\s*(FROM|ARG)\s+\S+", re.IGNORECASE)
_NGINX = re.compile(r"^\s*(server|http|events|upstream|location|user|worker_processes)\b[^=:]*[{;]\s*$")
_SECTION = re.compile(r"^\s*\[[^\[\]]+\]\s*$")
_ASSIGNMENT = re.compile(r"^\s*(export\s+)?[A-Za-z_][A-Za-z0-9_]*=")
_MAPPING = re.compile(r"^\s*(- )?[\"']?[A-Za-z0-9_./-]+[\"']?\s*:(\s|$)")


def format_of(name: str, lines: list[str]) -> Format:
    """The format of a file; `unknown` where neither its name nor its text says it."""
    plain = PurePosixPath(name).name.lower()
    if plain.startswith(("dockerfile", "containerfile")):
        return "dockerfile"
    if plain == ".env" or plain.startswith(".env.") or plain.endswith(".env"):
        return "env"
    suffix = PurePosixPath(plain).suffix
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    return _by_text(
        [line for line in lines if line.strip() and not line.lstrip().startswith(("#", ";"))][:40]
    )


def _by_text(lines: list[str]) -> Format:
    if not lines:
        return "unknown"
    first = lines[0].lstrip()
    if any(_NGINX.match(line) for line in lines):
        return "nginx"
    if _SECTION.match(lines[0]):
        return "ini"
    if first.startswith(("{", "[")):
        return "json"
    if _DOCKERFILE.match(first) and not _MAPPING.match(first):
        return "dockerfile"
    if all(_ASSIGNMENT.match(line) for line in lines[:5]):
        return "env"
    if first.startswith("---") or _MAPPING.match(first):
        return "yaml"
    return "unknown"
