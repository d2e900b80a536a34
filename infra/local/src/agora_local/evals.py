"""`./dev evals [AGENT]`: run the agents' evaluations on their reporting part and print their figures."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

AGENTS = Path("agents")


def _knowledge_base(folder: Path, scratch: Path) -> list[list[str]]:
    cases, answers = folder / "evals" / "report", scratch / "answers.jsonl"
    evaluate = [sys.executable, "-m", "agora.cli", "eval", str(folder), "--cases", str(cases / "cases.jsonl")]
    return [
        [*evaluate, "--config", str(cases / "config.json"), "--out", str(answers)],
        [sys.executable, str(folder / "evals" / "score_knowledge_base.py"), str(cases), str(answers)],
    ]


def _data_processor(folder: Path, scratch: Path) -> list[list[str]]:
    return [[sys.executable, str(folder / "evals" / "score_data_processor.py"), "--split", "report"]]


def _ticket_resolver(folder: Path, scratch: Path) -> list[list[str]]:
    return [[sys.executable, str(folder / "evals" / "score_ticket_resolver.py"), "report"]]


def _swarm_worker(folder: Path, scratch: Path) -> list[list[str]]:
    evals, answers = folder / "evals", scratch / "answers.jsonl"
    evaluate = [sys.executable, "-m", "agora.cli", "eval", str(folder), "--cases", str(evals / "cases.jsonl")]
    return [
        [*evaluate, "--out", str(answers)],
        [sys.executable, str(evals / "score_swarm_worker.py"), str(answers)],
    ]


EVALUATIONS: dict[str, Callable[[Path, Path], list[list[str]]]] = {
    "knowledge-base": _knowledge_base,
    "data-processor": _data_processor,
    "ticket-resolver": _ticket_resolver,
    "swarm-worker": _swarm_worker,
}


def main() -> int:
    """Run all evaluations, or those of the agents named. Returns the exit code."""
    names = sys.argv[1:] or list(EVALUATIONS)
    if unknown := [name for name in names if name not in EVALUATIONS]:
        print(
            f"no evaluations for {', '.join(unknown)}; there are: {', '.join(EVALUATIONS)}", file=sys.stderr
        )
        return 2
    for name in names:
        print(f"== {name}", flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            for command in EVALUATIONS[name](AGENTS / name, Path(scratch)):
                code = subprocess.run(command, check=False).returncode
                if code:
                    return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
