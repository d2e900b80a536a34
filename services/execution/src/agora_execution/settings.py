"""Settings of execution's three processes: service, worker, vectors."""

from pathlib import Path

import msgspec
from agora_kit.settings import ServiceSettings

GIGABYTE = 1 << 30
TASK_QUEUE = "agent-runs"
"""The queue that execution's workflows wait in for a worker, unless settings name another."""


class ExecutionSettings(ServiceSettings, frozen=True, kw_only=True):
    """What the service and the worker need beside a database and NATS."""

    temporal_address: str = "127.0.0.1:7233"
    temporal_namespace: str = "default"
    task_queue: str = TASK_QUEUE
    objects_folder: Path
    artifacts_folder: Path
    file_quota_bytes: int = 5 * GIGABYTE
    file_retention_days: int = 30
    memory_retention_days: int = 365
    """How long an agent's memory is kept since it was last written."""
    sweep_seconds: float = 2.0
    key_encryption_keys: str = ""
    """What vendors' keys are encrypted under: `name:base64` of 32 bytes each, the current one first; none, no keys."""
    worker_slots: int = 100
    worker_cached_runs: int = 1000
    """Keep it well above the slots: a run that is forgotten in the middle of a short step waits ten seconds."""


class VectorsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the vectors process needs."""

    nats_url: str
    vectors_folder: Path
    log_level: str = "info"
