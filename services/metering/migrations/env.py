"""Alembic's environment: the metadata of every store of metering."""

import agora_metering.corrections.store
import agora_metering.exports.store
import agora_metering.ingest.store
import agora_metering.meters.builds
import agora_metering.meters.store
import agora_metering.partitions.store
import agora_metering.periods.store
import agora_metering.reconciliation.store
import agora_metering.refusals.store
import agora_metering.rentals.store
import agora_metering.runs.store
import agora_metering.totals.tables
import agora_metering.usage.store  # noqa: F401  (all describe their tables in the metadata)
from agora_kit.migrations import run
from agora_metering.database import metadata

run(metadata)
