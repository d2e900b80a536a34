"""What the runs that a step called delivered: read from their rows, never carried through a workflow's history."""

from typing import Any

from agora import CallResult
from agora.suspension import CallsEnded
from agora_contracts.money import Money
from agora_contracts.runs import ENDED
from agora_kit.database import Database
from sqlalchemy import text

from agora_execution.runs.model import TERMINATED
from agora_execution.runs.tasks import ChildEnded, ChildrenEnded


async def read(database: Database, ended: ChildrenEnded) -> CallsEnded:
    """What called runs delivered, in the order of the calls."""
    async with database.system() as connection:
        rows = await connection.execute(
            text("""
                SELECT id, package, status, deliverable, output, error, quoted, cost, currency FROM runs
                WHERE id = ANY(CAST(:ids AS text[]))
            """),
            {"ids": [child.run for child in ended.children if child.run]},
        )
        by_id = {row.id: row for row in rows}
    return CallsEnded(results=[_result(child, by_id.get(child.run)) for child in ended.children])


def _result(child: ChildEnded, row: Any) -> CallResult:
    if child.refused is not None or row is None:
        refused = child.refused or TERMINATED
        return CallResult(
            run=child.run,
            package=child.package,
            outcome="refused",
            code=refused.code,
            detail=refused.detail,
            quoted=child.needed,
        )
    error = row.error or {}
    return CallResult(
        run=row.id,
        package=row.package,
        # A row that has not ended belongs to a workflow that was closed this moment.
        outcome=row.status if row.status in ENDED else "failed",
        deliverable=row.deliverable or "empty",
        output=row.output if row.status == "succeeded" else None,
        code=error.get("code", ""),
        detail=error.get("detail", ""),
        quoted=Money(amount=row.quoted, currency=row.currency),
        cost=None if row.cost is None else Money(amount=row.cost, currency=row.currency),
    )
