"""What an agent is tried with: cases of its own evals, their files and their configuration."""

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import agora
from agora.file_refs import file_refs

REPOSITORY = Path(__file__).resolve().parents[2]
CASES_MAX = 2

CALLED: dict[str, list[str]] = {"swarm": ["swarm-worker", "echo"]}
"""Agents that others call in their cases: they are listed as well."""

WITHOUT_EVALS: dict[str, list[dict[str, Any]]] = {
    "echo": [{"text": "hello"}, {"text": "hello again", "steps": 3, "fail": "retry_once"}]
}
"""Inputs for agents that exist to be tried out and have no evals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Inputs and a configuration whose file references are paths below `base`."""

    base: Path
    inputs: list[dict[str, Any]]
    config: dict[str, Any] = field(default_factory=dict)


def sample_of(agent: agora.Agent, scratch: Path) -> Sample:
    """The first cases of an agent's evals, copied to `scratch`, with every folder made into files.

    A configuration may name a folder only where an agent runs alone: its files stand for it, or, where the
    agent takes one file, a zip of them.

    Raises:
        AssertionError: the agent has no cases.
    """
    if agent.id in WITHOUT_EVALS:
        return Sample(base=scratch, inputs=WITHOUT_EVALS[agent.id])
    cases = _cases_file(REPOSITORY / "agents" / agent.id / "evals")
    base = scratch / "sample"
    shutil.copytree(cases.parent, base)
    inputs = [
        json.loads(line)["input"] for line in cases.read_text(encoding="utf-8").splitlines()[:CASES_MAX]
    ]
    beside = base / "config.json"
    config = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
    return Sample(base=base, inputs=inputs, config=_without_folders(agent, config, base))


def _cases_file(evals: Path) -> Path:
    found = [path for path in sorted(evals.rglob("*.jsonl")) if _has_inputs(path)]
    assert found, f"{evals} has no file of cases: lines of JSON with an `input`"
    # Cases with a configuration beside them say more.
    return min(found, key=lambda path: not path.with_name("config.json").is_file())


def _has_inputs(path: Path) -> bool:
    with path.open(encoding="utf-8") as lines:
        first = json.loads(lines.readline() or "null")
    return isinstance(first, dict) and isinstance(first.get("input"), dict)


def _without_folders(agent: agora.Agent, config: dict[str, Any], base: Path) -> dict[str, Any]:
    for ref in file_refs(agent.config_schema, config):
        folder = base / ref
        if folder.is_dir():
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            listed = replaced(config, {ref: [path.relative_to(base).as_posix() for path in files]}.get)
            try:
                agent.read_config(listed)
                config = listed
            except agora.InputRejected:
                packed = f"{ref}.zip"
                with zipfile.ZipFile(base / packed, "w") as archive:
                    for path in files:
                        archive.write(path, path.relative_to(folder).as_posix())
                config = replaced(config, {ref: packed}.get)
    return config


def replaced(value: Any, change: Callable[[str], Any]) -> Any:
    """A document in which each string is what `change` makes of it, where that is not None."""
    if isinstance(value, dict):
        return {name: replaced(item, change) for name, item in value.items()}
    if isinstance(value, list):
        return [replaced(item, change) for item in value]
    if isinstance(value, str):
        changed = change(value)
        return value if changed is None else changed
    return value
