"""Scores `agora eval` of the engineer against expected.jsonl: precision, recall and F1 over (rule, line).

python score_swarm_worker.py RESULTS.jsonl [--split report|tune|all]
"""

import argparse
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Lines of JSON by their id."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {one["id"]: one for one in map(json.loads, lines)}


def found_in(result: dict[str, Any]) -> set[tuple[str, int]]:
    """Rules and lines of a result."""
    findings = result.get("output", {}).get("findings", [])
    return {(one["rule"], one["data"]["line"]) for one in findings}


def score(
    results: dict[str, dict[str, Any]], expected: dict[str, dict[str, Any]], split: str
) -> dict[str, float | int | list[str]]:
    """Precision, recall and F1 over all cases of a split, and every difference."""
    right = wrong = missed = cases = 0
    differences = []
    for identity, one in expected.items():
        if split != "all" and not identity.startswith(split):
            continue
        cases += 1
        wanted = {(rule, line) for rule, line in one["findings"]}
        found = found_in(results[identity])
        right += len(wanted & found)
        wrong += len(found - wanted)
        missed += len(wanted - found)
        differences += [
            f"{identity}: {rule} in line {line} is not wanted" for rule, line in sorted(found - wanted)
        ]
        differences += [
            f"{identity}: {rule} in line {line} is missed" for rule, line in sorted(wanted - found)
        ]
    precision = right / (right + wrong) if right + wrong else 1.0
    recall = right / (right + missed) if right + missed else 1.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {
        "cases": cases,
        "findings": right + missed,
        "precision": round(precision, 3),
        "recall": round(recall, 3),
        "f1": round(f1, 3),
        "differences": differences,
    }


def main() -> None:
    """Print the score as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--split", choices=("report", "heldout", "tune", "all"), default="report")
    options = parser.parse_args()
    print(json.dumps(score(read(options.results), read(HERE / "expected.jsonl"), options.split)))


if __name__ == "__main__":
    main()
