"""A sample of the report questions, asked as `agora eval` asks them; `evals/README.md` has all figures."""

import json
from pathlib import Path

from agora import alone
from agora_knowledge_base import agent

REPORT = Path(__file__).parents[1] / "evals" / "report"
EVERY = 5
RIGHT_MIN = 0.7


async def test_a_sample_of_the_report_questions_is_answered(tmp_path: Path) -> None:
    """
    Most answers hold what is expected, silence included, and every quote stands in its source.
    """
    cases = [json.loads(line) for line in (REPORT / "cases.jsonl").read_text().splitlines()][::EVERY]
    lines = (REPORT / "expected.jsonl").read_text().splitlines()[::EVERY]
    deployment = await alone.deploy(agent, {"folder": "corpus"}, base=REPORT, cache=tmp_path)
    right = []
    for case, expected in zip(cases, map(json.loads, lines), strict=True):
        output = (await deployment.run(case["input"], base=REPORT, out=tmp_path)).output
        held = any(gold.casefold() in output.answer.casefold() for gold in expected["gold"])
        right.append(held if expected["answerable"] else not output.answered)
        for citation in output.citations:
            # Extracted formats have no text of their own to look the quote up in.
            if citation.source.endswith((".md", ".txt", ".csv", ".jsonl")):
                assert citation.quote in (REPORT / "corpus" / citation.source).read_text()

    assert sum(right) >= RIGHT_MIN * len(right)
