"""Alembic's environment: the metadata of every store of execution."""

import agora_execution.approvals.store
import agora_execution.blackboard.store
import agora_execution.conversations.store
import agora_execution.deployments.artifact_store
import agora_execution.deployments.store
import agora_execution.files.store
import agora_execution.memory.store
import agora_execution.model_prices.store
import agora_execution.models.cache_store
import agora_execution.models.store
import agora_execution.packages.store
import agora_execution.provider_keys.store
import agora_execution.runs.tables
import agora_execution.schedules.tables  # noqa: F401  (each describes its tables in the metadata)
from agora_execution.database import metadata
from agora_kit.migrations import run

run(metadata)
