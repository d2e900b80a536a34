"""Reading YAML and JSON with the line of every value, by PyYAML's composer: nothing is constructed or executed."""

import json
import re
from typing import Any

import yaml

from agora_swarm_worker.audit.documents import ENTRIES_MAX, Document, Entry, Fault, Kind, Part, Path

_KINDS: dict[str, Kind] = {
    "tag:yaml.org,2002:bool": "bool",
    "tag:yaml.org,2002:int": "number",
    "tag:yaml.org,2002:float": "number",
    "tag:yaml.org,2002:null": "null",
}
_MERGE = "tag:yaml.org,2002:merge"
_DEPTH_MAX = 64
_BRACKETS_MAX = 1_000
_BRACKET = re.compile(r"[\[\]{}]")
_INLINE = re.compile(r"(?:[-?:][ \t]+){100}")

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _TooMuch(Exception):
    """The file unfolds to more entries, or deeper, than is read."""


def read_yaml(document: Document, text: str) -> None:
    """Read every document of a YAML file; a syntax error ends it where it stands."""
    if _is_too_deep(text):
        document.faults.append(Fault(code="too_large", detail="too deeply nested", line=1))
        return
    try:
        for node in yaml.compose_all(text, Loader=_Loader):
            part = Part()
            document.parts.append(part)
            _walk(document, part, node, (), 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else min(mark.line + 1, max(len(document.lines), 1))
        what = " ".join(filter(None, (error.context, error.problem)))
        document.faults.append(Fault(code="syntax", detail=f"not valid YAML: {what}", line=line))
    except (yaml.YAMLError, RecursionError) as error:
        document.faults.append(Fault(code="syntax", detail=f"not valid YAML: {str(error)[:200]}", line=1))
    except _TooMuch:
        document.faults.append(
            Fault(code="too_large", detail=f"more than {ENTRIES_MAX} values or too deeply nested", line=1)
        )


def read_json(document: Document, text: str) -> None:
    """Read a JSON file strictly: comments, trailing commas and NaN are faults."""
    try:
        json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        document.faults.append(Fault(code="syntax", detail=f"not valid JSON: {error.msg}", line=error.lineno))
        return
    except (ValueError, RecursionError) as error:
        document.faults.append(Fault(code="syntax", detail=f"not valid JSON: {error}", line=1))
        return
    # What is valid JSON is valid YAML but for tabs, which stand only between values here.
    read_yaml(document, text.replace("\t", " "))


def _is_too_deep(text: str) -> bool:
    """Whether nesting would exhaust the stack of the parser, which is written in C and does not look at it."""
    depth = 0
    for found in _BRACKET.finditer(text):
        depth += 1 if found[0] in "[{" else -1
        if depth > _BRACKETS_MAX:
            return True
    return bool(_INLINE.search(text))


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _walk(document: Document, part: Part, node: yaml.Node | None, path: Path, depth: int) -> None:
    if node is None:
        return
    if depth > _DEPTH_MAX or len(part.entries) >= ENTRIES_MAX:
        raise _TooMuch
    line = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        part.entries.append(
            Entry(path=path, value=node.value, line=line, kind=_KINDS.get(node.tag, "string"))
        )
    elif isinstance(node, yaml.SequenceNode):
        part.entries.append(Entry(path=path, value="", line=line, kind="list"))
        for place, item in enumerate(node.value):
            _walk(document, part, item, (*path, str(place)), depth + 1)
    elif isinstance(node, yaml.MappingNode):
        part.entries.append(Entry(path=path, value="", line=line, kind="map"))
        _walk_mapping(document, part, node, path, depth)


def _walk_mapping(document: Document, part: Part, node: yaml.MappingNode, path: Path, depth: int) -> None:
    seen: dict[str, int] = {}
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else "?"
        line = key.start_mark.line + 1
        if key.tag == _MERGE or name == "<<":
            # What is merged counts as if it stood here: a limit given by an anchor is a limit.
            merged = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for one in merged:
                if isinstance(one, yaml.MappingNode):
                    _walk_mapping(document, part, one, path, depth + 1)
            continue
        if name in seen and depth < _DEPTH_MAX:
            detail = f"{name!r} is given twice (first in line {seen[name]}): the last one counts, silently"
            fault = Fault(code="duplicate_key", detail=detail, line=line)
            if fault not in document.faults:
                document.faults.append(fault)
        seen.setdefault(name, line)
        before = len(part.entries)
        _walk(document, part, value, (*path, name), depth + 1)
        if len(part.entries) > before and not isinstance(value, yaml.ScalarNode):
            # A map or list is found where its name stands.
            first = part.entries[before]
            part.entries[before] = Entry(path=first.path, value="", line=line, kind=first.kind)
