"""Writes files/, cases.jsonl and expected.jsonl from sources/: `python build_swarm_worker.py`.

A source is a file as it is, but for marks at the ends of lines: ⟦RULE RULE⟧ says which rules that line breaks;
⟦RULE@+1⟧ means the line after it. A name that begins with `tune-` was looked at while the rules were written, one
that begins with `report-` was only scored.
"""

import json
import re
from pathlib import Path

HERE = Path(__file__).parent
MARK = re.compile(r"[ \t]*⟦([^⟧]*)⟧")


def unmarked(text: str) -> tuple[str, list[tuple[str, int]]]:
    """The file's text, and the rules with the lines that break them."""
    expected = []
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        for found in MARK.finditer(line):
            for word in found[1].split():
                rule, _, shift = word.partition("@")
                expected.append((rule, number + int(shift or 0)))
        lines.append(MARK.sub("", line))
    return "\n".join(lines), sorted(expected)


def main() -> None:
    """Write all three."""
    files = HERE / "files"
    files.mkdir(exist_ok=True)
    cases, expectations = [], []
    for source in sorted((HERE / "sources").iterdir()):
        text, expected = unmarked(source.read_text(encoding="utf-8"))
        (files / source.name).write_text(text, encoding="utf-8")
        name = source.name.partition("-")[2]
        item = {"id": "f1", "file": f"files/{source.name}", "name": name}
        cases.append({"id": source.name, "input": {"role": "engineer", "items": [item]}})
        expectations.append({"id": source.name, "findings": expected})
    for path, lines in (("cases.jsonl", cases), ("expected.jsonl", expectations)):
        written = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (HERE / path).write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
