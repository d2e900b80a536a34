"""`write` and `check`."""

import os
import sys
from pathlib import Path

import agora_contracts
from agora_contracts.gates import asyncapi, pages, recorded, rules, snapshot, sources
from agora_contracts.gates.messages import all_messages
from agora_contracts.gates.workspace import Workspace, find_workspace, to_json, write_if_changed

_WRITE = "run `python -m agora_contracts write` and commit what it changes"
_NEW_VERSION = (
    "A message that somebody may still hold or send cannot change so. Add it as a new version beside the old one"
    " (an event type ending in .v2, a command with a verb ending in _v2), or give the new field a default."
)


def write(workspace: Workspace) -> int:
    """Write schemas, examples and reference pages. Refuses to when that would break a recorded schema."""
    messages = all_messages()
    schemas = snapshot.generate(messages)
    if broken := snapshot.breaking_changes(snapshot.on_disk(workspace), schemas):
        return _fail([*broken, _NEW_VERSION])
    wanted = _generated(workspace)
    for message in messages:
        if text := recorded.with_todays(workspace, message):
            wanted[recorded.path_of(workspace, message)] = text
    changed = [path for path, text in wanted.items() if write_if_changed(path, text)]
    for path in set(workspace.schemas.rglob("*.json")) - wanted.keys():
        path.unlink()
        changed.append(path)
    print("\n".join(f"wrote {workspace.relative(path)}" for path in changed) or "nothing has changed")
    return 0


def check(workspace: Workspace, against: str | None = None) -> int:
    """Run every gate; 0 when all hold.

    Args:
        against: the commit whose schemas must not be broken; by default `AGORA_CONTRACTS_BASE`, else HEAD.
    """
    found = problems(workspace, against or os.environ.get("AGORA_CONTRACTS_BASE") or "HEAD")
    if found:
        return _fail(found)
    print(f"{len(all_messages())} messages hold to their contracts")
    return 0


def problems(workspace: Workspace, against: str) -> list[str]:
    """Everything that the gates find, as sentences that say what to change."""
    messages = all_messages()
    return [
        *_stale(workspace),
        *_broken(workspace, against),
        *recorded.problems(workspace, messages),
        *rules.event_problems(sources.emitted_in_tests(workspace.root)),
        *rules.command_problems(),
        *rules.stream_problems(),
        *(
            f"agora_contracts/{one}; contracts import msgspec and the standard library only"
            for one in sources.foreign_imports(Path(agora_contracts.__path__[0]))
        ),
    ]


def _generated(workspace: Workspace) -> dict[Path, str]:
    schemas = snapshot.file_texts(snapshot.generate(all_messages()))
    return {workspace.schemas / name: text for name, text in schemas.items()} | {
        workspace.reference / "asyncapi.json": to_json(asyncapi.document()),
        workspace.reference / "events.md": pages.events_page(),
        workspace.reference / "commands.md": pages.commands_page(),
    }


def _stale(workspace: Workspace) -> list[str]:
    wanted = _generated(workspace)
    stale = [
        path
        for path, text in wanted.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    stale += sorted(set(workspace.schemas.rglob("*.json")) - wanted.keys())
    return [f"{workspace.relative(path)} is not what the contracts say; {_WRITE}" for path in stale]


def _broken(workspace: Workspace, against: str) -> list[str]:
    new = snapshot.generate(all_messages())
    before = snapshot.committed(workspace, against)
    if before is None:
        # An exported tree: what was written into it is all the history there is.
        before = snapshot.on_disk(workspace)
    broken = snapshot.breaking_changes(before, new)
    return [*broken, _NEW_VERSION] if broken else []


def _fail(sentences: list[str]) -> int:
    print("\n".join(sentences), file=sys.stderr)
    return 1


def main(arguments: list[str]) -> int:
    """The command line: `write`, `check`, `check --against COMMIT`."""
    match arguments:
        case ["write"]:
            return write(find_workspace())
        case ["check"]:
            return check(find_workspace())
        case ["check", "--against", commit]:
            return check(find_workspace(), commit)
    return _fail(["usage: python -m agora_contracts write | check [--against COMMIT]"])
