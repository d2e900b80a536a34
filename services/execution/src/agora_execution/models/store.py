"""SQL for model calls: what a run may still spend, reserved before each call and settled after it."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Integer, Table, Text, func, text
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.database import metadata

model_calls = Table(
    "model_calls",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("step_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("spent", BigInteger),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("reconciled", Boolean),
    Column("failure", Text),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
Index("ix_model_calls_run_id", model_calls.c.run_id)


async def reserve(
    connection: AsyncConnection,
    *,
    call: str,
    run: str,
    tenant: str,
    step: str,
    attempt: int,
    model: str,
    amount: int,
) -> bool:
    """Reserve a call's worst case (micro-units) inside what the run's hold has for models.

    Returns False, and writes nothing, when there is not so much left or the run has ended.
    """
    taken = await connection.execute(
        text("""
            UPDATE runs SET model_reserved = model_reserved + :amount
            WHERE id = :run AND finished_at IS NULL AND model_spent + model_reserved + :amount <= model_cost
        """),
        {"run": run, "amount": amount},
    )
    if taken.rowcount != 1:
        return False
    await connection.execute(
        text("""
            INSERT INTO model_calls (id, tenant_id, run_id, step_id, attempt, model, reserved)
            VALUES (:id, :tenant, :run, :step, :attempt, :model, :amount)
        """),
        {
            "id": call,
            "tenant": tenant,
            "run": run,
            "step": step,
            "attempt": attempt,
            "model": model,
            "amount": amount,
        },
    )
    return True


async def room(connection: AsyncConnection, run: str) -> tuple[int, int]:
    """What a run's models may cost in all, and what is left of it (micro-units)."""
    row = (
        await connection.execute(
            text(
                "SELECT model_cost, model_cost - model_spent - model_reserved AS left FROM runs WHERE id = :run"
            ),
            {"run": run},
        )
    ).one()
    return row.model_cost, row.left


async def raise_limit(connection: AsyncConnection, run: str, by: int) -> None:
    """Let a run's models cost so many micro-units more: its hold was increased."""
    await connection.execute(
        text("UPDATE runs SET model_cost = model_cost + :by WHERE id = :run"),
        {"run": run, "by": by},
    )


async def settle(
    connection: AsyncConnection,
    call: str,
    *,
    spent: int,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    reconciled: bool | None = None,
    failure: str | None = None,
) -> None:
    """Replace a call's reservation by what it cost (micro-units); settling it again changes nothing."""
    await connection.execute(
        text("""
            WITH settled AS (
                UPDATE model_calls SET spent = :spent, input_tokens = :input_tokens, output_tokens = :output_tokens,
                    reconciled = :reconciled, failure = :failure
                WHERE id = :id AND spent IS NULL RETURNING run_id, reserved)
            UPDATE runs SET model_reserved = model_reserved - settled.reserved, model_spent = model_spent + :spent
            FROM settled WHERE runs.id = settled.run_id
        """),
        {
            "id": call,
            "spent": spent,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "reconciled": reconciled,
            "failure": failure,
        },
    )
