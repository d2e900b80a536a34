"""Many inputs through one agent in one process: a line of cases in, a line of results out."""

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec

from agora.alone import Deployment
from agora.errors import AgoraError, RunFailed
from agora.ports import Models

log = logging.getLogger("agora.eval")

LINE_BYTES_MAX = 64 * 1024 * 1024
"""A longer line is a fault of that case; it is skipped without being held in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One line: its number from 1, its id, and its input or what is wrong with it."""

    number: int
    id: Any = None
    input: Any = None
    fault: str | None = None


@dataclass(slots=True, kw_only=True)
class Summary:
    """How many cases there were, and how many of them ended in an error."""

    cases: int = 0
    failed: int = 0


async def evaluate(
    deployment: Deployment,
    cases: IO[bytes],
    results: IO[bytes],
    *,
    base: Path,
    files_out: Path,
    concurrency: int,
    models: Models,
    on_result: Callable[[Summary], None],
) -> Summary:
    """Run every case and write a result for each, in the order of the cases, flushed as they come.

    At most `concurrency` cases run at once and twice as many are held. What goes wrong in one case becomes
    its error line; only a fault in reading or writing the files themselves ends the rest.
    """
    gate = asyncio.Semaphore(concurrency)
    summary = Summary()

    async def one(case: Case) -> dict[str, Any]:
        async with gate:
            return await _result(deployment, case, base=base, files_out=files_out, models=models)

    def write(line: dict[str, Any]) -> None:
        results.write(msgspec.json.encode(line) + b"\n")
        results.flush()
        summary.cases += 1
        summary.failed += "error" in line
        on_result(summary)

    running: deque[asyncio.Task[dict[str, Any]]] = deque()
    async with asyncio.TaskGroup() as group:
        for case in read_cases(cases):
            running.append(group.create_task(one(case)))
            if len(running) >= concurrency * 2:
                write(await running.popleft())
        while running:
            write(await running.popleft())
    return summary


def read_cases(lines: IO[bytes]) -> Iterator[Case]:
    """The cases of a file; blank lines are no cases, malformed ones come with their fault."""
    number = 0
    while line := lines.readline(LINE_BYTES_MAX):
        number += 1
        if len(line) == LINE_BYTES_MAX and not line.endswith(b"\n"):
            while (rest := lines.readline(LINE_BYTES_MAX)) and not rest.endswith(b"\n"):
                pass
            yield Case(number=number, fault=f"Line {number} is longer than {LINE_BYTES_MAX} bytes.")
        elif line.strip():
            yield _read_case(number, line)


def _read_case(number: int, line: bytes) -> Case:
    try:
        value = msgspec.json.decode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Case(number=number, fault=f"Line {number} is not JSON: {error}")
    if not isinstance(value, dict):
        return Case(number=number, fault=f'Line {number} must be an object with "id" and "input".')
    case_id = value.get("id")
    if not isinstance(case_id, str | int) or isinstance(case_id, bool):
        return Case(number=number, fault=f'Line {number} needs an "id": a string or a whole number.')
    if "input" not in value:
        return Case(number=number, id=case_id, fault=f'Line {number} has no "input".')
    return Case(number=number, id=case_id, input=value["input"])


async def _result(
    deployment: Deployment, case: Case, *, base: Path, files_out: Path, models: Models
) -> dict[str, Any]:
    if case.fault is not None:
        return _error(case, "malformed_case", case.fault)
    try:
        result = await deployment.run(
            case.input, base=base, out=files_out, subfolder=_subfolder(case), models=models
        )
        return {"id": case.id, "output": msgspec.to_builtins(result.output)}
    except RunFailed as error:
        return _error(case, error.code, error.detail, error.place)
    except AgoraError as error:
        return _error(case, "agent_fault", str(error))
    except Exception as error:
        log.exception("case %r", case.id)
        return _error(case, "agent_fault", f"{type(error).__name__}: {error}")


def _error(case: Case, code: str, detail: str, place: str | None = None) -> dict[str, Any]:
    error = {"code": code, "detail": detail}
    if place is not None:
        error["place"] = place
    return {"id": case.id, "error": error}


def _subfolder(case: Case) -> str:
    """A folder of its own for each case: two of them may well save a file of the same name."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", str(case.id)).strip(".-")[:60]
    return f"{case.number}-{readable}" if readable else str(case.number)
