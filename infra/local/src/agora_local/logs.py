"""The log files of all processes, read as one stream."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

_BLOCK_BYTES = 65_536


def log_names(folder: Path) -> list[str]:
    """The processes that have a log."""
    return sorted(path.stem for path in folder.glob("*.log"))


def last_lines(folder: Path, names: Sequence[str], count: int) -> list[tuple[str, str]]:
    """The last `count` lines of each log with its process' name, in the order of their time.

    Only our own processes write a time that can be compared; the lines of a part, and those without a time,
    come after the newest line of their own log that has one.
    """
    dated: list[tuple[str, int, str, str]] = []
    for name in names:
        moment = ""
        for number, line in enumerate(_tail(folder / f"{name}.log", count)):
            moment = max(moment, _time_of(line))
            dated.append((moment, number, name, line))
    return [(name, line) for _, _, name, line in sorted(dated, key=lambda entry: entry[0])]


def sizes(folder: Path) -> dict[str, int]:
    """How long each log is now, in bytes: where `follow` may begin."""
    return {name: _size(folder / f"{name}.log") for name in log_names(folder)}


def follow(
    folder: Path,
    names: Callable[[], Sequence[str]],
    *,
    begin: Mapping[str, int] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[str, str]]:
    """New lines of the logs, also of logs that appear later.

    Args:
        begin: Where each log was read to already; by default its end at this moment.
        stop: Asked between rounds; what was written before it said yes is still read.
    """
    at = dict(sizes(folder) if begin is None else begin)
    rest: dict[str, bytes] = {}
    while True:
        stopping = stop()
        for name in names():
            path = folder / f"{name}.log"
            if not path.exists():
                continue
            if _size(path) < at.get(name, 0):
                at[name] = 0  # It was replaced by a new one.
            with path.open("rb") as file:
                file.seek(at.get(name, 0))
                read = file.read()
            at[name] = at.get(name, 0) + len(read)
            *lines, rest[name] = (rest.get(name, b"") + read).split(b"\n")
            yield from ((name, line.decode(errors="replace")) for line in lines)
        if stopping:
            return
        time.sleep(0.2)


def _tail(path: Path, count: int) -> list[str]:
    with path.open("rb") as file:
        file.seek(0, 2)
        position, text = file.tell(), b""
        while position > 0 and text.count(b"\n") <= count:
            step = min(_BLOCK_BYTES, position)
            position -= step
            file.seek(position)
            text = file.read(step) + text
    return text.decode(errors="replace").splitlines()[-count:] if count > 0 else []


def _time_of(line: str) -> str:
    if not line.startswith("{"):
        return ""
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    return str(entry.get("timestamp", ""))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
