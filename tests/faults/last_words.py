"""What the processes of a platform logged as errors, told before a fault test that failed deletes its folder."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from agora_local.logs import last_lines, log_names

_ERRORS = frozenset({"error", "critical"})
_SHOWN_FRAMES = 4
_VALUE_CHARS = 300


class Verdict(msgspec.Struct):
    """Whether the test has passed; until somebody says so it has not."""

    passed: bool = False


@contextmanager
def told_on_failure(logs_folder: Path, say: Callable[[str], None], *, of_each: int = 10) -> Iterator[Verdict]:
    """Say the last errors and the last line of each process unless the block ends with a verdict of `passed`."""
    verdict = Verdict()
    try:
        yield verdict
    finally:
        if not verdict.passed:
            for line in last_errors(logs_folder, of_each):
                say(line)
            for name, line in last_lines(logs_folder, log_names(logs_folder), 1):
                say(f"{name} at last: {line[:_VALUE_CHARS]}")


def last_errors(logs_folder: Path, of_each: int) -> list[str]:
    """The last `of_each` errors of each log, with the end of their tracebacks; the same one only once."""
    told = []
    for name in log_names(logs_folder):
        errors: dict[str, str] = {}
        with (logs_folder / f"{name}.log").open(errors="replace") as log:
            for line in log:
                if found := _error(line):
                    key, text = found
                    # Once more at its new place: the last ones are wanted.
                    errors.pop(key, None)
                    errors[key] = text
        told += [f"{name}: {text}" for text in list(errors.values())[-of_each:]]
    return told


def _error(line: str) -> tuple[str, str] | None:
    """What is the same in a repetition of an error, and the error as text; None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    if entry.get("level") not in _ERRORS:
        return None
    moment, causes = entry.pop("timestamp", ""), entry.pop("exception", None) or []
    entry = {name: value for name, value in entry.items() if name not in ("level", "service")}
    text = " ".join(
        [str(entry.pop("event", "")), *(f"{name}={value!r}"[:_VALUE_CHARS] for name, value in entry.items())]
    )
    if isinstance(causes, list):
        text += "".join(f"\n    {_cause(one)}" for one in causes)
    else:
        text += f"\n    {causes}"
    return text, f"{moment} {text}"


def _cause(cause: dict[str, Any]) -> str:
    frames = cause.get("frames", [])[-_SHOWN_FRAMES:]
    where = "".join(f"\n        {one['filename']}:{one['lineno']} in {one['name']}" for one in frames)
    return f"{cause.get('exc_type')}: {cause.get('exc_value')}{where}"
