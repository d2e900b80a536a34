"""Alembic's environment: the metadata of every store of the catalog."""

import agora_catalog.listings.store  # noqa: F401  (describes its tables in the metadata)
from agora_catalog.database import metadata
from agora_kit.migrations import run

run(metadata)
