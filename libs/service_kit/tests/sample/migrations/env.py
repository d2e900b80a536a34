"""Alembic's environment of the sample service."""

from agora_kit.database import new_metadata
from agora_kit.migrations import run
from agora_kit.tables import add_kit_tables
from sqlalchemy import Column, Table, Text

metadata = new_metadata()
add_kit_tables(metadata)
Table(
    "notes",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("id", Text, primary_key=True),
    Column("body", Text, nullable=False),
)

run(metadata)
