"""Alembic's environment: the metadata of every store of the catalog."""

import agora_catalog.listings.store
import agora_catalog.prices.store  # noqa: F401  (imported for their tables)
from agora_catalog.database import metadata
from agora_kit.migrations import run

run(metadata)
