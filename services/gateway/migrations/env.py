"""Alembic's environment: the metadata of every store of the gateway."""

import agora_gateway.identity.store  # noqa: F401  (describes its tables in the metadata)
from agora_gateway.database import metadata
from agora_kit.migrations import run

run(metadata)
