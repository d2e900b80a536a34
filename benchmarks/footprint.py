"""Seconds from nothing to ready, and idle memory by process: `./dev bench footprint`.

- *ours*: the whole platform on a folder that has been started before (databases migrated), until every part and
  process says that it can work.
- *theirs*: PostgreSQL, NATS and Temporal alone, on the same folder: what the parts take by themselves.

The rates are starts per second, so `ratio` is the parts' seconds divided by ours. Memory is the proportional set
size of each process with its children, a minute after the last start; pages shared with others count in part.
One JSON line last.
"""

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path

import msgspec
from agora_local.memory import megabytes
from agora_local.platform import Platform
from agora_local.settings import Ports
from agora_local.testing import own_folder

from benchmarks.pairs import interleave


def start_seconds(home: Path, *, parts_alone: bool) -> float:
    """How long a start takes, from the call until everything can work."""
    options = {"processes": ()} if parts_alone else {}
    begun = time.perf_counter()
    with Platform(home, Ports.free(), **options) as platform:  # type: ignore[arg-type]
        platform.wait_ready()
        return time.perf_counter() - begun


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="./dev bench footprint", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--idle-seconds", type=float, default=60)
    options = parser.parse_args(arguments)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    with own_folder() as folder:
        home = folder / "home"
        first = start_seconds(home, parts_alone=False)
        say(f"first start, with databases made and migrated: {first:.1f} s")
        ours: list[float] = []
        theirs: list[float] = []

        async def measure_ours() -> float:
            ours.append(await asyncio.to_thread(start_seconds, home, parts_alone=False))
            return 1 / ours[-1]

        async def measure_theirs() -> float:
            theirs.append(await asyncio.to_thread(start_seconds, home, parts_alone=True))
            return 1 / theirs[-1]

        measured = asyncio.run(interleave(measure_ours, measure_theirs, pairs=options.pairs, say=say))
        with Platform(home, Ports.free()) as platform:
            platform.wait_ready()
            time.sleep(options.idle_seconds)
            memory = {name: megabytes(pid) or 0.0 for name, pid in platform.pids().items()}
            if (forks := platform.fork_server_pid) is not None:
                memory["fork server"] = megabytes(forks, with_children=False) or 0.0
    line = measured.line(
        "footprint",
        first_start_seconds=round(first, 1),
        start_seconds=round(statistics.median(ours), 1),
        parts_alone_seconds=round(statistics.median(theirs), 1),
        idle_megabytes=dict(sorted(memory.items(), key=lambda item: -item[1])),
        idle_megabytes_in_all=round(sum(memory.values()), 1),
    )
    print(msgspec.json.encode(line).decode(), flush=True)


if __name__ == "__main__":
    main()
