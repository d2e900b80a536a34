"""Whether the agent's tools work on this machine, tried on small tables."""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

import agora

_TABLE = "id;name;amount\n1;Müller;1.234,50 €\n2;Sørensen;99,00 €\n3;=1+1;n/a\n4;Ø;5,00 €\n5;a;1,00 €\n"


async def health(_context: agora.HealthContext) -> dict[str, bool]:
    """Each tool and whether it did a small piece of work; none of them needs what the context reaches."""
    return await asyncio.to_thread(_tried)


def _tried() -> dict[str, bool]:
    checks: dict[str, Callable[[], bool]] = {
        "file_io": _cleans_csv,
        "validate": _knows_types,
        "pii_redact": _redacts,
        "excel": _opens_excel,
    }
    results = {}
    for name, check in checks.items():
        try:
            results[name] = check()
        except Exception:  # whatever breaks a tool, the answer is that it does not work
            results[name] = False
    return results


def _cleans_csv() -> bool:
    from agora_data_processor import cleaning, tables
    from agora_data_processor.job import Job, Options

    with tempfile.TemporaryDirectory(prefix="agora-health-") as folder:
        path = Path(folder) / "table.csv"
        path.write_bytes(_TABLE.encode("cp1252"))
        found = tables.inspect(path, path.name, Options())
        out = Path(folder) / "out"
        out.mkdir()
        cleaned = cleaning.clean([cleaning.Table(path=path, found=found)], Job(), out, lambda *_: None)
    return (cleaned.rows_in, cleaned.rows_out, cleaned.rejected) == (5, 5, 0)


def _knows_types() -> bool:
    import polars as pl

    from agora_data_processor import infer
    from agora_data_processor.conventions import Hints

    plans = infer.infer(
        {"a": pl.Series(["1,5", "2,25"]), "b": pl.Series(["31.12.2024", "01.02.2024"])}, Hints()
    )
    return (plans["a"].kind, plans["b"].kind) == ("decimal", "date")


def _redacts() -> bool:
    from agora_data_processor import pii

    return pii.redact("Write to jane@example.com", ["email"]) == "Write to [EMAIL]"


def _opens_excel() -> bool:
    import python_calamine

    return hasattr(python_calamine, "CalamineWorkbook")
