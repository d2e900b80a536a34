"""Score the agent on the cases beside this file: `python evals/score_ticket_resolver.py [tune|report]`."""

import argparse
import asyncio
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from agora import alone
from agora_ticket_resolver import agent

HERE = Path(__file__).parent
LEVELS = ("low", "medium", "high", "urgent")
NEUTRAL_BAND = 0.25
"""A mood this close to zero counts as neutral."""


async def run(company: Path, split: str, out: Path) -> list[tuple[dict[str, Any], Any]]:
    """Each case of a company with the agent's output."""
    config = json.loads((company / "config.json").read_text("utf-8"))
    deployment = await alone.deploy(agent, config, base=company)
    cases = [json.loads(line) for line in (company / f"{split}.jsonl").read_text("utf-8").splitlines()]
    return [(case, (await deployment.run(case["input"], base=company, out=out)).output) for case in cases]


def marks(case: dict[str, Any], output: Any) -> dict[str, float | None]:
    """What is right about one output; None where the case does not say."""
    wanted = case["expected"]
    source = wanted["source"]
    cited = [citation.source for citation in output.citations]
    return {
        "category": None if wanted["category"] == "other" else float(output.category == wanted["category"]),
        "priority": float(output.priority == wanted["priority"]),
        "priority within one": float(
            abs(LEVELS.index(output.priority) - LEVELS.index(wanted["priority"])) <= 1
        ),
        "sentiment sign": _sign(output.sentiment, wanted["sentiment"]),
        "language": float(output.language == wanted["language"]),
        "resolve or escalate": float(output.escalate == wanted["escalate"]),
        "reason": float(output.escalation_reason == wanted["reason"])
        if wanted["escalate"] and output.escalate
        else None,
        "citation precision": sum(one == source for one in cited) / len(cited) if cited else None,
        "answer found": float(source in cited) if source else None,
    }


def _sign(value: float, wanted: str) -> float | None:
    if wanted == "neutral":
        return None
    return float(value > 0) if wanted == "positive" else float(value < 0)


def main() -> None:
    """Print a line of figures per company and over all, then what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("split", nargs="?", default="report", choices=("tune", "report"))
    parser.add_argument("--faults", action="store_true", help="list what went wrong")
    given = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    begun, count = time.perf_counter(), 0
    for company in sorted(path for path in HERE.iterdir() if (path / "config.json").is_file()):
        with tempfile.TemporaryDirectory() as out:
            pairs = asyncio.run(run(company, given.split, Path(out)))
        count += len(pairs)
        for case, output in pairs:
            for name, mark in marks(case, output).items():
                if mark is not None:
                    found[company.name][name].append(mark)
                    found["all"][name].append(mark)
                    if mark < 1 and given.faults and name != "priority":
                        _show(case, output, name)
    for name_of, figures in sorted(found.items()):
        line = "  ".join(f"{name} {sum(values) / len(values):.2f}" for name, values in figures.items())
        print(f"{name_of:11s} {line}")
    print(f"{count} tickets in {time.perf_counter() - begun:.1f} s")


def _show(case: dict[str, Any], output: Any, name: str) -> None:
    wanted = case["expected"]
    print(
        f"  {name}: {case['id']} wanted {wanted}\n      got {output.category} {output.confidence:.2f} "
        f"{output.priority} {output.priority_reasons} {output.sentiment:+.2f} {output.language} "
        f"{output.escalation_reason} {output.explanation} {[(c.source, c.score) for c in output.citations]}"
    )


if __name__ == "__main__":
    main()
