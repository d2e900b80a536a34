"""Reading line-wise formats with their lines: TOML, INI and .env."""

import re
import tomllib
from typing import Any

from agora_swarm_worker.audit.documents import ENTRIES_MAX, Document, Entry, Fault, Kind, Part, Path

_TOML_PLACE = re.compile(r"at line (\d+)")
_TABLE = re.compile(r"^\s*\[(\[)?\s*([^\[\]]+?)\s*\]")
_TOML_KEY = re.compile(
    r"^\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'))*)\s*="
)
_KEY_PART = re.compile(r"[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'")
_INI_KEY = re.compile(r"^([^=:\s\[#;][^=:]*?)\s*[=:]\s*(.*)$")
_ENV_KEY = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*)$")
_REPEATABLE_SECTIONS = frozenset({"unit", "service", "install", "timer", "socket", "mount"})
"""Sections of systemd, where a key may well be given several times."""


def read_toml(document: Document, text: str) -> None:
    """Read a TOML file; the parser is Python's own, and lines come from where each key is first assigned."""
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = _TOML_PLACE.search(str(error))
        twice = "overwrite" in str(error) or "twice" in str(error) or "multiple times" in str(error)
        document.faults.append(
            Fault(
                code="duplicate_key" if twice else "syntax",
                detail=f"not valid TOML: {error}",
                line=min(int(found[1]), max(len(document.lines), 1)) if found else 1,
            )
        )
        return
    part = Part()
    document.parts.append(part)
    _unfold(part, tree, (), _toml_lines(document.lines), 1)


def _toml_lines(lines: list[str]) -> dict[Path, int]:
    places: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    fence = ""
    for number, line in enumerate(lines, 1):
        if fence:
            fence = "" if fence in line else fence
            continue
        if header := _TABLE.match(line):
            table = _parts(header[2])
            if header[1]:
                counts[table] = counts.get(table, -1) + 1
                table = (*table, str(counts[table]))
            places.setdefault(table, number)
        elif key := _TOML_KEY.match(line):
            places.setdefault((*table, *_parts(key[1])), number)
            rest = line[key.end() :]
            fence = next((one for one in ('"""', "'''") if rest.count(one) % 2 == 1), "")
    return places


def _parts(dotted: str) -> Path:
    return tuple(part.strip("\"'") for part in _KEY_PART.findall(dotted))


def _unfold(part: Part, value: Any, path: Path, places: dict[Path, int], line: int) -> None:
    line = places.get(path, line)
    if len(part.entries) >= ENTRIES_MAX:
        return
    if isinstance(value, dict):
        part.entries.append(Entry(path=path, value="", line=line, kind="map"))
        for name, item in value.items():
            _unfold(part, item, (*path, str(name)), places, line)
    elif isinstance(value, list):
        part.entries.append(Entry(path=path, value="", line=line, kind="list"))
        for place, item in enumerate(value):
            _unfold(part, item, (*path, str(place)), places, line)
    else:
        kind: Kind = "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        part.entries.append(Entry(path=path, value=shown, line=line, kind=kind))


def read_ini(document: Document) -> None:
    """Read an INI file or Java properties: sections, `key = value` or `key: value`, indented continuations."""
    part = Part()
    document.parts.append(part)
    section: Path = ()
    seen: dict[Path, int] = {}
    for number, line in enumerate(document.lines, 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;!":
            continue
        if stripped[0] == "[":
            if not stripped.rstrip().split("#")[0].split(";")[0].rstrip().endswith("]"):
                document.faults.append(
                    Fault(code="syntax", detail="a section is not closed by ]", line=number)
                )
                continue
            section = (stripped[1 : stripped.rindex("]")].strip(),)
            continue
        found = _INI_KEY.match(stripped)
        if found is None:
            if line[0] not in " \t" and not (section and section[0]):
                document.faults.append(
                    Fault(code="syntax", detail="neither a section nor a key with a value", line=number)
                )
            continue
        path = (*section, found[1].strip())
        if path in seen and not (section and section[0].lower() in _REPEATABLE_SECTIONS):
            document.faults.append(_twice(found[1].strip(), seen[path], number))
        seen.setdefault(path, number)
        value = re.split(r"\s[#;]", found[2], maxsplit=1)[0].strip()
        part.entries.append(Entry(path=path, value=_unquoted(value), line=number))


def read_env(document: Document) -> None:
    """Read a .env file: `KEY=value`, optionally exported and quoted."""
    part = Part()
    document.parts.append(part)
    seen: dict[str, int] = {}
    quote = ""
    for number, line in enumerate(document.lines, 1):
        stripped = line.strip()
        if quote:
            quote = "" if stripped.endswith(quote) else quote
            continue
        if not stripped or stripped.startswith("#"):
            continue
        found = _ENV_KEY.match(line)
        if found is None:
            document.faults.append(Fault(code="syntax", detail="no KEY=value", line=number))
            continue
        name, value = found[1], found[2].strip()
        if value[:1] in ("'", '"') and value.count(value[0]) == 1:
            quote = value[0]
        if name in seen:
            document.faults.append(_twice(name, seen[name], number))
        seen.setdefault(name, number)
        if value[:1] not in ("'", '"'):
            value = re.split(r"\s#", value, maxsplit=1)[0].strip()
        part.entries.append(Entry(path=(name,), value=_unquoted(value), line=number))


def _twice(name: str, first: int, line: int) -> Fault:
    detail = f"{name!r} is given twice (first in line {first}): the last one counts, silently"
    return Fault(code="duplicate_key", detail=detail, line=line)


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'" else value
