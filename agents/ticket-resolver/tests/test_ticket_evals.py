"""The evaluation cases of one company, end to end, against floors well below what was measured."""

import importlib.util
from pathlib import Path

EVALS = Path(__file__).parents[1] / "evals"


async def test_one_company_stays_above_its_floors(tmp_path: Path) -> None:
    """
    A change that makes triage or answers clearly worse is noticed.
    """
    spec = importlib.util.spec_from_file_location("score_ticket_resolver", EVALS / "score_ticket_resolver.py")
    assert spec is not None and spec.loader is not None
    scoring = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scoring)

    pairs = await scoring.run(EVALS / "brightwave", "report", tmp_path)
    marks = [scoring.marks(case, output) for case, output in pairs]

    floors = {
        "category": 0.75,
        "priority within one": 0.9,
        "language": 0.95,
        "resolve or escalate": 0.75,
        "answer found": 0.75,
    }
    for name, floor in floors.items():
        told = [mark[name] for mark in marks if mark[name] is not None]
        assert sum(told) / len(told) >= floor, name
