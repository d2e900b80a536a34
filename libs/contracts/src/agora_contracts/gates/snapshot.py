"""The snapshot of all schemas: written, compared with the catalogue, and with the one committed before."""

import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from typing import Any

import msgspec

from agora_contracts.gates.compatibility import breaks
from agora_contracts.gates.messages import Message, lineage
from agora_contracts.gates.workspace import Workspace, to_json

type Snapshot = dict[str, dict[str, Any]]
"""Schemas by the name of their message."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def generate(messages: list[Message]) -> Snapshot:
    """The schemas as the types say today."""
    return {one.name: {"$schema": _DIALECT, **msgspec.json.schema(one.type)} for one in messages}


def file_texts(snapshot: Snapshot) -> dict[str, str]:
    """The snapshot's files: name below the folder of schemas, and text."""
    return {f"{name}.json": to_json(schema) for name, schema in snapshot.items()}


def on_disk(workspace: Workspace) -> Snapshot:
    """The snapshot in the working tree."""
    return {
        path.relative_to(workspace.schemas).as_posix().removesuffix(".json"): json.loads(path.read_text())
        for path in sorted(workspace.schemas.rglob("*.json"))
    }


def committed(workspace: Workspace, commit: str) -> Snapshot | None:
    """The snapshot in `commit`; None when this is no git checkout (an exported tree) or has no such commit.

    A checkout whose commit has no snapshot yet gives an empty one.
    """
    folder = workspace.relative(workspace.schemas)
    if _git(workspace, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}") is None:
        return None
    archive = _git(workspace, "archive", "--format=tar", commit, "--", folder)
    if archive is None:
        return {}
    found: Snapshot = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            if (file := files.extractfile(member)) is not None and member.name.endswith(".json"):
                name = member.name.removeprefix(f"{folder}/").removesuffix(".json")
                found[name] = json.loads(file.read())
    return found


def _git(workspace: Workspace, *arguments: str) -> bytes | None:
    try:
        result = subprocess.run(["git", *arguments], cwd=workspace.root, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return result.stdout if result.returncode == 0 else None


def breaking_changes(old: Snapshot, new: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What breaks those who know `old`: changed messages, and removed ones without a later version."""
    found: list[str] = []
    newest: dict[str, int] = {}
    for name in new:
        line, version = lineage(name)
        newest[line] = max(version, newest.get(line, 0))
    for name, schema in old.items():
        line, version = lineage(name)
        if name in new:
            found += [f"{name}: {sentence}" for sentence in breaks(schema, new[name])]
        elif newest.get(line, 0) <= version:
            found.append(f"{name}: the message is gone and has no later version")
    return found
