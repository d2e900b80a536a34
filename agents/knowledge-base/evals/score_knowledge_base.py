"""Score what `agora eval` wrote: right answers, silence where there is none, and whether quotes are true.

Run `python evals/score_knowledge_base.py evals/report OUT.jsonl`; it prints one JSON object.
"""

import argparse
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from agora_knowledge_base.reading.gathering import gather
from agora_knowledge_base.reading.model import Document
from examining import Expected, folded, holds


def main() -> None:
    """Read, score, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    expected = [
        msgspec.json.decode(line, type=Expected)
        for line in (asked.set / "expected.jsonl").read_bytes().splitlines()
    ]
    outputs = {line["id"]: line.get("output") for line in map(json.loads, asked.out.read_text().splitlines())}
    texts = {
        found.name: found.text
        for found in gather(asked.set / "corpus", "corpus")
        if isinstance(found, Document)
    }
    print(json.dumps(score(expected, outputs, texts), indent=2))


def score(
    expected: list[Expected], outputs: dict[str, dict[str, Any] | None], texts: dict[str, str]
) -> dict[str, float]:
    """The figures, each from 0 to 1."""
    wanted = [(one, outputs.get(one.id) or {}) for one in expected]
    known = [(one, output) for one, output in wanted if one.answerable]
    unknown = [output for one, output in wanted if not one.answerable]
    answered = [(one, output) for one, output in known if output.get("answered")]
    citations = [citation for _, output in wanted for citation in output.get("citations", [])]
    right = [one.answerable and holds(output.get("answer", ""), one) for one, output in wanted]
    silent = [not one.answerable and not output.get("answered", True) for one, output in wanted]
    return {
        "cases": len(wanted),
        "right": _share([a or b for a, b in zip(right, silent, strict=True)]),
        "answerable_answered_right": _share([holds(output.get("answer", ""), one) for one, output in known]),
        "answered_are_right": _share([holds(output["answer"], one) for one, output in answered]),
        "unanswerable_silent": _share([not output.get("answered", True) for output in unknown]),
        "first_citation_in_right_source": _share(
            [
                output["citations"][0]["source"] in one.sources
                for one, output in answered
                if output["citations"]
            ]
        ),
        "citations_in_right_source": _share(
            [c["source"] in one.sources for one, output in answered for c in output["citations"]]
        ),
        "quotes_stand_in_source": _share([c["quote"] in texts[c["source"]] for c in citations]),
        "answer_f1": sum(_f1(output["answer"], one.gold) for one, output in answered) / max(len(answered), 1),
    }


def _share(values: list[bool]) -> float:
    return round(sum(values) / len(values), 3) if values else 0.0


def _f1(answer: str, gold: list[str]) -> float:
    """Overlap of words with the nearest expected span: low for whole sentences, however right they are."""
    best = 0.0
    said = Counter(re.findall(r"\w+", folded(answer)))
    for span in gold:
        wanted = Counter(re.findall(r"\w+", folded(span)))
        common = sum((said & wanted).values())
        if common:
            best = max(best, 2 * common / (sum(said.values()) + sum(wanted.values())))
    return best


if __name__ == "__main__":
    main()
