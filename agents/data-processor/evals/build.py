"""Write the evaluation: files/, cases.jsonl (for `agora eval`) and expected.jsonl (the truth).

    python agents/data-processor/evals/build.py

Handmade tables are for tuning; the made ones of the split "report" come from seeds that were never looked at.
"""

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from corpus import MessyTable, make  # noqa: E402
from handmade import tables  # noqa: E402

TUNE_SEEDS = range(3, 9)
REPORT_SEEDS = range(20_240, 20_264)


def main() -> None:
    """Write everything anew."""
    folder = HERE / "files"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    cases: list[dict[str, Any]] = []
    expected: list[dict[str, Any]] = []
    groups = (
        ("tune", [*tables(), *map(make, TUNE_SEEDS)]),
        ("report", list(map(make, REPORT_SEEDS))),
    )
    for split, made in groups:
        for table in made:
            (folder / table.name).write_bytes(table.content)
            identity = table.name.rpartition(".")[0]
            cases.append({"id": identity, "input": {"file": f"files/{table.name}"}})
            expected.append({"id": identity, "split": split, **_truth(table)})
    _write(HERE / "cases.jsonl", cases)
    _write(HERE / "expected.jsonl", expected)


def _truth(table: MessyTable) -> dict[str, Any]:
    return {
        "names": table.names,
        "types": table.kinds,
        "rows": table.rows,
        "key": table.key,
        "rows_in": table.rows_in,
        "rows_out": len(table.rows),
        "rejected_lines": table.rejected_lines,
        "encoding": table.encoding,
        "delimiter": table.delimiter,
        "header_row": table.header_row,
        "traits": table.traits,
    }


def _write(path: Path, lines: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for line in lines:
            stream.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")


if __name__ == "__main__":
    main()
