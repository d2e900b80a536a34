"""SQL for prices of models. Of the platform, not of a tenant, so without row-level security. Never commits."""

from datetime import datetime

import msgspec
from agora_contracts.models import ModelPriceEntry, TokenPrices
from sqlalchemy import Column, DateTime, PrimaryKeyConstraint, Table, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from agora_execution.database import json_text, metadata

model_prices = Table(
    "model_prices",
    metadata,
    Column("model", Text, nullable=False),
    Column("effective_at", DateTime(timezone=True), nullable=False),
    Column("prices", JSONB, nullable=False),
    Column("set_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("model", "effective_at"),
)

_SAVE = text("""
    INSERT INTO model_prices (model, effective_at, prices) VALUES (:model, :effective_at, CAST(:prices AS jsonb))
    ON CONFLICT (model, effective_at) DO UPDATE SET prices = excluded.prices, set_at = now()
""")

_ALL = text("SELECT model, effective_at, prices FROM model_prices ORDER BY model, effective_at")


async def save(connection: AsyncConnection, model: str, effective_at: datetime, prices: TokenPrices) -> None:
    """Keep a price; one of the same model and moment is replaced."""
    values = {"model": model, "effective_at": effective_at, "prices": json_text(prices)}
    await connection.execute(_SAVE, values)


async def all_prices(connection: AsyncConnection) -> list[ModelPriceEntry]:
    """Every price that was set, by model and moment."""
    return [
        ModelPriceEntry(
            model=row.model,
            effective_at=row.effective_at,
            prices=msgspec.convert(row.prices, TokenPrices, strict=False),
        )
        for row in await connection.execute(_ALL)
    ]
