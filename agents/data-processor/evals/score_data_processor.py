"""Clean every case through the agent itself and score it against the truth.

    python agents/data-processor/evals/score_data_processor.py [--split report] [--fresh 200] [--verbose]

`--fresh N` scores N made tables that are on no disk, from seeds of your choice (`--seed`).
"""

import argparse
import asyncio
import csv
import datetime
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import agora_data_processor
import polars as pl
from agora import alone

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from corpus import make  # noqa: E402
from scoring import Score, score  # noqa: E402


def typed(value: Any, kind: str) -> Any:
    """A value of expected.jsonl as its type."""
    if value is None or kind not in ("date", "datetime", "time"):
        return value
    readers = {"date": datetime.date, "datetime": datetime.datetime, "time": datetime.time}
    return readers[kind].fromisoformat(value)  # type: ignore[attr-defined]


async def score_case(
    deployment: alone.Deployment, file: str, base: Path, out: Path, truth: dict[str, Any]
) -> Score:
    """Run one file and compare what was delivered."""
    result = await deployment.run({"file": file}, base=base, out=out)
    output = result.output
    rows = pl.read_parquet(out / output.artifact_uri).to_dicts()
    with (out / output.rejected_uri).open(encoding="utf-8", newline="") as stream:
        rejected = [int(row["line"]) for row in csv.DictReader(stream)]
    kinds = {column.name: column.type for column in output.schema}
    return score(
        truth["names"],
        truth["types"],
        truth["rows"],
        truth["key"],
        kinds,
        rows,
        truth["rejected_lines"],
        rejected,
    )


def stored(split: str | None) -> list[tuple[str, dict[str, Any], Path, str]]:
    """(id, truth, base folder, file) of the stored cases."""
    with (HERE / "expected.jsonl").open(encoding="utf-8") as stream:
        truths = {truth["id"]: truth for truth in map(json.loads, stream)}
    for truth in truths.values():
        truth["rows"] = [
            [typed(v, k) for v, k in zip(row, truth["types"], strict=True)] for row in truth["rows"]
        ]
    with (HERE / "cases.jsonl").open(encoding="utf-8") as stream:
        cases = [json.loads(line) for line in stream]
    return [
        (case["id"], truths[case["id"]], HERE, case["input"]["file"])
        for case in cases
        if split is None or truths[case["id"]]["split"] == split
    ]


def fresh(count: int, seed: int, folder: Path) -> list[tuple[str, dict[str, Any], Path, str]]:
    """The same for tables that are made now."""
    made = []
    for table in map(make, range(seed, seed + count)):
        (folder / table.name).write_bytes(table.content)
        truth = {
            "names": table.names,
            "types": table.kinds,
            "rows": table.rows,
            "key": table.key,
            "rejected_lines": table.rejected_lines,
        }
        made.append((table.name, truth, folder, table.name))
    return made


async def main() -> None:
    """Score and print one JSON line last."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--split", choices=["tune", "report"])
    parser.add_argument("--fresh", type=int, default=0)
    parser.add_argument("--seed", type=int, default=50_000)
    parser.add_argument("--verbose", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder)
        cases = fresh(asked.fresh, asked.seed, temporary) if asked.fresh else stored(asked.split)
        deployment = await alone.deploy(agora_data_processor.agent, base=HERE, cache=temporary / "cache")
        scores = []
        started = time.perf_counter()
        for identity, truth, base, file in cases:
            result = await score_case(deployment, file, base, temporary / "out", truth)
            scores.append(result)
            if asked.verbose and (result.types < 1 or result.cells < 1 or not result.exact):
                print(
                    identity,
                    f"types {result.types:.3f} cells {result.cells:.3f} exact {result.exact}",
                    *result.wrong,
                    sep="\n    ",
                )
        seconds = time.perf_counter() - started
    count = len(scores)
    figures = {
        "cases": count,
        "types": round(sum(one.types for one in scores) / count, 4),
        "cells": round(sum(one.cells for one in scores) / count, 4),
        "exact_accounts": round(sum(one.exact for one in scores) / count, 4),
        "perfect": round(sum(one.types == one.cells == 1 and one.exact for one in scores) / count, 4),
        "seconds_per_case": round(seconds / count, 3),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    asyncio.run(main())
